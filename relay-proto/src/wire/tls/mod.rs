//! TLS over memory.

mod builder;
mod fingerprint;
mod problem;
mod trust;

use std::{
    format,
    io::{BufRead, Write},
    string::ToString,
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection, pki_types::ServerName};

use self::problem::{Stage, failed, failed_at, unusable};
pub use self::{
    builder::{ClientTlsBuilder, ClientTlsError, default_tls_config, encrypted_key},
    fingerprint::{Fingerprint, NotAFingerprint},
};
use super::send_buffer::SendBuffer;
use crate::end::{LinkEnd, TlsProblem};

/// The only protocol that is spoken inside.
const HTTP: &[u8] = b"http/1.1";
/// Plaintext that is encrypted before the result moves on: one TLS record.
const RECORD: usize = 16 << 10;

/// The end of a link whose handshake failed like this, typed, and in words that say what to do: for hosts that speak TLS
/// beside links. `agreed`: version and cipher were agreed on by then.
pub fn tls_failure(error: &rustls::Error, agreed: bool) -> LinkEnd {
    failed_at(if agreed { Stage::Agreed } else { Stage::Greeting }, error)
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
    pub(super) out: SendBuffer,
}

impl TlsLayer {
    pub(super) fn client(config: Arc<ClientConfig>, host: &str) -> Result<Self, LinkEnd> {
        let name = ServerName::try_from(host.to_string())
            .map_err(|_| unusable(format!("`{host}` is not a name that a certificate can have")))?;
        // The peer might choose another, and what it said then would make no sense.
        if let Some(other) = config.alpn_protocols.iter().find(|protocol| protocol.as_slice() != HTTP) {
            let other = other.escape_ascii();
            return Err(unusable(format!(
                "the TLS configuration offers the protocol {other}: leave all but http/1.1 out"
            )));
        }
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
        let mut layer = Self { connection, out: SendBuffer::default() };
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
            let stage = self.stage();
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
                Err(error) => return Err(failed_at(stage, &error)),
                Ok(state) if state.peer_has_closed() => return Ok(TlsState::Closed),
                Ok(_) if taken == 0 => break,
                Ok(_) => {}
            }
        }
        Ok(TlsState::Open)
    }

    fn stage(&self) -> Stage {
        if !self.connection.is_handshaking() {
            Stage::Established
        } else if self.connection.protocol_version().is_some() {
            Stage::Agreed
        } else {
            Stage::Greeting
        }
    }

    /// Encrypts everything in `plaintext`, and empties it.
    pub(super) fn send(&mut self, plaintext: &mut SendBuffer) {
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
