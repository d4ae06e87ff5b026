//! Deliveries: how they look on the wire, and how a program without this library would read them.

use std::borrow::Cow;

use serde::Deserialize;

use crate::Result;

/// Bytes of an event.
pub const SIZES: [usize; 4] = [64, 471, 8 << 10, 256 << 10];
/// The one that is compared.
pub const USUAL: usize = 471;

/// Digits of a delivery's number, which its text begins with.
const DIGITS: usize = 8;
/// What is before them.
const START: &str = r#"{"text":""#;
/// A source as chat platforms have it, and the shortest that has all that is read.
const FULL: &str = concat!(
    r#"","message_type":"text","message_id":"1290001112223334445","reply_to_message_id":null,"media_urls":[],"source":{"#,
    r#""platform":"discord","chat_id":"1180001112223334445","chat_name":"general","chat_type":"group","#,
    r#""user_id":"280001112223334445","user_name":"somebody","thread_id":null,"scope_id":"1170001112223334445"}}"#
);
const SHORT: &str = r#"","source":{"chat_id":"c1","user_id":"u1"}}"#;

/// An event of exactly `size` bytes. No two numbers below 10⁸ have the same.
pub fn event(size: usize, number: u64) -> String {
    let end = if size >= USUAL { FULL } else { SHORT };
    let fill = size.saturating_sub(START.len() + DIGITS + end.len());
    format!("{START}{number:0DIGITS$}{}{end}", "x".repeat(fill))
}

/// What reading one event adds to [`Reads::bytes`].
pub fn read_bytes(size: usize) -> u64 {
    let event = event(size, 0);
    let parsed: Event<'_> = serde_json::from_str(&event).unwrap_or_default();
    (parsed.text.len() + parsed.source.chat_id.len() + parsed.source.user_id.len()) as u64
}

/// A delivery's frame; with a `bufferId` when it is to be acknowledged.
pub fn inbound(size: usize, number: u64, acked: bool) -> String {
    let id = format!("{number:0DIGITS$}");
    relay_proto::frame::encode::inbound(&event(size, number), acked.then_some(id.as_str()))
}

/// The frame that acknowledges one; all have the same length.
pub fn ack(id: &str) -> String {
    format!("{{\"type\":\"inbound_ack\",\"bufferId\":\"{id}\"}}\n")
}

/// Bytes of [`ack`].
pub fn ack_len() -> u64 {
    ack(&"0".repeat(DIGITS)).len() as u64
}

/// Deliveries one after the other, one a WebSocket message, as a server sends them.
#[derive(Clone)]
pub struct Block {
    pub bytes: Vec<u8>,
    /// Where each ends, and where its text begins.
    marks: Vec<(usize, usize)>,
    next: u64,
}

impl Block {
    pub fn new(size: usize, frames: usize, acked: bool) -> Self {
        let (mut bytes, mut marks) = (Vec::new(), Vec::with_capacity(frames));
        for number in 0..frames as u64 {
            let frame = inbound(size, number, acked);
            let text = frame.find(START).map_or(0, |at| at + START.len());
            push_frame(&mut bytes, TEXT, frame.as_bytes());
            marks.push((bytes.len(), bytes.len() - frame.len() + text));
        }
        Self { bytes, marks, next: frames as u64 }
    }

    pub fn frames(&self) -> usize {
        self.marks.len()
    }

    /// The bytes of so many, after the first `skipped`.
    pub fn part(&self, skipped: usize, frames: usize) -> &[u8] {
        let end =
            |frames: usize| frames.checked_sub(1).and_then(|last| self.marks.get(last)).map_or(0, |(end, _)| *end);
        self.bytes.get(end(skipped)..end(skipped + frames)).unwrap_or(&[])
    }

    /// Gives every event a new number: a gateway shows no event twice.
    pub fn renumber(&mut self) {
        for (_, text) in &self.marks {
            let digits = format!("{:0DIGITS$}", self.next % 100_000_000);
            if let Some(place) = self.bytes.get_mut(*text..text + DIGITS) {
                place.copy_from_slice(digits.as_bytes());
            }
            self.next += 1;
        }
    }
}

pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// Appends a frame of a server: whole, not masked.
pub fn push_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match payload.len() {
        length @ 0..=125 => out.push(length as u8),
        length @ 126..=0xffff => {
            out.push(126);
            out.extend((length as u16).to_be_bytes());
        }
        length => {
            out.push(127);
            out.extend((length as u64).to_be_bytes());
        }
    }
    out.extend(payload);
}

/// A frame borrowed from its text: only what is read, everything else is skipped.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    event: Option<Event<'a>>,
    #[serde(rename = "bufferId", borrow)]
    buffer_id: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
    #[serde(borrow)]
    source: Source<'a>,
}

#[derive(Default, Deserialize)]
struct Source<'a> {
    #[serde(borrow)]
    chat_id: Cow<'a, str>,
    #[serde(borrow)]
    user_id: Cow<'a, str>,
}

/// Of so many deliveries, the ones that are sent first, for warming up.
pub fn warm(frames: usize) -> usize {
    frames.div_ceil(10)
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    pub frames: u64,
    /// Of texts, chat ids and user ids.
    pub bytes: u64,
    /// Bytes of acknowledgements, as WebSocket frames.
    pub ack_bytes: u64,
}

impl Reads {
    pub fn event(&mut self, text: &str, chat_id: &str, user_id: &str) {
        self.frames += 1;
        self.bytes += read_of(text, chat_id, user_id);
    }
}

/// The bytes of what was read, which the compiler cannot leave out.
pub fn read_of(text: &str, chat_id: &str, user_id: &str) -> u64 {
    let [text, chat_id, user_id] = std::hint::black_box([text, chat_id, user_id]);
    (text.len() + chat_id.len() + user_id.len()) as u64
}

/// Reads a message of one frame: how much was read, and the acknowledgement that is due.
pub fn read_borrowed(message: &str) -> Result<(u64, Option<String>)> {
    let frame: Envelope<'_> = serde_json::from_str(message)?;
    let event = frame.event.as_ref().filter(|_| frame.kind == "inbound").ok_or("no delivery")?;
    let read = read_of(&event.text, &event.source.chat_id, &event.source.user_id);
    Ok((read, frame.buffer_id.as_deref().map(ack)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_the_size_and_are_read() {
        for size in SIZES {
            assert_eq!(event(size, 7).len(), size);
            let (read, ack) = read_borrowed(&inbound(size, 7, true)).unwrap();
            assert_eq!((read, ack), (read_bytes(size), Some(super::ack("00000007"))));
        }
    }

    #[test]
    fn renumbering_changes_every_event_and_no_length() {
        let mut block = Block::new(471, 3, true);
        let before = block.clone();
        block.renumber();
        assert_eq!(block.part(0, 3).len(), before.bytes.len());
        for number in 0..3 {
            let digits = format!("\"{:08}x", number + 3);
            assert!(String::from_utf8_lossy(&block.bytes).contains(&digits));
        }
    }
}
