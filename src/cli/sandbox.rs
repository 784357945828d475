//! The sandbox in which a command executes a history again.

use std::path::Path;

use super::Failure;
use super::config::refused;
use crate::config::Settings;
use crate::guest::{GuestEngine, code_cache_within};

/// The sandbox, with the code cache that the settings name. If they name none, a data directory has one of its own.
pub(super) fn engine(dir: Option<&Path>) -> Result<GuestEngine, Failure> {
    let settings = Settings::of_environment(None, &[]).map_err(refused)?;
    let cache = settings.code_cache().or_else(|| dir.map(code_cache_within));
    GuestEngine::new(cache.as_deref()).map_err(Failure::no)
}
