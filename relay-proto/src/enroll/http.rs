//! The little of HTTP/1.1 that a request for JSON needs, over bytes.
//!
//! Its own, because general clients log what they send and receive at some level, credentials included (TOKEN-3).

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use zeroize::Zeroizing;

use super::MAX_ANSWER;
use super::error::EnrollError;
use super::server::retry_after;

/// The most bytes of a head.
const MAX_HEAD: usize = 16 << 10;
/// The most header fields.
const MAX_FIELDS: usize = 64;
/// The most bytes of one line between chunks.
const MAX_LINE: usize = 4 << 10;

pub(super) fn request(path: &str, authority: &str, bearer: &str, body: &str) -> Zeroizing<Vec<u8>> {
    let length = body.len().to_string();
    let agent = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
    let parts = [
        "POST ",
        path,
        " HTTP/1.1\r\nHost: ",
        authority,
        "\r\nAuthorization: Bearer ",
        bearer,
        "\r\nContent-Type: application/json\r\nAccept: application/json\r\nAccept-Encoding: identity\r\nContent-Length: ",
        &length,
        "\r\nConnection: close\r\nUser-Agent: ",
        agent,
        "\r\n\r\n",
        body,
    ];
    // All at once, so that no copy is left behind by growing.
    Zeroizing::new(parts.concat().into_bytes())
}

/// Collects a head, in time linear in its length however it trickles in.
#[derive(Default)]
pub(super) struct Head {
    bytes: Zeroizing<Vec<u8>>,
    /// Whether the current line holds anything but its end.
    in_line: bool,
}

impl Head {
    /// Takes what belongs to the head off the input. `Some(true)`: it is complete; `None`: it is too long.
    pub(super) fn read(&mut self, input: &mut &[u8]) -> Option<bool> {
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            if self.bytes.len() >= MAX_HEAD {
                return None;
            }
            self.bytes.push(*byte);
            match byte {
                b'\n' if !self.in_line => return Some(true),
                b'\n' => self.in_line = false,
                b'\r' => {}
                _ => self.in_line = true,
            }
        }
        Some(false)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Parses a head with `parse`, which gets room for the fields.
pub(super) fn with_fields<'h, T>(parse: impl FnOnce(&mut [httparse::Header<'h>]) -> T) -> T {
    parse(&mut [httparse::EMPTY_HEADER; MAX_FIELDS])
}

/// The only field of this name; `None` if there is none, more than one, or one that is no text.
pub(super) fn only<'a>(fields: &[httparse::Header<'a>], name: &str) -> Option<&'a str> {
    let mut all = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
    match (all.next(), all.next()) {
        (Some(field), None) => str::from_utf8(field.value).ok().map(str::trim),
        _ => None,
    }
}

pub(super) fn has(fields: &[httparse::Header<'_>], name: &str) -> bool {
    fields.iter().any(|field| field.name.eq_ignore_ascii_case(name))
}

/// An answer: status and body. Debug shows the status alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    status: u16,
    location: Option<String>,
    retry_after: Option<Duration>,
    body: Zeroizing<Vec<u8>>,
}

impl Reply {
    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Where a redirect leads, as it was sent.
    pub fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// How long to wait before another call, if the status is 429 or 503 and the answer says it (`Retry-After`, in seconds).
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The body. It may hold a secret.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Whether a body that is longer than it may be is simply cut: of a refusal it is the status that counts.
    fn may_be_cut(&self) -> bool {
        !(200..=299).contains(&self.status)
    }

