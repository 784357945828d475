//! Commands about an actor's history: from a running runtime, from a data directory, or from a chain file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;

use super::remote::{answered, ask, connect, find};
use super::show::{self, print_json};
use super::{Done, Failure, Remote};
use crate::actor::{Audit, audit};
use crate::chain::cbor::{Cbor, bytes_to_json};
use crate::chain::data::{NamedState, Started};
use crate::chain::{
    ChainEvent, ChainFileWriter, ComponentDigest, EventKind, Header, States, UnverifiedChain, VerifiedChain,
};
use crate::guest::GuestEngine;
use crate::journal::{self, ActorRow, JournalReader};
use crate::server::Client;
use crate::server::protocol::{Request, Response};

#[derive(Args)]
pub(super) struct EventsArgs {
    /// Its name, its id, or the beginning of its id
    actor: String,
    /// Go on showing events as they come
    #[arg(long, short)]
    follow: bool,
    /// The first event to show
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
    from: u64,
    /// Read the data directory itself; no runtime needs to be running
    #[arg(long, value_name = "DIR", conflicts_with = "follow")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

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

#[derive(Args)]
pub(super) struct ReplayArgs {
    /// A chain file, as `theater export` writes it
    chain: PathBuf,
    /// Run this component instead of the one in the file
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Replay up to this event, and print the state there
    #[arg(long, value_name = "SEQUENCE")]
    until: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Where an actor's history is read from.
enum Source {
    Running { client: Client, id: String },
    Journal { reader: JournalReader, row: ActorRow },
}

const PAGE: u64 = 1_000;
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// The actor of a data directory with this name, id, or beginning of an id.
pub(super) fn find_row(reader: &JournalReader, actor: &str, dir: &Path) -> Result<ActorRow, Failure> {
    let rows = reader.actors().map_err(Failure::no)?;
    let named = |row: &ActorRow| row.name == actor || row.actor.id.to_string().starts_with(actor);
    let mut found: Vec<ActorRow> = rows.into_iter().filter(named).collect();
    match (found.pop(), found.len()) {
        (Some(row), 0) => Ok(row),
        (Some(_), more) => Err(Failure::no(format!("{} actors are called \"{actor}\"; name one by its id", more + 1))),
        (None, _) => Err(Failure::no(format!("no actor in {} is called \"{actor}\"", dir.display()))),
    }
}

impl Source {
    fn open(actor: &str, data_dir: Option<&Path>, remote: &Remote) -> Result<Self, Failure> {
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

    fn each(&mut self, from: u64, mut take: impl FnMut(ChainEvent) -> Done) -> Result<u64, Failure> {
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

pub(super) fn events(args: &EventsArgs) -> Done {
    let mut source = Source::open(&args.actor, args.data_dir.as_deref(), &args.remote)?;
    let show = |event: &ChainEvent| {
        if args.remote.json { print_json(&show::event_json(event)) } else { show::event(event) }
    };
    if !args.follow {
        let shown = source.each(args.from, |event| {
            show(&event);
            Ok(())
        });
        return shown.map(drop);
    }
    let Source::Running { client, id } = source else { unreachable!("clap keeps --follow and --data-dir apart") };
    let mut events = client.subscribe(id, Some(args.from)).map_err(Failure::no)?;
    loop {
        show(&events.next().map_err(Failure::no)?.into_event().map_err(Failure::no)?);
    }
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
    eprintln!("{} events, head {head}", header.events);
    Ok(())
}

fn read_verified(path: &Path) -> Result<VerifiedChain, Failure> {
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
        println!("verified: {events} events, {incarnations} incarnations, head {head}");
    }
    Ok(())
}

fn verify_journal(dir: &Path, json: bool) -> Done {
    let reader = journal::open_to_read(dir).map_err(Failure::no)?;
    let damage = journal::examine(dir).map_err(Failure::no)?;
    let Audit { actors, events, links, in_flight, dropped, mut findings } = audit(&reader).map_err(Failure::no)?;
    findings.splice(0..0, damage);
    if json {
        print_json(&serde_json::json!({
            "actors": actors, "events": events, "links": links, "in_flight": in_flight, "dropped": dropped,
            "findings": findings,
        }));
    } else {
        findings.iter().for_each(|finding| show::line(finding));
    }
    if !findings.is_empty() {
        return Err(Failure::no(format!("{}: {} found wrong", dir.display(), findings.len())));
    }
    if !json {
        println!(
            "verified: {actors} actors, {events} events, {links} links between them, {in_flight} messages on their way"
        );
        if dropped > 0 {
            println!("the data of {dropped} events was dropped: their hashes are verified, what they said is not");
        }
    }
    Ok(())
}

pub(super) fn replay(args: &ReplayArgs) -> Done {
    let chain = read_verified(&args.chain)?;
    let component = args.component.as_ref().map(|path| {
        std::fs::read(path).map_err(|error| Failure::no(format!("cannot read {}: {error}", path.display())))
    });
    let component = component.transpose()?;
    let engine = GuestEngine::new(None).map_err(Failure::no)?;
    let replayed = crate::actor::replay(&engine, &chain, component.as_deref(), args.until);
    let replayed = replayed.map_err(|error| {
        if args.json
            && let crate::actor::ReplayError::Diverged(at) = &error
        {
            let at = serde_json::json!({
                "sequence": at.sequence, "field": at.field, "recorded": at.recorded, "actual": at.actual,
            });
            print_json(&serde_json::json!({ "diverged": at }));
        }
        Failure::no(error)
    })?;
    let head = replayed.head.map(|head| head.to_string());
    if args.json {
        let state = args.until.map(|_| replayed.state.as_deref().map(bytes_to_json));
        let (events, transitions) = (replayed.events, replayed.transitions);
        print_json(&serde_json::json!({ "events": events, "transitions": transitions, "head": head, "state": state }));
    } else if args.until.is_some() {
        show::bytes(replayed.state.as_deref());
    } else {
        println!(
            "replayed: {} events, {} transitions, head {}",
            replayed.events,
            replayed.transitions,
            head.unwrap_or_default()
        );
    }
    Ok(())
}
