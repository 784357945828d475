//! Whether the rows that a start goes by lead to where the chains end: the ends of all chains, and the state that an actor
//! goes on with. It looks at the newest events of each actor, so that it takes as long however long the chains are.

use std::collections::HashMap;

use rusqlite::params;

use super::chains::{EventPlace, capped};
use super::reader::{JournalReader, unsigned};
use super::record::ActorKey;
use super::states::names_state;
use crate::chain::data::NamedState;
use crate::chain::{EventHash, EventKind};

type Result<T> = rusqlite::Result<T>;

/// Events of which each is compared with its hash, however far it is to the one that names the state.
const LOOKED_AT: u64 = 8;
/// A state that only its own row holds is believed where it is kept for so many events.
const TRUSTED_BEHIND: u64 = 256;

/// Whether an event is to be looked at: it may name a state, or is the one with sequence ?3. The number is how a `return` that
/// names none begins; where large parts were taken out of it, a tag of three bytes comes before that.
macro_rules! is_of_interest {
    () => {
        "(event_type = 'started' OR sequence = ?3 OR (event_type >= 'return ' AND event_type < 'return!'
          AND (dropped IS NOT NULL OR (substr(data, 1, 17) <> x'a265737461746569756e6368616e676564'
                                       AND substr(data, 4, 17) <> x'a265737461746569756e6368616e676564'))))"
    };
}

/// The first such event from position ?1 on backwards along the chain of actor ?2.
const OF_INTEREST: &str = concat!(
    "WITH RECURSIVE back (steps, at, number, before, is_found) AS (
         SELECT 0, position, sequence, previous, ",
    is_of_interest!(),
    " FROM events WHERE position = ?1 AND actor = ?2
         UNION ALL
         SELECT steps + 1, position, sequence, previous, ",
    is_of_interest!(),
    " FROM back JOIN events ON position = before
         WHERE NOT is_found AND actor = ?2 AND sequence = number - 1)
     SELECT max(steps), number, at FROM back"
);

impl JournalReader {
    /// The actors whose row in `heads` leads to another event than their last, with that.
    ///
    /// Positions have no gaps, nor have the sequences of a chain: so the lengths of all chains come to the last position,
    /// or some chain is longer than its row says. Which, is looked for only then.
    pub(crate) fn misplaced_ends(&self) -> Result<Vec<String>> {
        let (ends, last): (i64, i64) = self.rows().query_row(
            "SELECT (SELECT ifnull(sum(last.sequence + 1), 0) FROM actors JOIN heads USING (actor)
                     JOIN events AS last ON last.position = heads.position AND last.actor = heads.actor),
                    (SELECT ifnull(max(position), 0) FROM events)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        if ends == last { Ok(Vec::new()) } else { self.all_misplaced_ends() }
    }

    fn all_misplaced_ends(&self) -> Result<Vec<String>> {
        let mut last: HashMap<i64, (i64, i64)> = HashMap::new();
        let mut events = self.rows().prepare("SELECT actor, position, sequence FROM events ORDER BY position")?;
        let mut events = events.query([])?;
        while let Some(row) = events.next()? {
            last.insert(row.get(0)?, (row.get(1)?, row.get(2)?));
        }
        let mut found = Vec::new();
        let mut actors = self.rows().prepare(
            "SELECT actor, id, name, heads.position FROM actors LEFT JOIN heads USING (actor) ORDER BY actor",
        )?;
        let mut actors = actors.query([])?;
        while let Some(row) = actors.next()? {
            let named: Option<i64> = row.get(3)?;
            let Some((position, sequence)) = last.remove(&row.get(0)?) else { continue };
            if named != Some(position) {
                let (id, name): (String, String) = (row.get(1)?, row.get(2)?);
                let said = named.map_or("is missing".to_owned(), |named| format!("leads to position {named}"));
                found.push(format!(
                    "actor {name} ({id}): its row in the table of heads {said}, but its chain ends with event {sequence} \
                     at position {position}"
                ));
            }
        }
        let mut nobodys: Vec<i64> = last.into_keys().collect();
        nobodys.sort_unstable();
        found.extend(nobodys.iter().map(|key| format!("the chain of key {key} is of no actor in the table of actors")));
        if found.is_empty() {
            found.push("the sequences of the chains do not come to the number of events".to_owned());
        }
        Ok(found)
    }

    /// What is wrong with the state that the actor would go on with: it is what the newest event says that names one.
    pub(crate) fn wrong_newest_state(&self, actor: ActorKey) -> Result<Option<String>> {
        let _moment = self.at_one_moment()?;
        let Some(end) = self.chain_end(actor)? else { return Ok(None) };
        let named = match self.newest_named(actor, end.last, end.state)? {
            Newest::Named(named) => named,
            Newest::Unsaid => return Ok(None),
            Newest::Wrong(why) => return Ok(Some(why)),
        };
        // The state is compared with that very event when it is read.
        if end.state.is_some_and(|led| led.sequence == named.sequence) {
            return Ok(None);
        }
        let stored = self.newest_state(actor)?;
        if NamedState::of(stored.as_deref()) == named.state {
            return Ok(None);
        }
        // What an older version wrote may lead to an event that names none, whose state nobody can check then.
        let is_unsaid = |led| Ok::<_, rusqlite::Error>(named.behind_dropped && self.named_at(actor, led)?.is_none());
        if end.state.map_or(Ok(false), is_unsaid)? {
            return Ok(None);
        }
        let led = end.state.map_or("no event".to_owned(), |led| format!("event {}", led.sequence));
        Ok(Some(format!(
            "its row in the table of heads says that {led} led to its newest state, but event {} did",
            named.sequence
        )))
    }

