//! `relay enroll`: a gateway gets its credentials.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use relay_blocking::enroll::{CallError, Client, Credential, EnrollError, Granted, Service};
use relay_blocking::{Config, Proxy, Settings};
use zeroize::Zeroizing;

use self::advice::advised;
use crate::args::{EnrollArgs, identities};
use crate::atomic_file::{self, AtomicFile, NotKept};
use crate::env_file::{self, Variables, quoted as env_quoted};
use crate::gateway::tls;
use crate::json::{Object, quoted};
use crate::streams::Patient;
use crate::{environment, output, runtime, signals, text, url};

mod advice;

/// The most that a file with a token may hold.
const MAX_TOKEN_FILE: u64 = 64 << 10;
/// The most that the file may hold beside what is granted, which has as much.
const MAX_CHOSEN: usize = atomic_file::RESERVE / 2;

pub(crate) fn run(args: &EnrollArgs) -> ExitCode {
    // Everything that can be wrong is found before the token is redeemed, which works only once.
    match Prepared::new(args) {
        Ok(prepared) => runtime::run(Box::pin(enroll(args, Arc::new(prepared)))),
        Err(problem) => output::fail(&problem, crate::USAGE),
    }
}

async fn enroll(args: &EnrollArgs, prepared: Arc<Prepared>) -> Result<ExitCode, String> {
    // From here on no signal ends the process by itself: there is a temporary file to remove, and then credentials to keep.
    let signals = signals::watch()?;
    // Nothing is sent yet: a place that does not do is the user's to correct, as any flag is.
    let file = match AtomicFile::new(&args.env_file, args.force) {
        Ok(file) => file,
        Err(problem) => return Ok(output::fail(&format!("--env-file: {problem}"), crate::USAGE)),
    };
    let caller = prepared.clone();
    let call = match runtime::on_a_thread("relay-enroll", move || caller.enroll()) {
        Ok(call) => call,
        Err(error) => {
            let told = format!("no thread can be made for the call: {error}: raise the limit on threads or memory");
            let failed = failed("unreachable", &told, "no");
            return Ok(output::print(&failed.end(), ExitCode::from(crate::FAILED)));
        }
    };
    let answer = tokio::select! {
        biased;
        answer = call => answer.map_err(|_| "the call panicked, and the token may be used up")?,
        () = signals.notified() => return Ok(output::print(&interrupted(), ExitCode::from(crate::FAILED))),
    };
    let granted = match answer {
        Ok(granted) => granted,
        Err(error) => {
            // Of a 403 nobody can tell whether it was redeemed before, perhaps by a call whose answer was lost.
            let forbidden = matches!(error, CallError::Enroll(EnrollError::Forbidden { .. }));
            let used = if forbidden || error.may_have_granted() { "perhaps" } else { "no" };
            let mut failed = failed(error.name(), &advised(&error), used);
            if let Some(wait) = error.retry_after() {
                let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                failed = failed.number("retry_in_ms", Some(millis));
            }
            return Ok(output::print(&failed.end(), ExitCode::from(crate::FAILED)));
        }
    };
    let variables = prepared.variables(args, &granted);
    Ok(match file.keep(&contents(&variables)) {
        Ok(()) => output::print(&enrolled(args, &granted, &variables), ExitCode::SUCCESS),
        Err(error) => output::print(&not_written(args, &error), ExitCode::from(crate::FAILED)),
    })
}

/// What a call needs.
struct Prepared {
    settings: Settings,
    service: Service,
    client: Client,
    id: String,
    token: Credential,
    identity: Credential,
}

