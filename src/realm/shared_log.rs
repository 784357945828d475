//! Appending to the log in PostgreSQL: one statement, which is refused if the realm is another node's by now.
//!
//! ```text
//!   append ──▶ 1 row: committed
//!     │  ▲      0 rows: another node owns the realm ──▶ fenced
//!     │  └───────────────────────────────┐
//!     └──▶ no answer: is it there? ──▶ connect, raise the own epoch ──▶ head is this batch: committed
//! ```
//!
//! A statement whose answer was lost may still be executed. So the owner raises its own epoch over the new connection: from
//! then on the old statement is refused, and the head says whether it was executed before. That head is safe: the commit of
//! the new epoch is behind it.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::address::Node;
use super::cluster::Cluster;
use super::statements::{APPEND, OWNER, PUT_COMPONENT, RENEW, REWRITE, REWROTE};
use crate::base::{clock, wait};
use crate::chain::ComponentDigest;
use crate::journal::{RemoteBatch, RemoteFault, RemoteLog};
use crate::net::postgres::{Connection, PostgresFault, SqlAnswer, SqlRow, SqlValue};

/// Between two attempts to reach a server.
const RETRY_LEAST: Duration = Duration::from_millis(20);
const RETRY_MOST: Duration = Duration::from_secs(1);

/// A realm that was taken: its epoch, and where its log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TakenRealm {
    pub(crate) epoch: i64,
    pub(crate) head: u64,
    pub(crate) position: u64,
    pub(crate) digest: [u8; 20],
}

impl TakenRealm {
    pub(super) fn of(row: &SqlRow) -> Result<Self, PostgresFault> {
        Ok(Self { epoch: row.number(0)?, head: row.count(1)?, position: row.count(2)?, digest: row.array(3)? })
    }
}

/// The log of a realm that this node owns.
pub(crate) struct SharedLog {
    cluster: Cluster,
    node: Node,
    epoch: AtomicU32,
    /// The last batch that was acknowledged.
    acknowledged: AtomicU64,
    /// When the database was heard last, in milliseconds since the boot of the machine.
    heard: AtomicU64,
    line: Mutex<AppendingLine>,
    /// Called once another node owns the realm; it ends the process.
    fenced: Box<dyn Fn(&RemoteFault) + Send + Sync>,
}

/// The connection that appends; none while there is none.
struct AppendingLine {
    connection: Option<Connection>,
    epoch: i64,
    /// Where the log ends, as far as this node knows.
    head: u64,
    digest: [u8; 20],
}

impl fmt::Debug for SharedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedLog({}, {})", self.cluster, self.node.realm)
    }
}

impl SharedLog {
    pub(crate) fn new(
        cluster: Cluster,
        node: Node,
        taken: &TakenRealm,
        fenced: impl Fn(&RemoteFault) + Send + Sync + 'static,
    ) -> Self {
        let line = AppendingLine { connection: None, epoch: taken.epoch, head: taken.head, digest: taken.digest };
        let epoch = AtomicU32::new(u32::try_from(taken.epoch).unwrap_or(u32::MAX));
        let acknowledged = AtomicU64::new(taken.head);
        let heard = AtomicU64::new(clock::boot_ms());
        Self { cluster, node, epoch, acknowledged, heard, line: Mutex::new(line), fenced: Box::new(fenced) }
    }

