//! Enrolment, provisioning and policies over HTTP (feature `enroll`): one call, one connection, and it blocks until there
//! is an answer or the time is up.
//!
//! ```no_run
//! use relay_blocking::enroll::{Client, Credential, Service};
//!
//! let service = Service::parse("https://connector.example")?;
//! let identity = Credential::new(std::env::var("IDENTITY")?);
//! let token = Credential::new(std::fs::read_to_string("enrolment-token")?);
//! let granted = Client::new().run(service.enroll(&identity, &token, "my-gateway")?)?;
//! println!("enrolled {}", granted.gateway_id); // Keep `granted.secret`: nobody tells it again.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What is asked and answered is [`relay_proto::enroll`], and re-exported here.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use relay_proto::end::{LinkEnd, TlsProblem};
use relay_proto::wire::rustls::{self, ClientConnection, StreamOwned, pki_types::ServerName};
use relay_proto::wire::{ClientTls, default_tls_config, tls_failure};
use zeroize::Zeroizing;

#[doc(inline)]
pub use relay_proto::enroll::{
    Answer, AnswerReader, Call, Credential, EnrollError, Granted, Policy, Provision, Reply, Service, Step,
};

use crate::Proxy;

/// The most that is read at once.
const READ: usize = 16 << 10;
/// The longest answer of a proxy.
const MAX_HEAD: usize = 16 << 10;

/// How calls are made.
#[derive(Clone)]
pub struct Client {
    timeout: Duration,
    tls: Option<ClientTls>,
    proxy: Option<Proxy>,
}

impl Client {
    /// Directly, with the platform's trust store, within 15 s.
    pub fn new() -> Self {
        Self { timeout: Duration::from_secs(15), tls: None, proxy: None }
    }

    /// How long a call may take, from looking the name up to the end of the answer, redirects included. Default: 15 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Another TLS configuration, such as a [`ClientTlsBuilder`](crate::ClientTlsBuilder) makes. Default: the platform's
    /// trust store.
    #[must_use]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Goes through an HTTP proxy, which is asked for a tunnel (DIAL-6). Default: none.
    ///
    /// A call over plain `http` goes through none but one on this machine, unless its [`Service`]
    /// [allows it](Service::allow_plaintext_credentials): it ends with [`EnrollError::PlaintextCredentials`] before anything
    /// connects (ENROLL-2).
    #[must_use]
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// Makes a call, and those that a redirect within the connector leads to.
    ///
    /// # Errors
    /// [`CallError`]: there was no answer, or one that says no.
    pub fn run<T: Answer>(&self, call: Call<T>) -> Result<T, CallError> {
        let end = now().checked_add(self.timeout).unwrap_or_else(|| now() + Duration::from_secs(1 << 30));
        let mut call = call;
        loop {
            let mut answer = AnswerReader::default();
            self.exchange(&call, end, &mut answer)?;
            match call.read(answer.finish()?)? {
                Step::Done(done) => return Ok(done),
                Step::Again(again) => call = again,
            }
        }
    }

    /// One connection: sends the request, and reads the answer as far as it comes.
    fn exchange<T: Answer>(&self, call: &Call<T>, end: Instant, answer: &mut AnswerReader) -> Result<(), CallError> {
        let mut socket = self.connect(call, end)?;
        if !call.is_tls() {
            return transfer(&mut socket, call, answer);
        }
        let config = match &self.tls {
            Some(config) => config.clone(),
            None => default_tls_config().map_err(CallError::tls)?,
        };
        let name = ServerName::try_from(call.host().to_owned())
            .map_err(|error| CallError::Tls { problem: TlsProblem::Configuration, detail: error.to_string() })?;
        let mut connection =
            ClientConnection::new(config, name).map_err(|error| CallError::tls(tls_failure(&error, false)))?;
        while connection.is_handshaking() {
            // Nothing of the request is on its way yet.
            connection.complete_io(&mut socket).map_err(|error| match error.kind() {
                io::ErrorKind::TimedOut => CallError::TimedOut { sent: false },
                _ => CallError::handshake(&error, connection.protocol_version().is_some()),
            })?;
        }
        transfer(&mut StreamOwned::new(connection, socket), call, answer)
    }

