//! Where requests go, and what becomes of their answers.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use zeroize::Zeroizing;

use super::answer::{Granted, clean, complaint};
use super::credential::Credential;
use super::error::EnrollError;
use super::http::{self, Reply};
use super::policy::{Policy, Provision};
#[cfg(feature = "wire")]
use crate::proxy::Proxy;
use crate::target::{self, Target, TargetError};
use crate::token::Token;

/// The longest id of a gateway, in bytes.
pub(super) const MAX_ID: usize = 1 << 10;
/// Redirects that are followed.
const REDIRECTS: u8 = 3;

/// The HTTP side of a connector (ENROLL-1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    target: Target,
    allow_plaintext: bool,
}

impl Service {
    /// The service of the connector that is dialled at this address.
    pub fn new(target: Target) -> Self {
        Self { target, allow_plaintext: false }
    }

    /// The same from the connector's base URL, or its dial URL (DIAL-1).
    ///
    /// # Errors
    /// [`TargetError`]: that is no address.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        Target::parse(url).map(Self::new)
    }

    /// Sends credentials over plain `http` also to a host that is not this machine, or through a proxy that is not: whoever
    /// sees the connection can take them. Default: false (ENROLL-2).
    #[must_use]
    pub fn allow_plaintext_credentials(mut self, allow: bool) -> Self {
        self.allow_plaintext = allow;
        self
    }

    /// Redeems an enrolment token for the credentials of the gateway with this id. `identity` says whose gateway it is.
    ///
    /// # Errors
    /// [`EnrollError`]: an argument cannot be sent, or not there.
    pub fn enroll(
        &self,
        identity: &Credential,
        enrollment: &Credential,
        gateway_id: &str,
    ) -> Result<Call<Granted>, EnrollError> {
        if !enrollment.is_keepable() {
            return Err(EnrollError::UnsendableToken);
        }
        check_id(gateway_id)?;
        let quoted = |text: &str| Zeroizing::new(serde_json::to_string(text).unwrap_or_default());
        let (token, id) = (quoted(enrollment.expose()), quoted(gateway_id));
        let body = ["{\"enrollmentToken\":", &token, ",\"gatewayId\":", &id, "}"].concat();
        self.call("enroll", identity.clone(), body, gateway_id, Some(enrollment.clone()))
    }

    /// Asks for the credentials of a gateway whose identity alone is enough (ENROLL-6). Again and again is fine.
    ///
    /// # Errors
    /// As [`enroll`](Self::enroll).
    pub fn provision(&self, identity: &Credential, provision: &Provision) -> Result<Call<Granted>, EnrollError> {
        check_id(&provision.gateway_id)?;
        self.call("provision", identity.clone(), provision.to_json(), &provision.gateway_id, None)
    }

    /// Tells the policy of the gateway that minted this token (POLICY-1, TOKEN-1).
    ///
    /// # Errors
    /// As [`enroll`](Self::enroll).
    pub fn policy(&self, token: &Token, policy: &Policy) -> Result<Call<()>, EnrollError> {
        self.call("policy", Credential::new(token.as_str()), policy.to_json(), "", None)
    }

    fn call<T: Answer>(
        &self,
        what: &str,
        bearer: Credential,
        body: String,
        asked: &str,
        token: Option<Credential>,
    ) -> Result<Call<T>, EnrollError> {
        let body = Zeroizing::new(body);
        let target = &self.target;
        if !target.is_tls() && !target.is_loopback() && !self.allow_plaintext {
            return Err(EnrollError::PlaintextCredentials { host: target.host().to_string() });
        }
        if !bearer.is_sendable() {
            return Err(EnrollError::UnsendableIdentity);
        }
        let (path, query) = match target.path_and_query().split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (target.path_and_query(), String::new()),
        };
        Ok(Call {
            tls: target.is_tls(),
            #[cfg(feature = "wire")]
            allow_plaintext: self.allow_plaintext,
            host: target.host().to_string(),
            port: target.port(),
            authority: target.host_header(),
            path: format!("{path}/{what}{query}"),
            bearer,
            token,
            body,
            asked: asked.to_string(),
            redirects: REDIRECTS,
            answer: PhantomData,
        })
    }
}

fn check_id(id: &str) -> Result<(), EnrollError> {
    let good = !id.is_empty() && id.trim() == id && id.len() <= MAX_ID && !id.chars().any(char::is_control);
    if good { Ok(()) } else { Err(EnrollError::BadGatewayId) }
}

/// A request to be made. Debug shows where it goes, and no credential.
pub struct Call<T> {
    tls: bool,
    #[cfg(feature = "wire")]
    allow_plaintext: bool,
    host: String,
    port: u16,
    authority: String,
    path: String,
    bearer: Credential,
    token: Option<Credential>,
    body: Zeroizing<String>,
    /// The gateway that it is for.
    asked: String,
    redirects: u8,
    answer: PhantomData<fn() -> T>,
}

/// What becomes of a call.
#[derive(Debug)]
pub enum Step<T> {
    /// It is answered.
    Done(T),
    /// The connector has moved the resource to another path of its own: make this call.
    Again(Call<T>),
}

impl<T: Answer> Call<T> {
    /// Whether to use TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The host to connect to, and to verify the certificate for: a name, or an address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address, which holds no credential.
    pub fn url(&self) -> String {
        format!("{}{}", self.origin(), self.path)
    }

