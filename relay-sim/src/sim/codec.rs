//! The two ends of a link over bytes: the real WebSocket of `wire`, or a codec so plain that a hundred thousand lives a
//! minute can afford it.
//!
//! The plain one carries frames as they are, and everything else in records that start with a byte that no JSON holds. It
//! hands text over as it comes, cut anywhere, as FRAME-2 allows every peer to do.

use std::collections::VecDeque;
use std::mem;

use relay_proto::end::LinkEnd;
use relay_proto::target::Target;
use relay_proto::wire::{ClientLink, LinkEvent, LinkOptions, ServerEvent, ServerLink};

/// What one end heard.
#[derive(Debug)]
pub enum Heard {
    /// A gateway asks for the upgrade, with this bearer token.
    Request(Option<String>),
    /// The upgrade was accepted.
    Opened,
    /// Bytes of frames.
    Message(Vec<u8>),
    /// The gateway answered a probe.
    Pong(Vec<u8>),
    /// The link is over.
    Ended(LinkEnd),
}

/// One end of a link.
#[derive(Debug)]
pub enum End {
    /// Either end, plain.
    Plain(Plain),
    /// The gateway's end, as a WebSocket.
    Client(Box<ClientLink>),
    /// The connector's end, as a WebSocket.
    Server(Box<ServerLink>),
}

macro_rules! both {
    ($end:expr, $link:ident => $call:expr) => {
        match $end {
            End::Plain($link) => $call,
            End::Client($link) => $call,
            End::Server($link) => $call,
        }
    };
}

impl End {
    /// The end that dials.
    pub fn client(wire: bool, target: &Target, bearer: Option<&str>) -> Self {
        if !wire {
            let mut plain = Plain::new();
            plain.record(b'Q', bearer.unwrap_or("").as_bytes());
            return Self::Plain(plain);
        }
        let link = ClientLink::new(target, bearer, &LinkOptions::default(), None);
        Self::Client(Box::new(link.expect("a loopback target and a minted token make a request")))
    }

