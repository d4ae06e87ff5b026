//! Connections that are no links: not upgraded yet, refused, or about to be closed. Anybody can make them, so there is a
//! bound to how many there are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// All of them.
///
/// The oldest makes room for one that comes when there are too many, and nobody waits: whoever means to link does so
/// within moments, so that the oldest are those that do not. Were the newcomer to wait instead, a few slow clients could
/// keep everybody out.
#[derive(Debug)]
pub(super) struct Strangers {
    most: usize,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    next: u64,
    /// In the order in which they came.
    waiting: BTreeMap<u64, Arc<Notify>>,
}

/// One of them, for as long as it is one.
#[derive(Debug)]
pub(super) struct Stranger {
    strangers: Arc<Strangers>,
    number: u64,
    away: Arc<Notify>,
}

impl Strangers {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: most.max(1), line: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more, at the price of the oldest if there are too many.
    pub(super) fn admit(self: &Arc<Self>) -> Stranger {
        let away = Arc::new(Notify::new());
        let mut line = self.lock();
        while line.waiting.len() >= self.most {
            let Some((_, oldest)) = line.waiting.pop_first() else { break };
            oldest.notify_one();
        }
        let number = line.next;
        line.next += 1;
        line.waiting.insert(number, away.clone());
        Stranger { strangers: self.clone(), number, away }
    }
}

impl Stranger {
    /// Waits until it has to go, for good.
    pub(super) async fn sent_away(&self) {
        self.away.notified().await;
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.strangers.lock().waiting.remove(&self.number);
    }
}

/// Waits until it has to go; a link never has to.
pub(super) async fn sent_away(stranger: Option<&Stranger>) {
    match stranger {
        Some(stranger) => stranger.sent_away().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_makes_room() {
        let strangers = Strangers::new(2);
        let (first, second) = (strangers.admit(), strangers.admit());
        drop(second);
        let third = strangers.admit();
        let fourth = strangers.admit();
        first.sent_away().await;
        let _fifth = strangers.admit();
        third.sent_away().await;
        assert_eq!(strangers.lock().waiting.len(), 2);
        drop((first, third, fourth));
        assert_eq!(strangers.lock().waiting.len(), 1, "those that were sent away are counted no more, and not twice");
    }

    #[test]
    fn no_room_is_room_for_one() {
        let strangers = Strangers::new(0);
        let _one = strangers.admit();
        assert_eq!(strangers.lock().waiting.len(), 1);
    }
}
