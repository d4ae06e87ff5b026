//! Work that waits for a disk or for a name server.

use std::io;

use tokio::sync::oneshot;

/// Runs this on a thread made for it. `tokio::task::spawn_blocking` would panic where the system has no thread left, and a
/// panic in the middle of an enrolment would use up its token.
///
/// # Errors
/// No thread could be made, and the work was not begun; or it panicked.
pub(super) async fn on_a_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (told, done) = oneshot::channel();
    let work = move || {
        // The future may have been dropped.
        let _ = told.send(work());
    };
    let made = std::thread::Builder::new().name(name.into()).spawn(work);
    made.map_err(|error| io::Error::new(error.kind(), format!("no thread could be made: {error}")))?;
    done.await.map_err(|_| io::Error::other("it panicked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_panics_is_an_error() {
        assert_eq!(on_a_thread("works", || 7).await.unwrap(), 7);
        let failed = on_a_thread("fails", || -> u8 { panic!("on purpose") }).await.unwrap_err();
        assert_eq!(failed.to_string(), "it panicked");
    }
}
