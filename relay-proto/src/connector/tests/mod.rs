//! The peer under a virtual clock.

mod assumed_acks;
mod bounds;
mod buffer;
mod delivery;
mod forwards;
mod limits;
mod links;
mod pair;
mod random;
mod requests;
mod store;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Backlog, EntryId, Event, HelloId, LinkId, Output, Peer, Settings, Transmit};
use crate::frame::{Descriptor, RawJson};
use crate::time::Now;

/// A store that makes things durable when it is told to.
#[derive(Debug, Default)]
struct Store {
    durable: BTreeMap<u64, (EntryId, String)>,
    appended: Vec<(EntryId, String)>,
    fetches: usize,
    /// The most entries that one fetch returned.
    largest: usize,
}

/// A peer and a host that does what it is told: hellos are described, and the rest is kept to look at.
struct Rig {
    peer: Peer,
    now: Now,
    store: Option<Store>,
    /// Whether appended entries are durable at once.
    durable: bool,
    describe: bool,
    hellos: Vec<HelloId>,
    accepted: Vec<EntryId>,
    outputs: Vec<Output>,
}

impl Rig {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        Self::of(Peer::in_memory(settings, 1, Now::default()), None)
    }

    /// A peer on a store that holds what an earlier one left there.
    fn on(mut store: Store, settings: Settings, epoch: u64) -> Self {
        store.appended.clear();
        let first = store.durable.keys().next().copied().unwrap_or(0);
        let next = store.durable.keys().next_back().map_or(0, |last| last + 1);
        let backlog = Backlog::new(first..next, store.durable.len() as u64);
        Self::of(Peer::stored(settings, epoch, backlog, Now::default()), Some(store))
    }

    fn of(peer: Peer, store: Option<Store>) -> Self {
        Self {
            peer,
            now: Now { monotonic: Duration::from_secs(1), unix: 1_800_000_000 },
            store,
            durable: true,
            describe: true,
            hellos: Vec::new(),
            accepted: Vec::new(),
            outputs: Vec::new(),
        }
    }

    fn settle(&mut self) {
        while let Some(output) = self.peer.poll_output() {
            match (output, &mut self.store) {
                (Output::Hello { hello, identity }, _) if self.describe => {
                    self.peer.describe(hello, &Descriptor::new(identity.platform), self.now).unwrap();
                }
                (Output::Hello { hello, .. }, _) => self.hellos.push(hello),
                (Output::Accepted(entry), _) => self.accepted.push(entry),
                (Output::Append { entry, frame }, Some(store)) => {
                    store.appended.push((entry, String::from(&*frame)));
                    if self.durable {
                        self.commit(1);
                    }
                }
                (Output::Discard(entry), Some(store)) => {
                    assert!(store.durable.remove(&entry.seq()).is_some(), "what is discarded was stored");
                    self.peer.handle_discarded(entry, self.now);
                }
                (Output::Fetch(fetch), Some(store)) => {
                    let range = store.durable.range(fetch.from..fetch.until).take(fetch.count);
                    let entries: Vec<_> = range.map(|(_, entry)| entry.clone()).collect();
                    store.fetches += 1;
                    store.largest = store.largest.max(entries.len());
                    self.peer.handle_fetched(entries, self.now);
                }
                (output, _) => self.outputs.push(output),
            }
        }
    }

    /// The oldest `count` appended entries are durable.
    fn commit(&mut self, count: usize) {
        let Some(store) = &mut self.store else { return };
        let count = count.min(store.appended.len());
        for (entry, frame) in store.appended.drain(..count).collect::<Vec<_>>() {
            store.durable.insert(entry.seq(), (entry, frame));
            self.peer.handle_stored(entry, self.now);
        }
    }

    /// A link whose hello was answered. Its descriptor is taken.
    fn link(&mut self) -> LinkId {
        let link = self.peer.handle_opened(self.now);
        self.say(link, r#"{"type":"hello","platform":"discord","botId":"1"}"#);
        assert!(matches!(self.peer.poll_transmit(link), Some(Transmit::Text(text)) if text.contains("\"descriptor\"")));
        link
    }

    fn say(&mut self, link: LinkId, line: &str) {
        self.peer.handle_message(link, format!("{line}\n").as_bytes(), self.now);
        self.settle();
    }

    fn ack(&mut self, link: LinkId, entry: EntryId) {
        self.say(link, &format!("{{\"type\":\"inbound_ack\",\"bufferId\":\"{entry}\"}}"));
    }

    fn deliver(&mut self, n: usize) -> EntryId {
        let entry = self.peer.deliver(&RawJson::parse(&format!("{{\"n\":{n}}}")).unwrap(), self.now).unwrap();
        self.settle();
        entry
    }

    fn forward(&mut self, n: usize) -> EntryId {
        let entry = self.peer.forward(&RawJson::parse(&format!("{{\"f\":{n}}}")).unwrap(), self.now).unwrap();
        self.settle();
        entry
    }

    /// Everything that the link may be written now.
    fn transmits(&mut self, link: LinkId) -> Vec<Transmit> {
        core::iter::from_fn(|| self.peer.poll_transmit(link)).collect()
    }

    /// The same, when it is frames alone.
    fn frames(&mut self, link: LinkId) -> Vec<String> {
        self.transmits(link)
            .into_iter()
            .map(|transmit| match transmit {
                Transmit::Text(text) => text,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    /// The entries that go out now.
    fn entries(&mut self, link: LinkId) -> Vec<EntryId> {
        self.frames(link).iter().map(|frame| entry_of(frame).expect(frame)).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.peer.poll_event()).collect()
    }

    fn wait(&mut self, time: Duration) {
        self.now.monotonic += time;
        self.peer.handle_timeout(self.now);
        self.settle();
    }

    fn wait_secs(&mut self, seconds: u64) {
        self.wait(Duration::from_secs(seconds));
    }
}

/// The entry that a frame carries.
fn entry_of(frame: &str) -> Option<EntryId> {
    let (_, id) = frame.rsplit_once("\"bufferId\":\"")?;
    EntryId::parse(id.trim_end().strip_suffix("\"}")?)
}
