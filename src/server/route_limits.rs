//! What one route lets through: how many requests in a time, how many at once, and how often one is made again.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::base::clock;
use crate::base::limits::ROUTE_CLIENTS;
use crate::base::wait;

/// The settings of a route besides where it leads.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RouteSettings {
    /// Whether `Idempotency-Key` is heeded.
    pub(crate) idempotency: bool,
    pub(crate) rate: Option<RouteRate>,
    pub(crate) concurrency: Option<RouteConcurrency>,
    pub(crate) retry: Option<RouteRetry>,
}

/// How many requests may come in a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RouteRate {
    pub(crate) per_second: f64,
    /// How many may come at once after a rest.
    pub(crate) burst: f64,
    pub(crate) by: RateBy,
}

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RateBy {
    /// Those of one client: of one IPv4 address, or of one /64 of IPv6.
    Client,
    Route,
}

/// How many requests may be under way at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RouteConcurrency {
    pub(crate) at_most: usize,
    /// How long one more waits for its turn.
    pub(crate) wait: Duration,
}

/// How often a request is made that an actor has given no answer to, and how long the first pause is. Each further pause is
/// twice as long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RouteRetry {
    pub(crate) attempts: u32,
    pub(crate) backoff: Duration,
}

/// The settings of a route at work.
pub(crate) struct RouteLimits {
    pub(crate) settings: RouteSettings,
    buckets: Mutex<Buckets>,
    under_way: Mutex<usize>,
    is_freed: Condvar,
}

/// Tokens: a request takes one, and they come back with time.
#[derive(Default)]
struct Buckets {
    by_client: HashMap<IpAddr, Bucket>,
    /// Of the route, or of the clients that there is no room to count by themselves.
    common: Option<Bucket>,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// A request of a route is under way. Dropping it lets the next one in.
pub(crate) struct RouteTurn<'a>(Option<&'a RouteLimits>);

impl RouteLimits {
    pub(crate) fn new(settings: RouteSettings) -> Self {
        let (buckets, under_way) = (Mutex::new(Buckets::default()), Mutex::new(0));
        Self { settings, buckets, under_way, is_freed: Condvar::new() }
    }

    /// Counts a request; the error is after how many seconds there is room for one.
    pub(crate) fn count(&self, peer: IpAddr) -> Result<(), u64> {
        let Some(rate) = self.settings.rate else { return Ok(()) };
        self.buckets.lock().take(rate, peer, clock::now())
    }

    /// Waits for the turn of a request; none if it does not come in time.
    pub(crate) fn enter(&self) -> Option<RouteTurn<'_>> {
        let Some(RouteConcurrency { at_most, wait }) = self.settings.concurrency else { return Some(RouteTurn(None)) };
        let deadline = clock::after(wait);
        let mut under_way = self.under_way.lock();
        while *under_way >= at_most {
            let is_over = !wait::notified_until(&self.is_freed, &mut under_way, deadline);
            if is_over && *under_way >= at_most {
                return None;
            }
        }
        *under_way += 1;
        Some(RouteTurn(Some(self)))
    }
}

impl Drop for RouteTurn<'_> {
    fn drop(&mut self) {
        if let Some(limits) = self.0 {
            *limits.under_way.lock() -= 1;
            limits.is_freed.notify_one();
        }
    }
}

impl Buckets {
    fn take(&mut self, rate: RouteRate, peer: IpAddr, now: Instant) -> Result<(), u64> {
        let full = Bucket { tokens: rate.burst, at: now };
        if rate.by == RateBy::Route {
            return self.common.get_or_insert(full).take(rate, now);
        }
        let client = client(peer);
        if self.by_client.len() >= ROUTE_CLIENTS && !self.by_client.contains_key(&client) {
            // A bucket that has filled up again says no more than none.
            self.by_client.retain(|_, bucket| bucket.filled(rate, now) < rate.burst);
            if self.by_client.len() >= ROUTE_CLIENTS {
                return self.common.get_or_insert(full).take(rate, now);
            }
        }
        self.by_client.entry(client).or_insert(full).take(rate, now)
    }
}

