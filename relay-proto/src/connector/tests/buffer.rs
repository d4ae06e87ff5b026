//! The buffer by itself: what it holds, in bytes and in entries.

use super::*;
use crate::connector::buffer::Buffer;

fn ids(buffer: &Buffer) -> Vec<u64> {
    buffer.in_flight(u64::MAX).map(|entry| entry.id.seq()).collect()
}

// proves: CONN-7
#[test]
fn bytes_are_counted_as_entries_come_and_go() {
    let mut buffer = Buffer::stored(1, 0, 0, 0, 4);
    for frame in ["four", "seven..", "one"] {
        buffer.append(frame.into());
    }
    assert_eq!(buffer.held_bytes(), 4 + 7 + 3);
    buffer.on_not_stored(EntryId::new(1, 1));
    assert_eq!((buffer.held_bytes(), buffer.waiting()), (4 + 3, 2));
    buffer.on_stored(EntryId::new(1, 0));
    buffer.remove(EntryId::new(1, 0)).unwrap();
    assert_eq!((buffer.held_bytes(), buffer.waiting()), (3, 1));
}

// proves: CONN-7
#[test]
fn two_windows_are_held_and_the_rest_is_the_stores() {
    let mut buffer = Buffer::stored(1, 0, 0, 0, 2);
    for n in 0..7 {
        buffer.append(format!("{n}"));
        buffer.on_stored(EntryId::new(1, n));
    }
    assert_eq!(ids(&buffer), [0, 1, 2, 3]);
    buffer.remove(EntryId::new(1, 0)).unwrap();
    assert_eq!(buffer.fetch(), None, "a quarter of it has to be free, and more");
    buffer.remove(EntryId::new(1, 1)).unwrap();
    let fetch = buffer.fetch().unwrap();
    assert_eq!((fetch.from, fetch.until, fetch.count), (4, 7, 2));
}

// proves: CONN-7
#[test]
fn a_store_cannot_bring_what_was_not_asked_for() {
    let mut buffer = Buffer::stored(1, 0, 3, 3, 2);
    assert_eq!(buffer.fetch().map(|fetch| (fetch.from, fetch.until)), Some((0, 3)));
    // Appended while the store reads, and not durable: the store has no business with it.
    buffer.append("3".into());
    buffer.on_fetched([0, 1, 3].map(|seq| (EntryId::new(1, seq), format!("{seq}"))));
    assert_eq!(ids(&buffer), [0, 1]);
}

// proves: CONN-7
#[test]
fn only_what_this_process_gave_to_the_store_is_confirmed() {
    let mut buffer = Buffer::stored(2, 0, 0, 0, 2);
    buffer.append("frame".into());
    assert!(!buffer.on_stored(EntryId::new(1, 0)), "that was another epoch");
    assert!(buffer.is_storing());
    assert!(buffer.on_stored(EntryId::new(2, 0)));
    assert!(!buffer.is_storing());
}
