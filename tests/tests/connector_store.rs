//! A connector whose entries are kept in a store (CONN-7): relay-connector's, over real sockets, with relay-tokio's gateway.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use futures_util::future::join_all;
use relay_connector::{
    self as connector, Backlog, Change, Connector, DeliverError, Disk, EntryId, Fetch, GatewayId, Refused, Store,
    StoreError, StoreProblem,
};
use relay_proto::client::{Delivery, Event, Events, Gateway};
use relay_proto::connector::{Event as Seen, Settings};
use relay_proto::frame::RawJson;
use relay_proto::gateway::Config;
use relay_tests::app::{IsMessage as _, patient, quick};
use relay_tests::guard;
use tempfile::TempDir;
use tokio::net::TcpListener;

const ID: &str = "gw-1";
const SECRET: &str = "s3cret";

fn directory() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.store");
    (directory, path)
}

async fn serve(config: connector::Config, store: impl Store) -> (Connector, connector::Events) {
    connector::serve_with(TcpListener::bind("127.0.0.1:0").await.unwrap(), patient(config), store).unwrap()
}

fn registered() -> connector::Config {
    connector::Config::new().gateway(ID, SECRET)
}

fn dial(connector: &Connector) -> (Gateway, Events) {
    let config = Config::new(format!("http://{}", connector.address())).identity("discord", "bot-1").timing(quick());
    relay_tokio::connect(config.credentials(ID, SECRET)).unwrap()
}

async fn message(events: &mut Events) -> Delivery {
    loop {
        if let Event::Delivery(message) = guard("a message", events.next()).await.expect("not the end") {
            return message;
        }
    }
}

/// Waits until these many entries were acknowledged, and returns them.
async fn acked(events: &mut connector::Events, count: usize) -> Vec<EntryId> {
    let mut acked = Vec::new();
    while acked.len() < count {
        if let (_, Seen::Acked(entry)) = guard("an event of the connector", events.next()).await.expect("not the end") {
            acked.push(entry);
        }
    }
    acked
}

fn text(text: &str) -> RawJson {
    RawJson::parse(&format!(r#"{{"text":"{text}"}}"#)).unwrap()
}

// ── stores to test with ──────────────────────────────────────────────────

/// A store in memory that outlives its connector, counts, and does what the test says.
#[derive(Clone, Default)]
struct Scripted(Arc<(Mutex<Script>, Condvar)>);

#[derive(Default)]
struct Script {
    entries: BTreeMap<(GatewayId, u64), (u64, String)>,
    commits: usize,
    fetches: usize,
    /// The most entries that one fetch returned.
    largest: usize,
    /// Commits wait while this is set.
    held: bool,
    /// Commits that are waiting.
    waiting: usize,
    failing: bool,
    /// Failed commits whose changes are made nevertheless.
    lying: bool,
    /// Of those, discards are not made.
    stuck: bool,
    /// Commits with appends fail.
    full: bool,
    /// Commits that failed.
    refused: usize,
    panicking: bool,
    unreadable: bool,
}

impl Scripted {
    fn script<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        let result = change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
        result
    }

    /// Until something about the store is so.
    async fn until(&self, is: impl Fn(&Script) -> bool + Send + 'static) {
        let shared = self.0.clone();
        let waiting = tokio::task::spawn_blocking(move || {
            drop(shared.1.wait_while(shared.0.lock().unwrap(), |script| !is(script)).unwrap());
        });
        guard("the store", waiting).await.unwrap();
    }

    fn error() -> StoreError {
        StoreError::new("the script", StoreProblem::Full, "as told")
    }
}

impl Store for Scripted {
    fn backlogs(&self) -> Result<Vec<(GatewayId, Backlog)>, StoreError> {
        self.script(|script| {
            let mut found = BTreeMap::<GatewayId, Backlog>::new();
            for (gateway, seq) in script.entries.keys() {
                let backlog = found.entry(gateway.clone()).or_insert(Backlog::new(*seq..*seq, 0));
                *backlog = Backlog::new(backlog.first..seq + 1, backlog.entries + 1);
            }
            Ok(found.into_iter().collect())
        })
    }

    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.script(|script| script.waiting += 1);
        let mut script = self.0.1.wait_while(self.0.0.lock().unwrap(), |script| script.held).unwrap();
        script.waiting -= 1;
        script.commits += 1;
        if script.panicking {
            drop(script);
            panic!("as told");
        }
        let appends = changes.iter().any(|change| matches!(change, Change::Append { .. }));
        let failing = script.failing || script.full && appends;
        if !failing || script.lying {
            for change in changes {
                let key = (change.gateway().clone(), change.entry().seq());
                match change {
                    Change::Append { entry, frame, .. } => {
                        drop(script.entries.insert(key, (entry.epoch(), frame.to_string())));
                    }
                    Change::Discard { .. } if script.stuck => {}
                    Change::Discard { .. } => drop(script.entries.remove(&key)),
                }
            }
        }
        script.refused += usize::from(failing);
        drop(script);
        self.0.1.notify_all();
        if failing { Err(Self::error()) } else { Ok(()) }
    }

    fn fetch(&self, gateway: &GatewayId, fetch: Fetch) -> Result<Vec<(EntryId, String)>, StoreError> {
        self.script(|script| {
            script.fetches += 1;
            if script.unreadable {
                return Err(Self::error());
            }
            let range = script.entries.range((gateway.clone(), fetch.from)..(gateway.clone(), fetch.until));
            let entries = range.map(|((_, seq), (epoch, frame))| (EntryId::new(*epoch, *seq), frame.clone()));
            let entries: Vec<_> = entries.take(fetch.count).collect();
            script.largest = script.largest.max(entries.len());
            Ok(entries)
        })
    }
}

