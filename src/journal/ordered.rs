//! Reads the journal in its own order: the events of all actors, as they were committed.

use rusqlite::{OptionalExtension, params};

use super::reader::{JournalReader, actor_id, unsigned};
use super::record::ActorKey;
use crate::base::id::ActorId;
use crate::chain::ChainEvent;

/// An event and its place among those of all actors.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) position: u64,
    pub(crate) actor: ActorId,
    pub(crate) event: ChainEvent,
}

/// A stretch of the journal.
#[derive(Debug, Default)]
pub(crate) struct Stretch {
    pub(crate) events: Vec<Placed>,
    /// Where the next stretch begins; as given where there was nothing.
    pub(crate) next: u64,
    /// Whether anything was looked at, wanted or not.
    pub(crate) advanced: bool,
}

/// How much one stretch may take.
pub(crate) struct StretchBounds {
    /// Events looked at.
    pub(crate) looked_at: u64,
    /// Bytes of data beyond the first event.
    pub(crate) bytes: usize,
}

impl JournalReader {
    /// The position behind the last committed event.
    pub(crate) fn end(&self) -> rusqlite::Result<u64> {
        let last: Option<i64> = self.rows().query_row("SELECT max(position) FROM events", [], |row| row.get(0))?;
        Ok(last.map_or(0, |last| last.unsigned_abs() + 1))
    }

    /// The wanted events from `position` on. The data of those that are not wanted is not read.
    pub(crate) fn stretch(
        &self,
        position: u64,
        bounds: &StretchBounds,
        mut wanted: impl FnMut(ActorKey, &str) -> rusqlite::Result<bool>,
    ) -> rusqlite::Result<Stretch> {
        let mut found = Stretch { next: position, ..Stretch::default() };
        let Ok(from) = i64::try_from(position) else { return Ok(found) };
        let mut select = self.rows().prepare_cached(
            "SELECT sequence, timestamp, event_type, hash, data, dropped, previous, position, events.actor, id
             FROM events JOIN actors ON actors.actor = events.actor WHERE position >= ?1 ORDER BY position LIMIT ?2",
        )?;
        let mut rows = select.query(params![from, i64::try_from(bounds.looked_at).unwrap_or(i64::MAX)])?;
        let mut bytes = 0usize;
        while let Some(row) = rows.next()? {
            let actor = ActorKey { key: row.get(8)?, id: actor_id(&row.get::<_, String>(9)?, 9)? };
            let position = unsigned(row, 7)?;
            if wanted(actor, row.get_ref(2)?.as_str()?)? {
                let parent = self.hash_at(row.get(6)?)?;
                let event = self.event(row, parent)?;
                bytes = bytes.saturating_add(event.data.len());
                if bytes > bounds.bytes && !found.events.is_empty() {
                    break;
                }
                found.events.push(Placed { position, actor: actor.id, event });
            }
            (found.next, found.advanced) = (position + 1, true);
        }
        Ok(found)
    }

    /// The sequence of the last event of a chain.
    pub(crate) fn head_sequence(&self, actor: ActorKey) -> rusqlite::Result<Option<u64>> {
        Ok(self.chain_end(actor)?.map(|end| end.last.sequence))
    }

    /// Whether an actor is listed no longer.
    pub(crate) fn is_forgotten(&self, actor: ActorKey) -> rusqlite::Result<bool> {
        self.rows().prepare_cached("SELECT 1 FROM actors WHERE actor = ?1 AND listed = 0")?.exists([actor.key])
    }

    /// The parent of an actor that has ever begun.
    pub(crate) fn parent(&self, actor: ActorId) -> rusqlite::Result<Option<ActorId>> {
        let parent: Option<Option<String>> = self
            .rows()
            .prepare_cached("SELECT parent FROM actors WHERE id = ?1")?
            .query_row([actor.to_string()], |row| row.get(0))
            .optional()?;
        parent.flatten().map(|text| actor_id(&text, 0)).transpose()
    }
}