    /// Whether nothing of the rest would be kept.
    fn is_cut(&self) -> bool {
        self.may_be_cut() && self.body.len() >= MAX_ANSWER
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Reads an answer from a connection, in chunks of any size. What it holds is bounded (ENROLL-3).
#[derive(Default)]
pub struct AnswerReader(State);

#[derive(Default)]
enum State {
    #[default]
    Empty,
    Head(Head),
    Body(Reply, Framing),
    Done(Reply),
}

/// What ends a body.
enum Framing {
    /// This many more bytes.
    Length(usize),
    /// The chunk of length zero.
    Chunks(Chunks),
    /// The connection.
    Eof,
}

impl AnswerReader {
    /// Takes bytes that the connection yielded. True once the answer is complete: then the rest of them is ignored.
    ///
    /// # Errors
    /// [`EnrollError::NotHttp`], [`EnrollError::TooLong`].
    pub fn read(&mut self, bytes: &[u8]) -> Result<bool, EnrollError> {
        let mut input = bytes;
        loop {
            let state = core::mem::take(&mut self.0);
            self.0 = match state {
                State::Empty => State::Head(Head::default()),
                State::Head(mut head) => match head.read(&mut input) {
                    // Nobody waits for the end of what is none.
                    _ if !head.bytes().iter().zip(b"HTTP/1.").all(|(is, should)| is == should) => {
                        return Err(not_http(strange(head.bytes())));
                    }
                    None => return Err(not_http("its head is too long")),
                    Some(false) => {
                        self.0 = State::Head(head);
                        return Ok(false);
                    }
                    Some(true) => match parse(head.bytes())? {
                        Some((reply, framing)) => State::Body(reply, framing),
                        None => State::Empty,
                    },
                },
                State::Body(mut reply, mut framing) => {
                    if framing.read(&mut input, &mut reply)? {
                        State::Done(reply)
                    } else {
                        self.0 = State::Body(reply, framing);
                        return Ok(false);
                    }
                }
                State::Done(reply) => {
                    self.0 = State::Done(reply);
                    return Ok(true);
                }
            };
        }
    }

    /// Whether it is known that the answer is no success: [`finish`](Self::finish) has it, also when the rest of its body
    /// never comes.
    pub fn is_refused(&self) -> bool {
        matches!(&self.0, State::Body(reply, _) | State::Done(reply) if reply.may_be_cut())
    }

    /// The connection yields no more, or the answer is complete.
    ///
    /// # Errors
    /// [`EnrollError::NotHttp`]: it is not complete.
    pub fn finish(&mut self) -> Result<&Reply, EnrollError> {
        self.0 = match core::mem::take(&mut self.0) {
            State::Body(reply, Framing::Eof) => State::Done(reply),
            State::Body(reply, _) if reply.may_be_cut() => State::Done(reply),
            state => state,
        };
        match &self.0 {
            State::Done(reply) => Ok(reply),
            State::Empty => Err(not_http("the connection ended before it")),
            _ => Err(not_http("it was cut short")),
        }
    }
}

impl fmt::Debug for AnswerReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerReader").finish_non_exhaustive()
    }
}

/// What begins an answer that is none.
fn strange(bytes: &[u8]) -> &'static str {
    match bytes {
        // A TLS record: an alert, or a handshake.
        [0x15 | 0x16, ..] => "it is TLS: should the address begin with https:// or wss://?",
        _ => "it is not HTTP/1",
    }
}

fn not_http(detail: &'static str) -> EnrollError {
    EnrollError::NotHttp { detail }
}

/// Reads a complete head; `None` for an interim answer, which another one follows.
fn parse(head: &[u8]) -> Result<Option<(Reply, Framing)>, EnrollError> {
    with_fields(|fields| {
        let mut response = httparse::Response::new(fields);
        let complete = response.parse(head).is_ok_and(|status| status.is_complete());
        let (true, Some(status)) = (complete, response.code) else { return Err(not_http("it is not HTTP/1")) };
        if (100..=199).contains(&status) {
            return if status == 101 { Err(not_http("it switches the protocol")) } else { Ok(None) };
        }
        let location = only(response.headers, "location").map(String::from);
        let retry_after = retry_after(status, only(response.headers, "retry-after"));
        let mut reply = Reply { status, location, retry_after, body: Zeroizing::default() };
        let framing = framing(status, response.headers)?;
        // Of a refusal the status counts, and its body says nothing then.
        let plain = only(response.headers, "content-encoding")
            .is_some_and(|coding| coding.is_empty() || coding.eq_ignore_ascii_case("identity"));
        if has(response.headers, "content-encoding") && !plain && !reply.may_be_cut() {
            return Err(not_http("its body has a Content-Encoding, such as gzip, that was not asked for"));
        }
        let room = match framing {
            Framing::Length(length) if length > MAX_ANSWER && !reply.may_be_cut() => {
                return Err(EnrollError::TooLong { limit: MAX_ANSWER });
            }
            Framing::Length(length) => length.min(MAX_ANSWER),
            _ => MAX_ANSWER,
        };
        // All of it, so that no copy of a secret is left behind by growing.
        reply.body.reserve_exact(room);
        Ok(Some((reply, framing)))
    })
}

