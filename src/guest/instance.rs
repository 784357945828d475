//! The guest of one actor: its program, and the wasm instance that serves its next call.
//!
//! ```text
//!   Parked ── call: new instance ──▶ Standing ── ok, uses left ──▶ Standing
//!     ▲                                  │
//!     └── uses spent, error, trap ◀──────┘
//! ```
//!
//! A guest must not keep state in its globals that the chain does not have. So every call gets a new instance by
//! default. If the manifest allows reuse, an instance serves that many transitions. After any failure the next call
//! gets a new instance.

use std::sync::Arc;

use wasmtime::component::Instance;
use wasmtime::{Store, Trap};

use super::export::{GuestExport, Returned};
use super::interruption::Interruption;
use super::program::Program;
use super::recorder::Recorder;
use super::shortage::{STACK_OVERFLOW, refused_by_the_system};
use super::state::HostState;
use crate::base::limits::Limits;
use crate::chain::Function;
use crate::chain::data::FailureReason;

/// How a call ended.
pub(crate) enum CallEnd {
    Returned(Returned),
    /// The guest returned an error.
    Refused(String),
    /// The guest trapped, or exceeded a limit.
    Failed(FailureReason, String),
    /// The guest was stopped from outside.
    Interrupted(Interruption),
}

pub(crate) struct Guest {
    program: Arc<Program>,
    reuse: u32,
    slot: InstanceSlot,
}

enum InstanceSlot {
    Parked(Box<HostState>),
    Standing {
        store: Store<Box<HostState>>,
        instance: Instance,
        uses_left: u32,
    },
    /// The host state is being moved from one to the other, within one call.
    Moving,
}

impl Guest {
    pub(crate) fn new(program: Arc<Program>, reuse: u32, state: HostState) -> Self {
        Self { program, reuse, slot: InstanceSlot::Parked(Box::new(state)) }
    }

    pub(crate) fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Whether the next call gets a new instance.
    pub(crate) fn next_is_fresh(&self) -> bool {
        matches!(self.slot, InstanceSlot::Parked(_))
    }

    /// For replay: makes the next call use a new instance or the same one, as it was recorded.
    pub(crate) fn set_fresh(&mut self, fresh: bool) {
        if fresh {
            self.park();
        }
        self.reuse = u32::MAX;
    }

    pub(crate) fn state(&mut self) -> &mut HostState {
        match &mut self.slot {
            InstanceSlot::Parked(state) => state,
            InstanceSlot::Standing { store, .. } => store.data_mut(),
            InstanceSlot::Moving => unreachable!("a call puts back what it moves"),
        }
    }

    pub(crate) fn recorder(&mut self) -> &mut Recorder {
        &mut self.state().recorder
    }

    /// Drops the instance. It is used after a panic too, which may have left the instance in any state.
    pub(crate) fn park(&mut self) {
        self.slot = match std::mem::replace(&mut self.slot, InstanceSlot::Moving) {
            InstanceSlot::Standing { store, .. } => InstanceSlot::Parked(store.into_data()),
            parked => parked,
        };
    }

    /// Takes the host state out, and drops the instance and the program.
    pub(crate) fn into_state(mut self) -> HostState {
        self.park();
        match self.slot {
            InstanceSlot::Parked(state) => *state,
            InstanceSlot::Standing { .. } | InstanceSlot::Moving => unreachable!("just parked"),
        }
    }

    /// Calls an export. The caller has recorded the call before, because start functions and the export run guest code.
    pub(crate) fn call(&mut self, function: &Function, state: Option<&[u8]>, params: &[u8]) -> CallEnd {
        self.state().begin_call();
        if let Err(error) = self.stand() {
            return classify(error);
        }
        let InstanceSlot::Standing { store, instance, uses_left } = &mut self.slot else {
            unreachable!("stand() put an instance there")
        };
        let (export, index) = self.program.export(function.full).expect("deliveries are checked against the exports");
        store.set_epoch_deadline(1);
        let answer = export.call(store, instance, index, state, params).and_then(|answer| match answer {
            Ok(returned) => within_limits(returned, export, &store.data().limits).map(Ok),
            Err(message) => refusal_within_limits(message, &store.data().limits).map(Err),
        });
        *uses_left -= 1;
        let spent = *uses_left == 0;
        let end = match answer {
            Ok(Ok(returned)) => CallEnd::Returned(returned),
            Ok(Err(message)) => CallEnd::Refused(message),
            Err(error) => classify(error),
        };
        let end = match end {
            CallEnd::Failed(FailureReason::Trap, trap) if trap != STACK_OVERFLOW => {
                CallEnd::Failed(FailureReason::Trap, store.data().last_words.before(trap))
            }
            end => end,
        };
        if spent || !matches!(end, CallEnd::Returned(_) | CallEnd::Refused(_)) {
            self.park();
        }
        end
    }

