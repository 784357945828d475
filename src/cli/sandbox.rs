//! The sandbox in which a command executes a history again.

use std::path::Path;

use super::Failure;
use crate::guest::GuestEngine;

/// The sandbox. A data directory has a cache of the code that its runtime compiled; a chain file has none.
pub(super) fn engine(dir: Option<&Path>) -> Result<GuestEngine, Failure> {
    let cache = dir.map(|dir| dir.join("compiled"));
    GuestEngine::new(cache.as_deref()).map_err(Failure::no)
}
