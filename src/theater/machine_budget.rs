//! The machine budget: how many actors this machine holds, counted in memory maps and threads.
//!
//! A process that needs more memory maps than `vm.max_map_count` is not refused a map: its allocator aborts it. So
//! spawns are admitted only within a budget that is computed in advance, and a refusal names the setting to raise.

use std::fs;

use rustix::process::{Resource, getrlimit};

use crate::base::machine;
use crate::guest::{SHORT_RESERVATION_BYTES, THREAD_STACK_BYTES};

/// The memory maps of one actor's thread: its stack and its signal stacks, each with a guard page.
const MAPS_PER_THREAD: u64 = 6;
/// The memory maps of an instance that is kept between calls.
const MAPS_PER_INSTANCE: u64 = 6;
/// The memory maps reserved for everything else: instances of the pool, connections, the journal, code.
const RESERVED_MAPS: u64 = 12_000;
/// The threads reserved for everything else; or half of the threads there are, if that is less.
const RESERVED_THREADS: u64 = 1_000;
/// The addresses reserved for everything else: code, the journal, and what the allocator keeps for each core.
const RESERVED_ADDRESSES: u64 = 2 * 1024 * 1024 * 1024;

/// The maps and threads that actors may use, and how many they use now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MachineBudget {
    maps: Account,
    threads: Account,
    /// How many actors the operator wants awake at most.
    awake: Account,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Account {
    limit: u64,
    spent: u64,
    /// The system setting that sets the limit.
    setting: String,
}

/// What one actor costs.
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

impl MachineBudget {
    /// The budget of this process on this machine.
    /// At most `awake_actors` actors may be awake, unless that is 0.
    pub(super) fn of_this_machine(awake_actors: u64) -> Self {
        let tightest = thread_bounds().into_iter().min_by_key(Bound::left);
        Self::new(max_map_count(), tightest.as_ref(), awake_actors)
    }

    fn new(maps: u64, threads: Option<&Bound>, awake: u64) -> Self {
        let maps =
            Account { limit: maps.saturating_sub(RESERVED_MAPS), spent: 0, setting: "vm.max_map_count".to_owned() };
        let threads = Account {
            limit: threads.map_or(u64::MAX, Bound::left),
            spent: 0,
            setting: threads.map_or_else(|| "the number of threads".to_owned(), |bound| bound.setting.clone()),
        };
        let limit = if awake == 0 { u64::MAX } else { awake };
        let awake = Account { limit, spent: 0, setting: "limits.awake_actors".to_owned() };
        Self { maps, threads, awake }
    }

    /// Takes the cost of an actor out of the budget. The error names the setting that sets the limit.
    pub(super) fn spend(&mut self, cost: Cost) -> Result<(), String> {
        for (account, wanted) in [(&self.maps, cost.maps), (&self.threads, 1), (&self.awake, 1)] {
            if account.spent.saturating_add(wanted) > account.limit {
                return Err(format!("this machine holds no more actors: raise {}", account.setting));
            }
        }
        self.maps.spent += cost.maps;
        self.threads.spent += 1;
        self.awake.spent += 1;
        Ok(())
    }

    /// Whether an actor that costs `from` may cost `to`. The error names the setting that sets the limit.
    pub(super) fn has_room_for(&self, from: Cost, to: Cost) -> Result<(), String> {
        if (self.maps.spent - from.maps).saturating_add(to.maps) > self.maps.limit.max(self.maps.spent) {
            return Err(format!("this machine holds no more actors: raise {}", self.maps.setting));
        }
        Ok(())
    }

    /// Takes the cost `to` of an actor in the place of `from`.
    pub(super) fn exchange(&mut self, from: Cost, to: Cost) {
        self.maps.spent = self.maps.spent - from.maps + to.maps;
    }

    /// Returns the cost of an actor that has ended.
    pub(super) fn give_back(&mut self, cost: Cost) {
        self.maps.spent -= cost.maps;
        self.threads.spent -= 1;
        self.awake.spent -= 1;
    }
}

