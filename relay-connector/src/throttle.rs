//! Limits on failed authentications: how often an address, or those who claim an id, may show a credential that does not hold.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Keys that are remembered. Beyond that the one with the fewest recent failures is forgotten, so that many addresses cost a
/// bounded amount of memory.
const MAX_KEYS: usize = 4096;
/// How many times the budget of one address the budget of one id is: several addresses have to work together to use it up.
const ADDRESSES: u32 = 10;
/// The addresses of one gateway that are remembered as proven.
const MAX_PROVEN: usize = 8;

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A token bucket for each key.
#[derive(Debug)]
struct Throttle<K> {
    burst: u32,
    every: Duration,
    /// For each key, when its bucket will be full again. One that is full need not be remembered.
    full_at: BTreeMap<K, Duration>,
}

impl<K: Ord + Copy> Throttle<K> {
    fn new(burst: u32, every: Duration) -> Self {
        let burst = burst.max(1);
        // A whole bucket takes at most a century to fill, which can still be added to a time.
        Self { burst, every: every.min(CENTURY / burst), full_at: BTreeMap::new() }
    }

    /// How long it takes until the bucket of this key has a token; `None` while it has one.
    fn wait(&self, key: K, now: Duration) -> Option<Duration> {
        let until_full = self.full_at.get(&key)?.saturating_sub(now);
        let until_one = self.every.saturating_mul(self.burst - 1);
        until_full.checked_sub(until_one).filter(|wait| !wait.is_zero())
    }

    /// Takes a token from the bucket of this key; none, if it is empty.
    fn take(&mut self, key: K, now: Duration) {
        if self.wait(key, now).is_some() {
            return;
        }
        let full_at = self.full_at.get(&key).copied().unwrap_or(now).max(now).saturating_add(self.every);
        if self.full_at.len() >= MAX_KEYS && !self.full_at.contains_key(&key) {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= MAX_KEYS
                && let Some(fewest) = self.full_at.iter().min_by_key(|(_, at)| **at).map(|(key, _)| *key)
            {
                self.full_at.remove(&fewest);
            }
        }
        self.full_at.insert(key, full_at);
    }
}

/// Counts failed authentications by the address that they come from and by the id that they claim (CONN-8).
///
/// While either is over its limit, the right credential is refused as well; otherwise the limit would slow down only the
/// guesses that are wrong. That alone would let a stranger lock a gateway out, with wrong tokens for its id or from an address
/// that they share. So there is an exception for gateways whose secrets are too strong to be guessed: an address from which
/// one has shown a right token is [proven](Self::prove) for it, and from there its right tokens are let in whatever the
/// counts are.
#[derive(Debug)]
pub(super) struct Failures {
    addresses: Throttle<IpAddr>,
    /// By fingerprint: ids can be long, and are the claims of strangers.
    ids: Throttle<u64>,
    hasher: RandomState,
    /// By id, the addresses that are proven, the latest last. Only right tokens make entries here.
    proven: BTreeMap<String, VecDeque<IpAddr>>,
}

impl Failures {
    /// Each address may fail this often at once, and once more after this time.
    pub(super) fn new(burst: u32, every: Duration) -> Self {
        Self {
            addresses: Throttle::new(burst, every),
            ids: Throttle::new(burst.saturating_mul(ADDRESSES), every / ADDRESSES),
            hasher: RandomState::new(),
            proven: BTreeMap::new(),
        }
    }

    /// How long nobody from this address, or claiming this id, can authenticate; `None`: they can try.
    pub(super) fn wait(&self, address: IpAddr, id: Option<&str>, now: Duration) -> Option<Duration> {
        let by_address = self.addresses.wait(network(address), now);
        by_address.max(id.and_then(|id| self.ids.wait(self.hasher.hash_one(id), now)))
    }

    /// A credential from this address, perhaps for this id, did not hold.
    pub(super) fn count(&mut self, address: IpAddr, id: Option<&str>, now: Duration) {
        self.addresses.take(network(address), now);
        if let Some(id) = id {
            self.ids.take(self.hasher.hash_one(id), now);
        }
    }

    /// A gateway with a strong secret has shown a right token from this address. Whether it had before.
    pub(super) fn prove(&mut self, id: &str, address: IpAddr) -> bool {
        let address = network(address);
        if !self.proven.contains_key(id) {
            self.proven.insert(id.into(), VecDeque::new());
        }
        let Some(proven) = self.proven.get_mut(id) else { return false };
        let before = proven.iter().position(|known| *known == address).and_then(|at| proven.remove(at)).is_some();
        if proven.len() >= MAX_PROVEN {
            proven.pop_front();
        }
        proven.push_back(address);
        before
    }
}

