//! One actor from an earlier runtime: where its chain ends, whether it runs again, and how it goes on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::builds::{BuildHistory, Builds};
use super::command::{Comeback, FormerLife, Newborn};
use super::stored_spec::{damaged, is_fork, keep_initial_state, stored_spec};
use super::tree::Lately;
use crate::actor::{OpenTransition, SharedSpecs, SleptAt, Spec, recorded_limits};
use crate::base::clock;
use crate::base::id::Incarnation;
use crate::base::limits::Limits;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Failed, FailureReason, StartReason, Started};
use crate::chain::{ChainEvent, EventKind, Head, check_link};
use crate::guest::GuestEngine;
use crate::guest::wit::ChildEventKind;
use crate::handlers::INIT;
use crate::journal::{ActorRow, JournalError, JournalReader, Newest, ReadResult};
use crate::manifest::{Manifest, RestartPolicy, RestartState, Supervision};
use crate::promise::{REQUEST, recorded_end};
use crate::system::{ActorStatus, Awaited, Label, NotALabel, Reply, Wait};

/// One actor from an earlier runtime, as its chain leaves it.
pub(super) struct FormerActor {
    pub(super) row: ActorRow,
    /// The manifest and component that the actor runs. If `successor` is set, these are the ones that its last incarnation
    /// ran.
    spec: Arc<Spec>,
    /// The manifest and component that the actor runs once its open transition is over, or once its upgrade is taken back, if
    /// they have changed.
    successor: Option<Arc<Spec>>,
    /// How the actor's builds follow each other.
    builds: Builds,
    /// The command line names the actor's manifest.
    pub(super) asked_for: bool,
    /// What the actor's last `started` says is not what it would say now.
    is_changed: bool,
    /// When the actor's newest incarnation began, in milliseconds since the Unix epoch.
    began_ms: u64,
    pub(super) last: ChainEvent,
    /// The events of the transition that the chain ends within; empty if none is open.
    pub(super) open: Vec<ChainEvent>,
    /// The name that its parent has given it.
    label: Option<Label>,
    /// Whether an incarnation of the actor has ever been up.
    was_up: bool,
    /// The actor first began with the state of another one, and without an `init`.
    pub(super) is_fork: bool,
    /// The actor ends with this start, and its chain does not say so yet.
    pub(super) ends: bool,
}

/// What recovery found about an open transition by looking at other actors.
pub(super) struct Opening {
    /// The outcome of the host call that the transition waits for.
    pub(super) awaited: Option<Awaited>,
    /// The actor's registered wait for that outcome.
    pub(super) wait: Option<Wait>,
    /// The sender that waits for the end of the transition.
    pub(super) reply: Reply,
    /// Whether nothing waits for the actor but what would wake it, and it may sleep.
    pub(super) rests: bool,
}