/// A store that counts what another one commits, once the gate is open.
struct Counted<S>(S, Arc<AtomicUsize>, Arc<Gate>);

/// Is opened once.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    fn pass(&self) {
        drop(self.1.wait_while(self.0.lock().unwrap(), |open| !*open).unwrap());
    }
}

impl<S: Store> Store for Counted<S> {
    fn backlogs(&self) -> Result<Vec<(GatewayId, Backlog)>, StoreError> {
        self.0.backlogs()
    }
    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.2.pass();
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.commit(changes)
    }
    fn fetch(&self, gateway: &GatewayId, fetch: Fetch) -> Result<Vec<(EntryId, String)>, StoreError> {
        self.0.fetch(gateway, fetch)
    }
}

// ── what survives ────────────────────────────────────────────────────────

// proves: CONN-7, CONN-3, ACK-4
#[tokio::test]
async fn what_was_accepted_survives_restarts_and_arrives_in_order_exactly_once() {
    let (_directory, path) = directory();
    let (mut next, mut got) = (0, Vec::new());
    let address = Arc::new(Mutex::new(None));
    let mut gateway: Option<(Gateway, Events)> = None;
    for round in 0..4 {
        // The same address each time: the gateway outlives the connector, and remembers what it took.
        let address_before = *address.lock().unwrap();
        let listener = TcpListener::bind(address_before.unwrap_or(([127, 0, 0, 1], 0).into())).await.unwrap();
        *address.lock().unwrap() = Some(listener.local_addr().unwrap());
        let store = Disk::open(&path).unwrap();
        let (connector, mut seen) = connector::serve_with(listener, registered(), store).unwrap();
        let peer = connector.gateway(ID);
        assert_eq!(peer.buffered(), (next - got.len()) as u64);
        for _ in 0..50 {
            peer.deliver(&text(&format!("m{next}"))).await.unwrap();
            next += 1;
        }
        let (_, events) = gateway.get_or_insert_with(|| dial(&connector));
        let before = got.len();
        while got.len() < before + if round == 3 { 200 - before } else { 30 } {
            let message = message(events).await;
            got.push(message.text().to_owned());
            message.ack();
        }
        acked(&mut seen, got.len() - before).await;
        // In flight are messages that the gateway has and has not acknowledged.
        connector.shutdown().await;
    }
    assert_eq!(got, (0..200).map(|n| format!("m{n}")).collect::<Vec<_>>());
    let store = Disk::open(&path).unwrap();
    assert_eq!(store.backlogs(), Ok(vec![]));
}

