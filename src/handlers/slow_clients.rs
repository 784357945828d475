//! What becomes of a client that reads too slowly what is pushed to it: the key `slow` of `websocket-server` and of
//! `http-server`.

use std::sync::Arc;

use serde::Deserialize;

use crate::net::ClientQueue;

/// What `slow` can be.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SlowClients {
    /// The client is disconnected.
    #[default]
    Close,
    /// The client does not get what has no room.
    Drop,
}

impl SlowClients {
    /// Ends the connections of `full`, if that is what is done.
    pub(super) fn settle(self, full: &[Arc<ClientQueue>]) {
        match self {
            Self::Close => full.iter().for_each(|queue| queue.cut()),
            Self::Drop => {}
        }
    }
}
