//! What realms and nodes are called.

use std::fmt;
use std::str::FromStr;

/// The longest name of a realm or a node, in bytes.
const NAME_BYTES: usize = 32;

/// The name of a realm: 1 to 32 lower-case letters, digits and hyphens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RealmName(String);

impl RealmName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RealmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RealmName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let begins_with_a_hyphen = text.starts_with('-');
        if text.is_empty() || text.len() > NAME_BYTES || !text.bytes().all(is_name) || begins_with_a_hyphen {
            let form = format!("1 to {NAME_BYTES} lower-case letters, digits and hyphens, the first no hyphen");
            return Err(format!("the name of a realm has {form}; it is {text:?}"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// One process that takes part in a realm.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) realm: RealmName,
    pub(crate) id: NodeId,
    /// Where the management server of this node listens once it owns the realm; for people.
    pub(crate) address: String,
}

/// A node's name, which operators choose, and what tells its process from those before it.
#[derive(Clone, Debug)]
pub(crate) struct NodeId {
    pub(crate) name: String,
    pub(crate) instance: [u8; 16],
}

impl NodeId {
    /// A new process of the node of this name.
    pub(crate) fn new(name: &str) -> Result<Self, String> {
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_name) {
            let form = "1 to 64 letters, digits, hyphens, dots and underscores";
            return Err(format!("the name of a node has {form}; it is {name:?}: give another with --node"));
        }
        Ok(Self { name: name.to_owned(), instance: *uuid::Uuid::new_v4().as_bytes() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert_eq!("bank-2".parse::<RealmName>().map(|name| name.to_string()), Ok("bank-2".into()));
        for wrong in ["", "-x", "Bank", "a/b", &"x".repeat(33), "bänk"] {
            assert!(wrong.parse::<RealmName>().is_err(), "{wrong}");
        }
        assert!(NodeId::new("db-1.example.org").is_ok());
        assert!(NodeId::new("a b").is_err() && NodeId::new("").is_err());
    }
}
