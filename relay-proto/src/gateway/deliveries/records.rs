//! What is remembered of deliveries, and by what they are recognised (ACK-4).
//!
//! For each delivery that comes, one of long ago is forgotten, which no cache holds any more; so all that is known of one is
//! in a record of less than a cache line, the records stand in one piece, and what leads to them are tables of four bytes.

use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU64;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::gateway::DeliveryId;

/// The hash of ids that name a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IdHash(NonZeroU64);

impl IdHash {
    pub(super) fn new(hash: u64) -> Self {
        // That two of 2⁶⁴ hashes become one does not matter.
        Self(NonZeroU64::new(hash).unwrap_or(NonZeroU64::MIN))
    }

    /// Equal ids with another payload are another message, so that both together are what is looked up.
    fn hash(self, payload: u64) -> u64 {
        self.0.get() ^ payload
    }
}

/// What a delivery is recognised by: its payload, together with its id in the connector's buffer or with the message's own
/// ids.
#[derive(Clone, Copy, Debug)]
pub(super) struct DedupKey {
    /// The hash of the payload.
    pub(super) payload: u64,
    pub(super) buffer: Option<IdHash>,
    pub(super) message: Option<IdHash>,
}

/// What the application did with a delivery (ACK-6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeliveryState {
    /// It holds it, or it waits in the queue.
    Held,
    /// It took it.
    Taken,
    /// It gave it back, or dropped it.
    Nacked,
}

#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Of the delivery that it is of; [`VACANT`] when it is of none.
    number: u64,
    key: DedupKey,
    /// The number of its slot in the order of acknowledgements. It has none on this link when that is of an earlier one.
    pub(super) slot: u64,
    /// Its neighbours among the ended ones. Of a vacant record, `later` is the next vacant one.
    earlier: u32,
    later: u32,
    pub(super) state: DeliveryState,
}

const VACANT: u64 = u64::MAX;
/// No neighbour.
const NONE: u32 = u32::MAX;

/// The records: of all deliveries that are held, and of those that ended last.
#[derive(Clone)]
pub(super) struct Records {
    /// How many ended records are kept.
    memory: usize,
    /// The number of the next delivery.
    next: u64,
    records: Vec<Record>,
    /// The first of the vacant ones.
    vacant: u32,
    /// The ended ones: the oldest, the latest, and how many they are.
    oldest: u32,
    latest: u32,
    ended: usize,
    by_buffer: HashTable<u32>,
    by_message: HashTable<u32>,
}

impl Records {
    pub(super) fn new(memory: usize) -> Self {
        Self {
            memory,
            next: 0,
            records: Vec::new(),
            vacant: NONE,
            oldest: NONE,
            latest: NONE,
            ended: 0,
            by_buffer: HashTable::new(),
            by_message: HashTable::new(),
        }
    }

    fn at(&self, place: u32) -> Option<&Record> {
        self.records.get(place as usize)
    }

    fn at_mut(&mut self, place: u32) -> Option<&mut Record> {
        self.records.get_mut(place as usize)
    }

    /// What is remembered of a delivery.
    pub(super) fn get(&self, delivery: DeliveryId) -> Option<&Record> {
        self.at(delivery.place).filter(|record| record.number == delivery.number)
    }

    pub(super) fn get_mut(&mut self, delivery: DeliveryId) -> Option<&mut Record> {
        self.at_mut(delivery.place).filter(|record| record.number == delivery.number)
    }

    /// The last delivery with this buffer id and payload.
    pub(super) fn by_buffer(&self, key: DedupKey) -> Option<DeliveryId> {
        let place = self.by_buffer.find(key.buffer?.hash(key.payload), |place| self.is_by_buffer(*place, key));
        self.id(*place?)
    }

    /// The last delivery of this message with this payload.
    pub(super) fn by_message(&self, key: DedupKey) -> Option<DeliveryId> {
        let place = self.by_message.find(key.message?.hash(key.payload), |place| self.is_by_message(*place, key));
        self.id(*place?)
    }

    fn id(&self, place: u32) -> Option<DeliveryId> {
        self.at(place).map(|record| DeliveryId { number: record.number, place })
    }

    fn is_by_buffer(&self, place: u32, key: DedupKey) -> bool {
        is_by_buffer(&self.records, place, key)
    }

    fn is_by_message(&self, place: u32, key: DedupKey) -> bool {
        is_by_message(&self.records, place, key)
    }

    /// A delivery is held from now on, and what has these names is this one.
    pub(super) fn insert(&mut self, key: DedupKey) -> DeliveryId {
        let number = self.next;
        self.next += 1;
        let record = Record { number, key, slot: 0, earlier: NONE, later: NONE, state: DeliveryState::Held };
        let place = self.place(record);
        self.index_buffer(place, key);
        self.index_message(place, key);
        DeliveryId { number, place }
    }

