//! The WebSocket of a link, the same for both ends, and how the link ends.

use std::{
    boxed::Box,
    collections::VecDeque,
    format,
    io::{self, Read, Write},
    mem,
    vec::Vec,
};

use tungstenite::{
    Bytes, Error, Message, Utf8Bytes,
    error::CapacityError,
    protocol::{
        CloseFrame, Role, WebSocketConfig, WebSocketContext,
        frame::{
            FrameHeader,
            coding::{CloseCode, Data, OpCode},
        },
    },
};

use super::{
    gate::{Fault, FrameGate, Plain, Run},
    options::LinkOptions,
    partial::Partial,
    payload::Payload,
    send_buffer::SendBuffer,
    shrink_policy::ShrinkPolicy,
};
use crate::end::LinkEnd;

/// What a fresh WebSocket sets aside for reading, and the most it takes in one step.
const READ_BUFFER: usize = 2 << 10;
/// Bytes waiting for the socket above which pings are not answered one by one: only the latest is remembered, as RFC
/// 6455 (5.5.3) allows, so that a peer that pings and does not read cannot make the output grow.
const PONG_BACKLOG: usize = 4 << 10;
/// A close frame's payload is at most 125 bytes, two of which are the code.
const MAX_REASON: usize = 123;

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
    gate: FrameGate,
    /// A frame that the WebSocket need not see, and that the input ended in.
    partial: Partial,
    /// Made when it is needed and dropped to give memory back: tungstenite itself never does.
    websocket: Option<Box<WebSocketContext>>,
    /// What its buffers and those of partial frames were needed for.
    shrink_policy: ShrinkPolicy,
    received: VecDeque<Received>,
    /// The payload of the latest ping that had one, until it is answered.
    asked: Option<[u8; 8]>,
    /// The latest ping that could not be answered at once.
    pong: Option<Bytes>,
    /// Plaintext for the layer below.
    pub(super) out: SendBuffer,
    /// Bytes that the layer below holds for the socket.
    pub(super) backlog: usize,
}

