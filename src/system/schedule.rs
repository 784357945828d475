//! When a timer is due: once, at equal distances, or by a cron expression; and what becomes of rounds that were missed.
//!
//! A timer that was set by a duration is due by the boot clock, so setting the wall clock neither hurries nor delays it. Its
//! time by that clock stands in its row, for a later process. The boot clock of another boot says nothing, so after a reboot
//! the timer is due by the wall clock. On the chain stands each due time by the wall clock.

use std::sync::Arc;

use super::cron::Cron;
use crate::base::clock::Moment;

/// When a timer is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DueTime {
    /// Milliseconds since the Unix epoch, as it is recorded.
    pub(crate) unix_ms: u64,
    /// Milliseconds since the machine was booted, if that is the clock which decides.
    pub(crate) boot_ms: Option<u64>,
}

impl DueTime {
    /// Due at a time of the wall clock.
    pub(crate) fn at(unix_ms: u64) -> Self {
        Self { unix_ms, boot_ms: None }
    }

    /// Due after so many milliseconds of the boot clock.
    pub(crate) fn after(now: Moment, ms: u64) -> Self {
        Self { unix_ms: now.unix_ms.saturating_add(ms), boot_ms: Some(in_full(now.boot_ms, ms)) }
    }

    pub(crate) fn has_come(self, now: Moment) -> bool {
        match self.boot_ms {
            Some(boot_ms) => boot_ms <= now.boot_ms,
            None => self.unix_ms <= now.unix_ms,
        }
    }
}

/// What becomes of rounds whose time has passed before the actor came to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum MissedRounds {
    /// They are left out: the next round is the first that is still to come.
    #[default]
    Skip,
    /// Each of them is made up, one after the other.
    MakeUp,
}

/// The rounds of a timer.
#[derive(Clone, Debug)]
pub(crate) enum Schedule {
    Once,
    /// At equal distances of at least one millisecond.
    Every {
        ms: u64,
    },
    Cron(Arc<Cron>),
}

impl Schedule {
    /// When the round is due that follows one which was due at `due` and is taken at `now`; `None` if there is none.
    pub(crate) fn next(&self, due: DueTime, now: Moment, missed: MissedRounds) -> Option<DueTime> {
        match self {
            Self::Once => None,
            Self::Every { ms } => Some(every(due, now, (*ms).max(1), missed)),
            Self::Cron(cron) => {
                // A clock that was set back does not repeat a round: the next one lies behind the last in any case.
                let after = match missed {
                    MissedRounds::Skip => due.unix_ms.max(now.unix_ms),
                    MissedRounds::MakeUp => due.unix_ms,
                };
                cron.next_after(after).map(DueTime::at)
            }
        }
    }
}

fn every(due: DueTime, now: Moment, ms: u64, missed: MissedRounds) -> DueTime {
    let late = match due.boot_ms {
        Some(boot_ms) => now.boot_ms.saturating_sub(boot_ms),
        None => now.unix_ms.saturating_sub(due.unix_ms),
    };
    let rounds = match missed {
        MissedRounds::Skip => late / ms + 1,
        MissedRounds::MakeUp => 1,
    };
    let step = ms.saturating_mul(rounds);
    let unix_ms = due.unix_ms.saturating_add(step);
    let boot_ms = match due.boot_ms {
        Some(boot_ms) => Some(boot_ms.saturating_add(step)),
        // The rounds from before a reboot go on by the boot clock with the first one that is still to come.
        None => unix_ms.checked_sub(now.unix_ms).filter(|left| *left > 0).map(|left| in_full(now.boot_ms, left)),
    };
    DueTime { unix_ms, boot_ms }
}

/// When so many milliseconds have passed in full since a moment that was read as `boot_ms`. A reading is cut to whole
/// milliseconds, so up to one of them may have been over by then.
fn in_full(boot_ms: u64, ms: u64) -> u64 {
    boot_ms.saturating_add(ms).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(unix_ms: u64, boot_ms: u64) -> Moment {
        Moment { unix_ms, boot_ms }
    }

    #[test]
    fn a_duration_is_measured_by_the_boot_clock_wherever_the_wall_clock_jumps() {
        let due = DueTime::after(now(1_000_000, 500), 100);
        assert_eq!(due, DueTime { unix_ms: 1_000_100, boot_ms: Some(601) });
        assert!(!due.has_come(now(9_000_000, 600)), "the wall clock was set forward");
        assert!(due.has_come(now(10, 601)), "the wall clock was set back");
    }

    #[test]
    fn a_time_of_the_wall_clock_comes_when_the_wall_clock_says_so() {
        let due = DueTime::at(1_000);
        assert!(!due.has_come(now(999, u64::MAX)));
        assert!(due.has_come(now(1_000, 0)));
    }

    #[test]
    fn a_time_beyond_all_clocks_never_comes() {
        assert_eq!(DueTime::after(now(5, 7), u64::MAX), DueTime { unix_ms: u64::MAX, boot_ms: Some(u64::MAX) });
    }

    #[test]
    fn missed_rounds_are_skipped_or_made_up_and_keep_their_distance() {
        let (every, due) = (Schedule::Every { ms: 10 }, DueTime::after(now(1_000, 100), 10));
        let next = |now, missed| every.next(due, now, missed).map(|due| (due.unix_ms, due.boot_ms));
        let in_time = now(1_010, 111);
        assert_eq!(next(in_time, MissedRounds::Skip), Some((1_020, Some(121))));
        assert_eq!(next(in_time, MissedRounds::MakeUp), Some((1_020, Some(121))));
        let late = now(1_047, 148);
        assert_eq!(next(late, MissedRounds::Skip), Some((1_050, Some(151))));
        assert_eq!(next(late, MissedRounds::MakeUp), Some((1_020, Some(121))));
    }

    #[test]
    fn the_rounds_from_before_a_reboot_go_on_by_the_wall_clock_and_then_by_the_boot_clock() {
        let (every, left) = (Schedule::Every { ms: 10 }, DueTime::at(1_000));
        let next = every.next(left, now(1_025, 5), MissedRounds::Skip).expect("there is always another");
        assert_eq!(next, DueTime { unix_ms: 1_030, boot_ms: Some(11) });
    }

    #[test]
    fn a_machine_that_was_just_booted_makes_up_all_the_rounds_of_a_long_stop() {
        let (every, mut due, now) = (Schedule::Every { ms: 10 }, DueTime::at(1_000), now(5_005, 7));
        let mut rounds = 0;
        while due.has_come(now) {
            rounds += 1;
            due = every.next(due, now, MissedRounds::MakeUp).expect("there is always another");
        }
        assert_eq!((rounds, due), (401, DueTime { unix_ms: 5_010, boot_ms: Some(13) }));
    }

    #[test]
    fn a_single_round_has_none_after_it() {
        assert_eq!(Schedule::Once.next(DueTime::at(0), now(5, 5), MissedRounds::MakeUp), None);
    }
}
