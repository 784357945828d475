//! An actor that is rehearsed: its component runs for one call after the other, and its host calls are answered from
//! elsewhere. There is no thread, no journal and no effect.

use std::sync::Arc;

use super::executor::{Executor, Firing, Job, Transition};
use crate::base::id::ActorId;
use crate::base::limits::Limits;
use crate::chain::data::{Call, Caller, FailureReason};
use crate::chain::{ChainEvent, Function, Head, StateChain};
use crate::guest::{Guest, HostAnswers, HostState, Interruption, Past, Program, Recorder, Table};
use crate::journal::Attached;
use crate::system::Outcome;

/// How a rehearsed call ended.
#[derive(Debug)]
pub(crate) enum RehearsedEnd {
    /// The encoded result; and the token, if the answer was put off.
    Returned {
        result: Vec<u8>,
        deferred: Option<u64>,
    },
    Refused(String),
    Failed(FailureReason, String),
    /// A host call had no answer. The text is that of [`Interruption::Unanswered`].
    Unanswered(String),
    /// The machine did not let the guest run.
    NotExecuted(String),
}

/// A rehearsed call: its end, and the events that a live actor would have recorded, but for the end of one that failed.
#[derive(Debug)]
pub(crate) struct RehearsedCall {
    pub(crate) end: RehearsedEnd,
    pub(crate) events: Vec<ChainEvent>,
}

/// What a rehearsal begins with.
pub(crate) struct RehearsalStart {
    pub(crate) actor: ActorId,
    /// The last event before the rehearsal, and the events that the guest may be shown.
    pub(crate) head: Option<Head>,
    pub(crate) past: Past,
    pub(crate) state: Option<Arc<[u8]>>,
    pub(crate) table: Box<Table>,
}

pub(crate) struct RehearsedActor {
    executor: Executor,
    table: Option<Box<Table>>,
}

impl RehearsedActor {
    /// An actor of `program`, each of whose instances serves `reuse` calls.
    pub(crate) fn new(
        program: Arc<Program>,
        reuse: u32,
        limits: Arc<Limits>,
        start: RehearsalStart,
        answers: Box<dyn HostAnswers>,
    ) -> Self {
        let chain = match start.head {
            Some(head) => StateChain::after(start.actor, head),
            None => StateChain::new(start.actor),
        };
        let recorder = Recorder::rehearsing(chain, start.past, answers);
        let host = HostState::new(recorder, limits, None);
        let executor = Executor::new(Guest::new(program, reuse, host), start.state);
        Self { executor, table: Some(start.table) }
    }

    /// Records an event that is no part of a call.
    pub(crate) fn record(&mut self, event_type: &'static str, data: Vec<u8>) -> Vec<ChainEvent> {
        let recorder = self.executor.recorder();
        recorder.record(event_type, data, Attached::default()).expect("a rehearsal records everything");
        recorder.take_rehearsed()
    }

    /// Calls an export. `timer` is the event that set the timer which calls, and the round.
    pub(crate) fn call(
        &mut self,
        function: &'static Function,
        params: Vec<u8>,
        caller: Caller,
        timer: Option<(u64, u64)>,
    ) -> RehearsedCall {
        let job = Job::new(function, params, caller, None);
        self.make(Job { firing: timer.map(|(of, round)| Firing { of, round, next: None }), ..job })
    }

    /// Makes a call that a chain has recorded.
    pub(crate) fn call_again(&mut self, function: &'static Function, call: Call) -> RehearsedCall {
        self.make(Job::recorded(function, call))
    }

    fn make(&mut self, job: Job) -> RehearsedCall {
        let recorder = self.executor.recorder();
        let table = self.table.take().expect("it was put back");
        recorder.lend_table(table);
        let end = match self.executor.transition(job, &mut |_| None) {
            Transition::Closed { outcome: Outcome::Returned(result), deferred, .. } => {
                RehearsedEnd::Returned { result, deferred: deferred.map(|it| it.token) }
            }
            Transition::Closed { outcome: Outcome::Refused(message), .. } => RehearsedEnd::Refused(message),
            Transition::Closed { outcome, .. } => unreachable!("a call ends by itself with {outcome:?}"),
            Transition::Failed { reason, detail } => RehearsedEnd::Failed(reason, detail),
            Transition::Interrupted(Interruption::Unanswered(why)) => RehearsedEnd::Unanswered(why),
            Transition::Interrupted(other) => RehearsedEnd::NotExecuted(other.to_string()),
        };
        let recorder = self.executor.recorder();
        let events = recorder.take_rehearsed();
        self.table = Some(recorder.take_table().expect("it was lent"));
        RehearsedCall { end, events }
    }

    /// Keeps what the last call has written to the table if it returned, and undoes it if not.
    pub(crate) fn settle(&mut self, call: &RehearsedCall) {
        let table = self.table();
        if let (RehearsedEnd::Returned { .. }, Some(closing)) = (&call.end, call.events.last()) {
            let closed = table.close(closing.sequence);
            debug_assert!(closed.is_ok(), "a table in memory can always be read");
        }
        table.begin_call(false);
    }

    pub(crate) fn state(&self) -> Option<Arc<[u8]>> {
        self.executor.state()
    }

    /// The rows of the actor's table.
    pub(crate) fn table(&mut self) -> &mut Table {
        self.table.as_mut().expect("no call is under way")
    }

    /// Ends the rehearsal, and gives the table back.
    pub(crate) fn into_table(self) -> Box<Table> {
        self.table.expect("no call is under way")
    }
}
