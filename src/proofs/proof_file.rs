//! A proof that one event is in a tree (C2SP `tlog-proof`): the event, its index, the hashes from its leaf to the root, and the
//! signed checkpoint. Whoever has the public key checks it without a journal.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::checkpoint::{Checkpoint, number};
use super::leaf::LeafEntry;
use super::note::{NoteError, PublicKey, SignedNote, SigningRole};
use super::tree::{TreeHash, root_above};
use crate::base::id::ActorId;
use crate::chain::{ChainEvent, EventHash, event_line, event_of_line};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// A path has at most so many hashes.
const MOST_HASHES: usize = 63;

/// A proof, as it stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProofFile {
    pub(crate) actor: ActorId,
    pub(crate) event: ChainEvent,
    /// The event's place among all events of the journal, from 0.
    pub(crate) index: u64,
    pub(crate) path: Vec<TreeHash>,
    pub(crate) note: SignedNote,
}

/// Why a proof proves nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProofFault {
    #[error("it is no proof: {0}")]
    Form(String),
    #[error("its checkpoint: {0}")]
    Note(#[from] NoteError),
    #[error("its checkpoint is of \"{found}\", and \"{expected}\" was asked for")]
    Origin { found: String, expected: String },
    #[error("the hash of the event is not that of its fields")]
    Event,
    #[error("the event is not in the tree of the checkpoint: its leaf does not lead to the root")]
    Root,
    #[error("{valid} of the named witnesses have cosigned the checkpoint, and {demanded} are demanded")]
    Witnesses { valid: usize, demanded: usize },
}

/// Whom a proof has to convince.
#[derive(Clone, Copy)]
pub(crate) struct Demands<'a> {
    pub(crate) key: &'a PublicKey,
    /// The origin that the checkpoint must have; any, if none is named.
    pub(crate) origin: Option<&'a str>,
    pub(crate) witnesses: &'a [PublicKey],
    /// So many of the witnesses must have cosigned.
    pub(crate) quorum: usize,
}

/// What a proof that holds shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proven {
    pub(crate) checkpoint: Checkpoint,
    /// The witnesses that have cosigned, and when, in seconds since the Unix epoch.
    pub(crate) witnessed: Vec<(String, u64)>,
}

impl ProofFile {
    pub(crate) fn parse(text: &str) -> Result<Self, ProofFault> {
        let form = |why: &str| ProofFault::Form(why.to_owned());
        let (proof, note) = text.split_once("\n\n").ok_or(form("it has no checkpoint behind a blank line"))?;
        let mut lines = proof.split('\n');
        if lines.next() != Some(FIRST_LINE) {
            return Err(form("it does not begin with c2sp.org/tlog-proof@v1"));
        }
        let mut value = |name: &str| {
            let line = lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.ok_or_else(|| ProofFault::Form(format!("a line with \"{name}\" is missing")))
        };
        let (extra, index) = (value("extra")?, value("index")?);
        let index = number(index).ok_or(form("its index is no number"))?;
        let extra = BASE64.decode(extra).map_err(|_| form("\"extra\" is not base64"))?;
        let extra = std::str::from_utf8(&extra).map_err(|_| form("\"extra\" is not UTF-8"))?;
        let parts = extra.strip_suffix('\n').and_then(|extra| extra.split_once('\n'));
        let (actor, line) = parts.ok_or(form("\"extra\" does not have two lines, an actor and an event"))?;
        let id: ActorId = actor.parse().map_err(|_| form("the actor is not named by a UUID"))?;
        if id.to_string() != actor {
            return Err(form("the UUID of the actor is not spelled in its one way"));
        }
        let event = event_of_line(line).map_err(|why| ProofFault::Form(format!("its event: {why}")))?;
        let path = lines.map(TreeHash::parse).collect::<Option<Vec<_>>>().ok_or(form("a hash is not base64"))?;
        if path.len() > MOST_HASHES {
            return Err(form("its path has too many hashes"));
        }
        Ok(Self { actor: id, event, index, path, note: SignedNote::parse(note)? })
    }

