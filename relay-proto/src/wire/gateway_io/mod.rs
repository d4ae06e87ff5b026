//! A whole gateway, byte by byte: the machine, and the wire of whatever link it has.

mod attempts;
mod io_request;
mod tunnel;

use core::net::{IpAddr, SocketAddr};
use std::collections::VecDeque;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::{ClientLink, ClientTls, LinkEvent, LinkOptions};
use crate::end::LinkEnd;
use crate::frame::encode;
use crate::gateway::{
    Deadline, Dial, LinkId, LinkRequest, Machine, Output, Reason, Settings, State, Transmit, Written,
};
use crate::time::Now;
use attempts::Attempts;
use tunnel::Tunnel;

pub use attempts::Attempt;
pub use io_request::IoRequest;

/// Bytes waiting for the socket from which on no further frame is put on the wire. A request counts as sent once it is
/// there, so the less waits, the more truthfully it ends.
const ENOUGH: usize = 64 << 10;
/// Bytes that a pong has at most, about, with TLS around it.
const PONG: usize = 256;

/// A gateway that speaks in bytes. What runtimes drive, and what a host without any of the runtime crates uses.
///
/// The rule is the machine's: after any input, take every [`Output`] and every event, and write
/// [`transmit`](Self::transmit) until it is empty, again and again until none of them gives anything; then wait for bytes, a
/// command or the deadline, whichever comes first. Commands go to [`machine_mut`](Self::machine_mut), and events for the
/// application come from there. The deadline is [`poll_timeout`](Self::poll_timeout), not the machine's: that one does not
/// know of further addresses to try.
///
/// The smallest host, `examples/blocking_loop.rs`:
///
/// ```no_run
#[doc = include_str!("../../../examples/blocking_loop.rs")]
/// ```
#[derive(Debug)]
pub struct GatewayIo {
    machine: Machine,
    tls: Option<ClientTls>,
    link: Option<Wire>,
    outputs: VecDeque<Output<IoRequest>>,
    /// How many messages the links have brought.
    messages: u64,
}

/// The wire of the one link there is.
#[derive(Debug)]
struct Wire {
    id: LinkId,
    stage: Stage,
    /// Writing failed: nothing more is put on the wire, so that what was not written ends as what it is.
    broken: bool,
    /// Bytes that the host has taken and the socket has not.
    ahead: usize,
}

/// How far the wire has come.
#[allow(clippy::large_enum_variant)] // There is one, and nearly always it is a link.
enum Stage {
    /// The host looks a name up.
    Resolving(Dial),
    /// The host connects to one address or several.
    Connecting(Dial, Attempts),
    /// The proxy is asked for a tunnel.
    Tunnel(Dial, Tunnel),
    /// TLS, upgrade and WebSocket.
    Link(ClientLink),
}

impl core::fmt::Debug for Stage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Resolving(_) => f.write_str("Resolving"),
            Self::Connecting(_, attempts) => attempts.fmt(f),
            Self::Tunnel(..) => f.write_str("Tunnel"),
            Self::Link(link) => link.fmt(f),
        }
    }
}

impl GatewayIo {
    /// A gateway that wants to connect at once.
    ///
    /// `tls` is for `wss` targets; `None` takes the default configuration, made at the first dial that needs it. `seed`
    /// is the machine's: see [`Machine::new`].
    pub fn new(settings: Settings, tls: Option<ClientTls>, seed: u64, now: Now) -> Self {
        let mut machine = Machine::new(settings, seed, now);
        machine.handle_timeout(now);
        Self { machine, tls, link: None, outputs: VecDeque::new(), messages: 0 }
    }

    /// The machine, to look at.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The machine, for commands and for the application's events.
    pub fn machine_mut(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let next = match self.link.as_ref().map(|wire| &wire.stage) {
            Some(Stage::Connecting(_, attempts)) => attempts.next_at(),
            _ => None,
        };
        let next = next.map(|at| Deadline { at, reason: Reason::NextAddress });
        self.machine.poll_timeout().into_iter().chain(next).min_by_key(|deadline| deadline.at)
    }

