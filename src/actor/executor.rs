//! One call is one transition: `(state, params) -> (state', result)`, recorded before it begins and when it ends.
//!
//! Live and replaying are the same code; the recorder makes the difference.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::base::limits::KEPT_STATE_EVENTS;
use crate::base::thread::panic_message;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Caller, Encoded, FailureReason, NamedState, Refused, Return, StateAfter};
use crate::chain::{Function, Link};
use crate::guest::{CallEnd, Guest, Interruption, Recorder};
use crate::journal::StateWrite;
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

/// A guest and its state.
pub(crate) struct Executor {
    guest: Guest,
    state: Option<Arc<[u8]>>,
    /// The event whose state was last kept for good.
    kept_at: u64,
}

impl Executor {
    pub(crate) fn new(guest: Guest, state: Option<Arc<[u8]>>) -> Self {
        Self { guest, state, kept_at: 0 }
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

    /// Calls `function` with `params`, one CBOR item.
    pub(crate) fn transition(
        &mut self,
        function: &'static Function,
        params: Vec<u8>,
        caller: Caller,
        cause: Option<Link>,
    ) -> Transition {
        let fresh = self.guest.next_is_fresh();
        let call = Call { cause, fresh, caller, params: Encoded(params) };
        let recorder = self.guest.recorder();
        let recorded = recorder.record(function.call, call.to_cbor(), None);
        if let Err(interruption) = recorded.and_then(|_| recorder.stop_where_it_was_ended()) {
            return Transition::Interrupted(interruption);
        }
        let state = self.state.as_deref();
        let guest = &mut self.guest;
        match catch_unwind(AssertUnwindSafe(|| guest.call(function, state, &call.params.0))) {
            Ok(CallEnd::Returned(returned)) => self.accept(function, returned.state, returned.result),
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
    fn accept(&mut self, function: &'static Function, state: Option<Vec<u8>>, result: Vec<u8>) -> Transition {
        let unchanged = state.as_deref() == self.state.as_deref();
        let state = if unchanged { self.state.clone() } else { state.map(Arc::from) };
        let (named, write) = if unchanged {
            (StateAfter::Unchanged, None)
        } else {
            let keep = self.is_to_be_kept();
            (StateAfter::Now(NamedState::of(state.as_deref())), Some(StateWrite { state: state.clone(), keep }))
        };
        let returned = Return { state: named, result: Encoded(result) };
        match self.guest.recorder().record(function.returned, returned.to_cbor(), write) {
            Ok(closing) => {
                // Only what is recorded is the state.
                self.state = state;
                Transition::Closed { outcome: Outcome::Returned(returned.result.0), closing }
            }
            Err(interruption) => Transition::Interrupted(interruption),
        }
    }

    /// Kept states lie where the next call gets a new instance: there alone a replay can begin.
    fn is_to_be_kept(&mut self) -> bool {
        let sequence = self.guest.recorder().chain().next_sequence();
        let keep = sequence >= self.kept_at + KEPT_STATE_EVENTS && self.guest.next_is_fresh();
        if keep {
            self.kept_at = sequence;
        }
        keep
    }

    fn refuse(&mut self, function: &'static Function, message: String) -> Transition {
        let refused = Refused { message };
        match self.guest.recorder().record(function.refused, refused.to_cbor(), None) {
            Ok(closing) => Transition::Closed { outcome: Outcome::Refused(refused.message), closing },
            Err(interruption) => Transition::Interrupted(interruption),
        }
    }
}
