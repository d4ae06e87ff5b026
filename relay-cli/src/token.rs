//! `relay token mint` and `relay token verify`.

use std::process::ExitCode;

use relay_proto::token::{self, Secret};

use crate::args::{MintArgs, TokenCommand, VerifyArgs};
use crate::json::Object;
use crate::{environment, gateway_id, output};

pub(crate) fn run(command: &TokenCommand) -> ExitCode {
    let done = match command {
        TokenCommand::Mint(args) => mint(args),
        TokenCommand::Verify(args) => verify(args),
    };
    done.unwrap_or_else(|problem| output::fail(&problem, crate::USAGE))
}

fn mint(args: &MintArgs) -> Result<ExitCode, String> {
    gateway_id::check(&args.id).map_err(|problem| format!("--id: {problem}"))?;
    let secret = environment::secret(&args.secret_env)?;
    if secret.is_blank() {
        return Err(environment::blank(&args.secret_env));
    }
    let now = args.now.unwrap_or_else(environment::unix_now);
    let token = token::mint(&args.id, &secret, args.ttl, now);
    Ok(output::print(token.as_str(), ExitCode::SUCCESS))
}

fn verify(args: &VerifyArgs) -> Result<ExitCode, String> {
    let mut secrets = Vec::new();
    let mut blank = Vec::new();
    for name in &args.secret_env {
        let secret = environment::secret(name)?;
        if secret.is_blank() {
            blank.push(environment::blank(name));
        } else {
            secrets.push(secret);
        }
    }
    // In a rotation list a blank secret is skipped (TOKEN-2). With nothing else there is nothing to verify with.
    if secrets.is_empty() {
        return Err(blank.join("; "));
    }
    for skipped in blank {
        output::note(&format!("warning: skipped: {skipped}"));
    }
    Ok(answer(&args.token, &secrets, args.now.unwrap_or_else(environment::unix_now)))
}

fn answer(token: &str, secrets: &[Secret], now: u64) -> ExitCode {
    match token::verify(token, secrets, now) {
        Ok(id) => output::print(&Object::new().text("id", &id).end(), ExitCode::SUCCESS),
        Err(refused) => {
            output::print(&Object::new().text("refused", refused.name()).end(), ExitCode::from(crate::FAILED))
        }
    }
}
