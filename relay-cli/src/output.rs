//! Standard output.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::streams::Patient;
use crate::{log, text};

/// Bytes after which lines are written without waiting for the end of the burst.
const BURST: usize = 64 << 10;

/// Lines on their way to standard output, or to whatever stands in for it.
pub(crate) struct Output<W> {
    waiting: Vec<u8>,
    to: W,
}

impl Output<Patient<io::Stdout>> {
    pub(crate) fn stdout() -> Self {
        Self::new(Patient(io::stdout()))
    }
}

impl<W: Write> Output<W> {
    pub(crate) fn new(to: W) -> Self {
        Self { waiting: Vec::new(), to }
    }

    /// Adds a line, in which hidden characters are escaped as in JSON. It is written with the next [`flush`](Self::flush) at the latest.
    pub(crate) fn line(&mut self, line: &str) -> io::Result<()> {
        self.waiting.extend_from_slice(text::visible_json(line).as_bytes());
        self.waiting.push(b'\n');
        if self.waiting.len() >= BURST { self.flush() } else { Ok(()) }
    }

    /// Writes what waits.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.to.write_all(&self.waiting)?;
        self.waiting.clear();
        self.waiting.shrink_to(BURST);
        self.to.flush()
    }
}

/// What is said when nobody can read the events any more.
pub(crate) const UNREAD: &str = "nobody reads standard output any more: ending";

/// Prints one line, and ends with `code`.
pub(crate) fn print(line: &str, code: ExitCode) -> ExitCode {
    let mut output = Output::stdout();
    finish(output.line(line).and_then(|()| output.flush()), code)
}

/// The end of a command that wrote to standard output: `code`, unless writing failed. A reader that went away has read
/// what it wanted, which is no failure.
pub(crate) fn finish(written: io::Result<()>, code: ExitCode) -> ExitCode {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            fail(&format!("cannot write to standard output: {error}"), crate::FAILED)
        }
        _ => code,
    }
}

/// Says on standard error what is wrong, and ends with `code`.
pub(crate) fn fail(problem: &str, code: u8) -> ExitCode {
    note(problem);
    ExitCode::from(code)
}

/// Says something on standard error.
pub(crate) fn note(text: &str) {
    log::line(&format!("relay: {text}\n"));
}
