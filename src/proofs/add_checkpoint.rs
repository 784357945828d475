//! The body of `POST /add-checkpoint` (C2SP `tlog-witness`): the size that the witness knows, the consistency proof from there, and
//! the checkpoint.

use std::fmt;

use super::checkpoint::number;
use super::note::SignedNote;
use super::tree::TreeHash;

/// A proof has at most so many hashes.
const MOST_HASHES: usize = 63;

/// What a witness is asked to cosign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddCheckpoint {
    /// The size of the tree that the witness has cosigned last; 0 if it has cosigned none.
    pub(crate) old: u64,
    pub(crate) proof: Vec<TreeHash>,
    pub(crate) note: SignedNote,
}

impl AddCheckpoint {
    pub(crate) fn parse(body: &str) -> Result<Self, String> {
        let (head, note) = body.split_once("\n\n").ok_or("it has no checkpoint behind a blank line")?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| number(line.strip_prefix("old ")?));
        let old = old.ok_or("it does not begin with \"old SIZE\"")?;
        let proof =
            lines.map(TreeHash::parse).collect::<Option<Vec<_>>>().ok_or("a hash is not the base64 of 32 bytes")?;
        if proof.len() > MOST_HASHES {
            return Err("it has more than 63 hashes".into());
        }
        Ok(Self { old, proof, note: SignedNote::parse(note).map_err(|error| error.to_string())? })
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.note)
    }
}
