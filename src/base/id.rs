//! Identities of actors, incarnations and subscriptions. Each is a type of its own, so that one cannot be passed where
//! another is meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Names one actor for as long as its history is kept: it survives restarts and recovery.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActorId(Uuid);

impl ActorId {
    /// A new random identity, for an actor that no actor spawned.
    pub(crate) fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The identity with these bytes.
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Its 16 bytes.
    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// An identity that no actor has, for where a value is needed and no actor is meant.
    pub(crate) fn of_nobody() -> Self {
        Self(Uuid::nil())
    }

    /// The identity of the child that `parent` spawns by its event `intent`.
    ///
    /// It is computed from the event and not drawn at random. So a spawn that a crash has interrupted finds the same child again,
    /// and replay gives the guest the same answer.
    pub(crate) fn of_child(parent: ActorId, intent: u64) -> Self {
        Self(Uuid::new_v5(&parent.0, &intent.to_be_bytes()))
    }
}

impl FromStr for ActorId {
    type Err = NotAnActorId;

    /// Accepts only the hyphenated lower-case form that `Display` writes: one identity has one spelling.
    fn from_str(text: &str) -> Result<Self, NotAnActorId> {
        let refused = || NotAnActorId(text.chars().take(64).collect());
        let id = Self(Uuid::try_parse(text).map_err(|_| refused())?);
        if id.to_string() == text { Ok(id) } else { Err(refused()) }
    }
}

impl fmt::Display for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The text is not an actor's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an actor id: \"{0}\" (expected a UUID such as 67e55044-10b1-426f-9247-bb680e5fe0c8)")]
pub struct NotAnActorId(String);

/// One run of an actor between two starts, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub(crate) u64);

impl Incarnation {
    pub(crate) const FIRST: Self = Self(1);

    /// The number, from 1 on.
    pub const fn number(self) -> u64 {
        self.0
    }

    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Names one subscription of one management connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SubscriptionId(Uuid);

impl SubscriptionId {
    pub(crate) fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_id_has_exactly_one_spelling() {
        let id = ActorId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(
            id.to_string().to_uppercase().parse::<ActorId>().is_err()
                || id.to_string().to_uppercase() == id.to_string()
        );
        assert!("{67e55044-10b1-426f-9247-bb680e5fe0c8}".parse::<ActorId>().is_err());
        assert!("".parse::<ActorId>().is_err());
    }

    #[test]
    fn a_childs_id_depends_only_on_its_parent_and_the_intent() {
        let parent = ActorId::random();
        assert_eq!(ActorId::of_child(parent, 7), ActorId::of_child(parent, 7));
        assert_ne!(ActorId::of_child(parent, 7), ActorId::of_child(parent, 8));
        assert_ne!(ActorId::of_child(parent, 7), ActorId::of_child(ActorId::random(), 7));
    }
}
