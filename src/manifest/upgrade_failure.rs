//! What follows a failure of the first call after an upgrade: the key `on_upgrade_failure` of a manifest.

use serde::Deserialize;

/// What follows if a call fails before any has returned under a new build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum UpgradeFailure {
    /// What follows any failure: the restart policy decides, and the new build stays.
    #[default]
    Restart,
    /// The actor goes on with the old build and the old state.
    Rollback,
}
