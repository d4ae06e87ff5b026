//! The driver's loop, for every runtime with futures.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::driver::{Driver, Work};
use crate::gateway::LinkId;

/// What a runtime brings: sockets and a timer.
pub trait Net {
    /// A connected socket.
    type Stream;
    /// A socket in the making. Dropping it stops connecting.
    type Connecting: Future<Output = io::Result<Self::Stream>>;

    /// Connects to a host, a name or an address, and a port.
    fn connect(&mut self, host: String, port: u16) -> Self::Connecting;

    /// Reads, as `AsyncRead` does.
    fn poll_read(stream: &mut Self::Stream, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes, as `AsyncWrite` does.
    fn poll_write(stream: &mut Self::Stream, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Waits for a point in time. Called with another one, it waits for that instead.
    fn poll_timer(&mut self, context: &mut Context<'_>, at: Instant) -> Poll<()>;
}

/// Runs a gateway until it has ended. Spawn this on the runtime.
pub async fn drive<N: Net>(driver: Driver, mut net: N) {
    let mut socket = Socket::<N>::None;
    let mut out = Vec::new();
    poll_fn(|context| poll(&driver, &mut net, &mut socket, &mut out, context)).await;
}

enum Socket<N: Net> {
    None,
    Connecting(LinkId, Pin<Box<N::Connecting>>),
    Open(LinkId, N::Stream),
    /// Writing failed. What the peer said before is still to be read.
    Deaf(LinkId, N::Stream, io::Error),
}

/// How often the loop goes round before it lets others run.
const ROUNDS: usize = 32;
/// Bytes a read takes at most.
const READ: usize = 16 << 10;

thread_local! {
    /// One read buffer a thread serves every link on it: an idle link needs none.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

fn poll<N: Net>(
    driver: &Driver,
    net: &mut N,
    socket: &mut Socket<N>,
    out: &mut Vec<u8>,
    context: &mut Context<'_>,
) -> Poll<()> {
    driver.unpark();
    for _ in 0..ROUNDS {
        while let Some(work) = driver.work() {
            match work {
                Work::Connect { link, host, port } => {
                    *socket = Socket::Connecting(link, Box::pin(net.connect(host, port)));
                }
                Work::Disconnect { last_words, .. } => {
                    if let Socket::Open(_, stream) = socket {
                        out.extend_from_slice(&last_words);
                        // One attempt: whoever does not take a goodbye does not get one.
                        let _ = poll_write_all::<N>(stream, context, out);
                    }
                    out.clear();
                    *socket = Socket::None;
                }
            }
        }
        if driver.is_finished() {
            return Poll::Ready(());
        }
        let moved = poll_socket(driver, socket, out, context);
        let late = match driver.deadline() {
            Some(at) => net.poll_timer(context, at).is_ready(),
            None => false,
        };
        if late {
            driver.timeout();
        }
        if !moved && !late && driver.park(context.waker()) {
            return Poll::Pending;
        }
    }
    context.waker().wake_by_ref();
    Poll::Pending
}

/// Moves what can be moved. Whether anything was.
fn poll_socket<N: Net>(driver: &Driver, socket: &mut Socket<N>, out: &mut Vec<u8>, context: &mut Context<'_>) -> bool {
    match socket {
        Socket::None => false,
        Socket::Connecting(link, connecting) => {
            let link = *link;
            match connecting.as_mut().poll(context) {
                Poll::Pending => return false,
                Poll::Ready(Ok(stream)) => {
                    *socket = Socket::Open(link, stream);
                    driver.connected(link);
                }
                Poll::Ready(Err(error)) => {
                    *socket = Socket::None;
                    driver.unreachable(link, &error);
                }
            }
            true
        }
        Socket::Open(link, stream) => {
            let link = *link;
            driver.transmit(out);
            let before = out.len();
            if let Poll::Ready(Err(error)) = poll_write_all::<N>(stream, context, out) {
                out.clear();
                driver.write_failed(link);
                if let Socket::Open(_, stream) = std::mem::replace(socket, Socket::None) {
                    *socket = Socket::Deaf(link, stream, error);
                }
                return true;
            }
            let wrote = before != out.len();
            let read = driver.wants_read() && poll_read::<N>(driver, link, stream, None, context) != Read::Nothing;
            wrote || read
        }
        Socket::Deaf(link, stream, error) => {
            // What arrived before the connection broke is read to its end, and whether or not the queue has room, since
            // there is not much of it. The runtime may not have noticed yet that there is something to read: a read that
            // is not ready says nothing. A broken connection becomes readable by itself, and should one ever not, the
            // keepalive ends the link.
            driver.wants_read();
            poll_read::<N>(driver, *link, stream, Some(error), context) != Read::Nothing
        }
    }
}

/// Writes until there is nothing left, or no room. Takes what was written off the front.
fn poll_write_all<N: Net>(
    stream: &mut N::Stream,
    context: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Poll<io::Result<()>> {
    let mut written = 0;
    let result = loop {
        let rest = out.get(written..).unwrap_or(&[]);
        if rest.is_empty() {
            break Poll::Ready(Ok(()));
        }
        match N::poll_write(stream, context, rest) {
            Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(n)) => written += n,
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
            Poll::Pending => break Poll::Pending,
        }
    };
    if written == out.len() {
        // An idle link keeps no write buffer.
        *out = Vec::new();
    } else {
        out.drain(..written);
    }
    Poll::Ready(ready!(result))
}

#[derive(PartialEq)]
enum Read {
    Something,
    Nothing,
}

/// Reads once. `broken` is why writing failed, if it did: it says more than that the stream has ended.
fn poll_read<N: Net>(
    driver: &Driver,
    link: LinkId,
    stream: &mut N::Stream,
    broken: Option<&io::Error>,
    context: &mut Context<'_>,
) -> Read {
    // Taken and put back, since what is received may wake a task that the waker runs at once, another driver's even.
    let mut buffer = BUFFER.take();
    buffer.resize(READ, 0);
    let read = match N::poll_read(stream, context, &mut buffer) {
        Poll::Pending => Read::Nothing,
        Poll::Ready(result) => {
            match (result, broken) {
                (Ok(0), Some(error)) => driver.read_failed(link, error),
                (Ok(0), None) => driver.eof(link),
                (Ok(n), _) => driver.received(link, buffer.get(..n).unwrap_or(&[])),
                (Err(error), _) if error.kind() == io::ErrorKind::Interrupted => {}
                (Err(error), _) => driver.read_failed(link, &error),
            }
            Read::Something
        }
    };
    BUFFER.set(buffer);
    read
}
