//! Restart policies of a manifest: how an actor is restarted, and how its children are. The words are those of OTP.

use std::time::Duration;

use serde::Deserialize;

/// When the supervisor restarts an actor by itself, as in OTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RestartPolicy {
    /// Never; the parent decides.
    #[default]
    Temporary,
    /// After a failure.
    Transient,
    /// After any end.
    Permanent,
}

impl RestartPolicy {
    /// The word of the manifest.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Temporary => "temporary",
            Self::Transient => "transient",
            Self::Permanent => "permanent",
        }
    }
}

/// The state that a restarted actor begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RestartState {
    /// The newest state; `init` is not run.
    #[default]
    Last,
    /// The state of its first start; `init` is run.
    Initial,
}

impl RestartState {
    /// The word of the manifest.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Initial => "initial",
        }
    }
}

/// Which siblings are restarted together with a failed child, as in OTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Strategy {
    #[default]
    OneForOne,
    OneForAll,
    RestForOne,
}

impl Strategy {
    /// The word of the manifest.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::OneForOne => "one-for-one",
            Self::OneForAll => "one-for-all",
            Self::RestForOne => "rest-for-one",
        }
    }
}

/// The restart settings of an actor, and of its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Supervision {
    pub(crate) restart: RestartPolicy,
    pub(crate) restart_state: RestartState,
    /// The wait before the first restart; doubled for each further restart within `within`.
    pub(crate) backoff: Duration,
    pub(crate) strategy: Strategy,
    /// How many restarts of its children are allowed within `within`; with one more, the actor itself fails.
    pub(crate) max_restarts: u32,
    pub(crate) within: Duration,
}
