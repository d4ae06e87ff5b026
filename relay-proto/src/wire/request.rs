//! The request for an upgrade: written by the end that dials, read by the end that accepts.

use core::fmt;
use std::{
    format,
    string::{String, ToString},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Uri;
use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

use super::http::{Fields, parse_head};
use crate::target::Target;

/// The longest token that is sent; with the rest of the request it stays under what servers commonly take.
const MAX_BEARER: usize = 8 << 10;

/// The request, and the accept key that its answer has to hold.
pub(super) fn write_request(target: &Target, bearer: Option<&str>) -> Result<(Zeroizing<String>, String), String> {
    let (path, host) = (target.path_and_query(), target.host_header());
    // What stands in a line of its own must not be able to start another.
    let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if !path.starts_with('/') || !visible(path) {
        return Err("the path of the address holds characters that no request can carry".into());
    }
    if host.is_empty() || !visible(&host) {
        return Err("the host of the address holds characters that no request can carry".into());
    }
    let authorization = match bearer {
        None => Zeroizing::default(),
        Some(token) if token.is_empty() || !visible(token) || token.len() > MAX_BEARER => {
            return Err("the token holds characters that no request can carry, or none, or too many".into());
        }
        Some(token) => Zeroizing::new(format!("Authorization: Bearer {token}\r\n")),
    };
    let key = generate_key();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n\
         Sec-WebSocket-Version: 13\r\nUser-Agent: {agent}\r\n{authorization}\r\n",
        agent = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")),
        authorization = authorization.as_str(),
    );
    Ok((Zeroizing::new(request), derive_accept_key(&key)))
}

/// What tells an upgrade from another that is answered (RFC 6455, 4.1): 16 bytes that cannot be foreseen.
fn generate_key() -> String {
    STANDARD.encode(rand::random::<[u8; 16]>())
}

/// The accept key for a key (RFC 6455, 4.2.2): it shows that a WebSocket's server has answered.
fn derive_accept_key(key: &str) -> String {
    const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// A client's request to open a link, for the host to accept or refuse.
///
/// `Debug` shows neither the token nor the query (TOKEN-3).
#[derive(Clone, PartialEq, Eq)]
pub struct UpgradeRequest {
    path: String,
    query: Option<String>,
    host: String,
    bearer: Option<Zeroizing<String>>,
    from_web_page: bool,
}

impl UpgradeRequest {
    /// The path asked for, starting with `/`, as it was sent: not decoded, without the query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query, without its `?`.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The `Host` field: the name under which the client knows this connector, with a port unless it is the default.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The bearer token (TOKEN-2). `None` if there is no `Authorization` field, more than one, or one of another scheme.
    pub fn bearer(&self) -> Option<&str> {
        self.bearer.as_ref().map(|token| token.as_str())
    }

    /// Whether it has an `Origin` field. Browsers name the page there that makes a request, whatever the page does; gateways
    /// are no browsers and send none (CONN-10).
    pub fn is_from_web_page(&self) -> bool {
        self.from_web_page
    }
}

impl fmt::Debug for UpgradeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bearer = self.bearer.as_ref().map(|_| "<redacted>");
        let Self { path, host, .. } = self;
        f.debug_struct("UpgradeRequest")
            .field("path", path)
            .field("host", host)
            .field("bearer", &bearer)
            .finish_non_exhaustive()
    }
}

/// Why a request is no upgrade: the status to answer with, and the rule it broke.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadRequest {
    pub(super) status: u16,
    pub(super) detail: String,
}

impl BadRequest {
    pub(super) fn new(status: u16, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }
}

/// A GET, whatever it asks for, or a HEAD.
pub(super) struct Get {
    uri: Uri,
    fields: Fields,
    /// Whether it is a HEAD.
    head: bool,
    /// Whether it is HTTP/1.1, which an upgrade needs.
    current: bool,
}

/// Reads a complete head.
pub(super) fn parse_get(head: &[u8]) -> Result<Get, BadRequest> {
    let bad = |detail: &str| BadRequest::new(400, detail);
    let (line, fields) = parse_head(head).map_err(|detail| BadRequest::new(400, detail))?;
    let line = str::from_utf8(line).map_err(|_| bad("the HTTP request line is malformed"))?;
    let mut parts = line.split(' ');
    let (Some(method), Some(uri), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(bad("the HTTP request line is malformed"));
    };
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
        return Err(bad("the request is not HTTP/1"));
    }
    if !matches!(method, "GET" | "HEAD") {
        return Err(BadRequest::new(405, "the request is not a GET"));
    }
    let uri: Uri = uri.parse().map_err(|_| bad("the HTTP request line is malformed"))?;
    if !uri.path().starts_with('/') {
        return Err(bad("the HTTP request names no path"));
    }
    Ok(Get { uri, fields, head: method == "HEAD", current: version == "HTTP/1.1" })
}

impl Get {
    pub(super) fn path(&self) -> &str {
        self.uri.path()
    }

    pub(super) fn is_head(&self) -> bool {
        self.head
    }

    pub(super) fn is_upgrade(&self) -> bool {
        self.fields.has_token("connection", "upgrade") && self.fields.has_token("upgrade", "websocket")
    }

    /// The request for an upgrade, and the accept key that belongs in the answer.
    pub(super) fn upgrade(&self) -> Result<(UpgradeRequest, String), BadRequest> {
        let Self { uri, fields, head, current } = self;
        let bad = |detail: &str| BadRequest::new(400, detail);
        if *head {
            return Err(BadRequest::new(405, "the request is not a GET"));
        }
        if !current || !self.is_upgrade() {
            return Err(BadRequest::new(426, "the request is not a WebSocket upgrade"));
        }
        if fields.only("sec-websocket-version") != Some("13") {
            return Err(BadRequest::new(426, "the WebSocket version is not 13"));
        }
        // What followed would be its body for a proxy in between, and the first message for us.
        let length = if fields.has("content-length") { fields.only("content-length") } else { Some("0") };
        if fields.has("transfer-encoding") || length != Some("0") {
            return Err(bad("an upgrade has no body"));
        }
        let host = fields.only("host").ok_or_else(|| bad("the request has no Host, or more than one"))?;
        let key = fields.only("sec-websocket-key").filter(|key| STANDARD.decode(key).is_ok_and(|key| key.len() == 16));
        let key = key.ok_or_else(|| bad("the Sec-WebSocket-Key is not one of 16 bytes"))?;
        let request = UpgradeRequest {
            path: uri.path().into(),
            query: uri.query().map(ToString::to_string),
            host: host.into(),
            bearer: bearer(fields),
            from_web_page: fields.has("origin"),
        };
        Ok((request, derive_accept_key(key)))
    }
}

fn bearer(fields: &Fields) -> Option<Zeroizing<String>> {
    let (scheme, token) = fields.only("authorization")?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| Zeroizing::new(token.into()))
}
