//! What comes from the environment: secrets, and the time.

use std::env::{self, VarError};

use relay_proto::token::Secret;

use crate::text;

/// The secret in an environment variable. White space around it is cut off, as it is for `GATEWAY_RELAY_SECRET`, and so is a
/// byte order mark in front: what a file or a here-document left there would make another secret of it.
///
/// # Errors
/// A message that names the variable, and never shows its value.
pub(crate) fn secret(name: &str) -> Result<Secret, String> {
    // `env::var` answers for impossible names as for variables that are not set.
    match env::var(name) {
        Ok(value) => Ok(Secret::new(text::without_bom(value.trim()).trim())),
        Err(VarError::NotPresent) => Err(format!("{} is not set: it should hold the secret", called(name))),
        Err(VarError::NotUnicode(_)) => Err(format!("{} is not Unicode", called(name))),
    }
}

/// A variable, for an error: by its name, if that is one. Anything else may be the secret, put where its variable's name
/// belongs, and is not repeated. Names in lower case are rare, secrets in it are not.
pub(crate) fn called(name: &str) -> String {
    let named = name.len() <= 40
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty();
    if named {
        format!("the environment variable `{name}`")
    } else {
        "the environment variable (what is wanted is the NAME of one, as in MY_SECRET, and not what it holds; what was \
         given is not shown)"
            .into()
    }
}

/// A variable, which need not be set.
///
/// # Errors
/// It is not Unicode.
pub(crate) fn variable(name: &str) -> Result<Option<String>, String> {
    match env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err("the value is not Unicode".into()),
    }
}

/// The message for a secret that is blank where one is needed.
pub(crate) fn blank(name: &str) -> String {
    format!("{} is blank: it should hold the secret", called(name))
}

/// Unix time, in seconds.
#[allow(clippy::disallowed_methods)] // The one place of the command line that reads a clock.
pub(crate) fn unix_now() -> u64 {
    // A clock before 1970 reads as 1970.
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
