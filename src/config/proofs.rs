//! `[proofs]` of `theater.toml`: the key that signs checkpoints, the name of the log, how often, and who cosigns.

use std::path::PathBuf;
use std::time::Duration;

use super::{ConfigError, InForce, Origin, Settings};

/// Where the private key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyPlace {
    File(PathBuf),
    /// A file descriptor that the process was started with.
    Descriptor(u64),
    /// The name of a secret in `[secrets]`.
    Secret(String),
}

/// What is signed, and how.
#[derive(Clone, Debug)]
pub(crate) struct ProofSettings {
    pub(crate) key: KeyPlace,
    /// The name of the log; that of the key, if none is set.
    pub(crate) origin: Option<String>,
    pub(crate) interval: Duration,
    /// A file that names witnesses.
    pub(crate) witnesses: Option<PathBuf>,
    pub(crate) quorum: usize,
}

const SECTION: &str = "proofs.";

impl Settings {
    /// The checkpoints that are to be signed, if any are.
    pub(crate) fn proofs(&self) -> Result<Option<ProofSettings>, ConfigError> {
        let places = [
            self.path("proofs.key_file").map(KeyPlace::File),
            self.value("proofs.key_fd").map(KeyPlace::Descriptor),
            self.value("proofs.key_secret").map(KeyPlace::Secret),
        ];
        let mut places = places.into_iter().flatten();
        let Some(key) = places.next() else {
            self.check_without_a_key()?;
            return Ok(None);
        };
        if places.next().is_some() {
            let why =
                "a key has one place: set one of \"proofs.key_file\", \"proofs.key_fd\" and \"proofs.key_secret\"";
            return Err(ConfigError::Together(why.into()));
        }
        let witnesses = self.path("proofs.witnesses");
        let quorum: Option<u64> = self.value("proofs.quorum");
        if quorum.is_some() && witnesses.is_none() {
            let why = "\"proofs.quorum\" says how many witnesses are needed, and nothing says who they are: set \
                       \"proofs.witnesses\" too";
            return Err(ConfigError::Together(why.into()));
        }
        let quorum = quorum.unwrap_or(u64::from(witnesses.is_some()));
        Ok(Some(ProofSettings {
            key,
            origin: self.value("proofs.origin"),
            interval: Duration::from_millis(self.number("proofs.interval_ms")),
            witnesses,
            quorum: usize::try_from(quorum).unwrap_or(usize::MAX),
        }))
    }

    /// Refuses settings of proofs where there is no key to sign with.
    fn check_without_a_key(&self) -> Result<(), ConfigError> {
        let is_set =
            |it: &&InForce| it.setting.key.starts_with(SECTION) && it.origin != Origin::Default && it.value.is_some();
        match self.in_force.iter().find(is_set) {
            Some(InForce { setting, origin, .. }) => {
                let why = format!(
                    "\"{}\" is set, and there is no key to sign with: set \"proofs.key_file\" too (theater key new FILE), or \
                     leave this one out",
                    setting.key
                );
                Err(ConfigError::Value { origin: origin.clone(), why })
            }
            None => Ok(()),
        }
    }
}
