//! The little of HTTP/1.1 that an upgrade needs, the same for both ends.

use std::{format, string::String, vec::Vec};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The most bytes of a request or a response before its body, interim responses included.
pub(super) const MAX_HEAD: usize = 16 << 10;
/// The most header fields.
const MAX_FIELDS: usize = 64;

/// Collects the start line and the fields of a request or response, in time linear in their length however they trickle
/// in: nothing is parsed before the empty line that ends them.
#[derive(Default)]
pub(super) struct HeadReader {
    head: Vec<u8>,
    /// Whether the current line holds anything but its end.
    in_line: bool,
    /// Everything read so far, dropped heads and blank lines included.
    read: usize,
}

impl HeadReader {
    /// Reads up to the end of the head, and takes what it read off the input. True when the head is complete.
    pub(super) fn read(&mut self, input: &mut &[u8]) -> Result<bool, String> {
        while let Some((byte, rest)) = input.split_first() {
            *input = rest;
            self.read += 1;
            if self.read > MAX_HEAD {
                return Err(format!("the HTTP head is longer than {MAX_HEAD} bytes"));
            }
            let blank = *byte == b'\n' && !self.in_line;
            if *byte == b'\n' {
                self.in_line = false;
            } else if *byte != b'\r' {
                self.in_line = true;
            }
            // Empty lines before the start line are skipped (RFC 9112, 2.2).
            if self.in_line || !self.head.is_empty() {
                self.head.push(*byte);
                if blank {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Forgets this head; the next one counts towards the same limit.
    pub(super) fn next_head(&mut self) {
        self.head = Vec::new();
        self.in_line = false;
    }

    pub(super) fn capacity(&self) -> usize {
        self.head.capacity()
    }
}

/// The start line, without its end, and the fields.
pub(super) fn parse_head(head: &[u8]) -> Result<(&[u8], Fields), String> {
    let end = head.iter().position(|byte| *byte == b'\n').unwrap_or(head.len());
    let (line, fields) = head.split_at(end);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let malformed = |error: &dyn core::fmt::Display| format!("the HTTP head is malformed: {error}");
    let mut parsed = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let parsed = match httparse::parse_headers(fields.strip_prefix(b"\n").unwrap_or(fields), &mut parsed) {
        Ok(httparse::Status::Complete((_, parsed))) => parsed,
        Ok(httparse::Status::Partial) => return Err("the HTTP head is not complete".into()),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(format!("the HTTP head has more than {MAX_FIELDS} fields"));
        }
        Err(error) => return Err(malformed(&error)),
    };
    let mut map = HeaderMap::with_capacity(parsed.len());
    for field in parsed {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|error| malformed(&error))?;
        let value = HeaderValue::from_bytes(field.value).map_err(|error| malformed(&error))?;
        map.append(name, value);
    }
    Ok((line, Fields(map)))
}

/// Header fields.
pub(super) struct Fields(HeaderMap);

impl Fields {
    /// The only field of this name; `None` if there is none, more than one, or one that is no visible ASCII.
    pub(super) fn only(&self, name: &str) -> Option<&str> {
        let mut all = self.0.get_all(name).iter();
        match (all.next(), all.next()) {
            (Some(value), None) => value.to_str().ok().map(str::trim),
            _ => None,
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether the comma lists of this name hold the token, in any case.
    pub(super) fn has_token(&self, name: &str, token: &str) -> bool {
        let values = self.0.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
    }
}

/// Text from the peer, fit for a log line: without control characters, and of bounded length.
pub(super) fn clean(text: &str) -> String {
    const MAX_CHARS: usize = 1024;
    let visible: String = text.chars().take(MAX_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    visible.trim().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> (Result<bool, String>, usize, Vec<u8>) {
        let mut reader = HeadReader::default();
        let mut input = bytes;
        let done = reader.read(&mut input);
        (done, input.len(), reader.head().to_vec())
    }

    #[test]
    fn a_head_ends_with_its_empty_line() {
        assert_eq!(read(b"A\r\nB: c\r\n\r\nrest"), (Ok(true), 4, b"A\r\nB: c\r\n\r\n".to_vec()));
        assert_eq!(read(b"A\nB: c\n\nrest"), (Ok(true), 4, b"A\nB: c\n\n".to_vec()));
        assert_eq!(read(b"\r\n\r\n\nA\r\n\r\n"), (Ok(true), 0, b"A\r\n\r\n".to_vec()));
        assert_eq!(read(b"A\r\nB: c\r\n\r"), (Ok(false), 0, b"A\r\nB: c\r\n\r".to_vec()));
        assert!(read(&[b'\n'; MAX_HEAD + 1]).0.is_err());
        assert!(read(&[b'a'; MAX_HEAD + 1]).0.is_err());
    }

    #[test]
    fn a_head_is_a_line_and_fields() {
        let (line, fields) =
            parse_head(b"GET / HTTP/1.1\r\nA: 1\r\na: 2\r\nConnection: keep-alive, UPGRADE\r\n\r\n").unwrap();
        assert_eq!(line, b"GET / HTTP/1.1");
        assert!(fields.has("a") && fields.only("a").is_none());
        assert!(fields.has_token("connection", "upgrade") && !fields.has_token("connection", "keep"));
        assert!(parse_head(b"A\r\n\r\n").is_ok());
        assert!(parse_head(b"A\r\nno colon\r\n\r\n").is_err());
        let many = |n: usize| [b"A\r\n".to_vec(), b"b: c\r\n".repeat(n), b"\r\n".to_vec()].concat();
        assert!(parse_head(&many(MAX_FIELDS)).is_ok());
        assert!(parse_head(&many(MAX_FIELDS + 1)).is_err());
        assert!(parse_head(&many(1000)).is_err());
    }

    #[test]
    fn text_for_logs_has_no_control_characters() {
        assert_eq!(clean(" a\r\nb\u{1b}[31m\0 "), "a  b [31m");
        assert_eq!(clean(&"ä".repeat(5000)).chars().count(), 1024);
    }
}
