//! The settings of a cluster: where realms are kept, and what this node has to do with one.

use std::path::Path;
use std::time::Duration;

use super::{ConfigError, InForce, Origin, Settings};
use crate::base::machine;
use crate::net::postgres::PostgresUrl;
use crate::realm::{Cluster, NodeId, RealmName};
use crate::server::{open_to_others, read_secret};

/// A cluster, and the realm that is meant, if one is named.
#[derive(Clone, Debug)]
pub(crate) struct ClusterOptions {
    pub(crate) cluster: Cluster,
    pub(crate) realm: Option<RealmName>,
}

/// What a node has to know to take part in a realm.
#[derive(Clone, Debug)]
pub(crate) struct RealmOptions {
    pub(crate) cluster: Cluster,
    pub(crate) realm: RealmName,
    pub(crate) node: NodeId,
    /// What is to be said of the file of the password.
    pub(crate) doubt: Option<String>,
    pub(crate) lease: Duration,
    /// A server without a synchronous standby is accepted.
    pub(crate) is_one_server_enough: bool,
}

impl Settings {
    /// The cluster, if one is named.
    pub(crate) fn cluster(&self) -> Result<Option<ClusterOptions>, ConfigError> {
        let Some(url) = &self.get("cluster.url").value else {
            return self.check_without_a_cluster().map(|()| None);
        };
        let url = PostgresUrl::parse(url).expect("it was checked");
        let password = match self.secret("cluster.password", "cluster.password_file") {
            Some(password) => Some(password),
            None => self.path("cluster.password_file").map(|path| self.password_in(&path)).transpose()?,
        };
        let InForce { value, origin, .. } = self.get("cluster.realm");
        let wrong = |why| ConfigError::Value { origin: origin.clone(), why };
        let realm = value.as_deref().map(str::parse::<RealmName>).transpose().map_err(wrong)?;
        Ok(Some(ClusterOptions { cluster: Cluster::new(url, password), realm }))
    }

    fn password_in(&self, path: &Path) -> Result<String, ConfigError> {
        let origin = self.get("cluster.password_file").origin.clone();
        let wrong = |why| format!("cannot read the password in {}: {why}", path.display());
        read_secret(path).map_err(|why| ConfigError::Value { origin, why: wrong(why) })
    }

    /// The realm that this node takes part in, if it takes part in one.
    pub(crate) fn realm(&self) -> Result<Option<RealmOptions>, ConfigError> {
        let Some(ClusterOptions { cluster, realm }) = self.cluster()? else { return Ok(None) };
        let which = "a node of a cluster takes part in a realm: name it with --realm";
        let realm = realm.ok_or_else(|| ConfigError::Together(which.into()))?;
        let InForce { value, origin, .. } = self.get("cluster.node");
        let name = value.clone().unwrap_or_else(machine::host_name);
        let node = NodeId::new(&name).map_err(|why| ConfigError::Value { origin: origin.clone(), why })?;
        Ok(Some(RealmOptions {
            cluster,
            realm,
            node,
            doubt: self.path("cluster.password_file").and_then(|path| {
                let doubt = open_to_others(&path)?;
                Some(format!("the password in {} {doubt}", path.display()))
            }),
            lease: Duration::from_millis(self.number("cluster.lease_ms")),
            is_one_server_enough: self.value("cluster.single_server").expect("it has a default"),
        }))
    }

    /// Refuses settings of a cluster where none is named.
    fn check_without_a_cluster(&self) -> Result<(), ConfigError> {
        if self.get("cluster.url").origin != Origin::Default {
            return Ok(());
        }
        let is_set =
            |in_force: &&InForce| in_force.setting.key.starts_with("cluster.") && in_force.origin != Origin::Default;
        match self.in_force.iter().find(is_set) {
            None => Ok(()),
            Some(InForce { setting, origin, .. }) => {
                let why = format!(
                    "\"{}\" is set, and nothing says which cluster: set \"cluster.url\" too, such as \
                     postgres://theater@db1,db2/theater, or leave this one out",
                    setting.key
                );
                Err(ConfigError::Value { origin: origin.clone(), why })
            }
        }
    }
}