    /// Whether to read from the socket. When false, leave the bytes where they are (REQ-7), or there is no socket yet.
    pub fn wants_read(&self) -> bool {
        match self.link.as_ref().map(|wire| &wire.stage) {
            Some(Stage::Tunnel(..)) => true,
            Some(Stage::Link(_)) => self.machine.wants_read(),
            _ => false,
        }
    }

    // ── outputs ──────────────────────────────────────────────────────────

    /// The next thing to do. Drain this after every input and every command.
    pub fn poll_output(&mut self, now: Now) -> Option<Output<IoRequest>> {
        self.outputs.pop_front().or_else(|| {
            self.settle(now);
            self.outputs.pop_front()
        })
    }

    /// What waits to be written to the current link's socket: all that is due, in one piece.
    pub fn transmit(&self) -> &[u8] {
        match self.link.as_ref().map(|wire| &wire.stage) {
            Some(Stage::Tunnel(_, tunnel)) => tunnel.transmit(),
            Some(Stage::Link(link)) => link.transmit(),
            _ => &[],
        }
    }

    /// The socket took the first `n` bytes of [`transmit`](Self::transmit). That may make room for more.
    pub fn consume(&mut self, n: usize, now: Now) {
        self.copied(n);
        self.note_ahead(0, n > 0);
        self.settle(now);
    }

    /// The same, by a host that keeps these bytes, `ahead` in all, until the socket takes them, and
    /// [says](Self::written) how far it is.
    #[cfg(any(test, feature = "client"))]
    pub(crate) fn take(&mut self, n: usize, ahead: usize, now: Now) {
        self.copied(n);
        self.note_ahead(ahead, false);
        self.settle(now);
    }

    /// Of what such a host took so many bytes are left: the socket took the others.
    #[cfg(any(test, feature = "client"))]
    pub(crate) fn written(&mut self, ahead: usize) {
        if let Some(wire) = &self.link
            && ahead < wire.ahead
        {
            self.note_ahead(ahead, true);
        }
    }

    /// Gives back memory of a link that has nothing to do. A host calls it when a deadline finds the link idle. It is done
    /// without being asked for when a link has become ready, and after a pong: it may stay idle from then on.
    pub fn shrink(&mut self) {
        self.outputs.shrink_to_fit();
        self.machine.shrink();
        if let Some(link) = self.client() {
            link.shrink();
        }
    }

    // ── inputs ───────────────────────────────────────────────────────────

    /// The name stands for these addresses, in the order in which the resolver prefers them.
    pub fn handle_resolved(&mut self, link: LinkId, addresses: &[SocketAddr], now: Now) {
        self.advance(link, |stage| match stage {
            Stage::Resolving(dial) => Stage::Connecting(dial, Attempts::new(addresses, now.monotonic)),
            stage => stage,
        });
        self.settle(now);
    }

    /// The name cannot be looked up; `detail` says why.
    pub fn handle_unresolved(&mut self, link: LinkId, detail: &str, now: Now) {
        if self.wire(link).is_some_and(|wire| matches!(wire.stage, Stage::Resolving(_))) {
            self.unreachable(detail, now);
        }
        self.settle(now);
    }

    /// The TCP connection is there. False: it is not wanted any more, and the host closes it.
    #[must_use]
    pub fn handle_connected(&mut self, link: LinkId, attempt: Attempt, now: Now) -> bool {
        let Some(Stage::Connecting(_, attempts)) = self.wire(link).map(|wire| &wire.stage) else { return false };
        if !attempts.has(attempt) {
            return false;
        }
        let losers: Vec<_> =
            attempts.losers(attempt).map(|attempt| Output::Link(IoRequest::Abort { link, attempt })).collect();
        self.outputs.extend(losers);
        let settings = self.machine.settings();
        match settings.proxy().map(|proxy| Tunnel::new(proxy, settings.target())) {
            None => self.open(link, now),
            Some(tunnel) => self.advance(link, |stage| match stage {
                Stage::Connecting(dial, _) => Stage::Tunnel(dial, tunnel),
                stage => stage,
            }),
        }
        self.settle(now);
        true
    }

