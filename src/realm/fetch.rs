//! Fetching what the shared log holds into the copy of a node: batches, segments from which data was dropped, components.

use std::path::Path;

use super::address::RealmName;
use super::cluster::{Cluster, ClusterError};
use super::look::RealmSeen;
use super::statements::{BATCH, COMPONENT, COMPONENTS, REWRITTEN, SEGMENT, TAIL};
use crate::chain::ComponentDigest;
use crate::journal::{DataDir, JournalError, RealmFile, Replica, ReplicaTip};
use crate::net::postgres::{Connection, PostgresFault, SqlValue};

/// The copy of a realm, and what it lacks.
pub(super) struct Fetcher<'a> {
    cluster: &'a Cluster,
    realm: &'a RealmName,
    replica: Replica,
    /// Called with each component that is new here, so that it is compiled before it is needed.
    prepare: &'a dyn Fn(&[u8]),
    /// As many rewrites of segments are here, as the database counts them.
    rewrites: i64,
}

/// Copies everything that the log of a realm holds now into a directory, and takes no part in the realm.
pub(crate) fn copy_all(
    cluster: &Cluster,
    realm: &RealmName,
    journal: [u8; 16],
    dir: DataDir,
) -> Result<ReplicaTip, ClusterError> {
    let named = |fault| cluster.named(fault);
    let mut connection = cluster.connect().map_err(named)?;
    let mut fetcher = Fetcher::open(&mut connection, (cluster, realm), journal, dir, &|_| ())?;
    let look = RealmSeen::at(&mut connection, realm).map_err(named)?;
    fetcher.fetch_all(&mut connection, &look)?;
    let tip = fetcher.tip();
    fetcher.close()?;
    Ok(tip)
}

impl<'a> Fetcher<'a> {
    /// Opens the copy in `dir`, after comparing it with the log. One that has gone another way, or is damaged, is set aside, and
    /// copied anew.
    pub(super) fn open(
        connection: &mut Connection,
        (cluster, realm): (&'a Cluster, &'a RealmName),
        journal: [u8; 16],
        dir: DataDir,
        prepare: &'a dyn Fn(&[u8]),
    ) -> Result<Self, ClusterError> {
        let file = RealmFile { realm: realm.to_string(), journal };
        let replica = open_replica(connection, cluster, dir, &file)?;
        Ok(Self { cluster, realm, replica, prepare, rewrites: 0 })
    }

    pub(super) fn tip(&self) -> ReplicaTip {
        self.replica.tip()
    }

    /// Has the index hold what was copied.
    pub(super) fn index(&mut self) -> Result<(), ClusterError> {
        Ok(self.replica.index()?)
    }

    pub(super) fn close(self) -> Result<(), ClusterError> {
        Ok(self.replica.close()?)
    }

    /// Copies all that the realm had when it was looked at.
    pub(super) fn fetch_all(&mut self, connection: &mut Connection, look: &RealmSeen) -> Result<(), ClusterError> {
        self.check_is_all_there(look.head)?;
        self.catch_up(connection, look.head)?;
        self.take_rewrites(connection, look.rewrites)?;
        self.take_components(connection)?;
        self.index()
    }

    /// The owner copies a batch after its commit, and others copy what is committed: so what is here was.
    pub(super) fn check_is_all_there(&self, head: u64) -> Result<(), ClusterError> {
        let here = self.replica.tip().batch;
        if head >= here { Ok(()) } else { Err(lost(self.cluster, self.realm.as_str(), head + 1, self.replica.dir())) }
    }

    /// Copies batches up to this one.
    fn catch_up(&mut self, connection: &mut Connection, head: u64) -> Result<(), ClusterError> {
        while self.replica.tip().batch < head {
            let before = self.replica.tip().batch;
            self.tail(connection, head)?;
            if self.replica.tip().batch == before {
                let why = format!("the log of the realm {} lacks batch {}", self.realm, before + 1);
                return Err(ClusterError::Refused(why));
            }
        }
        Ok(())
    }

    /// Copies the next batches.
    pub(super) fn tail(&mut self, connection: &mut Connection, head: u64) -> Result<(), ClusterError> {
        let named = |fault| self.cluster.named(fault);
        let after = self.replica.tip().batch;
        if after >= head {
            return Ok(());
        }
        let values = [SqlValue::Text(self.realm.as_str()), number(after)];
        for row in connection.ask(TAIL, &values).map_err(named)?.rows {
            let format = u8::try_from(row.number(2).map_err(named)?).unwrap_or(u8::MAX);
            self.replica.take(&row.bytes(3).map_err(named)?, format)?;
        }
        Ok(())
    }

