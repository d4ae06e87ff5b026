//! The connector's half: reading what gateways ask over HTTP, and writing the answers.
//!
//! A [`RequestReader`] takes the bytes of a connection that begins with `POST `. Whom to let in, and what to grant, is up
//! to the host; what a gateway sent is read by [`Enrollment::read`] and [`read_policy`], and [`response`] writes the
//! answer. One connection, one request.

use alloc::borrow::{Cow, ToOwned as _};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::answer::{credential, members, text};
use super::credential::Credential;
use super::http::{Head, has, length, only, with_fields};
use super::policy::Policy;
use super::service::MAX_ID;

/// The longest body that is read, in bytes (ENROLL-5).
pub const MAX_REQUEST: usize = 64 << 10;
/// The most scopes of one policy, and the most bytes of each of its texts.
const MAX_SCOPES: usize = 4096;

/// A request that cannot be served: the status to answer with, and why, in words that may be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct BadRequest {
    /// The status.
    pub status: u16,
    /// Why.
    pub detail: &'static str,
}

fn bad(status: u16, detail: &'static str) -> BadRequest {
    BadRequest { status, detail }
}

/// A complete POST. Debug shows the path alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    path: String,
    bearer: Option<Credential>,
    body: Zeroizing<Vec<u8>>,
    from_web_page: bool,
}

impl Request {
    /// The path, without the query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The bearer token; `None` if there is no `Authorization` field, more than one, or one of another scheme.
    pub fn bearer(&self) -> Option<&Credential> {
        self.bearer.as_ref()
    }

    /// Whether it has an `Origin` field. Browsers name the page there that makes a request; gateways send none (CONN-10).
    pub fn is_from_web_page(&self) -> bool {
        self.from_web_page
    }

    /// The body. It may hold a token.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Memory held on the heap, in bytes, as far as it can be much.
    #[cfg(feature = "wire")]
    pub(crate) fn capacity(&self) -> usize {
        self.path.capacity() + self.body.capacity()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Reads a POST from a connection, in chunks of any size. What it holds is bounded.
#[derive(Default)]
pub struct RequestReader {
    head: Head,
    /// Once the head is complete, with the length of the body.
    request: Option<(Request, usize)>,
    /// The client waits to be told to send the body.
    expects: bool,
}

impl RequestReader {
    /// Takes bytes that the connection yielded. The request, once it is complete; the rest of the bytes is ignored.
    ///
    /// # Errors
    /// [`BadRequest`]: what to answer instead.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<Request>, BadRequest> {
        let mut input = bytes;
        if self.request.is_none() {
            match self.head.read(&mut input) {
                None => return Err(bad(431, "the head of the request is too long")),
                Some(false) => return Ok(None),
                Some(true) => {
                    self.request = Some(self.parse()?);
                    // What waits for a body holds nothing else.
                    self.head = Head::default();
                }
            }
        }
        let Some((mut request, length)) = self.request.take() else { return Ok(None) };
        let missing = length - request.body.len();
        request.body.extend_from_slice(input.get(..missing).unwrap_or(input));
        if request.body.len() == length {
            self.expects = false;
            return Ok(Some(request));
        }
        self.request = Some((request, length));
        Ok(None)
    }

    /// Whether the client waits for `HTTP/1.1 100 Continue` before it sends the body. True once.
    pub fn wants_to_continue(&mut self) -> bool {
        core::mem::take(&mut self.expects)
    }

    /// Memory held on the heap, in bytes, as far as it can be much.
    #[cfg(feature = "wire")]
    pub(crate) fn capacity(&self) -> usize {
        self.head.bytes().len() + self.request.as_ref().map_or(0, |(request, _)| request.capacity())
    }

    fn parse(&mut self) -> Result<(Request, usize), BadRequest> {
        let head = &self.head;
        let (request, length, expects) = with_fields(|fields| {
            let mut request = httparse::Request::new(fields);
            let complete = request.parse(head.bytes()).is_ok_and(|status| status.is_complete());
            let (true, Some(path)) = (complete, request.path) else {
                return Err(bad(400, "the request is malformed"));
            };
            let path = path.split('?').next().unwrap_or(path).to_owned();
            let fields = request.headers;
            if has(fields, "transfer-encoding") || !has(fields, "content-length") {
                return Err(bad(411, "the request does not say how long its body is"));
            }
            let length = only(fields, "content-length").and_then(length);
            let length = length.ok_or(bad(400, "the length of the body is no number, or there are two"))?;
            if length > MAX_REQUEST {
                return Err(bad(413, "the body is too long"));
            }
            let bearer = only(fields, "authorization").and_then(bearer);
            // A client of HTTP/1.0 would take the interim answer for the answer.
            let expects = request.version == Some(1)
                && only(fields, "expect").is_some_and(|what| what.eq_ignore_ascii_case("100-continue"));
            // Room for all of it, so that no copy of a token is left behind by growing.
            let body = Zeroizing::new(Vec::with_capacity(length));
            let from_web_page = has(fields, "origin");
            Ok((Request { path, bearer, body, from_web_page }, length, expects && length > 0))
        })?;
        self.expects = expects;
        Ok((request, length))
    }
}

impl fmt::Debug for RequestReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestReader").finish_non_exhaustive()
    }
}

