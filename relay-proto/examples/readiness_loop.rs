//! A host without a runtime: one thread, one readiness loop, many gateways.
//!
//! This is what to read before writing a host of one's own. [`GatewayIo`] is a whole gateway that speaks in bytes; everything
//! here is about moving those bytes: sockets that are ready, one deadline for all, and names that are looked up on a thread
//! because most systems can do it only so. Each gateway repeats what it is told.
//!
//! `cargo run -p hermes-relay-proto --example readiness_loop -- http://127.0.0.1:8765`
//!
//! Many gateways need an id each, which a connector knows them by. For a hundred of them, start it with
//! `relay connector --listen 127.0.0.1:8765 $(printf -- '--gateway-env gateway-%d=RELAY_SECRET ' $(seq 0 99))`, with their
//! secret in `RELAY_SECRET` at both ends, and put a 100 behind the address above.
#![allow(clippy::disallowed_methods, reason = "a host is what reads the clocks")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use relay_proto::action;
use relay_proto::gateway::{Config, ConfigError, Event, LinkId, Output, RequestOptions};
use relay_proto::time::Now;
use relay_proto::wire::{Attempt, GatewayIo, IoRequest};

/// The token of the waker; sockets have the others.
const WAKER: Token = Token(usize::MAX);
/// How much one gateway may do before the others have their turn.
const ROUNDS: usize = 64;
/// How many turns it may have before a deadline of its own is judged.
const BACKLOG: usize = 16;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: readiness_loop URL [HOW_MANY]";
    let url = arguments.next().ok_or(usage)?;
    let many = arguments.next().map_or(Ok(1), |many| many.parse())?;
    let mut host = Host::new(configs(&url, many, std::env::var("RELAY_SECRET").ok())?)?;
    let remote = host.remote();
    ctrlc::set_handler(move || remote.close())?;
    let remote = host.remote();
    thread::Builder::new().spawn(move || {
        // The end of input closes in order.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        remote.close();
    })?;
    while host.is_alive() {
        host.turn()?;
    }
    Ok(())
}

/// What many gateways are told: the secret is that of all of them.
///
/// # Errors
/// Without a secret there are no ids, and a connector takes all of them for one gateway, whose links replace each other.
pub(crate) fn configs(url: &str, many: usize, secret: Option<String>) -> Result<Vec<Config>, &'static str> {
    if many > 1 && secret.is_none() {
        return Err("put a secret into RELAY_SECRET: without one the connector takes all of them for one gateway");
    }
    let config = |n: usize| {
        let config = Config::new(url).identity("discord", format!("bot-{n}"));
        match &secret {
            Some(secret) => config.credentials(format!("gateway-{n}"), secret.as_str()),
            None => config,
        }
    };
    Ok((0..many).map(config).collect())
}

/// One thread's gateways.
pub(crate) struct Host {
    poll: Poll,
    events: Events,
    members: Vec<Member>,
    /// Those that have more to do than they could do in their last turn.
    busy: Vec<usize>,
    /// Sockets so far. A socket's token says whose it is: the remainder by the number of members.
    sockets: usize,
    origin: Instant,
    news: Receiver<News>,
    remote: Remote,
}

/// What other threads tell the loop.
enum News {
    /// A name was looked up.
    Lookup { member: usize, link: LinkId, result: io::Result<Vec<SocketAddr>> },
    /// It is time to go.
    Close,
}

/// Reaches the loop from other threads.
#[derive(Clone)]
pub(crate) struct Remote {
    news: Sender<News>,
    waker: Arc<Waker>,
}

/// One gateway and its sockets.
struct Member {
    gateway: GatewayIo,
    /// Connections in the making: several at a time when a name has several addresses.
    connecting: Vec<(LinkId, Attempt, Socket)>,
    /// The link's connection.
    link: Option<(LinkId, Socket)>,
}

/// A socket, and what the last events said of it: they come once for each change.
struct Socket {
    stream: TcpStream,
    token: Token,
    readable: bool,
    writable: bool,
}

impl Host {
    /// Starts gateways: all of them want to dial at once.
    ///
    /// # Errors
    /// When a configuration is wrong, or the system gives no poll.
    pub(crate) fn new(configs: impl IntoIterator<Item = Config>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let (sender, news) = channel();
        let remote = Remote { news: sender, waker: Arc::new(Waker::new(poll.registry(), WAKER)?) };
        let mut host = Self {
            poll,
            events: Events::with_capacity(256),
            members: Vec::new(),
            busy: Vec::new(),
            sockets: 0,
            origin: Instant::now(),
            news,
            remote,
        };
        let now = host.now();
        for (n, config) in configs.into_iter().enumerate() {
            let settings =
                config.build().map_err(|error: ConfigError| io::Error::new(ErrorKind::InvalidInput, error))?;
            // Request ids and the waits between dials come from it: no two gateways may have the same.
            let seed = getrandom::u64().map_err(io::Error::other)?;
            let gateway = GatewayIo::new(settings, None, seed, now);
            host.members.push(Member { gateway, connecting: Vec::new(), link: None });
            host.busy.push(n);
        }
        Ok(host)
    }

