//! `theater verify --proof`: checks a proof without a journal; and `theater verify --journal --since`: checks that a journal is the
//! one over which a checkpoint was signed.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::past::read_verified;
use crate::cli::show::{print_json, say};
use crate::cli::times::date_and_time;
use crate::cli::{Done, Failure};
use crate::journal;
use crate::proofs::{
    Checkpoint, Compared, Demands, ProofFile, Proven, PublicKey, Shelf, SignedNote, TreeHash, Trusted,
    compare_with_log, read_note, width_in,
};

/// A proof is not longer: an event with its data, in base64 twice.
const PROOF_BYTES: u64 = 1024 * 1024 * 1024;
const TRUSTED_BYTES: u64 = 1024 * 1024;

#[derive(Args)]
pub(in crate::cli) struct ProofArgs {
    /// Check a proof that `theater prove` wrote; nothing else is needed but the key. With a chain file, also that its event is in
    /// the chain: so everything before that event was signed, too
    #[arg(long, value_name = "FILE", conflicts_with = "journal", requires = "key")]
    pub(in crate::cli) proof: Option<PathBuf>,
    /// The public key of the log: the text that `theater key show` prints, or a file that holds it
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The origin that the checkpoint must have [default: any that the key has signed]
    #[arg(long, value_name = "NAME", requires = "key")]
    origin: Option<String>,
    /// A file that names witnesses; see -k
    #[arg(long, value_name = "FILE", requires = "proof")]
    witnesses: Option<PathBuf>,
    /// So many of the witnesses must have cosigned the checkpoint [default: all]
    #[arg(short, value_name = "N", requires = "witnesses")]
    k: Option<usize>,
    /// With --journal: the journal must go on from this signed checkpoint; a rollback and a rewritten history are named
    #[arg(long, value_name = "CHECKPOINT", requires = "journal", requires = "key")]
    pub(in crate::cli) since: Option<PathBuf>,
}

impl ProofArgs {
    pub(in crate::cli) fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Refuses what would not be checked: a person who names it believes that it is.
    pub(in crate::cli) fn check_is_used(&self, has_journal: bool) -> Done {
        let unused = match (&self.proof, has_journal) {
            (Some(_), _) => self.since.as_ref().map(|_| "--since belongs to --journal"),
            (None, true) => self.witnesses.as_ref().map(|_| "--witnesses and -k belong to --proof"),
            (None, false) if self.witnesses.is_some() => Some("--witnesses and -k belong to --proof"),
            (None, false) => {
                self.key.as_ref().map(|_| "--key belongs to --proof or --journal: a chain file alone is not signed")
            }
        };
        unused.map_or(Ok(()), |why| Err(Failure::usage(why)))
    }

    fn key(&self) -> Result<PublicKey, Failure> {
        let given = self.key.as_deref().unwrap_or_default();
        let text = match given.contains('+') {
            true => given.to_owned(),
            false => read(Path::new(given), TRUSTED_BYTES)?,
        };
        PublicKey::parse(text.trim_end()).map_err(|error| Failure::no(format!("--key {given}: {error}")))
    }
}

fn read(path: &Path, most: u64) -> Result<String, Failure> {
    let refused = |why: String| Failure::no(format!("{}: {why}", path.display()));
    let bytes = crate::base::opened::Opened::open(path).and_then(|opened| opened.read(most)).map_err(refused)?;
    String::from_utf8(bytes).map_err(|_| refused("it is not UTF-8 text".into()))
}

/// Reads a file that names logs and witnesses.
pub(in crate::cli) fn read_trusted(path: &Path) -> Result<Trusted, Failure> {
    Trusted::parse(&read(path, TRUSTED_BYTES)?).map_err(|why| Failure::no(format!("{}: {why}", path.display())))
}

