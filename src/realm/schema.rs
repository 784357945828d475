//! Making the tables, and what the servers promise about what is committed there.

use std::path::Path;

use super::address::RealmName;
use super::cluster::{Cluster, ClusterError};
use super::statements::{HAS_SCHEMA, MAKE_REALM, PROMISE, REALM, SCHEMA, SCHEMA_VERSION, VERSION};
use crate::journal::{JournalError, RealmFile};
use crate::net::postgres::{Connection, PostgresFault, SqlAnswer, SqlValue};

/// What a commit outlives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CommitPromise {
    /// The loss of any server that is needed for it: the synchronous standbys, as the server names them.
    AnyServer { standbys: String },
    /// The loss of this node, and a restart of the server; not the loss of the server's disk.
    OneServer,
}

impl std::fmt::Display for CommitPromise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AnyServer { standbys } => {
                write!(f, "survives the loss of this node and of a database server (synchronous standbys: {standbys})")
            }
            Self::OneServer => write!(f, "survives the loss of this node, and not that of the database server's disk"),
        }
    }
}

/// Makes the tables, if they are not there. Whether they were made.
pub(crate) fn init(cluster: &Cluster) -> Result<bool, ClusterError> {
    let named = |fault| cluster.named(fault);
    let mut connection = cluster.connect().map_err(named)?;
    match version(&mut connection).map_err(named)? {
        None => connection.run(SCHEMA).map(|_| true).map_err(named),
        Some(SCHEMA_VERSION) => Ok(false),
        Some(other) => Err(of_another_version(cluster, other)),
    }
}

/// Looks at the tables and at what the servers promise, and makes the realm if it is new. What all segments call its journal.
pub(crate) fn open_realm(
    cluster: &Cluster,
    realm: &RealmName,
    is_one_server_enough: bool,
) -> Result<([u8; 16], CommitPromise), ClusterError> {
    let named = |fault| cluster.named(fault);
    let mut connection = cluster.connect().map_err(named)?;
    check_tables(cluster, &mut connection)?;
    let promise = promise(&connection.ask(PROMISE, &[]).map_err(named)?).map_err(named)?;
    let promise = promise.map_err(ClusterError::Refused)?;
    if promise == CommitPromise::OneServer && !is_one_server_enough {
        let why = format!(
            "{cluster} has no synchronous standby: the loss of that server would lose what was acknowledged. Set \
             synchronous_standby_names there (docs/cluster.md), or accept that with --single-server"
        );
        return Err(ClusterError::Refused(why));
    }
    let new = *uuid::Uuid::new_v4().as_bytes();
    connection.ask(MAKE_REALM, &[SqlValue::Text(realm.as_str()), SqlValue::Uuid(&new)]).map_err(named)?;
    let found = connection.ask(REALM, &[SqlValue::Text(realm.as_str())]).map_err(named)?;
    let row = found
        .rows
        .first()
        .ok_or_else(|| named(PostgresFault::Unexpected(format!("the realm {realm} is not there"))))?;
    Ok((row.array(0).map_err(named)?, promise))
}

/// Refuses a data directory that belongs to another realm, before this one is made.
pub(crate) fn check_directory(dir: &Path, realm: &RealmName) -> Result<(), ClusterError> {
    match RealmFile::read(dir)? {
        Some(file) if file.realm != realm.as_str() => {
            let found = format!("holds the copy of the realm {}", file.realm);
            let (path, realm) = (dir.to_owned(), realm.to_string());
            Err(JournalError::OfAnother { path, realm, found }.into())
        }
        Some(_) | None => Ok(()),
    }
}

/// What all segments of a realm call its journal.
pub(crate) fn journal_of(cluster: &Cluster, realm: &RealmName) -> Result<[u8; 16], ClusterError> {
    let found = cluster.connect().and_then(|mut connection| {
        let found = connection.ask(REALM, &[SqlValue::Text(realm.as_str())])?;
        found.rows.first().map(|row| row.array(0)).transpose()
    });
    let found = found.map_err(|fault| cluster.named(fault))?;
    found.ok_or_else(|| ClusterError::Refused(format!("there is no realm {realm} in {cluster}: see `theater realms`")))
}

/// Refuses a database that has not the tables which this program knows.
pub(super) fn check_tables(cluster: &Cluster, connection: &mut Connection) -> Result<(), ClusterError> {
    match version(connection).map_err(|fault| cluster.named(fault))? {
        Some(SCHEMA_VERSION) => Ok(()),
        Some(other) => Err(of_another_version(cluster, other)),
        None => {
            let why =
                format!("{cluster} has no tables of Theater: make them with `theater cluster init --cluster URL`");
            Err(ClusterError::Refused(why))
        }
    }
}

fn of_another_version(cluster: &Cluster, found: i64) -> ClusterError {
    ClusterError::Refused(format!(
        "{cluster} has tables of version {found}, and this program knows version {SCHEMA_VERSION}: use the program that made \
         them, or a newer one"
    ))
}

pub(super) fn version(connection: &mut Connection) -> Result<Option<i64>, PostgresFault> {
    let found = connection.ask(HAS_SCHEMA, &[])?;
    if found.rows.first().map(|row| row.number(0)).transpose()? != Some(1) {
        return Ok(None);
    }
    connection.ask(VERSION, &[])?.rows.first().map(|row| row.number(0)).transpose()
}

/// What the server's settings come to; the inner error says which of them loses what was committed.
fn promise(settings: &SqlAnswer) -> Result<Result<CommitPromise, String>, PostgresFault> {
    let row = settings.rows.first().ok_or_else(|| PostgresFault::Unexpected("no settings".into()))?;
    for (column, setting) in ["fsync", "full_page_writes"].iter().enumerate() {
        if row.text(column)? != "on" {
            let why =
                format!("{setting} is off on the server: a power loss would lose what was acknowledged. Set it to on");
            return Ok(Err(why));
        }
    }
    let standbys = row.text(2)?;
    Ok(Ok(if standbys.is_empty() { CommitPromise::OneServer } else { CommitPromise::AnyServer { standbys } }))
}