// proves: CONN-7
#[tokio::test]
async fn what_is_acknowledged_while_the_connector_shuts_down_does_not_come_again() {
    let (_directory, path) = directory();
    let (connector, mut seen) = serve(registered(), Disk::open(&path).unwrap()).await;
    let peer = connector.gateway(ID);
    for n in 0..10 {
        peer.deliver(&text(&format!("m{n}"))).await.unwrap();
    }
    let (gateway, mut events) = dial(&connector);
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(message(&mut events).await);
    }
    let shutdown = connector.shutdown();
    for message in held.drain(..7) {
        message.ack();
    }
    // Not a promise of the protocol, where a close may overtake anything: the gateway has written these before.
    let ((), _) = tokio::join!(shutdown, gateway.close());
    let mut acked = 0;
    while let Some((_, event)) = guard("the end", seen.next()).await {
        acked += usize::from(matches!(event, Seen::Acked(_)));
    }
    let store = Disk::open(&path).unwrap();
    let left = store.backlogs().unwrap().first().map_or(0, |(_, backlog)| backlog.entries);
    assert_eq!(left, 10 - acked as u64, "what was told as acknowledged is gone, and nothing else");
}

// proves: CONN-7
#[tokio::test]
async fn a_backlog_of_ten_thousand_drains_in_order_through_a_bounded_memory() {
    const ENTRIES: usize = 10_000;
    let store = Scripted::default();
    let (connector, mut seen) = serve(registered(), store.clone()).await;
    let peer = connector.gateway(ID);
    for batch in 0..ENTRIES / 500 {
        let messages: Vec<_> = (0..500).map(|n| text(&format!("m{}", batch * 500 + n))).collect();
        for accepted in join_all(messages.iter().map(|message| peer.deliver(message))).await {
            accepted.unwrap();
        }
    }
    assert_eq!((peer.buffered(), store.script(|script| script.fetches)), (ENTRIES as u64, 0));
    let (_gateway, mut events) = dial(&connector);
    let reader = tokio::spawn(async move { acked(&mut seen, ENTRIES).await });
    for n in 0..ENTRIES {
        let message = message(&mut events).await;
        assert_eq!(message.text(), format!("m{n}"));
        message.ack();
    }
    let acked = reader.await.unwrap();
    assert!(acked.is_sorted() && acked.len() == ENTRIES);
    let (left, largest) = store.script(|script| (script.entries.len(), script.largest));
    assert_eq!((left, peer.buffered()), (0, 0), "an ack is told once its discard is durable");
    assert!(largest <= 2 * Settings::default().limits().window, "{largest}");
}

// proves: CONN-7
#[tokio::test]
async fn concurrent_deliveries_share_commits() {
    const ENTRIES: usize = 2_000;
    let (_directory, path) = directory();
    let (commits, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Gate::default()));
    let store = Counted(Disk::open(&path).unwrap(), commits.clone(), gate.clone());
    let (connector, _seen) = serve(registered(), store).await;
    let peer = connector.gateway(ID);
    let messages: Vec<_> = (0..ENTRIES).map(|n| text(&format!("m{n}"))).collect();
    let mut accepted = std::pin::pin!(join_all(messages.iter().map(|message| peer.deliver(message))));
    // All of them wait while the first is committed.
    guard("every delivery to be asked for", async {
        while peer.buffered() < ENTRIES as u64 {
            assert!(futures_util::poll!(&mut accepted).is_pending());
            tokio::task::yield_now().await;
        }
    })
    .await;
    gate.open();
    let accepted = guard("all of them", accepted).await;
    let seqs: Vec<_> = accepted.into_iter().map(|accepted| accepted.unwrap().seq()).collect();
    assert_eq!(seqs, (0..ENTRIES as u64).collect::<Vec<_>>(), "in the order in which they were asked for");
    let commits = commits.load(Ordering::SeqCst);
    assert!(commits <= 10, "{commits} commits for {ENTRIES} entries");
}

