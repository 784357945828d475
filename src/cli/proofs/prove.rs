//! `theater prove`: a proof that an event is in the tree of its journal, for somebody who has only the public key.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::chain::ChainEvent;
use crate::chain::History as _;
use crate::cli::connect::{answered, ask};
use crate::cli::output::{Output, named};
use crate::cli::past::{ActorHistory, find_row};
use crate::cli::{Done, Failure, Remote, stderr};
use crate::journal;
use crate::proofs::{Checkpoint, InclusionPath, NotProved, ProofFile, Shelf, SignedNote, TreeHash, event_at, path_in};
use crate::server::Client;
use crate::server::protocol::{Request, Response};

#[derive(Args)]
pub(in crate::cli) struct ProveArgs {
    /// The actor's name, its id, or the beginning of either
    actor: String,
    /// The event, by its sequence [default: the newest]
    #[arg(long, value_name = "SEQUENCE")]
    event: Option<u64>,
    /// The file to write; `-` for standard output
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// Read the data directory itself; no runtime needs to be running
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

pub(in crate::cli) fn prove(args: &ProveArgs) -> Done {
    let proof = match &args.data_dir {
        Some(dir) => of_dir(dir, &args.actor, args.event)?,
        None => of_runtime(args)?,
    };
    let cannot_write = |error| Failure::no(format!("cannot write {}: {error}", named(&args.output)));
    let mut output = Output::to(&args.output).map_err(cannot_write)?;
    output.write_all(proof.to_string().as_bytes()).map_err(cannot_write)?;
    output.finish().map_err(cannot_write)?;
    let origin = Checkpoint::parse(&proof.note.text).map(|checkpoint| checkpoint.origin).unwrap_or_default();
    stderr::tell(&format!(
        "event {} of actor {} is at index {} of {origin}",
        proof.event.sequence, proof.actor, proof.index
    ));
    Ok(())
}

/// Reads the proof from the files of a data directory.
fn of_dir(dir: &Path, actor: &str, sequence: Option<u64>) -> Result<ProofFile, Failure> {
    let shelf = Shelf::of(dir);
    let signed = shelf.checkpoint().map_err(Failure::no)?;
    let note = shelf.witnessed().map_err(Failure::no)?.or_else(|| signed.clone());
    let none = || {
        Failure::no(format!("{} has no checkpoint: run a runtime on it with [proofs] in theater.toml", dir.display()))
    };
    let (mut note, signed) = note.zip(signed).ok_or_else(none)?;
    let reader = journal::open_to_read(dir).map_err(Failure::no)?;
    let row = find_row(&reader, actor, dir)?;
    let newest = reader.head_sequence(row.actor).map_err(Failure::no)?.unwrap_or(0);
    let sequence = sequence.unwrap_or(newest);
    let position = reader.position(row.actor, sequence).map_err(Failure::no)?;
    let position = position.ok_or_else(|| not_there(sequence, actor))?;
    let placed = event_at(&reader, position).map_err(Failure::no)?;
    let mut checkpoint = understood(&note)?;
    if checkpoint.size < position {
        // The witnesses have not come so far.
        (checkpoint, note) = (understood(&signed)?, signed);
    }
    let path = path_in(&shelf.tiles(), &note, &checkpoint, &placed).map_err(|why| match why {
        NotProved::NotYet => {
            Failure::no("no checkpoint covers the event: the runtime that recorded it has not signed it")
        }
        other => Failure::no(other),
    })?;
    Ok(path.with(placed.actor, placed.event))
}

fn understood(note: &SignedNote) -> Result<Checkpoint, Failure> {
    Checkpoint::parse(&note.text).map_err(Failure::no)
}

fn not_there(sequence: u64, actor: &str) -> Failure {
    Failure::no(format!("event {sequence} is not on the chain of actor {actor}"))
}

/// Asks a running runtime for the path, and puts the event to it.
fn of_runtime(args: &ProveArgs) -> Result<ProofFile, Failure> {
    let mut history = ActorHistory::open(&args.actor, None, &args.remote)?;
    let sequence = match args.event {
        Some(sequence) => sequence,
        None => history.length()?.saturating_sub(1),
    };
    let event = history.page(sequence)?.into_iter().next().filter(|event| event.sequence == sequence);
    let event = event.ok_or_else(|| not_there(sequence, &args.actor))?;
    let (mut client, id) = match history {
        ActorHistory::Running { client, id } => (client, id),
        ActorHistory::Journal { .. } | ActorHistory::File(_) => {
            return Err(Failure::usage(
                "a proof comes from a running runtime, or from a data directory with --data-dir",
            ));
        }
    };
    ask_for_path(&mut client, &id, event)
}

fn ask_for_path(client: &mut Client, id: &str, event: ChainEvent) -> Result<ProofFile, Failure> {
    let request = Request::ProveEvent { id: id.to_owned(), sequence: event.sequence };
    let (index, path, checkpoint) = answered!(
        ask(client, &request),
        Response::EventProof { index, path, checkpoint, .. } => (index, path, checkpoint)
    );
    let hashes = path.iter().map(|hash| TreeHash::parse(hash)).collect::<Option<Vec<_>>>();
    let hashes = hashes.ok_or_else(|| Failure::no("the runtime answers with something that is no hash"))?;
    let note = SignedNote::parse(&checkpoint).map_err(Failure::no)?;
    let actor = id.parse().map_err(Failure::no)?;
    Ok(InclusionPath { index, hashes, note }.with(actor, event))
}