    /// The end that accepts.
    pub fn server(wire: bool) -> Self {
        if !wire {
            return Self::Plain(Plain::new());
        }
        Self::Server(Box::new(ServerLink::new(&LinkOptions::default(), None).expect("no TLS, no error")))
    }

    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        both!(self, link => link.handle_bytes(bytes));
    }

    pub fn handle_eof(&mut self) {
        both!(self, link => link.handle_eof());
    }

    pub fn handle_read_error(&mut self, detail: &str) {
        both!(self, link => link.handle_read_error(detail));
    }

    pub fn handle_write_error(&mut self) {
        both!(self, link => link.handle_write_error());
    }

    pub fn transmit(&self) -> &[u8] {
        both!(self, link => link.transmit())
    }

    pub fn consume(&mut self, n: usize) {
        both!(self, link => link.consume(n));
    }

    pub fn send_text(&mut self, text: String) {
        both!(self, link => link.send_text(text));
    }

    pub fn ping(&mut self) {
        match self {
            Self::Plain(plain) => plain.ping(&[]),
            Self::Client(link) => link.ping(),
            Self::Server(link) => link.ping(),
        }
    }

    /// Asks how far the other end has read. Of the accepting end only.
    pub fn probe(&mut self, payload: [u8; 8]) {
        match self {
            Self::Plain(plain) => plain.ping(&payload),
            Self::Server(link) => link.probe(payload),
            Self::Client(_) => {}
        }
    }

    pub fn close(&mut self, code: u16, reason: &str) {
        both!(self, link => link.close(code, reason));
    }

    /// Accepts the upgrade. Of the accepting end only.
    pub fn accept(&mut self) {
        match self {
            Self::Plain(plain) => plain.accept(),
            Self::Server(link) => link.accept(),
            Self::Client(_) => {}
        }
    }

    /// Refuses the upgrade. Of the accepting end only.
    pub fn refuse(&mut self, status: u16, reason: &str) {
        match self {
            Self::Plain(plain) => plain.refuse(status, reason),
            Self::Server(link) => link.refuse(status, reason),
            Self::Client(_) => {}
        }
    }

    /// The bytes behind a frame without which it can be read all the same: its newline, where it is plain.
    pub fn slack(&self) -> u64 {
        u64::from(matches!(self, Self::Plain(_)))
    }

    pub fn poll(&mut self) -> Option<Heard> {
        match self {
            Self::Plain(plain) => plain.heard.pop_front(),
            Self::Client(link) => match link.poll_event()? {
                LinkEvent::Opened => Some(Heard::Opened),
                LinkEvent::Message(payload) => Some(Heard::Message(payload.to_vec())),
                LinkEvent::Ended(end) => Some(Heard::Ended(end)),
                other => unreachable!("{other:?}"),
            },
            Self::Server(link) => match link.poll_event()? {
                ServerEvent::Request(request) => Some(Heard::Request(request.bearer().map(Into::into))),
                ServerEvent::Message(payload) => Some(Heard::Message(payload.to_vec())),
                ServerEvent::Pong(payload) => Some(Heard::Pong(payload.to_vec())),
                ServerEvent::Ended(end) => Some(Heard::Ended(end)),
                other => unreachable!("{other:?}"),
            },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Upgrading,
    Open,
    Closing,
    Over,
}

/// An end that speaks the plain codec.
#[derive(Debug)]
pub struct Plain {
    state: State,
    out: Vec<u8>,
    taken: usize,
    mute: bool,
    held: Vec<u8>,
    heard: VecDeque<Heard>,
}

/// Starts a record: this byte, the kind, two bytes of length.
const MARK: u8 = 1;
const HEAD: usize = 4;

impl Plain {
    fn new() -> Self {
        let state = State::Upgrading;
        Self { state, out: Vec::new(), taken: 0, mute: false, held: Vec::new(), heard: VecDeque::new() }
    }

    fn push(&mut self, bytes: &[u8]) {
        if !self.mute {
            self.out.extend_from_slice(bytes);
        }
    }

    fn record(&mut self, kind: u8, payload: &[u8]) {
        let length = u16::try_from(payload.len()).expect("a short record").to_be_bytes();
        self.push(&[MARK, kind, length[0], length[1]]);
        self.push(payload);
    }

    fn coded(&mut self, kind: u8, code: u16, reason: &str) {
        let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
        self.record(kind, &payload);
    }

    fn end(&mut self, end: LinkEnd) {
        if self.state != State::Over {
            self.state = State::Over;
            self.heard.push_back(Heard::Ended(end));
        }
    }

    fn handle_bytes(&mut self, mut rest: &[u8]) {
        while !rest.is_empty() && self.state != State::Over {
            if self.held.is_empty() {
                let text = rest.iter().position(|byte| *byte == MARK).unwrap_or(rest.len());
                if text > 0 {
                    self.heard.push_back(Heard::Message(rest[..text].to_vec()));
                    rest = &rest[text..];
                    continue;
                }
            }
            self.held.push(rest[0]);
            rest = &rest[1..];
            if self.held.len() >= HEAD {
                let length = usize::from(u16::from_be_bytes([self.held[2], self.held[3]]));
                if self.held.len() == HEAD + length {
                    let record = mem::take(&mut self.held);
                    self.handle(record[1], &record[HEAD..]);
                }
            }
        }
    }

    fn handle(&mut self, kind: u8, payload: &[u8]) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let coded = || (u16::from_be_bytes([payload[0], payload[1]]), text(&payload[2..]));
        match kind {
            b'Q' => self.heard.push_back(Heard::Request(Some(text(payload)).filter(|token| !token.is_empty()))),
            b'A' => {
                self.state = State::Open;
                self.heard.push_back(Heard::Opened);
            }
            b'R' => {
                let (status, reason) = coded();
                self.end(LinkEnd::Refused { status, reason });
            }
            b'P' if self.state == State::Open => self.record(b'O', payload),
            b'O' if !payload.is_empty() => self.heard.push_back(Heard::Pong(payload.to_vec())),
            b'C' => {
                if self.state == State::Open {
                    self.record(b'C', payload);
                }
                let (code, reason) = coded();
                self.end(LinkEnd::Closed { code: Some(code), reason });
            }
            _ => {}
        }
    }

    fn handle_eof(&mut self) {
        self.handle_read_error("the connection ended without a close frame");
    }

    fn handle_read_error(&mut self, detail: &str) {
        self.end(LinkEnd::Lost { detail: detail.into() });
    }

    fn handle_write_error(&mut self) {
        self.mute = true;
        self.out.clear();
        self.taken = 0;
    }

    fn transmit(&self) -> &[u8] {
        &self.out[self.taken..]
    }

    fn consume(&mut self, n: usize) {
        self.taken += n;
        if self.taken == self.out.len() {
            self.out.clear();
            self.taken = 0;
        }
    }

    fn send_text(&mut self, text: String) {
        if self.state == State::Open {
            self.push(text.as_bytes());
        }
    }

    fn ping(&mut self, payload: &[u8]) {
        if self.state == State::Open {
            self.record(b'P', payload);
        }
    }

    fn close(&mut self, code: u16, reason: &str) {
        match self.state {
            State::Open => {
                self.coded(b'C', code, reason);
                self.state = State::Closing;
            }
            State::Upgrading => self.handle_read_error("closed by this end"),
            State::Closing | State::Over => {}
        }
    }

    fn accept(&mut self) {
        self.record(b'A', &[]);
        self.state = State::Open;
    }

    fn refuse(&mut self, status: u16, reason: &str) {
        self.coded(b'R', status, reason);
        self.end(LinkEnd::Refused { status, reason: reason.into() });
    }
}
