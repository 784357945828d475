//! The check before each start of a runtime: what the start builds on is compared with the chains. That is where the
//! chains end, which state each actor goes on with, whether it goes on, and which deliveries are owed. A start refuses
//! exactly what `theater verify --journal` reports, in the same words.
//!
//! The check looks at a bounded number of each actor's newest events, and at the events that owed deliveries name. So it
//! takes the same time however long the chains are.

use super::owed::OwedCheck;
use super::{ReadResult, finding};
use crate::chain::EventKind;
use crate::journal::{ActorRow, JournalReader};

/// So many events of each actor are looked at for one that names its state. Behind the last change of its state, an actor may
/// have answered any number of questions.
const NEWEST_EVENTS: usize = 4_096;

/// Everything that is wrong, each finding with the row that it concerns.
pub(crate) fn grounds(reader: &JournalReader) -> ReadResult<Vec<String>> {
    let mut found = Vec::new();
    let rows = reader.actors()?;
    for row in &rows {
        if reader.is_forgotten(row.actor)? {
            continue;
        }
        // A row that cannot be read is a finding too, and does not hide the others.
        match of_actor(reader, row) {
            Ok(None) => {}
            Ok(Some(why)) => found.push(finding(row, &why)),
            Err(error) => found.push(finding(row, &error.to_string())),
        }
    }
    found.extend(OwedCheck::new(reader, &rows)?.findings()?);
    Ok(found)
}

fn of_actor(reader: &JournalReader, row: &ActorRow) -> ReadResult<Option<String>> {
    let Some(last) = reader.last_event(row.actor)? else { return Ok(Some("it has no events".to_owned())) };
    if !row.alive && !matches!(last.kind(), Some(EventKind::Failed | EventKind::Stopped)) {
        let why = "its row in the table of actors says (alive) that it has ended, but its chain does not end so";
        return Ok(Some(why.to_owned()));
    }
    reader.wrong_newest_state(row.actor, NEWEST_EVENTS)
}