    /// This attempt led to no TCP connection; `detail` says why.
    pub fn handle_unreachable(&mut self, link: LinkId, attempt: Attempt, detail: &str, now: Now) {
        if let Some(Stage::Connecting(_, attempts)) = self.wire(link).map(|wire| &mut wire.stage) {
            attempts.failed(attempt, detail, now.monotonic);
        }
        self.settle(now);
    }

    /// Bytes came from the socket.
    pub fn handle_bytes(&mut self, link: LinkId, mut bytes: &[u8], now: Now) {
        let (state, messages, size) = (self.machine.state(), self.messages, bytes.len());
        self.machine.handle_traffic(link, now);
        if let Some(Stage::Tunnel(_, tunnel)) = self.wire(link).map(|wire| &mut wire.stage) {
            match tunnel.receive(&mut bytes) {
                Ok(false) => {}
                Ok(true) => self.open(link, now),
                Err(end) => self.end(end, now),
            }
        }
        let Self { machine, link: wire, messages: count, .. } = self;
        if let Some(Wire { id, stage: Stage::Link(client), .. }) = wire
            && *id == link
        {
            // Most messages go from the socket's buffer to the machine. Nothing is settled between two of them.
            client.receive_with(bytes, &mut |message| {
                *count += 1;
                machine.handle_message(link, message, now);
            });
        }
        self.settle(now);
        let is_ready = self.machine.state() == State::Ready;
        let quiet = self.messages == messages && size < PONG;
        if is_ready && (state != State::Ready || quiet) {
            self.shrink();
        }
    }

    /// The socket reached its end.
    pub fn handle_eof(&mut self, link: LinkId, now: Now) {
        self.end_tunnel(link, "the connection ended", now);
        self.on_client(link, now, ClientLink::handle_eof);
    }

    /// Reading from the socket failed; `detail` says why.
    pub fn handle_read_error(&mut self, link: LinkId, detail: &str, now: Now) {
        self.end_tunnel(link, detail, now);
        self.on_client(link, now, |client| client.handle_read_error(detail));
    }

    /// Writing to the socket failed. Go on reading until there is nothing more, and then call
    /// [`handle_eof`](Self::handle_eof) or [`handle_read_error`](Self::handle_read_error): a close frame that says why may have
    /// arrived already (LINK-2).
    pub fn handle_write_error(&mut self, link: LinkId, now: Now) {
        if let Some(wire) = self.wire(link) {
            wire.broken = true;
        }
        self.on_client(link, now, ClientLink::handle_write_error);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        self.machine.handle_timeout(now);
        self.settle(now);
    }

    /// The host is going away, and with it every socket: ends the gateway at once, in whatever state it is.
    pub fn abandon(&mut self, now: Now) {
        self.disconnect();
        self.machine.abandon(now);
        self.settle(now);
    }

    /// The same because what drives it panicked.
    pub fn crash(&mut self, reason: &str, now: Now) {
        self.machine.crash(reason, now);
        self.disconnect();
        self.settle(now);
    }

    // ── inside ───────────────────────────────────────────────────────────

    fn copied(&mut self, n: usize) {
        match self.link.as_mut().map(|wire| &mut wire.stage) {
            Some(Stage::Tunnel(_, tunnel)) => tunnel.consume(n),
            Some(Stage::Link(link)) => link.consume(n),
            _ => {}
        }
    }

