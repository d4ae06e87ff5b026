//! The program that `--exec` runs.

use std::ffi::{OsStr, OsString};
use std::io::{self, PipeReader, PipeWriter};
use std::time::Duration;

use tokio::process::{self, Command};
use tokio::time::timeout;

/// How long the program may take to exit when its input has ended.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How long a program that reads no more may take to exit, as it most likely does, before it is said to be deaf.
pub(super) const DEAF: Duration = Duration::from_secs(1);

/// Says that a program which still runs reads no more.
pub(super) fn warn_of_deafness() {
    crate::output::note(
        "warning: the program has closed its standard input: it is told nothing more, and deliveries are given back instead \
         of acknowledged",
    );
}

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Child(process::Child);

/// Starts a program. What is written to the writer is its input; its output can be read from the reader. Its environment
/// is ours without the variables `hidden`.
pub(super) fn start(command: &[OsString], hidden: &[&OsStr]) -> io::Result<(Child, PipeWriter, PipeReader)> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program"))?;
    let (input, to_child) = io::pipe()?;
    let (from_child, output) = io::pipe()?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(input).stdout(output).kill_on_drop(true);
    for name in hidden {
        command.env_remove(name);
    }
    let child = command.spawn()?;
    Ok((Child(child), to_child, from_child))
}

impl Child {
    /// Waits until it exits by itself; whether it succeeded. Dropping the future loses nothing, and once it exited this is
    /// ready again.
    pub(super) async fn exited(&mut self) -> bool {
        self.0.wait().await.is_ok_and(|status| status.success())
    }

    /// Waits until its input has ended and it has exited, for a while, and then kills it. Whether it succeeded.
    /// `input_ended`: whether it read all that it was told, or else that was said.
    pub(super) async fn end(mut self, input_ended: impl Future<Output = bool>, patience: Duration) -> bool {
        let exited = async {
            if !input_ended.await && timeout(DEAF, self.exited()).await.is_err() {
                warn_of_deafness();
            }
            self.exited().await
        };
        if let Ok(succeeded) = timeout(patience, exited).await {
            return succeeded;
        }
        crate::output::note("the program did not exit when its input ended: killing it");
        let _ = self.0.kill().await;
        false
    }
}
