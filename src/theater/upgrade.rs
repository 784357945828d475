//! The first start on a journal of an older format: it is written anew, verified, and takes the old one's place.

use std::path::Path;

use crate::actor::audit;
use crate::base::clock;
use crate::journal::{self, DataDir, JournalError};

/// Brings the journal in `dir` to this version, if it has an older one.
pub(crate) fn upgrade(dir: &Path) -> Result<(), JournalError> {
    if !journal::is_older(dir)? {
        return Ok(());
    }
    let begun = clock::now();
    journal::begin_anew(dir)?;
    let new = journal::upgrade_dir(dir);
    let events = journal::convert(dir, DataDir::open(&new)?)?;
    log::info!("{events} events are written; now they are verified");
    if let Some(first) = audit(&new)?.findings.into_iter().next() {
        let why = format!("what was written anew does not verify ({first}); the old journal was not changed");
        return Err(JournalError::Damaged { path: dir.to_owned(), why });
    }
    journal::take_place(dir)?;
    log::info!("the journal was brought to this version in {:.1} s", clock::since(begun).as_secs_f64());
    Ok(())
}
