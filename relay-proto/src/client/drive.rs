//! The driver's loop, for every runtime with futures.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use super::driver::Driver;
use super::read_buffer::ReadBuffer;
use crate::gateway::LinkId;
use crate::wire::{Attempt, IoRequest};

/// What a runtime brings: sockets and a timer.
pub trait Net {
    /// A connected socket.
    type Stream;
    /// A name being looked up.
    type Resolving: Future<Output = io::Result<Vec<SocketAddr>>>;
    /// A socket in the making. Dropping it stops connecting.
    type Connecting: Future<Output = io::Result<Self::Stream>>;

    /// Looks a host's name up; the addresses have this port, and come in the order in which they are preferred.
    fn resolve(&mut self, host: String, port: u16) -> Self::Resolving;

    /// Connects, with Nagle's algorithm off.
    fn connect(&mut self, address: SocketAddr) -> Self::Connecting;

    /// Reads, as `AsyncRead` does.
    fn poll_read(stream: &mut Self::Stream, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes, as `AsyncWrite` does.
    fn poll_write(stream: &mut Self::Stream, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Reads what lies in the socket at this moment, whether or not the runtime has noticed that something does; an error of
    /// kind `WouldBlock` if nothing does. A process that was stopped learns of the time first, and of its sockets second
    /// (CLOCK-4).
    ///
    /// # Errors
    /// As `Read` has it.
    fn try_read(stream: &mut Self::Stream, bytes: &mut [u8]) -> io::Result<usize> {
        at_once(Self::poll_read(stream, &mut Context::from_waker(Waker::noop()), bytes))
    }

    /// Writes what the socket takes at this moment, likewise.
    ///
    /// # Errors
    /// As `Write` has it.
    fn try_write(stream: &mut Self::Stream, bytes: &[u8]) -> io::Result<usize> {
        at_once(Self::poll_write(stream, &mut Context::from_waker(Waker::noop()), bytes))
    }

    /// Waits for a point in time. Called with another one, it waits for that instead.
    fn poll_timer(&mut self, context: &mut Context<'_>, at: Instant) -> Poll<()>;
}

fn at_once(done: Poll<io::Result<usize>>) -> io::Result<usize> {
    match done {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Runs a gateway until it has ended. Spawn this on the runtime.
pub async fn drive<N: Net>(driver: Driver, mut net: N) {
    let mut network = Network::<N> { lookup: None, socket: Socket::None, timer: None, late: None };
    let mut out = Vec::new();
    poll_fn(|context| poll(&driver, &mut net, &mut network, &mut out, context)).await;
}

/// What the driver has under way.
struct Network<N: Net> {
    lookup: Option<Box<Lookup<N>>>,
    socket: Socket<N>,
    /// What the timer is set to.
    timer: Option<Instant>,
    /// A deadline has passed, and is judged once this many bytes have been read, or there are none (CLOCK-4).
    late: Option<usize>,
}

/// A name being looked up. Most systems cannot stop that, and it may take minutes; so one that its dial has given up is
/// kept for the next dial of the same name, and there is never more than one.
struct Lookup<N: Net> {
    link: LinkId,
    name: (String, u16),
    resolving: Pin<Box<N::Resolving>>,
}

type Connecting<N> = Pin<Box<<N as Net>::Connecting>>;

enum Socket<N: Net> {
    None,
    Connecting(LinkId, Vec<(Attempt, Connecting<N>)>),
    Open(LinkId, N::Stream),
    /// Writing failed. What the peer said before is still to be read.
    Deaf(LinkId, N::Stream, io::Error),
}

/// How often the loop goes round before it lets others run.
const ROUNDS: usize = 32;
/// Bytes that it reads before it lets others run. What is read further ahead of the application has left the cache, and taken
/// fresh memory from the system, before it is looked at.
const AHEAD: usize = 64 << 10;
/// Bytes that are read before a deadline is judged that has passed: more than a socket holds, and yet no deadline waits for
/// ever for a peer that talks without end.
const BACKLOG: usize = 8 << 20;

thread_local! {
    /// One read buffer a thread serves every link on it: an idle link needs none.
    static BUFFER: Cell<ReadBuffer> = const { Cell::new(ReadBuffer::new()) };
}

fn poll<N: Net>(
    driver: &Driver,
    net: &mut N,
    network: &mut Network<N>,
    out: &mut Vec<u8>,
    context: &mut Context<'_>,
) -> Poll<()> {
    let Network { lookup, socket, timer, late } = network;
    let mut ahead = 0;
    for _ in 0..ROUNDS {
        let polled = loop {
            let polled = driver.poll(out);
            match polled.io {
                None => break polled,
                Some(IoRequest::Resolve { link, host, port }) => resolve(net, lookup, link, (host, port), context),
                Some(IoRequest::Connect { link, attempt, address }) => {
                    let connecting = (attempt, Box::pin(net.connect(address)));
                    match socket {
                        Socket::Connecting(known, all) if *known == link => all.push(connecting),
                        _ => *socket = Socket::Connecting(link, vec![connecting]),
                    }
                }
                Some(IoRequest::Abort { attempt, .. }) => {
                    if let Socket::Connecting(_, all) = socket {
                        all.retain(|(other, _)| *other != attempt);
                    }
                }
                Some(IoRequest::Disconnect { final_bytes, .. }) => {
                    if let Socket::Open(_, stream) = socket {
                        out.extend_from_slice(&final_bytes);
                        // One attempt: whoever does not take a goodbye does not get one.
                        let _ = poll_write_all::<N>(stream, context, out);
                    }
                    out.clear();
                    *socket = Socket::None;
                }
            }
        };
        if polled.finished {
            return Poll::Ready(());
        }
        let looked_up = poll_lookup(driver, lookup, context);
        let moved = poll_socket(driver, socket, polled.wants_read, out, context);
        if late.is_none() && poll_timer(net, timer, polled.deadline, context) {
            *late = Some(BACKLOG);
        }
        let was_late = late.is_some();
        if let Some(left) = late {
            match left.checked_sub(catch_up(driver, socket, out)) {
                Some(rest @ 1..) if rest < *left => {
                    *left = rest;
                    // The others have their turn.
                    break;
                }
                _ => *late = None,
            }
            driver.handle_timeout();
        }
        if !looked_up && moved.is_none() && !was_late && driver.park(context.waker()) {
            return Poll::Pending;
        }
        ahead += moved.unwrap_or(0);
        if ahead >= AHEAD {
            break;
        }
    }
    context.waker().wake_by_ref();
    Poll::Pending
}

/// Whether it is time. A timer that is set earlier stays as it is: each request brings an earlier deadline and each result
/// takes it back, and to be called early once costs less than to set the timer twice for each.
fn poll_timer<N: Net>(
    net: &mut N,
    timer: &mut Option<Instant>,
    deadline: Option<Instant>,
    context: &mut Context<'_>,
) -> bool {
    let Some(deadline) = deadline else { return false };
    let at = timer.map_or(deadline, |set| set.min(deadline));
    let late = net.poll_timer(context, at).is_ready();
    *timer = (!late).then_some(at);
    late
}

/// Starts a lookup, or takes over the one that is still under way for this name.
fn resolve<N: Net>(
    net: &mut N,
    lookup: &mut Option<Box<Lookup<N>>>,
    link: LinkId,
    name: (String, u16),
    context: &mut Context<'_>,
) {
    if let Some(known) = lookup.as_mut().filter(|known| known.name == name)
        && known.resolving.as_mut().poll(context).is_pending()
    {
        known.link = link;
        return;
    }
    // What an earlier dial gave up and has come since may be out of date.
    let resolving = Box::pin(net.resolve(name.0.clone(), name.1));
    *lookup = Some(Box::new(Lookup { link, name, resolving }));
}

/// Whether the lookup has ended.
fn poll_lookup<N: Net>(driver: &Driver, lookup: &mut Option<Box<Lookup<N>>>, context: &mut Context<'_>) -> bool {
    let Some(known) = lookup else { return false };
    let Poll::Ready(result) = known.resolving.as_mut().poll(context) else { return false };
    match result {
        Ok(addresses) => driver.handle_resolved(known.link, &addresses),
        Err(error) => driver.handle_unresolved(known.link, &error),
    }
    *lookup = None;
    true
}

/// Moves what can be moved. If anything was, how many bytes were read.
fn poll_socket<N: Net>(
    driver: &Driver,
    socket: &mut Socket<N>,
    wants_read: bool,
    out: &mut Vec<u8>,
    context: &mut Context<'_>,
) -> Option<usize> {
    match socket {
        Socket::None => None,
        Socket::Connecting(link, all) => {
            let link = *link;
            let done =
                all.iter_mut().enumerate().find_map(|(at, (_, connecting))| match connecting.as_mut().poll(context) {
                    Poll::Pending => None,
                    Poll::Ready(result) => Some((at, result)),
                });
            let (at, result) = done?;
            let (attempt, _) = all.swap_remove(at);
            match result {
                Ok(stream) => {
                    if driver.handle_connected(link, attempt) {
                        // The others are dropped with it.
                        *socket = Socket::Open(link, stream);
                    }
                }
                Err(error) => driver.handle_unreachable(link, attempt, &error),
            }
            Some(0)
        }
        Socket::Open(link, stream) => {
            let link = *link;
            let before = out.len();
            if let Poll::Ready(Err(error)) = poll_write_all::<N>(stream, context, out) {
                out.clear();
                driver.handle_write_error(link);
                if let Socket::Open(_, stream) = std::mem::replace(socket, Socket::None) {
                    *socket = Socket::Deaf(link, stream, error);
                }
                return Some(0);
            }
            let wrote = before != out.len();
            let read = if wants_read { poll_read::<N>(driver, link, stream, None, context) } else { None };
            read.or(wrote.then_some(0))
        }
        Socket::Deaf(link, stream, error) => {
            // What arrived before the connection broke is read to its end, and whether or not the queue has room, since
            // there is not much of it. The runtime may not have noticed yet that there is something to read: a read that
            // is not ready says nothing. A broken connection becomes readable by itself, and should one ever not, the
            // keepalive ends the link.
            poll_read::<N>(driver, *link, stream, Some(error), context)
        }
    }
}

/// One turn of input and output, for a deadline that has passed: what came in time has to count, also when nobody looked
/// (CLOCK-4). How many bytes were read; none if none lay there. An error is left to the next round, which finds it as well.
fn catch_up<N: Net>(driver: &Driver, socket: &mut Socket<N>, out: &mut Vec<u8>) -> usize {
    let Socket::Open(link, stream) = socket else { return 0 };
    while !out.is_empty()
        && let Ok(written @ 1..) = N::try_write(stream, out)
    {
        out.drain(..written.min(out.len()));
        driver.transmit(out);
    }
    let mut ahead = 0;
    while ahead < AHEAD && driver.wants_read() {
        let mut buffer = BUFFER.take();
        let read = N::try_read(stream, buffer.space()).unwrap_or(0);
        if read > 0 {
            driver.handle_bytes(*link, buffer.filled(read));
            buffer.adapt(read);
        }
        BUFFER.set(buffer);
        if read == 0 {
            break;
        }
        ahead += read;
    }
    ahead
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

/// Reads once. If anything came, the end or an error included, how many bytes. `broken` is why writing failed, if it did: it
/// says more than that the stream has ended.
fn poll_read<N: Net>(
    driver: &Driver,
    link: LinkId,
    stream: &mut N::Stream,
    broken: Option<&io::Error>,
    context: &mut Context<'_>,
) -> Option<usize> {
    // Taken and put back, since what is received may wake a task that the waker runs at once, another driver's even.
    let mut buffer = BUFFER.take();
    let read = match N::poll_read(stream, context, buffer.space()) {
        Poll::Pending => None,
        Poll::Ready(result) => {
            let read = result.as_ref().map_or(0, |n| *n);
            match (result, broken) {
                (Ok(0), Some(error)) => driver.handle_read_error(link, error),
                (Ok(0), None) => driver.handle_eof(link),
                (Ok(n), _) => {
                    driver.handle_bytes(link, buffer.filled(n));
                    buffer.adapt(n);
                }
                (Err(error), _) if error.kind() == io::ErrorKind::Interrupted => {}
                (Err(error), _) => driver.handle_read_error(link, &error),
            }
            Some(read)
        }
    };
    BUFFER.set(buffer);
    read
}
