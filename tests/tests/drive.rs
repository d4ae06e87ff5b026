//! The driver's loop over a network that counts: what it does not do while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::{Duration, Instant};

use relay_proto::action::Action;
use relay_proto::client::{self, Driver, Event, Net, drive};
use relay_proto::gateway::{Cause, Config, Outcome, RequestOptions, State};
use relay_tests::app::{IsMessage as _, config, quick};
use relay_tests::frames::message;
use relay_tests::guard;
use relay_tests::peer::{Link, Peer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Counts how often it was woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A network on which nothing ever happens.
struct Silence;

impl Net for Silence {
    type Stream = ();
    type Resolving = std::future::Pending<io::Result<Vec<SocketAddr>>>;
    type Connecting = std::future::Pending<io::Result<()>>;

    fn resolve(&mut self, _: String, _: u16) -> Self::Resolving {
        std::future::pending()
    }

    fn connect(&mut self, _: SocketAddr) -> Self::Connecting {
        std::future::pending()
    }

    fn poll_read((): &mut (), _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_write((): &mut (), _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_timer(&mut self, _: &mut Context<'_>, _: Instant) -> Poll<()> {
        Poll::Pending
    }
}

fn start(config: Config) -> (client::Gateway, client::Events, Driver) {
    client::gateway(config.build().unwrap(), None)
}

fn nowhere() -> Config {
    Config::new("ws://127.0.0.1:1").identity("discord", "b")
}

#[test]
fn a_driver_that_waits_for_a_connection_sleeps() {
    let (gateway, _events, driver) = start(nowhere());
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut driving = Box::pin(drive(driver, Silence));
    assert!(driving.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(gateway.state(), State::Dialing);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0, "nothing to do, and nobody to wake");
    gateway.wake();
    gateway.hold_redial();
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0, "news of nothing is none");
    gateway.reconnect();
    drop(driving);
    assert_eq!(gateway.state(), State::Closed, "without its driver a gateway has ended");
}

/// Tokio's sockets, counted.
#[derive(Clone, Default)]
struct Count(Arc<Counters>);

#[derive(Default)]
struct Counters {
    open: AtomicUsize,
    most: AtomicUsize,
    made: AtomicUsize,
}

struct Counted {
    stream: TcpStream,
    _live: Live,
}

struct Live(Arc<Counters>);

impl Live {
    fn new(counters: &Arc<Counters>) -> Self {
        let open = counters.open.fetch_add(1, Ordering::SeqCst) + 1;
        counters.most.fetch_max(open, Ordering::SeqCst);
        counters.made.fetch_add(1, Ordering::SeqCst);
        Self(counters.clone())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Net for Count {
    type Stream = Counted;
    type Resolving = std::future::Ready<io::Result<Vec<SocketAddr>>>;
    type Connecting = Pin<Box<dyn Future<Output = io::Result<Counted>> + Send>>;

    fn resolve(&mut self, _: String, port: u16) -> Self::Resolving {
        std::future::ready(Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]))
    }

    fn connect(&mut self, address: SocketAddr) -> Self::Connecting {
        // A dial counts from its beginning to the end of its connection.
        let live = Live::new(&self.0);
        Box::pin(async move { Ok(Counted { stream: TcpStream::connect(address).await?, _live: live }) })
    }

    fn poll_read(stream: &mut Counted, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(bytes);
        Pin::new(&mut stream.stream).poll_read(context, &mut buffer).map_ok(|()| buffer.filled().len())
    }

    fn poll_write(stream: &mut Counted, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut stream.stream).poll_write(context, bytes)
    }

    fn poll_timer(&mut self, context: &mut Context<'_>, at: Instant) -> Poll<()> {
        // Good enough for a test: a timer of its own for every poll.
        let waker = context.waker().clone();
        let mut sleep = Box::pin(tokio::time::sleep_until(at.into()));
        if sleep.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        tokio::spawn(async move {
            sleep.await;
            waker.wake();
        });
        Poll::Pending
    }
}

// proves: DIAL-5
#[tokio::test]
async fn there_is_never_more_than_one_dial_or_connection() {
    let peer = Peer::bind().await;
    let (gateway, mut events, driver) = start(config(&peer));
    let count = Count::default();
    let driving = tokio::spawn(drive(driver, count.clone()));
    for n in 0..30 {
        let mut link = peer.handshake().await;
        assert!(matches!(guard("an event", events.next()).await, Some(Event::Ready { .. })));
        // All at once, and every way of asking for a dial.
        for _ in 0..3 {
            gateway.wake();
            gateway.release_redial();
            if n % 3 == 0 {
                gateway.reconnect();
            }
        }
        match n % 3 {
            0 => assert_eq!(link.ended().await.map(|(code, _)| code), Some(1000)),
            1 => link.close(1012, "").await,
            _ => link.cut(),
        }
        assert!(matches!(guard("an event", events.next()).await, Some(Event::Disconnected { .. })));
        gateway.wake();
        gateway.wake();
    }
    let counters = &count.0;
    assert_eq!(counters.most.load(Ordering::SeqCst), 1);
    assert!(counters.made.load(Ordering::SeqCst) >= 30);
    guard("the end", gateway.close()).await;
    guard("the driver's end", driving).await.unwrap();
    assert_eq!(gateway.stats().dials, counters.made.load(Ordering::SeqCst) as u64);
    assert_eq!(counters.open.load(Ordering::SeqCst), 0);
}

// proves: REQ-7
#[tokio::test]
async fn a_full_queue_stops_reading_and_an_emptied_one_starts_it_again() {
    let peer = Peer::bind().await;
    let mut limits = relay_proto::gateway::Limits::default();
    limits.queue = 10_000;
    let (_gateway, mut events, driver) = start(config(&peer).limits(limits));
    let count = Count::default();
    tokio::spawn(drive(driver, count.clone()));
    let mut link = peer.handshake().await;
    assert!(matches!(guard("an event", events.next()).await, Some(Event::Ready { .. })));
    let text = "x".repeat(20_000);
    for round in 0..20 {
        link.send(&message(&format!("{round} first {text}"))).await;
        link.send(&message(&format!("{round} second {text}"))).await;
        for part in ["first", "second"] {
            let Some(Event::Delivery(message)) = guard("an event", events.next()).await else { panic!("no message") };
            assert!(message.text().starts_with(&format!("{round} {part}")));
        }
    }
}

// proves: DIAL-5
#[tokio::test]
async fn a_connection_in_the_making_is_dropped_when_its_time_is_over() {
    // Connects never end, but time passes.
    type Pending = std::future::Pending<io::Result<Vec<SocketAddr>>>;
    struct Stuck(Arc<AtomicUsize>, Count, Arc<AtomicUsize>);
    struct Guarded(Arc<AtomicUsize>);
    impl Drop for Guarded {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    impl Net for Stuck {
        type Stream = Counted;
        type Resolving = Pending;
        type Connecting = Pin<Box<dyn Future<Output = io::Result<Counted>> + Send>>;
        fn resolve(&mut self, _: String, _: u16) -> Self::Resolving {
            self.2.fetch_add(1, Ordering::SeqCst);
            std::future::pending()
        }
        fn connect(&mut self, _: SocketAddr) -> Self::Connecting {
            assert_eq!(self.0.fetch_add(1, Ordering::SeqCst), 0, "the last one is gone");
            let guarded = Guarded(self.0.clone());
            Box::pin(async move {
                let _guarded = guarded;
                std::future::pending().await
            })
        }
        fn poll_read(stream: &mut Counted, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
            Count::poll_read(stream, context, bytes)
        }
        fn poll_write(stream: &mut Counted, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Count::poll_write(stream, context, bytes)
        }
        fn poll_timer(&mut self, context: &mut Context<'_>, at: Instant) -> Poll<()> {
            self.1.poll_timer(context, at)
        }
    }
    // An address is connected to; a name is looked up, which cannot be stopped, and so goes on for the next dial.
    for (url, lookups) in [("ws://127.0.0.1:1", 0), ("ws://connector.example", 1)] {
        let mut timing = quick();
        timing.dial = Duration::from_millis(5);
        let config = Config::new(url).identity("discord", "b").timing(timing);
        let (gateway, mut events, driver) = start(config);
        let (connecting, looked_up) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let driving = tokio::spawn(drive(driver, Stuck(connecting.clone(), Count::default(), looked_up.clone())));
        for _ in 0..10 {
            let Some(Event::Disconnected { ended, .. }) = guard("an event", events.next()).await else { panic!() };
            assert_eq!(ended.cause, relay_proto::gateway::Cause::TimedOut);
        }
        drop((gateway, events));
        guard("the driver's end", driving).await.unwrap();
        assert_eq!((connecting.load(Ordering::SeqCst), looked_up.load(Ordering::SeqCst)), (0, lookups));
    }
}

/// Names stand for two addresses: nobody answers at the first one, and the second is the connector's. Sockets and dials
/// are counted.
struct HalfDead(Count, Arc<AtomicUsize>);

impl HalfDead {
    const DEAD: [u8; 4] = [192, 0, 2, 1];
}

impl Net for HalfDead {
    type Stream = Counted;
    type Resolving = std::future::Ready<io::Result<Vec<SocketAddr>>>;
    type Connecting = Pin<Box<dyn Future<Output = io::Result<Counted>> + Send>>;

    fn resolve(&mut self, name: String, port: u16) -> Self::Resolving {
        assert_eq!(name, "connector.example");
        let addresses = [Self::DEAD, [127, 0, 0, 1]].map(|ip| SocketAddr::from((ip, port)));
        std::future::ready(Ok(addresses.to_vec()))
    }

    fn connect(&mut self, address: SocketAddr) -> Self::Connecting {
        if address.ip().is_loopback() {
            return self.0.connect(address);
        }
        let (live, tried) = (Live::new(&self.0.0), self.1.clone());
        tried.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let _live = live;
            std::future::pending().await
        })
    }

    fn poll_read(stream: &mut Counted, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        Count::poll_read(stream, context, bytes)
    }

    fn poll_write(stream: &mut Counted, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Count::poll_write(stream, context, bytes)
    }

    fn poll_timer(&mut self, context: &mut Context<'_>, at: Instant) -> Poll<()> {
        self.0.poll_timer(context, at)
    }
}

