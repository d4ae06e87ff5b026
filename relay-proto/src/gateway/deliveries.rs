//! Deliveries, their acknowledgement, and the memory that recognises replays (ACK-1 to ACK-6).

mod records;

use alloc::collections::{BTreeMap, VecDeque};
use core::hash::{BuildHasher, Hasher};

use foldhash::quality::FixedState;

use self::records::{DedupKey, DeliveryState, IdHash, Records};
use super::output::DeliveryId;
use crate::frame::BufferId;

/// How many bytes of buffer ids a link may owe acknowledgements for, before replays are owed none (FRAME-3).
const MAX_OWED_BYTES: usize = 1 << 20;

/// An acknowledgement that this link owes, in arrival order.
#[derive(Clone, Debug)]
struct Slot {
    buffer_id: BufferId,
    delivery: DeliveryId,
    taken: bool,
}

/// Whether to show a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Show(DeliveryId),
    Suppress,
}

#[derive(Clone, Debug)]
pub(crate) struct Deliveries {
    hasher: FixedState,
    /// How many aliases are kept.
    memory: usize,
    records: Records,
    order: VecDeque<Slot>,
    /// Further slots of deliveries that this link carried under several buffer ids.
    aliases: BTreeMap<(DeliveryId, BufferId), u64>,
    /// Bytes of buffer ids in `order`.
    owed_bytes: usize,
    /// The number of the slot at the front of `order`. Grows for ever, also over links. There is no slot 0.
    first_slot: u64,
}

impl Deliveries {
    pub(crate) fn new(seed: u64, memory: usize) -> Self {
        Self {
            hasher: FixedState::with_seed(seed),
            memory,
            records: Records::new(memory),
            order: VecDeque::new(),
            aliases: BTreeMap::new(),
            owed_bytes: 0,
            first_slot: 1,
        }
    }

