//! One listener, and connections to it, in memory. What is written is there at once; how much fits is up to the listener's
//! end.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use shuttle::rand::Rng as _;

pub use std::net::{Shutdown, SocketAddr};

use crate::asleep::sleep;
use crate::{own, switch};

/// How likely it is that a call which waits for a while ends after a turn of other threads.
const ENOUGH: f64 = 0.4;

thread_local! {
    /// Of the execution that this thread of the operating system has under way.
    static LISTENER: RefCell<Option<Arc<Listening>>> = RefCell::default();
    static DIALLED: Dialled = Dialled::default();
    static TIMEOUTS: Cell<bool> = const { Cell::new(true) };
}

/// Whether sockets can be told how long to wait.
pub fn has_timeouts() -> bool {
    TIMEOUTS.get()
}

/// From now on they cannot, as on systems that say of a call which took too long that nobody knows what it did.
pub fn without_timeouts() {
    TIMEOUTS.set(false);
}

/// The ends that dialled, and who waits for the last to go.
#[derive(Default)]
struct Dialled {
    left: Cell<usize>,
    waiting: Cell<Option<Waker>>,
}

/// Waits until no end that dialled is left.
pub fn wait_for_none() {
    sleep(poll_fn(|context| {
        DIALLED.with(|dialled| {
            if dialled.left.get() == 0 {
                return Poll::Ready(());
            }
            dialled.waiting.set(Some(context.waker().clone()));
            Poll::Pending
        })
    }));
}

pub(crate) fn reset() {
    LISTENER.take();
    TIMEOUTS.set(true);
    DIALLED.with(|dialled| {
        dialled.left.set(0);
        dialled.waiting.take();
    });
}

#[derive(Debug)]
struct Listening {
    waker: Waker,
    waiting: Mutex<VecDeque<Arc<Connection>>>,
    closed: AtomicBool,
}

/// The only listener, at every address.
#[derive(Debug)]
pub struct Listener(Arc<Listening>);

impl Listener {
    /// Listens. The waker is called when there is a connection, and when something happens on one.
    pub fn bind(waker: Waker) -> Self {
        let listening = Arc::new(Listening { waker, waiting: Mutex::default(), closed: AtomicBool::new(false) });
        LISTENER.set(Some(listening.clone()));
        Self(listening)
    }

    /// The next connection.
    pub fn accept(&self) -> Option<Accepted> {
        own(&self.0.waiting).pop_front().map(Accepted)
    }

    /// Whether to refuse connections from now on.
    pub fn refuse(&self, refuse: bool) {
        self.0.closed.store(refuse, Ordering::SeqCst);
    }
}

/// A connection, as both its ends see it.
#[derive(Debug)]
struct Connection {
    listener: Waker,
    state: Mutex<Pipes>,
}

#[derive(Debug)]
struct Pipes {
    up: VecDeque<u8>,
    /// How many more bytes the way up takes.
    room: usize,
    down: VecDeque<u8>,
    /// The end that dialled is gone.
    hung_up: bool,
    /// The end that accepted is gone: how.
    over: Option<Over>,
    /// Who waits to read, and who to write.
    wakers: Vec<Waker>,
}

/// How the accepting end went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Closed,
    Reset,
}

impl Connection {
    fn change<T>(&self, change: impl FnOnce(&mut Pipes) -> T) -> T {
        let (result, wakers) = {
            let mut pipes = own(&self.state);
            (change(&mut pipes), std::mem::take(&mut pipes.wakers))
        };
        for waker in wakers {
            waker.wake();
        }
        result
    }
}

/// The end that accepted. None of this lets others run.
#[derive(Debug)]
pub struct Accepted(Arc<Connection>);

impl Accepted {
    /// What has arrived.
    pub fn take(&self) -> Vec<u8> {
        self.0.change(|pipes| pipes.up.drain(..).collect())
    }

    /// Whether the other end is gone.
    pub fn is_hung_up(&self) -> bool {
        own(&self.0.state).hung_up
    }

    /// Writes.
    pub fn give(&self, bytes: &[u8]) {
        self.0.change(|pipes| pipes.down.extend(bytes));
    }

    /// Takes so many bytes more than before, and no others.
    pub fn make_room(&self, room: usize) {
        self.0.change(|pipes| pipes.room = room);
    }

    /// Closes, behind what was written.
    pub fn close(&self) {
        self.0.change(|pipes| pipes.over = pipes.over.or(Some(Over::Closed)));
    }

    /// Breaks the connection: nothing more is read or written.
    pub fn reset(&self) {
        self.0.change(|pipes| {
            pipes.over = Some(Over::Reset);
            pipes.down.clear();
        });
    }
}

/// The end that dialled.
#[derive(Debug)]
pub struct TcpStream {
    connection: Arc<Connection>,
    nonblocking: AtomicBool,
    timed_read: AtomicBool,
    timed_write: AtomicBool,
}

