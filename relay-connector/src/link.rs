//! A connection: moving its bytes between the socket, the wire and the peer.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use relay_proto::client;
use relay_proto::connector::{LinkId, Refusal, Transmit};
use relay_proto::end::LinkEnd;
use relay_proto::wire::{LinkOptions, ServerEvent, ServerLink, UpgradeRequest};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::admission::NotAdmitted;
use super::gateway_entry::GatewayEntry;
use super::http::{self, Answer, WEB_PAGE};
use super::pending_connections::{PendingConnection, sent_away};
use super::server::{ConnectionGuard, Interest};

/// How long a closed connection is read for what the client still sends, so that the close frame is not overtaken by a
/// reset.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes waiting for the socket from which on no further frame is put on the wire.
const ENOUGH: usize = 64 << 10;
/// Where a connector is mounted (CONN-1).
const PATH: &str = "/relay";
/// Where somebody asks whether it lives.
const HEALTH: &str = "/healthz";
/// What is said everywhere else.
const ELSEWHERE: &str = "the relay is at /relay";
/// Why a connection has to go that did nothing wrong.
const CROWD: &str = "too many connections that are no links";
/// The most that is read at once.
const READ: usize = 16 << 10;
/// The most of a message that is handled at once, as far as lines are not longer.
const PIECE: usize = 8 << 10;
/// Bytes after which the other links have their turn.
const TURN: usize = 16 << 10;
/// Bytes that are read before a deadline is judged that has passed: more than a socket holds.
const BACKLOG: usize = 8 << 20;
/// What a read counts for at least.
const SMALL: usize = 256;

