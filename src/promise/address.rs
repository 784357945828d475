//! Which actor an address among the parameters of a host call stood for.

use crate::base::id::ActorId;

/// The actor that an address stood for: the one that was recorded, or the one whose id it is.
pub(super) fn stood_for(recorded: Option<ActorId>, address: &str) -> Option<ActorId> {
    recorded.or_else(|| address.parse().ok())
}