// proves: CLOSE-2
#[tokio::test]
async fn a_driver_that_panics_ends_the_gateway_and_says_why() {
    // A network that panics at its first use.
    struct Broken;
    impl Net for Broken {
        type Stream = ();
        type Resolving = std::future::Pending<io::Result<Vec<SocketAddr>>>;
        type Connecting = std::future::Pending<io::Result<()>>;
        fn resolve(&mut self, _: String, _: u16) -> Self::Resolving {
            panic!("this is only a test");
        }
        fn connect(&mut self, _: SocketAddr) -> Self::Connecting {
            panic!("this is only a test");
        }
        fn poll_read((): &mut (), _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }
        fn poll_write((): &mut (), _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }
        fn poll_timer(&mut self, _: &mut Context<'_>, _: Instant) -> Poll<()> {
            Poll::Pending
        }
    }
    for url in ["ws://127.0.0.1:1", "ws://connector.example"] {
        let (gateway, mut events, driver) = start(Config::new(url).identity("discord", "b"));
        let patient = RequestOptions::default().wait_for_link();
        let waits = gateway.call(&Action::typing("c1").to_json(), &patient);
        assert!(guard("the driver's end", tokio::spawn(drive(driver, Broken))).await.unwrap_err().is_panic());
        let Some(Event::Disconnected { ended, retry_in: None }) = guard("an event", events.next()).await else {
            panic!("no reason")
        };
        assert!(ended.cause == Cause::Panicked && ended.reason.contains("panicked"), "{ended}");
        assert!(matches!(guard("an event", events.next()).await, Some(Event::Closed)));
        assert!(guard("the end of events", events.next()).await.is_none());
        assert_eq!(guard("the end", gateway.ended()).await, State::Closed);
        assert!(matches!(guard("an end", waits).await, Outcome::NotSent(_)));
    }
}

