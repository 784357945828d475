//! The owner's guard: a thread that says twice a second that this node lives, and hears whether the realm is still its own.

use std::io;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::address::Node;
use super::cluster::Cluster;
use super::shared_log::RetryDelay;
use super::statements::{BEAT, GONE, OWNS};
use crate::base::thread::{self, JoinHandle};
use crate::base::wait;
use crate::net::postgres::{Connection, PostgresFault, SqlValue};

/// Between two beats.
pub(super) const BEAT_EVERY: Duration = Duration::from_millis(500);

/// What the guard has heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OwnerTold {
    /// Another node owns the realm.
    Fenced,
    /// An operator wants this node to own it.
    MoveTo(String),
}

/// The thread of the guard. It ends when this is dropped.
pub(crate) struct OwnerGuard {
    ending: Option<Sender<()>>,
    thread: Option<JoinHandle>,
}

impl OwnerGuard {
    /// Starts it. `batch` is asked how far this node has come; `heard` is called whenever the database has answered; `told` is called on the guard's thread, and may end the process.
    pub(crate) fn start(
        cluster: Cluster,
        node: Node,
        batch: impl Fn() -> u64 + Send + 'static,
        heard: impl Fn() + Send + 'static,
        told: impl Fn(OwnerTold) + Send + 'static,
    ) -> io::Result<Self> {
        let (ending, ended) = bounded(0);
        let thread = thread::spawn("guard", move || watch(&cluster, &node, &batch, &heard, &told, &ended))?;
        Ok(Self { ending: Some(ending), thread: Some(thread) })
    }
}

impl Drop for OwnerGuard {
    fn drop(&mut self) {
        drop(self.ending.take());
        if let Some(thread) = self.thread.take() {
            // A panic was logged.
            let _ = thread.join();
        }
    }
}

fn watch(
    cluster: &Cluster,
    node: &Node,
    batch: &impl Fn() -> u64,
    heard: &impl Fn(),
    told: &impl Fn(OwnerTold),
    ended: &Receiver<()>,
) {
    let (mut connection, mut patience, mut heir) = (None, RetryDelay::default(), None);
    loop {
        match beat(cluster, &mut connection, node, batch()) {
            Ok((true, found)) => {
                heard();
                if found != heir
                    && let Some(next) = found.as_ref().filter(|next| **next != node.id.name)
                {
                    told(OwnerTold::MoveTo(next.clone()));
                }
                (heir, patience) = (found, RetryDelay::default());
            }
            Ok((false, _)) => return told(OwnerTold::Fenced),
            Err(fault) => {
                connection = None;
                patience.wait(|| format!("the beat of this node for the realm {}: {fault}", node.realm));
            }
        }
        if !matches!(wait::receive_within(ended, BEAT_EVERY), Err(RecvTimeoutError::Timeout)) {
            return;
        }
    }
}

/// Beats once. Whether this node owns the realm, and who shall own it next.
fn beat(
    cluster: &Cluster,
    line: &mut Option<Connection>,
    node: &Node,
    batch: u64,
) -> Result<(bool, Option<String>), PostgresFault> {
    let connection = match line {
        Some(connection) => connection,
        none => none.insert(cluster.connect_lightly()?),
    };
    say_beat(connection, node, batch)?;
    let owns = connection.ask(OWNS, &[SqlValue::Text(node.realm.as_str()), SqlValue::Uuid(&node.id.instance)])?;
    let Some(row) = owns.rows.first() else { return Ok((false, None)) };
    Ok((row.optional_text(0)?.as_deref() == Some("true"), row.optional_text(1)?))
}

/// Says that this node lives, and how far it has come.
pub(super) fn say_beat(connection: &mut Connection, node: &Node, batch: u64) -> Result<(), PostgresFault> {
    let values = [
        SqlValue::Text(node.realm.as_str()),
        SqlValue::Text(&node.id.name),
        SqlValue::Uuid(&node.id.instance),
        SqlValue::Text(&node.address),
        SqlValue::Number(i64::try_from(batch).unwrap_or(i64::MAX)),
    ];
    connection.ask(BEAT, &values).map(drop)
}

/// Says that this node takes no part any more. That it could not be said shows by its beat.
pub(super) fn say_gone(connection: &mut Connection, node: &Node) {
    let values =
        [SqlValue::Text(node.realm.as_str()), SqlValue::Text(&node.id.name), SqlValue::Uuid(&node.id.instance)];
    if let Err(fault) = connection.ask(GONE, &values) {
        log::debug!("{}: {fault}", node.id.name);
    }
}
