//! When a read is answered: the key `reads` of a manifest.

use serde::Deserialize;

/// When someone outside gets the answer to a request that has changed nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reads {
    /// After the commit of the request's own events, like any other answer.
    #[default]
    Commit,
    /// As soon as the state that it read is committed. The request's own events follow in a later commit.
    Early,
}
