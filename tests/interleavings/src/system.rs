//! The files that are tried, and those that they use as they are.

#[path = "../../../src/system/answer.rs"]
pub mod answer;
#[path = "../../../src/system/delivery.rs"]
pub mod delivery;
#[path = "../../../src/system/mailbox.rs"]
pub mod mailbox;
#[path = "../../../src/system/refusal.rs"]
pub mod refusal;
#[path = "../../../src/system/reply.rs"]
pub mod reply;
#[path = "../../../src/system/signal.rs"]
pub mod signal;

pub mod failure {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ActorFailure;
}

/// A request with an idempotency key, which the files only hand on.
pub mod keyed {
    #[derive(Debug)]
    pub struct KeyedRequest;

    impl KeyedRequest {
        pub fn key(&self) -> &str {
            ""
        }

        pub fn delivered(self) -> Self {
            self
        }
    }
}

pub mod waits {
    #[derive(Clone, Copy, Debug)]
    pub struct WaitId;
}