// proves: CONN-7
#[tokio::test]
async fn nothing_is_accepted_or_sent_before_it_is_durable_nor_told_as_acknowledged_before_its_discard_is() {
    let store = Scripted::default();
    let (connector, mut seen) = serve(registered(), store.clone()).await;
    let peer = connector.gateway(ID);
    let (_gateway, mut events) = dial(&connector);
    store.script(|script| script.held = true);
    let one = text("one");
    {
        let mut delivering = std::pin::pin!(peer.deliver(&one));
        tokio::select! {
            biased;
            _ = &mut delivering => panic!("accepted before it was durable"),
            () = store.until(|script| script.waiting == 1) => {}
        }
        assert_eq!((peer.buffered(), peer.stats().delivered, peer.stats().accepted), (1, 0, 0));
        store.script(|script| script.held = false);
        guard("the delivery", delivering).await.unwrap();
    }
    let message = message(&mut events).await;
    store.script(|script| script.held = true);
    message.ack();
    store.until(|script| script.waiting == 1).await;
    assert_eq!((peer.buffered(), peer.stats().acked), (0, 1), "the entry has left");
    // What comes later is told meanwhile.
    assert!(peer.drop_link());
    loop {
        match guard("an event", seen.next()).await.unwrap().1 {
            Seen::LinkEnded { .. } => break,
            Seen::Acked(_) => panic!("told before its discard was durable"),
            _ => {}
        }
    }
    store.script(|script| script.held = false);
    acked(&mut seen, 1).await;
}

#[tokio::test]
async fn deliveries_wait_for_room_and_a_shutdown_ends_the_wait() {
    let store = Scripted::default();
    let (connector, _seen) = serve(registered().unstored(2_000), store.clone()).await;
    let peer = connector.gateway(ID);
    store.script(|script| script.held = true);
    let messages: Vec<_> = (0..10).map(|n| text(&format!("m{n}"))).collect();
    let mut deliveries = std::pin::pin!(join_all(messages.iter().map(|message| peer.deliver(message))));
    tokio::select! {
        biased;
        _ = &mut deliveries => panic!("accepted before they were durable"),
        () = store.until(|script| script.waiting == 1) => {}
    }
    assert_eq!(peer.buffered(), 3, "with about 530 bytes each");
    // Larger than all the room there is: it waits for its turn, and is taken then.
    store.script(|script| script.held = false);
    assert!(guard("all of them", &mut deliveries).await.iter().all(Result::is_ok));
    peer.deliver(&text(&"x".repeat(5_000))).await.unwrap();
    store.script(|script| script.held = true);
    let mut deliveries = std::pin::pin!(join_all(messages.iter().map(|message| peer.deliver(message))));
    tokio::select! {
        biased;
        _ = &mut deliveries => panic!("accepted before they were durable"),
        () = store.until(|script| script.waiting == 1) => {}
    }
    let mut shutdown = std::pin::pin!(connector.shutdown());
    tokio::select! {
        biased;
        () = &mut shutdown => panic!("the store is not closed yet"),
        () = std::future::ready(()) => {}
    }
    store.script(|script| script.held = false);
    let (outcomes, ()) = tokio::join!(guard("the deliveries", deliveries), guard("the shutdown", shutdown));
    let accepted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(accepted, 3, "what had been taken up was stored: {outcomes:?}");
    assert!(outcomes[3..].iter().all(|outcome| *outcome == Err(DeliverError::Refused(Refused::ShutDown))));
    assert_eq!(store.script(|script| script.entries.len()), 14);
}