    /// The last batch that was acknowledged.
    pub(crate) fn head(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// The database has answered this node, and says that it owns the realm.
    pub(crate) fn was_heard(&self) {
        self.heard.store(clock::boot_ms(), Ordering::Relaxed);
    }

    fn realm(&self) -> &str {
        self.node.realm.as_str()
    }

    fn fence(&self) -> RemoteFault {
        let fault = RemoteFault::Fenced { realm: self.realm().to_owned() };
        (self.fenced)(&fault);
        fault
    }

    fn failed(&self, why: String) -> RemoteFault {
        RemoteFault::Failed { realm: self.realm().to_owned(), why }
    }

    /// The log does not end where this node has seen it end.
    fn gap(&self, head: u64, batch: &RemoteBatch<'_>) -> RemoteFault {
        let next = batch.number;
        self.failed(match head + 1 < next {
            true => format!(
                "{} has lost what was acknowledged: it ends at batch {head}, and batch {} was committed there. Bring back the \
                 server that has it (docs/cluster.md)",
                self.cluster,
                next - 1
            ),
            false => format!("it ends at batch {head}, and batch {next} was to follow"),
        })
    }

    /// Connects again, for as long as that takes, and raises the own epoch. Where the log ends is known then.
    fn renew(&self, line: &mut AppendingLine) -> Result<(), RemoteFault> {
        let mut patience = RetryDelay::default();
        loop {
            let renewed = self.cluster.connect().and_then(|mut connection| {
                let values = [SqlValue::Text(self.realm()), SqlValue::Uuid(&self.node.id.instance)];
                let answer = connection.ask(RENEW, &values)?;
                check_safe(&answer)?;
                Ok((connection, answer.rows.first().map(TakenRealm::of).transpose()?))
            });
            match renewed {
                Ok((_, None)) => return Err(self.fence()),
                Ok((connection, Some(taken))) => {
                    if patience.is_spent() {
                        log::info!(
                            "the log of the realm {} is reached again, at {}",
                            self.realm(),
                            connection.server()
                        );
                    }
                    *line = AppendingLine {
                        connection: Some(connection),
                        epoch: taken.epoch,
                        head: taken.head,
                        digest: taken.digest,
                    };
                    self.epoch.store(u32::try_from(taken.epoch).unwrap_or(u32::MAX), Ordering::Relaxed);
                    return Ok(());
                }
                Err(fault) => patience.wait(|| format!("the log of the realm {}: {fault}", self.realm())),
            }
        }
    }

    /// Has something done over the connection that appends, again after each new connection, until it is done.
    fn until_done(
        &self,
        what: &str,
        mut attempt: impl FnMut(&mut Connection) -> Result<SqlAnswer, PostgresFault>,
    ) -> Result<SqlAnswer, RemoteFault> {
        let mut patience = RetryDelay::default();
        let mut line = self.line.lock();
        loop {
            if line.connection.is_none() {
                self.renew(&mut line)?;
            }
            let connection = line.connection.as_mut().expect("it was opened");
            match attempt(connection) {
                Ok(answer) => return Ok(answer),
                Err(fault) => {
                    if !fault.leaves_the_connection() {
                        line.connection = None;
                    }
                    patience.wait(|| format!("{what} of the realm {}: {fault}", self.realm()));
                }
            }
        }
    }

    /// Why an append changed nothing.
    fn why_refused(&self, connection: &mut Connection, batch: &RemoteBatch<'_>) -> Result<RemoteFault, PostgresFault> {
        let owner = connection.ask(OWNER, &[SqlValue::Text(self.realm()), SqlValue::Uuid(&self.node.id.instance)])?;
        let Some(row) = owner.rows.first() else { return Ok(self.failed("it is gone".into())) };
        let is_own = row.optional_bytes(2)?.is_some_and(|own| own.as_ref() == [1]);
        Ok(if is_own { self.gap(row.count(1)?, batch) } else { self.fence() })
    }
}

impl RemoteLog for SharedLog {
    fn silent_for(&self) -> Duration {
        Duration::from_millis(clock::boot_ms().saturating_sub(self.heard.load(Ordering::Relaxed)))
    }

    fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
    }

