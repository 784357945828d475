//! Following a realm until this node owns it: look, copy what is new, and take the realm once its owner is gone.
//!
//! ```text
//!            ┌──────────── look: epoch, head, the owner's beat ◀───────────┐
//!            ▼                                                             │
//!    tail: batches, the index, components; segments that were rewritten    │
//!            │                                                             │
//!            ▼                                                             │
//!    no owner, or its beat stands still for a lease ── take ──▶ last batches: this node owns the realm
//! ```
//!
//! *The lease* counts only while the server answers this node: a look that fails or takes long begins it again. So a follower
//! that was itself frozen or cut off takes nothing from an owner that lives.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::address::Node;
use super::cluster::{Cluster, ClusterError};
use super::guard::{BEAT_EVERY, say_beat, say_gone};
use super::look::RealmSeen;
use super::shared_log::{RetryDelay, TakenRealm};
use super::statements::{BATCH, COMPONENT, COMPONENTS, NAMESAKE, RENEW, REWRITTEN, SEGMENT, TAIL, TAKE};
use crate::base::clock;
use crate::base::wait;
use crate::chain::ComponentDigest;
use crate::journal::{DataDir, JournalError, RealmFile, Replica, ReplicaTip};
use crate::net::postgres::{Connection, PostgresFault, SqlValue};

/// Between two looks at a realm that is another's.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The same while an operator wants this node to own it.
const LOOK_CLOSELY: Duration = Duration::from_millis(5);
/// A look that takes longer says nothing about how long the owner has been still.
const SLOW_LOOK: Duration = Duration::from_secs(1);
/// Between two questions for components, while batches come.
const COMPONENTS_EVERY: Duration = Duration::from_secs(1);

/// How the following ended.
pub(crate) enum Followed {
    /// This node owns the realm, and its copy holds all of it.
    Owns(TakenRealm),
    /// It was asked to end.
    Ended,
}

/// What a follower has seen last, for whoever asks this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnerSeen {
    /// The owner's name and address; none while nobody owns the realm.
    pub(crate) owner: Option<(String, String)>,
    /// How many batches the copy lacks.
    pub(crate) behind: u64,
}

/// A node that follows a realm.
pub(crate) struct Follower<'a> {
    cluster: &'a Cluster,
    node: &'a Node,
    lease: Duration,
    replica: Replica,
    /// Called with each component that is new here, so that it is compiled before it is needed.
    prepare: &'a dyn Fn(&[u8]),
    rewrites: i64,
    still: Still,
    asked_for_components: Option<Instant>,
    beat: Option<Instant>,
}

/// Since when the owner's beat has not changed while the server answered.
#[derive(Default)]
struct Still {
    seen: Option<(i64, Option<i64>)>,
    since: Option<Instant>,
}

impl Still {
    /// For how long the owner has been still.
    fn after(&mut self, look: &RealmSeen, now: Instant) -> Duration {
        let seen = Some((look.epoch, look.beat));
        if self.seen != seen {
            *self = Self { seen, since: None };
        }
        now.saturating_duration_since(*self.since.get_or_insert(now))
    }

    /// The server did not answer, or not at once.
    fn begin_again(&mut self) {
        self.since = None;
    }
}

impl<'a> Follower<'a> {
    /// Opens the copy in `dir`, after comparing it with the log. One that has gone another way, or is damaged, is set aside, and
    /// copied anew.
    ///
    /// # Errors
    ///
    /// The directory belongs to something else; another process is at work under this node's name; or the log lacks what
    /// this node knows to be acknowledged.
    pub(crate) fn begin(
        cluster: &'a Cluster,
        node: &'a Node,
        lease: Duration,
        journal: [u8; 16],
        dir: DataDir,
        prepare: &'a dyn Fn(&[u8]),
    ) -> Result<Self, ClusterError> {
        let named = |fault| cluster.named(fault);
        let mut connection = cluster.connect().map_err(named)?;
        let (realm, name) = (node.realm.as_str(), node.id.name.as_str());
        let values = [SqlValue::Text(realm), SqlValue::Text(name), SqlValue::Uuid(&node.id.instance)];
        // One that was killed is silent after a while; one that lives beats.
        let mut heard = None;
        while let Some(row) = connection.ask(NAMESAKE, &values).map_err(named)?.rows.first() {
            let beat = row.number(0).map_err(named)?;
            if *heard.get_or_insert(beat) != beat {
                return Err(ClusterError::Refused(format!(
                    "a node of the name {name} is at work for the realm {realm}: stop it, or give this one another name with --node"
                )));
            }
            wait::sleep(LOOK_EVERY);
        }
        let file = RealmFile { realm: realm.to_owned(), journal };
        let replica = open_replica(&mut connection, cluster, dir, &file)?;
        Ok(Self {
            cluster,
            node,
            lease,
            replica,
            prepare,
            rewrites: 0,
            still: Still::default(),
            asked_for_components: None,
            beat: None,
        })
    }

