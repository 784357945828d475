//! What a witness remembers: of each log the last checkpoint that it has cosigned. It is on disk before the cosignature leaves, so
//! a witness that starts again cosigns no other history.

use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::add_checkpoint::AddCheckpoint;
use super::checkpoint::Checkpoint;
use super::note::{NoteError, PrivateKey, SignatureLine, SignedNote};
use super::shelf::read_note;
use super::tree::{TreeHash, is_consistent};
use super::trusted::TrustedLog;
use crate::base::whole_file::replace;

/// Why a witness does not cosign, in the terms of `tlog-witness`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotCosigned {
    #[error("{0}")]
    Malformed(String),
    #[error("no log of the origin \"{0}\" is known here")]
    UnknownOrigin(String),
    #[error("the checkpoint is not signed by a key of that log that is known here")]
    Unsigned,
    #[error("the old size is larger than that of the checkpoint")]
    OldIsLarger,
    /// The witness has cosigned a tree of another size last.
    #[error("the tree that was cosigned last has the size {0}")]
    OtherSize(u64),
    /// The witness has cosigned another tree of this size.
    #[error("another tree of the size {0} was cosigned")]
    OtherTree(u64),
    #[error("the proof does not show that the tree begins with the one that was cosigned last")]
    Inconsistent,
    #[error("what was cosigned cannot be kept: {0}")]
    Io(#[from] io::Error),
}

/// The logs that a witness knows, and how far it has seen each.
pub(crate) struct WitnessBook {
    dir: PathBuf,
    logs: Vec<TrustedLog>,
    key: PrivateKey,
    /// One at a time compares and keeps: otherwise two requests could each go on from the same tree.
    turn: Mutex<()>,
}

