//! Connections that are no links: not upgraded yet, refused, or about to be closed. Anybody can make them, so there is a
//! bound to how many there are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::throttle::network;

/// All of them.
///
/// When there are too many, one makes room for the newcomer, and none waits: a gateway that means to link does so within moments.
/// Were the newcomer to wait instead, a few slow clients could keep everybody out. It is the oldest connection of the address
/// that has the most, the newcomer counted: so an address that opens many pushes out its own, and no gateway elsewhere.
#[derive(Debug)]
pub(super) struct PendingConnections {
    most: usize,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// The numbers of each address, in the order in which they came.
    of: BTreeMap<IpAddr, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Waiting {
    address: IpAddr,
    away: Arc<Notify>,
}

/// One of them, for as long as it is one.
#[derive(Debug)]
pub(super) struct PendingConnection {
    pending_connections: Arc<PendingConnections>,
    number: u64,
    away: Arc<Notify>,
}

impl PendingConnections {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: most.max(1), line: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more, and the address of the one that has to go for it, if there are too many.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> (PendingConnection, Option<IpAddr>) {
        let (address, away) = (network(address), Arc::new(Notify::new()));
        let mut line = self.lock();
        let number = line.next;
        line.next += 1;
        let sent_away = if line.waiting.len() >= self.most { line.make_room(address) } else { None };
        line.waiting.insert(number, Waiting { address, away: away.clone() });
        line.of.entry(address).or_default().insert(number);
        drop(line);
        (PendingConnection { pending_connections: self.clone(), number, away }, sent_away)
    }
}

impl Line {
    /// Sends one away for a newcomer from this address. Whose it was.
    fn make_room(&mut self, newcomer: IpAddr) -> Option<IpAddr> {
        // There are as many addresses as connections at most, and as a rule few of either.
        let share = |(address, numbers): &(&IpAddr, &BTreeSet<u64>)| numbers.len() + usize::from(**address == newcomer);
        let oldest = |numbers: &BTreeSet<u64>| std::cmp::Reverse(numbers.first().copied());
        let number = *self.of.iter().max_by_key(|of| (share(of), oldest(of.1)))?.1.first()?;
        let sent_away = self.remove(number)?;
        sent_away.away.notify_one();
        Some(sent_away.address)
    }

    fn remove(&mut self, number: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&number)?;
        if let Some(numbers) = self.of.get_mut(&waiting.address) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.of.remove(&waiting.address);
            }
        }
        Some(waiting)
    }
}

impl PendingConnection {
    /// Waits until it has to go, for good.
    pub(super) async fn sent_away(&self) {
        self.away.notified().await;
    }
}

impl Drop for PendingConnection {
    fn drop(&mut self) {
        self.pending_connections.lock().remove(self.number);
    }
}

/// Waits until it has to go; a link never has to.
pub(super) async fn sent_away(pending: Option<&PendingConnection>) {
    match pending {
        Some(pending) => pending.sent_away().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    #[tokio::test]
    async fn the_oldest_makes_room() {
        let pending_connections = PendingConnections::new(2);
        let admit = || pending_connections.admit(from(1)).0;
        let (first, second) = (admit(), admit());
        drop(second);
        let third = admit();
        let fourth = admit();
        first.sent_away().await;
        let _fifth = admit();
        third.sent_away().await;
        assert_eq!(pending_connections.lock().waiting.len(), 2);
        drop((first, third, fourth));
        assert_eq!(
            pending_connections.lock().waiting.len(),
            1,
            "those that were sent away are counted no more, and not twice"
        );
        assert_eq!(pending_connections.lock().of.len(), 1);
    }

    // proves: CONN-9
    #[tokio::test]
    async fn the_address_with_the_most_makes_room() {
        let pending_connections = PendingConnections::new(4);
        let (_slow, gone) = pending_connections.admit(from(1));
        assert_eq!(gone, None);
        let mut many: Vec<_> = (0..100).map(|_| pending_connections.admit(from(2))).collect();
        assert!(many[3..].iter().all(|(_, gone)| *gone == Some(from(2))), "its own");
        // Two others come, and then there are as many of each.
        let (_second, gone) = pending_connections.admit(from(1));
        assert_eq!(gone, Some(from(2)));
        let (third, gone) = pending_connections.admit(from(1));
        assert_eq!(gone, Some(from(1)), "with the newcomer they have more than the others");
        drop((third, many.pop()));
        assert_eq!(pending_connections.admit(from(3)).1, None);
    }

    #[test]
    fn no_room_is_room_for_one() {
        let pending_connections = PendingConnections::new(0);
        let _one = pending_connections.admit(from(1));
        assert_eq!(pending_connections.lock().waiting.len(), 1);
    }
}
