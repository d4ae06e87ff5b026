//! The connector: the real half of the protocol, on a thread of its own.

use std::task::Waker;

use relay_proto::action::Action;
use relay_proto::connector::{Event, LinkId, OutboundId, Output, Peer, Settings, Transmit};
use relay_proto::frame::{Descriptor, RawJson};
use relay_proto::gateway::Outcome;
use relay_proto::time::Now;
use relay_proto::wire::{LinkOptions, ServerEvent, ServerLink};
use simulated::net::{Accepted, Listener};
use simulated::sync::{Arc, Mutex, MutexGuard};
use simulated::thread_waker::ThreadWaker;
use simulated::{switch, time};

/// The length of a message where the descriptor says nothing of it.
const LONGEST: usize = 4096;

/// The connector, and what it saw.
pub struct Connector {
    thread: Arc<ThreadWaker>,
    inner: Mutex<Inner>,
}

struct Inner {
    peer: Peer,
    listener: Listener,
    links: Vec<Link>,
    /// Answers requests by itself.
    answers: bool,
    /// So many requests it answers all the same.
    due: usize,
    waiting: Vec<(OutboundId, String)>,
    asked: Vec<String>,
    answered: Vec<String>,
    accepted: usize,
    acked: usize,
    /// Who waits for acknowledgements.
    watcher: Option<Waker>,
    stopped: bool,
}

struct Link {
    wire: Accepted,
    server: ServerLink,
    id: Option<LinkId>,
    /// The other end is gone, or this one.
    over: bool,
}

impl Connector {
    /// Listens. Nothing happens before it [runs](Self::run).
    pub(crate) fn new() -> Arc<Self> {
        let (thread, waker) = ThreadWaker::new();
        let inner = Inner {
            peer: Peer::in_memory(Settings::default(), 1, now()),
            listener: Listener::bind(waker),
            links: Vec::new(),
            answers: true,
            due: 0,
            waiting: Vec::new(),
            asked: Vec::new(),
            answered: Vec::new(),
            accepted: 0,
            acked: 0,
            watcher: None,
            stopped: false,
        };
        Arc::new(Self { thread, inner: Mutex::new(inner) })
    }

    /// Runs until it is stopped.
    pub(crate) fn run(&self) {
        loop {
            self.thread.wait();
            let mut inner = self.lock();
            let acked = inner.acked;
            inner.step();
            let watcher = if inner.acked > acked { inner.watcher.take() } else { None };
            let stopped = inner.stopped;
            drop(inner);
            if let Some(watcher) = watcher {
                watcher.wake();
            }
            if stopped {
                return;
            }
        }
    }

    pub(crate) fn stop(&self) {
        self.with(|inner| inner.stopped = true);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nobody panics under it")
    }

    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let result = change(&mut self.lock());
        self.thread.notify();
        result
    }

    /// An event for the gateway.
    pub fn deliver(&self, text: &str) {
        let event = format!(r#"{{"text":"{text}","source":{{"platform":"discord","chat_id":"c"}}}}"#);
        let event = RawJson::parse(&event).expect("JSON");
        self.with(|inner| inner.peer.deliver(&event, now()).expect("room in the buffer"));
    }

    /// Breaks every connection there is.
    pub fn cut(&self) {
        self.leave(Accepted::reset);
    }

    /// Ends every connection there is behind what was written, without a word: as a process that is killed does.
    pub fn hang_up(&self) {
        self.leave(Accepted::close);
    }

    fn leave(&self, how: fn(&Accepted)) {
        switch();
        self.with(|inner| {
            for link in &mut inner.links {
                how(&link.wire);
                link.end(&mut inner.peer);
            }
        });
    }

    /// Whether to refuse connections from now on.
    pub fn refuse(&self, refuse: bool) {
        self.lock().listener.refuse(refuse);
    }

    /// Whether to answer requests. Those that wait are answered at once.
    pub fn answer(&self, answers: bool) {
        self.with(|inner| inner.answers = answers);
    }

    /// Whether it answers requests.
    pub fn answers(&self) -> bool {
        self.lock().answers
    }

    /// Answers the request that waits longest, or else the next one.
    pub fn answer_one(&self) {
        switch();
        self.with(|inner| inner.due += 1);
    }

    /// Has the links that there are take so many bytes of the gateway's, and no more until it is called again.
    pub fn make_room(&self, room: usize) {
        switch();
        self.with(|inner| {
            for link in &inner.links {
                link.wire.make_room(room);
            }
        });
    }

    /// How many entries wait in the buffer.
    pub fn buffered(&self) -> u64 {
        self.lock().peer.buffered()
    }

    /// Waits until so many deliveries were acknowledged.
    pub fn wait_for_acks(&self, acked: usize) {
        let (thread, waker) = ThreadWaker::new();
        loop {
            let mut inner = self.lock();
            if inner.acked >= acked {
                return;
            }
            inner.watcher = Some(waker.clone());
            drop(inner);
            thread.wait();
        }
    }

    /// How many connections there were.
    pub fn accepted(&self) -> usize {
        self.lock().accepted
    }

    /// Checks that how a request ended is true (REQ-1, REQ-2).
    ///
    /// # Panics
    /// When it is not.
    pub fn check(&self, request: &str, outcome: &Outcome) {
        let inner = self.lock();
        let times = |list: &[String]| list.iter().filter(|known| *known == request).count();
        let (asked, answered) = (times(&inner.asked), times(&inner.answered));
        assert!(asked <= 1, "REQ-1: {request} was sent {asked} times");
        match outcome {
            Outcome::Result(_) => assert_eq!(answered, 1, "REQ-1: {request} has a result that nobody gave"),
            Outcome::NotSent(why) => assert_eq!(asked, 0, "REQ-2: {request} was sent, in spite of: {why}"),
            Outcome::Ambiguous(_) => {}
        }
    }

    /// A request that names itself.
    pub fn request(name: &str) -> RawJson {
        Action::typing(name).to_json()
    }
}

