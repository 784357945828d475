//! Signing checkpoints of a running theater, for an embedder. `theater run` does the same with what `[proofs]` says.

use std::sync::Arc;
use std::time::Duration;

use crate::proofs::{self, PrivateKey, ProofOptions, ProofThread, Proofs, is_key_name};
use crate::system::TheaterHandle;

/// Why no checkpoints are signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningError {
    /// The key is none; the text says why, and quotes nothing of it.
    #[error("{0}")]
    Key(String),
    /// A name has white space or `+` in it, or is empty.
    #[error("{0:?} cannot be the name of a key: it has no white space and no \"+\"")]
    Name(String),
    /// Checkpoints are signed already.
    #[error("checkpoints of this theater are signed already")]
    Already,
    /// What was signed before is not what the journal has, or the files cannot be used.
    #[error("{0}")]
    Tree(String),
    /// The thread that signs has ended, or has signed nothing in time.
    #[error("{0}")]
    NotSigned(String),
}

/// Signs checkpoints of a theater, at most one a second, until it is ended. `docs/proofs.md` says what they prove.
pub struct CheckpointSigner {
    proofs: Arc<Proofs>,
    thread: ProofThread,
}

/// A new private key as text, which is secret. Its name is that of the log whose checkpoints it signs.
///
/// # Errors
///
/// [`SigningError::Name`], or [`SigningError::Key`] if the system has no randomness.
pub fn new_signing_key(name: &str) -> Result<String, SigningError> {
    if !is_key_name(name) {
        return Err(SigningError::Name(name.to_owned()));
    }
    PrivateKey::generate(name).map(|key| key.text()).map_err(|error| SigningError::Key(error.to_string()))
}

impl TheaterHandle {
    /// Signs checkpoints from now on, with a private key in the form of `theater key new`. What was signed before is compared with
    /// the journal first.
    ///
    /// # Errors
    ///
    /// [`SigningError`]; nothing is signed then.
    pub fn sign_checkpoints(&self, private_key: &str) -> Result<CheckpointSigner, SigningError> {
        let key = PrivateKey::parse(private_key.trim()).map_err(|error| SigningError::Key(error.to_string()))?;
        if self.proofs.get().is_some() {
            return Err(SigningError::Already);
        }
        let origin = key.name().to_owned();
        let interval = Duration::from_secs(1);
        let options = ProofOptions { key, origin, interval, witnesses: Vec::new(), quorum: 0 };
        let (proofs, thread) = proofs::start(&self.journal, options).map_err(SigningError::Tree)?;
        if self.proofs.set(Arc::clone(&proofs)).is_err() {
            thread.end();
            return Err(SigningError::Already);
        }
        Ok(CheckpointSigner { proofs, thread })
    }
}

impl CheckpointSigner {
    /// The newest checkpoint, as a signed note; none before the first.
    pub fn checkpoint(&self) -> Option<String> {
        self.proofs.newest().map(|signed| signed.note.to_string())
    }

    /// How many events the newest checkpoint covers.
    pub fn covered(&self) -> u64 {
        self.proofs.newest().map_or(0, |signed| signed.checkpoint.size)
    }

    /// Signs everything that is recorded now, and waits for that.
    ///
    /// # Errors
    ///
    /// [`SigningError::NotSigned`].
    pub fn sign_now(&self) -> Result<(), SigningError> {
        self.proofs.sign_now().map_err(|why| SigningError::NotSigned(why.to_string()))
    }

    /// Signs what is committed, and ends. Call it before the theater is shut down.
    pub fn end(self) {
        self.thread.end();
    }
}