    /// What is wrong with the newest state that is kept before event `sequence`.
    pub(crate) fn wrong_kept_state(&self, actor: ActorKey, sequence: u64) -> Result<Option<String>> {
        let _moment = self.at_one_moment()?;
        let Some((kept, state)) = self.kept_state(actor, sequence)? else { return Ok(None) };
        let Some(place) = self.place(actor, kept)? else { return Ok(None) };
        Ok(match self.newest_named(actor, place, Some(place))? {
            Newest::Named(named) if !named.behind_dropped && named.state != NamedState::of(state.as_deref()) => {
                Some(format!("the state kept behind event {kept} is not the one that event {} led to", named.sequence))
            }
            Newest::Named(_) | Newest::Unsaid => None,
            Newest::Wrong(why) => Some(why),
        })
    }

    /// The newest event that names a state, from one event on backwards. `led` is the event that is said to have led to it:
    /// where that one's data was dropped, nobody can say otherwise.
    fn newest_named(&self, actor: ActorKey, from: EventPlace, led: Option<EventPlace>) -> Result<Newest> {
        let trusted = self.last_kept_before(actor, from.sequence.saturating_sub(TRUSTED_BEHIND))?;
        let (mut looked_at, mut behind_dropped) = (0, false);
        let mut next = Some(from);
        while let Some(mut place) = next {
            looked_at += 1;
            if looked_at > LOOKED_AT {
                place = self.next_of_interest(actor, place, trusted)?;
            }
            let event = self.event_at(actor, place)?;
            let sequence = event.sequence;
            if EventHash::of(&event) != event.hash {
                return Ok(Newest::Wrong(format!("event {sequence} is not what was written")));
            }
            let names = event.kind().filter(|kind| matches!(kind, EventKind::Started | EventKind::Return));
            if names.is_some() && event.dropped.is_some() {
                behind_dropped = true;
                if led == Some(place) {
                    return Ok(Newest::Unsaid);
                }
            } else if let Some(state) = names.and_then(|kind| names_state(kind, &event.data)) {
                return Ok(Newest::Named(Named { sequence, state, behind_dropped }));
            }
            if trusted == Some(sequence) {
                let state = self.kept_state(actor, sequence + 1)?.and_then(|(_, state)| state);
                return Ok(Newest::Named(Named { sequence, state: NamedState::of(state.as_deref()), behind_dropped }));
            }
            next = self.before(place)?;
        }
        Ok(Newest::Unsaid)
    }

    fn before(&self, place: EventPlace) -> Result<Option<EventPlace>> {
        let mut select = self.rows().prepare_cached("SELECT previous FROM events WHERE position = ?1")?;
        let previous: Option<i64> = select.query_row([capped(place.position)], |row| row.get(0))?;
        let before = previous.zip(place.sequence.checked_sub(1));
        Ok(before.map(|(position, sequence)| EventPlace { sequence, position: position.unsigned_abs() }))
    }

    /// The first event, from one on backwards, that may name a state, or behind which the trusted one is kept; else the first
    /// of the chain. An actor that is mostly read from has many others, so that SQLite passes them by itself.
    fn next_of_interest(&self, actor: ActorKey, from: EventPlace, trusted: Option<u64>) -> Result<EventPlace> {
        let mut select = self.rows().prepare_cached(OF_INTEREST)?;
        let trusted = trusted.map_or(-1, capped);
        select.query_row(params![capped(from.position), actor.key, trusted], |row| {
            Ok(EventPlace { sequence: unsigned(row, 1)?, position: unsigned(row, 2)? })
        })
    }
}

/// What a walk has come to.
enum Newest {
    Named(Named),
    /// No event names a state, or the one that might have was dropped.
    Unsaid,
    /// An event on the way is not what its hash says.
    Wrong(String),
}

struct Named {
    sequence: u64,
    state: NamedState,
    /// Behind it is a `return` that was dropped, and may have named another.
    behind_dropped: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::cbor::Cbor;
    use crate::chain::data::{Encoded, Return, StateAfter};

    #[test]
    fn a_return_that_names_no_state_is_told_by_how_it_begins() {
        let returned = |state| Return::new(state, Encoded(vec![0xf6])).to_cbor();
        let begins = |state| hex::encode(&returned(state)[..17]);
        assert!(OF_INTEREST.contains(&format!("x'{}'", begins(StateAfter::Unchanged))));
        assert!(!OF_INTEREST.contains(&begins(StateAfter::Now(NamedState::Inline(b"unchanged".to_vec())))));
    }
}