    /// Makes a new instance, unless there is one.
    fn stand(&mut self) -> wasmtime::Result<()> {
        let state = match std::mem::replace(&mut self.slot, InstanceSlot::Moving) {
            InstanceSlot::Parked(state) => state,
            standing => {
                self.slot = standing;
                return Ok(());
            }
        };
        match self.program.instantiate(state) {
            (store, Ok(instance)) => {
                self.slot = InstanceSlot::Standing { store, instance, uses_left: self.reuse };
                Ok(())
            }
            (store, Err(error)) => {
                self.slot = InstanceSlot::Parked(store.into_data());
                Err(error)
            }
        }
    }
}

/// Checks the size of what the guest returned, because the host has to hold and write it.
fn within_limits(returned: Returned, export: &dyn GuestExport, limits: &Limits) -> wasmtime::Result<Returned> {
    /// The CBOR around a result of the allowed size.
    const FRAMING: u64 = 16;
    let state = returned.state.as_ref().map_or(0, |state| state.len() as u64);
    let (result, (name, result_limit)) = (returned.result.len() as u64, export.result_limit(limits));
    if state > limits.state_bytes {
        let why = format!("returned a state of {state} bytes: the limit state_bytes is {}", limits.state_bytes);
        return Err(wasmtime::Error::new(Interruption::TooLarge(why)));
    }
    if result > result_limit.saturating_add(FRAMING) {
        let why = format!("returned a result of {result} bytes: the limit {name} is {result_limit}");
        return Err(wasmtime::Error::new(Interruption::TooLarge(why)));
    }
    Ok(returned)
}

fn refusal_within_limits(message: String, limits: &Limits) -> wasmtime::Result<String> {
    if message.len() as u64 <= limits.message_bytes {
        return Ok(message);
    }
    let (size, limit) = (message.len(), limits.message_bytes);
    let why = format!("refused with a message of {size} bytes: the limit message_bytes is {limit}");
    Err(wasmtime::Error::new(Interruption::TooLarge(why)))
}

/// Sorts the error of a call: an interruption, a shortage of the machine, a trap, or an answer that makes no sense.
/// Traps are named by their code, because replay compares these names and wasmtime may change the words of its
/// messages.
fn classify(error: wasmtime::Error) -> CallEnd {
    if error.is::<Interruption>() {
        let interruption = error.downcast::<Interruption>().expect("just looked");
        return match interruption {
            Interruption::CpuTime(_) => CallEnd::Failed(FailureReason::Deadline, interruption.to_string()),
            Interruption::Memory(_) | Interruption::TooLarge(_) => {
                CallEnd::Failed(FailureReason::Limit, interruption.to_string())
            }
            Interruption::Ordered
            | Interruption::Suspending
            | Interruption::JournalDown
            | Interruption::Shortage(_)
            | Interruption::NoTable(_)
            | Interruption::RecordedEnd
            | Interruption::Unanswered(_)
            | Interruption::Diverged(_) => CallEnd::Interrupted(interruption),
        };
    }
    if let Some(what) = refused_by_the_system(&error) {
        log::warn!("the machine could not run a guest: {error:#}");
        return CallEnd::Interrupted(Interruption::Shortage(what));
    }
    log::info!("guest trapped: {error:?}");
    match error.downcast_ref::<Trap>() {
        Some(trap) => CallEnd::Failed(FailureReason::Trap, format!("{trap:?}")),
        None => CallEnd::Failed(FailureReason::Trap, error.root_cause().to_string()),
    }
}
