//! Names of actors.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActorId(pub u8);

impl fmt::Display for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
