//! Which events a subscription wants: the kinds of events, and the actors that a wide subscription follows.

use std::collections::HashMap;

use crate::base::id::ActorId;
use crate::chain::{EventKind, EventType};
use crate::journal::{JournalReader, ReadResult};

/// The kinds of events that are wanted; none named means all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kinds(Option<Vec<EventKind>>);

impl Kinds {
    /// The kinds that these words name.
    pub(crate) fn parse(words: Option<Vec<String>>) -> Result<Self, String> {
        let Some(words) = words else { return Ok(Self(None)) };
        let known = |word: &String| EventKind::ALL.into_iter().find(|kind| kind.word() == word.as_str());
        let unknown = |word: &String| {
            let kinds = EventKind::ALL.map(EventKind::word).join(", ");
            format!("there is no kind of event called {word:?}: the kinds are {kinds}")
        };
        let kinds: Result<Vec<_>, _> = words.iter().map(|word| known(word).ok_or_else(|| unknown(word))).collect();
        kinds.map(|kinds| Self(Some(kinds)))
    }

    pub(crate) fn of(kinds: &[EventKind]) -> Self {
        Self((!kinds.is_empty()).then(|| kinds.to_vec()))
    }

    pub(crate) fn has(&self, event_type: &str) -> bool {
        let Some(kinds) = &self.0 else { return true };
        EventType::parse(event_type).is_some_and(|event_type| kinds.contains(&event_type.kind))
    }
}

/// The actors that a wide subscription follows: all, or one actor and all below it. The parent of an actor never changes,
/// so each answer is remembered.
pub(crate) struct Members {
    below: Option<ActorId>,
    known: HashMap<ActorId, bool>,
}

impl Members {
    /// All actors, or `below` and all actors below it.
    pub(crate) fn new(below: Option<ActorId>) -> Self {
        Self { below, known: HashMap::new() }
    }

    pub(crate) fn has(&mut self, actor: ActorId, reader: &JournalReader) -> ReadResult<bool> {
        let Some(top) = self.below else { return Ok(true) };
        let mut path = Vec::new();
        let mut at = Some(actor);
        let found = loop {
            match at {
                None => break false,
                Some(one) if one == top => break true,
                Some(one) => match self.known.get(&one) {
                    Some(known) => break *known,
                    None => {
                        path.push(one);
                        at = reader.parent(one)?;
                    }
                },
            }
        };
        self.known.extend(path.into_iter().map(|one| (one, found)));
        Ok(found)
    }
}
