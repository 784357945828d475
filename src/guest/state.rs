//! The host state in the store of a guest: the recorder, the meter of what the call uses, and, for a live actor, the
//! actor's surroundings.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use wasmtime::{ResourceLimiter, UpdateDeadline};

use super::interruption::Interruption;
use super::last_words::LastWords;
use super::recorder::Recorder;
use super::settings::TABLE_ELEMENTS;
use super::shortage::refused_by_the_system;
use crate::base::clock;
use crate::base::id::ActorId;
use crate::base::limits::Limits;
use crate::chain::Function;
use crate::chain::data::Caller;
use crate::system::{Awaited, OrderKind, StopSignal, TheaterHandle};

/// The surroundings of a live actor, as host functions see them.
pub(crate) struct Live {
    pub(crate) id: ActorId,
    pub(crate) name: String,
    pub(crate) theater: TheaterHandle,
    pub(crate) stop: Arc<StopSignal>,
    pub(crate) manifest_dir: PathBuf,
    pub(crate) extensions: Extensions,
    /// The outcome that recovery found for the host call that an earlier process left open, until that call takes it.
    pub(crate) recovered: Mutex<Option<Awaited>>,
}

/// Values that handlers keep for their host functions, one of each type.
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

/// The host state, which is the data of every store.
pub(crate) struct HostState {
    pub(crate) recorder: Recorder,
    pub(crate) limits: Arc<Limits>,
    pub(crate) log: LogBudget,
    pub(crate) last_words: LastWords,
    /// The export that the guest is in, and who called it.
    pub(crate) called: Option<(&'static Function, Caller)>,
    live: Option<Arc<Live>>,
    meter: Meter,
}

/// How much the running call and its instance have used.
#[derive(Default)]
struct Meter {
    memory_bytes: u64,
    /// The CPU time at which the call is over its limit. It is set at the first tick of a call, because most calls are
    /// over before that, and to read the thread's CPU clock costs a system call.
    cpu_until: Option<Duration>,
}

impl HostState {
    pub(crate) fn new(recorder: Recorder, limits: impl Into<Arc<Limits>>, live: Option<Arc<Live>>) -> Self {
        Self {
            recorder,
            limits: limits.into(),
            log: LogBudget::default(),
            last_words: LastWords::default(),
            called: None,
            live,
            meter: Meter::default(),
        }
    }

    /// The actor's surroundings. Host functions ask for them only inside of an effect, which runs only live.
    pub(crate) fn live(&self) -> Option<&Arc<Live>> {
        self.live.as_ref()
    }

    /// Notes which call the guest is in.
    pub(crate) fn begin(&mut self, function: &'static Function, caller: Caller) {
        self.called = Some((function, caller));
        self.recorder.take_deferred();
        self.last_words.forget();
    }

    /// The linear memory of the instance that ran last.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.meter.memory_bytes
    }

    /// Notes that a new instance begins, which has no memory yet.
    pub(super) fn begin_instance(&mut self) {
        self.meter.memory_bytes = 0;
    }

    /// Notes that a call begins. Its CPU time counts from the next tick.
    pub(super) fn begin_call(&mut self) {
        self.meter.cpu_until = None;
    }

    /// Decides at an epoch tick whether the guest may go on.
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
    /// A memory that would grow beyond the limit traps. The guest does not get the answer -1, because what it did then
    /// would depend on the machine.
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let limit = self.limits.memory_bytes;
        let grown = self.meter.memory_bytes.saturating_add((desired - current) as u64);
        if grown > limit {
            return Err(wasmtime::Error::new(Interruption::Memory(limit)));
        }
        // The guest's own maximum is part of its code, so it is the same on every machine, and -1 is the right answer.
        let allowed = maximum.is_none_or(|maximum| desired <= maximum);
        if allowed {
            self.meter.memory_bytes = grown;
        }
        Ok(allowed)
    }

    /// A guest never gets -1 because the machine has no memory: what it did then could not be replayed on another
    /// machine.
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(not_grown(&error, Interruption::Memory(self.limits.memory_bytes)))
    }

    /// The limit is checked here, so that it is the same for instances from the pool, whose tables end there, and for
    /// instances made on demand, whose tables would not.
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

/// The error for a memory or a table that could not grow: the shortage if the machine refused it, otherwise `limit`.
fn not_grown(error: &wasmtime::Error, limit: Interruption) -> wasmtime::Error {
    wasmtime::Error::new(refused_by_the_system(error).map_or(limit, Interruption::Shortage))
}

fn table_too_large() -> Interruption {
    Interruption::TooLarge("wanted a larger table than there is room for".into())
}

/// How many lines a guest has logged within the current second.
#[derive(Default)]
pub(crate) struct LogBudget {
    second: u64,
    lines: u64,
    dropped: u64,
}

/// Whether a line is written.
#[derive(Debug, PartialEq, Eq)]
enum LogLine {
    /// Write it, and before it the number of lines that were dropped.
    Write {
        dropped_before: u64,
    },
    Drop,
}

/// Logs a line of an actor as `[NAME] LINE`, under the target `actor`. The record's module is the name: a logger that wants the
/// name by itself finds it there, since a name may have any character in it.
fn log_for_actor(level: log::Level, name: &str, line: std::fmt::Arguments<'_>) {
    if level <= log::max_level() {
        let mut record = log::Record::builder();
        record.level(level).target("actor").module_path(Some(name));
        log::logger().log(&record.args(format_args!("[{name}] {line}")).build());
    }
}

impl LogBudget {
    /// Writes a guest's line to the host's log, unless there were too many within this `second`.
    pub(crate) fn write(&mut self, name: &str, line: &str, second: u64, lines_per_second: u64) {
        let LogLine::Write { dropped_before } = self.spend(second, lines_per_second) else { return };
        if dropped_before > 0 {
            let why = format_args!("{dropped_before} lines dropped: log_lines_per_second is {lines_per_second}");
            log_for_actor(log::Level::Warn, name, why);
        }
        log_for_actor(log::Level::Info, name, format_args!("{line}"));
    }

    /// Counts one more line in the second `second`.
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