impl Session {
    pub(super) fn new(role: Role, options: &LinkOptions) -> Self {
        let gate = FrameGate::new(role == Role::Server, options.max_frame, options.max_message);
        Self {
            role,
            state: State::Upgrading,
            end: End::Unknown,
            gate,
            partial: Partial::default(),
            websocket: None,
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
            self.partial = Partial::default();
            self.websocket = None;
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
    pub(super) fn receive(&mut self, input: &[u8], mut each: Option<Each<'_>>) {
        if matches!(self.state, State::Open | State::Closing) && !input.is_empty() {
            let mut rest = input;
            if !self.partial.is_empty() {
                let Some(frame) = self.partial.complete(&mut rest) else { return };
                self.take(&frame, &mut each);
                if self.is_over() {
                    return;
                }
                self.partial.release(frame);
            }
            self.take(rest, &mut each);
            let longest = self.gate.take_longest();
            if longest > 0 || self.is_between_messages() {
                self.used(longest);
            }
        }
    }

    /// Takes all of the input, unless the link ends with it.
    fn take(&mut self, mut rest: &[u8], each: &mut Option<Each<'_>>) {
        while !rest.is_empty() && !self.is_over() {
            match each.as_mut().filter(|_| self.received.is_empty()) {
                Some(each) => self.hand_over(&mut rest, &mut **each),
                None => self.take_messages(&mut rest),
            }
            if rest.is_empty() {
                return;
            }
            if let Some(whole) = self.gate.begun(rest) {
                return self.partial.begin(rest, whole);
            }
            let (run, verdict) = self.gate.judge(&mut rest);
            self.read(&run);
            if let Err(fault) = verdict {
                self.fail(fault);
            }
        }
    }

    /// Whether the input so far ended with the end of a message.
    fn is_between_messages(&self) -> bool {
        self.partial.is_empty() && self.gate.is_between_messages()
    }

    /// Takes whole messages off the front of the input, and hands each over.
    fn hand_over(&mut self, input: &mut &[u8], each: Each<'_>) {
        while let Some(payload) = self.gate.next_message(input) {
            if !payload.is_empty() {
                each(payload);
            }
        }
    }

    /// Takes whole messages off the front of the input. They share their memory.
    fn take_messages(&mut self, input: &mut &[u8]) {
        let all = *input;
        let count = self.gate.messages(input);
        let taken = all.get(..all.len() - input.len()).unwrap_or_default();
        if count <= 1 {
            return Plain::all(taken).for_each(|message| self.push(Bytes::copy_from_slice(message.payload)));
        }
        let mut payloads = Vec::with_capacity(Plain::all(taken).map(|message| message.payload.len()).sum());
        Plain::all(taken).for_each(|message| payloads.extend_from_slice(message.payload));
        let payloads = Bytes::from(payloads);
        self.received.reserve(count);
        let mut start = 0;
        for message in Plain::all(taken) {
            let end = start + message.payload.len();
            self.push(payloads.slice(start..end));
            start = end;
        }
    }

    /// Lets the WebSocket read all of a stretch, unless the link ends with it.
    fn read(&mut self, run: &Run<'_>) {
        let (mut held, mut bytes, mut frames) = (run.held(), run.bytes, run.frames);
        // The WebSocket reads ahead: it may have taken all of the input and still hold whole frames. One call takes at
        // least one of them.
        while (frames > 0 || !bytes.is_empty()) && !self.is_over() {
            let mut memory = Memory { held, bytes, out: Some(&mut self.out) };
            let message = websocket(&mut self.websocket, self.role, &self.gate).read(&mut memory);
            (held, bytes) = (memory.held, memory.bytes);
            frames = frames.saturating_sub(1);
            match message {
                Ok(Message::Text(text)) => self.push(text.into()),
                Ok(Message::Binary(bytes)) => self.push(bytes),
                Ok(Message::Ping(payload)) => self.answer(&payload),
                Ok(Message::Pong(payload)) => self.answered(&payload),
                Ok(Message::Frame(_)) => {}
                Ok(Message::Close(_)) => self.closed_by_peer(),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => self.fail(fault(error)),
            }
        }
    }

    fn push(&mut self, payload: Bytes) {
        // An empty message adds nothing to the stream of lines (FRAME-2), and a read full of them would cost a
        // multiple of its size in the queue.
        if !payload.is_empty() {
            self.received.push_back(Received::Message(Payload::new(payload)));
        }
    }

    /// Pongs that answer nothing mean nothing (RFC 6455, 5.5.3), and a read full of them would cost a multiple of its
    /// size in the queue.
    fn answered(&mut self, pong: &[u8]) {
        if let Some(asked) = self.asked.take_if(|asked| *asked == pong) {
            self.received.push_back(Received::Pong(asked));
        }
    }

    /// The WebSocket holds an answer to a ping; lets it out, or forgets it and remembers the ping.
    fn answer(&mut self, ping: &[u8]) {
        let Some(websocket) = &mut self.websocket else { return };
        let full = self.out.len().saturating_add(self.backlog) > PONG_BACKLOG;
        let out = if full { None } else { Some(&mut self.out) };
        // `out` never fails, and errors about the state of the WebSocket mean that there was nothing to send.
        let _ = websocket.flush(&mut Memory { out, ..Memory::default() });
        // Once our close frame is out pings go unanswered.
        if full && self.state == State::Open {
            self.pong = Some(Bytes::copy_from_slice(ping));
        }
    }

    /// Some output is gone: there may be room for an answer that was put off.
    pub(super) fn drained(&mut self) {
        if self.is_open()
            && self.out.len().saturating_add(self.backlog) <= PONG_BACKLOG
            && let Some(payload) = self.pong.take()
        {
            self.write(Message::Pong(payload));
        }
    }

    fn closed_by_peer(&mut self) {
        // The WebSocket has queued the answer and would send it with the next read. A server's flush reports that the
        // connection is closed now, which is known.
        if let Some(websocket) = &mut self.websocket {
            let _ = websocket.flush(&mut Memory { out: Some(&mut self.out), ..Memory::default() });
        }
        let (code, reason) = self.gate.close().unzip();
        self.finish(LinkEnd::Closed { code, reason: reason.unwrap_or_default() });
    }

    /// The peer broke a rule: tells it why, and ends.
    fn fail(&mut self, fault: Fault) {
        if self.is_open() {
            let reason = match &fault.end {
                LinkEnd::Protocol { detail } => detail.as_str(),
                _ => "message too large",
            };
            self.write(close_frame(fault.code, reason));
        }
        self.finish(fault.end);
    }

    /// Starts the closing handshake; the end is known when the peer's close frame is here, or the connection ended.
    pub(super) fn close(&mut self, code: u16, reason: &str) {
        if self.is_open() {
            self.write(close_frame(code, reason));
            self.state = State::Closing;
            self.pong = None;
        }
    }

    /// A whole message is one frame, and needs no WebSocket: it goes where a WebSocket would write it.
    pub(super) fn send_text(&mut self, text: &str) {
        if !self.is_open() {
            return;
        }
        let mask = (self.role == Role::Client).then(rand::random);
        let header = FrameHeader { opcode: OpCode::Data(Data::Text), mask, ..FrameHeader::default() };
        // `out` never fails.
        let _ = header.format(text.len() as u64, &mut self.out);
        match mask {
            Some(mask) => self.out.push_masked(text.as_bytes(), mask),
            None => self.out.push(text.as_bytes()),
        }
    }

    pub(super) fn ping(&mut self, payload: Option<[u8; 8]>) {
        if self.is_open() {
            self.asked = payload.or(self.asked);
            self.write(Message::Ping(payload.map_or_else(Bytes::new, |payload| Bytes::copy_from_slice(&payload))));
        }
    }

    fn write(&mut self, message: Message) {
        let mut memory = Memory { out: Some(&mut self.out), ..Memory::default() };
        let websocket = websocket(&mut self.websocket, self.role, &self.gate);
        // Fails only on a WebSocket that is closing, and then there is nothing to send any more.
        let _ = websocket.write(&mut memory, message).and_then(|()| websocket.flush(&mut memory));
    }

    /// So much had to be held at once.
    fn used(&mut self, bytes: usize) {
        self.shrink_policy.note(bytes);
        if self.shrink_policy.should_shrink() {
            self.drop_buffers();
        }
    }

    /// Drops the WebSocket with its buffers, if nothing is half received. A closing one is kept: its successor would not
    /// know of the close frame that is out.
    fn drop_buffers(&mut self) {
        if self.is_open() && self.is_between_messages() {
            self.partial = Partial::default();
            self.websocket = None;
            self.shrink_policy = ShrinkPolicy::default();
        }
    }

    /// Gives back all memory that holds nothing.
    pub(super) fn shrink(&mut self) {
        self.drop_buffers();
        self.received.shrink_to_fit();
        self.out.shrink();
    }

    /// Memory held on the heap, in bytes; what tungstenite holds is an estimate.
    pub(super) fn buffered(&self) -> usize {
        let websocket =
            if self.websocket.is_some() { READ_BUFFER.saturating_add(self.shrink_policy.peak()) } else { 0 };
        let queue = self.received.capacity() * mem::size_of::<Received>();
        let length = |received: &Received| if let Received::Message(message) = received { message.len() } else { 0 };
        let messages: usize = self.received.iter().map(length).sum();
        let pong = self.pong.as_ref().map_or(0, Bytes::len);
        [websocket, queue, messages, pong, self.partial.capacity(), self.out.capacity()].iter().sum()
    }
}

fn websocket<'a>(
    slot: &'a mut Option<Box<WebSocketContext>>,
    role: Role,
    gate: &FrameGate,
) -> &'a mut WebSocketContext {
    slot.get_or_insert_with(|| {
        // A write buffer of 0 hands each frame on at once; it is `out` that lets frames gather. `out` takes everything,
        // so the write buffer never holds more than one frame and needs no limit.
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_frame_size(Some(gate.max_frame()))
            .max_message_size(Some(gate.max_message()));
        Box::new(WebSocketContext::new(role, Some(config)))
    })
}

