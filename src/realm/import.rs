//! A data directory becomes a realm: its log is put into the database, and the directory is a node's copy of it from then on.

use super::address::RealmName;
use super::cluster::{Cluster, ClusterError};
use super::schema::check_tables;
use super::statements::{IMPORT_BATCH, IMPORTED, MAKE_REALM, PUT_COMPONENT};
use crate::journal::{DataDir, ImportedLog};
use crate::net::postgres::{PostgresFault, SqlValue};

/// Puts the journal in a directory that nobody uses into the database, as a realm of this name. All of it is there afterwards, or
/// nothing. How many batches there are.
pub(crate) fn import(cluster: &Cluster, realm: &RealmName, dir: DataDir) -> Result<u64, ClusterError> {
    let named = |fault| cluster.named(fault);
    let log = ImportedLog::open(dir)?;
    let mut connection = cluster.connect().map_err(named)?;
    check_tables(cluster, &mut connection)?;
    let name = SqlValue::Text(realm.as_str());
    connection.run("begin").map_err(named)?;
    let made = connection.ask(MAKE_REALM, &[name, SqlValue::Uuid(&log.journal())]).map_err(named)?;
    if made.affected == 0 {
        return Err(ClusterError::Refused(format!(
            "there is a realm {realm} in {cluster} already: choose another name"
        )));
    }
    let mut fault = None;
    let last = log.each_batch(&mut |batch| {
        let values = [
            name,
            SqlValue::Number(count(batch.number)),
            SqlValue::Number(batch.segment.into()),
            SqlValue::Number(batch.format.into()),
            SqlValue::Bytes(batch.bytes),
        ];
        connection.ask(IMPORT_BATCH, &values).map(drop).map_err(|error| fault = Some(error)).is_ok()
    })?;
    if let Some(fault) = fault {
        return Err(named(fault));
    }
    for (digest, bytes) in log.components()? {
        let values = [name, SqlValue::Bytes(digest.as_bytes()), SqlValue::Bytes(&bytes)];
        connection.ask(PUT_COMPONENT, &values).map_err(named)?;
    }
    let values = [
        name,
        SqlValue::Number(count(last.batch)),
        SqlValue::Number(count(last.position)),
        SqlValue::Bytes(&last.digest),
    ];
    connection.ask(IMPORTED, &values).map_err(named)?;
    // Before the realm is there: the directory must not go its own way once it is.
    log.becomes_a_copy(realm.as_str())?;
    let committed = connection.run("commit").map_err(named)?;
    if !committed.notices.is_empty() {
        return Err(named(PostgresFault::Unexpected(format!("the commit came with {:?}", committed.notices))));
    }
    Ok(last.batch)
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
