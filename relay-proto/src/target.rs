//! Where to dial (DIAL-1).

use alloc::format;
use alloc::string::{String, ToString as _};
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

/// The longest dial URL. More does not fit into the request line that common servers take.
const MAX_URL_BYTES: usize = 8 * 1024;

/// A checked dial address: always `ws` or `wss`, with a host, and safe to write into an HTTP request as it is.
///
/// Debug and Display leave out the user information of the URL, which may hold a password (TOKEN-3).
///
/// ```
/// let target = relay_proto::target::Target::parse("https://connector.example/base/")?;
/// assert_eq!(target.url(), "wss://connector.example/base/relay");
/// assert_eq!((target.host(), target.port()), ("connector.example", 443));
/// # Ok::<(), relay_proto::target::TargetError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    url: String,
    redacted: String,
    tls: bool,
    host: String,
    port: u16,
    path_and_query: String,
}

/// What is wrong with a configured address. No message repeats a piece of the URL that might be part of a password.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Nothing but white space.
    #[error("the relay URL is empty; give the connector's address, such as https://connector.example")]
    Empty,
    /// No `scheme://` in front.
    #[error("the relay URL has no scheme; start it with https:// or wss:// (http:// or ws:// for plaintext)")]
    NoScheme,
    /// Another scheme.
    #[error("the relay URL has the scheme `{scheme}`; use https or wss (http or ws for plaintext)")]
    UnsupportedScheme {
        /// The scheme, in lower case.
        scheme: String,
    },
    /// Nothing where the host belongs.
    #[error("the relay URL names no host; write it after the `//`, as in https://connector.example")]
    NoHost,
    /// A host that no resolver and no certificate can mean.
    #[error("the host in the relay URL is not valid: {reason}")]
    BadHost {
        /// What about it.
        reason: &'static str,
    },
    /// A colon after the host, and no port behind it.
    #[error(
        "the port in the relay URL is not a number from 1 to 65535 (if a password in the URL holds a `/`, `?` or `#`, \
         percent-encode it)"
    )]
    BadPort,
    /// User information that does not stand as it is in a URL.
    #[error("the user name or password in the relay URL holds a character that has to be percent-encoded")]
    BadUserInfo,
    /// A `#`.
    #[error("the relay URL has a fragment, which is never sent; drop the `#` and what follows, or write it as %23")]
    Fragment,
    /// A character that cannot be sent as it is.
    #[error(
        "the relay URL holds {found}, at byte {at}; remove it or percent-encode it (in a host name, use the xn-- form)"
    )]
    BadCharacter {
        /// The kind of character.
        found: &'static str,
        /// Its place in bytes, counted from 0 at the scheme.
        at: usize,
    },
    /// More than 8 KiB.
    #[error("the relay URL is {bytes} bytes long; {MAX_URL_BYTES} is the most")]
    TooLong {
        /// The length of the dial URL.
        bytes: usize,
    },
}

impl Target {
    /// Makes the dial address of the connector's base URL (DIAL-1): white space around it is dropped, `https` becomes
    /// `wss` and `http` becomes `ws`, and the path loses its trailing slashes and ends in `/relay`. Schemes may be in
    /// any case. A query stays behind the path. User information stays in [`Target::url`], and is not used.
    ///
    /// The host, the port and the query stay as they are written; nothing is percent-encoded or decoded on the way.
    /// Parsing the result gives the result.
    ///
    /// # Errors
    /// When the URL is anything but an `http`, `https`, `ws` or `wss` URL of RFC 3986 without a fragment. Stricter than
    /// that, an `@` in the path or query has to be written `%40`: as it is, it is most likely the end of a password with
    /// a `/` or `?` in it, which would otherwise be taken for a path and sent.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        let url = url.trim();
        if url.is_empty() {
            return Err(TargetError::Empty);
        }
        let (scheme, rest) = url.split_once("://").ok_or(TargetError::NoScheme)?;
        let tls = is_tls_scheme(scheme)?;
        if let Some((at, found)) = url.char_indices().find_map(|(at, c)| Some((at, unsendable(c)?))) {
            return Err(TargetError::BadCharacter { found, at });
        }
        if rest.contains('#') {
            return Err(TargetError::Fragment);
        }
        let (authority, tail) = rest.find(['/', '?']).and_then(|at| rest.split_at_checked(at)).unwrap_or((rest, ""));
        let (user, host_and_port) = match authority.rsplit_once('@') {
            Some((user, host_and_port)) => (Some(user), host_and_port),
            None => (None, authority),
        };
        if user.is_some_and(|user| first_escapable(user, ":").is_some()) {
            return Err(TargetError::BadUserInfo);
        }
        let (host, port) = split_port(host_and_port)?;
        let port = port.map_or(Ok(default_port(tls)), parse_port)?;
        if let Some(at) = first_escapable(tail, ":/?") {
            let found = "a character that has no place in a URL as it is";
            return Err(TargetError::BadCharacter { found, at: url.len() - tail.len() + at });
        }

