//! The runtime under the commands that wait for more than one thing.

use std::io;
use std::pin::Pin;
use std::process::ExitCode;

use tokio::sync::oneshot;

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

/// Runs this on a thread made for it, and sends what it returns; what panics sends nothing.
/// (`tokio::task::spawn_blocking` panics itself when the system has no thread left.)
///
/// # Errors
/// No thread could be made. The work was not begun.
pub(crate) fn on_a_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<oneshot::Receiver<T>> {
    let (tell, told) = oneshot::channel();
    let work = move || {
        // A command that was interrupted does not wait for it any more.
        let _ = tell.send(work());
    };
    std::thread::Builder::new().name(name.into()).spawn(work).map(|_| told)
}
