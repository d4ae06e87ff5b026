//! Descriptors that are alike are kept once.
//!
//! A connector describes a platform to every gateway in the same words, and a process may have thousands of gateways.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use super::Descriptor;

/// How many are known before the first time that those nobody has any more are forgotten.
const FEW: usize = 64;

static KNOWN: LazyLock<Known> = LazyLock::new(Known::default);

#[derive(Default)]
struct Known {
    hasher: RandomState,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// By the hash of their JSON, which no peer can foresee. Of two with the same hash only one is shared.
    descriptors: HashMap<u64, Weak<Descriptor>>,
    /// How many there may be before those that are gone are looked for.
    limit: usize,
}

impl Known {
    fn share(&self, descriptor: Descriptor) -> Arc<Descriptor> {
        let Some(raw) = &descriptor.raw else { return Arc::new(descriptor) };
        // All gateways share the lock: what takes its time with a large descriptor is done without it.
        let hash = self.hasher.hash_one(raw.as_str());
        let known = self.table().descriptors.get(&hash).and_then(Weak::upgrade);
        if let Some(known) = known.filter(|known| **known == descriptor) {
            return known;
        }
        let descriptor = Arc::new(descriptor);
        self.table().insert(hash, Arc::downgrade(&descriptor));
        descriptor
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // A panic under it would be a mistake of ours, and leaves nothing half done.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn insert(&mut self, hash: u64, descriptor: Weak<Descriptor>) {
        self.descriptors.insert(hash, descriptor);
        if self.descriptors.len() > self.limit.max(FEW) {
            self.descriptors.retain(|_, descriptor| descriptor.strong_count() > 0);
            self.limit = self.descriptors.len() * 2;
        }
    }
}

/// The descriptor, or the same one that some gateway of this process has already.
pub(crate) fn share(descriptor: Descriptor) -> Arc<Descriptor> {
    KNOWN.share(descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::vec::Vec;

    fn descriptor(label: usize) -> Descriptor {
        Descriptor::parse(&format!("{{\"label\":\"{label}\"}}")).unwrap()
    }

    #[test]
    fn what_is_alike_is_one() {
        let known = Known::default();
        let [one, same, other] = [1, 1, 2].map(|label| known.share(descriptor(label)));
        assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
        assert_eq!((&*one, &*other), (&descriptor(1), &descriptor(2)));
        let spaced = Descriptor::parse("{\"label\": \"1\"}").unwrap();
        assert_eq!(*known.share(spaced.clone()), spaced, "the text counts, and not what it stands for");
        assert_eq!(*known.share(Descriptor::new("relay")), Descriptor::new("relay"));
    }

    #[test]
    fn what_nobody_has_is_forgotten() {
        let known = Known::default();
        let kept: Vec<_> = (0..3 * FEW).map(|label| known.share(descriptor(label))).collect();
        for label in 3 * FEW..100 * FEW {
            known.share(descriptor(label));
        }
        let left = known.table().descriptors.len();
        assert!(left < 8 * FEW, "{left}");
        for (label, kept) in kept.iter().enumerate() {
            assert!(Arc::ptr_eq(kept, &known.share(descriptor(label))), "{label}");
        }
    }
}
