//! The threads behind a gateway, and what they share.
//!
//! Nobody writes while another does, and no write blocks the thread of a caller or the driver's: each is one attempt on a
//! socket that does not block for that moment. What the socket does not take is left to a thread that exists only for
//! that, and which closing the socket sets free. So the driver's thread is always there for deadlines and for the end.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use relay_proto::gateway::LinkId;
use relay_proto::host::{Driver, Work};
use relay_proto::wire::Attempt;

use crate::signal::{Signal, lock, now};

/// How long the system may try to connect. Nothing waits for it: the dial has a deadline of its own (DIAL-5).
const CONNECT: Duration = Duration::from_secs(20);
/// Bytes a read takes at most.
const READ: usize = 16 << 10;
/// What is kept of the write buffer of an idle link.
const KEPT: usize = 4 << 10;

/// How a name is looked up.
type Resolver = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// Starts a gateway's driver on a thread of its own.
pub(crate) fn start(driver: Driver) -> io::Result<()> {
    start_with(driver, |host, port| Ok((host, port).to_socket_addrs()?.collect()))
}

fn start_with(driver: Driver, resolver: Resolver) -> io::Result<()> {
    let threads = Arc::new_cyclic(|threads: &Weak<Threads>| Threads {
        driver,
        resolver,
        waker: Waker::from(Arc::new(Bell(threads.clone()))),
        news: Signal::default(),
        failed: AtomicBool::new(false),
        lookup: Mutex::new(None),
        socket: Mutex::new(Socket::default()),
    });
    let own = threads.clone();
    threads.spawn("relay-driver", move || own.drive())
}

/// What the threads of one gateway share. When the last of them lets go of it, the [`Driver`] is dropped with it.
struct Threads {
    driver: Driver,
    resolver: Resolver,
    waker: Waker,
    /// Wakes the driver's thread.
    news: Signal,
    /// A thread has panicked.
    failed: AtomicBool,
    /// The link that waits for the lookup that is under way.
    lookup: Mutex<Option<Lookup>>,
    /// Never held over anything that blocks. Whoever may be a user's thread, or have it already, only tries to lock it.
    socket: Mutex<Socket>,
}

struct Lookup {
    link: LinkId,
    name: (String, u16),
}

/// The current link's socket, and who writes to it.
#[derive(Default)]
struct Socket {
    link: Option<Arc<Link>>,
    out: Vec<u8>,
    writing: Writing,
    /// The reader waits until it may read.
    paused: bool,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Writing {
    /// Whoever has something to write.
    #[default]
    Anybody,
    /// A thread that waits until the socket takes more.
    Writer,
    /// Nobody: it has failed. What the peer said before is still to be read (LINK-2).
    Nobody,
}

struct Link {
    id: LinkId,
    stream: TcpStream,
    /// The reader may read again, or is to look why not.
    resume: Signal,
    /// Why writing failed.
    broken: OnceLock<io::Error>,
}

/// The driver's waker. It holds no more than a weak reference, since the gateway keeps it.
struct Bell(Weak<Threads>);

impl Wake for Bell {
    /// On the thread that brought the news: it writes what there is to write by itself, and the driver's thread need not
    /// be woken for that.
    fn wake(self: Arc<Self>) {
        let Some(threads) = self.0.upgrade() else { return };
        if let Ok(socket) = threads.socket.try_lock() {
            threads.pump(socket);
        }
        if !threads.driver.park(&threads.waker) {
            threads.news.set();
        }
    }
}

/// Ends the gateway when a thread panics: what it was to do is done by nobody else.
struct OnPanic(Weak<Threads>);

impl Drop for OnPanic {
    fn drop(&mut self) {
        if let Some(threads) = self.0.upgrade().filter(|_| thread::panicking()) {
            threads.failed.store(true, Ordering::Release);
            threads.close(&[]);
            threads.news.set();
        }
    }
}

impl Threads {
    fn spawn(self: &Arc<Self>, name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let guard = OnPanic(Arc::downgrade(self));
        let body = move || {
            let _guard = guard;
            body();
        };
        thread::Builder::new().name(name.into()).spawn(body).map(drop)
    }

    // ── the driver's thread ──────────────────────────────────────────────