        let (path, query) = tail.find('?').and_then(|at| tail.split_at_checked(at)).unwrap_or((tail, ""));
        let path = path.trim_end_matches('/');
        let suffix = if path.ends_with("/relay") { "" } else { "/relay" };
        let path_and_query = format!("{path}{suffix}{query}");
        let scheme = if tls { "wss" } else { "ws" };
        let url = format!("{scheme}://{authority}{path_and_query}");
        if url.len() > MAX_URL_BYTES {
            return Err(TargetError::TooLong { bytes: url.len() });
        }
        let hidden = if user.is_some() { "***@" } else { "" };
        let redacted = format!("{scheme}://{hidden}{host_and_port}{path_and_query}");
        Ok(Self { url, redacted, tls, host: host.to_string(), port, path_and_query })
    }

    /// The whole dial URL, user information included. To show it, use Display instead.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether the URL has a user name or a password.
    pub(crate) fn has_user(&self) -> bool {
        self.url != self.redacted
    }

    /// Whether the link is encrypted (`wss`).
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The host to resolve and to verify the certificate for: a name, or an address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port: the one in the URL, else 443 for `wss` and 80 for `ws`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The value of the `Host` header: the host, an IPv6 address in brackets, and the port unless it is the scheme's own.
    pub fn host_header(&self) -> String {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        let host = format!("{open}{}{close}", self.host);
        if self.port == default_port(self.tls) { host } else { format!("{host}:{}", self.port) }
    }

    /// What the request line asks for: starts with `/` and is printable ASCII without spaces.
    pub fn path_and_query(&self) -> &str {
        &self.path_and_query
    }

    /// Whether plaintext to this host stays on this machine (DIAL-4): `127.0.0.0/8`, `::1`, the IPv4-mapped form of the
    /// former, `localhost` and the names under it. Anything else, also other ways to write such an address, is taken to
    /// be remote.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.redacted).finish()
    }
}

/// [`Target::is_loopback`], of any host.
pub(crate) fn is_loopback(host: &str) -> bool {
    if let Ok(v4) = host.parse::<Ipv4Addr>() {
        return v4.is_loopback();
    }
    if let Ok(v6) = host.parse::<Ipv6Addr>() {
        return v6.is_loopback() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback());
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    name.rsplit('.').next().is_some_and(|label| label.eq_ignore_ascii_case("localhost"))
}

fn is_tls_scheme(scheme: &str) -> Result<bool, TargetError> {
    match scheme.to_ascii_lowercase().as_str() {
        "https" | "wss" => Ok(true),
        "http" | "ws" => Ok(false),
        // What is no scheme by its form may be anything that was put in front of a `://`, and is not repeated.
        other if is_scheme(other) => Err(TargetError::UnsupportedScheme { scheme: other.into() }),
        _ => Err(TargetError::NoScheme),
    }
}

pub(crate) fn is_scheme(lower: &str) -> bool {
    lower.len() <= 32
        && lower.starts_with(|c: char| c.is_ascii_lowercase())
        && lower.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

/// What could end or split a line of the request, or has no byte of its own in it.
fn unsendable(c: char) -> Option<&'static str> {
    match c {
        c if c.is_whitespace() => Some("white space"),
        c if c.is_control() => Some("a control character"),
        c if !c.is_ascii() => Some("a character outside ASCII"),
        _ => None,
    }
}

