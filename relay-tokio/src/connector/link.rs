//! Connections: accepting them, and moving their bytes.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use relay_proto::connector::{LinkId, Refusal, Transmit};
use relay_proto::end::LinkEnd;
use relay_proto::enroll::asked::{BadRequest, Request};
use relay_proto::wire::{LinkOptions, ServerEvent, ServerLink, UpgradeRequest};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::http::{self, Front};
use super::hub::{Hub, Interest};
use super::member::Member;
use super::strangers::Stranger;
use super::tls::Tls;

/// From the accepted connection to the upgrade.
const UPGRADE: Duration = Duration::from_secs(10);
/// How long a closed connection is read for what the client still sends, so that the close frame is not overtaken by a
/// reset.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes waiting for the socket from which on no further frame is put on the wire.
const ENOUGH: usize = 64 << 10;

/// The pause after an accept that failed, say because no file descriptor was left.
const PAUSE: Duration = Duration::from_millis(100);
/// Where a connector is mounted (CONN-1).
const PATH: &str = "/relay";
/// Where somebody asks whether it lives.
const HEALTH: &str = "/healthz";
/// What is said everywhere else.
const ELSEWHERE: &str = "the relay is at /relay";
/// The most that is read at once.
const READ: usize = 16 << 10;
/// The most of a message that is handled at once, as far as lines are not longer.
const PIECE: usize = 8 << 10;
/// Bytes after which the other links have their turn.
const TURN: usize = 16 << 10;
/// What a read counts for at least.
const SMALL: usize = 256;

thread_local! {
    /// What a socket is read into. One for each thread and not for each connection: most connections are idle.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// Accepts connections until the connector shuts down.
pub(super) async fn accept(listener: TcpListener, hub: Arc<Hub>) {
    // Dropped in reverse: whoever waits for the end finds the port free.
    let hub = Listening(hub);
    let listener = listener;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                // How a link ended is an event of its gateway's; before there is a gateway it is nobody's.
                Ok((stream, address)) => {
                    if let Ok(mut connection) = Connection::new(stream, address.ip(), Counted::new(hub.0.clone())) {
                        // A block and not a function: those keep what they are given twice.
                        tokio::spawn(async move {
                            connection.run().await;
                            connection.part().await;
                        });
                    }
                }
                // One client's failure is no reason to stop, and a lasting one none to spin.
                Err(_) => sleep_until(hub.0.after(PAUSE)).await,
            },
            () = hub.0.closing() => return,
        }
        // While many come, those that are here have their turn.
        tokio::task::yield_now().await;
    }
}

/// Tells that nobody listens any more, however the task ends: its runtime may go away under it.
struct Listening(Arc<Hub>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.begin_shutdown();
        self.0.stops_listening();
    }
}

/// Counts a connection in, and out however its task ends.
struct Counted(Arc<Hub>);

impl Deref for Counted {
    type Target = Hub;

    fn deref(&self) -> &Hub {
        &self.0
    }
}

impl Counted {
    fn new(hub: Arc<Hub>) -> Self {
        hub.connection_begins();
        Self(hub)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connection_ends();
    }
}

/// All that a task of a connection holds on to: most of them wait, so that its size is what an idle link costs.
struct Connection {
    stream: TcpStream,
    address: IpAddr,
    hub: Counted,
    tls: Option<Box<Tls>>,
    front: Front,
    wire: ServerLink,
    /// Whose link it is, once it is let in.
    own: Option<Own>,
    /// Before and after that.
    stranger: Option<Stranger>,
    /// The wire has ended. What it still has to say is written until this time, and then it is over.
    ended: Option<Instant>,
    /// Bytes wait for the socket, which took none of the last that it was offered: until when it may go on like that.
    stalled: Option<Instant>,
    /// The socket takes no more bytes.
    deaf: bool,
    /// Bytes that were handled since the others last had their turn.
    handled: usize,
}

struct Own {
    member: Arc<Member>,
    link: LinkId,
    news: Arc<Notify>,
}