// proves: CONN-7, CONN-3
#[tokio::test]
async fn a_store_that_does_not_write_is_not_read_on_and_then_everything_drains() {
    // More discards than a connector lets a store owe, and a backlog behind them.
    const WINDOW: usize = 1 << 16;
    let store = Scripted::default();
    let counts = [("gw-1", WINDOW + 2_000), ("gw-2", 100), ("gw-3", 100)];
    store.script(|script| {
        for (name, count) in counts {
            let entries = (0..count as u64).map(|seq| {
                let id = EntryId::new(1, seq);
                let frame = format!(r#"{{"type":"inbound","event":{{"text":"m{seq}"}},"bufferId":"{id}"}}"#) + "\n";
                ((GatewayId::unverified(name), seq), (1, frame))
            });
            script.entries.extend(entries);
        }
    });
    let registered = counts.iter().fold(connector::Config::new(), |config, (name, _)| config.gateway(*name, SECRET));
    let (connector, mut seen) = serve(registered.settings(Settings::with_window(WINDOW).unwrap()), store.clone()).await;
    let drain = |name: &'static str, count: usize| {
        let config = Config::new(format!("http://{}", connector.address())).identity("discord", "bot-1");
        let (gateway, mut events) = relay_tokio::connect(config.credentials(name, SECRET)).unwrap();
        tokio::spawn(async move {
            for n in 0..count {
                let message = message(&mut events).await;
                assert_eq!(message.text(), format!("m{n}"));
                message.ack();
            }
            drop(gateway);
        })
    };
    let all: usize = counts.iter().map(|(_, count)| count).sum();
    let reader = tokio::spawn(async move { acked(&mut seen, all).await });
    store.script(|script| script.held = true);
    let first = drain(counts[0].0, counts[0].1);
    let acknowledged = async |name: &str, count: usize| {
        let peer = connector.gateway(name);
        let all = async {
            while peer.stats().acked < count as u64 {
                tokio::task::yield_now().await;
            }
        };
        guard("the acknowledgements", all).await;
    };
    acknowledged("gw-1", WINDOW).await;
    let second = drain(counts[1].0, counts[1].1);
    acknowledged("gw-2", counts[1].1).await;
    let fetches = store.script(|script| script.fetches);
    let third = drain(counts[2].0, counts[2].1);
    let linked = async {
        while !connector.gateway("gw-3").is_linked() {
            tokio::task::yield_now().await;
        }
    };
    guard("the link", linked).await;
    // Nothing that could still be under way: the store's reader waits, and the store is asked by nobody else.
    assert_eq!(store.script(|script| script.fetches), fetches, "it owes too many discards");
    store.script(|script| script.held = false);
    for drained in [first, second, third] {
        guard("everything", drained).await.unwrap();
    }
    assert_eq!(guard("the discards", reader).await.unwrap().len(), all);
    assert_eq!(store.script(|script| script.entries.len()), 0);
}

// proves: CONN-7
#[tokio::test]
async fn a_small_delivery_does_not_overtake_a_larger_one_that_waits_for_room() {
    let store = Scripted::default();
    let (connector, _seen) = serve(registered().unstored(3_000), store.clone()).await;
    let peer = connector.gateway(ID);
    store.script(|script| script.held = true);
    let (first, large, small) = (text(&"x".repeat(2_000)), text(&"y".repeat(1_500)), text("z"));
    let mut first = Box::pin(peer.deliver(&first));
    let mut large = Box::pin(peer.deliver(&large));
    assert!(futures_util::poll!(&mut first).is_pending());
    store.until(|script| script.waiting == 1).await;
    assert!(futures_util::poll!(&mut large).is_pending());
    assert_eq!(peer.buffered(), 1, "there is no room for the large one");
    store.script(|script| script.held = false);
    while peer.stats().accepted == 0 {
        std::thread::yield_now();
    }
    // The large one has room from now on, and was not polled since; there is some left for the small one.
    store.script(|script| script.held = true);
    let mut small = Box::pin(peer.deliver(&small));
    assert!(futures_util::poll!(&mut small).is_pending());
    assert!(futures_util::poll!(&mut large).is_pending());
    store.script(|script| script.held = false);
    let (_, large, small) = guard("all of them", async { tokio::join!(first, large, small) }).await;
    assert!(large.unwrap() < small.unwrap(), "in the order in which they were asked for");
}