    /// Whether any gateway has not ended.
    pub(crate) fn is_alive(&self) -> bool {
        self.members.iter().any(|member| !member.gateway.machine().state().is_terminal())
    }

    /// A way to reach the loop from other threads.
    pub(crate) fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// Shuts every gateway down, in order: turn until none is alive.
    fn close(&mut self) {
        let now = self.now();
        for n in 0..self.members.len() {
            if let Some(member) = self.members.get_mut(n) {
                member.gateway.machine_mut().close(now);
            }
            self.busy.push(n);
        }
    }

    /// Waits for bytes, a lookup or the next deadline, whichever comes first, and does what follows from it.
    ///
    /// # Errors
    /// When the system's poll fails.
    pub(crate) fn turn(&mut self) -> io::Result<()> {
        let deadline = self.members.iter().filter_map(|member| member.gateway.poll_timeout()).map(|next| next.at).min();
        let wait = deadline.map(|at| at.saturating_sub(self.now().monotonic));
        // A poll counts in milliseconds, and one that is cut short would come back at once, again and again.
        let wait = wait.map(|wait| wait.saturating_add(Duration::from_micros(999)));
        let wait = if self.busy.is_empty() { wait } else { Some(Duration::ZERO) };
        match self.poll.poll(&mut self.events, wait) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let mut busy = std::mem::take(&mut self.busy);
        for event in self.events.iter().filter(|event| event.token() != WAKER) {
            let Some(owner) = event.token().0.checked_rem(self.members.len()) else { continue };
            let Some(socket) = self.members.get_mut(owner).and_then(|member| member.socket(event.token())) else {
                continue;
            };
            socket.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
            socket.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
            busy.push(owner);
        }
        let now = self.now();
        while let Ok(news) = self.news.try_recv() {
            match news {
                News::Lookup { member: n, link, result } => {
                    if let Some(member) = self.members.get_mut(n) {
                        match result {
                            Ok(addresses) => member.gateway.handle_resolved(link, &addresses, now),
                            Err(error) => member.gateway.handle_unresolved(link, &error.to_string(), now),
                        }
                        busy.push(n);
                    }
                }
                News::Close => self.close(),
            }
        }
        for n in busy {
            self.pump(n);
        }
        for n in 0..self.members.len() {
            if self.members.get(n).is_some_and(|member| member.is_late(now)) {
                self.time_out(n);
            }
        }
        Ok(())
    }

    /// A deadline has passed. What came in time counts, also when this process was stopped meanwhile: so first everything
    /// that lies in the socket, whatever the poll said of it, and only then the deadline (CLOCK-4).
    fn time_out(&mut self, n: usize) {
        if let Some((_, socket)) = self.members.get_mut(n).and_then(|member| member.link.as_mut()) {
            (socket.readable, socket.writable) = (true, true);
        }
        // More than a socket holds, and yet not for ever: a peer may talk without end.
        for _ in 0..BACKLOG {
            if !self.pump(n) {
                break;
            }
        }
        let now = self.now();
        if let Some(member) = self.members.get_mut(n).filter(|member| member.is_late(now)) {
            member.gateway.handle_timeout(now);
            // Whoever has to wait for a deadline is idle, and can do with less memory.
            member.gateway.shrink();
        }
        self.pump(n);
    }

    /// Does everything that one gateway can do now, until it has to wait. Whether it has more to do, for its next turn.
    fn pump(&mut self, n: usize) -> bool {
        for _ in 0..ROUNDS {
            let now = self.now();
            let Some(member) = self.members.get_mut(n) else { return false };
            // The rule: drain every output …
            if let Some(action) = member.gateway.poll_output(now) {
                // An application that keeps the ids of its requests learns here how each ended; notices are for a log.
                if let Output::Link(request) = action {
                    self.perform(n, request);
                }
                continue;
            }
            // … hand the application its events …
            if let Some(event) = member.gateway.machine_mut().poll_event() {
                member.answer(event, now);
                continue;
            }
            // … move bytes, …
            if member.finish_connecting(now) || member.write(now) || member.read(now) {
                continue;
            }
            // … and wait.
            return false;
        }
        self.busy.push(n);
        true
    }

