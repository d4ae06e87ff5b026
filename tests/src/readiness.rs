//! A host without a runtime for the suites: one thread with a readiness loop, which drives the gateways of all tests of a
//! process at once.
//!
//! It drives [`Driver`]s, since the suites have handles. What a host of one's own looks like without those is the example
//! `readiness_loop` of relay-proto, which has a test of its own.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::ToSocketAddrs;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use relay_proto::client::Driver;
use relay_proto::gateway::LinkId;
use relay_proto::wire::{Attempt, IoRequest};

/// The token of the loop's own waker.
const NEWS: Token = Token(usize::MAX);

/// How often a member reads or writes at most before a deadline is judged.
const TURNS: usize = 512;

/// What reaches the loop from other threads.
enum News {
    Start(Driver),
    Wake(usize),
    Looked(usize, LinkId, io::Result<Vec<std::net::SocketAddr>>),
}

/// A way into the loop.
#[derive(Clone)]
struct Door {
    news: Sender<News>,
    waker: Arc<mio::Waker>,
}

impl Door {
    fn tell(&self, news: News) {
        self.news.send(news).expect("the loop lives as long as the process");
        self.waker.wake().expect("a poll to wake");
    }
}

/// Drives this gateway to its end.
///
/// # Panics
/// When the system gives no poll or no thread.
pub fn spawn(driver: Driver) {
    static DOOR: OnceLock<Door> = OnceLock::new();
    let door = DOOR.get_or_init(|| {
        let poll = Poll::new().expect("a poll");
        let (news, told) = channel();
        let waker = Arc::new(mio::Waker::new(poll.registry(), NEWS).expect("a waker"));
        let door = Door { news, waker };
        let inside = door.clone();
        thread::spawn(move || Loop { poll, told, door: inside, members: BTreeMap::new(), last: 0 }.run());
        door
    });
    door.tell(News::Start(driver));
}

struct Loop {
    poll: Poll,
    told: Receiver<News>,
    door: Door,
    members: BTreeMap<usize, Member>,
    /// The last number given to a member or a socket.
    last: usize,
}

struct Member {
    driver: Driver,
    waker: Waker,
    deadline: Option<Instant>,
    connecting: Vec<(LinkId, Attempt, Socket)>,
    link: Option<(LinkId, Socket)>,
    out: Vec<u8>,
    /// Why writing failed. What came before is still read.
    deaf: Option<io::Error>,
}

struct Socket {
    stream: TcpStream,
    token: Token,
    readable: bool,
    writable: bool,
}

/// Wakes one member.
struct DriverWaker(Door, usize);

impl Wake for DriverWaker {
    fn wake(self: Arc<Self>) {
        self.0.tell(News::Wake(self.1));
    }
}

impl Loop {
    fn run(mut self) {
        let mut events = Events::with_capacity(256);
        loop {
            let next = self.members.values().filter_map(|member| member.deadline).min();
            let wait = next.map(|at| at.saturating_duration_since(now()) + Duration::from_micros(999));
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result.expect("a poll that works"),
            }
            let mut due = Vec::new();
            for event in events.iter().filter(|event| event.token() != NEWS) {
                for (n, member) in &mut self.members {
                    let link = member.link.iter_mut().map(|(_, socket)| socket);
                    let mut all = link.chain(member.connecting.iter_mut().map(|(.., socket)| socket));
                    if let Some(socket) = all.find(|socket| socket.token == event.token()) {
                        socket.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
                        socket.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
                        due.push(*n);
                    }
                }
            }
            while let Ok(news) = self.told.try_recv() {
                match news {
                    News::Start(driver) => due.push(self.start(driver)),
                    News::Wake(n) => due.push(n),
                    News::Looked(n, link, result) => {
                        if let Some(member) = self.members.get(&n) {
                            match result {
                                Ok(addresses) => member.driver.handle_resolved(link, &addresses),
                                Err(error) => member.driver.handle_unresolved(link, &error),
                            }
                        }
                        due.push(n);
                    }
                }
            }
            let time = now();
            due.extend(self.members.iter().filter(|(_, m)| m.deadline.is_some_and(|at| at <= time)).map(|(n, _)| *n));
            due.sort_unstable();
            due.dedup();
            for n in due {
                self.pump(n);
            }
        }
    }

    fn start(&mut self, driver: Driver) -> usize {
        self.last += 1;
        let waker = Waker::from(Arc::new(DriverWaker(self.door.clone(), self.last)));
        let (connecting, out) = (Vec::new(), Vec::new());
        self.members
            .insert(self.last, Member { driver, waker, deadline: None, connecting, link: None, out, deaf: None });
        self.last
    }

    /// Does all that one gateway can do now.
    fn pump(&mut self, n: usize) {
        let Self { poll, door, members, last, .. } = self;
        let Some(member) = members.get_mut(&n) else { return };
        member.driver.unpark();
        loop {
            while let Some(request) = member.driver.poll_io() {
                *last += 1;
                member.act(request, poll, door, n, Token(*last));
            }
            if member.driver.is_finished() {
                members.remove(&n);
                return;
            }
            let moved = member.finish_connecting() | member.write() | member.read();
            member.deadline = member.driver.poll_timeout();
            let late = member.deadline.is_some_and(|at| at <= now());
            if late {
                // What lies in the socket comes first, whatever the last poll said of it (CLOCK-4).
                member.look_again();
                let mut turns = 0;
                while turns < TURNS && (member.write() | member.read()) {
                    turns += 1;
                }
                member.driver.handle_timeout();
            }
            if !moved && !late && member.driver.park(&member.waker) {
                return;
            }
        }
    }
}

