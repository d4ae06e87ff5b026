//! The runtime under the commands that wait for more than one thing.

use std::pin::Pin;
use std::process::ExitCode;

use crate::output;

/// A command at work: its exit code, or why it cannot go on.
// One type for all of them, because the loop that drives one is compiled for each type.
pub(crate) type Work<'a> = Pin<Box<dyn Future<Output = Result<ExitCode, String>> + 'a>>;

/// Runs a command to its end, on this thread.
pub(crate) fn run(work: Work<'_>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::fail(&format!("cannot start: {error}"), crate::FAILED),
    };
    let ended = runtime.block_on(work);
    // What still runs has nothing left to say; a name that is being resolved must not hold up the end.
    runtime.shutdown_background();
    ended.unwrap_or_else(|problem| output::fail(&problem, crate::FAILED))
}
