//! Commands about an actor's history: from a running runtime, from a data directory, or from a chain file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;

use super::actor::{Candidate, pick};
use super::remote::{answered, ask, connect, find};
use super::show::{self, print_json, say};
use super::{Done, Failure, Remote};
use crate::actor::{Audit, audit};
use crate::chain::cbor::{Cbor, bytes_to_json};
use crate::chain::data::{NamedState, Started};
use crate::chain::{
    ChainEvent, ChainFileWriter, ComponentDigest, EventKind, Header, States, UnverifiedChain, VerifiedChain,
};
use crate::journal::{self, ActorRow, JournalReader};
use crate::server::Client;
use crate::server::protocol::{Request, Response};

#[derive(Args)]
pub(super) struct ExportArgs {
    /// Its name, its id, or the beginning of its id
    actor: String,
    /// The file to write; `-` for standard output
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Leave the component out; replay then needs it given
    #[arg(long)]
    no_component: bool,
    /// Read the data directory itself; no runtime needs to be running
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args)]
pub(super) struct StateArgs {
    /// Its name, its id, or the beginning of either
    actor: String,
    /// Read the data directory itself; no runtime needs to be running
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args)]
pub(super) struct VerifyArgs {
    /// A chain file, as `theater export` writes it
    #[arg(required_unless_present = "journal")]
    chain: Option<PathBuf>,
    /// Check all chains of a data directory, and the links between them; no runtime needs to be running
    #[arg(long, value_name = "DIR", conflicts_with = "chain")]
    journal: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Where an actor's history is read from.
pub(super) enum Source {
    Running { client: Client, id: String },
    Journal { reader: JournalReader, row: ActorRow },
}

const PAGE: u64 = 1_000;
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// The actor of a data directory that `actor` names.
pub(super) fn find_row(reader: &JournalReader, actor: &str, dir: &Path) -> Result<ActorRow, Failure> {
    let mut rows = reader.actors().map_err(Failure::no)?;
    let ids: Vec<String> = rows.iter().map(|row| row.actor.id.to_string()).collect();
    let candidates: Vec<Candidate<'_>> =
        rows.iter().zip(&ids).map(|(row, id)| Candidate { id, name: &row.name, alive: row.alive }).collect();
    let at = pick(&candidates, actor).map_err(|why| Failure::no(format!("{why}, in {}", dir.display())))?;
    Ok(rows.swap_remove(at))
}

impl Source {
    pub(super) fn open(actor: &str, data_dir: Option<&Path>, remote: &Remote) -> Result<Self, Failure> {
        let Some(dir) = data_dir else {
            let mut client = connect(remote)?;
            let id = find(&mut client, actor)?.id;
            return Ok(Self::Running { client, id });
        };
        let reader = journal::open_to_read(dir).map_err(Failure::no)?;
        let row = find_row(&reader, actor, dir)?;
        Ok(Self::Journal { reader, row })
    }

    /// The events from `from` on, a page at a time; empty at the end.
    fn page(&mut self, from: u64) -> Result<Vec<ChainEvent>, Failure> {
        match self {
            Self::Journal { reader, row } => {
                Ok(reader.events(row.actor, from, PAGE, PAGE_BYTES).map_err(Failure::no)?)
            }
            Self::Running { client, id } => {
                let request = Request::GetActorEvents { id: id.clone(), from, limit: PAGE };
                let events = answered!(ask(client, &request), Response::ActorEvents { events, .. } => events);
                let mut fetch_data = |sequence| {
                    let request = |offset| Request::GetEventData { id: id.clone(), sequence, offset };
                    fetch(client, request).map_err(|failure| failure.message)
                };
                events.into_iter().map(|event| event.into_event(&mut fetch_data).map_err(Failure::no)).collect()
            }
        }
    }

    pub(super) fn each(&mut self, from: u64, mut take: impl FnMut(ChainEvent) -> Done) -> Result<u64, Failure> {
        let mut next = from;
        loop {
            let page = self.page(next)?;
            if page.is_empty() {
                return Ok(next);
            }
            for event in page {
                next = event.sequence + 1;
                take(event)?;
            }
        }
    }

