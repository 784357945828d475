//! Where the events of one chain stand among those of all actors.
//!
//! ```text
//!   heads ──▶ last event ──previous──▶ event ──previous──▶ … ──▶ first event
//!                                        ▲
//!                                    milestones
//! ```
//!
//! An event says where the one before it on its chain stands, and `heads` says where the last one does. One event in 64 is
//! a milestone: it stands in an index, and whatever is sought is at most 63 steps from one, or from the last. An index
//! of all events would be a page of the log for each actor in a commit, which was half of what commits consisted of.
//!
//! Whoever walks checks each step, so that a damaged row is an error, and never another history. What a start looks for is
//! found without a walk: beginnings and failures by the index of landmarks, the newest state by `heads`.

use std::ops::ControlFlow;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use sha1::{Digest, Sha1};

use super::reader::{JournalReader, unfit, unsigned};
use super::record::ActorKey;
use super::schema::{LANDMARKS, MILESTONES};
use crate::chain::EventHash;

type Result<T> = rusqlite::Result<T>;

/// An event's place on its chain, and among the events of all actors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EventPlace {
    pub(super) sequence: u64,
    pub(super) position: u64,
}

/// How far a chain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChainEnd {
    pub(super) last: EventPlace,
    pub(super) hash: EventHash,
    /// The event that led to the newest state; none where no state was named yet.
    pub(super) state: Option<EventPlace>,
    /// The last event whose data was dropped.
    pub(super) dropped: Option<u64>,
}

impl ChainEnd {
    /// Ties the row of `heads` to the event it names: the first 8 bytes of SHA-1 over the row and the event's hash.
    pub(super) fn seal(&self, actor: i64) -> i64 {
        let mut hasher = Sha1::new();
        let (state, dropped) = (self.state.map(|state| state.position), self.dropped);
        hasher.update(actor.to_be_bytes());
        for number in [Some(self.last.position), state, dropped] {
            hasher.update(number.unwrap_or(u64::MAX).to_be_bytes());
        }
        hasher.update(self.hash.0);
        let digest: [u8; 20] = hasher.finalize().into();
        i64::from_be_bytes(*digest.first_chunk().expect("20 bytes begin with 8"))
    }
}

/// Where the chain ends; none where there is no such actor.
pub(super) fn chain_end(rows: &Connection, actor: i64) -> Result<Option<ChainEnd>> {
    let mut select = rows.prepare_cached(
        "SELECT heads.position, heads.state, heads.dropped, heads.seal, last.sequence, last.hash, led.sequence
         FROM heads LEFT JOIN events AS last ON last.position = heads.position AND last.actor = heads.actor
         LEFT JOIN events AS led ON led.position = heads.state AND led.actor = heads.actor
         WHERE heads.actor = ?1 AND heads.position IS NOT NULL",
    )?;
    let end = select.query_row([actor], |row| {
        let position = unsigned(row, 0)?;
        let not_the_last = || unfit(format!("where the chain ends is not what its row in `heads` says: {position}"));
        let state = match (row.get::<_, Option<i64>>(1)?, row.get::<_, Option<i64>>(6)?) {
            (None, _) => None,
            (Some(_), Some(_)) => Some(EventPlace { sequence: unsigned(row, 6)?, position: unsigned(row, 1)? }),
            (Some(_), None) => return Err(not_the_last()),
        };
        let end = ChainEnd {
            last: EventPlace {
                sequence: row.get::<_, Option<i64>>(4)?.ok_or_else(not_the_last)?.unsigned_abs(),
                position,
            },
            hash: EventHash(row.get(5)?),
            state,
            dropped: row.get::<_, Option<i64>>(2)?.map(i64::unsigned_abs),
        };
        // What an older version is read as has no seals.
        match row.get::<_, Option<i64>>(3)? {
            Some(seal) if seal != end.seal(actor) => Err(not_the_last()),
            Some(_) | None => Ok(end),
        }
    });
    let end = end.optional()?;
    // The row is written with the actor's first event.
    if end.is_none() && rows.prepare_cached("SELECT 1 FROM actors WHERE actor = ?1")?.exists([actor])? {
        return Err(unfit("where the chain ends is not in the table of heads".into()));
    }
    Ok(end)
}

/// Goes back along a chain, from the event that stands at `from`. The row has sequence, previous, actor, timestamp, type,
/// and what was dropped.
pub(super) fn walk_back(
    rows: &Connection,
    actor: i64,
    from: EventPlace,
    mut visit: impl FnMut(EventPlace, &Row<'_>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let mut select = rows.prepare_cached(
        "SELECT sequence, previous, actor, timestamp, event_type, dropped FROM events WHERE position = ?1",
    )?;
    let mut next = Some(from);
    while let Some(place) = next {
        let lost = || unfit(format!("event {} does not stand where the one behind it says", place.sequence));
        let mut found = select.query([capped(place.position)])?;
        let row = found.next()?.ok_or_else(lost)?;
        if row.get::<_, i64>(2)? != actor || unsigned(row, 0)? != place.sequence {
            return Err(lost());
        }
        if visit(place, row)?.is_break() {
            return Ok(());
        }
        next = match (place.sequence.checked_sub(1), row.get::<_, Option<i64>>(1)?.map(i64::unsigned_abs)) {
            (None, None) => None,
            (Some(sequence), Some(position)) if position < place.position => Some(EventPlace { sequence, position }),
            _ => return Err(unfit(format!("event {} does not say where the one before it stands", place.sequence))),
        };
    }
    Ok(())
}