/// Checks a proof, and that its event is in a chain file, if one is named.
pub(in crate::cli) fn proof(args: &ProofArgs, path: &Path, chain: Option<&Path>, json: bool) -> Done {
    let key = args.key()?;
    let witnesses = args.witnesses.as_deref().map(read_trusted).transpose()?.unwrap_or_default().witness_keys();
    let quorum = args.k.unwrap_or(witnesses.len());
    if quorum > witnesses.len() {
        return Err(Failure::usage(format!("-k {quorum}: the file names {} witnesses", witnesses.len())));
    }
    let refused = |why: &dyn std::fmt::Display| Failure::no(format!("{}: {why}", path.display()));
    let proof = ProofFile::parse(&read(path, PROOF_BYTES)?).map_err(|fault| refused(&fault))?;
    let demands = Demands { key: &key, origin: args.origin.as_deref(), witnesses: &witnesses, quorum };
    let Proven { checkpoint, witnessed } = proof.verify(&demands).map_err(|fault| refused(&fault))?;
    let chain_events = chain.map(|chain| events_of_chain_with(&proof, chain)).transpose()?;
    let ProofFile { actor, event, index, .. } = &proof;
    let has_data = event.dropped.is_none();
    if json {
        let witnessed: Vec<_> =
            witnessed.iter().map(|(name, time)| serde_json::json!({ "name": name, "time": time })).collect();
        print_json(&serde_json::json!({
            "origin": checkpoint.origin, "size": checkpoint.size, "index": index, "actor": actor.to_string(),
            "sequence": event.sequence, "hash": event.hash.to_string(), "type": event.event_type, "timestamp": event.timestamp,
            "has_data": has_data, "witnesses": witnessed, "chain_events": chain_events,
        }));
        return Ok(());
    }
    say!(
        "verified: event {} of actor {actor} ({}, {}) is at index {index} of {}, which had {} events then",
        event.sequence,
        event.event_type,
        date_and_time(event.timestamp),
        checkpoint.origin,
        checkpoint.size
    );
    for (name, time) in witnessed {
        say!("cosigned by {name} at {}", date_and_time(time.saturating_mul(1_000)));
    }
    if let Some(events) = chain_events {
        let later = events - event.sequence - 1;
        say!(
            "the chain up to event {} is the one that was signed; {later} of its {events} events came later",
            event.sequence
        );
    }
    if !has_data {
        say!("the data of the event is not in the proof: that the event was recorded is verified, what it said is not");
    }
    Ok(())
}

/// Verifies a chain file, and that it has the event of a proof. How many events it has.
fn events_of_chain_with(proof: &ProofFile, path: &Path) -> Result<u64, Failure> {
    let refused = |why: String| Failure::no(format!("{}: {why}", path.display()));
    let mut chain = read_verified(path)?;
    let (actor, events) = (chain.contents().header.actor, chain.contents().header.events);
    if actor != proof.actor {
        return Err(refused(format!("it is the chain of actor {actor}, and the proof is of actor {}", proof.actor)));
    }
    let sequence = proof.event.sequence;
    let event = chain.events(sequence, 1, usize::MAX).map_err(|error| refused(error.to_string()))?.pop();
    match event.filter(|event| event.sequence == sequence) {
        Some(event) if event.hash == proof.event.hash => Ok(events),
        Some(_) => Err(refused(format!("its event {sequence} is not the one that was signed"))),
        None => Err(refused(format!("it ends before event {sequence}, which was signed"))),
    }
}