thread_local! {
    /// What a socket is read into. One for each thread and not for each connection: most connections are idle.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// All that a task of a connection holds on to: most of them wait, so that its size is what an idle link costs.
pub(super) struct Connection {
    stream: TcpStream,
    address: IpAddr,
    server: ConnectionGuard,
    wire: ServerLink,
    /// Whose link it is, once it is let in.
    own: Option<Own>,
    /// Before and after that.
    pending: Option<PendingConnection>,
    /// The wire has ended. What it still has to say is written until this time, and then it is over.
    ended: Option<Instant>,
    /// Bytes wait for the socket, which took none of the last that it was offered: until when it may go on like that, if
    /// not for ever.
    stalled: Option<Instant>,
    /// The socket took bytes that the runtime does not know of. Some systems, Linux among them, tell of room only when there
    /// is a good deal of it, though they take less than that when they are offered it. So the runtime may wait for room that
    /// is never told of, and bytes that wait have their time from now on.
    unnoticed: bool,
    /// The socket takes no more bytes.
    deaf: bool,
    /// Bytes that were handled since the others last had their turn.
    handled: usize,
}

struct Own {
    gateway_entry: Arc<GatewayEntry>,
    link: LinkId,
    news: Arc<Notify>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, address: IpAddr, server: ConnectionGuard) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let limits = server.config.limits();
        let mut options = LinkOptions::default();
        (options.plain_get, options.plain_post) = (true, true);
        (options.max_message, options.max_frame) = (limits.message, limits.message);
        let wire = ServerLink::new(&options, server.tls()).map_err(|end| io::Error::other(format!("{end:?}")))?;
        let pending = Some(server.admission.pending(address, server.now()));
        Ok(Self {
            stream,
            address,
            server,
            wire,
            own: None,
            pending,
            ended: None,
            stalled: None,
            unnoticed: false,
            deaf: false,
            handled: 0,
        })
    }

    /// Moves bytes until the link is over.
    pub(super) async fn run(&mut self) {
        let upgrade = self.server.deadline(self.server.config.request_timeout);
        loop {
            self.settle().await;
            if self.ended.is_some() && (self.deaf || self.wire.transmit().is_empty()) {
                return;
            }
            let interest = match (&self.own, self.ended) {
                (Some(own), _) => self.server.interest(&own.gateway_entry, own.link),
                (None, Some(until)) => Some(Interest { read: false, deadline: Some(until) }),
                (None, None) => Some(Interest { read: true, deadline: upgrade }),
            };
            // The peer has dropped it.
            let Some(Interest { read, deadline }) = interest else { return };
            let coming = self.own.is_none() && self.ended.is_none();
            if self.unnoticed && !self.deaf && !self.wire.transmit().is_empty() {
                self.stalled = self.stalled.or_else(|| self.server.deadline(self.server.config.write_timeout));
            }
            tokio::select! {
                ready = self.stream.readable(), if read => {
                    let n = match ready {
                        Ok(()) => BUFFER.with_borrow_mut(|buffer| self.read(buffer)),
                        Err(error) => self.failed(&error.to_string()),
                    };
                    self.take_turns(n).await;
                }
                ready = self.stream.writable(), if !self.deaf && !self.wire.transmit().is_empty() => match ready {
                    Ok(()) => self.write(),
                    Err(_) => self.write_failed(),
                },
                () = notified(self.own.as_ref()) => {}
                () = sent_away(self.pending.as_ref()) => self.give_up(CROWD),
                () = self.server.closing(), if coming => self.wire.handle_read_error("the connector shuts down"),
                () = wait_until(self.stalled) => {
                    self.catch_up_writing();
                    // Set anew if the socket took something.
                    if self.stalled.is_some_and(|at| self.server.is_past(at)) {
                        self.give_up("the gateway does not read");
                    }
                }
                () = wait_until(deadline) => {
                    self.catch_up_writing();
                    if read {
                        // Apart from the task, as below.
                        Box::pin(self.catch_up_reading()).await;
                    }
                    match &self.own {
                        Some(own) => self.server.with_link(&own.gateway_entry, own.link, |peer, now| peer.handle_timeout(now)),
                        // It takes its time to read what was said to it.
                        None if self.ended.is_some_and(|at| self.server.is_past(at)) => return self.deaf = true,
                        None if coming && self.ended.is_none() => self.wire.request_timed_out(),
                        None => {}
                    }
                }
            }
        }
    }

    /// Lets the others run now and then. A socket that always has bytes never waits, so that nothing else would.
    async fn take_turns(&mut self, handled: usize) {
        self.handled += handled.max(SMALL);
        if self.handled >= TURN {
            self.handled = 0;
            tokio::task::yield_now().await;
        }
    }

    /// Reads what lies in the socket before a deadline is judged that has passed: what came in time has to count, also when
    /// nobody looked (CLOCK-4).
    async fn catch_up_reading(&mut self) {
        let mut left = BACKLOG;
        while left > 0 && self.may_read() {
            let n = BUFFER.with_borrow_mut(|buffer| {
                let read = match client::same_socket(&self.stream) {
                    Ok(mut socket) => socket.read(buffer),
                    Err(_) => self.stream.try_read(buffer),
                };
                self.received(read, buffer)
            });
            if n == 0 {
                return;
            }
            left = left.saturating_sub(n);
            self.settle().await;
            self.take_turns(n).await;
        }
    }

    /// Whether the socket is to be read, as far as the peer and the wire are concerned.
    fn may_read(&self) -> bool {
        match (&self.own, self.ended) {
            (Some(own), _) => self.server.interest(&own.gateway_entry, own.link).is_some_and(|interest| interest.read),
            (None, ended) => ended.is_none(),
        }
    }

    /// Writes what the socket takes, likewise.
    fn catch_up_writing(&mut self) {
        while !self.deaf && !self.wire.transmit().is_empty() {
            let written = match client::same_socket(&self.stream) {
                Ok(mut socket) => socket.write(self.wire.transmit()),
                Err(_) => self.stream.try_write(self.wire.transmit()),
            };
            let goes_on = matches!(written, Ok(1..));
            self.wrote(written);
            self.unnoticed |= goes_on;
            if !goes_on {
                return;
            }
        }
    }

    /// Reads what there is, up to the size of the buffer. How much it was.
    fn read(&mut self, buffer: &mut [u8]) -> usize {
        let read = self.stream.try_read(buffer);
        self.received(read, buffer)
    }

    fn received(&mut self, read: io::Result<usize>, buffer: &[u8]) -> usize {
        match read {
            Ok(0) => self.wire.handle_eof(),
            Ok(n) => {
                if let Some(own) = &self.own {
                    self.server.with_link(&own.gateway_entry, own.link, |peer, now| peer.handle_traffic(own.link, now));
                }
                self.wire.handle_bytes(buffer.get(..n).unwrap_or(&[]));
                return n;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return self.failed(&error.to_string()),
        }
        0
    }

    /// Nothing more comes from the socket.
    fn failed(&mut self, detail: &str) -> usize {
        self.wire.handle_read_error(detail);
        0
    }

    fn write(&mut self) {
        let written = self.stream.try_write(self.wire.transmit());
        self.unnoticed = false;
        self.wrote(written);
    }

    fn wrote(&mut self, written: io::Result<usize>) {
        match written {
            Ok(n) => {
                self.wire.consume(n);
                self.stalled = None;
                if let Some(own) = self.own.as_ref().filter(|_| !self.wire.transmit().is_empty()) {
                    self.server
                        .with_link(&own.gateway_entry, own.link, |peer, now| peer.handle_progress(own.link, now));
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let timeout = self.server.config.write_timeout;
                self.stalled = self.stalled.or_else(|| self.server.deadline(timeout));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => self.write_failed(),
        }
    }

    /// Neither reads nor writes any more: the link is lost.
    fn give_up(&mut self, why: &str) {
        self.wire.handle_read_error(why);
        self.write_failed();
    }

    /// What the gateway said before is still read (LINK-2).
    fn write_failed(&mut self) {
        (self.deaf, self.stalled) = (true, None);
        self.wire.handle_write_error();
    }

    /// Passes on what wire and peer have for each other.
    async fn settle(&mut self) {
        while let Some(event) = self.wire.poll_event() {
            match event {
                ServerEvent::Request(request) => self.judge(&request),
                ServerEvent::Get(path) => match path.as_str() {
                    HEALTH => self.wire.respond(200, "ok"),
                    PATH => self.wire.respond(426, "the relay speaks WebSocket"),
                    _ => self.wire.respond(400, ELSEWHERE),
                },
                ServerEvent::Post(asked) => {
                    // Apart from the task, whose size all idle links would pay for.
                    match Box::pin(http::serve(&self.server, self.address, self.pending.as_ref(), asked)).await {
                        Some(Answer { status, body, retry_after: None }) => self.wire.respond_json(status, &body),
                        Some(Answer { status, body, retry_after: Some(wait) }) => {
                            self.wire.respond_json_for_now(status, &body, wait);
                        }
                        None => self.give_up(CROWD),
                    }
                }
                ServerEvent::Message(payload) => self.take(&payload).await,
                ServerEvent::Pong(payload) => {
                    if let Some(own) = &self.own {
                        self.server.with_link(&own.gateway_entry, own.link, |peer, now| {
                            peer.handle_pong(own.link, &payload, now)
                        });
                    }
                }
                ServerEvent::Ended(end) => {
                    self.ended = Some(self.server.after(LINGER));
                    if self.own.is_none() {
                        self.server.admission.refusals.tell_end(self.address, &end, self.server.now().monotonic);
                    }
                    self.leave(end);
                    if self.pending.is_none() {
                        self.pending = Some(self.server.admission.pending(self.address, self.server.now()));
                    }
                }
                _ => {}
            }
        }
        let Some(own) = &self.own else { return };
        let mut inner = own.gateway_entry.lock();
        while self.wire.transmit().len() < ENOUGH {
            match inner.peer.poll_transmit(own.link) {
                Some(Transmit::Text(text)) => self.wire.send_text(text),
                Some(Transmit::Ping) => self.wire.ping(),
                Some(Transmit::Probe(payload)) => self.wire.probe(payload),
                Some(Transmit::Close { code, reason }) => self.wire.close(code, reason),
                _ => break,
            }
        }
    }

    /// Hands a message to the peer, piece by piece: one can hold a million lines.
    async fn take(&mut self, payload: &[u8]) {
        let mut rest = payload;
        while let Some(own) = &self.own
            && !rest.is_empty()
        {
            let (piece, later) = rest.split_at_checked(piece(rest)).unwrap_or((rest, &[]));
            self.server.with_link(&own.gateway_entry, own.link, |peer, now| peer.handle_message(own.link, piece, now));
            rest = later;
            if !rest.is_empty() {
                self.take_turns(piece.len()).await;
            }
        }
    }

    /// The link is over, if it was one.
    fn leave(&mut self, end: LinkEnd) {
        if let Some(Own { gateway_entry, link, .. }) = self.own.take() {
            self.server.leave(&gateway_entry, link, end);
        }
    }

    /// Lets an upgrade in, or not (CONN-1).
    fn judge(&mut self, request: &UpgradeRequest) {
        if request.path() != PATH {
            return self.wire.refuse(400, ELSEWHERE);
        }
        if request.is_from_web_page() && !self.server.admission.authenticates() {
            return self.wire.refuse(403, WEB_PAGE);
        }
        match self.server.admission.admit(self.address, request.bearer(), self.server.now()) {
            Ok(id) => {
                self.wire.accept();
                let gateway_entry = self.server.gateway_entry(&id);
                let (link, news) = self.server.open(&gateway_entry, request.bearer());
                self.own = Some(Own { gateway_entry, link, news });
                self.pending = None;
            }
            Err(NotAdmitted::Later(wait)) => self.wire.refuse_for_now(429, "too many refused tokens", wait),
            Err(NotAdmitted::Refused { refusal, claimed }) => {
                let now = self.server.now().monotonic;
                self.server.admission.refusals.tell_token(self.address, claimed.as_ref(), refusal, now);
                // As a WebSocket that is closed with the reason: that is what gateways understand.
                self.wire.accept();
                self.wire.close(Refusal::CLOSE_CODE, refusal.close_reason());
            }
        }
    }

    /// Says goodbye to the socket: a reset, which unread bytes can cause, may overtake the close frame.
    pub(super) async fn part(&mut self) {
        let until = self.server.after(LINGER);
        if self.own.is_some() || self.deaf || self.stream.shutdown().await.is_err() {
            return;
        }
        loop {
            tokio::select! {
                ready = self.stream.readable() => {
                    match ready.and_then(|()| BUFFER.with_borrow_mut(|buffer| self.stream.try_read(buffer))) {
                        Ok(0) => return,
                        Ok(n) => self.take_turns(n).await,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                        Err(_) => return,
                    }
                }
                () = sent_away(self.pending.as_ref()) => return,
                () = sleep_until(until) => return,
            }
        }
    }
}

impl Drop for Connection {
    /// Also when the task ends midway: a link without a connection would never end.
    fn drop(&mut self) {
        self.leave(LinkEnd::Lost { detail: "the connection was dropped".into() });
    }
}

/// How much of a message to handle at once: whole lines, since the message alone says whether the last line is one.
fn piece(message: &[u8]) -> usize {
    let is_end = |byte: &u8| *byte == b'\n';
    let Some((start, rest)) = message.split_at_checked(PIECE) else { return message.len() };
    match start.iter().rposition(is_end) {
        Some(at) => at + 1,
        None => rest.iter().position(is_end).map_or(message.len(), |at| PIECE + at + 1),
    }
}

async fn notified(own: Option<&Own>) {
    match own {
        Some(own) => own.news.notified().await,
        None => std::future::pending().await,
    }
}

async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves: FRAME-2
    #[test]
    fn a_message_is_cut_into_whole_lines() {
        let sizes = |mut message: &[u8]| {
            let mut sizes = Vec::new();
            while !message.is_empty() {
                let size = piece(message);
                sizes.push(size);
                message = &message[size..];
            }
            sizes
        };
        let short = b"{}\n".repeat(2 * PIECE / 3);
        let cut = sizes(&short);
        assert!(cut.len() > 1 && cut.iter().all(|size| size % 3 == 0 && *size <= PIECE), "{cut:?}");
        let long = [vec![b'x'; 3 * PIECE], b"\n{}\n{}".to_vec()].concat();
        assert_eq!(sizes(&long), [3 * PIECE + 1, 5], "a line is not cut, nor is the end");
        assert_eq!(sizes(&vec![b'x'; 5 * PIECE]), [5 * PIECE]);
        assert_eq!(sizes(b"{}"), [2]);
    }
}
