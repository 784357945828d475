//! A dry run of an upgrade: the newest recorded calls are made again under the new build, and what comes out otherwise is listed.
//!
//! The recorded builds are replayed, so that the state before and after each call is known exactly. The new build begins each call
//! with that state, which it has migrated if it exports `migrate`, on a new instance. Its state after the call is compared with the
//! recorded one, migrated too. The rest is a comparison of outcomes ([`outcomes`](super::outcomes)).

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::outcomes::answers::RecordedAnswers;
use super::outcomes::{
    ChangedPart, OtherBuild, RecordedTransition, StateThen, differing_parts, not_exported, write_rows,
};
use super::{Boundary, Recording, ReplayError, ReplayStretch, Stage, limits, read, replay_stretch};
use crate::actor::rehearse::{RehearsalStart, RehearsedActor, RehearsedCall, RehearsedEnd};
use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Caller, Started};
use crate::chain::{ChainEvent, ComponentDigest, EventKind, Head, MIGRATE};
use crate::guest::{GuestEngine, Past, Program, Script, Table};
use crate::handlers::INIT;
use crate::system::{ChangedOutcome, DryRun};

/// So many changes are listed; the others are counted.
const LISTED: usize = 200;

/// Makes the calls of a recording again that lie within `events`, under `component` with what else is of its build.
pub(crate) fn dry_run(
    engine: &GuestEngine,
    recording: &Recording,
    (component, build): (&[u8], OtherBuild),
    events: RangeInclusive<u64>,
) -> Result<DryRun, ReplayError> {
    let from = *events.start();
    let ReplayStretch { start, .. } = recording.stretch_to(from)?;
    let stretch = ReplayStretch { start, last: Some(*events.end()) };
    let mut stage = Stage::new(engine);
    let program = stage.program(component)?;
    let (tape, again) = (recording.tape(&stretch)?, recording.tape(&stretch)?);
    let past = again.start.as_ref().map(|snapshot| snapshot.past.clone()).unwrap_or_default();
    let mut rehearsal = UpgradeRehearsal {
        program,
        build,
        from,
        ran: again.start.as_ref().map(|snapshot| snapshot.started.clone()),
        events: Script::of_pages(past, again.pages),
        before: None,
        table: Some(Box::new(Table::new(again.table, false))),
        found: DryRun::default(),
    };
    replay_stretch(&mut stage, tape, None, &mut |boundary| rehearsal.pass(&boundary))?;
    Ok(rehearsal.found)
}

struct UpgradeRehearsal {
    program: Arc<Program>,
    build: OtherBuild,
    from: u64,
    events: Script,
    /// The incarnation, as far as the events were read.
    ran: Option<Started>,
    /// The previous boundary, and the state there.
    before: Option<(Head, Option<Arc<[u8]>>)>,
    /// The actor's table, as the recorded events make it. It is lent for each call.
    table: Option<Box<Table>>,
    found: DryRun,
}

impl UpgradeRehearsal {
    /// Takes the events up to `boundary`, which the recorded build has just reached.
    fn pass(&mut self, boundary: &Boundary<'_>) -> Result<(), ReplayError> {
        let (mut open, mut closing) = (None, None);
        while let Some(event) = self.events.peek().filter(|event| event.sequence <= boundary.head.sequence).cloned() {
            match event.kind() {
                Some(EventKind::Started) => self.ran = Some(read(&event)?),
                Some(EventKind::Call) => {
                    let (head, past) = (self.before.as_ref().map(|it| it.0), self.events.past().clone());
                    open = Some(RecordedTransition { head, past, call: event, within: Vec::new() });
                }
                Some(EventKind::Intent | EventKind::HostCall) => {
                    open.iter_mut().for_each(|open: &mut RecordedTransition| open.within.push(event.clone()));
                }
                _ => closing = Some(event),
            }
            self.events.advance();
        }
        let after: Option<Arc<[u8]>> = boundary.state.map(Arc::from);
        let before = self.before.take();
        if let (Some(open), Some(closing)) = (&open, &closing) {
            if let Some((_, before)) = before.filter(|_| self.is_compared(&open.call)) {
                let parts = self.compare(open, closing, (before, after.clone()))?;
                self.tell(&open.call, parts);
            }
            write_rows(self.table.as_mut().expect("it was put back"), open, closing)?;
        }
        self.before = Some((boundary.head, after));
        Ok(())
    }

