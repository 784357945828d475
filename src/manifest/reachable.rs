//! Whose messages an actor takes: the key `reachable` of a manifest.

use std::fmt;

use serde::Deserialize;
use serde::de::Error as _;

/// Who may send messages to an actor, and request answers of it. What comes from outside the runtime, and what the runtime
/// itself tells an actor, is no message of another actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reachable {
    pub(crate) parent: bool,
    pub(crate) siblings: bool,
    pub(crate) children: bool,
    pub(crate) any: bool,
}

impl Default for Reachable {
    fn default() -> Self {
        Self { any: true, ..Self::NONE }
    }
}

impl Reachable {
    const NONE: Self = Self { parent: false, siblings: false, children: false, any: false };

    /// Whether it takes the messages of every actor.
    pub(crate) fn by_any(&self) -> bool {
        self.any
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Parent,
    Siblings,
    Children,
    Any,
}

impl<'de> Deserialize<'de> for Reachable {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let words = Vec::<Word>::deserialize(from)?;
        if words.is_empty() {
            return Err(D::Error::custom(
                "nobody could send it a message: name at least one of parent, siblings, children, any",
            ));
        }
        let mut reachable = Self::NONE;
        for word in words {
            *match word {
                Word::Parent => &mut reachable.parent,
                Word::Siblings => &mut reachable.siblings,
                Word::Children => &mut reachable.children,
                Word::Any => &mut reachable.any,
            } = true;
        }
        Ok(reachable)
    }
}

/// As a manifest says it.
impl fmt::Display for Reachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { parent, siblings, children, any } = self;
        let all = [(parent, "parent"), (siblings, "siblings"), (children, "children"), (any, "any")];
        let words: Vec<String> = all.iter().filter(|(is, _)| **is).map(|(_, word)| format!("\"{word}\"")).collect();
        write!(f, "[{}]", words.join(", "))
    }
}