/// The first byte that RFC 3986 does not let stand: neither unreserved, nor a sub-delimiter, nor one of `also`, nor part
/// of a `%` with two hexadecimal digits.
fn first_escapable(text: &str, also: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().position(|(at, b)| match b {
        b'%' => !bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)),
        b => !(b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(b) || also.as_bytes().contains(b)),
    })
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`, and checks the host.
pub(crate) fn split_port(host_and_port: &str) -> Result<(&str, Option<&str>), TargetError> {
    let bad = |reason| TargetError::BadHost { reason };
    if let Some(inner) = host_and_port.strip_prefix('[') {
        let (host, after) = inner.split_once(']').ok_or(bad("the closing bracket is missing"))?;
        if host.parse::<Ipv6Addr>().is_err() {
            return Err(bad("no IPv6 address is in the brackets (an address with a zone is not supported)"));
        }
        return match (after, after.strip_prefix(':')) {
            ("", _) => Ok((host, None)),
            (_, Some(port)) => Ok((host, Some(port))),
            (_, None) => Err(bad("something other than a port follows the bracket")),
        };
    }
    let (host, port) = match host_and_port.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (host_and_port, None),
    };
    if host_and_port.parse::<Ipv6Addr>().is_ok() {
        return Err(bad("an IPv6 address has to be in brackets, as in [::1]"));
    }
    if host.is_empty() {
        return Err(TargetError::NoHost);
    }
    match bad_name(host) {
        Some(reason) => Err(bad(reason)),
        None => Ok((host, port)),
    }
}

/// The rules that resolvers and certificates have in common. An underscore is none of a host name's characters, but
/// container networks use it.
fn bad_name(host: &str) -> Option<&'static str> {
    if host.parse::<Ipv4Addr>().is_ok() {
        return None;
    }
    if !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
        return Some("only letters, digits, `-`, `_` and `.` are allowed in a name");
    }
    if host.len() > 253 {
        return Some("the name is longer than 253 characters");
    }
    let mut last = "";
    for label in host.strip_suffix('.').unwrap_or(host).split('.') {
        if label.is_empty() || label.len() > 63 {
            return Some("a part between dots is empty or longer than 63 characters");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Some("a part between dots starts or ends with `-`");
        }
        last = label;
    }
    // Resolvers read `127.1`, `2130706433` and `0x7f000001` as IPv4 addresses; other readers of the URL do not.
    let hex = last.strip_prefix("0x").or(last.strip_prefix("0X"));
    if last.bytes().all(|b| b.is_ascii_digit()) || hex.is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Some("it looks like an IPv4 address, which has to be four decimal numbers without leading zeros");
    }
    None
}

pub(crate) fn parse_port(port: &str) -> Result<u16, TargetError> {
    // `parse` alone would take a plus sign.
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    port.parse().ok().filter(|port| digits && *port != 0).ok_or(TargetError::BadPort)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(url: &str) -> Target {
        Target::parse(url).unwrap_or_else(|error| panic!("{url:?}: {error}"))
    }

    fn bad_character(found: &'static str, at: usize) -> TargetError {
        TargetError::BadCharacter { found, at }
    }

    // proves: DIAL-1
    #[test]
    fn the_path_ends_in_relay_and_the_query_follows() {
        for (url, expect) in [
            ("https://h/x?y", "wss://h/x/relay?y"),
            ("https://h?y=/relay", "wss://h/relay?y=/relay"),
            ("https://h/x//?y/", "wss://h/x/relay?y/"),
            ("https://h/relay/?y", "wss://h/relay?y"),
            ("HtTpS://H.Example/A", "wss://H.Example/A/relay"),
            ("WS://h", "ws://h/relay"),
            // The host is not the path.
            ("https://relay", "wss://relay/relay"),
            ("https://user@relay/", "wss://user@relay/relay"),
            ("https://h/%7Brelay", "wss://h/%7Brelay/relay"),
            ("\n https://h \t\r\n", "wss://h/relay"),
        ] {
            assert_eq!(parse(url).url(), expect, "{url:?}");
        }
    }

    // proves: DIAL-1
    #[test]
    fn the_parts_are_what_a_dial_needs() {
        let parts = |url| {
            let t = parse(url);
            (t.is_tls(), t.host().to_string(), t.port(), t.host_header(), t.path_and_query().to_string())
        };
        let expect =
            |tls, host: &str, port, header: &str, path: &str| (tls, host.into(), port, header.into(), path.into());
        assert_eq!(parts("https://h"), expect(true, "h", 443, "h", "/relay"));
        assert_eq!(parts("http://h:0080/a?b"), expect(false, "h", 80, "h", "/a/relay?b"));
        assert_eq!(parts("http://h:443"), expect(false, "h", 443, "h:443", "/relay"));
        assert_eq!(parts("wss://u:p@h:65535"), expect(true, "h", 65535, "h:65535", "/relay"));
        assert_eq!(parts("ws://[2001:db8::1]"), expect(false, "2001:db8::1", 80, "[2001:db8::1]", "/relay"));
        assert_eq!(parts("ws://[::1]:9000"), expect(false, "::1", 9000, "[::1]:9000", "/relay"));
    }

    // proves: DIAL-1
    #[test]
    fn what_is_no_dial_address_is_refused_with_its_reason() {
        use TargetError::*;
        let scheme = |scheme: &str| UnsupportedScheme { scheme: scheme.into() };
        for (url, expect) in [
            ("", Empty),
            (" \n", Empty),
            ("connector.example", NoScheme),
            ("localhost:8080", NoScheme),
            ("//h", NoScheme),
            ("https:/h", NoScheme),
            ("://h", NoScheme),
            ("FTP://h", scheme("ftp")),
            ("wsss://h", scheme("wsss")),
            ("https://", NoHost),
            ("https:///relay", NoHost),
            ("https://?x", NoHost),
            ("https://:443", NoHost),
            ("https://user@", NoHost),
            ("https://h:", BadPort),
            ("https://h:0", BadPort),
            ("https://h:65536", BadPort),
            ("https://h:+1", BadPort),
            ("https://h:1:2", BadPort),
            ("https://[::1]:x", BadPort),
            ("https://h/#f", Fragment),
            ("https://h\r\nX: y/", bad_character("white space", 9)),
            ("https://h/a b", bad_character("white space", 11)),
            ("https://h/\0", bad_character("a control character", 10)),
            ("https://h/\u{7f}", bad_character("a control character", 10)),
            ("https://é.example", bad_character("a character outside ASCII", 8)),
            ("https://h/{x}", bad_character("a character that has no place in a URL as it is", 10)),
            ("https://h/%4", bad_character("a character that has no place in a URL as it is", 10)),
            ("https://h/a?b=\\", bad_character("a character that has no place in a URL as it is", 14)),
        ] {
            assert_eq!(Target::parse(url), Err(expect), "{url:?}");
        }
    }

    // proves: DIAL-1
    #[test]
    fn hosts_are_names_or_addresses() {
        let long_label = "a".repeat(64);
        let longest_name = format!("aa.{}", "a.".repeat(125));
        let long_name = format!("a{longest_name}");
        for host in [
            "h_1",
            "a-b.c.",
            "1.2.3.4",
            "1.2.3.4a",
            "xn--e-fga",
            "[::]",
            "[::ffff:1.2.3.4]",
            &long_label[1..],
            &longest_name,
        ] {
            parse(&format!("https://{host}"));
        }
        for host in [
            "::1",
            "[",
            "[]",
            "[::1",
            "[::1]x",
            "[1.2.3.4]",
            "[fe80::1%25eth0]",
            "[v1.x]",
            ".",
            "..",
            ".a",
            "a..b",
            "a..",
            "-a",
            "a-.b",
            "a%41",
            "a,b",
            "a\\b",
            "1.2.3",
            "1.2.3.256",
            "01.2.3.4",
            "1.2.3.4.",
            "127.1",
            "2130706433",
            "0x7f",
            "0x7f000001",
            "0X7F000001",
            "0X7f.1",
            "127.0X1",
            "a.0x",
            "a.0X",
            &long_label,
            &long_name,
        ] {
            let refused = Target::parse(&format!("https://{host}"));
            assert!(matches!(refused, Err(TargetError::BadHost { .. })), "{host:?}: {refused:?}");
        }
    }

    // proves: DIAL-1
    #[test]
    fn the_longest_url_is_a_stable_one() {
        let longest = format!("wss://h/{}/relay", "a".repeat(MAX_URL_BYTES - 14));
        let base = longest.strip_suffix("/relay").unwrap();
        assert_eq!(parse(base).url(), longest);
        assert_eq!(parse(&longest).url(), longest);
        assert_eq!(Target::parse(&format!("{base}a")), Err(TargetError::TooLong { bytes: MAX_URL_BYTES + 1 }));
    }

    // proves: DIAL-4
    #[test]
    fn loopback_is_this_machine_and_nothing_that_looks_like_it() {
        for host in [
            "127.0.0.1",
            "127.255.255.254",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            "[::FFFF:7f00:1]",
            "localhost",
            "LocalHost",
            "localhost.",
            "a.b.localhost",
        ] {
            assert!(parse(&format!("ws://user@{host}:80/")).is_loopback(), "{host}");
        }
        for host in [
            "0.0.0.0",
            "128.0.0.1",
            "[::]",
            "[::2]",
            "[::127.0.0.1]",
            "[::ffff:128.0.0.1]",
            "127.0.0.1.example",
            "localhost.example",
            "notlocalhost",
            "localhost-",
            "0X7F000001",
            "0x7f000001",
            "2130706433",
            "127.1",
            "example",
        ] {
            assert!(!Target::parse(&format!("ws://localhost@{host}/")).is_ok_and(|t| t.is_loopback()), "{host}");
        }
    }

    // proves: TOKEN-3
    #[test]
    fn a_password_is_never_shown() {
        let target = parse("https://ann:hunter2@h:8443/x");
        assert_eq!(target.url(), "wss://ann:hunter2@h:8443/x/relay");
        assert_eq!(format!("{target} {target:?}"), r#"wss://***@h:8443/x/relay Target("wss://***@h:8443/x/relay")"#);
        assert_eq!(target.host_header(), "h:8443");
        // Passwords that were not percent-encoded cut the URL at odd places. None is taken for a path, none is repeated.
        for password in
            ["hun/ter", "hun?ter", "hun#ter", "hun@ter", "hun ter", "hunéter", "hun\\ter", "12/hunter", "12?hunter"]
        {
            for url in [format!("https://ann:{password}@h"), format!("ann:{password}@h"), format!("{password}://h")] {
                let error = Target::parse(&url).unwrap_err();
                let shown = format!("{error} {error:?}");
                assert!(!shown.contains("hun") && !shown.contains("ter@") && !shown.contains('é'), "{url:?}: {shown}");
            }
        }
    }

    fn checked(target: &Target) {
        assert!(target.path_and_query().starts_with('/'));
        let sent = [target.path_and_query(), &target.host_header(), target.url()].concat();
        assert!(sent.bytes().all(|b| b.is_ascii_graphic()), "{sent:?}");
        assert_eq!(&parse(target.url()), target);
        let path = target.path_and_query().split('?').next().unwrap();
        assert!(path.ends_with("/relay"));
        #[cfg(feature = "wire")]
        {
            let uri: http::Uri = target.url().parse().unwrap();
            assert_eq!(uri.path_and_query().unwrap().as_str(), target.path_and_query());
            assert_eq!(uri.port_u16().unwrap_or(default_port(target.is_tls())), target.port());
            assert_eq!(uri.host().unwrap().trim_matches(['[', ']']), target.host());
        }
        #[cfg(feature = "tls")]
        assert!(rustls::pki_types::ServerName::try_from(target.host()).is_ok());
    }

    proptest! {
        // proves: DIAL-1
        #[test]
        fn a_dial_url_is_its_own_dial_url(
            scheme in "(https?|wss?|HTTPS|Ws)", user in "([a-z:%0-9.]{0,6}@)?",
            host in "([a-zA-Z0-9._-]{1,12}|\\[[0-9a-f:]{2,6}\\]|127\\.0\\.0\\.[0-9]{1,3})", port in "(:[0-9]{1,6})?",
            path in "(/[a-zA-Z0-9/%@~.]{0,8}(/relay/{0,2})?)?", query in "(\\?[a-z0-9=&/?%]{0,8})?",
        ) {
            if let Ok(target) = Target::parse(&format!("{scheme}://{user}{host}{port}{path}{query}")) {
                checked(&target);
                let end = ["/relay", &query].concat();
                prop_assert!(target.url().ends_with(&end));
            }
        }

        // proves: DIAL-1
        #[test]
        fn no_text_panics_or_reaches_the_request_unchecked(url in any::<String>(), rest in "\\PC{0,20}", ascii in "[ -~]{0,12}") {
            for url in [url, format!("https://{rest}"), format!("ws://{ascii}"), format!("ws://h{ascii}")] {
                if let Ok(target) = Target::parse(&url) {
                    checked(&target);
                }
            }
        }
    }
}
