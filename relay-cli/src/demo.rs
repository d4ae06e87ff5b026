//! `relay demo`: the whole life of a gateway, against an embedded connector, over real sockets.

mod prompt;
mod stage;
mod story;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use crate::streams::Patient;
use crate::{runtime, text};

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

/// Columns of the narrowest terminal that is common.
const WIDTH: usize = 80;

/// Writes lines, at once. Long ones go on in the next, below their own beginning.
fn say(text: &str) -> Result<(), Failure> {
    let lines: String = text::visible(text).split('\n').flat_map(|line| [wrapped(line), "\n".into()]).collect();
    Ok(Patient(io::stdout()).write_all(lines.as_bytes())?)
}

fn wrapped(line: &str) -> String {
    let words = line.trim_start_matches(' ');
    let begins = line.len() - words.len();
    // A mark stands before the text of a line.
    let (mark, words) = words.split_at_checked(4).filter(|(mark, _)| *mark == "ok  ").unwrap_or(("", words));
    let indent = begins + mark.len();
    let mut out = format!("{:begins$}{mark}", "");
    let mut column = indent;
    for (number, word) in words.split(' ').enumerate() {
        let length = word.chars().count();
        if number > 0 && column + 1 + length > WIDTH {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if number > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_go_on_below_their_beginning() {
        let words = "word ".repeat(30);
        for (line, indent) in [(format!("   ok  {words}"), 7), (format!("  [{words}"), 2), (words.clone(), 0)] {
            let lines = wrapped(line.trim_end());
            let lines: Vec<&str> = lines.split('\n').collect();
            assert!(lines.len() > 1 && lines.iter().all(|line| line.chars().count() <= WIDTH), "{lines:?}");
            assert!(lines[1..].iter().all(|line| line.len() - line.trim_start().len() == indent), "{lines:?}");
            assert_eq!(lines.join(" ").split_whitespace().filter(|word| word.contains("word")).count(), 30);
        }
        for line in ["", "   ok  short", "  /cut     a table keeps its spaces", &"x".repeat(100)] {
            assert_eq!(wrapped(line), line);
        }
    }
}
