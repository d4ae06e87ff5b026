//! The answer to an upgrade: read by the end that dialed, written by the end that accepts.

use core::time::Duration;
use std::{format, string::String, vec::Vec};

use http::StatusCode;

use super::http::{Fields, HeadReader, clean, parse_head};
use crate::{
    end::LinkEnd,
    enroll::server::{retry_after, whole_seconds},
};

/// The longest body of a refusal that is waited for.
const MAX_BODY: usize = 1024;

/// Reads the answer to an upgrade.
pub(super) struct ResponseReader {
    accept: String,
    head: HeadReader,
    refusal: Option<Refusal>,
}

/// A refusal whose body is not complete yet.
struct Refusal {
    status: u16,
    phrase: String,
    body: Vec<u8>,
    /// How long the body is.
    length: usize,
    /// When the reason passes, as it says.
    retry_after: Option<Duration>,
}

impl Refusal {
    fn end(&self) -> LinkEnd {
        let body =
            if self.body.len() == self.length { str::from_utf8(&self.body).map(clean) } else { Ok(String::new()) };
        let reason = body.ok().filter(|body| !body.is_empty()).unwrap_or_else(|| self.phrase.clone());
        match self.retry_after {
            Some(retry_after) => LinkEnd::RefusedForNow { status: self.status, reason, retry_after },
            None => LinkEnd::Refused { status: self.status, reason },
        }
    }
}

impl ResponseReader {
    /// `accept` is the key that an answer has to hold.
    pub(super) fn new(accept: String) -> Self {
        Self { accept, head: HeadReader::default(), refusal: None }
    }

    /// Reads from the input: `Ok(true)` once the upgrade is accepted, and then the rest of the input is WebSocket.
    pub(super) fn read(&mut self, input: &mut &[u8]) -> Result<bool, LinkEnd> {
        let protocol = |detail: String| LinkEnd::Protocol { detail };
        if self.refusal.is_none() {
            match read_answer(&mut self.head, input).map_err(protocol)? {
                None => return Ok(false),
                Some(Answer { status: 101, current: false, .. }) => {
                    return Err(protocol("an upgrade needs HTTP/1.1".into()));
                }
                Some(Answer { status: 101, fields, .. }) => {
                    return self.verify(&fields).map(|()| true).map_err(|detail| protocol(detail.into()));
                }
                Some(Answer { status, phrase, fields, .. }) => self.refusal = Some(refusal(status, phrase, &fields)),
            }
        }
        match &mut self.refusal {
            None => Ok(false),
            Some(refusal) => {
                let missing = refusal.length.saturating_sub(refusal.body.len());
                let (body, rest) = input.split_at(missing.min(input.len()));
                refusal.body.extend_from_slice(body);
                *input = rest;
                if refusal.body.len() == refusal.length { Err(refusal.end()) } else { Ok(false) }
            }
        }
    }

    /// The end of a link on which nothing more comes.
    pub(super) fn end(&self, detail: &str) -> LinkEnd {
        match &self.refusal {
            Some(refusal) => refusal.end(),
            None => LinkEnd::Lost { detail: format!("{detail}, before the upgrade was answered") },
        }
    }

    fn verify(&self, fields: &Fields) -> Result<(), &'static str> {
        if !fields.has_token("upgrade", "websocket") {
            return Err("the answer to the upgrade lacks `Upgrade: websocket`");
        }
        if !fields.has_token("connection", "upgrade") {
            return Err("the answer to the upgrade lacks `Connection: Upgrade`");
        }
        if fields.only("sec-websocket-accept") != Some(self.accept.as_str()) {
            return Err("the answer to the upgrade has a wrong Sec-WebSocket-Accept");
        }
        if fields.has("sec-websocket-extensions") {
            return Err("the answer to the upgrade names an extension that nobody asked for");
        }
        // An empty one names none. Servers exist that send it.
        if fields.has("sec-websocket-protocol") && fields.only("sec-websocket-protocol") != Some("") {
            return Err("the answer to the upgrade names a subprotocol that nobody asked for");
        }
        Ok(())
    }

    pub(super) fn capacity(&self) -> usize {
        let body = self.refusal.as_ref().map_or(0, |refusal| refusal.body.capacity());
        self.head.capacity().saturating_add(body)
    }
}

