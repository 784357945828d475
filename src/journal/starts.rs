//! Where on a chain a replay can begin, beside its beginning: where a state is kept, or an incarnation begins, and an
//! event names the state. A state that no event names, since data was dropped, is nothing to build upon.

use std::ops::ControlFlow::{Break, Continue};

use super::error::{ReadResult, unfit};
use super::index::Landmark;
use super::log::StoredData;
use super::reader::{JournalReader, kind};
use super::record::ActorKey;
use crate::chain::cbor::Cbor;
use crate::chain::data::{HostCall, NamedState, Started};
use crate::chain::shown::{GET_CHAIN, ShownPast};
use crate::chain::{DroppedEvents, EventKind, StateOnChain};

type Result<T> = ReadResult<T>;

impl JournalReader {
    /// The last event within these behind which a replay can begin.
    pub(crate) fn last_start(&self, actor: ActorKey, low: u64, high: u64) -> Result<Option<u64>> {
        let mut upto = high;
        loop {
            let kept = self.last_kept_before(actor, upto.saturating_add(1))?;
            let started = self.started_before(actor, upto)?.map(|event| event.sequence);
            let Some(at) = kept.max(started).filter(|at| *at >= low) else { return Ok(None) };
            if self.is_start(actor, at)? {
                return Ok(Some(at));
            }
            let Some(before) = at.checked_sub(1) else { return Ok(None) };
            upto = before;
        }
    }

    /// The first event from `from` on behind which a replay can begin.
    pub(crate) fn next_start(&self, actor: ActorKey, from: u64) -> Result<Option<u64>> {
        let mut from = from;
        loop {
            let started =
                self.ask(|index| index.next_landmark(actor.key, Landmark::Started, from))?.map(|place| place.sequence);
            let kept = match from.checked_sub(1) {
                Some(behind) => self.first_kept_behind(actor, behind)?,
                None => self.last_kept_before(actor, 1)?.or(self.first_kept_behind(actor, 0)?),
            };
            let nearest = kept.into_iter().chain(started).min();
            let Some(at) = nearest else { return Ok(None) };
            if self.is_start(actor, at)? {
                return Ok(Some(at));
            }
            from = at + 1;
        }
    }

    /// Whether the state behind event `at` is at hand, and named by an event.
    fn is_start(&self, actor: ActorKey, at: u64) -> Result<bool> {
        if !matches!(self.vouched_at(actor, at)?, StateOnChain::Named(_)) {
            return Ok(false);
        }
        match self.begun_at(actor, at)? {
            Some(started) if started.resumes => Ok(false),
            Some(Started { state: NamedState::Digest { sha1, .. }, .. }) => Ok(self.blob(&sha1)?.is_some()),
            Some(_) => Ok(true),
            None => Ok(self.kept_state_at(actor, at)?.is_some()),
        }
    }

    /// The state behind an event behind which a replay can begin.
    pub(crate) fn state_at_start(&self, actor: ActorKey, at: u64) -> Result<Option<Vec<u8>>> {
        if let Some((kept, state)) = self.kept_state(actor, at.saturating_add(1))?
            && kept == at
        {
            return Ok(state);
        }
        let gone = || unfit(format!("the state behind event {at} is not there"));
        match self.begun_at(actor, at)?.ok_or_else(gone)?.state {
            NamedState::None => Ok(None),
            NamedState::Inline(state) => Ok(Some(state)),
            NamedState::Digest { sha1, .. } => self.blob(&sha1)?.map(Some).ok_or_else(gone),
        }
    }

    /// What event `at` says, where an incarnation begins with it.
    fn begun_at(&self, actor: ActorKey, at: u64) -> Result<Option<Started>> {
        let event = self.started_before(actor, at)?.filter(|event| event.sequence == at);
        Ok(event.and_then(|event| Started::from_cbor(&event.data).ok()))
    }

    /// All events of a chain whose data was dropped.
    pub(crate) fn dropped_events(&self, actor: ActorKey) -> Result<DroppedEvents> {
        let mut dropped = Vec::new();
        if self.last_dropped(actor)?.is_some() {
            self.walk_from_the_end(actor, |event| {
                if matches!(event.data, StoredData::Dropped { .. }) {
                    dropped.push(event.sequence);
                }
                Ok(Continue(()))
            })?;
        }
        let mut events = DroppedEvents::default();
        dropped.into_iter().rev().for_each(|sequence| events.add(sequence));
        Ok(events)
    }

    /// Whether the actor was ever asked for anything: whether its chain has a call.
    pub(crate) fn has_calls(&self, actor: ActorKey) -> Result<bool> {
        let mut has_calls = false;
        self.walk_from_the_end(actor, |event| {
            has_calls = kind(event) == Some(EventKind::Call);
            Ok(if has_calls { Break(()) } else { Continue(()) })
        })?;
        Ok(has_calls)
    }

    /// The calls of `get-chain` among the events within these, and what each has recorded.
    pub(super) fn calls_of_get_chain(&self, actor: ActorKey, low: u64, high: u64) -> Result<Vec<(u64, ShownPast)>> {
        let mut calls = Vec::new();
        self.walk_from(actor, high, |event| {
            if event.sequence < low {
                return Ok(Break(()));
            }
            if *event.event_type == *GET_CHAIN.host_call {
                let call = HostCall::from_cbor(&self.data(event)?);
                let shown = call.ok().and_then(|call| ShownPast::from_cbor(call.result.whole()?).ok());
                calls.push((event.sequence, shown.unwrap_or(ShownPast::Upto(event.sequence))));
            }
            Ok(Continue(()))
        })?;
        calls.reverse();
        Ok(calls)
    }
}
