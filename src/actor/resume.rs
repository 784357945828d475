//! Resuming a transition that an earlier process left open: its recorded part is executed again and compared, and it goes
//! on live where the record ends.

use super::beginning::OpenTransition;
use super::context::ActorContext;
use super::down::{Down, close};
use super::executor::{Executor, Job, Transition};
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, FailureReason};
use crate::guest::{Interruption, Script};
use crate::journal::Owed;
use crate::system::{Outcome, Reply, StopSignal};

/// Goes on with an open transition, and answers its sender.
pub(super) fn resume(
    context: &ActorContext,
    stop: &StopSignal,
    executor: &mut Executor,
    mut open: OpenTransition,
) -> Result<(), Down> {
    let reply = std::mem::replace(&mut open.reply, Reply::Nobody);
    let client = open.client_call();
    let promised = |result: &[u8]| client.and_then(|client| client.promises(result));
    let end = run_again_from(context, executor, open, &mut |result| promised(result)?.owed(context.actor.id));
    if let Transition::Closed { outcome: Outcome::Returned(result), closing, deferred: None, .. } = &end
        && let Some(client) = client.filter(|client| client.promises(result).is_some())
    {
        // The client went with the earlier process. The error is ignored: a mailbox that is closing names the delivery as
        // dropped.
        let _ = context.theater.notify(context.actor.id, client.told_of_its_end(closing.clone()));
    }
    close(context, stop, end, reply)
}

/// Executes again every call since the last one that began on a new instance, and goes on live after the last recorded
/// event. `promises` is asked for what the closing event promises, once the export has returned.
pub(super) fn run_again_from(
    context: &ActorContext,
    executor: &mut Executor,
    open: OpenTransition,
    promises: &mut dyn FnMut(&[u8]) -> Option<Owed>,
) -> Transition {
    let OpenTransition { script, base, .. } = open;
    let newest = executor.state();
    executor.resume(Script::new(script), base);
    loop {
        let Some(upcoming) = executor.recorder().upcoming().cloned() else {
            let detail = "its last call cannot be found: it cannot be resumed".to_owned();
            executor.set_state(newest);
            return Transition::Failed { reason: FailureReason::Interrupted, detail };
        };
        let call = Call::from_cbor(&upcoming.data).ok();
        let function = context.spec.program.function(upcoming.function());
        let (Some(call), Some(function)) = (call, function) else {
            let detail = format!("event {} is no call of this component: it cannot be resumed", upcoming.sequence);
            executor.set_state(newest);
            return Transition::Failed { reason: FailureReason::Interrupted, detail };
        };
        // An actor that has slept since got a new instance then.
        if call.fresh {
            executor.guest().park();
            executor.recorder().nothing_is_remembered();
        }
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