impl FormerActor {
    /// Reads an actor from the journal. `asked_for` is the manifest that the command line names for it, loaded.
    pub(super) fn read(
        made: (&GuestEngine, &SharedSpecs),
        reader: &JournalReader,
        dir: &Path,
        (row, has_moved): (ActorRow, bool),
        last: ChainEvent,
        asked_for: Option<Spec>,
    ) -> Result<Self, String> {
        let unreadable = |error| JournalError::Read { path: dir.to_owned(), error }.to_string();
        let actor = row.actor;
        let open = if row.alive { reader.open_transition(actor).map_err(unreadable)? } else { Vec::new() };
        let started = reader.newest_started(actor).map_err(unreadable)?;
        for event in open.iter().chain([&last]).chain(&started) {
            check_hash(event).map_err(|why| damaged(dir, &row, &why))?;
        }
        let began_ms = started.as_ref().map_or(0, |started| started.timestamp);
        let started = started_of_row(&row, started.as_ref(), &last).map_err(|why| damaged(dir, &row, &why))?;
        let limits = recorded_limits(&started);
        let label = started.label.as_deref().map(str::parse).transpose();
        let label = label.map_err(|why: NotALabel| damaged(dir, &row, &why.to_string()))?;
        let is_fork = is_fork(reader, actor).map_err(unreadable)?;
        let was_up = reader.has_begun(actor).map_err(unreadable)?
            || is_fork && fork_was_up(reader, &row, &last).map_err(unreadable)?;
        let is_asked_for = asked_for.is_some();
        let named = asked_for.map(|spec| keep_initial_state(reader, &row, spec)).transpose().map_err(unreadable)?;
        let is_changed = has_moved || named.as_ref().is_some_and(|named| !is_same(named, &row, &limits));
        let history = BuildHistory { made, reader, dir, row: &row, limits: &limits };
        let trial = history.trial()?;
        let before = trial.as_ref().and_then(|trial| history.build_before(trial));
        let has_failed = row.alive && open.is_empty() && last.kind() == Some(EventKind::Failed);
        let takes_back =
            has_failed && before.is_some() && trial.as_ref().is_some_and(|trial| history.takes_back(trial));
        let stored = || stored_spec(made, reader, dir, &row, &limits);
        let (spec, successor, before, is_upgraded) = match (named, before) {
            (named, Some(before)) if takes_back => {
                let successor = named.filter(|named| !named.is_same_build(&before));
                (Arc::clone(&before), successor.map(Arc::new), Some(before), true)
            }
            // The manifest or the component has changed. The open transition is finished with those it began with, and
            // within the limits it began with.
            (Some(named), before) if !open.is_empty() && !is_same(&named, &row, &limits) => {
                (stored()?.kept(), Some(Arc::new(named)), before, false)
            }
            (Some(named), before) if history.is_other(&named) => {
                let is_unmigrated = trial.as_ref().is_some_and(|trial| trial.unmigrated.is_some());
                let before = if is_unmigrated { before } else { history.way_back_from(&named) };
                (named.kept(), None, before, true)
            }
            (Some(named), before) => (named.kept(), None, before, false),
            (None, before) => (stored()?.kept(), None, before, false),
        };
        let builds = Builds { is_on_trial: trial.is_some(), takes_back, is_upgraded, before };
        let refused_init = row.alive && last.kind() == Some(EventKind::Refused) && last.function() == INIT.full;
        let ends = refused_init && !is_asked_for;
        Ok(Self {
            row,
            spec,
            successor,
            builds,
            asked_for: is_asked_for,
            is_changed,
            began_ms,
            last,
            open,
            label,
            was_up,
            is_fork,
            ends,
        })
    }

    /// Whether the actor runs again.
    pub(super) fn runs(&self) -> bool {
        (self.row.alive && !self.ends) || self.asked_for
    }

    /// The manifest that the actor goes on with, after its open transition if there is one.
    pub(super) fn manifest(&self) -> &Manifest {
        &self.successor.as_ref().unwrap_or(&self.spec).manifest
    }

    /// Whether the actor's incarnation has ended, and the next one begins from the initial state.
    pub(super) fn begins_anew(&self) -> bool {
        let ended = matches!(self.last.kind(), Some(EventKind::Failed | EventKind::Stopped));
        ended && !self.builds.takes_back && self.manifest().supervision.restart_state == RestartState::Initial
    }

    /// How the actor goes on: the reason of its `started`, the state it begins with, and the notice for its parent.
    fn course(&self, reader: &JournalReader) -> ReadResult<(StartReason, RestartState, Option<ChildEventKind>)> {
        let (reason, from, told) = self.course_of_one_build(reader)?;
        if self.builds.takes_back {
            return Ok((StartReason::Upgrade, RestartState::Last, told));
        }
        // What begins from the initial state has nothing of the build before.
        let is_upgraded = self.builds.is_upgraded && self.was_up && from == RestartState::Last;
        Ok((if is_upgraded { StartReason::Upgrade } else { reason }, from, told))
    }

    fn course_of_one_build(
        &self,
        reader: &JournalReader,
    ) -> ReadResult<(StartReason, RestartState, Option<ChildEventKind>)> {
        let told = if self.was_up { ChildEventKind::Restarted } else { ChildEventKind::Started };
        let policy = if self.was_up { self.manifest().supervision.restart_state } else { RestartState::Initial };
        if !self.row.alive {
            let has_a_state = self.was_up || self.is_fork;
            let from = if has_a_state { RestartState::Last } else { RestartState::Initial };
            return Ok((StartReason::Restart, from, None));
        }
        if !self.open.is_empty() {
            let is_init = self.open.first().is_some_and(|call| call.function() == INIT.full);
            return Ok((StartReason::Recovery, RestartState::Last, is_init.then_some(told)));
        }
        Ok(match self.last.kind() {
            Some(EventKind::Failed | EventKind::Stopped) => (StartReason::Restart, policy, Some(told)),
            Some(EventKind::Started) if !self.was_up || self.init_is_due(reader)? => {
                (StartReason::Recovery, RestartState::Initial, Some(told))
            }
            _ if !self.was_up => (StartReason::Recovery, RestartState::Initial, Some(told)),
            _ => (StartReason::Recovery, RestartState::Last, None),
        })
    }