/// Names are not found, at first.
struct Unknown(Count, usize);

impl Net for Unknown {
    type Stream = Counted;
    type Resolving = std::future::Ready<io::Result<Vec<SocketAddr>>>;
    type Connecting = Pin<Box<dyn Future<Output = io::Result<Counted>> + Send>>;

    fn resolve(&mut self, _: String, port: u16) -> Self::Resolving {
        self.1 += 1;
        std::future::ready(match self.1 {
            1 => Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
            2 => Ok(Vec::new()),
            _ => Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]),
        })
    }

    fn connect(&mut self, address: SocketAddr) -> Self::Connecting {
        self.0.connect(address)
    }

    fn poll_read(stream: &mut Counted, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        Count::poll_read(stream, context, bytes)
    }

    fn poll_write(stream: &mut Counted, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Count::poll_write(stream, context, bytes)
    }

    fn poll_timer(&mut self, context: &mut Context<'_>, at: Instant) -> Poll<()> {
        self.0.poll_timer(context, at)
    }
}

// proves: DIAL-6, LINK-1
#[tokio::test]
async fn a_name_that_is_not_found_is_looked_up_again() {
    let peer = Peer::bind().await;
    let url = peer.url().replace("127.0.0.1", "connector.example");
    let (_gateway, mut events, driver) = start(Config::new(url).identity("discord", "b").timing(quick()));
    tokio::spawn(drive(driver, Unknown(Count::default(), 0)));
    for why in ["no such name", "the name has no address"] {
        let Some(Event::Disconnected { ended, retry_in: Some(_) }) = guard("an event", events.next()).await else {
            panic!("no failed dial")
        };
        assert_eq!((ended.cause, &*ended.reason), (Cause::Unreachable, why));
    }
    let _link = peer.handshake().await;
    assert!(matches!(guard("an event", events.next()).await, Some(Event::Ready { .. })));
}

