//! A link's socket.

use std::io::{self, Write};
use std::time::Duration;

use relay_proto::client::ReadBuffer;
use relay_proto::gateway::LinkId;

use crate::signal::Signal;
use crate::system::has_timeouts;
use crate::system::net::TcpStream;
use crate::system::sync::atomic::AtomicUsize;
use crate::system::sync::{Mutex, MutexGuard, OnceLock, TryLockError};

/// The shortest time that a write can be told to wait, which a system makes a tick of its clock. So a socket that blocks
/// takes what it has room for, and needs not be told before each write not to block, and after it to block again.
const ATTEMPT: Duration = Duration::from_micros(1);

pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) stream: TcpStream,
    /// The link's thread is to look whether to read.
    pub(super) resume: Signal,
    /// Why writing failed.
    pub(super) broken: OnceLock<io::Error>,
    /// Held by whoever reads, also while the read waits; so it is only ever tried.
    reader: Mutex<Reader>,
    /// How often a call has begun to read.
    pub(super) turns: AtomicUsize,
}

/// What reading needs.
pub(super) struct Reader {
    pub(super) buffer: ReadBuffer,
    /// How many calls waited when something had been read, and was not passed on yet.
    pub(super) waited: usize,
    /// How long a read waits.
    wait: Option<Duration>,
}

/// A fresh socket, as a link needs it.
pub(super) fn prepare(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    if has_timeouts() {
        stream.set_write_timeout(Some(ATTEMPT))?;
    }
    Ok(stream)
}

impl Link {
    pub(super) fn new(id: LinkId, stream: TcpStream) -> Self {
        Self {
            id,
            stream,
            resume: Signal::default(),
            broken: OnceLock::new(),
            reader: Mutex::new(Reader { buffer: ReadBuffer::new(), waited: 0, wait: None }),
            turns: AtomicUsize::default(),
        }
    }

    /// The right to read, if nobody has it.
    pub(super) fn reader(&self) -> Option<MutexGuard<'_, Reader>> {
        match self.reader.try_lock() {
            Ok(reader) => Some(reader),
            Err(TryLockError::Poisoned(reader)) => Some(reader.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Has reads wait so long, or as long as it takes.
    pub(super) fn set_wait(&self, reader: &mut Reader, wait: Option<Duration>) -> io::Result<()> {
        if reader.wait != wait {
            self.stream.set_read_timeout(wait)?;
            reader.wait = wait;
        }
        Ok(())
    }

    /// Writes what the socket takes without waiting, off the front.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let written = if has_timeouts() {
            (&self.stream).write(out)
        } else {
            // A read that begins in between fails, and is tried again. One that has begun goes on.
            self.stream.set_nonblocking(true)?;
            let written = (&self.stream).write(out);
            self.stream.set_nonblocking(false)?;
            written
        };
        out.drain(..written?);
        // An idle link keeps a small buffer.
        out.shrink_to(4 << 10);
        Ok(())
    }

    /// Writes everything, as long as that takes.
    pub(super) fn write_all(&self, out: &[u8]) -> io::Result<()> {
        if !has_timeouts() {
            return (&self.stream).write_all(out);
        }
        self.stream.set_write_timeout(None)?;
        let written = (&self.stream).write_all(out);
        // Should that fail, so did writing.
        let _ = self.stream.set_write_timeout(Some(ATTEMPT));
        written
    }
}

pub(super) fn not_now(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
