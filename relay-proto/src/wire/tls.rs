//! TLS over memory.

use std::{
    format,
    io::{BufRead, Write},
    string::ToString,
    sync::{Arc, OnceLock},
    vec,
};

use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection, pki_types::ServerName};
use rustls_platform_verifier::BuilderVerifierExt;

use super::output::Output;
use crate::end::{LinkEnd, TlsProblem};

/// Plaintext that is encrypted before the result moves on: one TLS record.
const RECORD: usize = 16 << 10;

/// A TLS configuration that trusts what the platform trusts, and speaks HTTP/1.1. The first call reads the platform's
/// certificates, which takes time; later ones share what it made, and with it the sessions that it remembers.
///
/// # Errors
///
/// [`LinkEnd::Tls`] if the platform's trust store cannot be used.
pub fn default_tls_config() -> Result<Arc<ClientConfig>, LinkEnd> {
    static MADE: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = MADE.get() {
        return Ok(config.clone());
    }
    // The provider is named so that the process needs no default one.
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(BuilderVerifierExt::with_platform_verifier)
        .map_err(|error| failed(&error))?
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(MADE.get_or_init(|| Arc::new(config)).clone())
}

fn failed(error: &rustls::Error) -> LinkEnd {
    LinkEnd::Tls { problem: problem(error), detail: error.to_string() }
}

fn problem(error: &rustls::Error) -> TlsProblem {
    use rustls::{AlertDescription as Alert, CertificateError as Certificate, Error};
    match error {
        Error::InvalidCertificate(error) => match error {
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => TlsProblem::WrongName,
            Certificate::Expired | Certificate::ExpiredContext { .. } => TlsProblem::Expired,
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => TlsProblem::NotYetValid,
            Certificate::UnknownIssuer => TlsProblem::UnknownIssuer,
            Certificate::Revoked => TlsProblem::Revoked,
            _ => TlsProblem::BadCertificate,
        },
        Error::InvalidCertRevocationList(_) | Error::NoCertificatesPresented => TlsProblem::BadCertificate,
        // The peer's word about our certificate.
        Error::AlertReceived(
            Alert::CertificateRequired
            | Alert::NoCertificate
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied,
        ) => TlsProblem::ClientCertificate,
        Error::General(_) | Error::FailedToGetCurrentTime | Error::FailedToGetRandomBytes => TlsProblem::Configuration,
        _ => TlsProblem::Handshake,
    }
}

/// Whether more plaintext may come.
pub(super) enum TlsState {
    Open,
    /// The peer said that nothing follows.
    Closed,
}

pub(super) struct TlsLayer {
    connection: Connection,
    /// TLS records for the socket.
    pub(super) out: Output,
}

impl TlsLayer {
    pub(super) fn client(config: Arc<ClientConfig>, host: &str) -> Result<Self, LinkEnd> {
        let name = ServerName::try_from(host.to_string()).map_err(|_| LinkEnd::Tls {
            problem: TlsProblem::Configuration,
            detail: format!("`{host}` is not a name that a certificate can have"),
        })?;
        ClientConnection::new(config, name)
            .map(|connection| Self::new(connection.into()))
            .map_err(|error| failed(&error))
    }

    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Self, LinkEnd> {
        ServerConnection::new(config).map(|connection| Self::new(connection.into())).map_err(|error| failed(&error))
    }

    fn new(mut connection: Connection) -> Self {
        // A limit would make rustls take less than it is given. What it holds is short-lived: the request until the
        // handshake is through, and one record at a time after that.
        connection.set_buffer_limit(None);
        let mut layer = Self { connection, out: Output::default() };
        layer.flush();
        layer
    }

    /// TLS records from the peer. Plaintext that came before an error or the end is handed on before either is told.
    pub(super) fn receive(&mut self, mut bytes: &[u8], mut plaintext: impl FnMut(&[u8])) -> Result<TlsState, LinkEnd> {
        while !bytes.is_empty() {
            // Takes a few KiB at most, and nothing after the peer's close_notify.
            let taken = self
                .connection
                .read_tls(&mut bytes)
                .map_err(|error| LinkEnd::Tls { problem: TlsProblem::Handshake, detail: error.to_string() })?;
            let state = self.connection.process_new_packets();
            // A failure queues an alert: it goes out as well.
            self.flush();
            let mut reader = self.connection.reader();
            while let Ok(chunk @ [_, ..]) = reader.fill_buf() {
                plaintext(chunk);
                let length = chunk.len();
                reader.consume(length);
            }
            match state {
                Err(error) => return Err(failed(&error)),
                Ok(state) if state.peer_has_closed() => return Ok(TlsState::Closed),
                Ok(_) if taken == 0 => break,
                Ok(_) => {}
            }
        }
        Ok(TlsState::Open)
    }

    /// Encrypts everything in `plaintext`, and empties it.
    pub(super) fn send(&mut self, plaintext: &mut Output) {
        while !plaintext.is_empty() {
            let record = plaintext.bytes().get(..RECORD).unwrap_or(plaintext.bytes());
            // Fails only once the connection failed, which has been reported.
            let taken = match self.connection.writer().write(record) {
                Ok(taken @ 1..) => taken,
                _ => plaintext.len(),
            };
            plaintext.consume(taken);
            self.flush();
        }
        self.flush();
    }

    /// Says that nothing follows; again and again is fine.
    pub(super) fn close(&mut self) {
        self.connection.send_close_notify();
        self.flush();
    }

    fn flush(&mut self) {
        // Writing to `out` cannot fail.
        while self.connection.wants_write() && self.connection.write_tls(&mut self.out).is_ok_and(|written| written > 0)
        {
        }
    }
}