fn close_frame(code: u16, reason: &str) -> Message {
    let code = CloseCode::from(code);
    // Codes that must not travel (RFC 6455, 7.4) leave as a close frame without a status.
    Message::Close(code.is_allowed().then(|| {
        let end = (0..=reason.len().min(MAX_REASON)).rev().find(|end| reason.is_char_boundary(*end));
        let reason = reason.get(..end.unwrap_or(0)).unwrap_or_default();
        CloseFrame { code, reason: Utf8Bytes::from(reason) }
    }))
}

fn fault(error: Error) -> Fault {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { max_size, .. }) => Fault::too_large(max_size),
        Error::Utf8(detail) => Fault::not_utf8(format!("a text is not UTF-8: {detail}")),
        error => Fault::protocol(format!("{error}")),
    }
}

/// The two directions of a WebSocket, in memory.
#[derive(Default)]
struct Memory<'i, 'o> {
    /// Read before `bytes`.
    held: &'i [u8],
    bytes: &'i [u8],
    /// `None` swallows what is written.
    out: Option<&'o mut SendBuffer>,
}

impl Read for Memory<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Reading from a slice cannot fail.
        let held = self.held.read(buffer)?;
        let bytes = self.bytes.read(buffer.get_mut(held..).unwrap_or_default())?;
        match held + bytes {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }
}

impl Write for Memory<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(out) = &mut self.out {
            out.push(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
