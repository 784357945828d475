//! What a store holds while a guest runs: the recorder, the meter of what the call uses, and, live, the actor's
//! surroundings.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use wasmtime::{ResourceLimiter, UpdateDeadline};

use super::engine::TABLE_ELEMENTS;
use super::interruption::Interruption;
use super::recorder::Recorder;
use super::shortage::refused_by_the_system;
use crate::base::clock;
use crate::base::id::ActorId;
use crate::base::limits::Limits;
use crate::system::{Awaited, OrderKind, StopSignal, TheaterHandle};

/// A live actor's surroundings, as host functions see them.
pub(crate) struct Live {
    pub(crate) id: ActorId,
    pub(crate) name: String,
    pub(crate) theater: TheaterHandle,
    pub(crate) stop: Arc<StopSignal>,
    pub(crate) manifest_dir: PathBuf,
    pub(crate) extensions: Extensions,
    /// What recovery found of the host call that an earlier process left open, until that call takes it.
    pub(crate) recovered: Mutex<Option<Awaited>>,
}

/// What handlers keep for their host functions, one item a type.
#[derive(Default)]
pub(crate) struct Extensions(HashMap<TypeId, Box<dyn Any + Send + Sync>>);

impl Extensions {
    pub(crate) fn insert<T: Any + Send + Sync>(&mut self, item: T) {
        self.0.insert(TypeId::of::<T>(), Box::new(item));
    }

    pub(crate) fn get<T: Any>(&self) -> Option<&T> {
        self.0.get(&TypeId::of::<T>())?.downcast_ref()
    }
}

/// The data of every store.
pub(crate) struct HostState {
    pub(crate) recorder: Recorder,
    pub(crate) limits: Limits,
    pub(crate) log: LogBudget,
    live: Option<Arc<Live>>,
    meter: Meter,
}

/// What the running call and its instance have used.
#[derive(Default)]
struct Meter {
    memory_bytes: u64,
    /// Set at the first tick of a call: most are over before it, and the thread's clock costs a system call.
    cpu_until: Option<Duration>,
}

impl HostState {
    pub(crate) fn new(recorder: Recorder, limits: Limits, live: Option<Arc<Live>>) -> Self {
        Self { recorder, limits, live, log: LogBudget::default(), meter: Meter::default() }
    }

    /// The actor's surroundings. Host functions ask for them only inside an effect, which runs live.
    pub(crate) fn live(&self) -> Option<&Arc<Live>> {
        self.live.as_ref()
    }

    /// Linear memory of the instance that ran last.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.meter.memory_bytes
    }

    /// A new instance begins with no memory.
    pub(super) fn begin_instance(&mut self) {
        self.meter.memory_bytes = 0;
    }

    /// A call begins: its CPU time counts from the next tick.
    pub(super) fn begin_call(&mut self) {
        self.meter.cpu_until = None;
    }

    /// At an epoch tick: whether the guest may go on.
    pub(super) fn tick(&mut self) -> Result<UpdateDeadline, Interruption> {
        if let Some(order) = self.live.as_ref().and_then(|live| live.stop.overdue()) {
            return Err(match order.kind {
                OrderKind::Stop | OrderKind::Cycle | OrderKind::Fail => Interruption::Ordered,
                OrderKind::Suspend => Interruption::Suspending,
            });
        }
        let now = clock::thread_cpu();
        let limit = self.limits.cpu_per_call();
        if now >= *self.meter.cpu_until.get_or_insert_with(|| now.saturating_add(limit)) {
            return Err(Interruption::CpuTime(self.limits.cpu_ms_per_call));
        }
        Ok(UpdateDeadline::Continue(1))
    }
}

