//! What is promised when something is acknowledged.

/// What is promised when something is acknowledged to the outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing acknowledged is lost, by `kill -9` or by power loss: every commit is synced.
    #[default]
    Commit,
    /// `kill -9` loses nothing acknowledged; a power loss may lose the last moments, always leaving a consistent prefix.
    Relaxed,
}

impl Durability {
    /// The word for it in files and flags.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Relaxed => "relaxed",
        }
    }

    /// The durability called `word`.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Commit, Self::Relaxed].into_iter().find(|durability| durability.word() == word)
    }
}
