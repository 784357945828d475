//! What is known of realms and nodes: for followers, for operators, and the few words that an operator says to a realm.

use std::time::Duration;

use super::address::{Node, RealmName};
use super::cluster::{Cluster, ClusterError};
use super::schema::check_tables;
use super::statements::{GONE, LOOK, MOVE, NODES, REALMS, RELEASE};
use crate::net::postgres::{Connection, PostgresFault, SqlRow, SqlValue};

/// A realm, as a follower sees it at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RealmSeen {
    pub(super) epoch: i64,
    /// The last batch, the last position, and the digest behind them.
    pub(super) head: u64,
    pub(super) position: u64,
    pub(super) digest: [u8; 20],
    /// None while nobody owns it.
    pub(super) owner: Option<String>,
    pub(super) node: Option<String>,
    pub(super) address: Option<String>,
    /// Who shall own it next.
    pub(super) heir: Option<String>,
    /// The owner's beat, which counts up while it lives.
    pub(super) beat: Option<i64>,
    /// Grows whenever data is dropped from a segment.
    pub(super) rewrites: i64,
}

impl RealmSeen {
    pub(super) fn at(connection: &mut Connection, realm: &RealmName) -> Result<Self, PostgresFault> {
        let found = connection.ask(LOOK, &[SqlValue::Text(realm.as_str())])?;
        let row = found.rows.first().ok_or_else(|| PostgresFault::Unexpected(format!("the realm {realm} is gone")))?;
        Ok(Self {
            epoch: row.number(0)?,
            head: row.count(1)?,
            position: row.count(2)?,
            digest: row.array(3)?,
            owner: row.optional_text(4)?,
            node: row.optional_text(5)?,
            address: row.optional_text(6)?,
            heir: row.optional_text(7)?,
            beat: row.optional_bytes(8)?.map(|_| row.number(8)).transpose()?,
            rewrites: row.number(9)?,
        })
    }
}

/// A realm, for people.
#[derive(Clone, Debug)]
pub(crate) struct RealmRow {
    pub(crate) name: String,
    /// The node that owns it; none while nobody does.
    pub(crate) owner: Option<String>,
    pub(crate) epoch: i64,
    pub(crate) batch: u64,
    pub(crate) position: u64,
    pub(crate) heir: Option<String>,
    /// How long ago it was taken.
    pub(crate) taken: Option<Duration>,
    pub(crate) nodes: Vec<NodeRow>,
}

/// A node that takes part in a realm, for people.
#[derive(Clone, Debug)]
pub(crate) struct NodeRow {
    pub(crate) node: String,
    pub(crate) address: String,
    /// The last batch that it holds.
    pub(crate) batch: u64,
    /// How long ago it was heard of.
    pub(crate) heard: Duration,
}

/// All realms, each with its nodes.
pub(crate) fn survey(cluster: &Cluster) -> Result<Vec<RealmRow>, ClusterError> {
    let mut connection = cluster.connect().map_err(|fault| cluster.named(fault))?;
    check_tables(cluster, &mut connection)?;
    let mut read = || {
        let mut realms = connection.ask(REALMS, &[])?.rows.iter().map(realm_row).collect::<Result<Vec<_>, _>>()?;
        for row in &connection.ask(NODES, &[])?.rows {
            let (realm, node) = (row.text(0)?, node_row(row)?);
            realms.iter_mut().filter(|other| other.name == realm).for_each(|realm| realm.nodes.push(node.clone()));
        }
        Ok(realms)
    };
    read().map_err(|fault| cluster.named(fault))
}

fn realm_row(row: &SqlRow) -> Result<RealmRow, PostgresFault> {
    let taken = row.optional_bytes(6)?.map(|_| row.number(6)).transpose()?;
    Ok(RealmRow {
        name: row.text(0)?,
        owner: row.optional_text(1)?,
        epoch: row.number(2)?,
        batch: row.count(3)?,
        position: row.count(4)?,
        heir: row.optional_text(5)?,
        taken: taken.map(since),
        nodes: Vec::new(),
    })
}

fn node_row(row: &SqlRow) -> Result<NodeRow, PostgresFault> {
    Ok(NodeRow { node: row.text(1)?, address: row.text(2)?, batch: row.count(3)?, heard: since(row.number(4)?) })
}

/// Milliseconds by the server's clock, which may be set back.
fn since(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// Asks the owner of a realm to hand it over to another node. Whether there is an owner, and another one.
pub(crate) fn move_to(cluster: &Cluster, realm: &RealmName, node: &str) -> Result<bool, ClusterError> {
    let moved = cluster
        .connect()
        .and_then(|mut connection| connection.ask(MOVE, &[SqlValue::Text(realm.as_str()), SqlValue::Text(node)]));
    moved.map(|answer| answer.affected == 1).map_err(|fault| cluster.named(fault))
}

/// The owner gives the realm up, in favour of `heir` if that is a node.
pub(crate) fn release(cluster: &Cluster, node: &Node, heir: Option<&str>) -> Result<(), ClusterError> {
    let heir = heir.map_or(SqlValue::NoText, SqlValue::Text);
    let given_up = cluster.connect().and_then(|mut connection| {
        connection.ask(RELEASE, &[SqlValue::Text(node.realm.as_str()), SqlValue::Uuid(&node.id.instance), heir])
    });
    given_up.map(drop).map_err(|fault| cluster.named(fault))
}

/// The process of this node with that instance is gone: nobody has to wait until it is known to be silent.
pub(crate) fn bury(cluster: &Cluster, node: &Node, instance: &[u8; 16]) -> Result<(), ClusterError> {
    let values = [SqlValue::Text(node.realm.as_str()), SqlValue::Text(&node.id.name), SqlValue::Uuid(instance)];
    let buried = cluster.connect().and_then(|mut connection| connection.ask(GONE, &values));
    buried.map(drop).map_err(|fault| cluster.named(fault))
}
