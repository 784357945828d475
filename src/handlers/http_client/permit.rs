//! How many exchanges there may be: of one actor, and in the whole process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::base::limits::HTTP_EXCHANGES;

/// Exchanges under way in this process, those that were given up included.
static EXCHANGES: AtomicUsize = AtomicUsize::new(0);

/// The right to one exchange, returned when it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    of_actor: Arc<AtomicUsize>,
}

impl Permit {
    /// An actor waits for one exchange at a time; what it gave up may still be on its way to an end. Bounded for each
    /// actor, so that one whose exchanges hang does not take them all.
    pub(super) fn take(of_actor: &Arc<AtomicUsize>, limit: u64) -> Result<Self, String> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        one_more(of_actor, limit).map_err(|under_way| {
            format!(
                "too many exchanges: {under_way} of this actor have not ended, given up ones included; the limit \
                 http_exchanges is {limit}"
            )
        })?;
        one_more(&EXCHANGES, HTTP_EXCHANGES).map_err(|under_way| {
            of_actor.fetch_sub(1, Ordering::AcqRel);
            format!("too many exchanges: {under_way} are under way in this runtime; try again later")
        })?;
        Ok(Self { of_actor: Arc::clone(of_actor) })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        EXCHANGES.fetch_sub(1, Ordering::AcqRel);
        self.of_actor.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Counts up, unless there are `most` already: then how many there are.
fn one_more(count: &AtomicUsize, most: usize) -> Result<(), usize> {
    let more = |under_way| (under_way < most).then_some(under_way + 1);
    count.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_has_only_so_many_exchanges_and_gets_each_back_when_it_has_ended() {
        let (one, other) = (Arc::default(), Arc::default());
        let held: Vec<_> = (0..2).map(|_| Permit::take(&one, 2).expect("room")).collect();
        let refused = Permit::take(&one, 2).expect_err("two are under way");
        let why =
            "too many exchanges: 2 of this actor have not ended, given up ones included; the limit http_exchanges is 2";
        assert_eq!(refused, why);
        Permit::take(&other, 2).expect("another actor has its own");
        drop(held);
        Permit::take(&one, 2).expect("room again");
    }
}
