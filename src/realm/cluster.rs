//! The PostgreSQL servers that keep the realms, and connections to the one that takes writes.

use std::fmt;
use std::time::Duration;

use super::statements::{LIGHT, PROMISE};
use crate::journal::JournalError;
use crate::net::postgres::{Connection, PostgresFault, PostgresUrl};

/// How long one statement or one attempt to connect may take before its connection is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the realms are kept, and how to get there. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Cluster {
    url: PostgresUrl,
    password: Option<String>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster({})", self.url)
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

/// What hinders a node or a command from its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    #[error("{cluster}: {fault}")]
    Server { cluster: String, fault: PostgresFault },
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl ClusterError {
    /// Whether it may go away by itself: servers restart, and standbys take over.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Server { fault, .. } => !matches!(fault, PostgresFault::Login(_)),
            Self::Refused(_) | Self::Journal(_) => false,
        }
    }
}

impl Cluster {
    pub(crate) fn new(url: PostgresUrl, password: Option<String>) -> Self {
        Self { url, password }
    }

    /// Connects to the server that takes writes. What is committed over the connection is as safe as the servers make it.
    pub(super) fn connect(&self) -> Result<Connection, PostgresFault> {
        let mut connection = Connection::to_primary(&self.url, self.password.as_deref(), PATIENCE)?;
        connection.ask(PROMISE, &[])?;
        Ok(connection)
    }

    /// The same for what may be lost: beats, for instance.
    pub(super) fn connect_lightly(&self) -> Result<Connection, PostgresFault> {
        let mut connection = Connection::to_primary(&self.url, self.password.as_deref(), PATIENCE)?;
        connection.run(LIGHT)?;
        Ok(connection)
    }

    /// Says which servers a fault is about.
    pub(super) fn named(&self, fault: PostgresFault) -> ClusterError {
        ClusterError::Server { cluster: self.to_string(), fault }
    }
}