    fn component(&mut self, digest: ComponentDigest) -> Result<Vec<u8>, Failure> {
        let gone = || Failure::no(format!("the component {digest} is not kept; export with --no-component"));
        match self {
            Self::Journal { reader, .. } => reader.component(digest).map_err(Failure::no)?.ok_or_else(gone),
            Self::Running { client, .. } => {
                fetch(client, |offset| Request::GetComponent { digest: digest.to_string(), offset })
            }
        }
    }

    fn newest_state(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let (client, id) = match self {
            Self::Journal { reader, row } => return reader.newest_state(row.actor).map_err(Failure::no),
            Self::Running { client, id } => (client, id),
        };
        let answer = ask(client, &Request::GetActorState { id: id.clone() });
        Ok(match answered!(answer, Response::ActorState { state, length, .. } => (state, length)) {
            (Some(state), _) => Some(BASE64.decode(state).map_err(Failure::no)?),
            (None, Some(_)) => Some(fetch(client, |offset| Request::GetStateBytes { id: id.clone(), offset })?),
            (None, None) => None,
        })
    }

    /// The first kept state behind an event.
    fn kept_behind(&mut self, behind: u64) -> Result<States, Failure> {
        let kept = match self {
            Self::Journal { reader, row } => {
                let first = reader.first_kept_behind(row.actor, behind).map_err(Failure::no)?;
                first.map_or(Ok(None), |first| reader.kept_state(row.actor, first + 1)).map_err(Failure::no)?
            }
            Self::Running { client, id } => fetch_kept(client, id, behind)?,
        };
        Ok(kept.into_iter().collect())
    }

    fn blob(&mut self, sha1: &[u8; 20]) -> Result<Vec<u8>, Failure> {
        let gone = || Failure::no(format!("the state {} is not kept", hex::encode(sha1)));
        match self {
            Self::Journal { reader, .. } => reader.blob(sha1).map_err(Failure::no)?.ok_or_else(gone),
            Self::Running { client, .. } => {
                fetch(client, |offset| Request::GetBlob { digest: hex::encode(sha1), offset })
            }
        }
    }
}

/// Bytes that may be larger than a frame.
pub(super) fn fetch(client: &mut Client, request: impl Fn(u64) -> Request) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    loop {
        let (size, data) = answered!(
            ask(client, &request(bytes.len() as u64)),
            Response::Bytes { size, data, .. } => (size, data)
        );
        let stretch = BASE64.decode(data).map_err(Failure::no)?;
        let ended = stretch.is_empty();
        bytes.extend(stretch);
        if ended || bytes.len() as u64 >= size {
            return Ok(bytes);
        }
    }
}

fn fetch_kept(client: &mut Client, id: &str, behind: u64) -> Result<Option<(u64, Option<Vec<u8>>)>, Failure> {
    let mut bytes = Vec::new();
    loop {
        let request = Request::GetKeptState { id: id.to_owned(), behind, offset: bytes.len() as u64 };
        let (sequence, size, data) = answered!(
            ask(client, &request),
            Response::KeptState { sequence, size, data, .. } => (sequence, size, data)
        );
        let (Some(sequence), Some(size)) = (sequence, size) else { return Ok(sequence.map(|at| (at, None))) };
        let stretch = BASE64.decode(data).map_err(Failure::no)?;
        let ended = stretch.is_empty();
        bytes.extend(stretch);
        if ended || bytes.len() as u64 >= size {
            return Ok(Some((sequence, Some(bytes))));
        }
    }
}

pub(super) fn state(args: &StateArgs) -> Done {
    let state = Source::open(&args.actor, args.data_dir.as_deref(), &args.remote)?.newest_state()?;
    if args.remote.json {
        print_json(&serde_json::json!({ "state": state.as_deref().map(bytes_to_json) }));
    } else {
        show::bytes(state.as_deref());
    }
    Ok(())
}

