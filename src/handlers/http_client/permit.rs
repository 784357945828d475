//! Permits: how many exchanges one actor, and the whole runtime, may have at a time.

use crate::base::places::{Place, Places};

/// The permission for one exchange, which is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    _of_actor: Place,
    _of_runtime: Place,
}

/// The exchanges that are counted together, and how many of them there may be.
pub(super) struct ExchangeRoom<'a> {
    pub(super) places: &'a Places,
    pub(super) most: usize,
}

impl Permit {
    /// An actor waits for one exchange at a time, but exchanges that it gave up may not have ended yet. There is a
    /// bound for each actor, so that an actor whose exchanges hang does not take all permits of the runtime.
    pub(super) fn take(of_actor: &ExchangeRoom<'_>, of_runtime: &ExchangeRoom<'_>) -> Result<Self, String> {
        let own = of_actor.places.take(of_actor.most).map_err(|under_way| {
            format!(
                "too many exchanges: {under_way} of this actor have not ended, given up ones included; the limit \
                 http_exchanges is {}",
                of_actor.most
            )
        })?;
        let one = of_runtime.places.take(of_runtime.most).map_err(|under_way| {
            format!(
                "too many exchanges: {under_way} are under way in this runtime, whose limit http_exchanges is {}; try \
                 again later",
                of_runtime.most
            )
        })?;
        Ok(Self { _of_actor: own, _of_runtime: one })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_has_only_so_many_exchanges_and_gets_each_back_when_it_has_ended() {
        let (one, other, all) = (Places::default(), Places::default(), Places::default());
        let take = |own: &Places| {
            Permit::take(&ExchangeRoom { places: own, most: 2 }, &ExchangeRoom { places: &all, most: 9 })
        };
        let held: Vec<_> = (0..2).map(|_| take(&one).expect("room")).collect();
        let refused = take(&one).expect_err("two are under way");
        let why =
            "too many exchanges: 2 of this actor have not ended, given up ones included; the limit http_exchanges is 2";
        assert_eq!(refused, why);
        take(&other).expect("another actor has its own");
        drop(held);
        take(&one).expect("room again");
    }

    #[test]
    fn all_actors_together_have_only_so_many_exchanges() {
        let (one, other, all) = (Places::default(), Places::default(), Places::default());
        let take = |own: &Places| {
            Permit::take(&ExchangeRoom { places: own, most: 9 }, &ExchangeRoom { places: &all, most: 2 })
        };
        let held = (take(&one).expect("room"), take(&other).expect("room"));
        let refused = take(&one).expect_err("two are under way");
        assert!(refused.contains("2 are under way in this runtime, whose limit http_exchanges is 2"), "{refused}");
        drop(held);
        let held: Vec<_> = (0..2).map(|_| take(&one).expect("a refusal took no place of the actor")).collect();
        drop(held);
    }
}
