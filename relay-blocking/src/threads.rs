//! The threads behind a gateway, and what they share.
//!
//! Nobody writes while another does, and no write holds up the thread of a caller or the driver's: each is one attempt that
//! waits for a tick of the system's clock at most. What the socket does not take is left to a thread that exists only for
//! that, and which closing the socket sets free. So the driver's thread is always there for deadlines and for the end.

mod link;
mod reading;

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Wake, Waker};
use std::time::Duration;

use relay_proto::client::Driver;
use relay_proto::gateway::LinkId;
use relay_proto::wire::{Attempt, IoRequest};

use self::link::{Link, not_now};
pub(crate) use self::reading::wait_for;
use crate::signal::{Signal, is_in_call, lock};
use crate::system::net::{Shutdown, SocketAddr, TcpStream};
use crate::system::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::system::sync::{Arc, Mutex, MutexGuard, Weak};
use crate::system::{TURN, now, thread, thread_local};

/// How long the system may try to connect. Nothing waits for it: the dial has a deadline of its own (DIAL-5).
const CONNECT: Duration = Duration::from_secs(20);

/// What is written before the gateway is told how far that has come.
const PIECE: usize = 16 << 10;

/// How many turns the other threads have at most before a deadline is judged.
const TURNS: usize = 20;

/// How a name is looked up.
type Resolver = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// Starts a gateway's driver on a thread of its own. The calls that wait for the gateway are told of it, so that they can
/// read for themselves.
pub(crate) fn start(driver: Driver, resolver: Resolver) -> io::Result<Weak<Threads>> {
    let threads = Arc::new_cyclic(|threads: &Weak<Threads>| Threads {
        driver,
        resolver,
        waker: Waker::from(Arc::new(Bell(threads.clone()))),
        news: Signal::default(),
        failed: AtomicBool::new(false),
        waiting: Arc::default(),
        looking: AtomicUsize::default(),
        put_off: AtomicBool::default(),
        lookup: Mutex::default(),
        socket: Mutex::default(),
    });
    let (own, weak) = (threads.clone(), Arc::downgrade(&threads));
    threads.spawn("relay-driver", || (), move |_, ()| own.drive())?;
    Ok(weak)
}

/// What the threads of one gateway share. When the last of them lets go of it, the [`Driver`] is dropped with it.
pub(crate) struct Threads {
    driver: Driver,
    resolver: Resolver,
    waker: Waker,
    /// Wakes the driver's thread.
    news: Signal,
    /// A thread has panicked.
    failed: AtomicBool,
    /// Calls that wait, and that nobody has told yet to go on.
    waiting: Arc<AtomicUsize>,
    /// Threads that look every now and then whether something was put off.
    looking: AtomicUsize,
    /// There is news that nobody has attended to yet.
    put_off: AtomicBool,
    /// Whom the lookup that is under way is for.
    lookup: Mutex<Option<LinkId>>,
    /// Never held over anything that blocks. A thread that may be a user's, or hold it already, only tries to lock it.
    socket: Mutex<Socket>,
}

/// The current link's socket.
#[derive(Default)]
struct Socket {
    link: Option<Arc<Link>>,
    out: Vec<u8>,
    /// Writing is left to the writer's thread, or to nobody, since it has failed.
    stalled: bool,
    /// The reader waits until it may read.
    paused: bool,
}

/// The driver's waker. It holds no more than a weak reference, since the gateway keeps it.
struct Bell(Weak<Threads>);

impl Wake for Bell {
    /// On the thread that brought the news: it writes what there is to write by itself, and the driver's thread need not
    /// be woken for that. What an application says while it has events left to read is put off: those may be as many
    /// acknowledgements, and leave together.
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let Some(threads) = self.0.upgrade() else { return };
        if is_in_call() || is_ours() || !threads.driver.has_events() {
            return threads.attend();
        }
        threads.put_off.store(true, Ordering::SeqCst);
        // Whoever looks now will look once more before it does something else.
        if threads.looking.load(Ordering::SeqCst) == 0 {
            threads.news.set();
        }
    }
}

