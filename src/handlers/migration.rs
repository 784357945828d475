//! The handler `migration`, which every actor has: after an upgrade, the new build turns the old state into one of its own.

use super::Grant;
use crate::chain::MIGRATE;
use crate::guest::{Capability, Export, GuestExport, StateOnly};
use crate::manifest::{HandlerEntry, ManifestError};

pub(super) const NAME: &str = "migration";
pub(super) const IMPORTS: &[&str] = &[];

struct Migration;

/// The handler has no settings.
#[derive(serde::Deserialize)]
struct Config {}

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Grant>, ManifestError> {
    if let Some(entry) = entry {
        let Config {} = entry.config(&[])?;
    }
    Ok(Box::new(Migration))
}

impl Grant for Migration {}

impl Capability for Migration {
    fn name(&self) -> &'static str {
        NAME
    }

    fn exports(&self) -> Vec<Box<dyn GuestExport>> {
        vec![Box::new(Export::<(String,), StateOnly>::new(MIGRATE))]
    }

    fn exports_are_optional(&self) -> bool {
        true
    }
}
