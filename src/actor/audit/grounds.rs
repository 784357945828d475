//! What a start builds upon, compared with the chains: where they end, which state an actor goes on with, whether it goes
//! on, and what is owed. A start refuses what `theater verify --journal` names, and names it alike.
//!
//! It looks at the newest events of each actor and at those that owed deliveries name, so that it takes as long however
//! long the chains are.

use super::owed::OwedRows;
use super::{ReadResult, finding};
use crate::chain::EventKind;
use crate::journal::{ActorRow, JournalReader};

/// Everything that is wrong, each with the row it stands in. `is_sealed` where the journal's rows have seals.
pub(crate) fn grounds(reader: &JournalReader, is_sealed: bool) -> ReadResult<Vec<String>> {
    let mut found = reader.misplaced_ends()?;
    let rows = reader.actors()?;
    for row in &rows {
        if is_sealed && reader.is_forgotten(row.actor)? {
            continue;
        }
        // What cannot be read is wrong too, and does not hide the others.
        match of_actor(reader, row) {
            Ok(None) => {}
            Ok(Some(why)) => found.push(finding(row, &why)),
            Err(error) => found.push(finding(row, &error.to_string())),
        }
    }
    found.extend(OwedRows::new(reader, &rows)?.findings()?);
    if is_sealed {
        found.extend(reader.broken_seals()?);
    }
    Ok(found)
}

fn of_actor(reader: &JournalReader, row: &ActorRow) -> ReadResult<Option<String>> {
    let Some(last) = reader.last_event(row.actor)? else { return Ok(Some("it has no events".to_owned())) };
    if !row.alive && !matches!(last.kind(), Some(EventKind::Failed | EventKind::Stopped)) {
        let why = "its row in the table of actors says (alive) that it has ended, but its chain does not end so";
        return Ok(Some(why.to_owned()));
    }
    reader.wrong_newest_state(row.actor)
}
