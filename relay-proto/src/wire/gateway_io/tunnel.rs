//! The tunnel through a proxy, which comes before TLS (DIAL-6; RFC 9110, 9.3.6).

use std::format;
use std::string::String;

use zeroize::Zeroizing;

use crate::end::LinkEnd;
use crate::proxy::Proxy;
use crate::target::Target;
use crate::wire::http::HeadReader;
use crate::wire::response::{Answer, read_answer};

/// A tunnel in the making.
pub(super) struct Tunnel {
    request: Zeroizing<String>,
    /// How much of the request the socket took.
    written: usize,
    has_credentials: bool,
    answer: HeadReader,
}

impl Tunnel {
    pub(super) fn new(proxy: &Proxy, target: &Target) -> Self {
        Self {
            request: proxy.request(target.host(), target.port()),
            written: 0,
            has_credentials: proxy.has_credentials(),
            answer: HeadReader::default(),
        }
    }

    pub(super) fn transmit(&self) -> &[u8] {
        self.request.as_bytes().get(self.written..).unwrap_or_default()
    }

    pub(super) fn consume(&mut self, n: usize) {
        self.written = self.written.saturating_add(n).min(self.request.len());
    }

    /// Reads from the input: `Ok(true)` once the tunnel is open, and then the rest of the input comes from its other end.
    pub(super) fn receive(&mut self, input: &mut &[u8]) -> Result<bool, LinkEnd> {
        let answer = read_answer(&mut self.answer, input).map_err(|detail| LinkEnd::Proxy { status: None, detail })?;
        match answer {
            None => Ok(false),
            // A success has no body, whatever its fields say.
            Some(Answer { status: 200..=299, .. }) => Ok(true),
            Some(Answer { status, phrase, .. }) => {
                Err(LinkEnd::Proxy { status: Some(status), detail: self.refusal(status, phrase) })
            }
        }
    }

    fn refusal(&self, status: u16, phrase: String) -> String {
        match (status, self.has_credentials) {
            (407, false) => format!("{phrase}: put user:password@ in front of the proxy's host"),
            (407, true) => format!("{phrase}: the proxy does not accept the user name and password"),
            _ => phrase,
        }
    }

    /// The end of a connection on which nothing more comes.
    pub(super) fn end(detail: &str) -> LinkEnd {
        LinkEnd::Proxy { status: None, detail: format!("{detail}, before the proxy answered") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunnel(proxy: &str) -> Tunnel {
        Tunnel::new(&Proxy::parse(proxy).unwrap(), &Target::parse("https://c.example").unwrap())
    }

    /// Byte by byte, and then what was left.
    fn answer(tunnel: &mut Tunnel, bytes: &[u8]) -> (Result<bool, LinkEnd>, usize) {
        for at in 0..bytes.len() {
            match tunnel.receive(&mut &bytes[at..=at]) {
                Ok(false) => {}
                done => return (done, bytes.len() - at - 1),
            }
        }
        (Ok(false), 0)
    }

    fn refused(proxy: &str, bytes: &[u8]) -> (Option<u16>, String) {
        match answer(&mut tunnel(proxy), bytes).0 {
            Err(LinkEnd::Proxy { status, detail }) => (status, detail),
            other => panic!("{other:?}"),
        }
    }

    // proves: DIAL-6
    #[test]
    fn a_tunnel_is_asked_for_and_opened() {
        let mut tunnel = tunnel("p:1");
        assert!(tunnel.transmit().starts_with(b"CONNECT c.example:443 HTTP/1.1\r\n"));
        tunnel.consume(8);
        assert!(tunnel.transmit().starts_with(b"c.example:443 "));
        tunnel.consume(usize::MAX);
        assert!(tunnel.transmit().is_empty());
        let bytes =
            b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 Connection established\r\nContent-Length: 9\r\n\r\nrest";
        assert_eq!(answer(&mut tunnel, bytes), (Ok(true), 4));
    }

    // proves: DIAL-6
    #[test]
    fn a_refusal_says_what_the_proxy_said() {
        assert_eq!(refused("p", b"HTTP/1.1 403 Blocked\r\n\r\n"), (Some(403), "Blocked".into()));
        let (status, detail) = refused("p", b"HTTP/1.0 407 Proxy Authentication Required\r\n\r\n");
        assert!(status == Some(407) && detail.contains("put user:password@"), "{detail}");
        let (status, detail) = refused("u:s3cr3t@p", b"HTTP/1.1 407 No\r\n\r\n");
        assert!(status == Some(407) && detail.contains("does not accept") && !detail.contains("s3cr3t"), "{detail}");
        assert_eq!(refused("p", b"SSH-2.0-x\r\n").0, None);
        assert_eq!(refused("p", b"HTTP/1.1 2x0 \r\n\r\n").0, None);
        assert_eq!(refused("p", &[b'H'; 3]).0, None);
        assert_eq!(refused("p", &[b"HTTP/1.1 200 ".to_vec(), vec![b'a'; 20_000]].concat()).0, None);
    }
}