impl ResourceLimiter for HostState {
    /// Beyond its limit a memory does not answer -1, it traps: else what a guest does would depend on the machine.
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let limit = self.limits.memory_bytes;
        let grown = self.meter.memory_bytes.saturating_add((desired - current) as u64);
        if grown > limit {
            return Err(wasmtime::Error::new(Interruption::Memory(limit)));
        }
        // The guest's own maximum is part of its code, and the same everywhere.
        let allowed = maximum.is_none_or(|maximum| desired <= maximum);
        if allowed {
            self.meter.memory_bytes = grown;
        }
        Ok(allowed)
    }

    /// A guest is never answered -1 for what the machine lacks: what it did then could be replayed nowhere else.
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(not_grown(&error, Interruption::Memory(self.limits.memory_bytes)))
    }

    /// The same bound wherever the instance stands: the pool's places end there, and those on demand would not.
    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        if desired > TABLE_ELEMENTS { Err(wasmtime::Error::new(table_too_large())) } else { Ok(true) }
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(not_grown(&error, table_too_large()))
    }

    fn instances(&self) -> usize {
        1_000
    }

    fn tables(&self) -> usize {
        1_000
    }

    fn memories(&self) -> usize {
        1_000
    }
}

/// Why something did not grow: the machine lacked it, or else `limit` was met.
fn not_grown(error: &wasmtime::Error, limit: Interruption) -> wasmtime::Error {
    wasmtime::Error::new(refused_by_the_system(error).map_or(limit, Interruption::Shortage))
}

fn table_too_large() -> Interruption {
    Interruption::TooLarge("wanted a larger table than there is room for".into())
}

/// How many lines a guest has logged within this second.
#[derive(Default)]
pub(crate) struct LogBudget {
    second: u64,
    lines: u64,
    dropped: u64,
}

/// What to do with a line.
#[derive(Debug, PartialEq, Eq)]
enum LogLine {
    /// Write it, and first say how many were dropped before it.
    Write {
        dropped_before: u64,
    },
    Drop,
}

impl LogBudget {
    /// Writes a guest's line to the host's log, unless there were too many within this `second`.
    pub(crate) fn write(&mut self, name: &str, line: &str, second: u64, lines_per_second: u64) {
        let LogLine::Write { dropped_before } = self.spend(second, lines_per_second) else { return };
        if dropped_before > 0 {
            log::warn!(target: "actor", "[{name}] {dropped_before} lines dropped: log_lines_per_second is {lines_per_second}");
        }
        log::info!(target: "actor", "[{name}] {line}");
    }

    /// One more line, in the second `second`.
    fn spend(&mut self, second: u64, lines_per_second: u64) -> LogLine {
        if second != self.second {
            self.second = second;
            self.lines = 0;
        }
        self.lines += 1;
        if self.lines > lines_per_second {
            self.dropped += 1;
            return LogLine::Drop;
        }
        LogLine::Write { dropped_before: std::mem::take(&mut self.dropped) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_does_not_grow_is_the_machines_doing_only_where_the_system_refused_it() {
        let why = |error: wasmtime::Error| not_grown(&error, Interruption::Memory(1)).to_string();
        let no_memory = wasmtime::Error::new(rustix::io::Errno::NOMEM).context("growing");
        assert!(why(no_memory).starts_with("the machine could not give what it needs to run: Cannot allocate memory"));
        let by_its_type = wasmtime::Error::msg("memory growth exceeds memory type's limits");
        assert_eq!(why(by_its_type), "wanted more memory: the limit memory_bytes is 1");
    }

    #[test]
    fn a_flood_of_log_lines_is_cut_and_counted() {
        let mut budget = LogBudget::default();
        assert_eq!(budget.spend(1, 2), LogLine::Write { dropped_before: 0 });
        assert_eq!(budget.spend(1, 2), LogLine::Write { dropped_before: 0 });
        assert_eq!(budget.spend(1, 2), LogLine::Drop);
        assert_eq!(budget.spend(1, 2), LogLine::Drop);
        assert_eq!(budget.spend(2, 2), LogLine::Write { dropped_before: 2 });
    }
}