    fn connect<T: Answer>(&self, call: &Call<T>, end: Instant) -> Result<Timed, CallError> {
        // Before anything is looked up: a proxy that may not see the credentials is not asked for anything.
        let tunnel = self.proxy.as_ref().map(|proxy| call.tunnel_request(proxy)).transpose()?;
        let (host, port) = match &self.proxy {
            Some(proxy) => (proxy.host(), proxy.port()),
            None => (call.host(), call.port()),
        };
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::TimedOut => CallError::TimedOut { sent: false },
            _ => CallError::Unreachable { place: format!("{host}:{port}"), detail: error.to_string() },
        };
        let mut socket = dial(host, port, end).map_err(failed)?;
        if let Some(tunnel) = tunnel {
            socket.write_all(tunnel.as_bytes()).map_err(failed)?;
            let status = tunnel_status(&mut socket).map_err(failed)?;
            if !matches!(status, Some(200..=299)) {
                return Err(CallError::Proxy { status });
            }
        }
        Ok(socket)
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("timeout", &self.timeout)
            .field("tls", &self.tls.is_some())
            .field("proxy", &self.proxy)
            .finish()
    }
}

/// Why a call came to nothing. No message holds a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The request cannot be sent, or the answer says no, or it is none.
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    /// No connection could be made.
    #[error("cannot reach {place}: {detail}")]
    Unreachable {
        /// The connector's host and port, or the proxy's.
        place: String,
        /// What the system says.
        detail: String,
    },
    /// The proxy opens no tunnel.
    #[error("the proxy opens no tunnel{}", .status.map(|status| format!(" (HTTP {status})")).unwrap_or_default())]
    Proxy {
        /// Its status; `None` when its answer is not HTTP.
        status: Option<u16>,
    },
    /// TLS failed before the connector could read anything: most often its certificate, or that it wants one.
    #[error("TLS: {detail}")]
    Tls {
        /// What was wrong, in a word.
        problem: TlsProblem,
        /// What was wrong, and what to do about it.
        detail: String,
    },
    /// The time was up.
    #[error("no answer in time{}", perhaps_done(*.sent))]
    TimedOut {
        /// Whether the request was on its way.
        sent: bool,
    },
    /// The connection broke while the request was on its way.
    #[error("the connection broke ({detail}){}", perhaps_done(true))]
    Lost {
        /// What the system says.
        detail: String,
    },
}

impl CallError {
    fn tls(end: LinkEnd) -> Self {
        match end {
            LinkEnd::Tls { problem, detail } => Self::Tls { problem, detail },
            other => Self::Tls { problem: TlsProblem::Handshake, detail: format!("{other:?}") },
        }
    }

    /// A handshake that failed: of TLS, or of the connection below it.
    fn handshake(error: &io::Error, agreed: bool) -> Self {
        match error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
            Some(error) => Self::tls(tls_failure(error, agreed)),
            None => {
                let detail = format!("the connection broke during the handshake ({error})");
                Self::Tls { problem: TlsProblem::Handshake, detail }
            }
        }
    }

    /// Whether the connector may have redeemed the enrolment token: it is no use to try again with that one.
    pub fn may_have_granted(&self) -> bool {
        match self {
            Self::Enroll(error) => error.may_have_granted(),
            Self::TimedOut { sent } => *sent,
            Self::Lost { .. } => true,
            Self::Unreachable { .. } | Self::Proxy { .. } | Self::Tls { .. } => false,
        }
    }

    /// How long the connector wants to be left alone, if it said so (`Retry-After` of a 429 or 503).
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Enroll(error) => error.retry_after(),
            _ => None,
        }
    }

    /// In one word, for logs and command lines.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Enroll(error) => error.name(),
            Self::Unreachable { .. } => "unreachable",
            Self::Proxy { .. } => "proxy",
            Self::Tls { .. } => "tls",
            Self::TimedOut { .. } => "timed_out",
            Self::Lost { .. } => "lost",
        }
    }
}

