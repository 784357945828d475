//! What a service manager (systemd) and a runtime tell each other: sockets that the manager has opened, and when the runtime
//! is ready and when it ends. Without a service manager nothing of this does anything.

use sd_notify::NotifyState;

use super::Failure;
use crate::net;

/// Takes over the listening sockets that the service manager has opened (socket activation).
pub(super) fn begin() -> Result<(), Failure> {
    for address in net::inherit().map_err(Failure::no)? {
        log::info!("clients that connect to {address} have been let in by the service manager");
    }
    Ok(())
}

/// The runtime takes work: a unit of `Type=notify` counts as started, and units that come after it may start.
pub(super) fn ready() {
    for address in net::unused_addresses() {
        log::warn!(
            "nothing listens on {address}, which the service manager has opened: its clients wait until an actor or a listener \
             has exactly this address"
        );
    }
    tell(NotifyState::Ready);
}

/// The runtime is ending.
pub(super) fn stopping() {
    tell(NotifyState::Stopping);
}

/// That the service manager cannot be told is no reason to end: it may be gone.
fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        log::warn!("the service manager cannot be told about this runtime: {error}");
    }
}
