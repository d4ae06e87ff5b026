//! Connections: accepting them, and moving their bytes.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use relay_proto::connector::{GatewayId, LinkId, Refusal, Transmit};
use relay_proto::end::LinkEnd;
use relay_proto::wire::{LinkOptions, ServerEvent, ServerLink, UpgradeRequest};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::hub::Hub;

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
                Ok((stream, address)) => {
                    tokio::spawn(connection(stream, address.ip(), Counted::new(hub.0.clone())));
                }
                // One client's failure is no reason to stop, and a lasting one none to spin.
                Err(_) => sleep_until(hub.0.after(PAUSE)).await,
            },
            () = hub.0.closing() => return,
        }
    }
}

async fn connection(stream: TcpStream, address: IpAddr, hub: Counted) {
    // How a link ended is an event of its gateway's; before there is a gateway it is nobody's.
    if let Ok(mut connection) = Connection::new(stream, address, &hub.0) {
        connection.run().await;
        connection.part().await;
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

struct Connection<'a> {
    stream: TcpStream,
    address: IpAddr,
    hub: &'a Hub,
    wire: ServerLink,
    /// Whose link it is, once it is let in.
    member: Option<Member>,
    /// The wire has ended. What it still has to say is written until this time, and then it is over.
    ended: Option<Instant>,
    /// The socket takes no more bytes.
    deaf: bool,
}

struct Member {
    id: GatewayId,
    link: LinkId,
    news: Arc<Notify>,
}

impl<'a> Connection<'a> {
    fn new(stream: TcpStream, address: IpAddr, hub: &'a Hub) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let limits = hub.config.settings.limits();
        let mut options = LinkOptions::default();
        options.plain_get = true;
        options.max_message = limits.message;
        options.max_frame = limits.message.min(limits.line.saturating_add(64 << 10));
        let wire =
            ServerLink::new(&options, hub.config.tls.clone()).map_err(|end| io::Error::other(format!("{end:?}")))?;
        Ok(Self { stream, address, hub, wire, member: None, ended: None, deaf: false })
    }

    /// Moves bytes until the link is over.
    async fn run(&mut self) {
        let upgrade = self.hub.after(UPGRADE);
        loop {
            self.settle();
            let dropped = self.member.as_ref().is_some_and(|own| self.hub.is_dropped(&own.id, own.link));
            if dropped || self.ended.is_some() && (self.deaf || self.wire.transmit().is_empty()) {
                return;
            }
            let (wants_read, deadline) = match (&self.member, self.ended) {
                (Some(own), _) => self.hub.interest(&own.id, own.link),
                (None, Some(until)) => (false, Some(until)),
                (None, None) => (true, Some(upgrade)),
            };
            let stranger = self.member.is_none() && self.ended.is_none();
            let news = self.member.as_ref().map(|own| own.news.clone());
            tokio::select! {
                ready = self.stream.readable(), if wants_read => match ready {
                    Ok(()) => BUFFER.with_borrow_mut(|buffer| self.read(buffer)),
                    Err(error) => self.wire.receive_failed(&error.to_string()),
                },
                ready = self.stream.writable(), if !self.deaf && !self.wire.transmit().is_empty() => match ready {
                    Ok(()) => self.write(),
                    Err(_) => self.write_failed(),
                },
                () = notified(news.as_deref()) => {}
                () = self.hub.closing(), if stranger => self.wire.receive_failed("the connector shuts down"),
                () = wait_until(deadline) => match &self.member {
                    Some(own) => self.hub.with_link(&own.id, own.link, |peer, now| peer.handle_timeout(now)),
                    // It takes its time to read what was said to it.
                    None if self.ended.is_some() => return self.deaf = true,
                    None => self.wire.receive_failed("no upgrade in time"),
                },
            }
        }
    }

    fn read(&mut self, buffer: &mut [u8]) {
        match self.stream.try_read(buffer) {
            Ok(0) => self.wire.receive_eof(),
            Ok(n) => {
                if let Some(own) = &self.member {
                    self.hub.with_link(&own.id, own.link, |peer, now| peer.handle_traffic(own.link, now));
                }
                self.wire.receive(buffer.get(..n).unwrap_or(&[]));
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => self.wire.receive_failed(&error.to_string()),
        }
    }

    fn write(&mut self) {
        match self.stream.try_write(self.wire.transmit()) {
            Ok(n) => self.wire.consume(n),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.write_failed(),
        }
    }

    /// What the gateway said before is still read (LINK-2).
    fn write_failed(&mut self) {
        self.deaf = true;
        self.wire.transmit_failed();
    }

    /// Passes on what wire and peer have for each other.
    fn settle(&mut self) {
        while let Some(event) = self.wire.poll_event() {
            match event {
                ServerEvent::Request(request) => self.judge(&request),
                ServerEvent::Get(path) => match path.as_str() {
                    HEALTH => self.wire.respond(200, "ok"),
                    PATH => self.wire.respond(426, "the relay speaks WebSocket"),
                    _ => self.wire.respond(400, ELSEWHERE),
                },
                ServerEvent::Message(payload) => {
                    if let Some(own) = &self.member {
                        self.hub.with_link(&own.id, own.link, |peer, now| peer.handle_message(own.link, &payload, now));
                    }
                }
                ServerEvent::Ended(end) => {
                    self.ended = Some(self.hub.after(LINGER));
                    self.leave(end);
                }
                _ => {}
            }
        }
        let Some(own) = &self.member else { return };
        while self.wire.transmit().len() < ENOUGH {
            let next = self.hub.take_transmit(&own.id, own.link);
            match next {
                Some(Transmit::Text(text)) => self.wire.send_text(text),
                Some(Transmit::Ping) => self.wire.ping(),
                Some(Transmit::Close { code, reason }) => self.wire.close(code, reason),
                _ => break,
            }
        }
    }

    /// The link is over, if it was one.
    fn leave(&mut self, end: LinkEnd) {
        if let Some(own) = self.member.take() {
            self.hub.with_link(&own.id, own.link, |peer, now| peer.handle_ended(own.link, end, now));
            self.hub.forget(&own.id, own.link);
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
                let (link, news) = self.hub.open(&id);
                self.member = Some(Member { id, link, news });
            }
            Err(_) if !self.hub.may_refuse(self.address) => self.wire.refuse(429, "too many refused tokens"),
            Err(refusal) => {
                // As a WebSocket that is closed with the reason: that is what gateways understand.
                self.wire.accept();
                self.wire.close(Refusal::CLOSE_CODE, refusal.close_reason());
            }
        }
    }

    /// Says goodbye to the socket: a reset, which unread bytes can cause, may overtake the close frame.
    async fn part(&mut self) {
        let until = self.hub.after(LINGER);
        if self.member.is_some() || self.deaf || self.stream.shutdown().await.is_err() {
            return;
        }
        let mut rest = [0; 1024];
        loop {
            tokio::select! {
                ready = self.stream.readable() => match ready.and_then(|()| self.stream.try_read(&mut rest)) {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => return,
                },
                () = sleep_until(until) => return,
            }
        }
    }
}

impl Drop for Connection<'_> {
    /// Also when the task ends midway: a link without a connection would never end.
    fn drop(&mut self) {
        self.leave(LinkEnd::Lost { detail: "the connection was dropped".into() });
    }
}

async fn notified(news: Option<&Notify>) {
    match news {
        Some(news) => news.notified().await,
        None => std::future::pending().await,
    }
}

async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