impl Prepared {
    fn new(args: &EnrollArgs) -> Result<Self, String> {
        let url = given("--url", args.url.as_deref(), "GATEWAY_RELAY_URL")?;
        let id = given("--id", args.id.as_deref(), "GATEWAY_RELAY_ID")?;
        identities(&args.platform, &args.bot_id)?;
        // The name of the platform does not matter to the way there.
        let config = Config::new(&*url).identity("relay", "");
        let config = match &args.proxy {
            Some(proxy) => config.proxy(Proxy::parse(proxy).map_err(|error| format!("--proxy: {error}"))?),
            None if args.no_proxy => config.no_proxy(),
            None => config.proxy_from_env().map_err(|error| error.to_string())?,
        };
        let settings = config.build().map_err(|error| error.to_string())?;
        url::warn_about_user(settings.target());
        let mut client = Client::new().timeout(Duration::from_secs(args.timeout));
        if let Some(tls) = tls::read(&args.tls, settings.target())? {
            client = client.tls(tls);
        }
        if let Some(proxy) = settings.proxy() {
            client = client.proxy(proxy.clone());
        }
        let (token, identity) = tokens(args)?;
        let service = Service::new(settings.target().clone());
        let service = service.allow_plaintext_credentials(args.allow_plaintext_credentials);
        let prepared = Self { settings, service, client, id, token, identity };
        // What cannot be sent is the user's to correct.
        let call = prepared.service.enroll(&prepared.identity, &prepared.token, &prepared.id);
        let way = call.and_then(|call| prepared.settings.proxy().map(|proxy| call.tunnel_request(proxy)).transpose());
        match way {
            Ok(_) => prepared.check(args).map(|()| prepared),
            Err(error @ EnrollError::PlaintextCredentials { .. }) => {
                Err(format!("{error} (here: --allow-plaintext-credentials)"))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Reads the file that would be written, as `relay gateway --env-file` will.
    fn check(&self, args: &EnrollArgs) -> Result<(), String> {
        // Without them the file is not all that a gateway needs, and holds nothing that was not checked.
        if args.platform.is_empty() {
            return Ok(());
        }
        let text = contents(&self.variables(args, &Granted::new(self.id.clone(), "secret")));
        let readable = if text.len() > MAX_CHOSEN {
            Err("that is too long for a file of variables".into())
        } else {
            Variables::parse(&text)
                .map_err(|(_, problem)| format!("{problem} (is there a line break in a name?)"))
                .and_then(|file| {
                    let config = env_file::config(&|name| Ok(file.get(name).map(ToOwned::to_owned)));
                    // What is sent how is decided elsewhere.
                    let settings = config.and_then(|config| config.allow_plaintext_credentials(true).build());
                    settings.map_err(|error| error.to_string())
                })
        };
        readable.map(|_| ()).map_err(|problem| {
            format!("--platform and --bot-id: `relay gateway --env-file` would not take them: {problem}")
        })
    }

    fn enroll(&self) -> Result<Granted, CallError> {
        self.client.run(self.service.enroll(&self.identity, &self.token, &self.id)?)
    }

    /// What the file is to hold.
    fn variables(&self, args: &EnrollArgs, granted: &Granted) -> Vec<(&'static str, Zeroizing<String>)> {
        let text = |text: &str| Zeroizing::new(text.to_owned());
        let mut variables = vec![
            ("GATEWAY_RELAY_URL", text(self.settings.target().url())),
            ("GATEWAY_RELAY_ID", text(&granted.gateway_id)),
            ("GATEWAY_RELAY_SECRET", text(granted.secret.expose())),
        ];
        if let Some(key) = &granted.delivery_key {
            variables.push(("GATEWAY_RELAY_DELIVERY_KEY", text(key.expose())));
        }
        if !args.platform.is_empty() {
            variables.push(("GATEWAY_RELAY_PLATFORMS", text(&args.platform.join(","))));
        }
        if !args.bot_id.is_empty() {
            let bots = args.platform.iter().zip(&args.bot_id).fold(Object::new(), |bots, (platform, bot)| {
                bots.json(platform, &Object::new().text("botId", bot).end())
            });
            variables.push(("GATEWAY_RELAY_BOT_IDS", text(&bots.end())));
        }
        variables
    }
}

fn contents(variables: &[(&str, Zeroizing<String>)]) -> Zeroizing<String> {
    let lines = variables.iter().map(|(name, value)| Zeroizing::new(format!("{name}={}\n", env_quoted(value))));
    let head =
        Zeroizing::new("# Written by `relay enroll`. It holds the secret of a gateway: keep it private.\n".into());
    let lines: Vec<Zeroizing<String>> = [head].into_iter().chain(lines).collect();
    let lines: Vec<&str> = lines.iter().map(|line| line.as_str()).collect();
    Zeroizing::new(lines.concat())
}

// ── the one line ─────────────────────────────────────────────────────────

fn enrolled(args: &EnrollArgs, granted: &Granted, variables: &[(&str, Zeroizing<String>)]) -> String {
    Object::new()
        .text("event", "enrolled")
        .text("gateway", &granted.gateway_id)
        .optional("tenant", granted.tenant.as_deref())
        .text("env_file", &args.env_file.display().to_string())
        .list("variables", variables.iter().map(|(name, _)| quoted(name)))
        .end()
}

fn failed(cause: &str, error: &str, token_used: &str) -> Object {
    Object::new().text("event", "failed").text("cause", cause).text("error", error).text("token_used", token_used)
}

/// The connector was being asked, and nobody waits for what it says.
fn interrupted() -> String {
    let what = "a signal came before the answer; the request may have been carried out (get a new enrolment token, and try \
                again with that)";
    failed("interrupted", what, "perhaps").end()
}

fn not_written(args: &EnrollArgs, error: &NotKept) -> String {
    let (file, why) = (args.env_file.display(), &error.error);
    match &error.at {
        Some(at) => {
            let at = at.display();
            let what = format!(
                "the connector granted the credentials, and the enrolment token is used up, but `{file}` cannot be \
                 made ({why}): the credentials are in `{at}`; move that file yourself"
            );
            failed("not_written", &what, "yes").text("env_file", &at.to_string()).end()
        }
        None => {
            let what = format!(
                "the connector granted the credentials, and the enrolment token is used up, but they cannot be written \
                 to `{file}` ({why}), and are lost: have the gateway revoked at the connector, and enrol again with a \
                 new token"
            );
            failed("not_written", &what, "yes").end()
        }
    }
}

// ── tokens ───────────────────────────────────────────────────────────────

fn tokens(args: &EnrollArgs) -> Result<(Credential, Credential), String> {
    let stdin = |path: &Option<_>| path.as_deref() == Some(Path::new("-"));
    if stdin(&args.token_file) && stdin(&args.identity_file) {
        return Err("--token-file and --identity-file cannot both be standard input".into());
    }
    let token = match (&args.token, &args.token_file) {
        (Some(token), _) => {
            output::note("warning: --token shows the token to whoever can list processes: prefer --token-env");
            token.0.clone()
        }
        (None, Some(path)) => from_file("--token-file", path)?,
        (None, None) => from_env("the enrolment token", "--token-env or --token-file", &args.token_env)?,
    };
    let identity = match &args.identity_file {
        Some(path) => from_file("--identity-file", path)?,
        None => from_env("the identity token", "--identity-env or --identity-file", &args.identity_env)?,
    };
    Ok((token, identity))
}

fn from_env(what: &str, flags: &str, name: &str) -> Result<Credential, String> {
    let missing = |how: &str| format!("{} is {how}: it should hold {what} (see {flags})", environment::called(name));
    match std::env::var(name) {
        Ok(value) => Some(Credential::new(text::without_bom(value.trim_start())))
            .filter(|value| !value.is_blank())
            .ok_or_else(|| missing("blank")),
        Err(std::env::VarError::NotPresent) => Err(missing("not set")),
        Err(std::env::VarError::NotUnicode(_)) => Err(missing("not Unicode")),
    }
}

fn from_file(flag: &str, path: &Path) -> Result<Credential, String> {
    let mut text = Zeroizing::new(String::new());
    let read = if path == Path::new("-") {
        Patient(io::stdin()).take(MAX_TOKEN_FILE).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(MAX_TOKEN_FILE).read_to_string(&mut text))
    };
    read.map_err(|error| format!("{flag}: cannot read `{}`: {error}", path.display()))?;
    let token = Credential::new(text::without_bom(&text));
    if token.is_blank() {
        return Err(format!("{flag}: there is nothing in `{}`", path.display()));
    }
    if token.expose().lines().count() > 1 {
        return Err(format!(
            "{flag}: there is more than one line in `{}`: leave the token alone in it",
            path.display()
        ));
    }
    Ok(token)
}

/// A flag, or the variable that stands in for it.
fn given(flag: &str, value: Option<&str>, variable: &str) -> Result<String, String> {
    let text = |value: &str| Some(value.trim().to_owned()).filter(|value| !value.is_empty());
    if let Some(value) = value {
        return text(value).ok_or_else(|| format!("{flag} is blank"));
    }
    let how = match std::env::var(variable) {
        Ok(value) => match text(&value) {
            Some(value) => return Ok(value),
            None => "blank",
        },
        Err(std::env::VarError::NotPresent) => "not set",
        Err(std::env::VarError::NotUnicode(_)) => "not Unicode",
    };
    Err(format!("{flag} is missing, and the environment variable `{variable}` is {how}"))
}
