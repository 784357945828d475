//! What all connections of one management server share.

use std::sync::Arc;

use parking_lot::Mutex;

use super::answer_charge::ManagementBudget;
use super::auth::{Guard, WrongTokens};
use crate::base::limits::ManagementLimits;
use crate::base::seldom::Seldom;
use crate::net::ServerCertificate;
use crate::system::TheaterHandle;

/// What the threads of one management server share.
pub(super) struct ManagementShared {
    pub(super) theater: TheaterHandle,
    pub(super) guard: Guard,
    pub(super) wrong_tokens: WrongTokens,
    /// Limits how often the log says that the system gives no more threads.
    pub(super) shortages: Mutex<Seldom>,
    pub(super) tls: Option<Arc<ServerCertificate>>,
    pub(super) limits: ManagementLimits,
    /// How many bytes of answers all connections have under way.
    pub(super) answers: Arc<ManagementBudget>,
}
