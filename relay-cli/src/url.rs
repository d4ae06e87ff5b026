//! `relay url`.

use std::process::ExitCode;

use relay_proto::target::Target;

use crate::args::UrlArgs;
use crate::output;

pub(crate) fn run(args: &UrlArgs) -> ExitCode {
    match Target::parse(&args.url) {
        Ok(target) => {
            warn_about_user(&target);
            output::print(&without_password(target.url()), ExitCode::SUCCESS)
        }
        Err(error) => output::fail(&error.to_string(), crate::FAILED),
    }
}

/// Warns that the user information of a URL is of no use. It is not shown.
pub(crate) fn warn_about_user(target: &Target) {
    if user(target.url()).is_some() {
        output::note(
            "warning: the user name and password in the URL are not used: a gateway authenticates with its id and secret",
        );
    }
}

/// A dial URL without the password in it.
fn without_password(url: &str) -> String {
    match user(url).and_then(|(scheme, user, rest)| Some((scheme, user.split_once(':')?.0, rest))) {
        Some((scheme, name, rest)) => format!("{scheme}://{name}@{rest}"),
        None => url.to_owned(),
    }
}

/// What is before the user information of a dial URL, which has no `@` further on; that; and what is behind it.
fn user(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let (user, rest) = rest.split_once('@')?;
    Some((scheme, user, rest))
}