    fn is_compared(&self, call: &ChainEvent) -> bool {
        call.sequence >= self.from && ![INIT.full, MIGRATE.full].contains(&call.function())
    }

    fn tell(&mut self, call: &ChainEvent, parts: Vec<ChangedPart>) {
        self.found.transitions += 1;
        self.found.changed += u64::from(!parts.is_empty());
        let room = LISTED.saturating_sub(self.found.changes.len());
        let changes = parts.into_iter().map(|ChangedPart { what, pointer, before, after }| {
            ChangedOutcome::new((call.sequence, call.function()), (what, pointer), (before, after))
        });
        self.found.changes.extend(changes.take(room));
    }

    /// What comes out otherwise in one transition.
    fn compare(
        &mut self,
        open: &RecordedTransition,
        closing: &ChainEvent,
        (before, after): (Option<Arc<[u8]>>, Option<Arc<[u8]>>),
    ) -> Result<Vec<ChangedPart>, ReplayError> {
        let Some(function) = self.program.function(open.call.function()) else {
            return Ok(vec![not_exported(open.call.function())]);
        };
        let (before, then) = match (self.migrated(open, before)?, self.migrated(open, after)?) {
            (Ok(before), Ok(then)) => (before, then),
            (Err(why), _) | (_, Err(why)) => {
                let (pointer, before) = (String::new(), serde_json::Value::Null);
                return Ok(vec![ChangedPart { what: "migrate", pointer, before, after: why.into() }]);
            }
        };
        let call = Call { fresh: true, ..read::<Call>(&open.call)? };
        let (made, now) = self.run(open, before, &mut |actor| actor.call_again(function, call.clone()))?;
        differing_parts(open, closing, &made, StateThen::Is(then.as_deref()), now.as_deref())
    }

    /// A recorded state, as the new build would have it.
    fn migrated(
        &mut self,
        open: &RecordedTransition,
        state: Option<Arc<[u8]>>,
    ) -> Result<Result<Option<Arc<[u8]>>, String>, ReplayError> {
        let from =
            self.ran.as_ref().map(|ran| ran.component).filter(|ran: &ComponentDigest| *ran != self.program.digest());
        let (Some(from), Some(function)) = (from, self.program.function(MIGRATE.full)) else { return Ok(Ok(state)) };
        let params = (from.to_string(),).to_cbor();
        let (made, after) =
            self.run(open, state, &mut |actor| actor.call(function, params.clone(), Caller::Runtime, None))?;
        Ok(match made.end {
            RehearsedEnd::Returned { .. } => Ok(after),
            RehearsedEnd::Refused(why) | RehearsedEnd::Unanswered(why) | RehearsedEnd::NotExecuted(why) => Err(why),
            RehearsedEnd::Failed(reason, detail) => Err(format!("{reason}: {detail}")),
        })
    }

    /// Makes one call on a new instance that begins with `state`; returns what came of it, and the state after it.
    fn run(
        &mut self,
        open: &RecordedTransition,
        state: Option<Arc<[u8]>>,
        call: &mut dyn FnMut(&mut RehearsedActor) -> RehearsedCall,
    ) -> Result<(RehearsedCall, Option<Arc<[u8]>>), ReplayError> {
        let answers = Box::new(RecordedAnswers::of(&open.call, &open.within, &self.build.config));
        let table = self.table.take().expect("it was put back");
        // The chain only collects events, and its hashes are thrown away, so it may belong to nobody.
        let (actor, head, past): (_, _, Past) = (ActorId::of_nobody(), open.head, open.past.clone());
        let start = RehearsalStart { actor, head, past, state, table };
        let recorded = || self.ran.as_ref().map(|ran| Arc::new(limits(ran))).unwrap_or_default();
        let limits = self.build.limits.clone().unwrap_or_else(recorded);
        let mut rehearsed = RehearsedActor::new(Arc::clone(&self.program), 1, limits, start, answers);
        let made = call(&mut rehearsed);
        let after = rehearsed.state();
        self.table = Some(rehearsed.into_table());
        if let RehearsedEnd::NotExecuted(what) = made.end {
            return Err(ReplayError::NotExecuted { sequence: open.call.sequence, what });
        }
        Ok((made, after))
    }
}