/// The head of an answer.
pub(super) struct Answer {
    /// Whether it is HTTP/1.1, and not 1.0.
    current: bool,
    pub(super) status: u16,
    pub(super) phrase: String,
    fields: Fields,
}

/// Reads the head of an answer, once all of it is there. Interim answers precede the real one, and are passed over (RFC
/// 9110, 15.2); 101 is a real one.
pub(super) fn read_answer(head: &mut HeadReader, input: &mut &[u8]) -> Result<Option<Answer>, String> {
    while !input.is_empty() {
        let complete = head.read(input)?;
        if !head.head().iter().zip(b"HTTP/1.").all(|(is, should)| is == should) {
            return Err("the answer is not HTTP/1".into());
        }
        if !complete {
            return Ok(None);
        }
        let (line, fields) = parse_head(head.head())?;
        let (version, status, phrase) = status_line(line).ok_or("the HTTP status line is malformed")?;
        match status {
            100 | 102..=199 => head.next_head(),
            _ => return Ok(Some(Answer { current: version == b"HTTP/1.1", status, phrase, fields })),
        }
    }
    Ok(None)
}

/// Version, status and reason phrase.
fn status_line(line: &[u8]) -> Option<(&[u8], u16, String)> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let version = parts.next().filter(|version| matches!(*version, b"HTTP/1.1" | b"HTTP/1.0"))?;
    let status = parts.next().filter(|status| status.len() == 3 && status.iter().all(u8::is_ascii_digit))?;
    let status = str::from_utf8(status).ok()?.parse().ok().filter(|status| *status >= 100)?;
    let phrase = clean(&String::from_utf8_lossy(parts.next().unwrap_or_default()));
    Some((version, status, phrase))
}

fn refusal(status: u16, phrase: String, fields: &Fields) -> Refusal {
    // A page for people is no reason; and without a plain length there is no telling how long to wait.
    let readable = !fields.has("transfer-encoding")
        && !fields.has("content-encoding")
        && !fields.only("content-type").is_some_and(|kind| kind.to_ascii_lowercase().contains("html"));
    let length = fields.only("content-length").filter(|_| readable).and_then(|length| length.parse().ok());
    let length = length.filter(|length| *length <= MAX_BODY && !matches!(status, 204 | 304)).unwrap_or(0);
    let retry_after = retry_after(status, fields.only("retry-after"));
    Refusal { status, phrase, body: Vec::new(), length, retry_after }
}

/// The answer that accepts.
pub(super) fn acceptance(accept: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// The answer that refuses. The status is an error's, whatever was asked for: anything else would be no refusal.
pub(super) fn rejection(status: u16, body: &str, retry_after: Option<Duration>) -> (u16, String) {
    let status =
        StatusCode::from_u16(status).ok().filter(|status| status.as_u16() >= 300).unwrap_or(StatusCode::BAD_REQUEST);
    let (code, phrase) = (status.as_u16(), status.canonical_reason().unwrap_or("Refused"));
    (code, response(status, phrase, body, retry_after))
}

/// The answer to a request for no upgrade, and its status, which is 500 if it cannot be one.
pub(super) fn plain_response(status: u16, body: &str) -> (u16, String) {
    let status = StatusCode::from_u16(status).ok().filter(|status| status.as_u16() >= 200);
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status.as_u16(), response(status, status.canonical_reason().unwrap_or("Other"), body, None))
}

/// What is left of a response in the answer to a HEAD: all of its head, and nothing of its body (RFC 9110, 9.3.2).
pub(super) fn head_of(mut response: String, body: &str) -> String {
    response.truncate(response.len().saturating_sub(body.len()));
    response
}

fn response(status: StatusCode, phrase: &str, body: &str, retry_after: Option<Duration>) -> String {
    let code = status.as_u16();
    // HTTP wants it named what would be taken instead.
    let instead = match status {
        StatusCode::UPGRADE_REQUIRED => "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n",
        StatusCode::METHOD_NOT_ALLOWED => "Allow: GET, HEAD\r\n",
        _ => "",
    };
    let length = body.len();
    let retry = retry_after.map(|wait| format!("Retry-After: {}\r\n", whole_seconds(wait))).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {code} {phrase}\r\n{instead}{retry}Connection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    head + body
}
