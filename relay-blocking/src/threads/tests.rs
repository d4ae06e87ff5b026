//! What no connector brings about: a resolver that hangs, and a thread that panics.

use std::net::TcpListener;
use std::sync::Condvar;
use std::sync::mpsc;

use relay_proto::client::{self, Event};
use relay_proto::gateway::{Cause, Config, State, Timing};

use super::*;
use crate::Events;

/// How long anything may take before a test gives up on it. Only hung tests see it.
const GUARD: Duration = Duration::from_secs(600);

fn quick(port: u16) -> Config {
    let mut timing = Timing::default();
    timing.dial = Duration::from_millis(10);
    timing.backoff_initial = Duration::from_millis(1);
    timing.backoff_max = Duration::from_millis(2);
    Config::new(format!("ws://connector.invalid:{port}")).identity("discord", "b").timing(timing)
}

/// Nothing is dialled again, and no deadline comes to anybody's help.
fn patient(port: u16) -> Config {
    let mut timing = Timing::default();
    timing.dial = Duration::from_secs(3600);
    (timing.backoff_initial, timing.backoff_max) = (timing.dial, timing.dial);
    quick(port).timing(timing)
}

fn begin(config: Config, resolver: Resolver) -> (client::Gateway, Events) {
    let (gateway, events, driver) = client::gateway(config.build().unwrap(), None);
    let threads = start(driver, resolver).unwrap();
    (gateway, Events { inner: events, threads })
}

// proves: DIAL-5
#[test]
fn a_hanging_lookup_is_the_only_one_and_serves_a_later_dial() {
    static LOOKUPS: Mutex<usize> = Mutex::new(0);
    static OPEN: Mutex<bool> = Mutex::new(false);
    static OPENED: Condvar = Condvar::new();
    fn hang(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        assert_eq!(host, "connector.invalid");
        *LOOKUPS.lock().unwrap() += 1;
        drop(OPENED.wait_while(OPEN.lock().unwrap(), |open| !*open).unwrap());
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    }

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_gateway, mut events) = begin(quick(listener.local_addr().unwrap().port()), hang);
    for _ in 0..5 {
        match events.next_timeout(GUARD) {
            Ok(Some(Event::Disconnected { ended, .. })) => assert_eq!(ended.cause, Cause::TimedOut),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(*LOOKUPS.lock().unwrap(), 1);
    *OPEN.lock().unwrap() = true;
    OPENED.notify_all();
    let (accepted, dialled) = mpsc::channel();
    thread::spawn(move || accepted.send(listener.accept()));
    dialled.recv_timeout(GUARD).expect("a dial").unwrap();
}

#[test]
fn a_lookup_that_hangs_does_not_keep_the_gateway_from_ending() {
    fn hang(_: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        loop {
            thread::park();
        }
    }

    let (gateway, mut events) = begin(quick(1), hang);
    drop(gateway.close());
    let last = std::iter::from_fn(|| events.next_timeout(GUARD).expect("an event")).last();
    assert!(matches!(last, Some(Event::Closed)), "{last:?}");
}

#[test]
fn a_thread_that_panics_ends_the_gateway() {
    let (gateway, mut events) = begin(patient(1), |_, _| panic!("this is only a test"));
    let mut all: Vec<_> = std::iter::from_fn(|| events.next_timeout(GUARD).expect("an event")).collect();
    assert!(matches!(all.pop(), Some(Event::Closed)));
    let Some(Event::Disconnected { ended, retry_in: None }) = all.pop() else { panic!("no reason") };
    assert!(ended.cause == Cause::Panicked && ended.reason.contains("panicked"), "{ended}");
    assert_eq!(gateway.state(), State::Closed);
}

/// Attempts to connect to an address whose queue is full never end.
// proves: DIAL-6
#[cfg(target_os = "linux")]
#[test]
fn a_dead_first_address_is_not_waited_for() {
    static ADDRESSES: Mutex<Vec<SocketAddr>> = Mutex::new(Vec::new());

    let (dead, _full) = dead_address();
    let live = TcpListener::bind("127.0.0.1:0").unwrap();
    *ADDRESSES.lock().unwrap() = vec![dead, live.local_addr().unwrap()];
    let (_gateway, _events) = begin(patient(1), |_, _| Ok(ADDRESSES.lock().unwrap().clone()));
    let (accepted, dialled) = mpsc::channel();
    thread::spawn(move || accepted.send(live.accept()));
    let _link = dialled.recv_timeout(GUARD).expect("a dial").unwrap();
    // The first attempt is still under way: state 2 is SYN_SENT.
    let attempt = format!(":{:04X} 02 ", dead.port());
    let sockets = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    assert!(sockets.contains(&attempt), "the second address had to wait: {sockets}");
}

/// An address where connections are neither made nor refused, and what keeps it so.
#[cfg(target_os = "linux")]
pub(crate) fn dead_address() -> (SocketAddr, impl Sized) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        // Its queue has room for one connection, which is not accepted.
        socket.listen(0).unwrap()
    });
    let address = listener.local_addr().unwrap();
    let waiting = TcpStream::connect(address).unwrap();
    (address, (waiting, listener, runtime))
}

/// The link's thread leaves the socket to calls while this count is 0, and reads by itself for whoever is in it.
#[test]
fn whoever_was_told_or_gave_up_does_not_count_as_waiting() {
    let waiting = Arc::new(AtomicUsize::new(0));
    let count = || waiting.load(Ordering::SeqCst);
    let signal = Signal::default();
    signal.join(&waiting);
    signal.join(&waiting);
    assert_eq!(count(), 1, "it is one thread");
    signal.set();
    assert_eq!(count(), 0, "it was told");
    signal.join(&waiting);
    assert_eq!(count(), 0, "it need not wait");
    assert!(signal.wait(None));
    signal.join(&waiting);
    assert!(!signal.wait(Some(now())), "its time has come");
    assert_eq!(count(), 0, "it gave up");

    let begin_to_wait = |own: &Signal| {
        own.join(&waiting);
        assert_eq!(count(), 1);
        false
    };
    assert!(crate::signal::run(std::future::pending::<()>(), begin_to_wait).is_none());
    assert_eq!(count(), 0, "its call has ended");
}
