//! The frames of a WebSocket (RFC 6455, section 5), for both roles.
//!
//! The decoder takes bytes in chunks of any size and hands out whole messages and control frames. What a frame's header
//! condemns is refused when the header is there, before its payload: a header can announce exabytes, and memory is set aside
//! for what came alone. A message in one frame that is not masked, as servers send nearly all, is handed out from where it
//! lies in the input, without a copy.

use std::{format, mem, string::String, vec::Vec};

use super::send_buffer::SendBuffer;
use crate::end::LinkEnd;

/// Two bytes, eight of length, four of mask.
const MAX_HEADER: usize = 14;
/// The longest payload of a control frame (RFC 6455, 5.5).
const MAX_CONTROL: usize = 125;
/// A close frame's payload begins with the code.
const MAX_REASON: usize = MAX_CONTROL - 2;

/// Which end of a link this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The end that dialed: it masks what it sends.
    Client,
    /// The end that accepted.
    Server,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn parse(first: u8) -> Result<Self, Fault> {
        Ok(match first & 0x0f {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            other => return Err(Fault::protocol(format!("a frame has the reserved opcode {other}"))),
        })
    }

    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// Why a link has to be ended by us: the close code that goes to the peer, and the end that is reported.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: u16,
    pub(super) end: LinkEnd,
}

impl Fault {
    fn protocol(detail: impl Into<String>) -> Self {
        Self { code: 1002, end: LinkEnd::Protocol { detail: detail.into() } }
    }

    fn not_utf8(what: &str) -> Self {
        Self { code: 1007, end: LinkEnd::Protocol { detail: format!("{what} is not UTF-8") } }
    }

    fn too_large(limit: usize) -> Self {
        Self { code: 1009, end: LinkEnd::MessageTooLarge { limit } }
    }
}

/// What came from the peer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming<'a> {
    /// A whole message, text or binary. Text is UTF-8.
    Message(&'a [u8]),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// Nothing that comes behind it counts (RFC 6455, 5.5.1).
    Close {
        code: Option<u16>,
        reason: String,
    },
}

/// A frame's header.
struct Header {
    is_final: bool,
    opcode: Opcode,
    mask: Option<[u8; 4]>,
    /// The length of the payload that it announces.
    announced: u64,
    /// Its own length.
    length: usize,
}

impl Header {
    /// The header at the beginning of `bytes`, if it is complete.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, Fault> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let (announced, rest) = match second & 0x7f {
            126 => match rest.split_first_chunk() {
                Some((length, rest)) => (u16::from_be_bytes(*length).into(), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(None),
            },
            length => (length.into(), rest),
        };
        let (mask, rest) = match rest.split_first_chunk() {
            _ if second & 0x80 == 0 => (None, rest),
            Some((mask, rest)) => (Some(*mask), rest),
            None => return Ok(None),
        };
        if first & 0x70 != 0 {
            return Err(Fault::protocol("a frame has reserved bits set, but no extension was agreed on"));
        }
        let (is_final, opcode) = (first & 0x80 != 0, Opcode::parse(*first)?);
        Ok(Some(Self { is_final, opcode, mask, announced, length: bytes.len().saturating_sub(rest.len()) }))
    }
}

/// The frame whose payload is being read.
struct Frame {
    is_final: bool,
    opcode: Opcode,
    /// The mask of the payload's next byte comes first.
    mask: Option<[u8; 4]>,
    /// Payload bytes that are still to come.
    owed: usize,
}

/// Reads what a peer sends.
pub(super) struct Decoder {
    role: Role,
    max_frame: usize,
    max_message: usize,
    /// The beginning of a header that the input ended in.
    header: [u8; MAX_HEADER],
    header_len: usize,
    frame: Option<Frame>,
    /// Whether the message under way is text. `None`: none is under way, or only its first frame has begun.
    fragmented: Option<bool>,
    /// The message under way, as far as it came, or the last one that was handed out of here.
    message: Vec<u8>,
    /// How much of `message` is known to be UTF-8, if it is text.
    valid: usize,
    /// `message` was handed out, and makes room for the next.
    spent: bool,
    /// The payload of the control frame that is being read: it may come between the fragments of a message.
    control: Vec<u8>,
    /// The most bytes that `message` held since somebody asked.
    longest: usize,
}

impl Decoder {
    /// For this end's role; with the limits of [`LinkOptions`](super::LinkOptions).
    pub(super) fn new(role: Role, max_frame: usize, max_message: usize) -> Self {
        Self {
            role,
            max_frame: max_frame.min(max_message),
            max_message,
            header: [0; MAX_HEADER],
            header_len: 0,
            frame: None,
            fragmented: None,
            message: Vec::new(),
            valid: 0,
            spent: false,
            control: Vec::new(),
            longest: 0,
        }
    }

