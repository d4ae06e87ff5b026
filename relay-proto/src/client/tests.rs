//! The handle and the driver's loop over a network in memory, polled by hand, with wakers that count.

mod callers;
mod ends;
mod late;
mod wakes;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::{Clock, Event, Events, Gateway, Net, SystemClock, drive, gateway, gateway_with_clock};
use crate::action::Action;
use crate::gateway::{Ambiguous, Cause, Config, Limits, NotSent, Outcome, RequestOptions, State};
use crate::wire::{LinkOptions, ServerEvent, ServerLink};

/// Counts how often it was woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wakes {
    fn new() -> (Arc<Self>, Waker) {
        let wakes = Arc::new(Self::default());
        (wakes.clone(), Waker::from(wakes))
    }

    /// How often since it was asked last.
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

/// Does something when it is woken.
struct OnWake<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for OnWake<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

fn on_wake(wake: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(OnWake(wake)))
}

/// A task that holds something, and that nobody but its waker holds.
struct Holds<T>(#[allow(dead_code, reason = "held to be dropped")] T);

impl<T: Send + Sync + 'static> Wake for Holds<T> {
    fn wake(self: Arc<Self>) {}
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// One connection, in memory.
#[derive(Default)]
struct Pipe {
    inbound: VecDeque<u8>,
    outbound: Vec<u8>,
    /// How many more bytes the socket takes.
    room: usize,
    end: bool,
    /// The runtime has not noticed what happened to the socket.
    unnoticed: bool,
    /// Behind what there is come empty lines without end.
    endless: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.inbound.is_empty() && self.endless {
            // Empty lines, in a message.
            self.inbound.extend([0x81, 126, 0xf0, 0x00]);
            self.inbound.extend([b'\n'; 0xf000]);
        }
        if self.inbound.is_empty() && !self.end {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        io::Read::read(&mut self.inbound, bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(self.room);
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.room -= n;
        self.outbound.extend_from_slice(&bytes[..n]);
        Ok(n)
    }
}

/// A clock that stands still until it is moved.
#[derive(Clone)]
struct Still(Arc<Mutex<Instant>>);

impl Default for Still {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(SystemClock.now())))
    }
}

impl Clock for Still {
    fn now(&self) -> Instant {
        *self.0.lock().unwrap()
    }
}

/// A network whose connects succeed at once, and whose time does not pass by itself.
#[derive(Clone, Default)]
struct Memory {
    clock: Still,
    pipe: Arc<Mutex<Pipe>>,
    sockets: Arc<AtomicUsize>,
    connects: Arc<AtomicUsize>,
}

/// A socket, counted.
struct Stream(Memory);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.sockets.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Net for Memory {
    type Stream = Stream;
    type Resolving = Ready<io::Result<Vec<SocketAddr>>>;
    type Connecting = Ready<io::Result<Stream>>;

    fn resolve(&mut self, _: String, port: u16) -> Self::Resolving {
        ready(Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]))
    }

    fn connect(&mut self, _: SocketAddr) -> Self::Connecting {
        *self.pipe.lock().unwrap() = Pipe { room: usize::MAX, ..Pipe::default() };
        self.connects.fetch_add(1, Ordering::SeqCst);
        assert_eq!(self.sockets.fetch_add(1, Ordering::SeqCst), 0, "one socket at a time");
        ready(Ok(Stream(self.clone())))
    }

    fn poll_read(stream: &mut Stream, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut pipe = stream.0.pipe.lock().unwrap();
        let read = if pipe.unnoticed { Err(io::ErrorKind::WouldBlock.into()) } else { pipe.read(bytes) };
        if read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            pipe.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(read)
    }

    fn poll_write(stream: &mut Stream, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut pipe = stream.0.pipe.lock().unwrap();
        let written = if pipe.unnoticed { Err(io::ErrorKind::WouldBlock.into()) } else { pipe.write(bytes) };
        if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            pipe.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(written)
    }

    fn try_read(stream: &mut Stream, bytes: &mut [u8]) -> io::Result<usize> {
        stream.0.pipe.lock().unwrap().read(bytes)
    }

    fn try_write(stream: &mut Stream, bytes: &[u8]) -> io::Result<usize> {
        stream.0.pipe.lock().unwrap().write(bytes)
    }

    fn poll_timer(&mut self, _: &mut Context<'_>, at: Instant) -> Poll<()> {
        if self.clock.now() < at { Poll::Pending } else { Poll::Ready(()) }
    }
}

/// A gateway, its driver, and a connector that says what the test says.
struct Bench {
    gateway: Gateway,
    events: Events,
    net: Memory,
    driving: Pin<Box<dyn Future<Output = ()>>>,
    /// How often the driver was woken, by whomever.
    wakes: Arc<Wakes>,
    waker: Waker,
    server: ServerLink,
    /// What the gateway sent.
    frames: Vec<serde_json::Value>,
}

impl Bench {
    fn new(config: Config) -> Self {
        let net = Memory::default();
        let (gateway, events, driver) = gateway_with_clock(config.build().unwrap(), None, net.clock.clone());
        let (wakes, waker) = Wakes::new();
        let driving = Box::pin(drive(driver, net.clone()));
        let server = server();
        Self { gateway, events, net, driving, wakes, waker, server, frames: Vec::new() }
    }