impl Connection {
    fn new(stream: TcpStream, address: IpAddr, hub: Counted) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let limits = hub.config.limits();
        let mut options = LinkOptions::default();
        options.plain_get = true;
        options.max_message = limits.message;
        options.max_frame = limits.message.min(limits.line.saturating_add(64 << 10));
        let wire = ServerLink::new(&options, None).map_err(|end| io::Error::other(format!("{end:?}")))?;
        let tls = hub.config.tls.clone().map(|config| Tls::new(config).map(Box::new));
        let tls = tls.transpose().map_err(io::Error::other)?;
        let stranger = Some(hub.strangers.admit());
        Ok(Self {
            stream,
            address,
            hub,
            tls,
            front: Front::new(),
            wire,
            own: None,
            stranger,
            ended: None,
            stalled: None,
            deaf: false,
            handled: 0,
        })
    }

    /// Moves bytes until the link is over.
    async fn run(&mut self) {
        let upgrade = self.hub.after(UPGRADE);
        loop {
            self.settle().await;
            if self.ended.is_some() && (self.deaf || self.transmit().is_empty()) {
                return;
            }
            let interest = match (&self.own, self.ended) {
                (Some(own), _) => self.hub.interest(&own.member, own.link),
                (None, Some(until)) => Some(Interest { read: false, deadline: Some(until) }),
                (None, None) => Some(Interest { read: true, deadline: Some(upgrade) }),
            };
            // The peer has dropped it.
            let Some(Interest { read, deadline }) = interest else { return };
            let coming = self.own.is_none() && self.ended.is_none();
            tokio::select! {
                ready = self.stream.readable(), if read => {
                    let n = match ready {
                        Ok(()) => BUFFER.with_borrow_mut(|buffer| self.read(buffer)),
                        Err(error) => self.failed(&error.to_string()),
                    };
                    self.take_turns(n).await;
                }
                ready = self.stream.writable(), if !self.deaf && !self.transmit().is_empty() => match ready {
                    Ok(()) => self.write(),
                    Err(_) => self.write_failed(),
                },
                () = notified(self.own.as_ref()) => {}
                () = sent_away(self.stranger.as_ref()) => self.give_up("too many connections that are no links"),
                () = self.hub.closing(), if coming => self.wire.receive_failed("the connector shuts down"),
                () = wait_until(self.stalled) => self.give_up("the gateway does not read"),
                () = wait_until(deadline) => match &self.own {
                    Some(own) => self.hub.with_link(&own.member, own.link, |peer, now| peer.handle_timeout(now)),
                    // It takes its time to read what was said to it.
                    None if self.ended.is_some() => return self.deaf = true,
                    None if self.front.is_waiting() => {
                        let late = BadRequest { status: 408, detail: "the request did not come in time" };
                        self.serve(Err(late)).await;
                    }
                    None => self.wire.receive_failed("no upgrade in time"),
                },
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

    /// Reads what there is, up to the size of the buffer. How much it was.
    fn read(&mut self, buffer: &mut [u8]) -> usize {
        match self.stream.try_read(buffer) {
            Ok(0) => self.wire.receive_eof(),
            Ok(n) => {
                if let Some(own) = &self.own {
                    self.hub.with_link(&own.member, own.link, |peer, now| peer.handle_traffic(own.link, now));
                }
                self.receive(buffer.get(..n).unwrap_or(&[]));
                return n;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return self.failed(&error.to_string()),
        }
        0
    }

    /// What came from the socket, on its way to the wire.
    fn receive(&mut self, bytes: &[u8]) {
        let Self { tls, front, wire, .. } = self;
        let mut plaintext = |bytes: &[u8]| match front {
            Front::Wire => wire.receive(bytes),
            _ => front.receive(bytes, &mut |bytes| wire.receive(bytes)),
        };
        match tls {
            None => plaintext(bytes),
            Some(tls) => {
                if let Err(detail) = tls.receive(bytes, plaintext) {
                    wire.receive_failed(&detail);
                }
            }
        }
    }

    /// What waits for the socket.
    fn transmit(&self) -> &[u8] {
        match &self.tls {
            Some(tls) => tls.transmit(),
            None => self.front.transmit().unwrap_or_else(|| self.wire.transmit()),
        }
    }

    /// The socket took this much of it.
    fn consume(&mut self, n: usize) {
        match &mut self.tls {
            Some(tls) => {
                tls.consume(n);
                self.encrypt();
            }
            None => self.consume_plaintext(n),
        }
    }

    fn consume_plaintext(&mut self, n: usize) {
        match self.front {
            Front::Post(_) => self.front.consume(n),
            _ => self.wire.consume(n),
        }
    }

    /// Moves what there is to say through TLS, as far as the socket keeps up: the wire bounds what piles up in it.
    fn encrypt(&mut self) {
        let Some(mut tls) = self.tls.take() else { return };
        loop {
            let plaintext = self.front.transmit().unwrap_or_else(|| self.wire.transmit());
            let length = plaintext.len().min(ENOUGH);
            if length == 0 || tls.transmit().len() >= ENOUGH {
                if length == 0 && self.ended.is_some() {
                    tls.close();
                }
                break;
            }
            tls.send(plaintext.get(..length).unwrap_or(&[]));
            self.consume_plaintext(length);
        }
        self.tls = Some(tls);
    }

    /// Answers a request beside the upgrade: that is the end of the connection.
    async fn serve(&mut self, asked: Result<Request, BadRequest>) {
        let response = http::serve(&self.hub, self.address, asked).await;
        self.front.answer(response);
        self.ended = Some(self.hub.after(LINGER));
        self.encrypt();
    }

    /// Nothing more comes from the socket.
    fn failed(&mut self, detail: &str) -> usize {
        self.wire.receive_failed(detail);
        0
    }

    fn write(&mut self) {
        match self.stream.try_write(self.transmit()) {
            Ok(n) => {
                self.consume(n);
                self.stalled = None;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let timeout = self.hub.config.write_timeout;
                self.stalled.get_or_insert_with(|| self.hub.after(timeout));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => self.write_failed(),
        }
    }

    /// Neither reads nor writes any more: the link is lost.
    fn give_up(&mut self, why: &str) {
        self.wire.receive_failed(why);
        self.write_failed();
    }

    /// What the gateway said before is still read (LINK-2).
    fn write_failed(&mut self) {
        (self.deaf, self.stalled) = (true, None);
        self.wire.transmit_failed();
        if let Some(tls) = &mut self.tls {
            tls.transmit_failed();
        }
    }

    /// Passes on what wire and peer have for each other.
    async fn settle(&mut self) {
        if let Some(asked) = self.front.asked() {
            self.serve(asked).await;
        }
        self.settle_wire().await;
        self.encrypt();
    }

    async fn settle_wire(&mut self) {
        while let Some(event) = self.wire.poll_event() {
            match event {
                ServerEvent::Request(request) => self.judge(&request),
                ServerEvent::Get(path) => match path.as_str() {
                    HEALTH => self.wire.respond(200, "ok"),
                    PATH => self.wire.respond(426, "the relay speaks WebSocket"),
                    _ => self.wire.respond(400, ELSEWHERE),
                },
                ServerEvent::Message(payload) => self.take(&payload).await,
                ServerEvent::Ended(end) => {
                    self.ended = Some(self.hub.after(LINGER));
                    self.leave(end);
                    if self.stranger.is_none() {
                        self.stranger = Some(self.hub.strangers.admit());
                    }
                }
                _ => {}
            }
        }
        let Some(own) = &self.own else { return };
        let mut inner = own.member.lock();
        while self.wire.transmit().len() < ENOUGH {
            match inner.peer.poll_transmit(own.link) {
                Some(Transmit::Text(text)) => self.wire.send_text(text),
                Some(Transmit::Ping) => self.wire.ping(),
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
            self.hub.with_link(&own.member, own.link, |peer, now| peer.handle_message(own.link, piece, now));
            rest = later;
            if !rest.is_empty() {
                self.take_turns(piece.len()).await;
            }
        }
    }

    /// The link is over, if it was one.
    fn leave(&mut self, end: LinkEnd) {
        if let Some(Own { member, link, .. }) = self.own.take() {
            self.hub.with_link(&member, link, |peer, now| peer.handle_ended(link, end, now));
            member.lock().links.remove(&link);
        }
    }

    /// Lets an upgrade in, or not (CONN-1).
    fn judge(&mut self, request: &UpgradeRequest) {
        if request.path() != PATH {
            return self.wire.refuse(400, ELSEWHERE);
        }
        match self.hub.identify(request.bearer()) {
            Ok(id) => {
                self.wire.accept();
                let member = self.hub.member(&id);
                let (link, news) = self.hub.open(&member);
                self.own = Some(Own { member, link, news });
                self.stranger = None;
            }
            Err(_) if !self.hub.may_refuse(self.address) => self.wire.refuse(429, "too many refused tokens"),
            Err(refusal) => {
                // The throttle keeps this log short as well.
                tracing::info!(address = %self.address, reason = refusal.close_reason(), "a gateway was refused");
                // As a WebSocket that is closed with the reason: that is what gateways understand.
                self.wire.accept();
                self.wire.close(Refusal::CLOSE_CODE, refusal.close_reason());
            }
        }
    }

    /// Says goodbye to the socket: a reset, which unread bytes can cause, may overtake the close frame.
    async fn part(&mut self) {
        let until = self.hub.after(LINGER);
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
                () = sent_away(self.stranger.as_ref()) => return,
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

async fn sent_away(stranger: Option<&Stranger>) {
    match stranger {
        Some(stranger) => stranger.sent_away().await,
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
