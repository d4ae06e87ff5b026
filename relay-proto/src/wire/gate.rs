//! The gate in front of the WebSocket: every frame header is judged before the WebSocket sees it.
//!
//! tungstenite looks at the reserved bits, the size of a control frame and the mask of a server's frame only once the
//! payload is there, for which it has set memory aside by then; it replaces close codes that it does not know; and it
//! does not tell whether it is in the middle of a frame. The gate refuses what a header alone condemns, lets everything
//! before it pass, reads the close frame for itself, and knows when nothing is half received, which is when the
//! WebSocket's buffers can be given back. A message in a frame of its own that is not masked is taken here, and the WebSocket
//! is not asked: that is most of what a gateway ever reads.

use std::{boxed::Box, format, io::Cursor, mem, string::String, vec::Vec};

use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

use crate::end::LinkEnd;

/// Two bytes, eight of length, four of mask.
const MAX_HEADER: usize = 14;

/// The first byte of a frame that is a whole text message, and of one that is a whole binary message.
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;

/// Why a link has to be ended by us: the close code that goes to the peer, and the end that is reported.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: u16,
    pub(super) end: LinkEnd,
}

impl Fault {
    pub(super) fn protocol(detail: impl Into<String>) -> Self {
        Self { code: 1002, end: LinkEnd::Protocol { detail: detail.into() } }
    }

    pub(super) fn not_utf8(detail: impl Into<String>) -> Self {
        Self { code: 1007, end: LinkEnd::Protocol { detail: detail.into() } }
    }

    pub(super) fn too_large(limit: usize) -> Self {
        Self { code: 1009, end: LinkEnd::MessageTooLarge { limit } }
    }
}

/// A stretch of the input that the WebSocket may see.
#[derive(Default)]
pub(super) struct Run<'a> {
    header: [u8; MAX_HEADER],
    header_len: usize,
    /// Whole frames, or parts of them, one after the other.
    pub(super) bytes: &'a [u8],
    /// How many frames end in it.
    pub(super) frames: usize,
}

impl Run<'_> {
    /// The beginning of the first frame's header, if it came with earlier input. To be read before `bytes`.
    pub(super) fn held(&self) -> &[u8] {
        self.header.get(..self.header_len).unwrap_or_default()
    }
}

pub(super) struct FrameGate {
    /// Whether the peer has to mask, which is what a client does.
    peer_masks: bool,
    max_frame: usize,
    max_message: usize,
    /// The beginning of a header that the input ended in.
    header: [u8; MAX_HEADER],
    header_len: usize,
    /// Payload bytes of the current frame that are still to come.
    owed: usize,
    /// Whether there is a current frame.
    in_frame: bool,
    /// Payload bytes of the fragmented message so far.
    fragments: Option<usize>,
    /// The longest message since somebody asked.
    longest: usize,
    /// The mask and the payload of the peer's close frame.
    close: Option<Box<([u8; 4], Vec<u8>)>>,
}

impl FrameGate {
    pub(super) fn new(peer_masks: bool, max_frame: usize, max_message: usize) -> Self {
        Self {
            peer_masks,
            max_frame: max_frame.min(max_message),
            max_message,
            header: [0; MAX_HEADER],
            header_len: 0,
            owed: 0,
            in_frame: false,
            fragments: None,
            longest: 0,
            close: None,
        }
    }

    /// The longest frame that is let through, in bytes of payload.
    pub(super) fn max_frame(&self) -> usize {
        self.max_frame
    }

    /// The longest message that is let through, in bytes of payload.
    pub(super) fn max_message(&self) -> usize {
        self.max_message
    }

    /// Whether the input so far ended with the end of a message.
    pub(super) fn is_between_messages(&self) -> bool {
        self.header_len == 0 && self.owed == 0 && self.fragments.is_none()
    }

    /// How much the longest message since the last call made the WebSocket hold, in bytes.
    pub(super) fn take_longest(&mut self) -> usize {
        mem::take(&mut self.longest)
    }

    /// Code and reason of the peer's close frame, once it is complete, if it has any.
    ///
    /// The WebSocket replaces codes that it does not know, such as 1014, before it tells them.
    pub(super) fn close(&self) -> Option<(u16, String)> {
        let (mask, payload) = self.close.as_deref()?;
        let plain: Vec<u8> = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        let (code, reason) = plain.split_first_chunk()?;
        Some((u16::from_be_bytes(*code), String::from_utf8_lossy(reason).into()))
    }