impl Inner {
    /// Does all that can be done now.
    fn step(&mut self) {
        while let Some(wire) = self.listener.accept() {
            self.accepted += 1;
            let server = ServerLink::new(&LinkOptions::default(), None).expect("no TLS, no error");
            self.links.push(Link { wire, server, id: None, over: false });
        }
        for link in &mut self.links {
            link.read(&mut self.peer);
        }
        self.peer.handle_timeout(now());
        loop {
            let moved = self.outputs() | self.events();
            for link in &mut self.links {
                link.write(&mut self.peer);
            }
            if !moved {
                break;
            }
        }
        self.links.retain(|link| !link.over);
    }

    fn outputs(&mut self) -> bool {
        let mut moved = false;
        while let Some(output) = self.peer.poll_output() {
            moved = true;
            match output {
                Output::Hello { hello, identity } => {
                    // Its link may be gone already.
                    let _ = self.peer.describe(hello, &Descriptor::new(identity.platform), now());
                }
                Output::Drop(id) => {
                    for link in self.links.iter_mut().filter(|link| link.id == Some(id)) {
                        link.wire.reset();
                        link.over = true;
                    }
                }
                _ => {}
            }
        }
        moved
    }

    fn events(&mut self) -> bool {
        let mut moved = false;
        while let Some(event) = self.peer.poll_event() {
            moved = true;
            match event {
                Event::Outbound(outbound) => {
                    let action = outbound.action.as_str();
                    assert!(action.len() < LONGEST + 200, "CHAT-2: a text is sent uncut");
                    let action: Asked = parse(action);
                    self.asked.push(action.0.clone());
                    self.waiting.push((outbound.id, action.0));
                }
                Event::Acked(_) => self.acked += 1,
                // Nobody waits for results any more.
                Event::LinkEnded { .. } => self.waiting.clear(),
                _ => {}
            }
        }
        let answered = if self.answers { self.waiting.len() } else { self.due.min(self.waiting.len()) };
        for (id, name) in self.waiting.drain(..answered) {
            let result = RawJson::parse(r#"{"success":true}"#).expect("JSON");
            if self.peer.answer(id, &result, now()).is_ok() {
                moved = true;
                self.due = self.due.saturating_sub(1);
                self.answered.push(name);
            }
        }
        moved
    }
}

impl Link {
    fn read(&mut self, peer: &mut Peer) {
        if self.over {
            return;
        }
        let hung_up = self.wire.is_hung_up();
        self.server.handle_bytes(&self.wire.take());
        if hung_up {
            self.server.handle_eof();
        }
        while let Some(event) = self.server.poll_event() {
            match event {
                ServerEvent::Request(_) => {
                    self.server.accept();
                    self.id = Some(peer.handle_opened(now()));
                }
                ServerEvent::Message(frame) => {
                    if let Some(id) = self.id {
                        peer.handle_message(id, &frame, now());
                    }
                }
                ServerEvent::Pong(payload) => {
                    if let Some(id) = self.id {
                        peer.handle_pong(id, &payload, now());
                    }
                }
                ServerEvent::Ended(end) => {
                    if let Some(id) = self.id.take() {
                        peer.handle_ended(id, end, now());
                    }
                    self.flush();
                    self.wire.close();
                    self.over = true;
                }
                _ => {}
            }
        }
    }

    fn write(&mut self, peer: &mut Peer) {
        while let Some(transmit) = self.id.and_then(|id| peer.poll_transmit(id)) {
            match transmit {
                Transmit::Text(text) => self.server.send_text(text),
                Transmit::Ping => self.server.ping(),
                Transmit::Probe(payload) => self.server.probe(payload),
                Transmit::Close { code, reason } => self.server.close(code, reason),
                _ => {}
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        if !self.server.transmit().is_empty() {
            self.wire.give(self.server.transmit());
            self.server.consume(usize::MAX);
        }
    }

    fn end(&mut self, peer: &mut Peer) {
        self.over = true;
        self.server.handle_read_error("cut");
        while let Some(event) = self.server.poll_event() {
            if let (ServerEvent::Ended(end), Some(id)) = (event, self.id.take()) {
                peer.handle_ended(id, end, now());
            }
        }
    }
}

/// The name of a request.
struct Asked(String);

/// Reads a request's name from its action, which [`Connector::request`] made.
fn parse(action: &str) -> Asked {
    let (_, rest) = action.split_once(r#""chat_id":""#).expect("a request of a scenario");
    let (name, _) = rest.split_once('"').expect("a request of a scenario");
    Asked(name.to_owned())
}

fn now() -> Now {
    let unix = time::unix();
    Now { monotonic: unix, unix: unix.as_secs() }
}
