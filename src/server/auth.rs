//! Authentication and authorisation: tokens, roles, and which role each command needs.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::protocol::Request;
use super::read_at_most;
use crate::base::limits::{TOKEN_BYTES, TOKEN_FILE_BYTES, WRONG_TOKEN_LINES_PER_SECOND};

/// What a client may do. Each role may do what the one before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// It may do nothing, because it has not authenticated.
    Nobody,
    /// It may see everything and change nothing.
    Read,
    /// It may do everything.
    Control,
}

impl Role {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Read => "read",
            Self::Control => "control",
        }
    }
}

/// A secret. It is kept as its digest, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Why a token cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It is so short that it could be guessed.
    #[error("a token has at least {TOKEN_BYTES} bytes; draw one with: head -c 32 /dev/urandom | base64")]
    TooShort,
    /// The file of the token cannot be read.
    #[error("cannot read the token in {path}: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Token {
    /// The token `text`. White space around it is ignored.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.len() < TOKEN_BYTES { Err(TokenError::TooShort) } else { Ok(Self::of(text)) }
    }

    /// The token in a file.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let text = read_token(path)?;
        if let Some(doubt) = open_to_others(path) {
            log::warn!("the token in {} {doubt}", path.display());
        }
        Self::new(&text).map_err(|error| TokenError::File { path: path.to_owned(), why: error.to_string() })
    }

    fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Compares two tokens. This takes the same time for every token, because digests of one length are compared to
    /// their end.
    fn is(&self, given: &Self) -> bool {
        self.0.ct_eq(&given.0).into()
    }
}

/// Reads the text of a token from a file, for a client that sends it.
pub(crate) fn read_token(path: &Path) -> Result<String, TokenError> {
    read_secret(path).map_err(|why| TokenError::File { path: path.to_owned(), why })
}

/// Reads the text of a short file that is nobody else's to read, without the white space around it. The error does not name the
/// file.
pub(crate) fn read_secret(path: &Path) -> Result<String, String> {
    let text = String::from_utf8(read_at_most(TOKEN_FILE_BYTES, path)?).map_err(|_| "it is not UTF-8 text")?;
    Ok(text.trim().to_owned())
}

/// What is to be said of the file of a secret that others than its owner can read.
pub(crate) fn open_to_others(path: &Path) -> Option<&'static str> {
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    (mode & 0o077 != 0).then_some("can be read by others than its owner: chmod 600 it")
}

/// The tokens in force.
#[derive(Clone, Debug, Default)]
pub(super) struct Guard {
    pub(super) control: Option<Token>,
    pub(super) read: Option<Token>,
}

impl Guard {
    /// The role of a client that has not authenticated.
    pub(super) fn unasked(&self) -> Role {
        if self.control.is_none() && self.read.is_none() { Role::Control } else { Role::Nobody }
    }

    /// The role of a client that gives `text` as its token. It is always compared with both tokens.
    pub(super) fn role_of(&self, text: &str) -> Option<Role> {
        let given = Token::of(text.trim());
        let is = |token: &Option<Token>| token.as_ref().is_some_and(|token| token.is(&given));
        let (control, read) = (is(&self.control), is(&self.read));
        if control {
            Some(Role::Control)
        } else if read {
            Some(Role::Read)
        } else {
            None
        }
    }
}

/// Limits how many wrong tokens are logged in a second. So a client that guesses tokens on a thousand connections
/// cannot fill the disk with log lines.
#[derive(Default)]
pub(super) struct WrongTokens {
    /// The second in which they were counted last, and how many came in it.
    second: AtomicU64,
    count: AtomicU64,
}

impl WrongTokens {
    /// Counts a wrong token that came in this second. Returns whether it is to be logged, and how many before it were
    /// not logged. If two wrong tokens come at the same moment, one of them may be counted in the second before or
    /// after. Then one line more or one line less is logged.
    pub(super) fn came(&self, second: u64) -> (bool, u64) {
        let unsaid = if self.second.swap(second, Ordering::Relaxed) == second {
            0
        } else {
            self.count.swap(0, Ordering::Relaxed).saturating_sub(WRONG_TOKEN_LINES_PER_SECOND)
        };
        (self.count.fetch_add(1, Ordering::Relaxed) < WRONG_TOKEN_LINES_PER_SECOND, unsaid)
    }
}