    /// Takes the messages off the front of the input that the WebSocket need not see: each a [`Plain`] frame of its own, all
    /// of it there, and UTF-8 if it is to be. How many they are.
    pub(super) fn messages(&mut self, input: &mut &[u8]) -> usize {
        core::iter::from_fn(|| self.next_message(input)).count()
    }

    /// The payload of the next of these messages.
    pub(super) fn next_message<'a>(&mut self, input: &mut &'a [u8]) -> Option<&'a [u8]> {
        let plain = self.message(input)?;
        self.longest = self.longest.max(plain.payload.len());
        *input = plain.rest;
        Some(plain.payload)
    }

    /// Such a message at the front of the input.
    fn message<'a>(&self, input: &'a [u8]) -> Option<Plain<'a>> {
        if self.peer_masks || !self.is_between_messages() || self.close.is_some() {
            return None;
        }
        let plain = Plain::parse(input).filter(|plain| plain.payload.len() <= self.max_frame)?;
        (!plain.is_text || is_utf8(plain.payload)).then_some(plain)
    }

    /// The length of the frame that the input is the beginning of, header included, if the WebSocket need not see that frame:
    /// it is as those of [`messages`](Self::messages) are, once the rest of it is there.
    pub(super) fn begun(&self, input: &[u8]) -> Option<usize> {
        if self.peer_masks || !self.is_between_messages() || self.close.is_some() {
            return None;
        }
        let (header, payload) = Plain::header(input)?;
        let payload = usize::try_from(payload).ok().filter(|payload| *payload <= self.max_frame)?;
        Some(header.saturating_add(payload)).filter(|whole| *whole > input.len())
    }

    /// Judges the input: the stretch that the WebSocket may see, and what is wrong with the frame behind it, if anything
    /// is. What is left of the input begins with [`messages`](Self::messages) or with a frame that has [`begun`](Self::begun). A header that the input ended in is kept for
    /// the next call; input behind a close frame is dropped.
    pub(super) fn judge<'a>(&mut self, input: &mut &'a [u8]) -> (Run<'a>, Result<(), Fault>) {
        let all = mem::take(input);
        let mut run = Run::default();
        let mut rest = all;
        if self.header_len > 0 {
            (run.header, run.header_len) = (self.header, self.header_len);
            match self.complete_header(&mut rest) {
                Ok(true) => {}
                Ok(false) => return (Run::default(), Ok(())),
                Err(fault) => return (Run::default(), Err(fault)),
            }
        }
        let verdict = loop {
            self.payload(&mut rest);
            if self.owed == 0 && mem::take(&mut self.in_frame) {
                run.frames += 1;
            }
            if rest.is_empty() || (self.close.is_some() && self.owed == 0) {
                break Ok(());
            }
            if self.message(rest).is_some() || self.begun(rest).is_some() {
                *input = rest;
                break Ok(());
            }
            match parse(rest).and_then(|header| header.map(|header| self.frame(header)).transpose()) {
                Ok(Some(length)) => {
                    cut(&mut rest, length);
                }
                Ok(None) => {
                    self.hold(rest);
                    break Ok(());
                }
                Err(fault) => break Err(fault),
            }
        };
        run.bytes = all.get(..all.len().saturating_sub(rest.len())).unwrap_or_default();
        (run, verdict)
    }

    /// Continues the held header with the input: false if it is still not complete.
    fn complete_header(&mut self, input: &mut &[u8]) -> Result<bool, Fault> {
        let held = self.header_len;
        self.hold(input);
        let Some(header) = parse(self.header.get(..self.header_len).unwrap_or_default())? else { return Ok(false) };
        let length = self.frame(header)?;
        cut(input, length.saturating_sub(held));
        self.header_len = 0;
        Ok(true)
    }

    /// Keeps what may be the next part of a header.
    fn hold(&mut self, input: &[u8]) {
        for (slot, byte) in self.header.iter_mut().skip(self.header_len).zip(input) {
            *slot = *byte;
            self.header_len += 1;
        }
    }

    /// Lets the payload of the current frame pass.
    fn payload(&mut self, input: &mut &[u8]) {
        let payload = cut(input, self.owed);
        self.owed -= payload.len();
        if let Some((_, close)) = self.close.as_deref_mut() {
            close.extend_from_slice(payload);
        }
    }

    /// Judges one frame by its header; what it announces is then owed. The length of the header.
    fn frame(&mut self, Header { header, announced, length }: Header) -> Result<usize, Fault> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Fault::protocol("a frame has reserved bits set, but no extension was agreed on"));
        }
        match (header.mask.is_some(), self.peer_masks) {
            (false, true) => return Err(Fault::protocol("a client's frame is not masked")),
            (true, false) => return Err(Fault::protocol("a server's frame is masked")),
            _ => {}
        }
        if announced > i64::MAX as u64 {
            return Err(Fault::protocol("a frame's length has its highest bit set"));
        }
        self.in_frame = true;
        let OpCode::Data(kind) = header.opcode else {
            if header.opcode == OpCode::Control(Control::Close) {
                self.close = Some(Box::new((header.mask.unwrap_or_default(), Vec::new())));
            }
            self.owed = match usize::try_from(announced) {
                Ok(_) if !header.is_final => return Err(Fault::protocol("a control frame is fragmented")),
                Ok(length @ ..=125) => length,
                _ => return Err(Fault::protocol("a control frame is longer than 125 bytes")),
            };
            return Ok(length);
        };
        let so_far = match (kind, self.fragments) {
            (Data::Continue, None) => return Err(Fault::protocol("a continuation frame continues nothing")),
            (Data::Continue, Some(so_far)) => so_far,
            (_, Some(_)) => return Err(Fault::protocol("a message begins inside a fragmented message")),
            (_, None) => 0,
        };
        self.owed = match usize::try_from(announced) {
            Ok(announced) if announced <= self.max_frame => announced,
            _ => return Err(Fault::too_large(self.max_frame)),
        };
        let total = so_far.saturating_add(self.owed);
        if total > self.max_message {
            return Err(Fault::too_large(self.max_message));
        }
        self.fragments = (!header.is_final).then_some(total);
        self.longest = self.longest.max(total);
        Ok(length)
    }
}