fn perhaps_done(sent: bool) -> &'static str {
    if sent { "; the request was sent, and may have been carried out" } else { "" }
}

/// Sends the request, and reads until the answer is complete or the connection ends.
fn transfer<T: Answer>(
    stream: &mut (impl Read + Write),
    call: &Call<T>,
    answer: &mut AnswerReader,
) -> Result<(), CallError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::TimedOut => CallError::TimedOut { sent: true },
        _ => CallError::Lost { detail: error.to_string() },
    };
    // With TLS 1.3 this end is through with its handshake before the connector has looked at its certificate; without a
    // good one the connector never reads the request.
    let unwelcome = |error: &io::Error| {
        let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        let refused =
            |error: &CallError| matches!(error, CallError::Tls { problem: TlsProblem::ClientCertificate, .. });
        Some(CallError::tls(tls_failure(error, true))).filter(refused)
    };
    // A connector that refuses early may not read all of it, and its answer says why.
    let written = stream.write_all(&call.request()).and_then(|()| stream.flush());
    let mut buffer = Zeroizing::new(vec![0; READ]);
    let mut any = false;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                any = true;
                if answer.read(buffer.get(..n).unwrap_or(&[]))? {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The status says it all, whatever becomes of the rest.
            Err(_) if answer.is_refused() => break,
            Err(error) => {
                let unwelcome = if any { None } else { unwelcome(&error) };
                return Err(unwelcome.unwrap_or_else(|| failed(written.err().unwrap_or(error))));
            }
        }
    }
    match written {
        Err(error) if !any => Err(failed(error)),
        _ => Ok(()),
    }
}

/// A socket whose every operation ends at the same time, so that nobody holds up the whole by trickling.
struct Timed {
    socket: TcpStream,
    end: Instant,
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        until(self.end, |left| {
            self.socket.set_read_timeout(Some(left))?;
            self.socket.read(buffer)
        })
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        until(self.end, |left| {
            self.socket.set_write_timeout(Some(left))?;
            self.socket.write(bytes)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// Does something that takes no longer than the time that is left. With a timeout a socket is interrupted by whatever
/// stops and continues the process; that is no reason to give up.
fn until(end: Instant, mut step: impl FnMut(Duration) -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match step(left(end)?) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done.map_err(timed_out),
        }
    }
}

/// A timeout of the socket's reads as `WouldBlock` on some systems.
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[allow(clippy::disallowed_methods)] // The runtime is what reads a clock; this is this module's one place.
fn now() -> Instant {
    Instant::now()
}

/// Connects to the host.
fn dial(host: &str, port: u16, end: Instant) -> io::Result<Timed> {
    connect_to_any(&resolve(host, port, end)?, end)
}

/// Connects to the first address that answers.
fn connect_to_any(addresses: &[SocketAddr], end: Instant) -> io::Result<Timed> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (at, address) in addresses.iter().enumerate() {
        // An address that swallows everything must leave time for the others.
        let share = u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
        match TcpStream::connect_timeout(address, left(end)? / share) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                return Ok(Timed { socket, end });
            }
            Err(error) => last = timed_out(error),
        }
    }
    Err(last)
}

/// Looks a name up, on a thread of its own: the system's resolver takes as long as it likes.
fn resolve(host: &str, port: u16, end: Instant) -> io::Result<Vec<SocketAddr>> {
    let (sender, found) = channel();
    let place = (host.to_owned(), port);
    std::thread::Builder::new().name("relay-lookup".into()).spawn(move || {
        // Nobody may wait any more.
        let _ = sender.send(place.to_socket_addrs().map(Iterator::collect));
    })?;
    found.recv_timeout(left(end)?).unwrap_or_else(|error| {
        Err(match error {
            RecvTimeoutError::Timeout => io::ErrorKind::TimedOut.into(),
            RecvTimeoutError::Disconnected => io::Error::other("the lookup failed"),
        })
    })
}

