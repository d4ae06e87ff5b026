//! HTTP proxies: which one leads to the connector, and how it is asked (DIAL-6).

mod bypass;
mod vars;

use alloc::format;
use alloc::string::{String, ToString as _};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

pub(crate) use vars::ProxyVars;

use crate::target;

/// An HTTP proxy that is asked for a tunnel with `CONNECT`: the connection to it is plain, and TLS to the connector goes
/// through the tunnel.
///
/// Debug and Display leave out user name and password (TOKEN-3).
///
/// ```
/// let proxy = relay_proto::proxy::Proxy::parse("http://user:p%40ss@proxy.example:3128")?;
/// assert_eq!((proxy.host(), proxy.port()), ("proxy.example", 3128));
/// assert_eq!(proxy.to_string(), "http://***@proxy.example:3128");
/// # Ok::<(), relay_proto::proxy::ProxyError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    host: String,
    port: u16,
    /// `user:password` in base64.
    basic: Option<Zeroizing<String>>,
}

/// What is wrong with a proxy's address. No message repeats a piece of it that might be part of a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// Nothing but white space.
    #[error("the proxy's address is empty; write it like http://proxy.example:3128")]
    Empty,
    /// Anything but `http`.
    #[error(
        "the proxy's scheme is `{scheme}`; only http proxies are supported (https connectors are reached through them \
         with CONNECT)"
    )]
    UnsupportedScheme {
        /// The scheme, in lower case.
        scheme: String,
    },
    /// A host that no resolver can mean, or a port that is no number.
    #[error("the proxy's host and port are not valid: {reason}")]
    BadHost {
        /// What about it.
        reason: String,
    },
    /// A user name or password that cannot be sent.
    #[error("the proxy's user name or password {reason}")]
    BadUserInfo {
        /// What about it.
        reason: &'static str,
    },
    /// A path, a query or a fragment.
    #[error("the proxy's address has something behind the port; write it like http://proxy.example:3128")]
    Tail,
}

impl Proxy {
    /// Reads `http://[user[:password]@]host[:port]`; the scheme may be missing, and the port is 80 unless it is given.
    /// User name and password are percent-decoded.
    ///
    /// # Errors
    /// [`ProxyError`] names what is wrong.
    pub fn parse(address: &str) -> Result<Self, ProxyError> {
        let address = address.trim();
        if address.is_empty() {
            return Err(ProxyError::Empty);
        }
        let (scheme, rest) = address.split_once("://").unwrap_or(("http", address));
        if !scheme.eq_ignore_ascii_case("http") {
            let scheme = scheme.to_ascii_lowercase();
            // What is no scheme by its form may be part of a password, and is not repeated.
            return Err(match target::is_scheme(&scheme) {
                true => ProxyError::UnsupportedScheme { scheme },
                false => ProxyError::BadHost { reason: "the scheme in front of `://` is malformed".into() },
            });
        }
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, rest),
        };
        let host_and_port = rest.strip_suffix('/').unwrap_or(rest);
        if host_and_port.contains(['/', '?', '#']) {
            return Err(ProxyError::Tail);
        }
        let bad_host = |error: target::TargetError| ProxyError::BadHost {
            reason: match error {
                target::TargetError::BadHost { reason } => reason.into(),
                _ => "no host is named".into(),
            },
        };
        let (host, port) = target::split_port(host_and_port).map_err(bad_host)?;
        let port = port.map_or(Ok(80), target::parse_port);
        let port =
            port.map_err(|_| ProxyError::BadHost { reason: "the port is not a number from 1 to 65535".into() })?;
        let basic = user.filter(|user| !user.is_empty()).map(basic).transpose()?;
        Ok(Self { host: host.into(), port, basic })
    }

    /// The proxy's host: a name, or an address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The proxy's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether plaintext to the proxy stays on this machine, as in DIAL-4.
    pub fn is_loopback(&self) -> bool {
        target::is_loopback(&self.host)
    }

    /// What a text of the proxy must not hold: the password, and both names in base64, as they are sent (TOKEN-3).
    pub(crate) fn secrets(&self) -> [Zeroizing<String>; 2] {
        let basic = self.basic.clone().unwrap_or_default();
        let decoded = Zeroizing::new(STANDARD.decode(basic.as_str()).unwrap_or_default());
        let names = core::str::from_utf8(&decoded).unwrap_or_default();
        [Zeroizing::new(names.split_once(':').map_or("", |(_, password)| password).into()), basic]
    }

    /// The request for a tunnel to this host and port.
    #[cfg(feature = "wire")]
    pub(crate) fn request(&self, host: &str, port: u16) -> Zeroizing<String> {
        let authority = authority(host, port);
        let basic = self.basic.as_ref().map_or(Zeroizing::default(), |basic| {
            Zeroizing::new(format!("Proxy-Authorization: Basic {}\r\n", basic.as_str()))
        });
        Zeroizing::new(format!(
            "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {agent}\r\n{basic}\r\n",
            agent = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")),
            basic = basic.as_str(),
        ))
    }

    /// Whether the proxy is told who asks.
    #[cfg(feature = "wire")]
    pub(crate) fn has_credentials(&self) -> bool {
        self.basic.is_some()
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = if self.basic.is_some() { "***@" } else { "" };
        write!(f, "http://{hidden}{}", authority(&self.host, self.port))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Proxy").field(&self.to_string()).finish()
    }
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The credentials of RFC 7617.
fn basic(user: &str) -> Result<Zeroizing<String>, ProxyError> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let decode = |part: &str| {
        let text = percent_decode_str(part).decode_utf8().map(|text| Zeroizing::new(text.into_owned()));
        let text = text.map_err(|_| ProxyError::BadUserInfo { reason: "is not UTF-8 once it is percent-decoded" })?;
        if text.chars().any(char::is_control) {
            return Err(ProxyError::BadUserInfo { reason: "holds a control character" });
        }
        Ok(text)
    };
    let (name, password) = (decode(name)?, decode(password)?);
    if name.contains(':') {
        return Err(ProxyError::BadUserInfo { reason: "holds a colon in the name, which no proxy could tell apart" });
    }
    let pair = Zeroizing::new(format!("{}:{}", name.as_str(), password.as_str()));
    Ok(Zeroizing::new(STANDARD.encode(pair.as_bytes())))
}

