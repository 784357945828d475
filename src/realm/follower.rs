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

use std::time::{Duration, Instant};

use super::address::Node;
use super::cluster::{Cluster, ClusterError};
use super::fetch::Fetcher;
use super::guard::{BEAT_EVERY, OwnerGuard, say_beat, say_gone};
use super::look::RealmSeen;
use super::shared_log::{RetryDelay, TakenRealm};
use super::statements::{NAMESAKE, RENEW, TAKE};
use crate::base::clock;
use crate::base::wait;
use crate::journal::DataDir;
use crate::net::postgres::{Connection, SqlValue};

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
    fetch: Fetcher<'a>,
    still: Still,
    components: Due,
    beat: Option<Instant>,
}

/// When the components are asked for.
#[derive(Clone, Copy)]
enum Due {
    Now,
    /// They were asked for then, and nothing has come since.
    Not(Instant),
    /// They were asked for then, and batches have come since, which may name others.
    Again(Instant),
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
        let fetch = Fetcher::open(&mut connection, (cluster, &node.realm), journal, dir, prepare)?;
        Ok(Self { cluster, node, lease, fetch, still: Still::default(), components: Due::Now, beat: None })
    }

    /// Follows until this node owns the realm, or `ends` says so. `told` hears what was seen, whenever that has changed.
    pub(crate) fn follow(
        mut self,
        ends: &dyn Fn() -> bool,
        mut told: impl FnMut(&OwnerSeen),
    ) -> Result<Followed, ClusterError> {
        let (mut line, mut patience, mut last) = (None, RetryDelay::default(), None);
        while !ends() {
            match self.step(&mut line, &mut |seen| {
                if last.as_ref() != Some(seen) {
                    told(seen);
                    last = Some(seen.clone());
                }
            }) {
                Ok(Step::Owns(taken)) => {
                    self.fetch.close()?;
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
        self.fetch.close()?;
        Ok(Followed::Ended)
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
        self.fetch.check_is_all_there(look.head)?;
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
            say_beat(connection, self.node, self.fetch.tip().batch).map_err(named)?;
            self.beat = Some(clock::now());
        }
        let before = self.fetch.tip().batch;
        self.fetch.tail(connection, look.head)?;
        // The log says that data is dropped before it is: so the segments are sealed here, too, once all of it is copied.
        if self.fetch.tip().batch >= look.head {
            self.fetch.take_rewrites(connection, look.rewrites)?;
        }
        if before != self.fetch.tip().batch {
            self.fetch.index()?;
            if let Due::Not(asked) = self.components {
                self.components = Due::Again(asked);
            }
        }
        if matches!(self.components, Due::Now)
            || matches!(self.components, Due::Again(asked) if clock::since(asked) >= COMPONENTS_EVERY)
        {
            self.fetch.take_components(connection)?;
            self.components = Due::Not(clock::now());
        }
        let behind = look.head.saturating_sub(self.fetch.tip().batch);
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
        // What is to be fetched and compiled may take longer than the lease: this node lives meanwhile.
        let head = taken.head;
        let beats = OwnerGuard::start(self.cluster.clone(), self.node.clone(), move || head, || (), |_| ());
        let _beats =
            beats.map_err(|error| ClusterError::Refused(format!("cannot start the guard's thread: {error}")))?;
        let look = RealmSeen::at(connection, &self.node.realm).map_err(named)?;
        self.fetch.fetch_all(connection, &look)?;
        let tip = self.fetch.tip();
        if (tip.batch, tip.position, tip.digest) != (taken.head, taken.position, taken.digest) {
            let why = format!("the log of the realm {} ends otherwise than its owner has said", self.node.realm);
            return Err(ClusterError::Refused(why));
        }
        log::info!("this node owns the realm {}, from epoch {} on", self.node.realm, taken.epoch);
        Ok(Some(taken))
    }
}

enum Step {
    Owns(TakenRealm),
    /// Look again after this time.
    Again(Duration),
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