    /// Puts a record where there is room.
    fn place(&mut self, record: Record) -> u32 {
        let place = self.vacant;
        if let Some(vacant) = self.at_mut(place) {
            let next = vacant.later;
            *vacant = record;
            self.vacant = next;
            return place;
        }
        // No memory holds as many as there are places.
        let place = u32::try_from(self.records.len()).unwrap_or(NONE);
        self.records.push(record);
        place
    }

    fn index_buffer(&mut self, place: u32, key: DedupKey) {
        let Some(name) = key.buffer else { return };
        let records = &self.records;
        let entry = self.by_buffer.entry(
            name.hash(key.payload),
            |known| is_by_buffer(records, *known, key),
            |known| records.get(*known as usize).map_or(0, Record::buffer_hash),
        );
        set(entry, place);
    }

    fn index_message(&mut self, place: u32, key: DedupKey) {
        let Some(name) = key.message else { return };
        let records = &self.records;
        let entry = self.by_message.entry(
            name.hash(key.payload),
            |known| is_by_message(records, *known, key),
            |known| records.get(*known as usize).map_or(0, Record::message_hash),
        );
        set(entry, place);
    }

    /// A delivery that has come under no buffer id yet came under this one.
    pub(super) fn name_by_buffer(&mut self, delivery: DeliveryId, name: Option<IdHash>) {
        let Some(record) = self.get_mut(delivery).filter(|record| record.key.buffer.is_none()) else { return };
        record.key.buffer = name;
        let key = record.key;
        self.index_buffer(delivery.place, key);
    }

    /// The application is done with a delivery. Whether it was held.
    pub(super) fn end(&mut self, delivery: DeliveryId, state: DeliveryState) -> bool {
        let latest = self.latest;
        let Some(record) = self.get_mut(delivery).filter(|record| record.state == DeliveryState::Held) else {
            return false;
        };
        record.state = state;
        if record.key.buffer.is_none() && record.key.message.is_none() {
            // Nothing could ever recognise it.
            self.vacate(delivery.place);
            return true;
        }
        record.earlier = latest;
        match self.at_mut(latest) {
            Some(latest) => latest.later = delivery.place,
            None => self.oldest = delivery.place,
        }
        self.latest = delivery.place;
        self.ended += 1;
        while self.ended > self.memory {
            match self.id(self.oldest) {
                Some(oldest) => self.forget(oldest),
                None => break,
            };
        }
        true
    }

    /// Forgets a delivery that has ended, and tells which slot it had.
    pub(super) fn forget(&mut self, delivery: DeliveryId) -> Option<u64> {
        let record = self.get(delivery).filter(|record| record.state != DeliveryState::Held)?;
        let (key, slot, earlier, later) = (record.key, record.slot, record.earlier, record.later);
        // What has its names may be a later one by now.
        let of_it = |place: &u32| *place == delivery.place;
        if let Some(name) = key.buffer
            && let Ok(entry) = self.by_buffer.find_entry(name.hash(key.payload), of_it)
        {
            entry.remove();
        }
        if let Some(name) = key.message
            && let Ok(entry) = self.by_message.find_entry(name.hash(key.payload), of_it)
        {
            entry.remove();
        }
        match self.at_mut(earlier) {
            Some(earlier) => earlier.later = later,
            None => self.oldest = later,
        }
        match self.at_mut(later) {
            Some(later) => later.earlier = earlier,
            None => self.latest = earlier,
        }
        self.ended -= 1;
        self.vacate(delivery.place);
        Some(slot)
    }

    fn vacate(&mut self, place: u32) {
        let next = self.vacant;
        if let Some(record) = self.at_mut(place) {
            record.number = VACANT;
            record.later = next;
            self.vacant = place;
        }
    }

    /// How many deliveries are known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.records.iter().filter(|record| record.number != VACANT).count()
    }
}

/// What is known, whatever is where: two that show the same behave alike.
impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ended = Vec::new();
        let mut place = self.oldest;
        while let Some(record) = self.at(place) {
            ended.push(record.number);
            place = record.later;
        }
        let mut known: Vec<_> = (self.records.iter().filter(|record| record.number != VACANT))
            .map(|record| {
                let leads_here = |id: Option<DeliveryId>| id.is_some_and(|id| id.number == record.number);
                let led_to = [self.by_buffer(record.key), self.by_message(record.key)].map(leads_here);
                (record.number, record.key, record.slot, record.state, led_to)
            })
            .collect();
        known.sort_by_key(|(number, ..)| *number);
        f.debug_struct("Records").field("next", &self.next).field("known", &known).field("ended", &ended).finish()
    }
}