// ── a store that fails ───────────────────────────────────────────────────

// proves: CONN-7
#[tokio::test]
async fn what_a_failing_store_did_not_take_is_refused_and_everything_else_goes_on() {
    for lying in [false, true] {
        let store = Scripted::default();
        let (connector, mut seen) = serve(registered(), store.clone()).await;
        let peer = connector.gateway(ID);
        let (_gateway, mut events) = dial(&connector);
        peer.deliver(&text("before")).await.unwrap();
        let before = message(&mut events).await;
        store.script(|script| (script.failing, script.lying) = (true, lying));
        for _ in 0..3 {
            let refused = peer.deliver(&text("never")).await;
            assert_eq!(refused, Err(DeliverError::NotStored(Scripted::error())));
        }
        before.ack();
        peer.interrupt("session", "c1").unwrap();
        loop {
            if let Event::Interrupt { .. } = guard("an interrupt", events.next()).await.unwrap() {
                break;
            }
        }
        store.script(|script| script.failing = false);
        peer.deliver(&text("after")).await.unwrap();
        let after = message(&mut events).await;
        assert_eq!(after.text(), "after", "what was refused is not delivered, whatever the store did with it");
        after.ack();
        assert_eq!(acked(&mut seen, 2).await.len(), 2);
        connector.shutdown().await;
        assert_eq!(store.script(|script| script.entries.len()), 0, "lying: {lying}");
    }
}

// proves: CONN-7
#[tokio::test]
async fn an_entry_of_a_commit_in_doubt_is_not_delivered_even_when_it_is_read() {
    let store = Scripted::default();
    let (connector, mut seen) = serve(registered(), store.clone()).await;
    let peer = connector.gateway(ID);
    // More than are held in memory, so that the rest is read from the store.
    for n in 0..40 {
        peer.deliver(&text(&format!("m{n}"))).await.unwrap();
    }
    store.script(|script| (script.failing, script.lying, script.stuck) = (true, true, true));
    assert!(peer.deliver(&text("never")).await.is_err());
    assert_eq!(store.script(|script| script.entries.len()), 41, "it is there all the same");
    let (_gateway, mut events) = dial(&connector);
    let mut texts = Vec::new();
    for _ in 0..16 {
        let message = message(&mut events).await;
        texts.push(message.text().to_owned());
        message.ack();
    }
    // While it can neither be told whether the entry is stored, nor be deleted.
    store.until(|script| script.fetches > 0).await;
    store.script(|script| (script.failing, script.lying, script.stuck) = (false, false, false));
    peer.deliver(&text("after")).await.unwrap();
    while texts.len() < 41 {
        let message = message(&mut events).await;
        texts.push(message.text().to_owned());
        message.ack();
    }
    let expected: Vec<_> = (0..40).map(|n| format!("m{n}")).chain(["after".to_owned()]).collect();
    assert_eq!(texts, expected);
    acked(&mut seen, 41).await;
    assert_eq!(store.script(|script| script.entries.len()), 0);
}

