//! Who needs which blob: what the table of uses says, against what the events and the kept states hold. By it goes what is
//! deleted when data is dropped, and what stays.

use std::collections::HashSet;

use rusqlite::params;

use super::parts;
use super::reader::JournalReader;
use super::rows::NEWEST_SLOT;

type Result<T> = rusqlite::Result<T>;

impl JournalReader {
    /// What is wrong with the table of uses; the first of each kind.
    pub(super) fn wrong_uses(&self) -> Result<Vec<String>> {
        // Older versions have none.
        if self.version < 3 {
            return Ok(Vec::new());
        }
        let mut needed = self.needed_blobs()?;
        let mut found = Vec::new();
        let mut is_needless = false;
        let mut select = self.rows().prepare("SELECT sha1, user FROM uses")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let (name, user): (Vec<u8>, i64) = (row.get(0)?, row.get(1)?);
            // That a `started` names it (0) is looked up where that is read.
            if user != 0 && !needed.remove(&(name, user)) && !is_needless {
                is_needless = true;
                let position = user.unsigned_abs();
                found.push(format!(
                    "the table of uses has a row of the event at position {position} for a blob it does not need"
                ));
            }
        }
        if let Some(position) = needed.iter().map(|(_, user)| user.unsigned_abs()).min() {
            let what = "does not say that the event at position";
            found.push(format!("the table of uses {what} {position} needs a blob, which may be deleted under it"));
        }
        let nobodys =
            "SELECT EXISTS (SELECT 1 FROM blobs WHERE NOT EXISTS (SELECT 1 FROM uses WHERE uses.sha1 = blobs.sha1))";
        if self.rows().query_row(nobodys, [], |row| row.get(0))? {
            found.push("the table of blobs has one that nobody needs".to_owned());
        }
        Ok(found)
    }

    /// The blobs that events and kept states are parted into, each with who needs it, as `uses` has it.
    fn needed_blobs(&self) -> Result<HashSet<(Vec<u8>, i64)>> {
        let mut needed = HashSet::new();
        let mut select = self.rows().prepare("SELECT position, data FROM events WHERE dropped IS NULL")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let position: i64 = row.get(0)?;
            let names = parts::names(row.get_ref(1)?.as_blob()?);
            needed.extend(names.into_iter().map(|name| (name.to_vec(), position)));
        }
        let mut select = self
            .rows()
            .prepare("SELECT sequence, sha1 FROM states WHERE actor = ?1 AND slot > ?2 AND sha1 IS NOT NULL")?;
        for row in self.actors()? {
            let kept: Vec<(i64, Vec<u8>)> = select
                .query_map(params![row.actor.key, NEWEST_SLOT], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_>>()?;
            for (sequence, name) in kept {
                // One behind an event that is not there is named where states are compared.
                if let Some(place) = self.place(row.actor, sequence.unsigned_abs())? {
                    needed.insert((name, -place.position.cast_signed()));
                }
            }
        }
        Ok(needed)
    }
}
