//! Looking names up, for runtimes that have no way of their own that can fail: what most have panics when the system gives no
//! thread.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A name being looked up. Most systems cannot stop that: dropping this stops nothing.
#[derive(Debug)]
pub struct LookUp(Arc<Mutex<Answer>>);

#[derive(Debug)]
enum Answer {
    Awaited(Option<Waker>),
    Here(io::Result<Vec<SocketAddr>>),
    Taken,
}

/// Looks a host's name up, with the system's resolver, on a thread that ends with it. The addresses have this port, and come
/// in the order in which the resolver prefers them. Without a thread the answer is an error.
pub fn look_up(host: String, port: u16) -> LookUp {
    look_up_with(move || Ok((host.as_str(), port).to_socket_addrs()?.collect()))
}

fn look_up_with(resolve: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static) -> LookUp {
    let answer = Arc::new(Mutex::new(Answer::Awaited(None)));
    let asked = Asked(answer.clone());
    let thread = std::thread::Builder::new().name("relay-lookup".into());
    if let Err(error) = thread.spawn(move || asked.answer(resolve())) {
        let told = format!("no thread for looking the name up: {error}");
        // Dropped with the thread's work, the question was answered already, with less to say.
        *lock(&answer) = Answer::Here(Err(io::Error::new(error.kind(), told)));
    }
    LookUp(answer)
}

/// What the thread holds.
struct Asked(Arc<Mutex<Answer>>);

impl Asked {
    fn answer(&self, result: io::Result<Vec<SocketAddr>>) {
        let before = std::mem::replace(&mut *lock(&self.0), Answer::Here(result));
        if let Answer::Awaited(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // The thread has ended without an answer: it panicked.
        if matches!(&*lock(&self.0), Answer::Awaited(_)) {
            self.answer(Err(io::Error::other("the lookup failed without an answer")));
        }
    }
}

impl Future for LookUp {
    type Output = io::Result<Vec<SocketAddr>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut answer = lock(&self.0);
        match std::mem::replace(&mut *answer, Answer::Taken) {
            Answer::Here(result) => Poll::Ready(result),
            // Polled again after it was ready: never ready again, as the futures of the standard library do it.
            Answer::Taken => Poll::Pending,
            Answer::Awaited(_) => {
                *answer = Answer::Awaited(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

fn lock(answer: &Mutex<Answer>) -> MutexGuard<'_, Answer> {
    answer.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::task::Wake;

    use super::*;

    struct Told(Mutex<std::sync::mpsc::Sender<()>>);

    impl Wake for Told {
        fn wake(self: Arc<Self>) {
            let _ = self.0.lock().unwrap().send(());
        }
    }

    fn ended(mut lookup: LookUp) -> io::Result<Vec<SocketAddr>> {
        let (tell, told) = channel();
        let waker = Waker::from(Arc::new(Told(Mutex::new(tell))));
        loop {
            if let Poll::Ready(result) = Pin::new(&mut lookup).poll(&mut Context::from_waker(&waker)) {
                let again = Pin::new(&mut lookup).poll(&mut Context::from_waker(&waker));
                assert!(again.is_pending());
                return result;
            }
            told.recv_timeout(std::time::Duration::from_secs(60)).expect("an answer");
        }
    }

    #[test]
    fn a_name_is_looked_up() {
        let found = ended(look_up("localhost".into(), 7)).unwrap();
        assert!(!found.is_empty() && found.iter().all(|address| address.ip().is_loopback() && address.port() == 7));
    }

    #[test]
    fn a_failure_is_an_error_and_a_panic_is_one_as_well() {
        let failed = look_up_with(|| Err(io::ErrorKind::NotFound.into()));
        assert_eq!(ended(failed).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(
            ended(look_up_with(|| panic!("this is only a test")))
                .unwrap_err()
                .to_string()
                .contains("without an answer")
        );
    }
}