/// Reads a proxy's answer up to the end of its head, and not a byte further: what follows is the connector's.
fn tunnel_status(socket: &mut Timed) -> io::Result<Option<u16>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && !head.ends_with(b"\n\n") && head.len() < MAX_HEAD {
        if socket.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.extend_from_slice(&byte);
    }
    let line = head.split(|byte| *byte == b'\n').next().and_then(|line| str::from_utf8(line).ok()).unwrap_or_default();
    let status = line.starts_with("HTTP/1.").then(|| line.split_whitespace().nth(1)).flatten();
    Ok(status.and_then(|status| status.parse().ok()))
}

#[cfg(test)]
mod tests {
    use rustls::AlertDescription::{CertificateRequired, InternalError};

    use super::*;

    #[test]
    fn an_interruption_is_no_end_and_takes_no_longer() {
        let far = now() + Duration::from_secs(3600);
        let mut steps = vec![Ok(7), Err(io::ErrorKind::Interrupted.into()), Err(io::ErrorKind::Interrupted.into())];
        let next = |steps: &mut Vec<io::Result<usize>>| steps.pop().unwrap();
        assert_eq!(until(far, |_| next(&mut steps)).unwrap(), 7);
        let mut steps = vec![Err(io::ErrorKind::WouldBlock.into()), Err(io::ErrorKind::Interrupted.into())];
        assert_eq!(until(far, |_| next(&mut steps)).unwrap_err().kind(), io::ErrorKind::TimedOut);
        // One that comes again and again ends with the time.
        let ended = until(now() + Duration::from_millis(1), |_| Err(io::ErrorKind::Interrupted.into()));
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_dead_first_address_leaves_time_for_the_next() {
        let (dead, _full) = crate::threads::tests::dead_address();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let live = listener.local_addr().unwrap();
        // On a slow machine the time may be over before the second is tried. Then there is more.
        let connected = [1, 10, 100]
            .into_iter()
            .find_map(|seconds| connect_to_any(&[dead, live], now() + Duration::from_secs(seconds)).ok());
        assert_eq!(connected.expect("a connection").socket.peer_addr().unwrap(), live);
    }

    /// Takes everything, yields these bytes, and then fails like this.
    struct Fails(&'static [u8], fn() -> io::Error);

    impl Read for Fails {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer) {
                Ok(0) => Err(self.1()),
                read => read,
            }
        }
    }

    impl Write for Fails {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn alert(alert: rustls::AlertDescription) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, rustls::Error::AlertReceived(alert))
    }

    // proves: DIAL-7, ENROLL-3
    #[test]
    fn what_is_refused_for_its_certificate_was_not_read() {
        let service = Service::parse("https://connector.example").unwrap();
        let how = |bytes, error| {
            let call = service.enroll(&Credential::new("identity"), &Credential::new("token"), "gw").unwrap();
            transfer(&mut Fails(bytes, error), &call, &mut AnswerReader::default()).unwrap_err()
        };
        let refused = how(b"", || alert(CertificateRequired));
        assert!(matches!(refused, CallError::Tls { problem: TlsProblem::ClientCertificate, .. }), "{refused:?}");
        assert!(!refused.may_have_granted());
        // What has begun to answer has read the request, and what fails for another reason may have.
        for lost in [
            how(b"HTTP/1.1 200 OK\r\n", || alert(CertificateRequired)),
            how(b"", || alert(InternalError)),
            how(b"", || io::ErrorKind::ConnectionReset.into()),
        ] {
            assert!(matches!(lost, CallError::Lost { .. }) && lost.may_have_granted(), "{lost:?}");
        }
    }
}