// proves: CONN-7
#[tokio::test]
async fn a_store_without_room_for_anything_drains_once_there_is_some_and_appends_alone_do_not_stop_discards() {
    let store = Scripted::default();
    let (connector, mut seen) = serve(registered(), store.clone()).await;
    let peer = connector.gateway(ID);
    for n in 0..40 {
        peer.deliver(&text(&format!("m{n}"))).await.unwrap();
    }
    // Without room for appends: discards go on, and everything drains.
    store.script(|script| script.full = true);
    assert!(peer.deliver(&text("never")).await.is_err());
    let (_gateway, mut events) = dial(&connector);
    for n in 0..30 {
        let message = message(&mut events).await;
        assert_eq!(message.text(), format!("m{n}"));
        message.ack();
    }
    acked(&mut seen, 30).await;
    // Without room for anything: what is in flight is a window, and no more than that could come again.
    store.script(|script| script.failing = true);
    for _ in 30..40 {
        message(&mut events).await.ack();
    }
    store.until(|script| script.refused > 1).await;
    store.script(|script| (script.full, script.failing) = (false, false));
    acked(&mut seen, 10).await;
    peer.deliver(&text("after")).await.unwrap();
    assert_eq!(message(&mut events).await.text(), "after");
    assert_eq!(store.script(|script| script.entries.len()), 1);
}

// proves: CONN-7
#[tokio::test]
async fn a_store_that_panics_counts_as_one_that_failed() {
    let store = Scripted::default();
    let (connector, _seen) = serve(registered(), store.clone()).await;
    let peer = connector.gateway(ID);
    store.script(|script| script.panicking = true);
    assert!(matches!(peer.deliver(&text("never")).await, Err(DeliverError::NotStored(_))));
    store.script(|script| script.panicking = false);
    peer.deliver(&text("after")).await.unwrap();
    guard("the shutdown", connector.shutdown()).await;
}

// proves: CONN-7
#[tokio::test]
async fn a_store_that_cannot_be_read_delivers_late_and_in_order() {
    let store = Scripted::default();
    let (connector, _seen) = serve(registered(), store.clone()).await;
    let peer = connector.gateway(ID);
    for n in 0..100 {
        peer.deliver(&text(&format!("m{n}"))).await.unwrap();
    }
    store.script(|script| script.unreadable = true);
    let (_gateway, mut events) = dial(&connector);
    // The first entries are still in memory.
    let first = message(&mut events).await;
    let mut held = vec![first];
    for _ in 1..16 {
        held.push(message(&mut events).await);
    }
    let mut texts: Vec<_> = held.iter().map(|message| message.text().to_owned()).collect();
    held.into_iter().for_each(Delivery::ack);
    store.until(|script| script.fetches >= 2).await;
    store.script(|script| script.unreadable = false);
    while texts.len() < 100 {
        let message = message(&mut events).await;
        texts.push(message.text().to_owned());
        message.ack();
    }
    assert_eq!(texts, (0..100).map(|n| format!("m{n}")).collect::<Vec<_>>());
}

// proves: CONN-7
#[tokio::test]
async fn a_store_that_does_not_open_again_does_not_hold_a_shutdown_up() {
    let store = Scripted::default();
    let (connector, mut seen) = serve(registered(), store.clone()).await;
    store.script(|script| script.failing = true);
    assert!(connector.gateway(ID).deliver(&text("never")).await.is_err());
    guard("the shutdown", connector.shutdown()).await;
    while guard("the end of events", seen.next()).await.is_some() {}
}