    /// Checks everything that the proof says.
    pub(crate) fn verify(&self, demands: &Demands<'_>) -> Result<Proven, ProofFault> {
        if demands.key.role != SigningRole::Log {
            return Err(NoteError::Key("it is the key of a witness, and that of the log is needed").into());
        }
        let checkpoint = Checkpoint::of_note(&self.note, demands.key)?;
        if let Some(expected) = demands.origin.filter(|expected| **expected != *checkpoint.origin) {
            return Err(ProofFault::Origin { found: checkpoint.origin, expected: expected.to_owned() });
        }
        if EventHash::of_checked(&self.event) != Some(self.event.hash) {
            return Err(ProofFault::Event);
        }
        let leaf = LeafEntry::of(self.actor, &self.event).hashed();
        if root_above(leaf, self.index, checkpoint.size, &self.path) != Some(checkpoint.root) {
            return Err(ProofFault::Root);
        }
        let witnessed = witnessed(&self.note, demands.witnesses)?;
        if witnessed.len() < demands.quorum {
            return Err(ProofFault::Witnesses { valid: witnessed.len(), demanded: demands.quorum });
        }
        Ok(Proven { checkpoint, witnessed })
    }
}

/// Which of these witnesses have cosigned a note, and when. A cosignature of one of them that is not of this text is an error.
pub(crate) fn witnessed(note: &SignedNote, witnesses: &[PublicKey]) -> Result<Vec<(String, u64)>, NoteError> {
    let mut found = Vec::new();
    for witness in witnesses {
        match note.verify(witness) {
            Ok(Some(time)) => found.push((witness.name.clone(), time)),
            Ok(None) => return Err(NoteError::Key("a witness is named by the key of a log")),
            Err(NoteError::Unsigned(_)) => {}
            Err(forged) => return Err(forged),
        }
    }
    Ok(found)
}

impl fmt::Display for ProofFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extra = format!("{}\n{}\n", self.actor, event_line(&self.event));
        writeln!(f, "{FIRST_LINE}\nextra {}\nindex {}", BASE64.encode(extra), self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.note)
    }
}

#[cfg(test)]
mod tests {
    use super::super::note::PrivateKey;
    use super::super::tree::{above, inclusion, range};
    use super::*;
    use crate::chain::{DroppedData, Salt};

    fn event() -> ChainEvent {
        let mut event = ChainEvent {
            sequence: 3,
            hash: EventHash([0; 20]),
            parent_hash: Some(EventHash([7; 20])),
            event_type: "call ntwk:theater/http-server.handle-request".into(),
            data: b"\xa1\x61a\x01".to_vec(),
            salt: Some(Salt([5; 16])),
            dropped: None,
            timestamp: 1_700_000_000_000,
        };
        event.hash = EventHash::of(&event);
        event
    }

    /// A proof for this event, which stands among others.
    fn proof(key: &PrivateKey, witness: &PrivateKey, event: ChainEvent) -> ProofFile {
        let (actor, index, size) = (ActorId::random(), 9, 13);
        let mut leaves: Vec<_> = (0..size).map(|index: u64| TreeHash::leaf(&index.to_be_bytes())).collect();
        leaves[9] = LeafEntry::of(actor, &event).hashed();
        let perfect = &mut |height: u32, index: u64| {
            let from = (index << height) as usize;
            Ok::<_, ()>(above(&leaves[from..from + (1 << height)]))
        };
        let root = range(0, size, perfect).expect("infallible");
        let path = inclusion(index, size, perfect).expect("infallible");
        let text = Checkpoint { origin: "example.com/bank".into(), size, root }.to_string();
        let signatures = vec![key.sign(&text), witness.cosign(&text, 1_700_000_000)];
        ProofFile { actor, event, index, path, note: SignedNote { text, signatures } }
    }