    fn append(&self, batch: &RemoteBatch<'_>) -> Result<(), RemoteFault> {
        let mut patience = RetryDelay::default();
        let mut line = self.line.lock();
        let number = i64::try_from(batch.number).expect("batches are counted one by one");
        let position = i64::try_from(batch.position).expect("events are counted one by one");
        loop {
            if line.connection.is_none() {
                self.renew(&mut line)?;
                if (line.head, line.digest) == (batch.number, batch.digest) {
                    return Ok(());
                }
                if line.head + 1 != batch.number {
                    return Err(self.gap(line.head, batch));
                }
            }
            let values = [
                SqlValue::Text(self.realm()),
                SqlValue::Number(line.epoch),
                SqlValue::Number(number),
                SqlValue::Number(position),
                SqlValue::Bytes(&batch.digest),
                SqlValue::Number(batch.segment.into()),
                SqlValue::Number(batch.format.into()),
                SqlValue::Bytes(batch.bytes),
            ];
            let connection = line.connection.as_mut().expect("it was opened");
            let answered = connection.ask(APPEND, &values).and_then(|answer| {
                check_safe(&answer)?;
                if answer.affected == 1 { Ok(None) } else { self.why_refused(connection, batch).map(Some) }
            });
            match answered {
                Ok(None) => {
                    (line.head, line.digest) = (batch.number, batch.digest);
                    self.acknowledged.store(batch.number, Ordering::Relaxed);
                    return Ok(());
                }
                Ok(Some(refused)) => return Err(refused),
                Err(fault) => {
                    // Whatever it was: what has become of the statement is asked over a new connection.
                    line.connection = None;
                    patience.wait(|| format!("the log of the realm {}: {fault}", self.realm()));
                }
            }
        }
    }

    fn rewrite(&self, segment: u32, generation: u32, batches: &[(u64, &[u8])]) -> Result<(), RemoteFault> {
        let what = "dropping data from the log";
        for (number, bytes) in batches {
            let number = i64::try_from(*number).expect("batches are counted one by one");
            let owner = SqlValue::Uuid(&self.node.id.instance);
            let values = [SqlValue::Text(self.realm()), SqlValue::Number(number), SqlValue::Bytes(bytes), owner];
            if self.until_done(what, |connection| connection.ask(REWRITE, &values))?.affected == 0 {
                return Err(self.fence());
            }
        }
        let values =
            [SqlValue::Text(self.realm()), SqlValue::Number(segment.into()), SqlValue::Number(generation.into())];
        self.until_done(what, |connection| connection.ask(REWROTE, &values)).map(drop)
    }

    fn store_component(&self, digest: ComponentDigest, bytes: &[u8]) -> Result<(), RemoteFault> {
        let values = [SqlValue::Text(self.realm()), SqlValue::Bytes(digest.as_bytes()), SqlValue::Bytes(bytes)];
        self.until_done("storing a component", |connection| connection.ask(PUT_COMPONENT, &values)).map(drop)
    }
}

/// A commit that does not wait for its standbys any more, because somebody has cancelled that, says so in a notice. Then the
/// batch is there, and not as safe as it has to be: the next commit waits again.
fn check_safe(answer: &SqlAnswer) -> Result<(), PostgresFault> {
    match answer.notices.first() {
        None => Ok(()),
        Some(notice) => Err(PostgresFault::Unexpected(format!("a commit with the notice {notice:?}"))),
    }
}

/// Waits longer and longer between attempts, and says once in a while what it waits for.
#[derive(Default)]
pub(crate) struct RetryDelay {
    attempts: u32,
}

impl RetryDelay {
    pub(super) fn is_spent(&self) -> bool {
        self.attempts > 1
    }

    /// The first attempt follows at once.
    pub(crate) fn wait(&mut self, why: impl FnOnce() -> String) {
        let times = self.attempts.saturating_sub(1).min(10);
        if self.attempts > 0 {
            wait::sleep((RETRY_LEAST * 2_u32.pow(times)).min(RETRY_MOST));
        }
        if self.attempts == 1 || self.attempts.is_multiple_of(30) && self.attempts > 0 {
            log::warn!("{}; it is tried again until it succeeds", why());
        }
        self.attempts += 1;
    }
}