impl TcpStream {
    /// Connects, or is refused, at once.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect_timeout(_: &SocketAddr, _: Duration) -> io::Result<Self> {
        switch();
        let listening = LISTENER.with_borrow(Clone::clone);
        let listening = listening.filter(|listening| !listening.closed.load(Ordering::SeqCst));
        let Some(listening) = listening else { return Err(ErrorKind::ConnectionRefused.into()) };
        let pipes = Pipes {
            up: VecDeque::new(),
            room: usize::MAX,
            down: VecDeque::new(),
            hung_up: false,
            over: None,
            wakers: Vec::new(),
        };
        let connection = Arc::new(Connection { listener: listening.waker.clone(), state: Mutex::new(pipes) });
        own(&listening.waiting).push_back(connection.clone());
        listening.waker.wake_by_ref();
        DIALLED.with(|dialled| dialled.left.update(|left| left + 1));
        let [nonblocking, timed_read, timed_write] = <[AtomicBool; 3]>::default();
        Ok(Self { connection, nonblocking, timed_read, timed_write })
    }

    /// Does nothing.
    ///
    /// # Errors
    /// None.
    pub fn set_nodelay(&self, _: bool) -> io::Result<()> {
        Ok(())
    }

    /// Whether reads and writes that begin from now on wait.
    ///
    /// # Errors
    /// None.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        switch();
        self.nonblocking.store(nonblocking, Ordering::SeqCst);
        Ok(())
    }

    /// Whether reads that begin from now on give up after a while.
    ///
    /// # Errors
    /// None.
    ///
    /// # Panics
    /// [Without timeouts](without_timeouts).
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        assert!(has_timeouts(), "this system has no timeouts");
        switch();
        self.timed_read.store(timeout.is_some(), Ordering::SeqCst);
        Ok(())
    }

    /// Whether writes that begin from now on give up after a while.
    ///
    /// # Errors
    /// None.
    ///
    /// # Panics
    /// [Without timeouts](without_timeouts).
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        assert!(has_timeouts(), "this system has no timeouts");
        switch();
        self.timed_write.store(timeout.is_some(), Ordering::SeqCst);
        Ok(())
    }

    /// Closes the connection in both directions.
    ///
    /// # Errors
    /// None.
    pub fn shutdown(&self, _: Shutdown) -> io::Result<()> {
        switch();
        self.hang_up();
        Ok(())
    }

    fn hang_up(&self) {
        self.connection.change(|pipes| pipes.hung_up = true);
        self.connection.listener.wake_by_ref();
    }

    /// Reads, or waits for something to read.
    pub fn poll_read(&self, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut pipes = own(&self.connection.state);
        if pipes.over == Some(Over::Reset) && !pipes.hung_up {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        if pipes.down.is_empty() && pipes.over.is_none() && !pipes.hung_up {
            pipes.wakers.push(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(io::Read::read(&mut pipes.down, bytes))
    }

    /// Writes, or waits for room.
    pub fn poll_write(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = {
            let mut pipes = own(&self.connection.state);
            if pipes.over.is_some() || pipes.hung_up {
                return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
            }
            let written = bytes.len().min(pipes.room);
            if written == 0 {
                pipes.wakers.push(context.waker().clone());
                return Poll::Pending;
            }
            pipes.room -= written;
            pipes.up.extend(bytes.iter().take(written));
            written
        };
        self.connection.listener.wake_by_ref();
        Poll::Ready(Ok(written))
    }

    /// A system call: it waits, waits for a while, or does not, by what was set when it began. A while is chosen at random,
    /// in turns of other threads, for the clock stands still.
    fn call(
        &self,
        timed: &AtomicBool,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> io::Result<usize> {
        switch();
        let nonblocking = self.nonblocking.load(Ordering::SeqCst);
        if !nonblocking && !timed.load(Ordering::SeqCst) {
            return sleep(poll_fn(poll));
        }
        loop {
            if let Poll::Ready(result) = poll(&mut Context::from_waker(Waker::noop())) {
                return result;
            }
            if nonblocking || shuttle::rand::thread_rng().gen_bool(ENOUGH) {
                return Err(ErrorKind::WouldBlock.into());
            }
            switch();
        }
    }
}

impl io::Read for &TcpStream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.call(&self.timed_read, |context| self.poll_read(context, bytes))
    }
}

impl io::Write for &TcpStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.call(&self.timed_write, |context| self.poll_write(context, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        self.hang_up();
        let last = DIALLED.with(|dialled| {
            // Those of an execution that failed are dropped late.
            dialled.left.update(|left| left.saturating_sub(1));
            if dialled.left.get() == 0 { dialled.waiting.take() } else { None }
        });
        if let Some(waiting) = last {
            waiting.wake();
        }
    }
}

/// Looks names up.
pub trait ToSocketAddrs {
    /// The addresses.
    type Iter: Iterator<Item = SocketAddr>;

    /// Looks a name up.
    ///
    /// # Errors
    /// None.
    fn to_socket_addrs(&self) -> io::Result<Self::Iter>;
}

/// Every name is this host's.
impl ToSocketAddrs for (&str, u16) {
    type Iter = std::iter::Once<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        switch();
        Ok(std::iter::once(SocketAddr::from(([127, 0, 0, 1], self.1))))
    }
}