/// An address that is written as one.
fn address(host: &str) -> Option<IpAddr> {
    host.parse::<Ipv4Addr>().map(IpAddr::V4).or_else(|_| host.parse::<Ipv6Addr>().map(IpAddr::V6)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_host_and_port() {
        for (text, host, port) in [
            ("http://proxy.example:3128", "proxy.example", 3128),
            (" HTTP://proxy.example/ ", "proxy.example", 80),
            ("proxy.example:8080", "proxy.example", 8080),
            ("http://[::1]:9", "::1", 9),
            ("http://10.0.0.1", "10.0.0.1", 80),
        ] {
            let proxy = Proxy::parse(text).unwrap();
            assert_eq!((proxy.host(), proxy.port()), (host, port), "{text}");
        }
    }

    #[test]
    fn a_bad_address_says_what_is_wrong() {
        assert_eq!(Proxy::parse(" "), Err(ProxyError::Empty));
        for (text, part) in [
            ("socks5://p:1", "socks5"),
            ("https://p:1", "only http"),
            ("http://", "no host"),
            ("http://p:0", "port"),
            ("http://p:99999", "port"),
            ("http://p:x", "port"),
            ("http://p_q:1/path", "behind the port"),
            ("http://p:1?q", "behind the port"),
            ("http://::1:9", "brackets"),
            ("http://p q", "letters"),
            ("http://a%0d%0ab:c@p", "control"),
            ("http://%ff:c@p", "UTF-8"),
            ("http://a%3ab:c@p", "colon"),
            ("p@ss://x", "malformed"),
        ] {
            let error = Proxy::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    // proves: TOKEN-3
    #[test]
    fn nothing_shows_the_password() {
        let proxy = Proxy::parse("http://user:s3cr3t@p:1").unwrap();
        assert_eq!(
            (format!("{proxy}"), format!("{proxy:?}")),
            ("http://***@p:1".into(), "Proxy(\"http://***@p:1\")".into())
        );
        for bad in
            ["http://user:s3cr3t@p:x", "s3cr3t://x@p", "http://u:s3cr3t/@p", "http://s3cr3t%00:@p", "user:s3cr3t#@p:1x"]
        {
            if let Err(error) = Proxy::parse(bad) {
                assert!(bad.starts_with("s3cr3t") || !format!("{error} {error:?}").contains("s3cr3t"), "{error:?}");
            }
        }
    }

    #[cfg(feature = "wire")]
    #[test]
    fn the_request_names_the_target_and_who_asks() {
        let proxy = Proxy::parse("http://user:p%40ss@p:1").unwrap();
        let request = proxy.request("::1", 443);
        assert!(request.starts_with("CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n"), "{}", request.as_str());
        assert!(request.contains("\r\nProxy-Authorization: Basic dXNlcjpwQHNz\r\n\r\n"));
        assert!(!Proxy::parse("p").unwrap().request("c", 80).contains("Authorization"));
    }
}