/// One bound of this machine on the number of actors.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    /// The setting that sets the bound, which can be raised.
    pub(crate) setting: String,
    pub(crate) value: u64,
    /// The part that is kept for everything else, or that others use already.
    pub(crate) reserved: u64,
    /// The part that one actor takes, if its instances serve one transition each.
    pub(crate) each: u64,
}

impl Bound {
    /// A bound on threads, of which others use `used`.
    fn of_threads(setting: impl Into<String>, value: u64, used: u64) -> Self {
        let reserved = RESERVED_THREADS.min(value.saturating_sub(used) / 2) + used;
        Self { setting: setting.into(), value, reserved, each: 1 }
    }

    /// The part that actors may use.
    fn left(&self) -> u64 {
        self.value.saturating_sub(self.reserved)
    }
}

/// Every bound on the number of actors: first those by which actors are admitted, then the addresses of instances that
/// all work at once.
pub(crate) fn bounds() -> Vec<Bound> {
    let setting = "vm.max_map_count".to_owned();
    let maps = Bound { setting, value: max_map_count(), reserved: RESERVED_MAPS, each: Cost::of(1).maps };
    let addresses = Bound {
        setting: "ulimit -v".to_owned(),
        value: machine::address_limit().unwrap_or(u64::MAX),
        reserved: RESERVED_ADDRESSES,
        each: SHORT_RESERVATION_BYTES + THREAD_STACK_BYTES as u64,
    };
    std::iter::once(maps).chain(thread_bounds()).chain([addresses]).collect()
}

fn max_map_count() -> u64 {
    number("/proc/sys/vm/max_map_count").unwrap_or(65_530)
}

/// The bounds on threads that the machine, the user and every control group of this process set. Others use a part of
/// each: the kernel's threads, the user's other processes, other programs in the same service.
fn thread_bounds() -> Vec<Bound> {
    let all = machine::threads_of_all();
    let limits = [
        (number("/proc/sys/kernel/threads-max"), "kernel.threads-max", all),
        (number("/proc/sys/kernel/pid_max"), "kernel.pid_max", all),
        (getrlimit(Resource::Nproc).current, "ulimit -u", machine::threads_of_the_user()),
    ];
    let limits = limits.into_iter().filter_map(|(limit, setting, used)| Some(Bound::of_threads(setting, limit?, used)));
    let groups = machine::tasks_granted().into_iter();
    limits.chain(groups.map(|it| Bound::of_threads(it.file.display().to_string(), it.limit, it.used))).collect()
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_actor_too_many_is_refused_by_the_setting_in_the_way() {
        let mut budget = MachineBudget::new(RESERVED_MAPS + 2 * MAPS_PER_THREAD, None, 0);
        assert_eq!(budget.spend(Cost::of(1)), Ok(()));
        assert_eq!(budget.spend(Cost::of(1)), Ok(()));
        let refused = budget.spend(Cost::of(1)).expect_err("no maps left");
        assert!(refused.contains("vm.max_map_count"), "{refused}");
        budget.give_back(Cost::of(1));
        assert!(budget.spend(Cost::of(2)).is_err(), "a standing instance costs more");
        assert_eq!(budget.spend(Cost::of(1)), Ok(()));

        let mut budget = MachineBudget::new(u64::MAX, Some(&Bound::of_threads("ulimit -u", 2_000, 2_000)), 0);
        assert!(budget.spend(Cost::of(1)).expect_err("no threads left").contains("ulimit -u"));

        let mut budget = MachineBudget::new(u64::MAX, None, 1);
        assert_eq!(budget.spend(Cost::of(1)), Ok(()));
        assert!(budget.spend(Cost::of(1)).expect_err("one is enough").contains("limits.awake_actors"));
    }

    #[test]
    fn what_others_use_is_not_ours_and_a_small_bound_keeps_half_for_everything_else() {
        assert_eq!(Bound::of_threads("ulimit -u", 10_000, 300).left(), 10_000 - 300 - RESERVED_THREADS);
        assert_eq!(Bound::of_threads("/sys/fs/cgroup/pids.max", 512, 12).left(), 250);
        assert_eq!(Bound::of_threads("ulimit -u", 100, 900).left(), 0);
    }
}