#[tokio::test]
async fn a_store_that_does_not_say_what_it_holds_starts_no_connector() {
    struct Broken;
    impl Store for Broken {
        fn backlogs(&self) -> Result<Vec<(GatewayId, Backlog)>, StoreError> {
            Err(Scripted::error())
        }
        fn commit(&self, _: &[Change]) -> Result<(), StoreError> {
            unreachable!()
        }
        fn fetch(&self, _: &GatewayId, _: Fetch) -> Result<Vec<(EntryId, String)>, StoreError> {
            unreachable!()
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let failed = connector::serve_with(listener, registered(), Broken).map(drop);
    assert!(matches!(failed, Err(connector::ServeError::Store(error)) if error == Scripted::error()));
}

/// Whether a gateway with this secret is let in, or refused as one without is.
async fn is_let_in(connector: &Connector, secret: &str) -> bool {
    let config = Config::new(format!("http://{}", connector.address())).identity("discord", "bot-1").timing(quick());
    let config = config.credentials(ID, secret).confirm_refusals(false).reconnect(false);
    let (gateway, mut events) = relay_tokio::connect(config).unwrap();
    let let_in = loop {
        match guard("an answer", events.next()).await {
            Some(Event::Ready { .. }) => break true,
            Some(_) => {}
            None => break false,
        }
    };
    drop(gateway);
    let_in
}

// proves: CONN-6
#[tokio::test]
async fn a_revocation_outlives_the_process_and_a_new_secret_ends_it() {
    let (_directory, path) = directory();
    let two = || registered().gateway(ID, "in rotation").gateway("gw-2", SECRET);
    let (connector, _seen) = serve(two(), Disk::open(&path).unwrap()).await;
    let peer = connector.gateway(ID);
    peer.deliver(&text("kept")).await.unwrap();
    assert!(is_let_in(&connector, SECRET).await);
    peer.revoke();
    peer.take_back().unwrap();
    peer.take_back().unwrap();
    assert!(!is_let_in(&connector, SECRET).await);
    connector.shutdown().await;

    // The same flags, as after a crash.
    let (connector, _seen) = serve(two(), Disk::open(&path).unwrap()).await;
    for secret in [SECRET, "in rotation"] {
        assert!(!is_let_in(&connector, secret).await, "{secret}");
    }
    let other = connector.gateway("gw-2");
    let (_gateway, mut events) = {
        let config = Config::new(format!("http://{}", connector.address())).identity("discord", "bot-1");
        relay_tokio::connect(config.credentials("gw-2", SECRET)).unwrap()
    };
    other.deliver(&text("with the same secret")).await.unwrap();
    message(&mut events).await.ack();
    connector.shutdown().await;

    // Without any of them nobody is let in either.
    let (connector, _seen) = serve(connector::Config::new(), Disk::open(&path).unwrap()).await;
    assert!(connector.authenticates() && !is_let_in(&connector, SECRET).await);
    connector.shutdown().await;

    let (connector, _seen) = serve(two().gateway(ID, "new"), Disk::open(&path).unwrap()).await;
    assert!(!is_let_in(&connector, SECRET).await && is_let_in(&connector, "new").await);
    assert_eq!(connector.gateway(ID).buffered(), 1, "its messages are still there");
    connector.shutdown().await;
}

// proves: CONN-6
#[tokio::test]
async fn a_revocation_that_a_store_does_not_keep_is_told() {
    let store = Scripted::default();
    let (connector, _seen) = serve(registered(), store.clone()).await;
    let error = connector.gateway(ID).take_back().unwrap_err();
    assert!(error.to_string().contains("keeps no revocations"), "{error}");
    assert!(!is_let_in(&connector, SECRET).await, "until the process ends");
    // It had no secret that could be used again.
    connector.gateway("gw-2").take_back().unwrap();
    connector.shutdown().await;
    assert!(!connector.gateway(ID).revoke());
    guard("the shutdown", connector.shutdown()).await;
}

#[tokio::test]
async fn dropping_handles_and_events_closes_the_store() {
    let (_directory, path) = directory();
    let (connector, seen) = serve(registered(), Disk::open(&path).unwrap()).await;
    connector.gateway(ID).deliver(&text("kept")).await.unwrap();
    assert_eq!(Disk::open(&path).map(drop).unwrap_err().problem, StoreProblem::InUse);
    let address = connector.address();
    drop((connector, seen));
    let reopened = async {
        loop {
            match Disk::open(&path) {
                Ok(store) => break store,
                Err(error) => assert_eq!(error.problem, StoreProblem::InUse),
            }
            // It closes on a thread of its own, once its tasks have had their turn.
            tokio::task::yield_now().await;
        }
    };
    let store = guard("the store to be free", reopened).await;
    assert_eq!(store.backlogs(), Ok(vec![(GatewayId::unverified(ID), Backlog::new(0..1, 1))]));
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