    /// Whether the `init` that follows a `started` has not begun. The chain ends with that `started`, or with several in a
    /// row: each recovery that got no further adds one, so the reason of the first of the row decides.
    fn init_is_due(&self, reader: &JournalReader) -> ReadResult<bool> {
        let mut at = self.last.sequence;
        while let Some(event) = reader.events(self.row.actor, at, 1, usize::MAX)?.pop() {
            let Some(started) =
                Started::from_cbor(&event.data).ok().filter(|_| event.kind() == Some(EventKind::Started))
            else {
                return Ok(false);
            };
            match started.reason {
                StartReason::Spawn => return Ok(true),
                StartReason::Restart => return Ok(self.manifest().supervision.restart_state == RestartState::Initial),
                StartReason::Fork | StartReason::Upgrade => return Ok(false),
                StartReason::Recovery if at > 0 => at -= 1,
                StartReason::Recovery => return Ok(false),
            }
        }
        Ok(false)
    }

    /// The manifest and component that the actor goes on with.
    pub(super) fn spec(&self) -> &Spec {
        self.successor.as_ref().unwrap_or(&self.spec)
    }

    /// Whether the chain has nothing for the actor to do, and an incarnation that slept would go on as the last one.
    fn may_sleep_on(&self) -> bool {
        self.row.alive && self.was_up && self.open.is_empty() && !self.is_changed && !self.builds.is_on_trial
    }

    /// The actor as it is given to the supervisor. `window` is the time within which its supervisor counts failures.
    pub(super) fn back(
        self,
        reader: &JournalReader,
        opening: Opening,
        window: Duration,
    ) -> ReadResult<(Newborn, Comeback)> {
        let lately = self.lately(reader, window)?;
        let (reason, from, notice) = self.course(reader)?;
        let (runs, actor, parent) = (self.runs(), self.row.actor, self.row.parent);
        let goes_on = (reason, from) == (StartReason::Recovery, RestartState::Last) && notice.is_none();
        let comeback = match opening.rests {
            _ if !runs => Comeback::Listed(status_after(&self.last)),
            true if goes_on && self.may_sleep_on() => Comeback::Sleeps(SleptAt {
                head: Head { sequence: self.last.sequence, hash: self.last.hash },
                kept_at: 0,
            }),
            _ => Comeback::Runs,
        };
        let open = if self.open.is_empty() || !runs { None } else { Some(Box::new(self.opened(reader, opening)?)) };
        let (incarnation, was_up, was_alive) = (self.row.incarnation, self.was_up, self.row.alive);
        let began_ms = self.began_ms;
        let ended = if was_alive { None } else { recorded_end(actor.id, &self.last) };
        let successor = self.successor.filter(|_| self.builds.takes_back);
        let again = Some(FormerLife {
            reason,
            from,
            incarnation,
            began_ms,
            was_up,
            was_alive,
            is_paused: reader.is_paused(actor)?,
            ended,
            notice,
            lately,
            open,
            successor,
        });
        let label = self.label;
        Ok((
            Newborn {
                actor,
                spec: self.spec,
                parent,
                label,
                cause: None,
                is_fork: self.is_fork,
                rows: None,
                before: self.builds.before,
                again,
                reply: None,
            },
            comeback,
        ))
    }

    /// The recent failures that still count: for the actor's own supervisor, which counts them within `window`, and for the
    /// actor as the supervisor of its children.
    fn lately(&self, reader: &JournalReader, window: Duration) -> ReadResult<Lately> {
        let Supervision { within, restart, .. } = self.manifest().supervision;
        if self.row.incarnation == Incarnation::FIRST && self.last.kind() != Some(EventKind::Failed) {
            return Ok(Lately::default());
        }
        let now = clock::unix_ms();
        let before = |time: Duration| now.saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let mut failed = reader.failures(self.row.actor, before(window.max(within))..=now)?;
        // A `failed` that follows another one directly records the same failure again, now with the deliveries that were
        // lost in between, or with the reason why there is no restart. It counts once.
        let mut end = None;
        failed.retain(|event| end.replace(event.sequence + 1) != Some(event.sequence));
        let by_children = |event: &&ChainEvent| {
            Failed::from_cbor(&event.data).is_ok_and(|failed| failed.reason == FailureReason::Restarts)
        };
        let by_children_at = failed.iter().rev().find(by_children).map(|event| event.timestamp);
        // Neither an actor that was never up nor a temporary actor was restarted by policy, so none of its failures
        // counts. The newest failure counts only if the actor goes on after it.
        let by_policy = self.was_up && restart != RestartPolicy::Temporary;
        let is_restarted = |event: &&ChainEvent| event.sequence < self.last.sequence || self.row.alive;
        let counted = failed.iter().filter(|event| by_policy && event.timestamp >= before(window)).filter(is_restarted);
        Ok(Lately { failures: counted.map(|event| event.timestamp).collect(), by_children_at })
    }

