//! How many actors this machine holds.
//!
//! Past `vm.max_map_count` a process is not refused a memory map, it aborts; so spawns are admitted only within what
//! was computed beforehand, and the refusal names the setting to raise.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// Maps of one actor's thread: its stack and its signal stacks, each with a guard.
const MAPS_PER_THREAD: u64 = 6;
/// Maps of an instance that stands between calls.
const MAPS_PER_INSTANCE: u64 = 6;
/// Maps for everything else: the pool's instances, connections, the journal, code.
const RESERVED_MAPS: u64 = 12_000;
/// Threads for everything else.
const RESERVED_THREADS: u64 = 1_000;

/// What is left to spend, in maps and threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    maps: Account,
    threads: Account,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Account {
    limit: u64,
    spent: u64,
    /// The setting that sets the limit.
    setting: &'static str,
}

/// What one actor takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cost {
    maps: u64,
}

impl Cost {
    /// The cost of an actor whose instances serve `reuse` transitions.
    pub(super) fn of(reuse: u32) -> Self {
        Self { maps: MAPS_PER_THREAD + if reuse > 1 { MAPS_PER_INSTANCE } else { 0 } }
    }
}

impl Budget {
    /// What this machine gives this process.
    pub(super) fn of_this_machine() -> Self {
        let tightest = thread_bounds().into_iter().min();
        Self::new(max_map_count(), tightest.unwrap_or((u64::MAX, "the number of threads")))
    }

    fn new(maps: u64, (threads, setting): (u64, &'static str)) -> Self {
        Self {
            maps: Account { limit: maps.saturating_sub(RESERVED_MAPS), spent: 0, setting: "vm.max_map_count" },
            threads: Account { limit: threads.saturating_sub(RESERVED_THREADS), spent: 0, setting },
        }
    }

    /// Takes what an actor costs, or says which setting is in the way.
    pub(super) fn spend(&mut self, cost: Cost) -> Result<(), String> {
        for (account, wanted) in [(&self.maps, cost.maps), (&self.threads, 1)] {
            if account.spent + wanted > account.limit {
                return Err(format!("this machine holds no more actors: raise {}", account.setting));
            }
        }
        self.maps.spent += cost.maps;
        self.threads.spent += 1;
        Ok(())
    }

    /// Gives back what an actor cost that has ended.
    pub(super) fn give_back(&mut self, cost: Cost) {
        self.maps.spent -= cost.maps;
        self.threads.spent -= 1;
    }
}

/// One bound of this machine on the number of actors.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    /// What sets it, and is to be raised.
    pub(crate) setting: &'static str,
    pub(crate) value: u64,
    /// Kept for everything else.
    pub(crate) reserved: u64,
    /// What one actor takes whose instances serve one transition each.
    pub(crate) each: u64,
}

/// Every bound that actors are admitted by.
pub(crate) fn bounds() -> Vec<Bound> {
    let maps =
        Bound { setting: "vm.max_map_count", value: max_map_count(), reserved: RESERVED_MAPS, each: Cost::of(1).maps };
    let threads = thread_bounds().into_iter();
    let threads = threads.map(|(value, setting)| Bound { setting, value, reserved: RESERVED_THREADS, each: 1 });
    std::iter::once(maps).chain(threads).collect()
}

fn max_map_count() -> u64 {
    number("/proc/sys/vm/max_map_count").unwrap_or(65_530)
}

fn thread_bounds() -> Vec<(u64, &'static str)> {
    let bounds = [
        (number("/proc/sys/kernel/threads-max"), "kernel.threads-max"),
        (number("/proc/sys/kernel/pid_max"), "kernel.pid_max"),
        (number("/sys/fs/cgroup/pids.max"), "the cgroup's pids.max"),
        (getrlimit(Resource::Nproc).current, "ulimit -u"),
    ];
    bounds.into_iter().filter_map(|(limit, setting)| Some((limit?, setting))).collect()
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_actor_too_many_is_refused_by_the_setting_in_the_way() {
        let mut budget = Budget::new(RESERVED_MAPS + 2 * MAPS_PER_THREAD, (u64::MAX, "ulimit -u"));
        assert_eq!(budget.spend(Cost::of(1)), Ok(()));
        assert_eq!(budget.spend(Cost::of(1)), Ok(()));
        let refused = budget.spend(Cost::of(1)).expect_err("no maps left");
        assert!(refused.contains("vm.max_map_count"), "{refused}");
        budget.give_back(Cost::of(1));
        assert!(budget.spend(Cost::of(2)).is_err(), "a standing instance costs more");
        assert_eq!(budget.spend(Cost::of(1)), Ok(()));

        let mut budget = Budget::new(u64::MAX, (RESERVED_THREADS, "ulimit -u"));
        assert!(budget.spend(Cost::of(1)).expect_err("no threads left").contains("ulimit -u"));
    }
}