    /// So many bytes are between here and the socket, which has taken some, or none.
    fn note_ahead(&mut self, ahead: usize, moved: bool) {
        let Some(wire) = &mut self.link else { return };
        wire.ahead = ahead;
        let unwritten = ahead > 0 || matches!(&wire.stage, Stage::Link(client) if !client.transmit().is_empty());
        self.machine.note_transport(wire.id, moved, unwritten);
    }

    fn wire(&mut self, link: LinkId) -> Option<&mut Wire> {
        self.link.as_mut().filter(|wire| wire.id == link)
    }

    fn client(&mut self) -> Option<&mut ClientLink> {
        match &mut self.link.as_mut()?.stage {
            Stage::Link(client) => Some(client),
            _ => None,
        }
    }

    /// Moves the wire on to what `next` makes of its stage.
    fn advance(&mut self, link: LinkId, next: impl FnOnce(Stage) -> Stage) {
        if let Some(wire) = self.link.take_if(|wire| wire.id == link) {
            self.link = Some(Wire { stage: next(wire.stage), ..wire });
        }
    }

    /// The way to the connector is there: TLS and the upgrade begin.
    fn open(&mut self, link: LinkId, now: Now) {
        let Some(Wire { stage: Stage::Connecting(dial, _) | Stage::Tunnel(dial, _), broken, .. }) = &self.link else {
            return;
        };
        let broken = *broken;
        match open(&self.machine, dial, &mut self.tls) {
            Ok(mut client) => {
                if broken {
                    client.handle_write_error();
                }
                self.advance(link, |_| Stage::Link(client));
            }
            Err(end) => self.end(end, now),
        }
    }

    fn on_client(&mut self, link: LinkId, now: Now, input: impl FnOnce(&mut ClientLink)) {
        if self.wire(link).is_some()
            && let Some(client) = self.client()
        {
            input(client);
        }
        self.settle(now);
    }

    fn end_tunnel(&mut self, link: LinkId, detail: &str, now: Now) {
        if let Some(Stage::Tunnel(..)) = self.wire(link).map(|wire| &wire.stage) {
            self.end(Tunnel::end(detail), now);
        }
    }

    /// There is no address to connect to, or none left.
    fn unreachable(&mut self, detail: &str, now: Now) {
        if let Some(wire) = self.link.take() {
            let detail = match self.machine.settings().proxy() {
                Some(proxy) => format!("the proxy {proxy}: {detail}"),
                None => detail.into(),
            };
            self.machine.handle_ended(wire.id, LinkEnd::Unreachable { detail }, now);
        }
    }

    /// The current link has ended on the wire.
    fn end(&mut self, end: LinkEnd, now: Now) {
        if let Some(wire) = &self.link {
            self.machine.handle_ended(wire.id, end, now);
            self.disconnect();
        }
    }

    /// Passes on what machine and wire have for each other, until neither has anything.
    fn settle(&mut self, now: Now) {
        loop {
            let machine = self.settle_machine(now);
            if !self.settle_wire(now) && !machine {
                return;
            }
        }
    }

    /// Takes the machine's outputs. Whether there were any.
    fn settle_machine(&mut self, now: Now) -> bool {
        let mut any = false;
        while let Some(output) = self.machine.poll_output() {
            any = true;
            match output {
                Output::Link(LinkRequest::Dial(dial)) => {
                    // The machine dials only after the last link has ended; its socket may still be there.
                    self.disconnect();
                    self.dial(dial, now);
                }
                Output::Link(LinkRequest::Drop(link)) => {
                    if self.link.as_ref().is_some_and(|wire| wire.id == link) {
                        // For a peer that listens after all; nothing happens when it was said before.
                        if let Some(client) = self.client() {
                            client.close(1000, "");
                        }
                        self.disconnect();
                    }
                }
                Output::RequestEnded { request, outcome } => {
                    self.outputs.push_back(Output::RequestEnded { request, outcome });
                }
                Output::IdleEnded { idle, outcome } => self.outputs.push_back(Output::IdleEnded { idle, outcome }),
                Output::Notice(notice) => self.outputs.push_back(Output::Notice(notice)),
            }
        }
        any
    }

