//! One call is one transition: `(state, params) -> (state', result)`, recorded before it begins and when it ends.
//!
//! Live and replaying are the same code; the recorder makes the difference.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::refusals::Refusals;
use crate::base::clock;
use crate::base::limits::KEPT_STATE_EVENTS;
use crate::base::metrics::ActorMetrics;
use crate::base::thread::panic_message;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Caller, Encoded, FailureReason, NamedState, Refused, Return, StateAfter};
use crate::chain::{Function, Link};
use crate::guest::{CallEnd, Guest, Interruption, Recorder, Script};
use crate::handlers::INIT;
use crate::journal::{Attached, Cause, Owed, StateWrite};
use crate::system::Outcome;

/// How a transition ended.
#[derive(Debug)]
pub(crate) enum Transition {
    /// The chain has its closing event; the actor goes on.
    Closed { outcome: Outcome, closing: Link },
    /// The incarnation ends; `failed` is still to be recorded.
    Failed { reason: FailureReason, detail: String },
    /// The guest was made to stop; what follows depends on why.
    Interrupted(Interruption),
}

/// One call that is to be made.
pub(crate) struct Job {
    pub(crate) function: &'static Function,
    /// One CBOR item.
    pub(crate) params: Vec<u8>,
    pub(crate) caller: Caller,
    pub(crate) cause: Option<Link>,
}

impl Job {
    /// A call that is on the chain.
    pub(crate) fn recorded(function: &'static Function, call: Call) -> Self {
        Self { function, params: call.params.0, caller: call.caller, cause: call.cause }
    }
}

/// A guest and its state.
pub(crate) struct Executor {
    guest: Guest,
    state: Option<Arc<[u8]>>,
    /// The event whose state was last kept for good.
    kept_at: u64,
    /// Where calls are counted, and refusals told, if they are.
    measured: Option<(Arc<ActorMetrics>, Refusals)>,
}

impl Executor {
    pub(crate) fn new(guest: Guest, state: Option<Arc<[u8]>>) -> Self {
        Self { guest, state, kept_at: 0, measured: None }
    }

    /// Counts calls from here on, and tells the log of refusals of the actor called `name`.
    pub(crate) fn measured(mut self, metrics: Option<Arc<ActorMetrics>>, name: &str) -> Self {
        self.measured = metrics.map(|metrics| (metrics, Refusals::of(name)));
        self
    }

    /// The state was kept for good at this event.
    pub(crate) fn kept_at(&mut self, sequence: u64) {
        self.kept_at = sequence;
    }

    /// What comes next is on the chain already: it begins on a new instance, with the state `base`.
    pub(crate) fn resume(&mut self, script: Script, base: Option<Arc<[u8]>>) {
        self.state = base;
        self.guest.park();
        self.guest.recorder().resume(script);
    }

    pub(crate) fn state(&self) -> Option<Arc<[u8]>> {
        self.state.clone()
    }

    /// Gives up what was computed since.
    pub(crate) fn set_state(&mut self, state: Option<Arc<[u8]>>) {
        self.state = state;
    }

    pub(crate) fn guest(&mut self) -> &mut Guest {
        &mut self.guest
    }

    pub(crate) fn recorder(&mut self) -> &mut Recorder {
        self.guest.recorder()
    }

    /// Takes the parts out, for the next incarnation.
    pub(crate) fn into_parts(self) -> (Guest, Option<Arc<[u8]>>) {
        (self.guest, self.state)
    }

    /// Makes a call. What its closing event promises is asked for when the export has returned, and not before.
    pub(crate) fn transition(&mut self, job: Job, promises: &mut dyn FnMut() -> Option<Owed>) -> Transition {
        let (begun, function) = (clock::now(), job.function);
        let end = self.carry_out(job, promises);
        if let Some((metrics, refusals)) = &mut self.measured {
            metrics.calls.observe_time(clock::since(begun));
            metrics.memory_bytes.set(self.guest.state().memory_bytes());
            if let Transition::Closed { outcome: Outcome::Refused(message), .. } = &end {
                metrics.refusals.add(1);
                // A refused `init` fails, and that is told.
                let told = refusals.told(function, message).filter(|_| function.full != INIT.full);
                told.iter().for_each(|told| log::warn!("{told}"));
            }
        }
        end
    }

