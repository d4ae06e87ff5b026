//! `relay url`.

use std::process::ExitCode;

use relay_proto::target::Target;

use crate::args::UrlArgs;
use crate::output;

pub(crate) fn run(args: &UrlArgs) -> ExitCode {
    match Target::parse(&args.url) {
        Ok(target) => output::print(target.url(), ExitCode::SUCCESS),
        Err(error) => output::fail(&error.to_string(), crate::FAILED),
    }
}
