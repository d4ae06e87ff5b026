//! Whom a connector enrols, from the flags.

use std::fs;
use std::path::Path;

use relay_connector::{Credential, Enrolment};
use zeroize::Zeroizing;

use crate::args::EnrolmentArgs;
use crate::{environment, gateway_id, output, text};

/// The shortest token, in characters: a connector does not start with a shorter one.
const MIN_TOKEN: usize = 16;
/// The longest token that a request can hold, in bytes.
const MAX_TOKEN: usize = 8 << 10;

/// Reads the flags, and the files and variables that they name. `None`: nobody enrols.
///
/// # Errors
/// What is wrong and what to do. Never shows a token.
pub(super) fn read(args: &EnrolmentArgs) -> Result<Option<Enrolment>, String> {
    let mut enrolment = Enrolment::new();
    for name in &args.enroll_env {
        let text = variable("--enroll-env", name)?;
        enrolment = tokens(enrolment, text::without_bom(text.trim_start()), &format!("--enroll-env {name}"))?;
    }
    for path in &args.enroll_file {
        enrolment =
            tokens(enrolment, text::without_bom(&contents(path)?), &format!("--enroll-file {}", path.display()))?;
    }
    for name in &args.identity_env {
        let text = variable("--identity-env", name)?;
        let mut known = false;
        for (_, line) in lines(text::without_bom(text.trim_start())) {
            enrolment = enrolment.identity(&Credential::new(line));
            known = true;
        }
        // Nothing would mean that every identity will do.
        if !known {
            return Err(format!("--identity-env: the environment variable `{name}` is blank"));
        }
    }
    let asked = !args.enroll_env.is_empty() || !args.enroll_file.is_empty();
    if !asked && !args.identity_env.is_empty() {
        return Err("--identity-env says who may enrol: without --enroll-env or --enroll-file nobody can".into());
    }
    if asked && enrolment.tokens() == 0 {
        // What was granted before is still good, so that this is no error.
        output::note("warning: --enroll-env and --enroll-file name no token: no further gateway can enrol");
    }
    Ok(asked.then_some(enrolment))
}

/// Adds the tokens of a text, one a line, each perhaps with the id that it is for.
fn tokens(mut enrolment: Enrolment, text: &str, place: &str) -> Result<Enrolment, String> {
    // Sorted by token.
    let mut known: Vec<(&str, usize)> = Vec::new();
    for (number, line) in lines(text) {
        if let Some(token) = line.split_whitespace().next() {
            match known.binary_search_by(|(before, _)| (*before).cmp(token)) {
                Ok(at) => {
                    let before = known.get(at).map_or(0, |(_, line)| *line);
                    return Err(format!(
                        "{place}: line {number} has the token of line {before}, and each is good once"
                    ));
                }
                Err(at) => known.insert(at, (token, number)),
            }
        }
        let mut words = line.split_whitespace();
        enrolment = match (words.next(), words.next(), words.next()) {
            (Some(token), _, _) if token.len() > MAX_TOKEN => {
                return Err(format!(
                    "{place}: the token of line {number} is over {MAX_TOKEN} bytes: nobody can send it"
                ));
            }
            (Some(token), _, _) if token.chars().count() < MIN_TOKEN => {
                return Err(format!(
                    "{place}: the token of line {number} has under {MIN_TOKEN} characters, and could be guessed: \
                     `head -c 24 /dev/urandom | base64` makes a good one"
                ));
            }
            (Some(token), None, _) => enrolment.token(&Credential::new(token)),
            (Some(token), Some(id), None) => {
                gateway_id::check(id).map_err(|problem| format!("{place}: line {number}: {problem}"))?;
                enrolment.token_for(&Credential::new(token), id)
            }
            _ => return Err(format!("{place}: line {number} is neither TOKEN nor TOKEN ID")),
        };
    }
    Ok(enrolment)
}

/// The lines that say something, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn variable(flag: &str, name: &str) -> Result<Zeroizing<String>, String> {
    let value = std::env::var(name);
    value.map(Zeroizing::new).map_err(|_| format!("{flag}: {} is not set, or not Unicode", environment::called(name)))
}

fn contents(path: &Path) -> Result<Zeroizing<String>, String> {
    let text = fs::read_to_string(path);
    text.map(Zeroizing::new).map_err(|error| format!("--enroll-file: cannot read `{}`: {error}", path.display()))
}