/// What one customer of a provider commonly has counts as one address: an IPv4 address, or the first 64 bits of one of IPv6.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(3);
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn v4(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    /// A failure from this address, if it may try.
    fn fails(failures: &mut Failures, address: IpAddr, id: Option<&str>, now: Duration) -> bool {
        let tries = failures.wait(address, id, now).is_none();
        if tries {
            failures.count(address, id, now);
        }
        tries
    }

    // proves: CONN-8
    #[test]
    fn a_bucket_empties_and_fills_with_time() {
        let mut failures = Failures::new(2, EVERY);
        let taken = |failures: &mut Failures, now| fails(failures, HERE, None, at(now));
        assert_eq!([0, 0, 0, 2, 3, 3].map(|now| taken(&mut failures, now)), [true, true, false, false, true, false]);
        assert_eq!(failures.wait(HERE, None, at(4)), Some(at(2)), "the time to come back at");
        assert_eq!([1000; 3].map(|now| taken(&mut failures, now)), [true, true, false]);
        assert!(fails(&mut failures, v4(7), None, at(1000)), "another address has its own");
        assert!(!fails(&mut failures, "::ffff:127.0.0.1".parse().unwrap(), None, at(1000)), "and this is the same");
    }

    // proves: CONN-8
    #[test]
    fn an_id_that_is_guessed_from_many_addresses_has_a_limit_of_its_own() {
        let mut failures = Failures::new(2, EVERY);
        let guesses = (0..1000).filter(|n| fails(&mut failures, v4(*n), Some("gw"), at(0))).count();
        assert_eq!(guesses, 20);
        assert!(failures.wait(v4(2000), Some("gw"), at(0)).is_some_and(|wait| wait <= EVERY));
        assert_eq!(failures.wait(v4(2000), Some("other"), at(0)), None);
        assert_eq!(failures.wait(v4(2000), None, at(0)), None);
    }

    // proves: CONN-8
    #[test]
    fn an_address_is_proven_by_a_right_token_and_so_are_eight() {
        let mut failures = Failures::new(1, EVERY);
        assert!(!failures.prove("gw", HERE) && failures.prove("gw", HERE) && !failures.prove("other", HERE));
        assert!(failures.prove("gw", "::ffff:127.0.0.1".parse().unwrap()));
        for n in 0..7 {
            assert!(!failures.prove("gw", v4(n)));
        }
        assert!(failures.prove("gw", HERE), "used again, and so the latest");
        assert!(!failures.prove("gw", v4(8)) && !failures.prove("gw", v4(0)), "the oldest was forgotten");
        assert!(failures.prove("gw", HERE));
    }

    #[test]
    fn no_budget_is_a_budget_of_one() {
        let mut failures = Failures::new(0, EVERY);
        assert!(fails(&mut failures, HERE, None, at(0)) && !fails(&mut failures, HERE, None, at(0)));
    }

    #[test]
    fn a_bucket_may_take_for_ever_to_fill() {
        for burst in [1, 3] {
            let mut failures = Failures::new(burst, Duration::MAX);
            let taken = [0; 4].map(|now| fails(&mut failures, HERE, None, at(now)));
            assert_eq!(taken.map(u32::from).iter().sum::<u32>(), burst);
        }
    }

    #[test]
    fn half_of_an_ipv6_address_counts() {
        let mut failures = Failures::new(1, EVERY);
        assert!(fails(&mut failures, "2001:db8::1".parse().unwrap(), None, at(0)));
        assert!(!fails(&mut failures, "2001:db8::2".parse().unwrap(), None, at(0)));
        assert!(fails(&mut failures, "2001:db8:0:1::1".parse().unwrap(), None, at(0)));
    }

    #[test]
    fn any_number_of_addresses_costs_a_bounded_amount() {
        let mut failures = Failures::new(1, EVERY);
        for n in 0..20_000_u32 {
            assert!(fails(&mut failures, v4(n), Some(&n.to_string()), Duration::from_millis(u64::from(n))));
        }
        assert!(failures.addresses.full_at.len() <= MAX_KEYS && failures.ids.full_at.len() <= MAX_KEYS);
        assert!(!fails(&mut failures, v4(19_999), None, at(20)), "the latest are remembered");
        assert!(fails(&mut failures, v4(19_999), None, at(30)));
    }
}