    /// Whether the input so far ended with the end of a message.
    pub(super) fn is_between_messages(&self) -> bool {
        self.header_len == 0 && self.frame.is_none() && self.fragmented.is_none()
    }

    /// The most bytes that had to be kept since the last call.
    pub(super) fn take_longest(&mut self) -> usize {
        mem::take(&mut self.longest)
    }

    /// Memory held on the heap, in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.message.capacity().saturating_add(self.control.capacity())
    }

    /// Gives back the memory that holds nothing, if nothing is half received.
    pub(super) fn shrink(&mut self) {
        if self.is_between_messages() {
            (self.message, self.valid, self.spent) = (Vec::new(), 0, false);
            self.control = Vec::new();
        }
    }

    /// The link is over: nothing is read any more.
    pub(super) fn abandon(&mut self) {
        *self = Self::new(self.role, self.max_frame, self.max_message);
    }

    /// Takes the next thing off the front of the input; `None` when all of it is taken and nothing is whole.
    pub(super) fn next<'d, 'i: 'd>(&'d mut self, input: &mut &'i [u8]) -> Result<Option<Incoming<'d>>, Fault> {
        if mem::take(&mut self.spent) {
            self.message.clear();
            self.valid = 0;
        }
        loop {
            if self.frame.is_none() {
                let Some(header) = self.take_header(input)? else { return Ok(None) };
                let frame = self.judge(&header)?;
                if let Some(payload) = self.whole_message(&frame, input) {
                    if frame.opcode == Opcode::Text && !is_utf8(payload) {
                        return Err(Fault::not_utf8("a text"));
                    }
                    return Ok(Some(Incoming::Message(payload)));
                }
                self.frame = Some(frame);
            }
            let Some(frame) = self.take_payload(input) else { return Ok(None) };
            if frame.opcode.is_control() {
                return control(frame.opcode, mem::take(&mut self.control)).map(Some);
            }
            if self.end_fragment(&frame)? {
                self.spent = true;
                return Ok(Some(Incoming::Message(&self.message)));
            }
        }
    }

    /// Takes a header off the input, which may have begun with earlier input.
    fn take_header(&mut self, input: &mut &[u8]) -> Result<Option<Header>, Fault> {
        let held = self.header_len;
        let parsed = if held == 0 {
            Header::parse(input)?
        } else {
            self.hold(input);
            Header::parse(self.header.get(..self.header_len).unwrap_or_default())?
        };
        let Some(header) = parsed else {
            if held == 0 {
                self.hold(input);
            }
            *input = &[];
            return Ok(None);
        };
        self.header_len = 0;
        cut(input, header.length.saturating_sub(held));
        Ok(Some(header))
    }

    /// Keeps what may be the next part of a header.
    fn hold(&mut self, input: &[u8]) {
        for (slot, byte) in self.header.iter_mut().skip(self.header_len).zip(input) {
            *slot = *byte;
            self.header_len += 1;
        }
    }

    /// Judges a frame by its header.
    fn judge(&mut self, header: &Header) -> Result<Frame, Fault> {
        match (self.role, header.mask) {
            (Role::Server, None) => return Err(Fault::protocol("a client's frame is not masked")),
            (Role::Client, Some(_)) => return Err(Fault::protocol("a server's frame is masked")),
            _ => {}
        }
        if header.announced > i64::MAX as u64 {
            return Err(Fault::protocol("a frame's length has its highest bit set"));
        }
        let Header { is_final, opcode, mask, announced, .. } = *header;
        let announced = usize::try_from(announced).unwrap_or(usize::MAX);
        if opcode.is_control() {
            if !is_final {
                return Err(Fault::protocol("a control frame is fragmented"));
            }
            if announced > MAX_CONTROL {
                return Err(Fault::protocol("a control frame is longer than 125 bytes"));
            }
        } else {
            match (opcode == Opcode::Continuation, self.fragmented.is_some()) {
                (true, false) => return Err(Fault::protocol("a continuation frame continues nothing")),
                (false, true) => return Err(Fault::protocol("a message begins inside a fragmented message")),
                _ => {}
            }
            if announced > self.max_frame {
                return Err(Fault::too_large(self.max_frame));
            }
            if self.message.len().saturating_add(announced) > self.max_message {
                return Err(Fault::too_large(self.max_message));
            }
        }
        Ok(Frame { is_final, opcode, mask, owed: announced })
    }

    /// The payload of a frame that is a whole message and lies in the input as it is.
    fn whole_message<'a>(&self, frame: &Frame, input: &mut &'a [u8]) -> Option<&'a [u8]> {
        let is_whole = frame.is_final && matches!(frame.opcode, Opcode::Text | Opcode::Binary) && frame.mask.is_none();
        (is_whole && frame.owed <= input.len()).then(|| cut(input, frame.owed))
    }

    /// Moves what the input has of the frame's payload to where it belongs. The frame, once it is complete.
    fn take_payload(&mut self, input: &mut &[u8]) -> Option<Frame> {
        let mut frame = self.frame.take()?;
        let part = cut(input, frame.owed);
        let to = if frame.opcode.is_control() { &mut self.control } else { &mut self.message };
        let (start, needed) = (to.len(), to.len().saturating_add(part.len()));
        if needed > to.capacity() {
            // Twice as much as came, but no more than the frame.
            let enough = needed.saturating_mul(2).min(start.saturating_add(frame.owed));
            to.reserve_exact(enough.saturating_sub(start));
        }
        to.extend_from_slice(part);
        if let Some(mask) = &mut frame.mask {
            apply_mask(to.get_mut(start..).unwrap_or_default(), *mask);
            mask.rotate_left(part.len() % 4);
        }
        frame.owed = frame.owed.saturating_sub(part.len());
        self.longest = self.longest.max(self.message.len());
        if frame.owed > 0 {
            self.frame = Some(frame);
            return None;
        }
        Some(frame)
    }

    /// A data frame is complete. Whether its message is.
    fn end_fragment(&mut self, frame: &Frame) -> Result<bool, Fault> {
        let is_text = self.fragmented.unwrap_or(frame.opcode == Opcode::Text);
        self.fragmented = (!frame.is_final).then_some(is_text);
        if is_text {
            // A character may be cut between two fragments.
            match core::str::from_utf8(self.message.get(self.valid..).unwrap_or_default()) {
                Ok(_) => self.valid = self.message.len(),
                Err(error) if !frame.is_final && error.error_len().is_none() => self.valid += error.valid_up_to(),
                Err(_) => return Err(Fault::not_utf8("a text")),
            }
        }
        Ok(frame.is_final)
    }
}