    /// Passes the wire's events up and the machine's frames down. Whether there were any.
    fn settle_wire(&mut self, now: Now) -> bool {
        let Some(Wire { id, stage, broken, ahead }) = &mut self.link else { return false };
        let (id, broken, mut any) = (*id, *broken, false);
        let client = match stage {
            Stage::Link(client) => client,
            Stage::Connecting(_, attempts) => {
                while let Some((attempt, address)) = attempts.poll(now.monotonic) {
                    self.outputs.push_back(Output::Link(IoRequest::Connect { link: id, attempt, address }));
                }
                if let Some(detail) = attempts.exhausted() {
                    self.unreachable(&detail, now);
                    return true;
                }
                return false;
            }
            Stage::Resolving(_) | Stage::Tunnel(..) => return false,
        };
        while let Some(event) = client.poll_event() {
            any = true;
            match event {
                LinkEvent::Opened => self.machine.handle_opened(id, now),
                LinkEvent::Message(payload) => {
                    self.messages += 1;
                    self.machine.handle_message(id, &payload, now);
                }
                LinkEvent::Ended(end) => {
                    self.end(end, now);
                    return true;
                }
            }
        }
        let mut frame = String::new();
        while !broken && client.transmit().len() < ENOUGH {
            let Some(written) = self.machine.poll_written(id) else { break };
            any = true;
            match written {
                Written::Ack(buffer_id) => {
                    frame.clear();
                    encode::push_inbound_ack(&mut frame, buffer_id.as_str());
                    client.send(&frame);
                }
                Written::Other(Transmit::Text(text)) => client.send(&text),
                // A gateway asks nobody how far it has read.
                Written::Other(Transmit::Ping | Transmit::Probe(_)) => client.ping(),
                Written::Other(Transmit::Close { code, reason }) => client.close(code, reason),
            }
        }
        self.machine.note_transport(id, false, *ahead > 0 || !client.transmit().is_empty());
        any
    }

    /// Asks the host for the way to the connector, or to the proxy.
    fn dial(&mut self, dial: Dial, now: Now) {
        let settings = self.machine.settings();
        let (host, port) = match settings.proxy() {
            Some(proxy) => (proxy.host(), proxy.port()),
            None => (settings.target().host(), settings.target().port()),
        };
        let id = dial.link;
        let stage = match host.parse::<IpAddr>() {
            Ok(ip) => Stage::Connecting(dial, Attempts::new(&[SocketAddr::new(ip, port)], now.monotonic)),
            Err(_) => {
                self.outputs.push_back(Output::Link(IoRequest::Resolve { link: id, host: host.into(), port }));
                Stage::Resolving(dial)
            }
        };
        self.link = Some(Wire { id, stage, broken: false, ahead: 0 });
    }

    fn disconnect(&mut self) {
        if let Some(wire) = self.link.take() {
            let final_bytes = match wire.stage {
                Stage::Link(client) => client.final_bytes(),
                _ => Vec::new(),
            };
            self.outputs.push_back(Output::Link(IoRequest::Disconnect { link: wire.id, final_bytes }));
        }
    }
}

fn open(machine: &Machine, dial: &Dial, tls: &mut Option<ClientTls>) -> Result<ClientLink, LinkEnd> {
    let target = machine.settings().target();
    #[cfg(feature = "tls")]
    if target.is_tls() && tls.is_none() {
        *tls = Some(super::default_tls_config()?);
    }
    let limits = machine.settings().limits();
    let options = LinkOptions { max_message: limits.message, max_frame: limits.message, ..LinkOptions::default() };
    ClientLink::new(target, dial.token.as_ref().map(|token| token.as_str()), &options, tls.as_ref().cloned())
}
