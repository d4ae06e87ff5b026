//! `relay demo`: the whole life of a gateway, against an embedded connector, over real sockets.

mod prompt;
mod stage;
mod story;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use crate::runtime;
use crate::streams::Patient;

/// How long the story may take before something is wrong. It takes far less than a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tells the story, and on a terminal goes on with a prompt, unless it is to run `once`.
pub(crate) fn run(once: bool) -> ExitCode {
    runtime::run(Box::pin(async move {
        match tell(once).await {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
            Err(failure) => Err(format!("demo: {failure}")),
        }
    }))
}

async fn tell(once: bool) -> Result<(), Failure> {
    let prompt = !once && io::stdin().is_terminal() && io::stdout().is_terminal();
    match tokio::time::timeout(PATIENCE, story::tell()).await {
        Ok(told) => told?,
        Err(_) => return Err(Failure::Story(format!("the story did not end within {PATIENCE:?}"))),
    }
    if prompt {
        prompt::play().await
    } else {
        say("\nTry `relay gateway --help` to dial a connector of your own, and `relay --help` for the rest.")
    }
}

/// Why a demo ended early.
#[derive(Debug)]
enum Failure {
    /// Something was not as the story says.
    Story(String),
    /// Nobody listens any more.
    Output(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Story(what) => write!(f, "failed: {what}"),
            Self::Output(error) => write!(f, "cannot write: {error}"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Writes one line, at once.
fn say(line: &str) -> Result<(), Failure> {
    Ok(Patient(io::stdout()).write_all(format!("{line}\n").as_bytes())?)
}
