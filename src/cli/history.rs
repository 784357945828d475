//! Commands about an actor's history: from a running runtime, from a data directory, or from a chain file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;

use super::output::{Output, named};
use super::remote::{answered, ask, connect, find};
use super::show::{self, print_json, say};
use super::{Done, Failure, Remote};
use crate::actor::{Audit, audit};
use crate::chain::cbor::{Cbor, bytes_to_json};
use crate::chain::data::{NamedState, Started};
use crate::chain::{
    ChainEvent, ChainFile, ChainFileContents, ChainFileWriter, ComponentDigest, DroppedEvents, EventHash, EventKind,
    Header, StateOnChain, States, vouched_after,
};
use crate::journal::{self, ActorRow, JournalReader};
use crate::server::Client;
use crate::server::protocol::{EventsAnswer, Request, Response};
use crate::system::{Candidate, Picker};

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
    let mut picker = Picker::new(actor);
    for row in reader.actors().map_err(Failure::no)? {
        let (id, name) = (row.actor.id.to_string(), row.name.clone());
        picker.offer(&Candidate { id: &id, name: &name, alive: row.alive }, || row);
    }
    picker.pick().map_err(|why| Failure::no(format!("{why}, in {}", dir.display())))
}

/// What is wrong with where the actor's chain is said to end: it is read from there.
pub(super) fn misplaced_end(reader: &JournalReader, row: &ActorRow) -> Result<Option<String>, Failure> {
    let id = row.actor.id.to_string();
    Ok(reader.misplaced_ends().map_err(Failure::no)?.into_iter().find(|wrong| wrong.contains(&id)))
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
        // What is left of a damaged journal can be read; that it is not all of it is said.
        if let Some(wrong) = misplaced_end(&reader, &row).unwrap_or_else(|failure| Some(failure.message)) {
            super::stderr::tell(&format!("theater: {}: {wrong}", dir.display()));
        }
        Ok(Self::Journal { reader, row })
    }

    /// The events from `from` on, a page at a time; empty at the end.
    fn page(&mut self, from: u64) -> Result<Vec<ChainEvent>, Failure> {
        match self {
            Self::Journal { reader, row } => {
                Ok(reader.events(row.actor, from, PAGE, PAGE_BYTES).map_err(Failure::no)?)
            }
            Self::Running { client, id } => {
                let request = Request::GetActorEvents { id: id.clone(), from: Some(from), limit: Some(PAGE) };
                let answer = ask(client, &request);
                let events = answered!(answer, Response::ActorEvents(EventsAnswer::Page { events, .. }) => events);
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

    /// The newest state, and the event that led to it where that names it no more.
    fn newest_state(&mut self) -> Result<(Option<Vec<u8>>, Option<u64>), Failure> {
        let (client, id) = match self {
            Self::Journal { reader, row } => {
                if let Some(wrong) = misplaced_end(reader, row)? {
                    return Err(Failure::no(wrong));
                }
                if let Some(wrong) = reader.wrong_newest_state(row.actor).map_err(Failure::no)? {
                    return Err(Failure::no(format!("actor {} ({}): {wrong}", row.name, row.actor.id)));
                }
                let state = reader.newest_state(row.actor).map_err(Failure::no)?;
                return Ok((state, reader.newest_state_is_lost_at(row.actor).map_err(Failure::no)?));
            }
            Self::Running { client, id } => (client, id),
        };
        let answer = ask(client, &Request::GetActorState { id: id.clone() });
        let answer = answered!(answer, Response::ActorState { state, length, lost, .. } => (state, length, lost));
        Ok(match answer {
            (Some(state), _, lost) => (Some(BASE64.decode(state).map_err(Failure::no)?), lost),
            (None, Some(_), lost) => {
                (Some(fetch(client, |offset| Request::GetStateBytes { id: id.clone(), offset })?), lost)
            }
            (None, None, lost) => (None, lost),
        })
    }

    /// The first kept state behind an event.
    fn kept_behind(&mut self, behind: u64) -> Result<Option<(u64, Option<Vec<u8>>)>, Failure> {
        match self {
            Self::Journal { reader, row } => {
                let first = reader.first_kept_behind(row.actor, behind).map_err(Failure::no)?;
                first.map_or(Ok(None), |first| reader.kept_state(row.actor, first + 1)).map_err(Failure::no)
            }
            Self::Running { client, id } => fetch_kept(client, id, behind),
        }
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
    let (state, lost) = Source::open(&args.actor, args.data_dir.as_deref(), &args.remote)?.newest_state()?;
    if let Some(event) = lost {
        super::stderr::tell(&format!(
            "theater: no event names this state: the data of event {event}, which led to it, was dropped"
        ));
    }
    if args.remote.json {
        print_json(&serde_json::json!({ "state": state.as_deref().map(bytes_to_json) }));
    } else {
        show::bytes(state.as_deref());
    }
    Ok(())
}

/// What a first pass finds of a chain: the header and the attachments tell it. The chain may grow meanwhile, the export
/// does not.
struct Survey {
    starts: Vec<Started>,
    last: Option<(u64, EventHash)>,
    dropped: DroppedEvents,
    now: StateOnChain,
    /// What the events say of the state behind each stretch whose data was dropped.
    behind: Vec<(u64, StateOnChain)>,
}

impl Survey {
    fn take(&mut self, event: &ChainEvent) -> Done {
        self.last = Some((event.sequence, event.hash));
        if event.kind() == Some(EventKind::Started) {
            let started = Started::from_cbor(&event.data);
            let wrong = |error| Failure::no(format!("event {}: {error}", event.sequence));
            self.starts.push(started.map_err(wrong)?);
        }
        self.now = vouched_after(self.now.clone(), event);
        if event.dropped.is_some() {
            self.dropped.add(event.sequence);
            self.behind.pop_if(|(before, _)| before.checked_add(1) == Some(event.sequence));
            self.behind.push((event.sequence, self.now.clone()));
        }
        Ok(())
    }
}

pub(super) fn export(args: &ExportArgs) -> Done {
    let mut source = Source::open(&args.actor, args.data_dir.as_deref(), &args.remote)?;
    let (starts, dropped, behind) = (Vec::new(), DroppedEvents::default(), Vec::new());
    let mut survey = Survey { starts, last: None, dropped, now: StateOnChain::Lost(0), behind };
    source.each(0, |event| survey.take(&event))?;
    let (Some((last, head)), Some(newest)) = (survey.last, survey.starts.last()) else {
        return Err(Failure::no("the actor has no history yet"));
    };
    let mut components = BTreeMap::new();
    let mut blobs = BTreeMap::new();
    if !args.no_component {
        for digest in survey.starts.iter().map(|started| started.component).collect::<BTreeSet<_>>() {
            components.insert(digest, source.component(digest)?);
        }
    }
    for started in &survey.starts {
        if let NamedState::Digest { sha1, .. } = &started.state {
            blobs.insert(*sha1, source.blob(sha1)?);
        }
    }
    let states = states(&mut source, &survey, last)?;
    let attachments = (components.len() + blobs.len() + states.len()) as u64;
    let version = if survey.dropped.is_empty() { 1 } else { 2 };
    let (actor, component) = (newest.id, newest.component);
    let header = Header { actor, component, attachments, events: last + 1, head, version };
    let failed = |error: std::io::Error| Failure::no(format!("cannot write {}: {error}", named(&args.output)));
    let sink = Output::to(&args.output).map_err(failed)?;
    let mut file = ChainFileWriter::begin(sink, &header, &components, &blobs, &states).map_err(failed)?;
    let mut next = 0;
    while next <= last {
        let page = source.page(next)?;
        if page.is_empty() {
            return Err(Failure::no(format!("event {next} is not there any more")));
        }
        for event in page.into_iter().take_while(|event| event.sequence <= last) {
            next = event.sequence + 1;
            file.event(&event).map_err(failed)?;
        }
    }
    file.finish().and_then(Output::finish).map_err(failed)?;
    super::stderr::tell(&format!("{} events, head {head}", header.events));
    Ok(())
}

/// Behind each stretch whose data was dropped, the first kept state that an event names: a replay begins with it.
fn states(source: &mut Source, survey: &Survey, last: u64) -> Result<States, Failure> {
    let mut states = States::new();
    for (gap, behind) in &survey.behind {
        let (mut at, mut now) = (*gap, behind.clone());
        while let Some((sequence, state)) = source.kept_behind(at)?.filter(|(sequence, _)| *sequence <= last) {
            now = named_behind(source, now, at + 1, sequence)?;
            if let StateOnChain::Named(named) = &now {
                if *named != NamedState::of(state.as_deref()) {
                    let why = format!("the state kept behind event {sequence} is not the one that the chain names");
                    return Err(Failure::no(why));
                }
                states.insert(sequence, state);
                break;
            }
            at = sequence;
        }
    }
    Ok(states)
}

/// What a chain says of the state behind event `last`, where it says `now` before event `from`.
fn named_behind(source: &mut Source, mut now: StateOnChain, from: u64, last: u64) -> Result<StateOnChain, Failure> {
    let mut next = from;
    while next <= last {
        let page = source.page(next)?;
        let Some(newest) = page.last() else { break };
        next = newest.sequence + 1;
        for event in page.iter().filter(|event| event.sequence <= last) {
            now = vouched_after(now, event);
        }
    }
    Ok(now)
}

pub(super) fn read_verified(path: &Path) -> Result<ChainFile, Failure> {
    ChainFile::verify(path).map_err(|error| Failure::no(format!("{}: {error}", path.display())))
}

pub(super) fn verify(args: &VerifyArgs) -> Done {
    let path = match (&args.chain, &args.journal) {
        (_, Some(dir)) => return verify_journal(dir, args.json),
        (Some(chain), None) => chain,
        (None, None) => unreachable!("clap asks for one of them"),
    };
    let contents = ChainFile::check(path).map_err(|error| Failure::no(format!("{}: {error}", path.display())))?;
    let ChainFileContents { header, incarnations, dropped, unvouched, .. } = &contents;
    let (events, head) = (header.events, header.head);
    if args.json {
        let stretches: Vec<_> = dropped.stretches().iter().map(|stretch| [stretch.start(), stretch.end()]).collect();
        print_json(&serde_json::json!({
            "actor": header.actor.to_string(), "events": events, "incarnations": incarnations, "head": head.to_string(),
            "dropped": dropped.count(), "dropped_events": stretches, "unvouched_states": unvouched,
        }));
        return Ok(());
    }
    say!("verified: {events} events, {incarnations} incarnations, head {head}");
    if !dropped.is_empty() {
        let dropped = dropped.described(events);
        say!("the data of {dropped} was dropped: their hashes are verified, what they said is not");
    }
    for sequence in unvouched {
        say!(
            "the state attached behind event {sequence} is named by no event, since data was dropped: replay does not use it"
        );
    }
    Ok(())
}

pub(super) fn things_are_wrong(count: usize) -> String {
    if count == 1 { "1 thing is wrong".to_owned() } else { format!("{count} things are wrong") }
}

fn verify_journal(dir: &Path, json: bool) -> Done {
    let Audit { actors, events, links, in_flight, dropped, unvouched, findings } = audit(dir).map_err(Failure::no)?;
    if json {
        print_json(&serde_json::json!({
            "actors": actors, "events": events, "links": links, "in_flight": in_flight, "dropped": dropped,
            "unvouched_states": unvouched, "findings": findings,
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
        if unvouched > 0 {
            say!(
                "{unvouched} stored states are named by no event, since data was dropped: whether they are what was written cannot be told"
            );
        }
    }
    Ok(())
}