impl Request {
    /// The role that a client needs for this command.
    pub(super) fn takes(&self) -> Role {
        match self {
            Self::Authenticate { .. } => Role::Nobody,
            Self::ListActors
            | Self::SubscribeToActor { .. }
            | Self::UnsubscribeFromActor { .. }
            | Self::Subscribe { .. }
            | Self::Unsubscribe { .. }
            | Self::ActorTree
            | Self::GetActors { .. }
            | Self::FindActor { .. }
            | Self::GetActorStatus { .. }
            | Self::GetActorMetrics { .. }
            | Self::GetMetrics { .. }
            | Self::ActorStatus { .. }
            | Self::DescribeActor { .. }
            | Self::GetActorState { .. }
            | Self::GetActorEvents { .. }
            | Self::GetComponent { .. }
            | Self::GetBlob { .. }
            | Self::GetStateBytes { .. }
            | Self::GetEventData { .. }
            | Self::GetKeptState { .. }
            | Self::GetRows { .. }
            | Self::GetRow { .. }
            | Self::CountRows { .. }
            | Self::GetDeadLetters { .. }
            | Self::ProveEvent { .. }
            | Self::ForeseePrune { .. }
            | Self::ForeseeRedaction { .. }
            | Self::Metrics
            | Self::Status => Role::Read,
            Self::StartActor { .. }
            | Self::StopActor { .. }
            | Self::RestartActor { .. }
            | Self::PauseActor { .. }
            | Self::ResumeActor { .. }
            | Self::ForkActor { .. }
            | Self::ForkChangedActor { .. }
            | Self::UpgradeActor { .. }
            | Self::DryRunUpgrade { .. }
            | Self::ForgetActor { .. }
            | Self::PruneActor { .. }
            | Self::RedactEvent { .. }
            | Self::SendDeadLetter { .. }
            | Self::SendMessage { .. }
            | Self::RequestMessage { .. }
            | Self::SendActorMessage { .. }
            | Self::RequestActorMessage { .. }
            | Self::Shutdown => Role::Control,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "0123456789abcdef";

    #[test]
    fn a_token_gives_its_role_and_nothing_else_does() {
        let guard = Guard { control: Token::new(LONG).ok(), read: Token::new("fedcba9876543210").ok() };
        assert_eq!(guard.unasked(), Role::Nobody);
        assert_eq!(guard.role_of(LONG), Some(Role::Control));
        assert_eq!(guard.role_of(" fedcba9876543210\n"), Some(Role::Read));
        for wrong in ["", "0123456789abcde", "0123456789abcdeg", "0123456789ABCDEF"] {
            assert_eq!(guard.role_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn without_tokens_nobody_is_asked() {
        let guard = Guard::default();
        assert_eq!((guard.unasked(), guard.role_of("")), (Role::Control, None));
    }

    #[test]
    fn only_so_many_wrong_tokens_are_logged_within_a_second_and_the_others_counted() {
        let wrong = WrongTokens::default();
        let logged = (0..50).filter(|_| wrong.came(7).0).count() as u64;
        assert_eq!(logged, WRONG_TOKEN_LINES_PER_SECOND);
        assert_eq!(wrong.came(8), (true, 50 - WRONG_TOKEN_LINES_PER_SECOND));
        assert_eq!(wrong.came(8), (true, 0));
        assert_eq!(wrong.came(9), (true, 0), "two are no reason to count");
    }

    #[test]
    fn a_token_is_long_and_is_never_shown() {
        assert!(matches!(Token::new("  short  "), Err(TokenError::TooShort)));
        let shown = format!("{:?}", Token::new(LONG).expect("long enough"));
        assert_eq!(shown, "Token(…)");
    }

    #[test]
    fn a_secret_that_others_can_read_is_told_of() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert_eq!(open_to_others(file.path()), None);
        for mode in [0o640, 0o604] {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).expect("its mode is set");
            assert!(open_to_others(file.path()).is_some_and(|doubt| doubt.contains("chmod 600")), "{mode:o}");
        }
    }
}