    fn carry_out(&mut self, job: Job, promises: &mut dyn FnMut() -> Option<Owed>) -> Transition {
        let Job { function, params, caller, cause } = job;
        let settles = cause.iter().map(Cause::from).collect();
        let fresh = self.guest.next_is_fresh();
        let call = Call { cause, fresh, caller, params: Encoded(params) };
        let recorder = self.guest.recorder();
        let recorded = recorder.record(function.call, call.to_cbor(), Attached { settles, ..Attached::default() });
        if let Err(interruption) = recorded.and_then(|_| recorder.stop_where_it_was_ended()) {
            return Transition::Interrupted(interruption);
        }
        let state = self.state.as_deref();
        let guest = &mut self.guest;
        match catch_unwind(AssertUnwindSafe(|| guest.call(function, state, &call.params.0))) {
            Ok(CallEnd::Returned(returned)) => self.accept(function, returned.state, returned.result, promises()),
            Ok(CallEnd::Refused(message)) => self.refuse(function, message),
            Ok(CallEnd::Failed(reason, detail)) => Transition::Failed { reason, detail },
            Ok(CallEnd::Interrupted(interruption)) => Transition::Interrupted(interruption),
            Err(panic) => {
                // Ours, not the guest's. Its instance may be in any state.
                self.guest.park();
                let detail = panic_message(&*panic);
                log::error!("the runtime panicked in {}: {detail}", function.full);
                Transition::Failed { reason: FailureReason::Panic, detail }
            }
        }
    }

    /// Records the new state, which from here on is the state.
    fn accept(
        &mut self,
        function: &'static Function,
        state: Option<Vec<u8>>,
        result: Vec<u8>,
        owes: Option<Owed>,
    ) -> Transition {
        let unchanged = state.as_deref() == self.state.as_deref();
        let state = if unchanged { self.state.clone() } else { state.map(Arc::from) };
        let named = if unchanged { StateAfter::Unchanged } else { StateAfter::Now(NamedState::of(state.as_deref())) };
        let keep = self.mark_kept_if_due();
        let write = (keep || !unchanged).then(|| StateWrite { state: state.clone(), named: !unchanged, keep });
        let attached = Attached { state: write, owes, ..Attached::default() };
        let returned = Return { state: named, result: Encoded(result) };
        match self.guest.recorder().record(function.returned, returned.to_cbor(), attached) {
            Ok(closing) => {
                // Only what is recorded is the state.
                self.state = state;
                Transition::Closed { outcome: Outcome::Returned(returned.result.0), closing }
            }
            Err(interruption) => Transition::Interrupted(interruption),
        }
    }

    /// Kept states lie where the next call gets a new instance: there alone a replay can begin.
    fn mark_kept_if_due(&mut self) -> bool {
        let sequence = self.guest.recorder().chain().next_sequence();
        let keep = sequence >= self.kept_at + KEPT_STATE_EVENTS && self.guest.next_is_fresh();
        if keep {
            self.kept_at = sequence;
        }
        keep
    }

    fn refuse(&mut self, function: &'static Function, message: String) -> Transition {
        let refused = Refused { message };
        let keep = self.mark_kept_if_due();
        let state = keep.then(|| StateWrite { state: self.state.clone(), named: false, keep });
        let attached = Attached { state, ..Attached::default() };
        match self.guest.recorder().record(function.refused, refused.to_cbor(), attached) {
            Ok(closing) => Transition::Closed { outcome: Outcome::Refused(refused.message), closing },
            Err(interruption) => Transition::Interrupted(interruption),
        }
    }
}
