//! Proofs through a handle: the path from an event to the root of a signed checkpoint.

use crate::base::id::ActorId;
use crate::proofs::{InclusionPath, NotProved};
use crate::system::TheaterHandle;

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoProof {
    #[error("this runtime signs no checkpoints: set proofs.key_file in theater.toml (theater key new FILE)")]
    NotSigning,
    #[error("no such actor: {0}")]
    NoSuchActor(ActorId),
    #[error("event {0} is not on the chain of the actor")]
    NoSuchEvent(u64),
    #[error("the checkpoint that covers the event waits for the cosignatures of witnesses: try again in a second")]
    NotWitnessed,
    #[error(transparent)]
    Not(#[from] NotProved),
}

impl TheaterHandle {
    /// The index of an event in the tree, its path to the root of a checkpoint, and the checkpoint, in base64 and as a note. If no
    /// checkpoint covers the event yet, one is signed.
    pub(crate) fn prove(&self, actor: ActorId, sequence: u64) -> Result<(u64, Vec<String>, String), NoProof> {
        let proofs = self.proofs.get().ok_or(NoProof::NotSigning)?;
        let key = self.key(actor).ok_or(NoProof::NoSuchActor(actor))?;
        let placed = proofs.event(key, sequence)?.ok_or(NoProof::NoSuchEvent(sequence))?;
        let proved = match proofs.path_of(&placed) {
            Err(NotProved::NotYet) => {
                proofs.sign_now()?;
                proofs.path_of(&placed)
            }
            proved => proved,
        };
        let InclusionPath { index, hashes, note } = proved.map_err(|why| match why {
            NotProved::NotYet => NoProof::NotWitnessed,
            other => NoProof::Not(other),
        })?;
        Ok((index, hashes.iter().map(ToString::to_string).collect(), note.to_string()))
    }
}