// proves: DIAL-6
#[tokio::test]
async fn a_dead_address_does_not_hide_a_live_one() {
    let peer = Peer::bind().await;
    let url = peer.url().replace("127.0.0.1", "connector.example");
    let (net, tried) = (Count::default(), Arc::new(AtomicUsize::new(0)));
    let counters = net.0.clone();
    let (gateway, mut events, driver) = start(Config::new(url).identity("discord", "b").timing(quick()));
    let driving = tokio::spawn(drive(driver, HalfDead(net, tried.clone())));
    for round in 1..=3 {
        let link = peer.handshake().await;
        assert!(matches!(guard("an event", events.next()).await, Some(Event::Ready { .. })));
        assert_eq!(tried.load(Ordering::SeqCst), round, "the first address has its head start every time");
        assert_eq!(counters.open.load(Ordering::SeqCst), 1, "and is given up once the second is there");
        drop(link);
        assert!(matches!(guard("an event", events.next()).await, Some(Event::Disconnected { .. })));
    }
    drop((gateway, events));
    guard("the driver's end", driving).await.unwrap();
    assert_eq!(counters.open.load(Ordering::SeqCst), 0);
}

/// Tokio's sockets, whose next reads and writes end as the test says.
#[derive(Clone, Default)]
struct Faulty(Count, Arc<Faults>);

#[derive(Default)]
struct Faults {
    reads: Mutex<Vec<io::Error>>,
    writes: Mutex<Vec<io::Result<usize>>>,
}