    /// Keyed, so that nobody outside can look for two messages that collide.
    fn hash<const N: usize>(&self, parts: [&str; N]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part.as_bytes());
        }
        hasher.finish()
    }

    /// A delivery arrived. `message`: its platform, chat and message id, when it has all that names a message.
    pub(crate) fn admit(
        &mut self,
        buffer_id: Option<&BufferId>,
        payload: &str,
        message: Option<[&str; 3]>,
    ) -> Admission {
        let key = DedupKey {
            payload: self.hash([payload]),
            buffer: buffer_id.map(|id| IdHash::new(self.hash([id.as_str()]))),
            message: message.map(|parts| IdHash::new(self.hash(parts))),
        };
        let mut slot = None;
        if let Some(buffer_id) = buffer_id {
            // Live deliveries are never suppressed, so only buffered ones are looked up.
            let seen = self.records.by_buffer(key).or_else(|| self.records.by_message(key));
            if let Some(seen) = seen {
                match self.records.get(seen).map(|record| record.state) {
                    Some(state @ (DeliveryState::Held | DeliveryState::Taken)) => {
                        // What is not shown weighs on no queue, so that its ids are bounded here. A replay that is not
                        // owed an acknowledgement comes again on the next link.
                        if self.owed_bytes + buffer_id.len() <= MAX_OWED_BYTES {
                            self.owe(seen, buffer_id, key.buffer, state == DeliveryState::Taken);
                        }
                        return Admission::Suppress;
                    }
                    Some(DeliveryState::Nacked) | None => slot = self.records.forget(seen),
                }
            }
        }
        let delivery = self.records.insert(key);
        if let Some(buffer_id) = buffer_id {
            match slot.filter(|slot| self.slot_mut(*slot).is_some_and(|slot| slot.buffer_id == *buffer_id)) {
                // Given back and replayed on one link: it keeps its place in the order.
                Some(number) => {
                    if let Some(slot) = self.slot_mut(number) {
                        slot.delivery = delivery;
                    }
                    if let Some(record) = self.records.get_mut(delivery) {
                        record.slot = number;
                    }
                }
                None => self.owe(delivery, buffer_id, key.buffer, false),
            }
        }
        Admission::Show(delivery)
    }

    /// About how many bytes the acknowledgements that this link owes take. They wait for the application alone, however
    /// much it has read: one delivery given back holds up all behind it (ACK-2).
    pub(crate) fn owed(&self) -> usize {
        self.owed_bytes + self.order.len() * size_of::<Slot>()
    }

    /// Where a slot is in the order of this link; `None` when it has left, or is of an earlier link.
    fn index(&self, slot: u64) -> Option<usize> {
        usize::try_from(slot.checked_sub(self.first_slot)?).ok()
    }

    fn slot_mut(&mut self, number: u64) -> Option<&mut Slot> {
        let index = self.index(number)?;
        self.order.get_mut(index)
    }

    /// This link owes an acknowledgement of `buffer_id`. One that it owes already is not owed twice.
    fn owe(&mut self, delivery: DeliveryId, buffer_id: &BufferId, by_buffer: Option<IdHash>, taken: bool) {
        let next_slot = self.first_slot + self.order.len() as u64;
        // Seen live first: from now on its buffer id recognises it too.
        self.records.name_by_buffer(delivery, by_buffer);
        let Some(slot) = self.records.get(delivery).map(|record| record.slot) else { return };
        match self.index(slot) {
            // Its first id was acknowledged on this link; this one may be owed already.
            None if !self.aliases.is_empty() && self.aliases.contains_key(&(delivery, buffer_id.clone())) => return,
            None => {
                if let Some(record) = self.records.get_mut(delivery) {
                    record.slot = next_slot;
                }
            }
            Some(index) => {
                if self.order.get(index).is_some_and(|slot| slot.buffer_id == *buffer_id) {
                    return;
                }
                // A peer that repeats one message under ever new ids is not owed ever more: what is not acknowledged
                // comes again on the next link.
                let alias = (delivery, buffer_id.clone());
                if self.aliases.len() >= self.memory || self.aliases.contains_key(&alias) {
                    return;
                }
                self.aliases.insert(alias, next_slot);
            }
        }
        self.owed_bytes += buffer_id.len();
        self.order.push_back(Slot { buffer_id: buffer_id.clone(), delivery, taken });
    }

    /// The application took it. Whether it was held.
    pub(crate) fn take(&mut self, delivery: DeliveryId) -> bool {
        let Some(record) = self.records.get(delivery).filter(|record| record.state == DeliveryState::Held) else {
            return false;
        };
        let number = record.slot;
        if let Some(slot) = self.slot_mut(number) {
            slot.taken = true;
        }
        if !self.aliases.is_empty() {
            self.take_aliases(delivery);
        }
        self.records.end(delivery, DeliveryState::Taken)
    }

    fn take_aliases(&mut self, delivery: DeliveryId) {
        // An alias has at least one letter, so that the empty one comes before all of a delivery.
        let aliases = self.aliases.range((delivery, BufferId::from(""))..);
        for (_, number) in aliases.take_while(|((of, _), _)| *of == delivery) {
            let index = number.checked_sub(self.first_slot).and_then(|index| usize::try_from(index).ok());
            if let Some(slot) = index.and_then(|index| self.order.get_mut(index)) {
                slot.taken = true;
            }
        }
    }

    /// Whether this link owes an acknowledgement of it, so that none behind it leaves before (ACK-2).
    pub(crate) fn is_owed(&self, delivery: DeliveryId) -> bool {
        self.records.get(delivery).is_some_and(|record| self.index(record.slot).is_some())
    }

    /// The application gave it back, or dropped it. Whether it was held.
    pub(crate) fn nack(&mut self, delivery: DeliveryId) -> bool {
        self.records.end(delivery, DeliveryState::Nacked)
    }

    /// The next acknowledgement that may leave: that of the oldest delivery on this link, once it was taken (ACK-2).
    pub(crate) fn pop_ack(&mut self) -> Option<BufferId> {
        if !self.order.front()?.taken {
            return None;
        }
        let Slot { buffer_id, delivery, .. } = self.order.pop_front()?;
        self.owed_bytes -= buffer_id.len();
        if !self.aliases.is_empty() {
            self.aliases.remove(&(delivery, buffer_id.clone()));
        }
        self.first_slot += 1;
        Some(buffer_id)
    }

    /// The link is gone, and with it what it owed (ACK-3).
    pub(crate) fn end_link(&mut self) {
        self.first_slot += self.order.len() as u64;
        self.order = VecDeque::new();
        self.aliases = BTreeMap::new();
        self.owed_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    fn table() -> Deliveries {
        Deliveries::new(1, 4)
    }

    fn buffered(table: &mut Deliveries, id: &str, payload: &str) -> Option<DeliveryId> {
        shown(table.admit(Some(&id.into()), payload, None))
    }

    fn shown(admission: Admission) -> Option<DeliveryId> {
        match admission {
            Admission::Show(id) => Some(id),
            Admission::Suppress => None,
        }
    }

    fn acks(table: &mut Deliveries) -> Vec<String> {
        core::iter::from_fn(|| table.pop_ack()).map(|id| id.as_str().into()).collect()
    }

    // proves: ACK-1, ACK-2
    #[test]
    fn acks_leave_when_taken_and_in_arrival_order() {
        let mut table = table();
        let ids: Vec<_> = ["a", "b", "c"].map(|id| buffered(&mut table, id, id).unwrap()).into();
        assert!(acks(&mut table).is_empty(), "nothing before the application took something");
        assert!(table.take(ids[1]) && table.take(ids[2]));
        assert!(acks(&mut table).is_empty(), "b and c wait for a");
        assert!(table.take(ids[0]));
        assert_eq!(acks(&mut table), ["a", "b", "c"]);
        assert!(!table.take(ids[0]), "a second time is nothing");
        assert!(acks(&mut table).is_empty());
    }

    // proves: ACK-2, ACK-4
    #[test]
    fn a_delivery_given_back_holds_back_what_is_behind_it_until_the_next_link() {
        let mut table = table();
        let a = buffered(&mut table, "a", "A").unwrap();
        let b = buffered(&mut table, "b", "B").unwrap();
        assert!(table.nack(a) && table.take(b));
        assert!(acks(&mut table).is_empty());
        table.end_link();
        let again = buffered(&mut table, "a", "A").expect("given back: shown again");
        assert_eq!(buffered(&mut table, "b", "B"), None, "taken: not shown again");
        assert!(acks(&mut table).is_empty(), "in order: a first");
        table.take(again);
        assert_eq!(acks(&mut table), ["a", "b"]);
    }

    // proves: ACK-3
    #[test]
    fn what_is_taken_after_its_link_died_is_acknowledged_on_the_link_that_replays_it() {
        let mut table = table();
        let a = buffered(&mut table, "a", "A").unwrap();
        table.end_link();
        table.take(a);
        assert!(acks(&mut table).is_empty(), "not on a link that did not carry it");
        assert_eq!(buffered(&mut table, "a", "A"), None);
        assert_eq!(acks(&mut table), ["a"]);
    }

    // proves: ACK-4
    #[test]
    fn a_replay_of_what_is_still_held_waits_for_the_application() {
        let mut table = table();
        let a = buffered(&mut table, "a", "A").unwrap();
        table.end_link();
        assert_eq!(buffered(&mut table, "a", "A"), None);
        assert!(acks(&mut table).is_empty());
        table.take(a);
        assert_eq!(acks(&mut table), ["a"], "one ack on the new link");
    }

    // proves: ACK-1 (the first acknowledgement of a message has left, and one under another id waits)
    #[test]
    fn one_buffer_id_is_not_acknowledged_twice_for_one_message() {
        let mut table = table();
        let message = Some(["discord", "c", "m"]);
        let first = buffered(&mut table, "0", "0").unwrap();
        let a = shown(table.admit(Some(&"1".into()), "A", message)).unwrap();
        let b = buffered(&mut table, "2", "B").unwrap();
        assert_eq!(shown(table.admit(Some(&"3".into()), "A", message)), None);
        assert!(table.take(a) && table.take(first));
        assert_eq!(acks(&mut table), ["0", "1"]);
        assert_eq!(shown(table.admit(Some(&"3".into()), "A", message)), None);
        assert!(table.take(b));
        assert_eq!(acks(&mut table), ["2", "3"]);
    }

    // proves: ACK-4
    #[test]
    fn equal_ids_with_another_payload_are_another_message() {
        let mut table = table();
        let a = buffered(&mut table, "1", "A").unwrap();
        table.take(a);
        assert_eq!(acks(&mut table), ["1"]);
        let b = buffered(&mut table, "1", "B").expect("a reused buffer id");
        table.take(b);
        assert_eq!(acks(&mut table), ["1"]);
        let message = Some(["discord", "c", "m"]);
        shown(table.admit(None, "A", message)).unwrap();
        assert!(shown(table.admit(Some(&"2".into()), "B", message)).is_some());
    }

    // proves: ACK-4
    #[test]
    fn a_buffered_copy_of_a_live_message_is_a_replay_and_live_ones_are_never_suppressed() {
        let mut table = table();
        let message = Some(["discord", "c", "m"]);
        let live = shown(table.admit(None, "A", message)).unwrap();
        assert_eq!(shown(table.admit(Some(&"1".into()), "A", message)), None);
        assert!(acks(&mut table).is_empty(), "still held");
        table.take(live);
        assert_eq!(acks(&mut table), ["1"]);
        assert!(shown(table.admit(None, "A", message)).is_some(), "live: shown, whatever was before");
        assert_eq!(buffered(&mut table, "1", "A"), None, "the buffer id recognises it from now on");
    }

    // proves: ACK-4
    #[test]
    fn a_connector_that_repeats_itself_on_one_link_gets_one_ack_until_it_was_sent() {
        let mut table = table();
        let a = buffered(&mut table, "a", "A").unwrap();
        assert_eq!(buffered(&mut table, "a", "A"), None);
        table.take(a);
        assert_eq!(acks(&mut table), ["a"]);
        assert_eq!(buffered(&mut table, "a", "A"), None);
        assert_eq!(acks(&mut table), ["a"], "it missed the first ack: it gets another");
        let b = buffered(&mut table, "b", "B").unwrap();
        table.nack(b);
        let b = buffered(&mut table, "b", "B").unwrap();
        table.take(b);
        assert_eq!(acks(&mut table), ["b"], "given back and repeated: it keeps its place");
    }

    // proves: ACK-4
    #[test]
    fn one_message_under_two_buffer_ids_is_shown_once_and_acknowledged_twice() {
        let mut table = table();
        let message = Some(["discord", "c", "m"]);
        let a = shown(table.admit(Some(&"1".into()), "A", message)).unwrap();
        assert_eq!(shown(table.admit(Some(&"2".into()), "A", message)), None);
        table.take(a);
        assert_eq!(acks(&mut table), ["1", "2"]);
    }

    // proves: ACK-1, ACK-4
    #[test]
    fn a_message_repeated_under_its_second_buffer_id_is_owed_one_ack_for_it() {
        let mut table = table();
        let message = Some(["discord", "c", "m"]);
        let a = shown(table.admit(Some(&"1".into()), "A", message)).unwrap();
        let b = buffered(&mut table, "b", "B").unwrap();
        assert_eq!(shown(table.admit(Some(&"2".into()), "A", message)), None);
        table.take(a);
        assert_eq!(acks(&mut table), ["1"], "b holds up the other");
        assert_eq!(shown(table.admit(Some(&"2".into()), "A", message)), None, "it comes again meanwhile");
        table.take(b);
        assert_eq!(acks(&mut table), ["b", "2"]);
    }

    // proves: ACK-4
    #[test]
    fn the_memory_is_bounded_and_forgets_the_oldest_first() {
        let mut table = table();
        for i in 0..100 {
            let id = buffered(&mut table, &format!("{i}"), "x").unwrap();
            table.take(id);
        }
        assert_eq!(table.records.len(), 4);
        assert_eq!(buffered(&mut table, "96", "x"), None);
        assert!(buffered(&mut table, "95", "x").is_some(), "forgotten, so shown again: at least once");
        for i in 0..100 {
            let id = shown(table.admit(None, &format!("{i}"), None)).unwrap();
            table.take(id);
        }
        assert_eq!(table.records.len(), 5, "live deliveries without ids leave nothing");
    }
}
