//! A gateway with its driver and its connector.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use relay_proto::client::{Event, Events, Gateway, drive, gateway};
use relay_proto::gateway::{Config, Limits, State, Timing};
use simulated::sync::Arc;
use simulated::thread_waker::ThreadWaker;
use simulated::{net, switch, thread, time};

use crate::{Connector, Network, wait};

/// A gateway, and the threads around it.
pub struct World {
    /// The handle.
    pub gateway: Gateway,
    /// Its connector.
    pub connector: Arc<Connector>,
    task: Arc<Task>,
    driving: thread::JoinHandle<()>,
    users: Vec<thread::JoinHandle<()>>,
    connecting: thread::JoinHandle<()>,
}

/// A gateway on threads of its own, and the threads around it.
pub struct Threads {
    /// The handle.
    pub gateway: relay_blocking::Gateway,
    /// Its connector.
    pub connector: Arc<Connector>,
    users: Vec<thread::JoinHandle<()>>,
    connecting: thread::JoinHandle<()>,
    ticking: Option<thread::JoinHandle<()>>,
}

impl Threads {
    /// A gateway that begins its first dial.
    pub fn new(config: Config) -> (Self, relay_blocking::Events) {
        let connector = Connector::new();
        let running = connector.clone();
        let connecting = spawn("connector", move || running.run());
        let (gateway, events) = relay_blocking::connect(config).expect("threads to spare");
        (Self { gateway, connector, users: Vec::new(), connecting, ticking: None }, events)
    }

    /// A gateway that is linked.
    pub fn ready(config: Config) -> (Self, relay_blocking::Events) {
        let (threads, mut events) = Self::new(config);
        let first = events.next();
        assert!(matches!(first, Some(Event::Ready { .. })), "{first:?}");
        (threads, events)
    }

    /// Runs something on a thread, with the handle and the connector.
    pub fn run(&mut self, run: impl FnOnce(relay_blocking::Gateway, Arc<Connector>) + Send + 'static) {
        let (gateway, connector) = (self.gateway.clone(), self.connector.clone());
        self.users.push(spawn("user", move || run(gateway, connector)));
    }

    /// Has short times pass from now on, at any moment: a link's thread takes the socket back when no call has read for a
    /// while. Until then that never happens, and whatever a call leaves undone stays undone.
    pub fn tick(&mut self) {
        self.ticking.get_or_insert_with(clock);
    }

    /// Waits until everything has ended by itself, for which the last handle goes. That the gateway's own threads end is
    /// for the scheduler to find out.
    pub fn end(mut self) {
        // This is no handle.
        let end = self.gateway.as_async().ended();
        let ticking = self.ticking.take();
        drop(self.gateway);
        for user in self.users {
            user.join().expect("a thread that does not panic");
        }
        // No call reads for this, and so it takes as long as the link's thread stands by, and so may that thread's end.
        let ticking = ticking.unwrap_or_else(clock);
        assert_eq!(relay_blocking::block_on(end), State::Closed);
        net::wait_for_none();
        time::halt();
        ticking.join().expect("a clock that does not panic");
        self.connector.stop();
        self.connecting.join().expect("a connector that does not panic");
    }

    /// Shuts down in order, and waits until everything has ended.
    pub fn close(self) {
        assert_eq!(self.gateway.close(), State::Closed, "CLOSE-1");
        self.end();
    }

    /// Waits for the first `users` that were [run](Self::run), then shuts down.
    pub fn close_after(mut self, users: usize) {
        for user in self.users.drain(..users) {
            user.join().expect("a thread that does not panic");
        }
        self.close();
    }
}

/// A gateway of the simulated connector.
pub fn config() -> Config {
    Config::new("ws://127.0.0.1:1").identity("discord", "b")
}

/// The same, with room for little that nobody reads.
pub fn quick() -> Config {
    let mut limits = Limits::default();
    (limits.queue, limits.queue_hard) = (1024, 1 << 20);
    let mut timing = Timing::default();
    timing.backoff_initial = Duration::from_millis(10);
    timing.backoff_max = Duration::from_millis(10);
    config().limits(limits).timing(timing)
}

impl World {
    /// A gateway that begins its first dial.
    pub fn new(config: Config) -> (Self, Events) {
        let connector = Connector::new();
        let running = connector.clone();
        let connecting = spawn("connector", move || running.run());
        let (gateway, events, driver) = gateway(config.build().expect("a good configuration"), None);
        let task = Arc::new(Task::default());
        let own = task.clone();
        let driving = spawn("driver", move || own.run(drive(driver, Network)));
        (Self { gateway, connector, task, driving, users: Vec::new(), connecting }, events)
    }

    /// Drops the driver, as a runtime does with a task that is aborted: not while it is polled.
    pub fn abort(&self) {
        switch();
        self.task.aborted.store(true, Ordering::SeqCst);
        self.task.thread.notify();
    }

    /// A gateway that is linked.
    pub fn ready(config: Config) -> (Self, Events) {
        let (world, mut events) = Self::new(config);
        let first = wait(events.next());
        assert!(matches!(first, Some(Event::Ready { .. })), "{first:?}");
        (world, events)
    }

    /// Runs something on a thread, with the handle and the connector.
    pub fn run(&mut self, run: impl FnOnce(Gateway, Arc<Connector>) + Send + 'static) {
        let (gateway, connector) = (self.gateway.clone(), self.connector.clone());
        self.users.push(spawn("user", move || run(gateway, connector)));
    }

    /// Waits until everything has ended by itself, for which the last handle goes.
    pub fn end(self) {
        drop(self.gateway);
        for user in self.users {
            user.join().expect("a thread that does not panic");
        }
        self.driving.join().expect("a driver that does not panic");
        self.connector.stop();
        self.connecting.join().expect("a connector that does not panic");
    }

    /// Shuts down in order, and waits until everything has ended.
    pub fn close(self) {
        assert_eq!(wait(self.gateway.close()), State::Closed, "CLOSE-1");
        self.end();
    }

    /// Waits for the first `users` that were [run](Self::run), then shuts down.
    pub fn close_after(mut self, users: usize) {
        for user in self.users.drain(..users) {
            user.join().expect("a thread that does not panic");
        }
        self.close();
    }
}

/// How long a link's thread stands by.
const SHORT: Duration = Duration::from_millis(5);

fn clock() -> thread::JoinHandle<()> {
    spawn("clock", || time::tick(SHORT))
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
    thread::Builder::new().name(name.into()).spawn(run).expect("threads are simulated")
}

/// The task of a runtime that runs the driver: one waker for as long as it lives.
#[derive(Default)]
struct Task {
    thread: Arc<ThreadWaker>,
    aborted: AtomicBool,
}

impl Task {
    fn run(&self, future: impl Future<Output = ()>) {
        let mut future = pin!(future);
        let waker = Waker::from(self.thread.clone());
        while !self.aborted.load(Ordering::SeqCst) {
            if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                return;
            }
            self.thread.wait();
        }
    }
}

/// Reads events to the end. Time passes for every wait before a dial.
pub fn read(mut events: Events, mut each: impl FnMut(Event)) {
    while let Some(event) = wait(events.next()) {
        sleep(&event);
        each(event);
    }
}

/// Lets the time pass for which the gateway waits before it dials again.
pub fn sleep(event: &Event) {
    if let Event::Disconnected { retry_in: Some(retry), .. } = event {
        // Others come first, or this would go on for ever where nobody answers.
        thread::yield_now();
        time::advance(*retry);
    }
}