    fn origin(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority)
    }

    /// What asks this proxy for a tunnel to the connector (DIAL-6). It may hold a password. To be called before anything
    /// connects: only here it shows where the credentials would go.
    ///
    /// # Errors
    /// [`EnrollError::PlaintextCredentials`]: without TLS the proxy could read them, and whoever sees the way to it, also
    /// when the connector is this machine by its name. A proxy on this machine will do (ENROLL-2).
    #[cfg(feature = "wire")]
    pub fn tunnel_request(&self, proxy: &Proxy) -> Result<Zeroizing<String>, EnrollError> {
        // A proxy's loopback is not ours, and the way to it is readable.
        if !self.tls && !proxy.is_loopback() && !self.allow_plaintext {
            return Err(EnrollError::PlaintextCredentials { host: proxy.host().to_string() });
        }
        Ok(proxy.request(&self.host, self.port))
    }

    /// The request, head and body: all there is to send. The connection is for this one alone.
    pub fn request(&self) -> Zeroizing<Vec<u8>> {
        http::request(&self.path, &self.authority, self.bearer.expose(), &self.body)
    }

    /// Reads what came back.
    ///
    /// # Errors
    /// [`EnrollError`]: the connector refuses, redirects away, or says something else.
    pub fn read(self, reply: &Reply) -> Result<Step<T>, EnrollError> {
        let secrets = self.secrets();
        let detail = || complaint(reply.body(), &secrets);
        match reply.status() {
            200..=299 => T::read(reply.body(), &self.asked, &secrets).map(Step::Done),
            307 | 308 => self.redirected(reply).map(Step::Again),
            // The method would become GET, which asks for something else.
            status @ 300..=399 => {
                let to = match (reply.location(), origin_of(reply.location())) {
                    (_, Some(place)) => clean(&place.to_string(), &secrets),
                    (Some(path), None) if path.starts_with('/') && !path.starts_with("//") => {
                        "another path, and to ask there for something else".into()
                    }
                    (Some(_), None) => "an address that cannot be read".into(),
                    (None, None) => "nowhere".into(),
                };
                Err(EnrollError::RedirectedAway { status, to })
            }
            400 => Err(EnrollError::BadRequest { detail: detail() }),
            401 => Err(EnrollError::Unauthorized { detail: detail() }),
            403 => Err(EnrollError::Forbidden { detail: detail() }),
            status => Err(EnrollError::Refused { status, detail: detail(), retry_after: reply.retry_after() }),
        }
    }

    /// What no message may hold.
    fn secrets(&self) -> Vec<&str> {
        let token = self.token.as_ref().map(Credential::expose);
        core::iter::once(self.bearer.expose()).chain(token).collect()
    }

    /// Follows a redirect that stays with this host, port and scheme (ENROLL-4).
    fn redirected(mut self, reply: &Reply) -> Result<Self, EnrollError> {
        let location = reply.location();
        let away = |to: String| EnrollError::RedirectedAway { status: reply.status(), to };
        let path = match location {
            Some(path) if path.starts_with('/') && !path.starts_with("//") => path,
            _ => {
                let place = origin_of(location).ok_or_else(|| away("an address that cannot be read".into()))?;
                let same =
                    place.tls == self.tls && place.port == self.port && place.host.eq_ignore_ascii_case(&self.host);
                if !same {
                    return Err(away(clean(&place.to_string(), &self.secrets())));
                }
                place.path
            }
        };
        let path = path.split('#').next().unwrap_or(path);
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(away("a path that cannot be asked for".into()));
        }
        self.redirects = self.redirects.checked_sub(1).ok_or(EnrollError::TooManyRedirects)?;
        self.path = if path.is_empty() { "/".into() } else { path.into() };
        Ok(self)
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("authority", &self.authority).field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// Where a redirect leads.
struct Place<'a> {
    tls: bool,
    host: &'a str,
    port: u16,
    path: &'a str,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}", self.host, self.port)
    }
}

fn origin_of(location: Option<&str>) -> Option<Place<'_>> {
    let (scheme, rest) = location?.split_once("://")?;
    let tls = match scheme {
        _ if scheme.eq_ignore_ascii_case("https") => true,
        _ if scheme.eq_ignore_ascii_case("http") => false,
        _ => return None,
    };
    let (authority, path) = rest.find(['/', '?', '#']).and_then(|at| rest.split_at_checked(at)).unwrap_or((rest, ""));
    // Somebody's user name in front of the host is a trick.
    if authority.contains('@') || path.starts_with('?') {
        return None;
    }
    let (host, port) = target::split_port(authority).ok()?;
    let port = port.map_or(Ok(if tls { 443 } else { 80 }), target::parse_port).ok()?;
    Some(Place { tls, host, port, path })
}

/// What a call is answered with. Only this crate has such types.
pub trait Answer: sealed::Sealed + Sized {
    /// Reads the body of a success, for the gateway of this id, which sent these secrets.
    #[doc(hidden)]
    fn read(body: &[u8], asked: &str, sent: &[&str]) -> Result<Self, EnrollError>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Granted {}
    impl Sealed for () {}
}

impl Answer for Granted {
    fn read(body: &[u8], asked: &str, sent: &[&str]) -> Result<Self, EnrollError> {
        Self::read(body, asked, sent)
    }
}

/// That it was accepted is all there is to know.
impl Answer for () {
    fn read(_: &[u8], _: &str, _: &[&str]) -> Result<Self, EnrollError> {
        Ok(())
    }
}