fn bearer(field: &str) -> Option<Credential> {
    let (scheme, token) = field.split_once(' ')?;
    let token = Credential::new(token);
    (scheme.eq_ignore_ascii_case("bearer") && token.is_sendable()).then_some(token)
}

/// What a gateway asks for when it enrols (ENROLL-1).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Enrollment {
    /// The enrolment token.
    pub token: Credential,
    /// The id that the gateway chose.
    pub gateway_id: String,
}

impl Enrollment {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`BadRequest`]: 400.
    pub fn read(body: &[u8]) -> Result<Self, BadRequest> {
        let members = members(body).ok_or(bad(400, "the body is not a JSON object"))?;
        let token = credential(&members, "enrollmentToken").filter(Credential::is_keepable);
        let token = token.ok_or(bad(400, "enrollmentToken is missing, or no text that could be one"))?;
        let gateway_id = text(&members, "gatewayId").filter(|id| is_name(id) && id.trim() == id);
        let gateway_id = gateway_id.ok_or(bad(400, "gatewayId is missing, or no text that could be one"))?;
        Ok(Self { token, gateway_id })
    }
}

/// Reads the body of a request that tells a policy (POLICY-1). What is missing is as in [`Policy::new`].
///
/// # Errors
/// [`BadRequest`]: 400.
pub fn read_policy(body: &[u8]) -> Result<Policy, BadRequest> {
    let members = members(body).ok_or(bad(400, "the body is not a JSON object"))?;
    let platform = text(&members, "platform").filter(|platform| is_name(platform));
    let mut policy = Policy::new(platform.ok_or(bad(400, "platform is missing, or no text that could be one"))?);
    let flag = |name: &str, detail| match members.get(name) {
        None => Ok(false),
        Some(value) => serde_json::from_str(value.get()).map_err(|_| bad(400, detail)),
    };
    policy.require_address = flag("requireAddress", "requireAddress is neither true nor false")?;
    policy.allow_other_bots = flag("allowOtherBots", "allowOtherBots is neither true nor false")?;
    if let Some(scopes) = members.get("freeResponseScopes") {
        policy.free_response_scopes =
            read_scopes(scopes).ok_or(bad(400, "freeResponseScopes is not a list of texts, or too long"))?;
    }
    Ok(policy)
}

fn read_scopes(scopes: &RawValue) -> Option<Vec<String>> {
    let scopes: Vec<Cow<'_, str>> = serde_json::from_str(scopes.get()).ok()?;
    (scopes.len() <= MAX_SCOPES).then_some(())?;
    scopes.into_iter().map(|scope| (scope.len() <= MAX_ID).then(|| scope.into_owned())).collect()
}

fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= MAX_ID && !text.chars().any(char::is_control)
}

/// A response with this body, which is JSON; the connection ends with it. It may hold a secret.
pub fn response(status: u16, json: &str) -> Zeroizing<Vec<u8>> {
    respond(status, json, "")
}

/// The same for a refusal whose reason passes: it says after how long to try again (`Retry-After`, in whole seconds).
pub fn response_for_now(status: u16, json: &str, retry_after: Duration) -> Zeroizing<Vec<u8>> {
    respond(status, json, &format!("\r\nRetry-After: {}", whole_seconds(retry_after)))
}

/// At least one, rounded up: who comes back earlier comes in vain.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// When to try again, by the field `Retry-After` of an answer whose reason passes (429, 503). The other form of the field, a
/// date, is passed over: it would need a calendar, and clocks that agree.
pub(crate) fn retry_after(status: u16, field: Option<&str>) -> Option<Duration> {
    let digits = field.filter(|_| matches!(status, 429 | 503))?;
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| Duration::from_secs(digits.parse().unwrap_or(u64::MAX)))
}

fn respond(status: u16, json: &str, retry: &str) -> Zeroizing<Vec<u8>> {
    let phrase = match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Status",
    };
    // HTTP wants it named what would be taken instead.
    let instead = match status {
        401 => "\r\nWWW-Authenticate: Bearer",
        405 => "\r\nAllow: POST",
        _ => "",
    };
    let (status, length) = (status.to_string(), json.len().to_string());
    let parts = [
        "HTTP/1.1 ",
        &status,
        " ",
        phrase,
        instead,
        retry,
        "\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: ",
        &length,
        "\r\nConnection: close\r\n\r\n",
        json,
    ];
    Zeroizing::new(parts.concat().into_bytes())
}

/// The body of a refusal.
pub fn refusal(detail: &str) -> String {
    format!("{{\"error\":{}}}", serde_json::to_string(detail).unwrap_or_default())
}
