//! How often an address may be wrong.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Addresses that are remembered. Beyond that the one that was quiet for longest is forgotten, so that many addresses
/// cost a bounded amount; an attacker with that many is not held back by counting them.
const MAX_ADDRESSES: usize = 4096;

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A token bucket for each address.
#[derive(Debug)]
pub(super) struct Throttle {
    burst: u32,
    every: Duration,
    /// For each address, when its bucket will be full again. One that is full need not be remembered.
    full_at: BTreeMap<IpAddr, Duration>,
}

impl Throttle {
    pub(super) fn new(burst: u32, every: Duration) -> Self {
        // A century for a whole bucket is for ever, and can still be added to a time.
        let every = every.min(CENTURY / burst.max(1));
        Self { burst, every, full_at: BTreeMap::new() }
    }

    /// Takes a token from the bucket of this address. Whether there was one.
    pub(super) fn take(&mut self, address: IpAddr, now: Duration) -> bool {
        let address = network(address);
        let full_at = self.full_at.get(&address).copied().unwrap_or(now).max(now).saturating_add(self.every);
        if full_at.saturating_sub(now) > self.every.saturating_mul(self.burst) {
            return false;
        }
        if self.full_at.len() >= MAX_ADDRESSES && !self.full_at.contains_key(&address) {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= MAX_ADDRESSES
                && let Some(quietest) = self.full_at.iter().min_by_key(|(_, at)| **at).map(|(address, _)| *address)
            {
                self.full_at.remove(&quietest);
            }
        }
        self.full_at.insert(address, full_at);
        true
    }
}

/// What one customer of a provider commonly has: all of it counts as one address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(3);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_bucket_empties_and_fills_with_time() {
        let mut throttle = Throttle::new(2, EVERY);
        let address = IpAddr::from([127, 0, 0, 1]);
        let taken = |throttle: &mut Throttle, now| throttle.take(address, at(now));
        assert_eq!([0, 0, 0, 2, 3, 3].map(|now| taken(&mut throttle, now)), [true, true, false, false, true, false]);
        assert_eq!([1000; 3].map(|now| taken(&mut throttle, now)), [true, true, false]);
        assert!(throttle.take(IpAddr::from([127, 0, 0, 2]), at(1000)), "another address has its own");
        assert!(!throttle.take("::ffff:127.0.0.1".parse().unwrap(), at(1000)), "and this is the same");
    }

    #[test]
    fn no_bucket_lets_none_through() {
        assert!(!Throttle::new(0, EVERY).take(IpAddr::from([127, 0, 0, 1]), at(0)));
    }

    #[test]
    fn a_bucket_may_take_for_ever_to_fill() {
        for burst in [1, 3] {
            let mut throttle = Throttle::new(burst, Duration::MAX);
            let taken = [0; 4].map(|now| throttle.take(IpAddr::from([127, 0, 0, 1]), at(now)));
            assert_eq!(taken.map(u32::from).iter().sum::<u32>(), burst);
        }
    }

    #[test]
    fn half_of_an_ipv6_address_counts() {
        let mut throttle = Throttle::new(1, EVERY);
        assert!(throttle.take("2001:db8::1".parse().unwrap(), at(0)));
        assert!(!throttle.take("2001:db8::2".parse().unwrap(), at(0)));
        assert!(throttle.take("2001:db8:0:1::1".parse().unwrap(), at(0)));
    }

    #[test]
    fn any_number_of_addresses_costs_a_bounded_amount() {
        let mut throttle = Throttle::new(1, EVERY);
        for n in 0..20_000_u32 {
            assert!(throttle.take(IpAddr::from(n.to_be_bytes()), Duration::from_millis(u64::from(n))));
        }
        assert!(throttle.full_at.len() <= MAX_ADDRESSES);
        let last = IpAddr::from(19_999_u32.to_be_bytes());
        assert!(!throttle.take(last, at(20)), "the latest are remembered");
        assert!(throttle.take(last, at(30)));
    }
}