impl Bucket {
    fn filled(&self, rate: RouteRate, now: Instant) -> f64 {
        let rested = now.saturating_duration_since(self.at).as_secs_f64();
        rested.mul_add(rate.per_second, self.tokens).min(rate.burst)
    }

    fn take(&mut self, rate: RouteRate, now: Instant) -> Result<(), u64> {
        *self = Self { tokens: self.filled(rate, now), at: now };
        if self.tokens < 1.0 {
            let seconds = ((1.0 - self.tokens) / rate.per_second).ceil();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is positive, and capped")]
            return Err(seconds.clamp(1.0, 86_400.0) as u64);
        }
        self.tokens -= 1.0;
        Ok(())
    }
}

/// Whom the requests of an address are counted for. Who has one IPv6 address has 2^64 of them.
fn client(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: f64, burst: f64, by: RateBy) -> RouteRate {
        RouteRate { per_second, burst, by }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_bucket_lets_a_burst_through_and_then_the_rate() {
        let (rate, peer, begun) = (rate(2.0, 3.0, RateBy::Client), address("192.0.2.1"), clock::now());
        let mut buckets = Buckets::default();
        let mut at = |ms: u64| buckets.take(rate, peer, begun + Duration::from_millis(ms));
        assert_eq!([at(0), at(0), at(0), at(0)], [Ok(()), Ok(()), Ok(()), Err(1)]);
        assert_eq!([at(499), at(500), at(501)], [Err(1), Ok(()), Err(1)]);
        assert_eq!([at(60_000), at(60_000), at(60_000), at(60_000)], [Ok(()), Ok(()), Ok(()), Err(1)]);
    }

    #[test]
    fn a_slow_rate_says_how_long_it_takes() {
        let (rate, peer, now) = (rate(0.1, 1.0, RateBy::Route), address("192.0.2.1"), clock::now());
        let mut buckets = Buckets::default();
        assert_eq!(buckets.take(rate, peer, now), Ok(()));
        assert_eq!(buckets.take(rate, address("192.0.2.2"), now), Err(10), "all clients of the route together");
    }

    #[test]
    fn each_client_has_a_bucket_of_its_own_and_an_ipv6_network_is_one_client() {
        let (rate, now) = (rate(1.0, 1.0, RateBy::Client), clock::now());
        let mut buckets = Buckets::default();
        let mut take = |peer: &str| buckets.take(rate, address(peer), now).is_ok();
        assert!(take("192.0.2.1") && take("192.0.2.2") && take("2001:db8::1") && take("2001:db8:0:1::1"));
        assert!(!take("192.0.2.1") && !take("::ffff:192.0.2.2") && !take("2001:db8::2"));
    }

    #[test]
    fn more_clients_than_there_is_room_for_share_a_bucket() {
        let (rate, now) = (rate(1.0, 1.0, RateBy::Client), clock::now());
        let mut buckets = Buckets::default();
        let mut take = |number: u32, at| buckets.take(rate, std::net::Ipv4Addr::from_bits(number).into(), at).is_ok();
        let most = u32::try_from(ROUTE_CLIENTS).expect("few");
        assert!((0..most).all(|number| take(number, now)));
        assert!(take(most, now) && !take(most + 1, now), "the common one");
        assert!(take(most + 1, now + Duration::from_secs(1)), "the others have filled up again");
        assert!(buckets.by_client.len() <= ROUTE_CLIENTS);
    }

    #[test]
    fn at_most_so_many_are_under_way_and_one_that_ends_lets_the_next_in() {
        let concurrency = Some(RouteConcurrency { at_most: 1, wait: Duration::ZERO });
        let limits = RouteLimits::new(RouteSettings { concurrency, ..RouteSettings::default() });
        let first = limits.enter();
        assert!(first.is_some() && limits.enter().is_none());
        drop(first);
        assert!(limits.enter().is_some());
    }
}