impl Record {
    fn buffer_hash(&self) -> u64 {
        self.key.buffer.map_or(0, |name| name.hash(self.key.payload))
    }

    fn message_hash(&self) -> u64 {
        self.key.message.map_or(0, |name| name.hash(self.key.payload))
    }
}

fn is_by_buffer(records: &[Record], place: u32, key: DedupKey) -> bool {
    let known = records.get(place as usize).map(|record| record.key);
    known.is_some_and(|known| known.payload == key.payload && known.buffer == key.buffer)
}

fn is_by_message(records: &[Record], place: u32, key: DedupKey) -> bool {
    let known = records.get(place as usize).map(|record| record.key);
    known.is_some_and(|known| known.payload == key.payload && known.message == key.message)
}

fn set(entry: Entry<'_, u32>, place: u32) {
    match entry {
        Entry::Occupied(mut known) => *known.get_mut() = place,
        Entry::Vacant(vacant) => {
            vacant.insert(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::{BTreeMap, VecDeque};
    use proptest::prelude::*;

    const MEMORY: usize = 4;

    /// The same, written to be obviously right.
    #[derive(Default)]
    struct Plain {
        held: Vec<DeliveryId>,
        ended: VecDeque<DeliveryId>,
        by_buffer: BTreeMap<(u64, u64), DeliveryId>,
        by_message: BTreeMap<(u64, u64), DeliveryId>,
    }

    fn names(payload: u8, buffer: u8, message: u8) -> DedupKey {
        let name = |id: u8| (id > 0).then(|| IdHash::new(u64::from(id)));
        DedupKey { payload: u64::from(payload), buffer: name(buffer), message: name(message) }
    }

    fn key(payload: u8, id: u8) -> (u64, u64) {
        (u64::from(payload), u64::from(id))
    }

    impl Plain {
        fn forget(&mut self, id: DeliveryId) -> bool {
            let known = self.ended.iter().position(|other| *other == id).and_then(|at| self.ended.remove(at)).is_some();
            if known {
                self.drop_keys(id);
            }
            known
        }

        fn drop_keys(&mut self, id: DeliveryId) {
            self.by_buffer.retain(|_, of| *of != id);
            self.by_message.retain(|_, of| *of != id);
        }
    }

    proptest! {
        // proves: ACK-4
        #[test]
        fn they_recognise_what_plain_tables_recognise(
            steps in proptest::collection::vec((0u8..4, 0u8..2, 0u8..4, 0u8..3, any::<prop::sample::Index>()), 0..120),
        ) {
            let (mut records, mut plain) = (Records::new(MEMORY), Plain::default());
            let mut given = Vec::new();
            for (step, payload, buffer, message, which) in steps {
                let asked = names(payload, buffer, message);
                match step {
                    0 | 1 => {
                        let id = records.insert(asked);
                        prop_assert!(given.last().is_none_or(|last| *last < id), "later ones are greater");
                        given.push(id);
                        plain.held.push(id);
                        if buffer > 0 { plain.by_buffer.insert(key(payload, buffer), id); }
                        if message > 0 { plain.by_message.insert(key(payload, message), id); }
                    }
                    2 if !given.is_empty() => {
                        let id = *which.get(&given);
                        let held = plain.held.iter().position(|other| *other == id).map(|at| plain.held.remove(at));
                        let state = if buffer > 1 { DeliveryState::Taken } else { DeliveryState::Nacked };
                        let named = records.get(id).is_some_and(|record| {
                            record.key.buffer.is_some() || record.key.message.is_some()
                        });
                        prop_assert_eq!(records.end(id, state), held.is_some());
                        if held.is_some() && named {
                            plain.ended.push_back(id);
                            if plain.ended.len() > MEMORY {
                                let oldest = plain.ended[0];
                                plain.forget(oldest);
                            }
                        }
                    }
                    3 if !given.is_empty() => {
                        let id = *which.get(&given);
                        prop_assert_eq!(records.forget(id).is_some(), plain.forget(id));
                    }
                    _ => {}
                }
                prop_assert_eq!(records.len(), plain.held.len() + plain.ended.len());
                for (payload, id) in (0..2).flat_map(|payload| (1..4).map(move |id| (payload, id))) {
                    let asked = names(payload, id, id);
                    prop_assert_eq!(records.by_buffer(asked), plain.by_buffer.get(&key(payload, id)).copied());
                    prop_assert_eq!(records.by_message(asked), plain.by_message.get(&key(payload, id)).copied());
                }
            }
        }
    }

    #[test]
    fn a_record_takes_less_than_a_cache_line() {
        assert!(size_of::<Record>() <= 64, "{}", size_of::<Record>());
    }
}
