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
        let maps = number("/proc/sys/vm/max_map_count").unwrap_or(65_530);
        let threads = [
            (number("/proc/sys/kernel/threads-max"), "kernel.threads-max"),
            (number("/sys/fs/cgroup/pids.max"), "the cgroup's pids.max"),
            (getrlimit(Resource::Nproc).current, "ulimit -u"),
        ];
        let tightest = threads.into_iter().filter_map(|(limit, setting)| Some((limit?, setting))).min();
        let (limit, setting) = tightest.unwrap_or((u64::MAX, "the number of threads"));
        Self::new(maps, (limit, setting))
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
