//! The upgrade of an actor that is on trial, as its chain says; and where the manifest of an earlier incarnation lay.

use std::ops::ControlFlow::{Break, Continue};

use super::error::ReadResult;
use super::index::Landmark;
use super::reader::{JournalReader, kind};
use super::record::ActorKey;
use crate::chain::cbor::Cbor;
use crate::chain::data::{StartReason, Started};
use crate::chain::{EventKind, MIGRATE, UpgradeCourse, UpgradeTrial};

impl JournalReader {
    /// The upgrade under whose build no call has returned yet; none of most actors, which takes a look at their last events.
    pub(crate) fn upgrade_trial(&self, actor: ActorKey) -> ReadResult<Option<UpgradeTrial>> {
        let Some(head) = self.head(actor)? else { return Ok(None) };
        self.upgrade_trial_at(actor, head.sequence)
    }

    /// The same as it was after event `at`.
    pub(crate) fn upgrade_trial_at(&self, actor: ActorKey, at: u64) -> ReadResult<Option<UpgradeTrial>> {
        let mut first = None;
        self.walk_from(actor, at, |event| {
            match kind(event) {
                Some(EventKind::Return) if *event.event_type != *MIGRATE.returned => return Ok(Break(())),
                Some(EventKind::Refused) if *event.event_type != *MIGRATE.refused => return Ok(Break(())),
                Some(EventKind::Started) => {
                    match Started::from_cbor(&self.data(event)?).map(|started| started.reason) {
                        Ok(StartReason::Upgrade) => first = Some(event.sequence),
                        Ok(StartReason::Spawn | StartReason::Fork) => return Ok(Break(())),
                        Ok(StartReason::Restart | StartReason::Recovery) | Err(_) => {}
                    }
                }
                _ => {}
            }
            Ok(Continue(()))
        })?;
        let Some(first) = first else { return Ok(None) };
        let Some(before) = self.started_before(actor, first.saturating_sub(1))? else { return Ok(None) };
        let Ok(started) = before.read::<Started>() else { return Ok(None) };
        let mut course = UpgradeCourse::within(before.sequence, &started);
        let events = self.events(actor, first, at - first + 1, usize::MAX)?;
        events.iter().for_each(|event| course.follow(event));
        Ok(course.into_trial())
    }

    /// The call of an actor from which on it has been called so often, or its first; none if it was never called.
    pub(crate) fn nth_last_call(&self, actor: ActorKey, most: u64) -> ReadResult<Option<u64>> {
        let (mut left, mut found) = (most, None);
        self.walk_from_the_end(actor, |event| {
            if kind(event) == Some(EventKind::Call) && left > 0 {
                (left, found) = (left - 1, Some(event.sequence));
            }
            Ok(if left == 0 { Break(()) } else { Continue(()) })
        })?;
        Ok(found)
    }

    /// Where the manifest lay that the incarnation was started from which event `sequence` has begun.
    pub(crate) fn manifest_path_at(&self, actor: ActorKey, sequence: u64) -> ReadResult<Option<String>> {
        let place = self.landmark(actor, Landmark::Started, sequence)?;
        place.map_or(Ok(None), |place| Ok(self.log.manifest_path(place.position)?))
    }
}