    fn drive(self: &Arc<Self>) {
        loop {
            self.driver.unpark();
            while let Some(work) = self.driver.work() {
                match work {
                    Work::Resolve { link, host, port } => self.resolve(Lookup { link, name: (host, port) }),
                    Work::Connect { link, attempt, address } => self.connect(link, attempt, address),
                    // It cannot be stopped, and will be told that it is not wanted.
                    Work::Abort { .. } => {}
                    Work::Disconnect { last_words, .. } => self.close(&last_words),
                    _ => {}
                }
            }
            if self.driver.is_finished() || self.failed.load(Ordering::Acquire) {
                break;
            }
            self.pump(lock(&self.socket));
            let deadline = self.driver.deadline();
            if deadline.is_some_and(|at| at <= now()) {
                self.driver.timeout();
            } else if self.driver.park(&self.waker) {
                self.news.wait(deadline);
            }
        }
        self.close(&[]);
    }

    /// Closes the connection after one attempt to write `last_words`: whoever does not take a goodbye does not get one.
    fn close(&self, last_words: &[u8]) {
        let Socket { link, mut out, writing, .. } = std::mem::take(&mut *lock(&self.socket));
        let Some(link) = link else { return };
        if writing == Writing::Anybody {
            out.extend_from_slice(last_words);
            let _ = link.write(&mut out);
        }
        // Whoever is in a system call on it returns.
        let _ = link.stream.shutdown(Shutdown::Both);
        link.resume.set();
    }

    // ── looking names up, and connecting ─────────────────────────────────

    /// Most systems cannot stop a lookup, and it may take minutes. So one that its dial has given up serves the next
    /// dial, and there is never more than one.
    fn resolve(self: &Arc<Self>, lookup: Lookup) {
        let (link, name) = (lookup.link, lookup.name.clone());
        if lock(&self.lookup).replace(lookup).is_some() {
            return;
        }
        let (threads, resolver) = (Arc::downgrade(self), self.resolver);
        if let Err(error) = self.spawn("relay-lookup", move || look_up(&threads, resolver, name)) {
            *lock(&self.lookup) = None;
            self.driver.unresolved(link, &error);
        }
    }

    fn connect(self: &Arc<Self>, link: LinkId, attempt: Attempt, address: SocketAddr) {
        let threads = Arc::downgrade(self);
        let body = move || {
            let stream = TcpStream::connect_timeout(&address, CONNECT).and_then(|stream| {
                stream.set_nodelay(true)?;
                Ok(stream)
            });
            let Some(threads) = threads.upgrade() else { return };
            match stream {
                Ok(stream) => {
                    if let Some(link) = threads.open(link, attempt, stream) {
                        threads.read(&link);
                    }
                }
                Err(error) => threads.driver.unreachable(link, attempt, &error),
            }
        };
        if let Err(error) = self.spawn("relay-link", body) {
            self.driver.unreachable(link, attempt, &error);
        }
    }

    /// Makes this the current link's socket, if it is wanted.
    fn open(self: &Arc<Self>, id: LinkId, attempt: Attempt, stream: TcpStream) -> Option<Arc<Link>> {
        // Locked first: whoever is to close it will find it.
        let mut socket = lock(&self.socket);
        if self.failed.load(Ordering::Acquire) || !self.driver.connected(id, attempt) {
            return None;
        }
        let link = Arc::new(Link { id, stream, resume: Signal::default(), broken: OnceLock::new() });
        *socket = Socket { link: Some(link.clone()), ..Socket::default() };
        self.pump(socket);
        Some(link)
    }

    // ── writing ──────────────────────────────────────────────────────────