    /// Follows until this node owns the realm, or `ends` says so. `told` hears what was seen, whenever that has changed.
    pub(crate) fn follow(
        mut self,
        ends: &Arc<AtomicBool>,
        mut told: impl FnMut(&OwnerSeen),
    ) -> Result<Followed, ClusterError> {
        let (mut line, mut patience, mut last) = (None, RetryDelay::default(), None);
        while !ends.load(Ordering::Acquire) {
            match self.step(&mut line, &mut |seen| {
                if last.as_ref() != Some(seen) {
                    told(seen);
                    last = Some(seen.clone());
                }
            }) {
                Ok(Step::Owns(taken)) => {
                    self.replica.close()?;
                    return Ok(Followed::Owns(taken));
                }
                Ok(Step::Again(time)) => {
                    patience = RetryDelay::default();
                    wait::sleep(time);
                }
                Err(error) if error.may_pass() => {
                    line = None;
                    self.still.begin_again();
                    patience.wait(|| error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(connection) = &mut line {
            say_gone(connection, self.node);
        }
        self.replica.close()?;
        Ok(Followed::Ended)
    }

    /// Copies everything that the log holds now, and takes nothing.
    pub(crate) fn copy_all(mut self) -> Result<ReplicaTip, ClusterError> {
        let named = |fault| self.cluster.named(fault);
        let mut connection = self.cluster.connect().map_err(named)?;
        let look = RealmSeen::at(&mut connection, &self.node.realm).map_err(named)?;
        self.catch_up(&mut connection, look.head)?;
        self.take_rewrites(&mut connection, look.rewrites)?;
        self.take_components(&mut connection)?;
        self.replica.index()?;
        let tip = self.replica.tip();
        self.replica.close()?;
        Ok(tip)
    }

    fn step(&mut self, line: &mut Option<Connection>, told: &mut dyn FnMut(&OwnerSeen)) -> Result<Step, ClusterError> {
        let cluster = self.cluster;
        let named = |fault| cluster.named(fault);
        let connection = match line {
            Some(connection) => connection,
            none => none.insert(cluster.connect().map_err(named)?),
        };
        let asked = clock::now();
        let look = RealmSeen::at(connection, &self.node.realm).map_err(named)?;
        let answered = clock::now();
        if answered - asked > SLOW_LOOK {
            self.still.begin_again();
        }
        let still = self.still.after(&look, answered);
        let own = uuid::Uuid::from_bytes(self.node.id.instance).to_string();
        let is_heir = look.heir.as_ref() == Some(&self.node.id.name);
        self.check_is_all_there(look.head)?;
        // The server has executed a statement whose answer was lost.
        let is_own = look.owner.as_ref() == Some(&own);
        let is_free = look.owner.is_none() && (look.heir.is_none() || is_heir);
        if is_own || is_free || still >= self.lease {
            if let Some(taken) = self.take(connection, &look, is_own)? {
                return Ok(Step::Owns(taken));
            }
            return Ok(Step::Again(Duration::ZERO));
        }
        if self.beat.is_none_or(|last| clock::since(last) >= BEAT_EVERY) {
            say_beat(connection, self.node, self.replica.tip().batch).map_err(named)?;
            self.beat = Some(clock::now());
        }
        let before = self.replica.tip().batch;
        self.tail(connection, look.head)?;
        // The log says that data is dropped before it is: so the segments are sealed here, too, once all of it is copied.
        if self.replica.tip().batch >= look.head {
            self.take_rewrites(connection, look.rewrites)?;
        }
        if before != self.replica.tip().batch || self.asked_for_components.is_none() {
            let is_due = self.asked_for_components.is_none_or(|last| clock::since(last) >= COMPONENTS_EVERY);
            if is_due {
                self.take_components(connection)?;
                self.asked_for_components = Some(clock::now());
            }
            self.replica.index()?;
        }
        let behind = look.head.saturating_sub(self.replica.tip().batch);
        let is_behind = behind > 0;
        let address = look.address.unwrap_or_else(|| "address unknown".into());
        told(&OwnerSeen { owner: look.node.zip(Some(address)), behind });
        Ok(Step::Again(match (is_behind, is_heir) {
            (true, _) => Duration::ZERO,
            (false, true) => LOOK_CLOSELY,
            (false, false) => LOOK_EVERY,
        }))
    }

    /// Takes the realm, if nobody else has, and copies what its log holds. From then on nobody else appends to it.
    fn take(
        &mut self,
        connection: &mut Connection,
        look: &RealmSeen,
        is_own: bool,
    ) -> Result<Option<TakenRealm>, ClusterError> {
        let named = |fault| self.cluster.named(fault);
        let (realm, instance) = (SqlValue::Text(self.node.realm.as_str()), SqlValue::Uuid(&self.node.id.instance));
        let taken = if is_own {
            connection.ask(RENEW, &[realm, instance])
        } else {
            let beat = SqlValue::Number(look.beat.unwrap_or(0));
            connection
                .ask(TAKE, &[realm, SqlValue::Number(look.epoch), instance, SqlValue::Text(&self.node.id.name), beat])
        };
        let taken = taken.map_err(named)?;
        let Some(row) = taken.rows.first() else { return Ok(None) };
        let taken = TakenRealm::of(row).map_err(named)?;
        self.check_is_all_there(taken.head)?;
        let rewrites = RealmSeen::at(connection, &self.node.realm).map_err(named)?.rewrites;
        self.catch_up(connection, taken.head)?;
        self.take_rewrites(connection, rewrites)?;
        self.take_components(connection)?;
        self.replica.index()?;
        let tip = self.replica.tip();
        if (tip.batch, tip.position, tip.digest) != (taken.head, taken.position, taken.digest) {
            let why = format!("the log of the realm {} ends otherwise than its owner has said", self.node.realm);
            return Err(ClusterError::Refused(why));
        }
        say_beat(connection, self.node, tip.batch).map_err(|fault| self.cluster.named(fault))?;
        log::info!("this node owns the realm {}, from epoch {} on", self.node.realm, taken.epoch);
        Ok(Some(taken))
    }

    /// The owner copies a batch after its commit, and others copy what is committed: so what is here was.
    fn check_is_all_there(&self, head: u64) -> Result<(), ClusterError> {
        let here = self.replica.tip().batch;
        if head >= here {
            Ok(())
        } else {
            Err(lost(self.cluster, self.node.realm.as_str(), head + 1, self.replica.dir()))
        }
    }

    /// Copies batches up to this one.
    fn catch_up(&mut self, connection: &mut Connection, head: u64) -> Result<(), ClusterError> {
        while self.replica.tip().batch < head {
            let before = self.replica.tip().batch;
            self.tail(connection, head)?;
            if self.replica.tip().batch == before {
                let why = format!("the log of the realm {} lacks batch {}", self.node.realm, before + 1);
                return Err(ClusterError::Refused(why));
            }
        }
        Ok(())
    }

    /// Copies the next batches.
    fn tail(&mut self, connection: &mut Connection, head: u64) -> Result<(), ClusterError> {
        let named = |fault| self.cluster.named(fault);
        let after = self.replica.tip().batch;
        if after >= head {
            return Ok(());
        }
        let values = [SqlValue::Text(self.node.realm.as_str()), number(after)];
        for row in connection.ask(TAIL, &values).map_err(named)?.rows {
            let format = u8::try_from(row.number(2).map_err(named)?).unwrap_or(u8::MAX);
            self.replica.take(&row.bytes(3).map_err(named)?, format)?;
        }
        Ok(())
    }

    /// Fetches the segments from which data was dropped since they were copied.
    fn take_rewrites(&mut self, connection: &mut Connection, rewrites: i64) -> Result<(), ClusterError> {
        if rewrites == self.rewrites {
            return Ok(());
        }
        let named = |fault| self.cluster.named(fault);
        let realm = SqlValue::Text(self.node.realm.as_str());
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
    fn take_components(&mut self, connection: &mut Connection) -> Result<(), ClusterError> {
        let named = |fault| self.cluster.named(fault);
        let known = connection.ask(COMPONENTS, &[SqlValue::Text(self.node.realm.as_str())]).map_err(named)?;
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

enum Step {
    Owns(TakenRealm),
    /// RealmSeen again after this time.
    Again(Duration),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn look(epoch: i64, beat: i64) -> RealmSeen {
        let (owner, node) = (Some("o".into()), Some("n".into()));
        let (head, position, digest) = (0, 0, [0; 20]);
        RealmSeen {
            epoch,
            head,
            position,
            digest,
            owner,
            node,
            address: None,
            heir: None,
            beat: Some(beat),
            rewrites: 0,
        }
    }

    #[test]
    fn the_lease_counts_only_while_nothing_changes_and_the_server_answers() {
        let (mut still, begun) = (Still::default(), clock::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(still.after(&look(1, 1), at(0)), Duration::ZERO);
        assert_eq!(still.after(&look(1, 1), at(2)), Duration::from_secs(2));
        assert_eq!(still.after(&look(1, 2), at(3)), Duration::ZERO, "the owner lives");
        assert_eq!(still.after(&look(1, 2), at(5)), Duration::from_secs(2));
        assert_eq!(still.after(&look(2, 2), at(6)), Duration::ZERO, "another owner");
        still.begin_again();
        assert_eq!(still.after(&look(2, 2), at(9)), Duration::ZERO, "the server was away");
        assert_eq!(still.after(&look(2, 2), at(12)), Duration::from_secs(3));
    }
}
