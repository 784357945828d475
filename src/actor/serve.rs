//! An actor at work: it takes deliveries, one after the other, and first of all finishes what an earlier process left
//! open.

use std::time::Duration;

use super::executor::{Executor, Job, Transition};
use super::runtime::{ActorRuntime, Down, Open};
use crate::base::clock;
use crate::base::fail;
use crate::base::stack;
use crate::base::wait;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, FailureReason};
use crate::chain::{ChainEvent, EventKind};
use crate::guest::{Interruption, Script};
use crate::handlers::INIT;
use crate::journal::Owed;
use crate::promise::Promise;
use crate::system::{Answer, Delivery, OrderKind, Outcome, Reply};

/// An actor that has had nothing to do for so long gives its stack back.
const IDLE: Duration = Duration::from_secs(1);

impl Open {
    /// Whether it is the actor's `init` that was left open.
    pub(super) fn is_init(&self) -> bool {
        self.call().is_some_and(|call| call.function() == INIT.full)
    }

    /// What the `return` of the call that was left open promises to the actor itself.
    fn promise(&self) -> Option<Promise> {
        let call = self.call()?;
        Promise::of_call(call.function(), &Call::from_cbor(&call.data).ok()?.params.0)
    }

    /// The call that was left open.
    fn call(&self) -> Option<&ChainEvent> {
        self.script.iter().rev().find(|event| event.kind() == Some(EventKind::Call))
    }
}

impl ActorRuntime {
    /// Takes deliveries, one after the other, until something ends the incarnation.
    pub(super) fn serve(&mut self, executor: &mut Executor) -> Down {
        loop {
            if let Some(order) = self.stop.order() {
                match order.kind {
                    OrderKind::Stop | OrderKind::Cycle => {
                        return Down::Ordered { order: order.clone(), reply: Reply::Nobody };
                    }
                    OrderKind::Fail => return self.failed_by_children(Reply::Nobody),
                    // What actors asked of each other before is still worked on, while there is time.
                    OrderKind::Suspend if self.mailbox.is_empty() || self.stop.overdue().is_some() => {
                        return Down::Suspended;
                    }
                    OrderKind::Suspend => {}
                }
            }
            let Some(delivery) = self.mailbox.next() else {
                self.wait_for_something();
                continue;
            };
            if !delivery.reply.claim() {
                continue;
            }
            fail::point("taken");
            let Delivery { function, params, caller, cause, reply } = delivery;
            let promised = Promise::of_call(function.full, &params);
            let owed = promised.and_then(|promised| promised.owed(self.actor.id));
            let end = executor.transition(Job { function, params, caller, cause }, &mut || owed);
            if let Err(down) = self.close(end, reply) {
                return down;
            }
        }
    }

    /// Goes on with a transition that an earlier process left open.
    pub(super) fn resume(&mut self, executor: &mut Executor, mut open: Open) -> Result<(), Down> {
        let reply = std::mem::replace(&mut open.reply, Reply::Nobody);
        let promised = open.promise();
        let owed = promised.as_ref().and_then(|promised| promised.owed(self.actor.id));
        let end = self.run_again_from(executor, open, &mut || owed);
        if let Transition::Closed { outcome: Outcome::Returned(_), closing } = &end
            && let Some(due) = promised.and_then(|promised| promised.due_after_a_crash(closing.clone()))
        {
            // A mailbox that is closing names it as dropped.
            let _ = self.theater.notify(self.actor.id, due);
        }
        self.close(end, reply)
    }

    /// Executes again what is on the chain since the last new instance, and goes on live where that ends.
    pub(super) fn run_again_from(
        &self,
        executor: &mut Executor,
        open: Open,
        promises: &mut dyn FnMut() -> Option<Owed>,
    ) -> Transition {
        let Open { script, base, .. } = open;
        let newest = executor.state();
        executor.resume(Script::new(script), base);
        loop {
            let Some(upcoming) = executor.recorder().upcoming().cloned() else {
                let detail = "its last call cannot be found: it cannot be resumed".to_owned();
                executor.set_state(newest);
                return Transition::Failed { reason: FailureReason::Interrupted, detail };
            };
            let call = Call::from_cbor(&upcoming.data).ok();
            let function = self.spec.program.function(upcoming.function());
            let (Some(call), Some(function)) = (call, function) else {
                let detail = format!("event {} is no call of this component: it cannot be resumed", upcoming.sequence);
                executor.set_state(newest);
                return Transition::Failed { reason: FailureReason::Interrupted, detail };
            };
            let end = executor.transition(Job::recorded(function, call), promises);
            match end {
                Transition::Closed { .. } if executor.recorder().upcoming().is_some() => {}
                Transition::Interrupted(Interruption::Diverged(divergence)) => {
                    let detail = format!("it cannot be resumed: {divergence}");
                    executor.set_state(newest);
                    return Transition::Failed { reason: FailureReason::Interrupted, detail };
                }
                end => return end,
            }
        }
    }

    /// Answers what a transition came to; `Err` where the incarnation ends with it.
    fn close(&self, end: Transition, reply: Reply) -> Result<(), Down> {
        match end {
            Transition::Closed { outcome, closing } => {
                fail::point("closed");
                fail::point_after("closed-committed", || _ = self.theater.journal.flush());
                self.answer(reply, Answer { outcome, closing: Some(closing) });
                fail::point("answered");
                Ok(())
            }
            Transition::Failed { reason, detail } => Err(Down::Failed { reason, detail, reply }),
            Transition::Interrupted(interruption) => Err(self.interrupted(interruption, reply)),
        }
    }

    /// Waits until a delivery or an order unparks this thread. An actor that is being suspended looks again after a moment,
    /// because its grace may be over.
    fn wait_for_something(&self) {
        if self.stop.order().is_some() {
            return wait::park_until(clock::now() + Duration::from_millis(1));
        }
        let idle_at = clock::now() + IDLE;
        wait::park_until(idle_at);
        if clock::now() >= idle_at && self.mailbox.is_empty() && self.stop.order().is_none() {
            stack::give_back();
            self.mailbox.let_go_of_empty_lanes();
            // Whatever has come since has unparked this thread, so this returns at once.
            wait::park();
        }
    }

    pub(super) fn interrupted(&self, interruption: Interruption, reply: Reply) -> Down {
        match interruption {
            Interruption::Ordered => {
                let order = self.stop.order().expect("interrupted by an order").clone();
                if order.kind == OrderKind::Fail {
                    return self.failed_by_children(reply);
                }
                Down::Ordered { order, reply }
            }
            Interruption::Suspending => {
                self.answer_now(reply, Outcome::Stopped);
                Down::Suspended
            }
            Interruption::JournalDown => Down::Unrecorded,
            Interruption::Shortage(_) => {
                let (reason, detail) = (FailureReason::Interrupted, interruption.to_string());
                Down::Failed { reason, detail, reply }
            }
            Interruption::CpuTime(_)
            | Interruption::Memory(_)
            | Interruption::TooLarge(_)
            | Interruption::RecordedEnd
            | Interruption::Diverged(_) => {
                unreachable!("the guest layer turns limits into failures; the rest is replay's")
            }
        }
    }

    fn failed_by_children(&self, reply: Reply) -> Down {
        let supervision = &self.spec.manifest.supervision;
        let within = supervision.within.as_millis();
        let detail = format!("more than max_restarts = {} within within_ms = {within}", supervision.max_restarts);
        Down::Failed { reason: FailureReason::Restarts, detail, reply }
    }
}
