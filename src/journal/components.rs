//! The components that ran, beside the log: one file for each, named by its SHA-256.
//!
//! A component is on disk before the batch that names it. It is written once, however many actors run it.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::named::{named, open_file};
use crate::base::dirs;
use crate::chain::ComponentDigest;

const DIR: &str = "components";

/// Where a component lies.
pub(super) fn path_of(dir: &Path, digest: ComponentDigest) -> PathBuf {
    dir.join(DIR).join(format!("{digest}.wasm"))
}

/// Stores a component in the data directory `dir`, if it is not there. Its name and its bytes outlive a power loss.
pub(super) fn store(dir: &Path, digest: ComponentDigest, bytes: &[u8]) -> io::Result<()> {
    let path = path_of(dir, digest);
    if fs::metadata(&path).is_ok_and(|file| file.len() == bytes.len() as u64) {
        return Ok(());
    }
    let beside = path.with_extension("new");
    let into = dir.join(DIR);
    dirs::make(&into)?;
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, &path)?;
    File::open(&into)?.sync_all()?;
    File::open(dir)?.sync_all()
}

/// The bytes of a component, if it is stored. Whether they are what the name says, the caller checks.
pub(super) fn read(dir: &Path, digest: ComponentDigest) -> io::Result<Option<Vec<u8>>> {
    let path = path_of(dir, digest);
    let read = || -> io::Result<_> {
        let mut bytes = Vec::new();
        open_file(&path)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(named(&path)(error)),
    }
}

/// The files of all components. What is just being written is not among them.
pub(super) fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let dir = dir.join(DIR);
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(named(&dir)(error)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>();
    let is_component = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "wasm");
    Ok(paths.map_err(named(&dir))?.into_iter().filter(is_component).collect())
}
