//! Which of a host's addresses are tried, and when (DIAL-6; RFC 8305, "happy eyeballs").

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

/// How long an address is tried alone before the next one is tried beside it (RFC 8305, 5).
const HEAD_START: Duration = Duration::from_millis(250);
/// The most addresses of one host that are tried.
const MOST: usize = 32;

/// One try to connect, among those of one dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(u16);

/// The addresses of one dial.
#[derive(Debug)]
pub(super) struct Attempts {
    waiting: VecDeque<SocketAddr>,
    under_way: Vec<(Attempt, SocketAddr)>,
    started: u16,
    /// When the next one starts, whatever has become of those before it.
    next_at: Duration,
    failures: Vec<String>,
}

impl Attempts {
    /// Addresses in the order in which the resolver prefers them; tried with the families taking turns.
    pub(super) fn new(addresses: &[SocketAddr], now: Duration) -> Self {
        let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
        let (mut preferred, mut other): (VecDeque<_>, VecDeque<_>) =
            addresses.iter().copied().partition(|address| address.is_ipv6() == first_is_v6);
        let mut waiting = VecDeque::new();
        while waiting.len() < MOST && !(preferred.is_empty() && other.is_empty()) {
            for address in [preferred.pop_front(), other.pop_front()].into_iter().flatten() {
                if !waiting.contains(&address) {
                    waiting.push_back(address);
                }
            }
        }
        Self { waiting, under_way: Vec::new(), started: 0, next_at: now, failures: Vec::new() }
    }

    /// The next try, if one is due.
    pub(super) fn poll(&mut self, now: Duration) -> Option<(Attempt, SocketAddr)> {
        if now < self.next_at {
            return None;
        }
        let address = self.waiting.pop_front()?;
        let attempt = (Attempt(self.started), address);
        self.started = self.started.saturating_add(1);
        self.under_way.push(attempt);
        self.next_at = now.saturating_add(HEAD_START);
        Some(attempt)
    }

    /// When the next try is due.
    pub(super) fn next_at(&self) -> Option<Duration> {
        (!self.waiting.is_empty()).then_some(self.next_at)
    }

    /// Whether this try is still under way.
    pub(super) fn has(&self, attempt: Attempt) -> bool {
        self.under_way.iter().any(|(other, _)| *other == attempt)
    }

    /// A try has failed: the next one starts at once.
    pub(super) fn failed(&mut self, attempt: Attempt, detail: &str, now: Duration) {
        if let Some(at) = self.under_way.iter().position(|(other, _)| *other == attempt) {
            let (_, address) = self.under_way.remove(at);
            self.failures.push(format!("{address}: {detail}"));
            self.next_at = now;
        }
    }

    /// Why there is no connection, once every address has been tried.
    pub(super) fn exhausted(&self) -> Option<String> {
        let over = self.waiting.is_empty() && self.under_way.is_empty();
        over.then(|| match self.failures.as_slice() {
            [] => "the name has no address".to_string(),
            failures => failures.join("; "),
        })
    }

    /// The tries other than this one, which has won.
    pub(super) fn losers(&self, winner: Attempt) -> impl Iterator<Item = Attempt> {
        self.under_way.iter().map(|(attempt, _)| *attempt).filter(move |attempt| *attempt != winner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|address| address.parse().unwrap()).collect()
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    // proves: DIAL-6
    #[test]
    fn families_take_turns_and_each_has_a_head_start() {
        let list = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "[::1]:1"]);
        let mut attempts = Attempts::new(&list, ms(0));
        let mut order = Vec::new();
        for at in (0..2000).step_by(50).map(ms) {
            while let Some((_, address)) = attempts.poll(at) {
                order.push((at.as_millis(), address));
            }
        }
        let expected = [(0, list[0]), (250, list[3]), (500, list[1]), (750, list[2])];
        assert_eq!(order, expected);
        assert_eq!(attempts.next_at(), None);
    }

    // proves: DIAL-6
    #[test]
    fn a_failure_starts_the_next_at_once_and_the_last_one_tells_all() {
        let list = addresses(&["1.1.1.1:1", "2.2.2.2:1"]);
        let mut attempts = Attempts::new(&list, ms(0));
        let (first, _) = attempts.poll(ms(0)).unwrap();
        assert_eq!((attempts.poll(ms(10)), attempts.next_at()), (None, Some(ms(250))));
        attempts.failed(first, "refused", ms(20));
        attempts.failed(first, "told twice", ms(20));
        assert_eq!(attempts.exhausted(), None);
        let (second, address) = attempts.poll(ms(20)).unwrap();
        assert_eq!(address, list[1]);
        attempts.failed(second, "unreachable", ms(30));
        assert_eq!(attempts.exhausted().unwrap(), "1.1.1.1:1: refused; 2.2.2.2:1: unreachable");
    }

    #[test]
    fn the_first_connection_wins_over_all_that_are_under_way() {
        let list = addresses(&["1.1.1.1:1", "[::1]:1", "2.2.2.2:1"]);
        let mut attempts = Attempts::new(&list, ms(0));
        let (first, _) = attempts.poll(ms(0)).unwrap();
        let (second, _) = attempts.poll(ms(250)).unwrap();
        assert!(attempts.has(first) && attempts.has(second) && first != second);
        assert_eq!(attempts.losers(second).collect::<Vec<_>>(), [first]);
    }

    #[test]
    fn no_address_is_an_end_and_a_thousand_are_bounded() {
        assert_eq!(Attempts::new(&[], ms(0)).exhausted().unwrap(), "the name has no address");
        let many: Vec<SocketAddr> = (0..1000_u16).map(|port| SocketAddr::from(([1, 1, 1, 1], port))).collect();
        let mut attempts = Attempts::new(&many, ms(0));
        let mut started = 0;
        while let Some((attempt, _)) = attempts.poll(ms(0)) {
            attempts.failed(attempt, "refused", ms(0));
            started += 1;
        }
        assert_eq!(started, MOST);
    }
}
