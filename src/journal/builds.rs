//! Which stored components somebody can still need, and the removal of the others.
//!
//! A component is needed by an incarnation of which a call is left with its data, because a replay executes it again; by the newest
//! incarnation of every actor that is listed; and by the one before an upgrade that can still be taken back.

use std::collections::HashSet;
use std::io;
use std::ops::ControlFlow::{Break, Continue};

use super::error::ReadResult;
use super::index::Landmark;
use super::log::StoredData;
use super::reader::{JournalReader, kind};
use super::record::ActorKey;
use super::{Journal, components};
use crate::base::fail;
use crate::chain::data::Started;
use crate::chain::{ComponentDigest, EventKind};

impl JournalReader {
    /// The components that are needed, of all actors.
    fn needed_components(&self) -> ReadResult<HashSet<ComponentDigest>> {
        let mut needed = HashSet::new();
        for row in self.actors()? {
            if !self.is_forgotten(row.actor)? {
                needed.insert(row.component);
                needed.extend(self.upgrade_trial(row.actor)?.map(|trial| trial.before.component));
            }
            self.add_called(row.actor, &mut needed)?;
        }
        Ok(needed)
    }

    /// Adds the components of the incarnations of which a call is left with its data, the newest first.
    fn add_called(&self, actor: ActorKey, needed: &mut HashSet<ComponentDigest>) -> ReadResult<()> {
        let mut before = u64::MAX;
        while let Some(place) = self.landmark(actor, Landmark::Started, before)? {
            let component = self.event_at(actor, place)?.read::<Started>().map(|started| started.component);
            // One that cannot be read is a finding of the audit; nothing is known of it.
            if let Ok(component) = component
                && !needed.contains(&component)
                && self.has_kept_calls(actor, place.sequence, before)?
            {
                needed.insert(component);
            }
            let Some(earlier) = place.sequence.checked_sub(1) else { break };
            before = earlier;
        }
        Ok(())
    }

    /// Whether a call among the events from `first` to `last` has its data.
    fn has_kept_calls(&self, actor: ActorKey, first: u64, last: u64) -> ReadResult<bool> {
        let mut is_kept = false;
        self.walk_from(actor, last, |event| {
            if event.sequence < first {
                return Ok(Break(()));
            }
            is_kept = kind(event) == Some(EventKind::Call) && matches!(event.data, StoredData::Kept(_));
            Ok(if is_kept { Break(()) } else { Continue(()) })
        })?;
        Ok(is_kept)
    }
}

impl Journal {
    /// Removes the components that nobody needs any more. No actor may begin meanwhile. A component that cannot be removed stays
    /// until the next start.
    pub(crate) fn remove_unneeded_components(&self) -> ReadResult<u64> {
        let dir = self.handle().dir();
        let files = components::files(dir)?;
        if files.len() < 2 {
            return Ok(0);
        }
        let needed = self.handle().reader.needed_components()?;
        let mut removed = 0;
        for path in files {
            let digest = path.file_stem().and_then(|name| name.to_str()).and_then(ComponentDigest::parse);
            // What has another name is none of ours.
            let Some(digest) = digest.filter(|digest| !needed.contains(digest)) else { continue };
            self.files.forget(digest);
            fail::point("removing-component");
            match std::fs::remove_file(&path) {
                Ok(()) => removed += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    ::log::warn!("{}, which nobody needs any more, cannot be removed: {error}", path.display())
                }
            }
        }
        Ok(removed)
    }
}
