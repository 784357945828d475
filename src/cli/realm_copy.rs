//! A realm in place of a data directory: commands that read a journal take `postgres://user@host/database#realm`, and read a
//! copy of all that the shared log holds.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::Failure;
use super::config::cluster_options;
use crate::config::ClusterOptions;
use crate::journal::DataDir;
use crate::realm;

/// The temporary directories of copies: they go when the process ends.
static HELD: Mutex<Vec<DataDir>> = Mutex::new(Vec::new());

/// The directory to read for what a person has named: itself, or, where that is a realm, a copy of it. The copy is removed when
/// the process ends.
pub(super) fn readable_dir(named: &Path) -> Result<PathBuf, Failure> {
    let Some((url, realm)) = realm_in(named)? else { return Ok(named.to_owned()) };
    let ClusterOptions { cluster, realm } = cluster_options(Some(url), None, Some(realm))?;
    let realm = realm.ok_or_else(|| Failure::usage("which realm? It is named behind #"))?;
    let journal = realm::journal_of(&cluster, &realm).map_err(Failure::no)?;
    let outer = DataDir::ephemeral().map_err(Failure::no)?;
    let dir = outer.path().join("realm");
    HELD.lock().push(outer);
    let copy = DataDir::open(&dir).map_err(Failure::no)?;
    realm::copy_all(&cluster, &realm, journal, copy).map_err(Failure::no)?;
    Ok(dir)
}

/// Refuses a realm where data of a directory is to be changed: its owner does that.
pub(super) fn check_is_directory(named: &Path) -> Result<(), Failure> {
    match realm_in(named)? {
        None => Ok(()),
        Some((_, realm)) => Err(Failure::no(format!(
            "the realm {realm} is changed by the node that owns it: leave --data-dir out, and name that node's management server \
             with --server (see `theater realms`)"
        ))),
    }
}

/// Refuses a realm where a directory is to be used or made.
pub(super) fn check_is_no_realm(named: &Path) -> Result<(), Failure> {
    let Some(text) = named.to_str().filter(|text| text.contains("://")) else { return Ok(()) };
    Err(Failure::usage(format!(
        "{text} is no directory: a node of a realm has --cluster URL and --realm NAME, and a --data-dir of its own"
    )))
}

/// The URL of the cluster and the name of the realm, if this is no directory.
fn realm_in(named: &Path) -> Result<Option<(String, String)>, Failure> {
    let Some(text) = named.to_str().filter(|text| text.starts_with("postgres://") || text.starts_with("postgresql://"))
    else {
        return Ok(None);
    };
    match text.rsplit_once('#') {
        Some((url, realm)) if !realm.is_empty() => Ok(Some((url.to_owned(), realm.to_owned()))),
        Some((text, _)) => Err(Failure::usage(format!("which realm? Write {text}#REALM"))),
        None => Err(Failure::usage(format!("which realm? Write {text}#REALM"))),
    }
}
