//! The WebSocket of a link, the same for both ends, and how the link ends.

use std::{collections::VecDeque, format, mem, vec::Vec};

use super::{
    codec::{Decoder, Fault, Incoming, Opcode, Role, close_payload, may_travel, push_frame},
    options::LinkOptions,
    payload::Payload,
    send_buffer::SendBuffer,
    shrink_policy::ShrinkPolicy,
};
use crate::end::LinkEnd;

/// Bytes waiting for the socket above which pings are not answered one by one: only the latest is remembered, as RFC
/// 6455 (5.5.3) allows, so that a peer that pings and does not read cannot make the output grow.
const PONG_BACKLOG: usize = 4 << 10;

/// How far the session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The HTTP upgrade is not through yet.
    Upgrading,
    /// Messages go both ways.
    Open,
    /// Our close frame is out; the peer's is awaited.
    Closing,
    /// The end is known.
    Over,
}

/// The end, until somebody asked for it.
enum End {
    Unknown,
    Known(LinkEnd),
    Told,
}

/// What is called with the payload of each message.
pub(super) type Each<'a> = &'a mut dyn FnMut(&[u8]);

/// What came for the host.
pub(super) enum Received {
    Message(Payload),
    /// The answer to the latest ping with a payload.
    Pong([u8; 8]),
}

pub(super) struct Session {
    role: Role,
    state: State,
    end: End,
    decoder: Decoder,
    /// What the decoder's buffer was needed for.
    shrink_policy: ShrinkPolicy,
    received: VecDeque<Received>,
    /// The payload of the latest ping that had one, until it is answered.
    asked: Option<[u8; 8]>,
    /// The latest ping that could not be answered at once.
    pong: Option<Vec<u8>>,
    /// Plaintext for the layer below.
    pub(super) out: SendBuffer,
    /// Bytes that the layer below holds for the socket.
    pub(super) backlog: usize,
}

impl Session {
    pub(super) fn new(role: Role, options: &LinkOptions) -> Self {
        Self {
            role,
            state: State::Upgrading,
            end: End::Unknown,
            decoder: Decoder::new(role, options.max_frame, options.max_message),
            shrink_policy: ShrinkPolicy::default(),
            received: VecDeque::new(),
            asked: None,
            pong: None,
            out: SendBuffer::default(),
            backlog: 0,
        }
    }