/// A complete control frame.
fn control(opcode: Opcode, payload: Vec<u8>) -> Result<Incoming<'static>, Fault> {
    match (opcode, &payload[..]) {
        (Opcode::Ping, _) => Ok(Incoming::Ping(payload)),
        (Opcode::Pong, _) => Ok(Incoming::Pong(payload)),
        (_, []) => Ok(Incoming::Close { code: None, reason: String::new() }),
        (_, [high, low, reason @ ..]) => {
            let reason = core::str::from_utf8(reason).map_err(|_| Fault::not_utf8("the reason of a close frame"))?;
            Ok(Incoming::Close { code: Some(u16::from_be_bytes([*high, *low])), reason: reason.into() })
        }
        (_, [_]) => Err(Fault::protocol("a close frame has half a code")),
    }
}

/// Writes a frame, which is the whole message if it carries data.
pub(super) fn push_frame(out: &mut SendBuffer, role: Role, opcode: Opcode, payload: &[u8]) {
    let mask: Option<[u8; 4]> = (role == Role::Client).then(rand::random);
    let masked = if mask.is_some() { 0x80 } else { 0 };
    out.push(&[0x80 | opcode as u8]);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ ..126), _) => out.push(&[masked | length]),
        (_, Ok(length)) => {
            out.push(&[masked | 126]);
            out.push(&length.to_be_bytes());
        }
        _ => {
            out.push(&[masked | 127]);
            out.push(&(payload.len() as u64).to_be_bytes());
        }
    }
    match mask {
        Some(mask) => {
            out.push(&mask);
            out.push_masked(payload, mask);
        }
        None => out.push(payload),
    }
}

/// The payload of a close frame: empty if the code must not travel, else with a reason that is cut at a character.
pub(super) fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    if !may_travel(code) {
        return Vec::new();
    }
    let end = (0..=reason.len().min(MAX_REASON)).rev().find(|end| reason.is_char_boundary(*end));
    let reason = reason.get(..end.unwrap_or(0)).unwrap_or_default();
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// Whether a close frame may have this code (RFC 6455, 7.4, and the registry that it sets up).
pub(super) fn may_travel(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Masks bytes, or takes the mask off (RFC 6455, 5.3), eight at a time.
pub(super) fn apply_mask(bytes: &mut [u8], [a, b, c, d]: [u8; 4]) {
    let mask = [a, b, c, d, a, b, c, d];
    let (words, rest) = bytes.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ u64::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

/// Most of what is sent is ASCII, which shows at a glance.
fn is_utf8(text: &[u8]) -> bool {
    text.is_ascii() || core::str::from_utf8(text).is_ok()
}

/// Takes up to `n` bytes off the front.
fn cut<'a>(input: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (front, rest) = input.split_at(n.min(input.len()));
    *input = rest;
    front
}