    fn keys() -> [PrivateKey; 2] {
        ["example.com/bank", "witness.example"].map(|name| PrivateKey::generate(name).expect("randomness"))
    }

    #[test]
    fn a_proof_holds_with_and_without_the_data_and_for_nobody_elses_key() {
        let [key, witness] = keys();
        let [log, cosigner] = [key.public(SigningRole::Log), witness.public(SigningRole::Witness)];
        let demands = Demands {
            key: &log,
            origin: Some("example.com/bank"),
            witnesses: std::slice::from_ref(&cosigner),
            quorum: 1,
        };
        let whole = proof(&key, &witness, event());
        let dropped = Some(DroppedData::of(&whole.event));
        let bare = ChainEvent { data: Vec::new(), salt: None, dropped, ..whole.event.clone() };
        for proof in [whole.clone(), ProofFile { event: bare, ..whole.clone() }] {
            let read = ProofFile::parse(&proof.to_string()).expect("a proof");
            assert_eq!(read, proof);
            let proven = read.verify(&demands).expect("it holds");
            assert_eq!(
                (proven.checkpoint.size, proven.witnessed),
                (13, vec![("witness.example".into(), 1_700_000_000)])
            );
        }
        let other = keys()[0].public(SigningRole::Log);
        let unsigned = Err(ProofFault::Note(NoteError::Unsigned("example.com/bank".into())));
        assert_eq!(whole.verify(&Demands { key: &other, ..demands }), unsigned);
        let origin = whole.verify(&Demands { origin: Some("example.com/other"), ..demands });
        assert!(matches!(origin, Err(ProofFault::Origin { .. })), "{origin:?}");
        let stranger = keys()[1].public(SigningRole::Witness);
        let unwitnessed = whole.verify(&Demands { witnesses: &[cosigner.clone(), stranger], quorum: 2, ..demands });
        assert_eq!(unwitnessed, Err(ProofFault::Witnesses { valid: 1, demanded: 2 }));
        assert!(
            whole.verify(&Demands { key: &cosigner, ..demands }).is_err(),
            "a witness does not stand in for the log"
        );
    }

    #[test]
    fn no_bit_of_a_proof_can_change_unnoticed() {
        let [key, witness] = keys();
        let [log, cosigner] = [key.public(SigningRole::Log), witness.public(SigningRole::Witness)];
        let demands = Demands { key: &log, origin: None, witnesses: &[cosigner], quorum: 1 };
        let text = proof(&key, &witness, event()).to_string();
        ProofFile::parse(&text).expect("a proof").verify(&demands).expect("it holds");
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let Ok(changed) = String::from_utf8(bytes) else { continue };
                let verified = ProofFile::parse(&changed).and_then(|proof| proof.verify(&demands));
                assert!(verified.is_err(), "bit {bit} of byte {at}: {changed}");
            }
        }
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            let verified = ProofFile::parse(&text[..end]).and_then(|proof| proof.verify(&demands));
            assert!(verified.is_err(), "cut at byte {end}");
        }
    }

    #[test]
    fn fields_of_the_event_and_its_place_are_those_that_were_signed() {
        let [key, witness] = keys();
        let log = key.public(SigningRole::Log);
        let demands = Demands { key: &log, origin: None, witnesses: &[], quorum: 0 };
        let proof = proof(&key, &witness, event());
        let mut other = event();
        other.timestamp += 1;
        assert_eq!(ProofFile { event: other.clone(), ..proof.clone() }.verify(&demands), Err(ProofFault::Event));
        other.hash = EventHash::of(&other);
        let root = Err(ProofFault::Root);
        assert_eq!(ProofFile { event: other, ..proof.clone() }.verify(&demands), root);
        assert_eq!(ProofFile { actor: ActorId::random(), ..proof.clone() }.verify(&demands), root);
        for index in (0..15).filter(|index| *index != 9) {
            assert_eq!(ProofFile { index, ..proof.clone() }.verify(&demands), root, "{index}");
        }
    }
}