struct Fragile(Counted, Arc<Faults>);

impl Net for Faulty {
    type Stream = Fragile;
    type Resolving = std::future::Ready<io::Result<Vec<SocketAddr>>>;
    type Connecting = Pin<Box<dyn Future<Output = io::Result<Fragile>> + Send>>;

    fn resolve(&mut self, name: String, port: u16) -> Self::Resolving {
        self.0.resolve(name, port)
    }

    fn connect(&mut self, address: SocketAddr) -> Self::Connecting {
        let (connecting, faults) = (self.0.connect(address), self.1.clone());
        Box::pin(async move { Ok(Fragile(connecting.await?, faults)) })
    }

    fn poll_read(stream: &mut Fragile, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        // Only when there is something to read: that is what a read is interrupted at.
        ready!(stream.0.stream.poll_read_ready(context))?;
        match stream.1.reads.lock().unwrap().pop() {
            Some(error) => Poll::Ready(Err(error)),
            None => Count::poll_read(&mut stream.0, context, bytes),
        }
    }

    fn poll_write(stream: &mut Fragile, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match stream.1.writes.lock().unwrap().pop() {
            Some(result) => Poll::Ready(result),
            None => Count::poll_write(&mut stream.0, context, bytes),
        }
    }

    fn poll_timer(&mut self, context: &mut Context<'_>, at: Instant) -> Poll<()> {
        self.0.poll_timer(context, at)
    }
}

/// A gateway over such a network, linked.
async fn faulty(peer: &Peer) -> (client::Gateway, client::Events, Link, Arc<Faults>) {
    let (gateway, mut events, driver) = start(config(peer));
    let net = Faulty::default();
    let faults = net.1.clone();
    tokio::spawn(drive(driver, net));
    let link = peer.handshake().await;
    assert!(matches!(guard("an event", events.next()).await, Some(Event::Ready { .. })));
    (gateway, events, link, faults)
}

/// A signal, or a stop of the process, interrupts system calls: they are made again.
// proves: LINK-2
#[tokio::test]
async fn an_interrupted_call_ends_no_link() {
    let peer = Peer::bind().await;
    let (gateway, mut events, mut link, faults) = faulty(&peer).await;
    for n in 0..3 {
        let interrupted = || io::Error::from(io::ErrorKind::Interrupted);
        faults.reads.lock().unwrap().extend((0..n).map(|_| interrupted()));
        link.send(&message(&format!("{n}"))).await;
        let Some(Event::Delivery(message)) = guard("an event", events.next()).await else { panic!("no message") };
        assert_eq!(message.text(), format!("{n}"));
        faults.writes.lock().unwrap().extend((0..n).map(|_| Err(interrupted())));
        gateway.interrupt("agent:main", None).unwrap();
        link.expect("interrupt").await;
    }
    assert!(faults.reads.lock().unwrap().is_empty() && faults.writes.lock().unwrap().is_empty());
    assert_eq!(gateway.stats().dials, 1);
}

/// What a socket does that will never take anything again. It must not be asked for ever.
// proves: LINK-2
#[tokio::test]
async fn a_socket_that_takes_zero_bytes_is_broken() {
    let peer = Peer::bind().await;
    let (gateway, mut events, link, faults) = faulty(&peer).await;
    faults.writes.lock().unwrap().push(Ok(0));
    gateway.interrupt("agent:main", None).unwrap();
    // What the peer said before would still be read: it says nothing, and goes.
    drop(link);
    let Some(Event::Disconnected { ended, .. }) = guard("an event", events.next()).await else { panic!("no end") };
    assert_eq!(ended.cause, relay_proto::gateway::Cause::Lost);
    assert!(ended.reason.contains(&io::Error::from(io::ErrorKind::WriteZero).to_string()), "{ended}");
    peer.handshake().await;
    assert!(matches!(guard("an event", events.next()).await, Some(Event::Ready { .. })));
}
