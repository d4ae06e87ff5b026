//! What a runtime feeds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;
use std::thread::panicking;
use std::time::{Duration, Instant};

use super::shared::{Inner, Shared};
use crate::gateway::LinkId;
use crate::wire::{Attempt, IoRequest};

/// The driver's end of a gateway: sockets and time in, bytes and work out.
///
/// An async runtime leaves this to [`drive`](super::drive). One with threads calls the methods itself, from as many
/// threads as it likes. When it is dropped before the gateway ended, the gateway ends: every request, every event stream,
/// every waiting call.
#[derive(Debug)]
pub struct Driver {
    shared: Arc<Shared>,
}

/// Bytes that one write takes at most, about.
const ENOUGH: usize = 64 << 10;

impl Driver {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Everything at once that a driver asks for between two attempts to move bytes, under one lock: the same as
    /// [`unpark`](Self::unpark), [`poll_io`](Self::poll_io), and without a request [`is_finished`](Self::is_finished),
    /// [`transmit`](Self::transmit), [`wants_read`](Self::wants_read) and [`poll_timeout`](Self::poll_timeout).
    pub fn poll(&self, out: &mut Vec<u8>) -> DriverPoll {
        self.caught_up(|inner| {
            inner.unpark_driver();
            let mut polled = DriverPoll { io: inner.next_io(), finished: false, wants_read: false, deadline: None };
            if polled.io.is_none() {
                transmit(inner, out);
                polled.finished = inner.is_finished();
                polled.wants_read = wants_read(inner);
                polled.deadline = arm(inner).and_then(|at| self.shared.instant(at));
            }
            polled
        })
    }

    /// Asks for something. What follows from calls that were made while the driver was awake comes first.
    fn caught_up<T>(&self, ask: impl FnOnce(&mut Inner) -> T) -> T {
        self.shared.locked(|inner| {
            inner.catch_up();
            ask(inner)
        })
    }

    /// Has `waker` called, once, when there is something new: work, bytes to write, a wish to read, an earlier deadline,
    /// or the end. False, and nothing registered, when there is something already.
    pub fn park(&self, waker: &Waker) -> bool {
        self.caught_up(|inner| inner.park_driver(waker))
    }

    /// The driver is awake: its waker need not be called.
    pub fn unpark(&self) {
        self.shared.lock().unpark_driver();
    }

    /// What to do about sockets next.
    pub fn poll_io(&self) -> Option<IoRequest> {
        self.caught_up(Inner::next_io)
    }

    /// Whether the application has events left to read.
    pub fn has_events(&self) -> bool {
        !self.shared.lock().gateway.machine().is_drained()
    }

    /// Whether the gateway has ended and there is no work left: the driver's own end.
    pub fn is_finished(&self) -> bool {
        self.caught_up(|inner| inner.is_finished())
    }

    /// Moves what waits to be written to the current link's socket into `out`, if that is empty. A driver that could not
    /// write everything calls this again when it has: until then it is not told of more. It also calls this after each part
    /// of `out` that was written and taken off it: a link whose socket takes nothing for long is lost (LINK-3).
    pub fn transmit(&self, out: &mut Vec<u8>) {
        self.caught_up(|inner| transmit(inner, out));
    }

    /// Whether to read from the socket. A driver that waits without reading is told when that changes.
    pub fn wants_read(&self) -> bool {
        self.caught_up(wants_read)
    }

    /// The next deadline, towards which the driver is now taken to sleep: it is told when an earlier one comes up.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let at = self.caught_up(arm);
        at.and_then(|at| self.shared.instant(at))
    }

    /// The deadline has come. First write what the socket takes, and tell of everything that lies in it to be read: a process
    /// may have been stopped, and what came in time has to count (CLOCK-4).
    pub fn handle_timeout(&self) {
        self.shared.time_out();
    }

    /// The name stands for these addresses, in the order in which the resolver prefers them.
    pub fn handle_resolved(&self, link: LinkId, addresses: &[SocketAddr]) {
        self.shared.with(|inner, now| inner.gateway.handle_resolved(link, addresses, now));
    }

    /// The name cannot be looked up.
    pub fn handle_unresolved(&self, link: LinkId, error: &std::io::Error) {
        self.shared.with(|inner, now| inner.gateway.handle_unresolved(link, &error.to_string(), now));
    }

    /// The TCP connection is there. False: it is not wanted any more, and is to be closed.
    #[must_use]
    pub fn handle_connected(&self, link: LinkId, attempt: Attempt) -> bool {
        self.shared.with(|inner, now| inner.gateway.handle_connected(link, attempt, now))
    }

    /// This attempt led to no TCP connection.
    pub fn handle_unreachable(&self, link: LinkId, attempt: Attempt, error: &std::io::Error) {
        self.shared.with(|inner, now| inner.gateway.handle_unreachable(link, attempt, &error.to_string(), now));
    }

    /// Bytes came from the socket.
    pub fn handle_bytes(&self, link: LinkId, bytes: &[u8]) {
        self.shared.with(|inner, now| inner.gateway.handle_bytes(link, bytes, now));
    }

    /// The socket reached its end.
    pub fn handle_eof(&self, link: LinkId) {
        self.shared.with(|inner, now| inner.gateway.handle_eof(link, now));
    }

    /// Reading from the socket failed.
    pub fn handle_read_error(&self, link: LinkId, error: &std::io::Error) {
        self.shared.with(|inner, now| inner.gateway.handle_read_error(link, &error.to_string(), now));
    }

    /// A thread that this driver needs has panicked. The gateway ends, and the application is told why: a panic that drops
    /// the driver on its way tells so by itself.
    pub fn handle_panic(&self) {
        self.shared.crash();
    }

    /// Writing to the socket failed. Go on reading what is there, then call [`handle_eof`](Self::handle_eof)
    /// or [`handle_read_error`](Self::handle_read_error) (LINK-2).
    pub fn handle_write_error(&self, link: LinkId) {
        self.shared.with(|inner, now| inner.gateway.handle_write_error(link, now));
    }
}

/// What a driver has to do next.
#[derive(Debug)]
#[non_exhaustive]
pub struct DriverPoll {
    /// Something to do about sockets. Poll again when it is done; until then the rest says nothing.
    pub io: Option<IoRequest>,
    /// Whether the gateway has ended: the driver's own end.
    pub finished: bool,
    /// Whether to read from the socket.
    pub wants_read: bool,
    /// The next deadline, towards which the driver is now taken to sleep.
    pub deadline: Option<Instant>,
}

fn transmit(inner: &mut Inner, out: &mut Vec<u8>) {
    let moves = out.is_empty() && !inner.gateway.transmit().is_empty();
    inner.writing = moves || !out.is_empty();
    inner.gateway.written(out.len());
    if !moves {
        return;
    }
    // Writing makes room, and the frames that take it are due as well.
    let now = inner.now();
    while out.len() < ENOUGH && !inner.gateway.transmit().is_empty() {
        let bytes = inner.gateway.transmit();
        let len = bytes.len();
        out.extend_from_slice(bytes);
        inner.gateway.take(len, out.len(), now);
    }
    inner.settle(now);
}

fn wants_read(inner: &mut Inner) -> bool {
    inner.reading = inner.gateway.wants_read();
    inner.reading
}

fn arm(inner: &mut Inner) -> Option<Duration> {
    inner.armed = inner.gateway.poll_timeout().map(|deadline| deadline.at);
    inner.armed
}

impl Drop for Driver {
    fn drop(&mut self) {
        if panicking() {
            self.shared.crash();
        }
        self.shared.abandon();
    }
}