impl WitnessBook {
    pub(crate) fn new(dir: &Path, logs: Vec<TrustedLog>, key: PrivateKey) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned(), logs, key, turn: Mutex::new(()) })
    }

    /// Cosigns a checkpoint at a time, in seconds since the Unix epoch, if it goes on from the one before.
    pub(crate) fn cosign(&self, asked: &AddCheckpoint, time: u64) -> Result<SignatureLine, NotCosigned> {
        let checkpoint =
            Checkpoint::parse(&asked.note.text).map_err(|error| NotCosigned::Malformed(error.to_string()))?;
        let mut of_origin = self.logs.iter().filter(|log| log.origin == checkpoint.origin).peekable();
        if of_origin.peek().is_none() {
            return Err(NotCosigned::UnknownOrigin(checkpoint.origin));
        }
        // A signature of a known key that is forged refuses the whole note.
        let mut is_signed = false;
        for log in of_origin {
            match asked.note.verify(&log.key) {
                Ok(_) => is_signed = true,
                Err(NoteError::Unsigned(_)) => {}
                Err(_) => return Err(NotCosigned::Unsigned),
            }
        }
        if !is_signed {
            return Err(NotCosigned::Unsigned);
        }
        if asked.old > checkpoint.size {
            return Err(NotCosigned::OldIsLarger);
        }
        let _turn = self.turn.lock();
        let path = self.path_of(&checkpoint.origin);
        let before = match read_note(&path)? {
            None => (0, TreeHash::empty()),
            Some(note) => {
                let before = Checkpoint::parse(&note.text).map_err(|error| io::Error::other(error.to_string()))?;
                (before.size, before.root)
            }
        };
        if asked.old != before.0 {
            return Err(NotCosigned::OtherSize(before.0));
        }
        if asked.old == checkpoint.size && checkpoint.root != before.1 {
            return Err(NotCosigned::OtherTree(before.0));
        }
        if !is_consistent(before, (checkpoint.size, checkpoint.root), &asked.proof) {
            return Err(NotCosigned::Inconsistent);
        }
        let cosignature = self.key.cosign(&asked.note.text, time);
        let kept = SignedNote { signatures: vec![cosignature.clone()], text: asked.note.text.clone() };
        replace(&path, kept.to_string().as_bytes())?;
        Ok(cosignature)
    }

    /// Where the last checkpoint of a log is kept. An origin may have any characters, so it is named by its digest.
    fn path_of(&self, origin: &str) -> PathBuf {
        self.dir.join(format!("{}.checkpoint", hex::encode(Sha256::digest(origin))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::note::SigningRole;
    use super::super::tree::{above, consistency, range};
    use super::*;

    struct Log {
        key: PrivateKey,
        leaves: Vec<TreeHash>,
    }

    impl Log {
        fn new(name: &str) -> Self {
            let leaves = (0..40_u64).map(|index| TreeHash::leaf(&index.to_be_bytes())).collect();
            Self { key: PrivateKey::generate(name).expect("randomness"), leaves }
        }

        fn trusted(&self) -> TrustedLog {
            TrustedLog { key: self.key.public(SigningRole::Log), origin: self.key.name().to_owned() }
        }

        fn asks(&self, old: u64, size: u64) -> AddCheckpoint {
            let perfect = &mut |height: u32, index: u64| {
                let from = (index << height) as usize;
                Ok::<_, ()>(above(&self.leaves[from..from + (1 << height)]))
            };
            let root = range(0, size, perfect).expect("infallible");
            let proof = consistency(old.min(size), size, perfect).expect("infallible");
            let text = Checkpoint { origin: self.key.name().to_owned(), size, root }.to_string();
            AddCheckpoint { old, proof, note: SignedNote { signatures: vec![self.key.sign(&text)], text } }
        }
    }

    #[test]
    fn a_witness_cosigns_only_what_goes_on_from_what_it_has_cosigned_also_after_a_start() {
        let dir = tempfile::tempdir().expect("a directory");
        let (log, key) = (Log::new("example.com/a"), PrivateKey::generate("witness.example").expect("randomness"));
        let (public, text) = (key.public(SigningRole::Witness), key.text());
        let book = || {
            let key = PrivateKey::parse(&text).expect("a key");
            WitnessBook::new(dir.path(), vec![log.trusted()], key).expect("a directory")
        };
        let first = log.asks(0, 7);
        let line = book().cosign(&first, 1_700_000_000).expect("it is new");
        let mut note = first.note.clone();
        note.signatures.push(line);
        assert_eq!(note.verify(&public), Ok(Some(1_700_000_000)));
        let book = book();
        assert!(matches!(book.cosign(&log.asks(0, 9), 0), Err(NotCosigned::OtherSize(7))));
        assert!(matches!(book.cosign(&log.asks(8, 7), 0), Err(NotCosigned::OldIsLarger)));
        book.cosign(&log.asks(7, 7), 1).expect("the same once more");
        book.cosign(&log.asks(7, 23), 2).expect("it goes on");

        let mut forked = Log { key: PrivateKey::parse(&log.key.text()).expect("a key"), leaves: log.leaves.clone() };
        forked.leaves[3] = TreeHash::leaf(b"another");
        assert!(matches!(book.cosign(&forked.asks(23, 40), 3), Err(NotCosigned::Inconsistent)));
        assert!(matches!(book.cosign(&forked.asks(23, 23), 3), Err(NotCosigned::OtherTree(23))));
        let mut without = log.asks(23, 40);
        without.proof.pop();
        assert!(matches!(book.cosign(&without, 3), Err(NotCosigned::Inconsistent)));

        let other = Log::new("example.com/a");
        assert!(matches!(book.cosign(&other.asks(23, 40), 3), Err(NotCosigned::Unsigned)));
        let unknown = Log::new("example.com/b");
        assert!(matches!(book.cosign(&unknown.asks(0, 1), 3), Err(NotCosigned::UnknownOrigin(_))));
        book.cosign(&log.asks(23, 40), 4).expect("it goes on as if nothing had been");
    }

    #[test]
    fn a_request_has_the_form_of_the_specification() {
        let asked = Log::new("example.com/a").asks(3, 12);
        let text = asked.to_string();
        assert!(text.starts_with("old 3\n") && text.contains("\n\nexample.com/a\n12\n"), "{text}");
        assert_eq!(AddCheckpoint::parse(&text), Ok(asked.clone()));
        let many = AddCheckpoint { proof: vec![TreeHash::empty(); 64], ..asked };
        for wrong in [
            "",
            "old x\n\na\n1\n",
            &text.replace("old 3", "old 03"),
            &text.replace("old 3\n", "old 3\nAA==\n"),
            &many.to_string(),
        ] {
            assert!(AddCheckpoint::parse(wrong).is_err(), "{wrong}");
        }
    }
}
