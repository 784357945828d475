//! The executor: it makes one call of the guest as one transition, `(state, params) -> (state', result)`, and records
//! the call before it begins and its outcome when it ends.
//!
//! A live call and a replayed call run the same code. Only the mode of the recorder differs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::refusals::Refusals;
use crate::base::clock;
use crate::base::limits::{INLINE_STATE_BYTES, KEPT_STATE_AFTER, KEPT_STATE_EVENTS};
use crate::base::metrics::ActorMetrics;
use crate::base::thread::panic_message;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Caller, Encoded, FailureReason, NamedState, Refused, Return, StateAfter};
use crate::chain::{Function, KeyDigest, Link, MIGRATE};
use crate::guest::{CallEnd, Guest, Interruption, PutOff, Recorder, Script};
use crate::handlers::INIT;
use crate::journal::{Attached, Cause, Owed, StateWrite};
use crate::promise::{HANDLE_REQUEST, owed_timer, settled_by};
use crate::system::{DueTime, Outcome};

/// How a transition ended.
#[derive(Debug)]
pub(crate) enum Transition {
    /// The closing event is on the chain, and the actor goes on. `rests_on` says how many events of the chain, counted
    /// from its beginning, the outcome rests on: after a read, only those that led to the state. `deferred` is the answer
    /// if it was put off: then the outcome is for nobody.
    Closed { outcome: Outcome, closing: Link, rests_on: u64, deferred: Option<PutOff> },
    /// The incarnation ends. Its `failed` event is not recorded yet.
    Failed { reason: FailureReason, detail: String },
    /// The guest was stopped in the middle of the call. What follows depends on the reason.
    Interrupted(Interruption),
}

/// A call to be made.
pub(crate) struct Job {
    pub(crate) function: &'static Function,
    /// The parameters, as one CBOR item.
    pub(crate) params: Vec<u8>,
    pub(crate) caller: Caller,
    pub(crate) cause: Option<Link>,
    /// The sequence of the actor's own event that asked to be told of an end, if the call tells of one.
    pub(crate) of: Option<u64>,
    /// The idempotency key of a request from outside.
    pub(crate) key: Option<String>,
    /// What a timer's call says besides, if a timer calls.
    pub(crate) firing: Option<Firing>,
    /// Whether the caller has a row of its own for the answer, which this call does not settle.
    pub(crate) is_async: bool,
}

/// One firing of a timer, as its call quotes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Firing {
    /// The sequence of the host call that set the timer.
    pub(crate) of: u64,
    pub(crate) round: u64,
    /// When the next firing is due, if the call promises one.
    pub(crate) next: Option<DueTime>,
}

impl Job {
    /// A call that no event of the actor itself has promised.
    pub(crate) fn new(function: &'static Function, params: Vec<u8>, caller: Caller, cause: Option<Link>) -> Self {
        Self { function, params, caller, cause, of: None, key: None, firing: None, is_async: false }
    }

    /// The call that an event of the chain recorded.
    pub(crate) fn recorded(function: &'static Function, call: Call) -> Self {
        let Call { of, key, next, cause, round, caller, params, .. } = call;
        let firing = of.zip(round).map(|(of, round)| Firing { of, round, next: next.map(DueTime::at) });
        let of = of.filter(|_| firing.is_none());
        Self { function, params: params.0, caller, cause, of, key, firing, is_async: false }
    }
}

/// A guest, and the state that its next call begins with.
pub(crate) struct Executor {
    guest: Guest,
    state: Option<Arc<[u8]>>,
    /// The sequence of the event whose state was last kept, and when that was.
    kept_at: (u64, Instant),
    /// A call other than `migrate` has returned, or was refused.
    has_returned: bool,
    /// The last call that returned has written rows of the table.
    has_written_rows: bool,
    /// The counters of the actor's calls and the log of its refusals; none if nobody counts.
    measured: Option<(Arc<ActorMetrics>, Refusals)>,
}

impl Executor {
    pub(crate) fn new(guest: Guest, state: Option<Arc<[u8]>>) -> Self {
        Self { guest, state, kept_at: (0, clock::now()), has_returned: false, has_written_rows: false, measured: None }
    }

    /// Counts calls from here on, and logs the refusals of the actor called `name`.
    pub(crate) fn measured(mut self, metrics: Option<Arc<ActorMetrics>>, name: &str) -> Self {
        self.measured = metrics.map(|metrics| (metrics, Refusals::of(name)));
        self
    }

    /// Notes that the state was kept at the event `sequence`.
    pub(crate) fn kept_at(&mut self, sequence: u64) {
        self.kept_at = (sequence, clock::now());
    }