impl Member {
    fn act(&mut self, request: IoRequest, poll: &Poll, door: &Door, n: usize, token: Token) {
        match request {
            IoRequest::Resolve { link, host, port } => {
                let door = door.clone();
                thread::spawn(move || {
                    let found = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
                    door.tell(News::Looked(n, link, found));
                });
            }
            IoRequest::Connect { link, attempt, address } => {
                let socket = TcpStream::connect(address).and_then(|mut stream| {
                    stream.set_nodelay(true)?;
                    poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
                    Ok(Socket { stream, token, readable: false, writable: false })
                });
                match socket {
                    Ok(socket) => self.connecting.push((link, attempt, socket)),
                    Err(error) => self.driver.handle_unreachable(link, attempt, &error),
                }
            }
            IoRequest::Abort { attempt, .. } => self.connecting.retain(|(_, other, _)| *other != attempt),
            IoRequest::Disconnect { final_bytes, .. } => {
                self.connecting.clear();
                if let Some((_, mut socket)) = self.link.take()
                    && self.deaf.take().is_none()
                {
                    self.out.extend_from_slice(&final_bytes);
                    let _ = socket.stream.write(&self.out);
                }
                self.out.clear();
            }
            other => panic!("work that this host does not know: {other:?}"),
        }
    }

    fn finish_connecting(&mut self) -> bool {
        let Some(at) = self.connecting.iter().position(|(.., socket)| socket.writable) else { return false };
        let (link, attempt, socket) = self.connecting.swap_remove(at);
        match socket.stream.take_error().and_then(|error| error.map_or(Ok(()), Err)) {
            Ok(()) => {
                if self.driver.handle_connected(link, attempt) {
                    self.link = Some((link, socket));
                }
            }
            Err(error) => self.driver.handle_unreachable(link, attempt, &error),
        }
        true
    }

    fn look_again(&mut self) {
        if let Some((_, socket)) = &mut self.link {
            (socket.readable, socket.writable) = (true, true);
        }
    }

    fn write(&mut self) -> bool {
        let Some((link, socket)) = self.link.as_mut().filter(|_| self.deaf.is_none()) else { return false };
        self.driver.transmit(&mut self.out);
        if self.out.is_empty() || !socket.writable {
            return false;
        }
        match socket.stream.write(&self.out) {
            Ok(written) => drop(self.out.drain(..written)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => socket.writable = false,
            Err(error) => {
                self.out.clear();
                self.driver.handle_write_error(*link);
                self.deaf = Some(error);
            }
        }
        true
    }

    fn read(&mut self) -> bool {
        let wanted = self.driver.wants_read() || self.deaf.is_some();
        let Some((link, socket)) = self.link.as_mut().filter(|(_, socket)| socket.readable && wanted) else {
            return false;
        };
        let mut bytes = [0; 16 << 10];
        match (socket.stream.read(&mut bytes), &self.deaf) {
            (Ok(0), Some(error)) => self.driver.handle_read_error(*link, error),
            (Ok(0), None) => self.driver.handle_eof(*link),
            (Ok(n), _) => self.driver.handle_bytes(*link, &bytes[..n]),
            (Err(error), _) if error.kind() == ErrorKind::WouldBlock => socket.readable = false,
            (Err(error), _) => self.driver.handle_read_error(*link, &error),
        }
        true
    }
}

#[allow(clippy::disallowed_methods, reason = "a host is what reads the clocks")]
fn now() -> Instant {
    Instant::now()
}