    /// Does what the machine asks for.
    fn perform(&mut self, n: usize, request: IoRequest) {
        let (now, members) = (self.now(), self.members.len());
        let Some(member) = self.members.get_mut(n) else { return };
        match request {
            IoRequest::Resolve { link, host, port } => self.remote.look_up(n, link, host, port),
            IoRequest::Connect { link, attempt, address } => {
                let token = Token(self.sockets * members + n);
                let registry = self.poll.registry();
                let connecting = TcpStream::connect(address).and_then(|mut stream| {
                    stream.set_nodelay(true)?;
                    registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
                    Ok(Socket { stream, token, readable: false, writable: false })
                });
                match connecting {
                    Ok(socket) => {
                        self.sockets += 1;
                        member.connecting.push((link, attempt, socket));
                    }
                    Err(error) => member.gateway.handle_unreachable(link, attempt, &error.to_string(), now),
                }
            }
            // Dropping a socket closes it, and takes it out of the poll.
            IoRequest::Abort { attempt, .. } => member.connecting.retain(|(_, other, _)| *other != attempt),
            IoRequest::Disconnect { final_bytes, .. } => {
                member.connecting.clear();
                if let Some((_, mut socket)) = member.link.take() {
                    let _ = socket.stream.write(&final_bytes);
                    let _ = socket.stream.shutdown(Shutdown::Write);
                }
            }
            _ => {}
        }
    }

    /// What the clocks say.
    fn now(&self) -> Now {
        let unix = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs());
        Now { monotonic: self.origin.elapsed(), unix }
    }
}

impl Member {
    /// Whether a deadline has passed.
    fn is_late(&self, now: Now) -> bool {
        self.gateway.poll_timeout().is_some_and(|deadline| deadline.at <= now.monotonic)
    }

    fn socket(&mut self, token: Token) -> Option<&mut Socket> {
        let link = self.link.iter_mut().map(|(_, socket)| socket);
        link.chain(self.connecting.iter_mut().map(|(.., socket)| socket)).find(|socket| socket.token == token)
    }

    /// The application: it repeats what it is told, and acknowledges.
    fn answer(&mut self, event: Event, now: Now) {
        match event {
            Event::Delivery(delivered) => {
                let machine = self.gateway.machine_mut();
                if let Some(message) = delivered.content.message() {
                    let action = action::Action::answer(message, &format!("you said: {}", message.text()));
                    // It leaves with the acknowledgement; how it ends is an action above. One that needs its answer
                    // delivered acknowledges on that action instead, or nacks.
                    let _ = machine.request(&action.to_json(), &RequestOptions::default(), now);
                }
                // Every delivery is acknowledged, also one that is not used: otherwise it holds up the others behind it.
                machine.ack(delivered.id, now);
            }
            Event::Disconnected { ended, .. } => eprintln!("disconnected: {ended}"),
            _ => {}
        }
    }

    /// A socket that is writable has connected, or failed to. Whether there was one.
    fn finish_connecting(&mut self, now: Now) -> bool {
        let Some(at) = self.connecting.iter().position(|(.., socket)| socket.writable) else { return false };
        let (link, attempt, socket) = self.connecting.swap_remove(at);
        match socket.stream.take_error().and_then(|error| error.map_or(Ok(()), Err)) {
            Ok(()) => {
                if self.gateway.handle_connected(link, attempt, now) {
                    self.link = Some((link, socket));
                }
            }
            Err(error) => self.gateway.handle_unreachable(link, attempt, &error.to_string(), now),
        }
        true
    }

    /// Writes once. Whether anything came of it.
    fn write(&mut self, now: Now) -> bool {
        let Some((link, socket)) = self.link.as_mut().filter(|(_, socket)| socket.writable) else { return false };
        if self.gateway.transmit().is_empty() {
            return false;
        }
        match socket.stream.write(self.gateway.transmit()) {
            Ok(n) => self.gateway.consume(n, now),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                socket.writable = false;
                if error.kind() != ErrorKind::WouldBlock {
                    // What the peer said before is still to be read, so reading goes on.
                    self.gateway.handle_write_error(*link, now);
                }
            }
        }
        true
    }

    /// Reads once. Whether anything came of it.
    fn read(&mut self, now: Now) -> bool {
        let wanted = self.gateway.wants_read();
        let Some((link, socket)) = self.link.as_mut().filter(|(_, socket)| socket.readable && wanted) else {
            return false;
        };
        let mut bytes = [0; 16 << 10];
        match socket.stream.read(&mut bytes) {
            Ok(0) => self.gateway.handle_eof(*link, now),
            Ok(n) => self.gateway.handle_bytes(*link, bytes.get(..n).unwrap_or_default(), now),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => socket.readable = false,
            Err(error) => self.gateway.handle_read_error(*link, &error.to_string(), now),
        }
        true
    }
}

impl Remote {
    /// Shuts every gateway down, in order.
    pub(crate) fn close(&self) {
        self.tell(News::Close);
    }

    /// Looks a name up on a thread. What a dial has given up by then is ignored by the machine.
    fn look_up(&self, member: usize, link: LinkId, host: String, port: u16) {
        let remote = self.clone();
        let thread = thread::Builder::new().spawn(move || {
            let result = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
            remote.tell(News::Lookup { member, link, result });
        });
        if let Err(error) = thread {
            // A dial that fails like any other, and is tried again.
            self.tell(News::Lookup { member, link, result: Err(error) });
        }
    }

    /// The loop may be gone, and then there is nobody to tell.
    fn tell(&self, news: News) {
        if self.news.send(news).is_ok() {
            let _ = self.waker.wake();
        }
    }
}
