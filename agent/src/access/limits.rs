//! How often somebody may try to be let in.

use std::{
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed, keyed::HashMapStateStore},
};

/// Tries a minute from one address, and for one account.
const EACH: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);
/// Tries a minute in all.
const ALL: NonZeroU32 = NonZeroU32::MIN.saturating_add(59);
/// How many addresses or accounts are remembered before those are forgotten that are quiet.
const MANY: usize = 1024;

type Keyed<K, C> = RateLimiter<K, HashMapStateStore<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;
type Whole<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// How often somebody tried, by address, by account and in all.
pub(super) struct Limits<C: Clock = DefaultClock> {
    addresses: Keyed<IpAddr, C>,
    accounts: Keyed<String, C>,
    all: Whole<C>,
    clock: C,
}

impl<C: Clock + Clone> Limits<C> {
    /// Begins to count.
    pub(super) fn new(clock: C) -> Self {
        let each = Quota::per_minute(EACH);
        Self {
            addresses: RateLimiter::new(each, HashMapStateStore::default(), clock.clone()),
            accounts: RateLimiter::new(each, HashMapStateStore::default(), clock.clone()),
            all: RateLimiter::direct_with_clock(Quota::per_minute(ALL), clock.clone()),
            clock,
        }
    }

    /// Counts a try, or says how long to wait before the next one.
    pub(super) fn count(&self, address: Option<IpAddr>, account: &str) -> Result<(), Duration> {
        let now = self.clock.now();
        let wait = |until: governor::NotUntil<C::Instant>| until.wait_time_from(now);
        if let Some(address) = address.map(network) {
            keep_small(&self.addresses);
            self.addresses.check_key(&address).map_err(wait)?;
        }
        keep_small(&self.accounts);
        self.accounts.check_key(&account.to_owned()).map_err(wait)?;
        self.all.check().map_err(wait)
    }
}

/// Whoever has an IPv6 address has the other 2⁶⁴ of its network as well.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(it) => IpAddr::V6(Ipv6Addr::from_bits(it.to_bits() >> 64 << 64)),
        address => address,
    }
}

/// Forgets who is quiet. What is in all lets in bounds who is not: 60 a minute.
fn keep_small<K: Hash + Eq + Clone, C: Clock>(limiter: &Keyed<K, C>) {
    if limiter.len() >= MANY {
        limiter.retain_recent();
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn address(number: u8) -> Option<IpAddr> {
        Some([192, 0, 2, number].into())
    }

    #[test]
    fn five_a_minute_for_each_and_sixty_for_all() {
        let clock = FakeRelativeClock::default();
        let limits = Limits::new(clock.clone());
        for _ in 0..5 {
            assert_eq!(limits.count(address(1), "anna"), Ok(()));
        }
        let wait = limits.count(address(1), "ben").unwrap_err();
        assert!(wait <= Duration::from_secs(12), "{wait:?}");
        assert!(limits.count(address(2), "anna").is_err(), "another address, the same account");
        assert!(limits.count(None, "carl").is_ok());
        clock.advance(Duration::from_secs(12));
        assert!(limits.count(address(1), "anna").is_ok());
        let many = (0..=255).filter(|it| limits.count(address(*it), &format!("user {it}")).is_ok()).count();
        assert!((50..=60).contains(&many), "{many}");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let limits = Limits::new(FakeRelativeClock::default());
        let from = |host: u64| Some(IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(host))));
        let many = (0..100).filter(|it| limits.count(from(*it), &format!("user {it}")).is_ok()).count();
        assert_eq!(many, 5);
        let mapped = Some("::ffff:192.0.2.9".parse().unwrap());
        assert!(limits.count(mapped, "x").is_ok());
    }
}