/// Most of what is sent is ASCII, which shows at a glance.
fn is_utf8(text: &[u8]) -> bool {
    text.is_ascii() || core::str::from_utf8(text).is_ok()
}

/// A message in a frame of its own that is not masked, as a server sends nearly all.
pub(super) struct Plain<'a> {
    pub(super) payload: &'a [u8],
    is_text: bool,
    rest: &'a [u8],
}

impl<'a> Plain<'a> {
    /// Such messages, one after the other.
    pub(super) fn all(mut input: &'a [u8]) -> impl Iterator<Item = Self> {
        core::iter::from_fn(move || {
            let plain = Self::parse(input)?;
            input = plain.rest;
            Some(plain)
        })
    }

    /// Such a message at the front of the input, if it is whole.
    #[inline]
    pub(super) fn parse(input: &'a [u8]) -> Option<Self> {
        let (header, length) = Self::header(input)?;
        let (payload, rest) = input.get(header..)?.split_at_checked(usize::try_from(length).ok()?)?;
        Some(Self { payload, is_text: input.first() == Some(&TEXT), rest })
    }

    /// The lengths of such a message's header and of its payload.
    #[inline]
    fn header(input: &[u8]) -> Option<(usize, u64)> {
        match input {
            [TEXT | BINARY, length @ 0..=125, ..] => Some((2, u64::from(*length))),
            [TEXT | BINARY, 126, a, b, ..] => Some((4, u64::from(u16::from_be_bytes([*a, *b])))),
            [TEXT | BINARY, 127, a, b, c, d, e, f, g, h, ..] => {
                Some((10, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h])))
            }
            _ => None,
        }
    }
}

struct Header {
    header: FrameHeader,
    /// The payload length that it announces.
    announced: u64,
    /// Its own length.
    length: usize,
}

/// The header at the beginning of `bytes`, if it is complete.
fn parse(bytes: &[u8]) -> Result<Option<Header>, Fault> {
    let mut cursor = Cursor::new(bytes);
    let parsed = FrameHeader::parse(&mut cursor).map_err(|error| Fault::protocol(format!("{error}")))?;
    let length = usize::try_from(cursor.position()).unwrap_or(MAX_HEADER);
    Ok(parsed.map(|(header, announced)| Header { header, announced, length }))
}

/// Takes up to `n` bytes off the front.
fn cut<'a>(input: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (front, rest) = input.split_at(n.min(input.len()));
    *input = rest;
    front
}