    /// The last event at which the state was kept.
    pub(crate) fn last_kept(&self) -> u64 {
        self.kept_at.0
    }

    /// Sets the executor back to the state `base`, before events that are on the chain already. The next call gets a
    /// new instance and is compared with `script`.
    pub(crate) fn resume(&mut self, script: Script, base: Option<Arc<[u8]>>) {
        self.state = base;
        self.guest.park();
        self.guest.recorder().resume(script);
    }

    pub(crate) fn state(&self) -> Option<Arc<[u8]>> {
        self.state.clone()
    }

    /// Sets the state, and gives up what was computed since.
    pub(crate) fn set_state(&mut self, state: Option<Arc<[u8]>>) {
        self.state = state;
    }

    /// Whether a call other than `migrate` has returned, or was refused.
    pub(crate) fn has_returned(&self) -> bool {
        self.has_returned
    }

    /// Whether the last call that returned has written rows of the table.
    pub(crate) fn has_written_rows(&self) -> bool {
        self.has_written_rows
    }

    pub(crate) fn guest(&mut self) -> &mut Guest {
        &mut self.guest
    }

    pub(crate) fn recorder(&mut self) -> &mut Recorder {
        self.guest.recorder()
    }

    /// Takes the executor apart: the guest and the state go to the next incarnation.
    pub(crate) fn into_parts(self) -> (Guest, Option<Arc<[u8]>>) {
        (self.guest, self.state)
    }

    /// Makes a call. `promises` is asked for what the closing event promises after the export has returned this result, and
    /// not earlier.
    pub(crate) fn transition(&mut self, job: Job, promises: &mut dyn FnMut(&[u8]) -> Option<Owed>) -> Transition {
        self.transition_taken(job, promises, |_| ())
    }

    /// Like [`Executor::transition`]. `taken` gets the `call` once it is recorded, before the guest runs.
    pub(crate) fn transition_taken(
        &mut self,
        job: Job,
        promises: &mut dyn FnMut(&[u8]) -> Option<Owed>,
        taken: impl FnOnce(Link),
    ) -> Transition {
        let (begun, function) = (clock::now(), job.function);
        let end = self.carry_out(job, promises, taken);
        if let Some((metrics, refusals)) = &mut self.measured {
            metrics.calls.observe_time(clock::since(begun));
            metrics.memory_bytes.set(self.guest.state().memory_bytes());
            if let Transition::Closed { outcome: Outcome::Refused(message), .. } = &end {
                metrics.refusals.add(1);
                // A refused `init` is not logged here: it fails the actor, and the failure is logged.
                let told = refusals.told(function, message).filter(|_| function.full != INIT.full);
                told.iter().for_each(|told| log::warn!("{told}"));
            }
        }
        end
    }

    fn carry_out(
        &mut self,
        job: Job,
        promises: &mut dyn FnMut(&[u8]) -> Option<Owed>,
        taken: impl FnOnce(Link),
    ) -> Transition {
        let Job { function, params, caller, cause, of, key, firing, is_async } = job;
        let fresh = self.guest.next_is_fresh();
        let digest = key.as_deref().map(|key| Box::new(KeyDigest::of(caller, key)));
        let mut call = Call { of, key, ..Call::new(cause, fresh, caller, Encoded(params)) };
        if let Some(Firing { of, round, next }) = firing {
            (call.of, call.round, call.next) = (Some(of), Some(round), next.map(|due| due.unix_ms));
        }
        // The key of a request must not be forgotten, even if the request changes nothing.
        let may_be_read = asks_from_outside(function, caller) && digest.is_none();
        let record = if may_be_read { Recorder::record_of_read } else { Recorder::record };
        let recorder = self.guest.recorder();
        recorder.begin_call(function);
        let (actor, next) = (recorder.chain().actor(), firing.and_then(|firing| firing.next));
        let settles = settled_by(actor, function.full, &call).filter(|_| !is_async).into_iter().collect();
        let owes = next.map(|due| owed_timer(actor, due));
        let attached = Attached { settles, owes, key: digest, ..Attached::default() };
        match record(recorder, function.call, call.to_cbor(), attached) {
            Ok(link) => taken(link),
            Err(interruption) => return Transition::Interrupted(interruption),
        }
        if let Err(interruption) = recorder.stop_where_it_was_ended() {
            return Transition::Interrupted(interruption);
        }
        let state = self.state.as_deref();
        let guest = &mut self.guest;
        guest.state().begin(function, caller);
        match catch_unwind(AssertUnwindSafe(|| guest.call(function, state, &call.params.0))) {
            Ok(CallEnd::Returned(returned)) => {
                let owes = promises(&returned.result);
                self.accept(function, returned.state, returned.result, owes)
            }
            Ok(CallEnd::Refused(message)) => self.refuse(function, message),
            Ok(CallEnd::Failed(reason, detail)) => Transition::Failed { reason, detail },
            Ok(CallEnd::Interrupted(interruption)) => Transition::Interrupted(interruption),
            Err(panic) => {
                // The panic is a defect of Theater, not of the guest. The instance may be in any state, so the next
                // call gets a new one.
                self.guest.park();
                let detail = panic_message(&*panic);
                log::error!("the runtime panicked in {}: {detail}", function.full);
                Transition::Failed { reason: FailureReason::Panic, detail }
            }
        }
    }