thread_local! {
    static OURS: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is one of a gateway's own.
fn is_ours() -> bool {
    OURS.with(Cell::get)
}

impl Threads {
    /// Starts a thread that makes a call and goes on with its result. The call may take long, and does not keep the
    /// gateway. Should the thread panic, the gateway ends, since nobody else does what it was to do.
    fn spawn<T>(
        self: &Arc<Self>,
        name: &str,
        call: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(&Arc<Self>, T) + Send + 'static,
    ) -> io::Result<()> {
        let weak = Arc::downgrade(self);
        let body = move || {
            OURS.with(|ours| ours.set(true));
            let run = || {
                let result = call();
                weak.upgrade().map(|threads| then(&threads, result))
            };
            if catch_unwind(AssertUnwindSafe(run)).is_err()
                && let Some(threads) = weak.upgrade()
            {
                threads.failed.store(true, Ordering::Release);
                threads.driver.handle_panic();
                threads.close(&[]);
                threads.news.set();
            }
        };
        thread::Builder::new().name(name.into()).spawn(body).map(drop)
    }

    /// Does what there is to do at once, and leaves the rest to the driver's thread.
    fn attend(self: &Arc<Self>) {
        self.put_off.store(false, Ordering::SeqCst);
        if let Ok(socket) = self.socket.try_lock() {
            self.pump(socket);
        }
        if !self.driver.park(&self.waker) {
            self.news.set();
        }
    }

    /// Attends to what was put off, if anything was.
    fn catch_up(self: &Arc<Self>) {
        if self.put_off.load(Ordering::SeqCst) {
            self.attend();
        }
    }

    // ── the driver's thread ──────────────────────────────────────────────

    fn drive(self: &Arc<Self>) {
        let mut turns = 0;
        loop {
            self.driver.unpark();
            while let Some(work) = self.driver.poll_io() {
                match work {
                    IoRequest::Resolve { link, host, port } => self.resolve(link, host, port),
                    IoRequest::Connect { link, attempt, address } => self.connect(link, attempt, address),
                    IoRequest::Disconnect { final_bytes, .. } => self.close(&final_bytes),
                    // An attempt to connect cannot be stopped, and will be told that it is not wanted.
                    _ => {}
                }
            }
            if self.driver.is_finished() || self.failed.load(Ordering::Acquire) {
                return self.close(&[]);
            }
            self.pump(lock(&self.socket));
            let deadline = self.driver.poll_timeout();
            let late = deadline.is_some_and(|at| at <= now());
            if late && turns < TURNS {
                turns = self.give_turn(turns);
                continue;
            }
            turns = 0;
            if late {
                self.driver.handle_timeout();
            } else if self.driver.park(&self.waker) {
                self.news.wait(deadline);
            }
        }
    }

    /// A deadline has passed. What came in time has to count (CLOCK-4), and telling of it is up to the threads that read and
    /// write. After a stop of the whole process they go on at the same time as this one, so they are given a turn; and
    /// another, if this thread had to wait for its own for so long that they may not have had theirs. How many turns that is.
    fn give_turn(&self, turns: usize) -> usize {
        // Not parked: what happens meanwhile is looked at right after, whether or not it is told.
        let until = now() + TURN;
        let undisturbed = !self.news.wait(Some(until));
        if undisturbed && now() <= until + 4 * TURN { TURNS } else { turns + 1 }
    }

    /// Closes the connection after one attempt to write `final_bytes`: whoever does not take a goodbye does not get one.
    fn close(&self, final_bytes: &[u8]) {
        let Socket { link, mut out, stalled, .. } = std::mem::take(&mut *lock(&self.socket));
        let Some(link) = link else { return };
        out.extend_from_slice(final_bytes);
        if !stalled && !out.is_empty() {
            let _ = link.write(&mut out);
        }
        // Whoever is in a system call on it returns.
        let _ = link.stream.shutdown(Shutdown::Both);
        link.resume.set();
    }

    // ── looking names up, and connecting ─────────────────────────────────

    /// Most systems cannot stop a lookup, and it may take minutes. So one that its dial has given up serves the next
    /// dial, and there is never more than one. A gateway has one name to look up: its connector's, or its proxy's.
    fn resolve(self: &Arc<Self>, link: LinkId, host: String, port: u16) {
        let resolver = self.resolver;
        if lock(&self.lookup).replace(link).is_none() {
            self.spawn("relay-lookup", move || resolver(&host, port), |own, found| own.resolved(found))
                .unwrap_or_else(|error| self.resolved(Err(error)));
        }
    }

    fn resolved(&self, found: io::Result<Vec<SocketAddr>>) {
        let Some(link) = lock(&self.lookup).take() else { return };
        match found {
            Ok(addresses) => self.driver.handle_resolved(link, &addresses),
            Err(error) => self.driver.handle_unresolved(link, &error),
        }
    }

    fn connect(self: &Arc<Self>, link: LinkId, attempt: Attempt, address: SocketAddr) {
        let connect = move || TcpStream::connect_timeout(&address, CONNECT);
        self.spawn("relay-link", connect, move |own, stream| own.connected(link, attempt, stream))
            .unwrap_or_else(|error| self.driver.handle_unreachable(link, attempt, &error));
    }

    /// Makes this the current link's socket, if it is wanted, and reads it to the end.
    fn connected(self: &Arc<Self>, id: LinkId, attempt: Attempt, stream: io::Result<TcpStream>) {
        let stream = match stream.and_then(link::prepare) {
            Ok(stream) => stream,
            Err(error) => return self.driver.handle_unreachable(id, attempt, &error),
        };
        // Locked first: whoever is to close it will find it.
        let mut socket = lock(&self.socket);
        if !self.failed.load(Ordering::Acquire) && self.driver.handle_connected(id, attempt) {
            let link = Arc::new(Link::new(id, stream));
            *socket = Socket { link: Some(link.clone()), ..Socket::default() };
            self.pump(socket);
            self.read(&link);
        }
    }

    /// The socket, if it is still this link's.
    fn socket_of(&self, link: &Arc<Link>) -> Option<MutexGuard<'_, Socket>> {
        Some(lock(&self.socket)).filter(|socket| socket.link.as_ref().is_some_and(|own| Arc::ptr_eq(own, link)))
    }

    // ── writing ──────────────────────────────────────────────────────────

    /// Writes what there is to write, and lets the reader go on.
    fn pump(self: &Arc<Self>, mut socket: MutexGuard<'_, Socket>) {
        let Some(link) = socket.link.clone() else { return };
        if self.driver.wants_read() && socket.paused {
            socket.paused = false;
            link.resume.set();
        }
        while !socket.stalled {
            self.driver.transmit(&mut socket.out);
            if socket.out.is_empty() {
                return;
            }
            let mut result = link.write(&mut socket.out);
            if result.as_ref().is_err_and(not_now) {
                socket.stalled = true;
                let link = link.clone();
                result = self.spawn("relay-writer", || (), move |own, ()| own.write(&link));
            }
            if let Err(error) = result {
                self.give_up_writing(&link, &mut socket, error);
            }
        }
    }

    /// The writer's thread: waits until the socket takes more, and writes until nothing is left.
    fn write(&self, link: &Arc<Link>) {
        let mut written = 0;
        while let Some(mut socket) = self.socket_of(link) {
            let out = &mut socket.out;
            out.drain(..written.min(out.len()));
            self.driver.transmit(out);
            let piece = out.get(..PIECE).unwrap_or(out).to_vec();
            written = piece.len();
            socket.stalled = written > 0;
            if written == 0 {
                socket.out = Vec::new();
                return;
            }
            drop(socket);
            if let Err(error) = link.write_all(&piece)
                && let Some(mut socket) = self.socket_of(link)
            {
                return self.give_up_writing(link, &mut socket, error);
            }
        }
    }

    /// What arrived before the connection broke is read to its end, and whether or not the queue has room, since there is
    /// not much of it (LINK-2).
    fn give_up_writing(&self, link: &Link, socket: &mut Socket, error: io::Error) {
        socket.stalled = true;
        socket.out = Vec::new();
        let _ = link.broken.set(error);
        self.driver.handle_write_error(link.id);
        link.resume.set();
    }
}

#[cfg(test)]
pub(crate) mod tests;
