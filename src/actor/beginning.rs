//! How an incarnation is to begin: on a new chain, on a chain that is read from the journal, or within a transition that
//! an earlier process left open.

use std::sync::Arc;

use super::context::ActorContext;
use super::spec::Spec;
use super::trial::{Trial, upgraded};
use super::verdict::SpawnReply;
use crate::base::id::Incarnation;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, StartReason, Started};
use crate::chain::{ChainEvent, ComponentDigest, EventKind, Head, Link, MIGRATE, StateChain};
use crate::guest::wit::ChildEventKind;
use crate::handlers::INIT;
use crate::manifest::RestartState;
use crate::promise::ClientCall;
use crate::system::{Awaited, Reply, Wait};

/// How the next incarnation of a thread begins.
pub(crate) struct Beginning {
    pub(crate) reason: StartReason,
    pub(crate) chain: StateChain,
    /// The number that its `started` will have. If the thread ends before it records that event, the number stays free.
    pub(crate) incarnation: Incarnation,
    pub(crate) state: Option<Arc<[u8]>>,
    pub(crate) run_init: bool,
    /// The component that made the state, if it is to be migrated first.
    pub(crate) migrates_from: Option<ComponentDigest>,
    /// The manifest and component that the actor goes on with after this beginning.
    pub(crate) successor: Option<Arc<Spec>>,
    /// The digest of the rows that a fork begins with.
    pub(crate) rows: Option<[u8; 32]>,
    /// The parent's event that spawns the actor; for a fork, the event that is forked.
    pub(crate) cause: Option<Link>,
    pub(crate) reply: Option<SpawnReply>,
    /// The notice that the parent gets once the actor is up.
    pub(crate) notice: Option<ChildEventKind>,
    /// The chain ends within a transition that cannot go on: it is closed as `failed` first.
    pub(crate) interrupted: bool,
    /// The open transition at the end of the chain, if it is to go on.
    pub(crate) open: Option<Box<OpenTransition>>,
}

/// A transition that an earlier process left open.
pub(crate) struct OpenTransition {
    /// The events on the chain from the last call that began on a new instance to the end, without any `started`.
    pub(crate) script: Vec<ChainEvent>,
    /// The state before the first of these events.
    pub(crate) base: Option<Arc<[u8]>>,
    /// The sender that waits for the end of the transition.
    pub(crate) reply: Reply,
    /// The outcome that recovery found for the host call at the end of the chain.
    pub(crate) awaited: Option<Awaited>,
    /// The actor's registered wait for the answer to that host call.
    pub(crate) wait: Option<Wait>,
    /// How many starts in a row have resumed the transition without recording a further event of it.
    pub(crate) attempts: u64,
    /// Whether the command line named the actor. If it did, and the transition cannot go on, the actor goes on without
    /// it.
    pub(crate) asked_for: bool,
    /// The new spec, if the manifest or the component has changed: the actor runs it after the transition.
    pub(crate) successor: Option<Arc<Spec>>,
}

impl OpenTransition {
    /// Whether the open transition is the actor's `init`.
    pub(super) fn is_init(&self) -> bool {
        self.call().is_some_and(|call| call.function() == INIT.full)
    }

    /// Whether the open transition migrates the actor's state.
    pub(super) fn is_migration(&self) -> bool {
        self.call().is_some_and(|call| call.function() == MIGRATE.full)
    }

    /// The client for which the open call was made, if its `return` may promise to tell of its end.
    pub(super) fn client_call(&self) -> Option<ClientCall> {
        let call = self.call()?;
        ClientCall::of(call.function(), &Call::from_cbor(&call.data).ok()?.params.0)
    }

    /// The call that is open.
    fn call(&self) -> Option<&ChainEvent> {
        self.script.iter().rev().find(|event| event.kind() == Some(EventKind::Call))
    }
}

/// How the chain of an actor that has lived before is to go on.
pub(crate) struct Again {
    pub(crate) reason: StartReason,
    pub(crate) from: RestartState,
    pub(crate) incarnation: Incarnation,
    pub(crate) reply: Option<SpawnReply>,
    pub(crate) notice: Option<ChildEventKind>,
    /// The parent's event that spawned the actor, if its `init` has never begun.
    pub(crate) cause: Option<Link>,
    pub(crate) open: Option<Box<OpenTransition>>,
    /// The manifest and component that the actor goes on with after this beginning.
    pub(crate) successor: Option<Arc<Spec>>,
}

/// Reads the end of the actor's chain and its state from the journal, and makes a [`Beginning`] of `again`, with the upgrade that
/// is on trial then. `before` is the build from before, if that is known.
///
/// The error comes with the caller who waits for the actor.
#[inline(never)]
pub(super) fn read_on(
    context: &ActorContext,
    before: Option<&Arc<Spec>>,
    again: Again,
) -> Result<(Box<Beginning>, Option<Box<Trial>>), (String, Option<SpawnReply>)> {
    match read_journal(context, before, &again) {
        Ok((beginning, trial)) => {
            let Again { reply, notice, cause, open, successor, .. } = again;
            Ok((Box::new(Beginning { reply, notice, cause, open, successor, ..beginning }), trial))
        }
        Err(why) => Err((why, again.reply)),
    }
}

fn read_journal(
    context: &ActorContext,
    before: Option<&Arc<Spec>>,
    again: &Again,
) -> Result<(Beginning, Option<Box<Trial>>), String> {
    let journal = &context.theater.journal;
    journal.flush().map_err(|error| error.to_string())?;
    let reader = journal.reader().map_err(|error| error.to_string())?;
    let unreadable = |error: crate::journal::ReadFault| format!("its history cannot be read: {error}");
    let last = reader.last_event(context.actor).map_err(unreadable)?.ok_or("it has no history")?;
    let initial = again.from == RestartState::Initial;
    let state = if initial {
        context.spec.init_state.clone()
    } else {
        let state = context.theater.control.newest_state(context.actor);
        state.map_err(|error| format!("its history cannot be read: {error}"))?.map(Arc::from)
    };
    let head = Head { sequence: last.sequence, hash: last.hash };
    let trial = Trial::on_chain(context, &reader, before.into_iter().chain([&context.spec]))?;
    let (state, trial) = match again.reason {
        _ if initial => (state, None),
        StartReason::Upgrade => {
            let newest = reader.newest_started(context.actor).map_err(unreadable)?.ok_or("it has no history")?;
            let component = newest.read::<Started>().map_err(|error| error.to_string())?.component;
            upgraded(&context.spec, (before, component), state, trial)
        }
        StartReason::Restart => (state, trial.filter(|trial| trial.is_unmigrated())),
        StartReason::Spawn | StartReason::Fork | StartReason::Recovery => (state, trial),
    };
    let migrates_from = trial.as_ref().and_then(|trial| trial.migrates_from(&context.spec.program));
    let beginning = Beginning {
        reason: again.reason,
        chain: StateChain::after(context.actor.id, head),
        incarnation: again.incarnation,
        state,
        run_init: initial,
        migrates_from,
        successor: None,
        rows: None,
        cause: None,
        reply: None,
        notice: None,
        interrupted: again.open.is_none()
            && matches!(last.kind(), Some(EventKind::Call | EventKind::Intent | EventKind::HostCall)),
        open: None,
    };
    Ok((beginning, trial))
}