    /// Records the new state and the result of an export that returned. From here on the new state is the actor's
    /// state.
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
        let keep = self.mark_kept_if_due(state.as_deref().filter(|_| !unchanged));
        let write = (keep || !unchanged).then(|| StateWrite { state: state.clone(), named: !unchanged, keep });
        let deferred = self.guest.recorder().take_deferred();
        // What a call returns that has put off its answer means nothing, and so it opens no stream either.
        let owes = owes.filter(|_| deferred.is_none());
        let recorder = self.guest.recorder();
        let rows = recorder.rows_written();
        self.has_written_rows = !rows.is_empty();
        let is_read = unchanged && owes.is_none() && deferred.is_none() && rows.is_empty();
        let record = if is_read { Recorder::record_of_read } else { Recorder::record };
        let attached = Attached { state: write, owes, rows, ..Attached::default() };
        let returned = Return { deferred: deferred.map(|it| it.token), ..Return::new(named, Encoded(result)) };
        match record(recorder, function.returned, returned.to_cbor(), attached) {
            Ok(closing) => {
                let rests_on = recorder.rests_on();
                self.has_returned |= function.full != MIGRATE.full;
                // The state changes only after it is recorded, and so does the table.
                self.state = state;
                if let Err(interruption) = recorder.close_call(closing.sequence) {
                    return Transition::Interrupted(interruption);
                }
                Transition::Closed { outcome: Outcome::Returned(returned.result.0), closing, rests_on, deferred }
            }
            Err(interruption) => Transition::Interrupted(interruption),
        }
    }

    /// Whether `state` is to be kept at the next event; if so, marks it as kept. It is kept only if the next call gets a new
    /// instance, because a replay can begin only there.
    ///
    /// A large state does not stand in its event. So it is kept after a while too: after a crash, what an actor has done
    /// since its last kept state is executed again.
    fn mark_kept_if_due(&mut self, state: Option<&[u8]>) -> bool {
        let sequence = self.guest.recorder().chain().next_sequence();
        let (kept, when) = self.kept_at;
        let is_large = state.is_some_and(|state| state.len() > INLINE_STATE_BYTES);
        let is_due = sequence >= kept + KEPT_STATE_EVENTS || (is_large && clock::since(when) >= KEPT_STATE_AFTER);
        let keep = is_due && self.guest.next_is_fresh();
        if keep {
            self.kept_at = (sequence, clock::now());
        }
        keep
    }

    fn refuse(&mut self, function: &'static Function, message: String) -> Transition {
        let refused = Refused { message };
        let keep = self.mark_kept_if_due(None);
        let state = keep.then(|| StateWrite { state: self.state.clone(), named: false, keep });
        let recorder = self.guest.recorder();
        // The error is the answer.
        let (actor, deferred) = (recorder.chain().actor(), recorder.take_deferred());
        let settles = deferred.map(|it| Cause { actor, sequence: it.token }).into_iter().collect();
        let attached = Attached { state, settles, ..Attached::default() };
        match recorder.record_of_read(function.refused, refused.to_cbor(), attached) {
            Ok(closing) => {
                self.has_returned |= function.full != MIGRATE.full;
                let rests_on = recorder.rests_on();
                Transition::Closed { outcome: Outcome::Refused(refused.message), closing, rests_on, deferred: None }
            }
            Err(interruption) => Transition::Interrupted(interruption),
        }
    }
}

/// Whether someone outside asks for an answer by this call, and sends no message that the actor is to have. Only such a
/// call can be a read.
fn asks_from_outside(function: &Function, caller: Caller) -> bool {
    match caller {
        Caller::Http => true,
        Caller::Management => function.full == HANDLE_REQUEST.full,
        Caller::Runtime | Caller::Actor | Caller::WebSocket | Caller::Timer => false,
    }
}