pub(super) fn export(args: &ExportArgs) -> Done {
    let mut source = Source::open(&args.actor, args.data_dir.as_deref(), &args.remote)?;
    // A first pass finds what the header tells; the chain may grow meanwhile, the export does not.
    let mut starts = Vec::new();
    let mut last = None;
    let mut dropped = None;
    source.each(0, |event| {
        if event.kind() == Some(EventKind::Started) {
            starts.push(Started::from_cbor(&event.data).map_err(Failure::no)?);
        }
        if event.dropped.is_some() {
            dropped = Some(event.sequence);
        }
        last = Some((event.sequence, event.hash));
        Ok(())
    })?;
    let (Some((last, head)), Some(newest)) = (last, starts.last()) else {
        return Err(Failure::no("the actor has no history yet"));
    };
    let mut components = BTreeMap::new();
    let mut blobs = BTreeMap::new();
    if !args.no_component {
        for digest in starts.iter().map(|started| started.component).collect::<BTreeSet<_>>() {
            components.insert(digest, source.component(digest)?);
        }
    }
    for started in &starts {
        if let NamedState::Digest { sha1, .. } = &started.state {
            blobs.insert(*sha1, source.blob(sha1)?);
        }
    }
    // Where data was dropped, a replay begins with the state kept behind that.
    let states = dropped.map_or(Ok(States::new()), |dropped| source.kept_behind(dropped))?;
    let attachments = (components.len() + blobs.len() + states.len()) as u64;
    let version = if dropped.is_some() { 2 } else { 1 };
    let (actor, component) = (newest.id, newest.component);
    let header = Header { actor, component, attachments, events: last + 1, head, version };
    let failed = |error: std::io::Error| Failure::no(format!("cannot write {}: {error}", args.output.display()));
    let sink: Box<dyn Write> = match args.output.as_os_str().to_str() {
        Some("-") => Box::new(std::io::stdout()),
        _ => Box::new(File::create(&args.output).map_err(failed)?),
    };
    let mut file =
        ChainFileWriter::begin(BufWriter::new(sink), &header, &components, &blobs, &states).map_err(failed)?;
    let mut next = 0;
    while next <= last {
        for event in source.page(next)?.into_iter().take_while(|event| event.sequence <= last) {
            next = event.sequence + 1;
            file.event(&event).map_err(failed)?;
        }
    }
    file.finish().map_err(failed)?;
    super::stderr::tell(&format!("{} events, head {head}", header.events));
    Ok(())
}

pub(super) fn read_verified(path: &Path) -> Result<VerifiedChain, Failure> {
    let named = |why: &dyn std::fmt::Display| Failure::no(format!("{}: {why}", path.display()));
    let file = File::open(path).map_err(|error| named(&error))?;
    UnverifiedChain::read(BufReader::new(file)).and_then(UnverifiedChain::verify).map_err(|error| named(&error))
}

pub(super) fn verify(args: &VerifyArgs) -> Done {
    let path = match (&args.chain, &args.journal) {
        (_, Some(dir)) => return verify_journal(dir, args.json),
        (Some(chain), None) => chain,
        (None, None) => unreachable!("clap asks for one of them"),
    };
    let chain = read_verified(path)?;
    let (events, head, incarnations) = (chain.events().len(), chain.head(), chain.incarnations());
    if args.json {
        let (actor, head) = (chain.actor().to_string(), head.to_string());
        print_json(
            &serde_json::json!({ "actor": actor, "events": events, "incarnations": incarnations, "head": head }),
        );
    } else {
        say!("verified: {events} events, {incarnations} incarnations, head {head}");
    }
    Ok(())
}

pub(super) fn things_are_wrong(count: usize) -> String {
    if count == 1 { "1 thing is wrong".to_owned() } else { format!("{count} things are wrong") }
}

fn verify_journal(dir: &Path, json: bool) -> Done {
    let Audit { actors, events, links, in_flight, dropped, findings } = audit(dir).map_err(Failure::no)?;
    if json {
        print_json(&serde_json::json!({
            "actors": actors, "events": events, "links": links, "in_flight": in_flight, "dropped": dropped,
            "findings": findings,
        }));
    } else {
        findings.iter().for_each(|finding| show::line(finding));
    }
    if !findings.is_empty() {
        return Err(Failure::no(format!("{}: {}", dir.display(), things_are_wrong(findings.len()))));
    }
    if !json {
        say!(
            "verified: {actors} actors, {events} events, {links} links between them, {in_flight} messages on their way"
        );
        if dropped > 0 {
            say!("the data of {dropped} events was dropped: their hashes are verified, what they said is not");
        }
    }
    Ok(())
}
