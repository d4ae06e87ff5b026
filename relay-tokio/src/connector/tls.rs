//! TLS of accepted connections, over memory. It is here, and not in the wire, because what comes out of it need not be a
//! link: requests beside the upgrade are read before the wire sees them.

use std::io::{BufRead as _, Write as _};

use relay_proto::wire::ServerTls;
use relay_proto::wire::rustls::{Error, ServerConnection};

/// Plaintext that is encrypted at once: one TLS record.
const RECORD: usize = 16 << 10;
/// Room that is kept while there is nothing to send.
const KEPT: usize = 1 << 10;

pub(super) struct Tls {
    connection: ServerConnection,
    /// Records for the socket.
    out: Vec<u8>,
    sent: usize,
    /// The socket takes nothing any more.
    mute: bool,
}

impl Tls {
    pub(super) fn new(config: ServerTls) -> Result<Self, Error> {
        let mut connection = ServerConnection::new(config)?;
        // A limit would make rustls take less than it is given. It holds one record at a time.
        connection.set_buffer_limit(None);
        Ok(Self { connection, out: Vec::new(), sent: 0, mute: false })
    }

    /// Takes records from the client. Plaintext that came before an error or the end is handed on before either is told.
    ///
    /// # Errors
    /// Why nothing more comes.
    pub(super) fn receive(&mut self, mut bytes: &[u8], mut plaintext: impl FnMut(&[u8])) -> Result<(), String> {
        while !bytes.is_empty() {
            let taken = self.connection.read_tls(&mut bytes).map_err(|error| error.to_string())?;
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
                Err(error) => return Err(format!("TLS: {error}")),
                Ok(state) if state.peer_has_closed() => return Err("the peer ended the TLS session".into()),
                Ok(_) if taken == 0 => break,
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// Encrypts.
    pub(super) fn send(&mut self, plaintext: &[u8]) {
        for record in plaintext.chunks(RECORD) {
            // Fails only once the connection failed, which has been reported.
            let _ = self.connection.writer().write_all(record);
            self.flush();
        }
    }

    /// Says that nothing follows; again and again is fine.
    pub(super) fn close(&mut self) {
        self.connection.send_close_notify();
        self.flush();
    }

    fn flush(&mut self) {
        // Writing to memory cannot fail.
        while self.connection.wants_write() && self.connection.write_tls(&mut self.out).is_ok_and(|n| n > 0) {}
        if self.mute {
            self.consume(self.out.len());
        }
    }

    pub(super) fn transmit(&self) -> &[u8] {
        self.out.get(self.sent..).unwrap_or(&[])
    }

    pub(super) fn consume(&mut self, n: usize) {
        self.sent = self.sent.saturating_add(n);
        if self.sent >= self.out.len() {
            self.sent = 0;
            self.out.clear();
            self.out.shrink_to(KEPT);
        }
    }

    pub(super) fn transmit_failed(&mut self) {
        self.mute = true;
        self.consume(self.out.len());
    }
}
