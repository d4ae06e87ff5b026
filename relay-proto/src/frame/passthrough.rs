//! Passthrough forwards (PASS-1).

use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::value::RawValue;

use crate::json::{self, RawJson};

/// An HTTP request of a platform that the connector verified, answered at its edge, and passes on whole.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PassthroughForward {
    /// The platform; empty when absent.
    pub platform: String,
    /// The bot; empty when absent.
    pub bot_id: String,
    /// The HTTP method; empty when absent.
    pub method: String,
    /// The request path; empty when absent.
    pub path: String,
    /// The headers, in order, with repeats.
    pub headers: Vec<(String, String)>,
    /// The body, byte for byte; empty when it could not be decoded.
    pub body: Vec<u8>,
    /// Whether a body was there that could not be decoded.
    pub body_undecodable: bool,
    /// The forward's JSON as it came.
    pub raw: RawJson,
}

impl PassthroughForward {
    /// Reads a forward from its JSON text. `None` when it is not an object.
    pub fn parse(json: &str) -> Option<Self> {
        Self::read(serde_json::from_str::<&RawValue>(json).ok()?.get())
    }

    pub(crate) fn read(raw: &str) -> Option<Self> {
        let [platform, bot_id, method, path, headers, body] =
            json::members(raw, &["platform", "botId", "method", "path", "headers", "bodyB64"]).ok()?;
        let [platform, bot_id, method, path] =
            [platform, bot_id, method, path].map(|v| v.and_then(json::text).unwrap_or_default().into_owned());
        let headers = headers.and_then(json::elements).unwrap_or_default();
        let mut headers: Vec<_> = headers.into_iter().filter_map(header).collect();
        // It stays until the application has read it, and growing left room for as many again.
        headers.shrink_to_fit();
        let body = match body {
            None => Some(Vec::new()),
            Some(raw) if raw.get() == "null" => Some(Vec::new()),
            Some(raw) => json::string(raw.get()).and_then(|text| decode(&text)),
        };
        Some(Self {
            platform,
            bot_id,
            method,
            path,
            headers,
            body_undecodable: body.is_none(),
            body: body.unwrap_or_default(),
            raw: RawJson::trusted(raw),
        })
    }
}

/// A header from a two-element pair of texts.
fn header(pair: &RawValue) -> Option<(String, String)> {
    let pair = json::elements(pair)?;
    let [name, value] = pair.as_slice() else { return None };
    Some((json::text(name)?.into_owned(), json::text(value)?.into_owned()))
}

/// Standard base64, as the reference reads it (Python's `base64.b64decode`): characters of another alphabet are passed over,
/// as in lines that were wrapped, the unused bits of the last one are ignored, and what follows the padding is ignored too.
fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok().or_else(|| decode_leniently(text))
}

#[cold]
fn decode_leniently(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() {
        return None;
    }
    let mut digits = Vec::with_capacity(text.len());
    // Padding signs in a row. They count only where a group of four may end.
    let mut padding = 0;
    for byte in text.bytes() {
        match byte {
            b'=' if digits.len() % 4 >= 2 => {
                padding += 1;
                if digits.len() % 4 + padding >= 4 {
                    return LENIENT.decode(digits).ok();
                }
            }
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => {
                padding = 0;
                digits.push(byte);
            }
            _ => {}
        }
    }
    // A group that is begun needs its padding.
    if digits.len() % 4 == 0 { LENIENT.decode(digits).ok() } else { None }
}

/// For digits without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(json: &str) -> PassthroughForward {
        PassthroughForward::parse(json).unwrap()
    }

    // proves: PASS-1
    #[test]
    fn headers_come_from_pairs_only_in_order_with_repeats() {
        let headers = forward(
            r#"{"headers":[["b","1"],["a","2"],["b","3"],["x"],"y",["n",5],["a","b","c"],["z",null],[{},"v"],{}]}"#,
        )
        .headers;
        let expected = [("b", "1"), ("a", "2"), ("b", "3"), ("n", "5")];
        assert_eq!(headers, expected.map(|(n, v)| (String::from(n), String::from(v))));
        assert_eq!(forward(r#"{"headers":{"a":"b"}}"#).headers, []);
    }

    // proves: PASS-1
    #[test]
    fn an_undecodable_body_is_empty_and_flagged() {
        for bad in ["\"abc\"", "\"a-_=\"", "5", "[]", "\"aGk\"", "\"aGk=é\"", "\"a===\""] {
            let forward = forward(&alloc::format!("{{\"bodyB64\":{bad}}}"));
            assert_eq!((forward.body.len(), forward.body_undecodable), (0, true), "{bad}");
        }
        for empty in ["{}", "{\"bodyB64\":null}", "{\"bodyB64\":\"\"}"] {
            let forward = forward(empty);
            assert_eq!((forward.body.len(), forward.body_undecodable), (0, false), "{empty}");
        }
        let wrapped = forward("{\"bodyB64\":\"AP9/\\r\\ngA==\"}");
        assert_eq!((wrapped.body, wrapped.body_undecodable), (alloc::vec![0, 255, 127, 128], false));
    }

    // proves: PASS-1
    #[test]
    fn a_body_is_decoded_as_the_reference_decodes_it() {
        // What Python's `base64.b64decode` makes of each.
        for (text, bytes) in [
            ("aGVsbG8gd29ybGR=", "hello world"),
            ("aGVsbG9=", "hello"),
            ("aGl=", "hi"),
            ("aGVsbG8gd29ybGQ==", "hello world"),
            ("aGk=aGk=", "hi"),
            ("=aGk=", "hi"),
            ("a=Gk=", "hi"),
            ("aG=k=", "hi"),
            ("aG==k=", "h"),
            ("aG\\r\\nk!=-_", "hi"),
            ("====", ""),
            ("aGVs====", "hel"),
        ] {
            let forward = forward(&alloc::format!("{{\"bodyB64\":\"{text}\"}}"));
            assert_eq!((&*forward.body, forward.body_undecodable), (bytes.as_bytes(), false), "{text}");
        }
    }
}