    pub(super) fn is_upgrading(&self) -> bool {
        self.state == State::Upgrading
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// The upgrade is through: what comes now is WebSocket.
    pub(super) fn open(&mut self) {
        if self.is_upgrading() {
            self.state = State::Open;
        }
    }

    /// The link is over; the first end that is known is the one that counts.
    pub(super) fn finish(&mut self, end: LinkEnd) {
        if !self.is_over() {
            self.state = State::Over;
            self.end = End::Known(end);
            self.pong = None;
            self.decoder.abandon();
        }
    }

    /// The connection went without a close frame.
    pub(super) fn lose(&mut self, detail: &str) {
        let detail = match self.state {
            State::Closing => format!("{detail}, before the peer answered our close"),
            _ => detail.into(),
        };
        self.finish(LinkEnd::Lost { detail });
    }

    pub(super) fn poll_received(&mut self) -> Option<Received> {
        let received = self.received.pop_front();
        if self.received.is_empty() && self.received.capacity() > 64 {
            self.received = VecDeque::new();
        }
        received
    }

    pub(super) fn poll_end(&mut self) -> Option<LinkEnd> {
        match mem::replace(&mut self.end, End::Told) {
            End::Known(end) => Some(end),
            End::Told => None,
            End::Unknown => {
                self.end = End::Unknown;
                None
            }
        }
    }

    /// WebSocket bytes from the peer. With `each`, messages that need not be kept are handed over from where they are, if
    /// none waits before them.
    pub(super) fn receive(&mut self, mut input: &[u8], mut each: Option<Each<'_>>) {
        if input.is_empty() || !matches!(self.state, State::Open | State::Closing) {
            return;
        }
        while !self.is_over() {
            match self.decoder.next(&mut input) {
                Ok(None) => break,
                // An empty message adds nothing to the stream of lines (FRAME-2), and a read full of them would cost a
                // multiple of its size in the queue.
                Ok(Some(Incoming::Message([]))) => {}
                Ok(Some(Incoming::Message(payload))) => match each.as_mut().filter(|_| self.received.is_empty()) {
                    Some(each) => each(payload),
                    None => self.received.push_back(Received::Message(Payload::new(payload))),
                },
                Ok(Some(Incoming::Ping(payload))) => self.answer(payload),
                Ok(Some(Incoming::Pong(payload))) => self.answered(&payload),
                Ok(Some(Incoming::Close { code, reason })) => return self.closed_by_peer(code, reason),
                Err(fault) => return self.fail(fault),
            }
        }
        let longest = self.decoder.take_longest();
        if longest > 0 || self.decoder.is_between_messages() {
            self.used(longest);
        }
    }

    /// Pongs that answer nothing mean nothing (RFC 6455, 5.5.3), and a read full of them would cost a multiple of its
    /// size in the queue.
    fn answered(&mut self, pong: &[u8]) {
        if let Some(asked) = self.asked.take_if(|asked| *asked == pong) {
            self.received.push_back(Received::Pong(asked));
        }
    }

    /// Answers a ping, or remembers it until there is room. Once our close frame is out pings go unanswered.
    fn answer(&mut self, ping: Vec<u8>) {
        if self.is_open() {
            if self.out.len().saturating_add(self.backlog) > PONG_BACKLOG {
                self.pong = Some(ping);
            } else {
                self.write(Opcode::Pong, &ping);
            }
        }
    }

    /// Some output is gone: there may be room for an answer that was put off.
    pub(super) fn drained(&mut self) {
        if self.is_open()
            && self.out.len().saturating_add(self.backlog) <= PONG_BACKLOG
            && let Some(payload) = self.pong.take()
        {
            self.write(Opcode::Pong, &payload);
        }
    }

    /// The peer has closed. The answer is its own code, if that may travel, or says that it may not.
    fn closed_by_peer(&mut self, code: Option<u16>, reason: String) {
        if self.is_open() {
            let answer = match code {
                None => Vec::new(),
                Some(code) if may_travel(code) => close_payload(code, &reason),
                Some(_) => close_payload(1002, "a close code that must not travel"),
            };
            self.write(Opcode::Close, &answer);
        }
        self.finish(LinkEnd::Closed { code, reason });
    }

    /// The peer broke a rule: tells it why, and ends.
    fn fail(&mut self, fault: Fault) {
        if self.is_open() {
            let reason = match &fault.end {
                LinkEnd::Protocol { detail } => detail.as_str(),
                _ => "message too large",
            };
            self.write(Opcode::Close, &close_payload(fault.code, reason));
        }
        self.finish(fault.end);
    }

    /// Starts the closing handshake; the end is known when the peer's close frame is here, or the connection ended.
    pub(super) fn close(&mut self, code: u16, reason: &str) {
        if self.is_open() {
            self.write(Opcode::Close, &close_payload(code, reason));
            self.state = State::Closing;
            self.pong = None;
        }
    }

    /// Sends a text message, in one frame.
    pub(super) fn send_text(&mut self, text: &str) {
        if self.is_open() {
            self.write(Opcode::Text, text.as_bytes());
        }
    }

    pub(super) fn ping(&mut self, payload: Option<[u8; 8]>) {
        if self.is_open() {
            self.asked = payload.or(self.asked);
            self.write(Opcode::Ping, payload.as_ref().map_or(&[], |payload| &payload[..]));
        }
    }

    fn write(&mut self, opcode: Opcode, payload: &[u8]) {
        push_frame(&mut self.out, self.role, opcode, payload);
    }

    /// So much had to be held at once.
    fn used(&mut self, bytes: usize) {
        self.shrink_policy.note(bytes);
        if self.shrink_policy.should_shrink() {
            self.drop_buffers();
        }
    }

    /// Drops what the decoder kept, if nothing is half received.
    fn drop_buffers(&mut self) {
        if self.decoder.is_between_messages() {
            self.decoder.shrink();
            self.shrink_policy = ShrinkPolicy::default();
        }
    }

    /// Gives back all memory that holds nothing.
    pub(super) fn shrink(&mut self) {
        self.drop_buffers();
        self.received.shrink_to_fit();
        self.out.shrink();
    }

    /// Memory held on the heap, in bytes.
    pub(super) fn buffered(&self) -> usize {
        let queue = self.received.capacity() * mem::size_of::<Received>();
        let length = |received: &Received| if let Received::Message(message) = received { message.len() } else { 0 };
        let messages: usize = self.received.iter().map(length).sum();
        let pong = self.pong.as_ref().map_or(0, Vec::capacity);
        [self.decoder.capacity(), queue, messages, pong, self.out.capacity()].iter().sum()
    }
}