    /// A gateway whose link is ready, and that has nothing to do.
    fn ready(config: Config) -> Self {
        let mut bench = Self::new(config);
        bench.link();
        bench
    }

    /// Takes a new link to the end of its handshake.
    fn link(&mut self) {
        self.settle();
        self.send(r#"{"type":"descriptor","descriptor":{"platform":"discord"}}"#);
        self.settle();
        assert_eq!(self.gateway.state(), State::Ready);
        while self.event().is_some() {}
        self.frames.clear();
        self.wakes.take();
    }

    /// Polls the driver for as long as it is woken. How often that was.
    fn turn(&mut self) -> usize {
        let mut polls = 0;
        while polls == 0 || self.wakes.take() > 0 {
            let _ = poll(self.driving.as_mut(), &self.waker);
            polls += 1;
            assert!(polls < 1000, "the driver spins");
        }
        polls
    }

    /// Carries bytes to and fro until neither side has any.
    fn settle(&mut self) {
        loop {
            self.turn();
            if self.net.connects.swap(0, Ordering::SeqCst) > 0 {
                self.server = server();
            }
            let sent = std::mem::take(&mut self.net.pipe.lock().unwrap().outbound);
            self.server.handle_bytes(&sent);
            while let Some(event) = self.server.poll_event() {
                match event {
                    ServerEvent::Request(_) => self.server.accept(),
                    ServerEvent::Message(frame) => self.frames.push(serde_json::from_slice(&frame).unwrap()),
                    ServerEvent::Get(_) | ServerEvent::Post(_) | ServerEvent::Pong(_) | ServerEvent::Ended(_) => {}
                }
            }
            if self.server.transmit().is_empty() {
                return;
            }
            self.deliver();
        }
    }

    /// Puts what the connector has to say on the wire.
    fn deliver(&mut self) {
        let mut pipe = self.net.pipe.lock().unwrap();
        pipe.inbound.extend(self.server.transmit());
        self.server.consume(usize::MAX);
        if let Some(reader) = pipe.reader.take() {
            reader.wake();
        }
    }

    /// The process is stopped for so long. What the connector had to say arrives meanwhile, and nobody notices.
    fn stop(&mut self, time: Duration) {
        let mut pipe = self.net.pipe.lock().unwrap();
        pipe.inbound.extend(self.server.transmit());
        self.server.consume(usize::MAX);
        pipe.unnoticed = true;
        *self.net.clock.0.lock().unwrap() += time;
    }

    fn send(&mut self, frame: &str) {
        self.server.send_text(format!("{frame}\n"));
    }

    fn send_message(&mut self, buffer_id: Option<usize>, text: &str) {
        let id = buffer_id.map_or(String::new(), |id| format!(r#""bufferId":"{id}","#));
        self.send(&format!(
            r#"{{"type":"inbound",{id}"event":{{"text":"{text}","source":{{"platform":"discord"}}}}}}"#
        ));
    }

    /// The next event, if there is one.
    fn event(&mut self) -> Option<Event> {
        match self.events.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(event) => event,
            Poll::Pending => None,
        }
    }

    fn call(&self) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
        Box::pin(self.gateway.call(&Action::typing("c1").to_json(), &RequestOptions::default()))
    }

    fn answer(&mut self, request: usize) {
        let id = self.frames[request]["requestId"].as_str().unwrap().to_owned();
        self.send(&format!(r#"{{"type":"outbound_result","requestId":"{id}","result":{{"success":true}}}}"#));
    }

    fn sockets(&self) -> usize {
        self.net.sockets.load(Ordering::SeqCst)
    }
}

fn server() -> ServerLink {
    ServerLink::new(&LinkOptions::default(), None).unwrap()
}

fn config() -> Config {
    Config::new("ws://127.0.0.1:1").identity("discord", "b")
}

/// Runs a test that hangs when it fails.
fn in_time(test: impl FnOnce() + Send + 'static) {
    let (done, end) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    match end.recv_timeout(Duration::from_secs(600)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("a deadlock"),
        _ => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

#[test]
fn whatever_users_hold_may_go_to_any_thread() {
    fn future<T: Send + 'static>(_: &T) {}
    fn shared<T: Send + Sync + Unpin + 'static>() {}
    shared::<Gateway>();
    shared::<Events>();
    shared::<Event>();
    shared::<super::Driver>();
    shared::<super::RequestError>();
    shared::<super::Delivery>();
    fn sent<T: Send>(_: &T) {}
    let (gateway, mut events, driver) = gateway(config().build().unwrap(), None);
    future(&gateway.call(&Action::typing("c").to_json(), &RequestOptions::default()));
    future(&gateway.go_idle());
    future(&gateway.go_dormant());
    future(&gateway.ended());
    sent(&gateway.send("c", "text"));
    sent(&gateway.edit("c", "m", "text"));
    sent(&gateway.typing("c"));
    sent(&gateway.follow_up("s", "discord.x", "text"));
    sent(&gateway.chat_info("c"));
    sent(&gateway.request(Action::typing("c"), RequestOptions::default()));
    sent(&gateway.state_changed(State::Ready));
    sent(&events.next());
    future(&drive(driver, Memory::default()));
    future(&gateway.close());
    fn stream<T: futures_core::Stream<Item = Event>>(_: &T) {}
    stream(&events);
}
