//! Labels and addresses of actors: `ledger/alice` is the child `alice` of the root actor `ledger`.
//!
//! ```text
//!   address = root-name *( "/" label )
//! ```
//!
//! A parent gives a label when it spawns a child; the label stands on the child's chain (`started`). The registry knows which
//! actor has which label, and which actor an address stands for now.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::base::id::ActorId;
use crate::base::limits::{ADDRESS_BYTES, LABEL_BYTES};

/// The name that an actor has among its siblings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Label(Arc<str>);

impl Label {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Label {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that cannot be a label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no label: a label is 1 to {LABEL_BYTES} ASCII letters, digits and characters of \"-_.~@:+\", other than \".\" and \"..\""
)]
pub(crate) struct NotALabel(String);

impl FromStr for Label {
    type Err = NotALabel;

    fn from_str(text: &str) -> Result<Self, NotALabel> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~@:+".contains(&byte);
        // "." and ".." would mean something else in the path of a URL.
        let is_label = (1..=LABEL_BYTES).contains(&text.len()) && text.bytes().all(fits) && text != "." && text != "..";
        if is_label { Ok(Self(text.into())) } else { Err(NotALabel(text.chars().take(LABEL_BYTES).collect())) }
    }
}

/// Why an address stands for no actor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoSuchAddress {
    /// The text is neither a UUID nor a path of labels.
    #[error(
        "not an address: \"{0}\" (expected a UUID such as 67e55044-10b1-426f-9247-bb680e5fe0c8, the name of a root actor, or \
         name/label)"
    )]
    Malformed(String),
    /// It begins as the address of an actor in a realm.
    #[error("\"{0}\" names a realm: this runtime has no realms")]
    Realm(String),
    /// Nobody has this address.
    #[error("no actor has the address \"{0}\"")]
    Nobody(String),
    /// Several root actors have the name: they were started before names had to be unique.
    #[error("{1} running root actors are called \"{0}\": address them by their ids")]
    Several(String, usize),
}

/// An address as a text gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ActorAddress<'a> {
    Id(ActorId),
    /// The name of a root actor, and the labels that lead down from it.
    Path(&'a str),
}

impl<'a> ActorAddress<'a> {
    pub(crate) fn read(text: &'a str) -> Result<Self, NoSuchAddress> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        let shown = || text.chars().take(64).collect();
        if text.starts_with("//") {
            return Err(NoSuchAddress::Realm(shown()));
        }
        let is_path = text.len() <= ADDRESS_BYTES && text.split('/').all(|part| !part.trim().is_empty());
        if is_path && !text.contains(char::is_control) {
            Ok(Self::Path(text))
        } else {
            Err(NoSuchAddress::Malformed(shown()))
        }
    }
}

/// Whether a root actor of this name can be addressed by it.
pub(crate) fn is_addressable(name: &str) -> bool {
    matches!(ActorAddress::read(name), Ok(ActorAddress::Path(path)) if !path.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_a_word_that_can_stand_in_an_address() {
        for label in ["alice", "a", "Order-17", "alice@example.com", "a:b+c~d_e.f", &"x".repeat(LABEL_BYTES)] {
            assert_eq!(label.parse::<Label>().expect("a label").as_str(), label);
        }
        for text in ["", ".", "..", "a/b", "a b", "é", "a\n", "a\0", &"x".repeat(LABEL_BYTES + 1)] {
            assert!(text.parse::<Label>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_name_with_a_slash_or_one_that_looks_like_an_id_is_no_address() {
        assert!(["ledger", "my shop", "é"].into_iter().all(is_addressable));
        let id = ActorId::random().to_string();
        assert!(!["orders/bob", "//realm/x", "/", " ", &id].into_iter().any(is_addressable));
    }

    #[test]
    fn an_address_is_an_id_or_a_path_from_a_root() {
        let id = ActorId::random();
        assert_eq!(ActorAddress::read(&id.to_string()), Ok(ActorAddress::Id(id)));
        for path in ["ledger", "ledger/alice", "my shop/cart:1/line+2"] {
            assert_eq!(ActorAddress::read(path), Ok(ActorAddress::Path(path)));
        }
        assert!(matches!(ActorAddress::read("//bank/alice"), Err(NoSuchAddress::Realm(_))));
        for text in ["", "/", "/a", "a/", "a//b", "a/ /b", "a\nb", &"a/".repeat(ADDRESS_BYTES)] {
            assert!(matches!(ActorAddress::read(text), Err(NoSuchAddress::Malformed(_))), "{text:?}");
        }
    }
}
