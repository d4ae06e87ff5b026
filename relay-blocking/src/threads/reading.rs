//! Who reads a link's socket: the link's own thread, or a thread that waits for what will be read.
//!
//! Waking another thread is most of what a round trip costs on threads, so a call that waits reads by itself, when nobody
//! else does. But no other thread can call it off then. So it reads for a moment at a time, and after a moment in which
//! nothing came it leaves the socket to the link's thread, which waits as long as it takes, and can be left alone.
//!
//! That thread lets the calls have the socket when it has told all that wait to go on: they are likely to wait again. It
//! stands by then, and takes the socket back when a while has passed in which no call wanted it. A call that is done while
//! others wait tells it at once. Of a call that begins to wait and a thread that stops to read, at least one sees the other:
//! the call counts itself before it asks for the socket, and the thread asks who waits after it has let go.

use std::future::Future;
use std::io::Read as _;
use std::time::{Duration, Instant};

use super::Threads;
use super::link::{Link, Reader, not_now};
use crate::signal::{Signal, lock, run};
use crate::system::sync::atomic::{Ordering, fence};
use crate::system::sync::{Arc, Weak};
use crate::system::{has_timeouts, now};

/// How long a call reads in vain. The system makes a few ticks of it.
const MOMENT: Duration = Duration::from_millis(1);
/// How long the link's thread waits for calls to read on.
const GRACE: Duration = Duration::from_millis(5);

/// What came of an attempt to read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    Something,
    Nothing,
    /// The link is not to be read now.
    Paused,
    /// The link has ended, or is not the current one any more.
    Over,
}

/// Runs a future of a gateway to its end on the calling thread, which reads for the gateway meanwhile. `None`: the time has
/// come before.
pub(crate) fn wait_for<F: Future>(threads: &Weak<Threads>, until: Option<Instant>, future: F) -> Option<F::Output> {
    run(future, |signal| {
        let soon = |until| until < now() + 10 * MOMENT;
        if has_timeouts() && !until.is_some_and(soon) {
            // Held no longer than it reads: whoever waits must not keep what has to end.
            if let Some(threads) = threads.upgrade() {
                threads.read_for(signal, until);
            }
        }
        signal.wait(until)
    })
}

impl Threads {
    /// Reads for a call that waits, if nobody else does, until it is told to go on, or something else has to be done.
    fn read_for(self: &Arc<Self>, signal: &Signal, until: Option<Instant>) {
        self.catch_up();
        signal.join(&self.waiting);
        fence(Ordering::SeqCst);
        let Some(link) = lock(&self.socket).link.clone() else { return };
        let Some(mut reader) = link.reader() else { return };
        if link.broken.get().is_some() {
            // What arrived before a connection broke is left to the link's thread, which may have been told that just now,
            // and not have got the right to read.
            drop(reader);
            return link.resume.set();
        }
        signal.leave();
        link.turns.fetch_add(1, Ordering::Relaxed);
        let mut read = Read::Something;
        while read == Read::Something && !signal.is_set() && until.is_none_or(|until| now() < until) {
            read = self.read_once(&link, &mut reader, Some(MOMENT));
        }
        // From now on it waits for others to read.
        signal.join(&self.waiting);
        drop(reader);
        fence(Ordering::SeqCst);
        if read != Read::Something || self.waiting.load(Ordering::SeqCst) > 0 {
            link.resume.set();
        }
    }

    /// The link's thread: sees to it that the socket is read to its end, whenever it may be.
    pub(super) fn read(self: &Arc<Self>, link: &Arc<Link>) {
        loop {
            let Some(mut reader) = link.reader() else {
                self.stand_by(link);
                continue;
            };
            let read = self.read_until_told(link, &mut reader);
            drop(reader);
            fence(Ordering::SeqCst);
            match read {
                Read::Over => return,
                Read::Paused => drop(link.resume.wait(None)),
                _ if self.waiting.load(Ordering::SeqCst) == 0 => self.stand_by(link),
                _ => {}
            }
        }
    }

    /// Reads until somebody has been told to go on and nobody is left to be told, or something else has to be done.
    fn read_until_told(&self, link: &Arc<Link>, reader: &mut Reader) -> Read {
        loop {
            match self.read_once(link, reader, None) {
                Read::Something if reader.waited > 0 && self.waiting.load(Ordering::SeqCst) == 0 => {
                    return Read::Something;
                }
                Read::Something | Read::Nothing => {}
                end => return end,
            }
        }
    }

    /// Waits until no call reads any more, and sees to what is put off meanwhile.
    fn stand_by(self: &Arc<Self>, link: &Link) {
        self.looking.fetch_add(1, Ordering::SeqCst);
        loop {
            let turns = link.turns.load(Ordering::Relaxed);
            if link.resume.wait(Some(now() + GRACE)) || turns == link.turns.load(Ordering::Relaxed) {
                break;
            }
            self.catch_up();
        }
        self.looking.fetch_sub(1, Ordering::SeqCst);
        self.catch_up();
    }

    fn read_once(&self, link: &Arc<Link>, reader: &mut Reader, wait: Option<Duration>) -> Read {
        let Some(mut socket) = self.socket_of(link) else { return Read::Over };
        if !self.driver.wants_read() && link.broken.get().is_none() {
            socket.paused = true;
            return Read::Paused;
        }
        if std::mem::take(&mut socket.paused) {
            link.resume.set();
        }
        drop(socket);
        let read = link.set_wait(reader, wait).and_then(|()| (&link.stream).read(reader.buffer.space()));
        match (read, link.broken.get()) {
            (Ok(0), None) => self.driver.handle_eof(link.id),
            (Ok(0), Some(error)) => self.driver.handle_read_error(link.id, error),
            (Ok(n), _) => {
                reader.waited = self.waiting.load(Ordering::SeqCst);
                self.driver.handle_bytes(link.id, reader.buffer.filled(n));
                reader.buffer.adapt(n);
                return Read::Something;
            }
            (Err(error), _) if not_now(&error) => return Read::Nothing,
            (Err(error), _) => self.driver.handle_read_error(link.id, &error),
        }
        Read::Over
    }
}