fn framing(status: u16, fields: &[httparse::Header<'_>]) -> Result<Framing, EnrollError> {
    if matches!(status, 204 | 304) {
        return Ok(Framing::Length(0));
    }
    if has(fields, "transfer-encoding") {
        let chunked = only(fields, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        return if chunked { Ok(Framing::Chunks(Chunks::default())) } else { Err(not_http("it is encoded")) };
    }
    if !has(fields, "content-length") {
        return Ok(Framing::Eof);
    }
    let length = only(fields, "content-length").and_then(length);
    length.map(Framing::Length).ok_or(not_http("its length is no number, or there are two"))
}

/// A decimal length. `parse` alone would take a plus sign. One that is too long for a number is too long for anything.
pub(super) fn length(text: &str) -> Option<usize> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().unwrap_or(usize::MAX))
}

impl Framing {
    /// Takes what belongs to the body off the input. True once it is complete.
    fn read(&mut self, input: &mut &[u8], reply: &mut Reply) -> Result<bool, EnrollError> {
        let most = match self {
            Self::Length(missing) => *missing,
            Self::Eof => usize::MAX,
            Self::Chunks(chunks) => return chunks.read(input, reply),
        };
        let taken = take(input, most, reply)?;
        if let Self::Length(missing) = self {
            *missing -= taken;
            return Ok(*missing == 0 || reply.is_cut());
        }
        Ok(reply.is_cut())
    }
}

/// Moves up to `most` bytes into the body. How many.
fn take(input: &mut &[u8], most: usize, reply: &mut Reply) -> Result<usize, EnrollError> {
    let (bytes, rest) = input.split_at(most.min(input.len()));
    *input = rest;
    let room = MAX_ANSWER - reply.body.len();
    if bytes.len() > room && !reply.may_be_cut() {
        return Err(EnrollError::TooLong { limit: MAX_ANSWER });
    }
    reply.body.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or(bytes));
    Ok(bytes.len())
}

/// A body in chunks.
#[derive(Default)]
struct Chunks {
    line: Vec<u8>,
    /// Bytes of the chunk that are to come.
    missing: usize,
    part: Part,
    /// Bytes of lines: sizes, extensions and trailers are bounded together, too.
    lines: usize,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Size,
    Data,
    /// The empty line behind the data.
    End,
    Trailers,
}

impl Chunks {
    fn read(&mut self, input: &mut &[u8], reply: &mut Reply) -> Result<bool, EnrollError> {
        loop {
            if self.part == Part::Data {
                self.missing -= take(input, self.missing, reply)?;
                if reply.is_cut() {
                    return Ok(true);
                }
                if self.missing > 0 {
                    return Ok(false);
                }
                self.part = Part::End;
            }
            if !self.read_line(input)? {
                return Ok(false);
            }
            let line = core::mem::take(&mut self.line);
            self.part = match self.part {
                Part::Size => {
                    self.missing = size(&line).ok_or(not_http("the size of a chunk is no number"))?;
                    if self.missing == 0 { Part::Trailers } else { Part::Data }
                }
                Part::End if line.is_empty() => Part::Size,
                Part::Trailers if line.is_empty() => return Ok(true),
                Part::Trailers => Part::Trailers,
                Part::End | Part::Data => return Err(not_http("a chunk is longer than it says")),
            };
        }
    }

    /// True once a line is complete; it has no end then.
    fn read_line(&mut self, input: &mut &[u8]) -> Result<bool, EnrollError> {
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            self.lines += 1;
            if self.lines > MAX_HEAD || self.line.len() > MAX_LINE {
                return Err(not_http("there is too much between its chunks"));
            }
            if *byte == b'\n' {
                if self.line.last() == Some(&b'\r') {
                    self.line.pop();
                }
                return Ok(true);
            }
            self.line.push(*byte);
        }
        Ok(false)
    }
}

/// The size of a chunk: hexadecimal, perhaps with an extension behind it.
fn size(line: &[u8]) -> Option<usize> {
    let digits = str::from_utf8(line).ok()?.split(';').next()?.trim();
    let plain = !digits.is_empty() && digits.len() <= 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| usize::from_str_radix(digits, 16).ok()).flatten()
}