/// Compares a journal with a checkpoint, and says what is wrong; none if the journal goes on from it. Without a checkpoint that is
/// named, it is the one that the directory itself has.
pub(in crate::cli) fn since(args: &ProofArgs, dir: &Path) -> Result<Since, Failure> {
    let shelf = Shelf::of(dir);
    let own = shelf.checkpoint().map_err(Failure::no)?;
    let named = match &args.since {
        None => None,
        Some(path) => {
            let none = || Failure::no(format!("{}: there is no such file", path.display()));
            Some(read_note(path).map_err(Failure::no)?.ok_or_else(none)?)
        }
    };
    let Some(note) = named.or_else(|| own.clone()) else {
        if args.has_key() {
            let why = "it has no checkpoint that the key could have signed: name one with --since CHECKPOINT";
            return Err(Failure::no(format!("{}: {why}", dir.display())));
        }
        return Ok(Since::NothingSigned);
    };
    let checkpoint = match &args.key {
        Some(_) => Checkpoint::of_note(&note, &args.key()?),
        None => Checkpoint::parse(&note.text),
    };
    let checkpoint = checkpoint.map_err(|error| Failure::no(format!("the checkpoint: {error}")))?;
    if let Some(expected) = args.origin.as_ref().filter(|expected| **expected != checkpoint.origin) {
        return Err(Failure::no(format!("the checkpoint is of \"{}\", and not of \"{expected}\"", checkpoint.origin)));
    }
    let reader = journal::open_to_read(dir).map_err(Failure::no)?;
    let mut known = KnownLeaves::of(&shelf, own.as_ref(), checkpoint.size);
    let compared = compare_with_log(&reader, checkpoint.size, &mut |index| known.leaf(index)).map_err(Failure::no)?;
    Ok(match fault(&checkpoint, &compared) {
        None => Since::GoesOn { checkpoint, events: compared.events },
        Some(what) => Since::Differs(what),
    })
}

/// What comes of comparing a journal with a checkpoint.
pub(in crate::cli) enum Since {
    /// There is no checkpoint.
    NothingSigned,
    GoesOn {
        checkpoint: Checkpoint,
        events: u64,
    },
    Differs(String),
}

/// What is wrong, in one line.
fn fault(checkpoint: &Checkpoint, compared: &Compared) -> Option<String> {
    let Checkpoint { origin, size, root } = checkpoint;
    let Compared { events, root: found, differs } = compared;
    match (found, differs) {
        (Some(found), _) if found == root => None,
        (None, None) => Some(format!(
            "the journal was rolled back: it has {events} events, and {origin} has signed {size}; nothing shows that the events that are \
             left are others"
        )),
        (None, Some(position)) => Some(format!(
            "the tail was cut off and rewritten: the journal has {events} events, {origin} has signed {size}, and from position {position} on \
             they are others"
        )),
        (Some(_), Some(position)) if events == size => Some(format!(
            "the tail was rewritten: from position {position} on, the events are not those that {origin} has signed"
        )),
        (Some(_), Some(position)) => Some(format!(
            "the history was forked: from position {position} on, the events are not those that {origin} has signed, and {} more follow",
            events - size
        )),
        (Some(_), None) => {
            Some(format!("the history was rewritten: its first {size} events are not those that {origin} has signed"))
        }
    }
}

/// The leaves as the tiles of the directory have them, where these are the tiles of the tree that was signed.
struct KnownLeaves {
    shelf: Shelf,
    size: u64,
    tile: Option<(u64, Vec<TreeHash>)>,
}

impl KnownLeaves {
    fn of(shelf: &Shelf, own: Option<&SignedNote>, most: u64) -> Self {
        let size = own.and_then(|note| Checkpoint::parse(&note.text).ok()).map_or(0, |own| own.size.min(most));
        Self { shelf: shelf.clone(), size, tile: None }
    }

    fn leaf(&mut self, index: u64) -> Option<TreeHash> {
        if index >= self.size {
            return None;
        }
        let tile = index / 256;
        if self.tile.as_ref().is_none_or(|(known, _)| *known != tile) {
            let hashes = self.shelf.tiles().read(0, tile, width_in(self.size, 0, tile)).unwrap_or_default();
            self.tile = Some((tile, hashes));
        }
        self.tile.as_ref().and_then(|(_, hashes)| hashes.get((index % 256) as usize).copied())
    }
}