    /// Writes what there is to write, and lets the reader go on.
    fn pump(self: &Arc<Self>, mut socket: MutexGuard<'_, Socket>) {
        let Some(link) = socket.link.clone() else { return };
        if self.driver.wants_read() && socket.paused {
            socket.paused = false;
            link.resume.set();
        }
        while socket.writing == Writing::Anybody {
            self.driver.transmit(&mut socket.out);
            if socket.out.is_empty() {
                return;
            }
            match link.write(&mut socket.out) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    socket.writing = Writing::Writer;
                    let (threads, own) = (self.clone(), link.clone());
                    if let Err(error) = self.spawn("relay-writer", move || threads.write(&own)) {
                        self.give_up_writing(&mut socket, error);
                    }
                }
                Err(error) => self.give_up_writing(&mut socket, error),
            }
        }
    }

    /// The writer's thread: writes until nothing is left.
    fn write(&self, link: &Arc<Link>) {
        loop {
            let mut socket = lock(&self.socket);
            if !socket.is(link) {
                return;
            }
            self.driver.transmit(&mut socket.out);
            if socket.out.is_empty() {
                socket.writing = Writing::Anybody;
                return;
            }
            let out = std::mem::take(&mut socket.out);
            drop(socket);
            let result = (&link.stream).write_all(&out);
            let mut socket = lock(&self.socket);
            if let Err(error) = result
                && socket.is(link)
            {
                return self.give_up_writing(&mut socket, error);
            }
        }
    }

    /// What arrived before the connection broke is read to its end, and whether or not the queue has room, since there is
    /// not much of it (LINK-2).
    fn give_up_writing(&self, socket: &mut Socket, error: io::Error) {
        socket.writing = Writing::Nobody;
        socket.out = Vec::new();
        if let Some(link) = &socket.link {
            let _ = link.broken.set(error);
            self.driver.write_failed(link.id);
            link.resume.set();
        }
    }

    // ── reading ──────────────────────────────────────────────────────────

    /// The link's thread: reads to the end.
    fn read(&self, link: &Arc<Link>) {
        let mut buffer = [0; READ];
        while self.may_read(link) {
            match (&link.stream).read(&mut buffer) {
                Ok(0) => {
                    return match link.broken.get() {
                        Some(error) => self.driver.read_failed(link.id, error),
                        None => self.driver.eof(link.id),
                    };
                }
                Ok(n) => self.driver.received(link.id, buffer.get(..n).unwrap_or(&[])),
                // `WouldBlock`: somebody was just writing. He is done when the lock is free, which is asked for next.
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(error) => return self.driver.read_failed(link.id, &error),
            }
        }
    }

    /// Waits until the link's socket is to be read. False: it is closed.
    fn may_read(&self, link: &Arc<Link>) -> bool {
        loop {
            let mut socket = lock(&self.socket);
            if !socket.is(link) {
                return false;
            }
            if self.driver.wants_read() || link.broken.get().is_some() {
                return true;
            }
            socket.paused = true;
            drop(socket);
            link.resume.wait(None);
        }
    }
}

impl Socket {
    fn is(&self, link: &Arc<Link>) -> bool {
        self.link.as_ref().is_some_and(|own| Arc::ptr_eq(own, link))
    }
}

impl Link {
    /// Writes what the socket takes without waiting, off the front. [`WouldBlock`](io::ErrorKind::WouldBlock) when that
    /// is not everything.
    fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        // A read that begins in between fails, and is tried again. One that has begun goes on.
        self.stream.set_nonblocking(true)?;
        let mut written = 0;
        let result = loop {
            let rest = out.get(written..).unwrap_or(&[]);
            if rest.is_empty() {
                break Ok(());
            }
            match (&self.stream).write(rest) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => written += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        out.drain(..written);
        if out.is_empty() {
            out.shrink_to(KEPT);
        }
        self.stream.set_nonblocking(false)?;
        result
    }
}

/// The lookup's thread.
fn look_up(threads: &Weak<Threads>, resolver: Resolver, mut name: (String, u16)) {
    loop {
        let found = resolver(&name.0, name.1);
        let Some(threads) = threads.upgrade() else { return };
        let mut lookup = lock(&threads.lookup);
        match &*lookup {
            // Meanwhile somebody wants to know another one.
            Some(other) if other.name != name => name = other.name.clone(),
            Some(Lookup { link, .. }) => {
                let link = *link;
                *lookup = None;
                drop(lookup);
                return match found {
                    Ok(addresses) => threads.driver.resolved(link, &addresses),
                    Err(error) => threads.driver.unresolved(link, &error),
                };
            }
            None => return,
        }
    }
}

#[cfg(test)]
mod tests;
