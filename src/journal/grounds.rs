//! Whether the rows that a start goes by lead to where the chains end: the ends of all chains, and the state that an actor
//! goes on with. It looks at the newest events of each actor, so that it takes as long however long the chains are.

use std::collections::HashMap;
use std::ops::ControlFlow::{Break, Continue};

use super::chains::{Place, stored_data, walk_back};
use super::reader::{JournalReader, whole};
use super::record::ActorKey;
use super::states::names_state;
use crate::base::limits::KEPT_STATE_EVENTS;
use crate::chain::data::NamedState;
use crate::chain::{EventHash, EventKind, EventType};

type Result<T> = rusqlite::Result<T>;

/// Events behind which a kept state is believed though only its own row holds it. Before that, whoever wants another
/// state to be believed has to alter events that are looked at.
const LOOKED_AT: u64 = KEPT_STATE_EVENTS;

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

    /// The newest event that names a state, from one event on backwards. Each event on the way is what its hash says.
    /// `led` is the event that is said to have led to it: where that one's data was dropped, nobody can say otherwise.
    fn newest_named(&self, actor: ActorKey, from: Place, led: Option<Place>) -> Result<Newest> {
        let mut newest = Newest::Unsaid;
        let (mut looked_at, mut kept, mut behind_dropped) = (0, None, false);
        walk_back(self.rows(), actor.key, from, |place, row| {
            let Place { sequence, position } = place;
            looked_at += 1;
            let data = if looked_at <= LOOKED_AT {
                let event = self.event_at(actor, place)?;
                if EventHash::of(&event) != event.hash {
                    newest = Newest::Wrong(format!("event {sequence} is not what was written"));
                    return Ok(Break(()));
                }
                Some(event.data)
            } else {
                None
            };
            if looked_at == LOOKED_AT {
                kept = self.kept_sequence(actor, sequence)?;
            }
            if kept == Some(sequence) {
                let state = self.kept_state(actor, sequence + 1)?.and_then(|(_, state)| state);
                newest = Newest::Named(Named { sequence, state: NamedState::of(state.as_deref()), behind_dropped });
                return Ok(Break(()));
            }
            let kind = EventType::parse(row.get_ref(4)?.as_str()?).map(|event_type| event_type.kind);
            let Some(kind @ (EventKind::Started | EventKind::Return)) = kind else { return Ok(Continue(())) };
            if row.get::<_, Option<i64>>(5)?.is_some() {
                behind_dropped = true;
                return Ok(if led == Some(place) { Break(()) } else { Continue(()) });
            }
            let data = data.map_or_else(|| whole(self.rows(), stored_data(self.rows(), position)?), Ok)?;
            Ok(names_state(kind, &data).map_or(Continue(()), |state| {
                newest = Newest::Named(Named { sequence, state, behind_dropped });
                Break(())
            }))
        })?;
        Ok(newest)
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