/// Goes back along a chain from event `sequence`, or from the last where it has not come so far.
pub(super) fn walk_from(
    rows: &Connection,
    actor: i64,
    sequence: u64,
    mut visit: impl FnMut(EventPlace, &Row<'_>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let Some(from) = milestone_or_end(rows, actor, sequence)? else { return Ok(()) };
    walk_back(rows, actor, from, |place, row| match place.sequence <= sequence {
        true => visit(place, row),
        false => Ok(ControlFlow::Continue(())),
    })
}

/// The data of an event, as it is stored.
pub(super) fn stored_data(rows: &Connection, position: u64) -> Result<Vec<u8>> {
    rows.prepare_cached("SELECT data FROM events WHERE position = ?1")?.query_row([capped(position)], |row| row.get(0))
}

/// The first milestone from event `sequence` on; the last event where there is none.
fn milestone_or_end(rows: &Connection, actor: i64, sequence: u64) -> Result<Option<EventPlace>> {
    let milestone = rows
        .prepare_cached(&format!(
            "SELECT sequence, position FROM events
             WHERE actor = ?1 AND sequence >= ?2 AND {MILESTONES} ORDER BY sequence LIMIT 1"
        ))?
        .query_row(params![actor, capped(sequence)], |row| {
            Ok(EventPlace { sequence: unsigned(row, 0)?, position: unsigned(row, 1)? })
        })
        .optional()?;
    match milestone {
        Some(milestone) => Ok(Some(milestone)),
        None => Ok(chain_end(rows, actor)?.map(|end| end.last)),
    }
}

impl JournalReader {
    /// Makes what is read until it is dropped one moment's, if it is not that already.
    pub(super) fn at_one_moment(&self) -> Result<Option<Transaction<'_>>> {
        if self.rows().is_autocommit() { self.rows().unchecked_transaction().map(Some) } else { Ok(None) }
    }

    pub(super) fn chain_end(&self, actor: ActorKey) -> Result<Option<ChainEnd>> {
        chain_end(self.rows(), actor.key)
    }

    /// The place of the last event of this kind up to `sequence`, of those in the index of landmarks.
    pub(super) fn landmark(&self, actor: ActorKey, event_type: &str, sequence: u64) -> Result<Option<EventPlace>> {
        self.rows()
            .prepare_cached(&format!(
                "SELECT sequence, position FROM events
                 WHERE actor = ?1 AND event_type = ?2 AND sequence <= ?3 AND {LANDMARKS} ORDER BY sequence DESC LIMIT 1"
            ))?
            .query_row(params![actor.key, event_type, capped(sequence)], |row| {
                Ok(EventPlace { sequence: unsigned(row, 0)?, position: unsigned(row, 1)? })
            })
            .optional()
    }

    /// Goes back along the whole chain, from its end.
    pub(super) fn walk_from_the_end(
        &self,
        actor: ActorKey,
        visit: impl FnMut(EventPlace, &Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let _moment = self.at_one_moment()?;
        match self.chain_end(actor)? {
            Some(end) => walk_back(self.rows(), actor.key, end.last, visit),
            None => Ok(()),
        }
    }

    /// Goes back along the chain, from event `sequence`, or from the last where it has not come so far.
    pub(super) fn walk_from(
        &self,
        actor: ActorKey,
        sequence: u64,
        visit: impl FnMut(EventPlace, &Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let _moment = self.at_one_moment()?;
        walk_from(self.rows(), actor.key, sequence, visit)
    }

    /// Where event `sequence` stands.
    pub(super) fn place(&self, actor: ActorKey, sequence: u64) -> Result<Option<EventPlace>> {
        let mut found = None;
        self.walk_from(actor, sequence, |place, _| {
            found = Some(place).filter(|place| place.sequence == sequence);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    /// Goes back from the first milestone on or behind event `sequence`, or from the end, to that event. Where the next run
    /// begins; none where there is no such event.
    pub(super) fn walk_run(
        &self,
        actor: ActorKey,
        sequence: u64,
        mut visit: impl FnMut(EventPlace, &Row<'_>) -> Result<()>,
    ) -> Result<Option<u64>> {
        let to = milestone_or_end(self.rows(), actor.key, sequence)?;
        let Some(to) = to.filter(|to| to.sequence >= sequence) else { return Ok(None) };
        walk_back(self.rows(), actor.key, to, |place, row| {
            visit(place, row)?;
            Ok(if place.sequence > sequence { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(Some(to.sequence + 1))
    }
}

/// SQLite's integers are signed; what we count does not reach 2^63, and what somebody asks for beyond that is not there.
pub(super) fn capped(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