    /// The transition that is to be resumed. Its script begins at the last call that began on a new instance.
    fn opened(
        &self,
        reader: &JournalReader,
        Opening { awaited, wait, reply, .. }: Opening,
    ) -> ReadResult<OpenTransition> {
        let actor = self.row.actor;
        let fresh = self.open.first().is_some_and(|call| Call::from_cbor(&call.data).is_ok_and(|call| call.fresh));
        let newest = if fresh { Some(reader.newest_state(actor)?) } else { None };
        let (base, mut script) = if let Some(Newest::Is(state)) = newest {
            (state, self.open.clone())
        } else {
            // The open call was made on an instance that earlier calls had used, or on a state that is not stored. So the
            // earlier calls are executed again first. The journal keeps states at calls that begin on a new instance: the
            // newest kept state is where to begin.
            let (kept, state) = reader.kept_state(actor, self.open[0].sequence)?.unwrap_or_default();
            (state, reader.events(actor, kept + 1, u64::MAX, usize::MAX)?)
        };
        script.retain(|event| event.kind() != Some(EventKind::Started));
        // A transition that got further since it was resumed last has survived that start.
        let got_further = self.last.kind() != Some(EventKind::Started);
        // A transition that waits for another actor's answer did not end the process.
        let waits = script.last().is_some_and(|event| event.event_type == REQUEST.intent);
        let attempts = if got_further || waits { 0 } else { reader.attempts(actor)? };
        Ok(OpenTransition {
            script,
            base: base.map(Arc::from),
            reply,
            awaited,
            wait,
            attempts,
            asked_for: self.asked_for,
            successor: self.successor.clone(),
        })
    }
}

/// Whether a fork has been up. Its chain does not say when it came up, because no `init` returns then. A first start that
/// fails ends the fork: so a fork that lives, that was stopped, or that was ever called, has been up. (If the runtime ended
/// while the fork was starting, it counts as up too, and its start is made again.)
fn fork_was_up(reader: &JournalReader, row: &ActorRow, last: &ChainEvent) -> ReadResult<bool> {
    Ok(row.alive || last.kind() != Some(EventKind::Failed) || reader.has_calls(row.actor)?)
}

/// Whether the manifest that the command line names is the one that the actor ran, with the same component and limits.
fn is_same(spec: &Spec, row: &ActorRow, limits: &Limits) -> bool {
    let text = spec.manifest.text();
    spec.digest() == row.component && **text == *row.manifest && *spec.manifest.limits == *limits
}

/// Checks that the stored event was not changed, by its hash.
fn check_hash(event: &ChainEvent) -> Result<(), String> {
    let before = event.parent_hash.map(|hash| Head { sequence: event.sequence.saturating_sub(1), hash });
    check_link(before.as_ref(), event).map(|_| ()).map_err(|broken| broken.to_string())
}

/// The actor's last `started`, after a comparison with the actor's row: the row repeats what that event says, and says
/// that the actor has ended only if its chain ends so.
fn started_of_row(row: &ActorRow, started: Option<&ChainEvent>, last: &ChainEvent) -> Result<Started, String> {
    let started = started.and_then(|event| Started::from_cbor(&event.data).ok());
    let started = started.ok_or("its last start is not on its chain")?;
    if let Some(what) = row.differs_from(&started) {
        return Err(format!("its {what} in the table of actors is not what its last start says"));
    }
    let has_ended = matches!(last.kind(), Some(EventKind::Failed | EventKind::Stopped));
    if row.alive || has_ended {
        Ok(started)
    } else {
        Err("it is said to have ended, but its chain does not end so".into())
    }
}

fn status_after(last: &ChainEvent) -> ActorStatus {
    match Failed::from_cbor(&last.data).ok().filter(|_| last.kind() == Some(EventKind::Failed)) {
        Some(Failed { reason, detail, .. }) => ActorStatus::Failed { reason, detail },
        None => ActorStatus::Stopped,
    }
}
