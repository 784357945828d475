//! How an actor is restarted, and how it has its children restarted: the words are OTP's.

use std::time::Duration;

use serde::Deserialize;

/// When the supervisor starts a child again by itself. As in OTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RestartPolicy {
    /// Never: its parent decides.
    #[default]
    Temporary,
    /// After a failure.
    Transient,
    /// After any end.
    Permanent,
}

/// What a restarted actor begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RestartState {
    /// The newest state; `init` is not run.
    #[default]
    Last,
    /// The state of its first start; `init` is run.
    Initial,
}

/// Who is restarted beside a child that failed. As in OTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Strategy {
    #[default]
    OneForOne,
    OneForAll,
    RestForOne,
}

/// How an actor is restarted, and how it has its children restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Supervision {
    pub(crate) restart: RestartPolicy,
    pub(crate) restart_state: RestartState,
    /// Before the first restart; doubled for each further one within `within`.
    pub(crate) backoff: Duration,
    pub(crate) strategy: Strategy,
    /// Of its children, within `within`; one more and the actor itself fails.
    pub(crate) max_restarts: u32,
    pub(crate) within: Duration,
}