    /// Fetches the segments from which data was dropped since they were copied.
    pub(super) fn take_rewrites(&mut self, connection: &mut Connection, rewrites: i64) -> Result<(), ClusterError> {
        if rewrites == self.rewrites {
            return Ok(());
        }
        let named = |fault| self.cluster.named(fault);
        let realm = SqlValue::Text(self.realm.as_str());
        let here = self.replica.generations();
        for row in connection.ask(REWRITTEN, &[realm]).map_err(named)?.rows {
            let (segment, generation) = (row.number(0).map_err(named)?, row.number(1).map_err(named)?);
            let (Ok(segment), Ok(generation)) = (u32::try_from(segment), u32::try_from(generation)) else {
                return Err(named(PostgresFault::Unexpected("a segment has no number".into())));
            };
            if here.get(&segment).is_some_and(|here| *here >= generation) {
                continue;
            }
            let mut batches: Vec<Vec<u8>> = Vec::new();
            let mut after = 0;
            loop {
                let values = [realm, SqlValue::Number(segment.into()), SqlValue::Number(after)];
                let next = connection.ask(SEGMENT, &values).map_err(named)?.rows;
                let Some(last) = next.last() else { break };
                after = last.number(0).map_err(named)?;
                for row in &next {
                    batches.push(row.bytes(1).map_err(named)?.to_vec());
                }
            }
            self.replica.replace(segment, generation, &batches)?;
        }
        self.rewrites = rewrites;
        Ok(())
    }

    /// Fetches the components that are not here, and has them compiled.
    pub(super) fn take_components(&mut self, connection: &mut Connection) -> Result<(), ClusterError> {
        let named = |fault| self.cluster.named(fault);
        let known = connection.ask(COMPONENTS, &[SqlValue::Text(self.realm.as_str())]).map_err(named)?;
        for row in known.rows {
            let digest = ComponentDigest(row.array(0).map_err(named)?);
            if self.replica.has_component(digest) {
                continue;
            }
            let found = connection.ask(COMPONENT, &[SqlValue::Bytes(digest.as_bytes())]).map_err(named)?;
            let bytes = found.rows.first().map(|row| row.bytes(0)).transpose().map_err(named)?.unwrap_or_default();
            if ComponentDigest::of(&bytes) != digest {
                let why = format!("the component {digest} in {} is not what its name says", self.cluster);
                return Err(ClusterError::Refused(why));
            }
            self.replica.store_component(digest, &bytes)?;
            (self.prepare)(&bytes);
        }
        Ok(())
    }
}

fn number(count: u64) -> SqlValue<'static> {
    SqlValue::Number(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Opens the copy, or sets it aside and begins another.
fn open_replica(
    connection: &mut Connection,
    cluster: &Cluster,
    dir: DataDir,
    file: &RealmFile,
) -> Result<Replica, ClusterError> {
    let dir = match Replica::open(dir, file) {
        Ok(replica) => match agrees(connection, cluster, &replica, file)? {
            true => return Ok(replica),
            false => {
                log::warn!("{} has gone another way than the realm {}", replica.dir().display(), file.realm);
                replica.set_aside()?
            }
        },
        Err((_, error @ (JournalError::OfAnother { .. } | JournalError::Directory { .. }))) => return Err(error.into()),
        Err((dir, error)) => {
            log::warn!("the copy of the realm {} cannot be gone on with: {error}", file.realm);
            Replica::set_aside_in(dir)?
        }
    };
    Replica::open(dir, file).map_err(|(_, error)| error.into())
}

/// Whether what the copy holds is the beginning of the log.
fn agrees(
    connection: &mut Connection,
    cluster: &Cluster,
    replica: &Replica,
    file: &RealmFile,
) -> Result<bool, ClusterError> {
    let named = |fault| cluster.named(fault);
    let tip = replica.tip();
    if tip.batch == 0 {
        return Ok(true);
    }
    let found = connection.ask(BATCH, &[SqlValue::Text(&file.realm), number(tip.batch)]).map_err(named)?;
    match found.rows.first() {
        Some(row) => Ok(replica.is_last(&row.bytes(0).map_err(named)?)),
        None => Err(lost(cluster, &file.realm, tip.batch, replica.dir())),
    }
}

fn lost(cluster: &Cluster, realm: &str, batch: u64, dir: &Path) -> ClusterError {
    let dir = dir.display();
    ClusterError::Refused(format!(
        "{cluster} has lost what was acknowledged: its log of the realm {realm} lacks batch {batch}, which {dir} holds. Bring back \
         the server that has it; to give up what is lost, move {dir} away"
    ))
}
