//! The file `realm.json`: it says that a data directory holds a node's copy of a realm's journal.
//!
//! Without it, somebody could run the copy as a journal of its own, and two histories would go on from one.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::JournalError;
use super::named::named;
use crate::base::whole_file::replace;

const FILE: &str = "realm.json";

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RealmFile {
    /// The realm's name.
    pub(crate) realm: String,
    /// What all segments call the journal.
    pub(crate) journal: [u8; 16],
}

#[derive(Serialize, Deserialize)]
struct Written {
    realm: String,
    journal: String,
}

impl RealmFile {
    /// Reads the file in a data directory; none where the journal there belongs to no realm.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, JournalError> {
        let path = dir.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(JournalError::directory(dir, named(&path)(error))),
        };
        let read = || {
            let written: Written = serde_json::from_slice(&text).ok()?;
            let mut journal = [0; 16];
            hex::decode_to_slice(&written.journal, &mut journal).ok()?;
            Some(Self { realm: written.realm, journal })
        };
        let why = "it does not say which realm the directory belongs to: restore it, or give another directory";
        read()
            .map(Some)
            .ok_or_else(|| JournalError::directory(dir, named(&path)(io::Error::new(io::ErrorKind::InvalidData, why))))
    }

    /// Writes the file, before anything of the realm is in the directory.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        let written = Written { realm: self.realm.clone(), journal: hex::encode(self.journal) };
        replace(&dir.join(FILE), &serde_json::to_vec(&written)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_is_damaged_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(RealmFile::read(dir.path()).expect("no file"), None);
        let file = RealmFile { realm: "bank".into(), journal: [7; 16] };
        file.write(dir.path()).expect("written");
        assert_eq!(RealmFile::read(dir.path()).expect("a file"), Some(file));
        for damaged in ["", "{}", r#"{"realm":"bank","journal":"07"}"#] {
            fs::write(dir.path().join(FILE), damaged).expect("written");
            let refused = RealmFile::read(dir.path()).expect_err("it says nothing").to_string();
            assert!(refused.contains("realm.json"), "{refused}");
        }
    }
}
