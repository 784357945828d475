//! An actor's history as the commands read it: through a running runtime, in a data directory, or in a chain file.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use parking_lot::Mutex;

use super::connect::{answered, ask, chain_length, connect, find};
use super::realm_copy::readable_dir;
use super::sandbox::engine;
use super::{Done, Failure, Remote};
use crate::actor::{PastState, Recording, computed_state, newest_state, past_state};
use crate::chain::cbor::Cbor;
use crate::chain::data::Started;
use crate::chain::{ChainEvent, ChainFile, ComponentDigest, EventHash, FileRow, History, KeptState};
use crate::journal::{self, ActorRow, JournalReader, Newest};
use crate::server::Client;
use crate::server::protocol::{EventsAnswer, Request, Response, RowView};
use crate::system::{Candidate, NotFound, Picker};

/// A chain file, verified.
pub(super) fn read_verified(path: &Path) -> Result<ChainFile, Failure> {
    ChainFile::verify(path).map_err(|error| Failure::no(format!("{}: {error}", path.display())))
}

/// An actor's history, and where it is read from.
pub(super) enum ActorHistory {
    Running { client: Client, id: String },
    Journal { reader: JournalReader, row: ActorRow },
    File(Arc<Mutex<ChainFile>>),
}

const PAGE: u64 = 1_000;
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// The row of the actor that `actor` names in a data directory: by its path, its id or its name.
pub(super) fn find_row(reader: &JournalReader, actor: &str, dir: &Path) -> Result<ActorRow, Failure> {
    let rows = reader.actors().map_err(Failure::no)?;
    if actor.contains('/')
        && let Some(row) = at_path(reader, &rows, actor)?
    {
        return Ok(row.clone());
    }
    // A label stands on the chain alone, so labels are looked at only if nothing else fits.
    let picked = pick(reader, &rows, actor, false)?;
    let picked =
        if matches!(picked, Err(NotFound::Nobody { .. })) { pick(reader, &rows, actor, true)? } else { picked };
    picked.map_err(|why| Failure::no(format!("{why}, in {}", dir.display())))
}

fn pick(
    reader: &JournalReader,
    rows: &[ActorRow],
    actor: &str,
    by_label: bool,
) -> Result<Result<ActorRow, NotFound>, Failure> {
    let mut picker = Picker::new(actor);
    for row in rows {
        let (id, label) = (row.actor.id.to_string(), if by_label { label_of(reader, row)? } else { None });
        let candidate = Candidate {
            id: &id,
            name: &row.name,
            label: label.as_deref(),
            is_root: row.parent.is_none(),
            alive: row.alive,
        };
        picker.offer(&candidate, || row.clone());
    }
    Ok(picker.pick())
}

/// The label that an actor's newest start has.
fn label_of(reader: &JournalReader, row: &ActorRow) -> Result<Option<String>, Failure> {
    let started = reader.newest_started(row.actor).map_err(Failure::no)?;
    Ok(started.and_then(|event| Started::from_cbor(&event.data).ok()).and_then(|started| started.label))
}

/// The actor with this path: the name of a root, and the labels down from it. Of several, the one that is alive, or else the
/// newest.
fn at_path<'a>(reader: &JournalReader, rows: &'a [ActorRow], path: &str) -> Result<Option<&'a ActorRow>, Failure> {
    let mut parts = path.split('/');
    let root = parts.next().unwrap_or_default();
    let mut at = holder(rows.iter().filter(|row| row.parent.is_none() && row.name == root));
    for label in parts {
        let Some(parent) = at else { return Ok(None) };
        let mut children = Vec::new();
        for child in rows.iter().filter(|row| row.parent == Some(parent.actor.id)) {
            if label_of(reader, child)?.as_deref() == Some(label) {
                children.push(child);
            }
        }
        at = holder(children.into_iter());
    }
    Ok(at)
}

fn holder<'a>(rows: impl Iterator<Item = &'a ActorRow>) -> Option<&'a ActorRow> {
    rows.max_by_key(|row| (row.alive, row.actor.key))
}

/// Whether what was given in place of an actor is a chain file. An actor of such a name is meant by its id.
fn is_chain_file(actor: &str) -> bool {
    let path = Path::new(actor);
    path.extension().is_some_and(|extension| extension == "chain") && path.is_file()
}

impl ActorHistory {
    /// The history of `actor`, or that in the chain file of this name.
    pub(super) fn open(actor: &str, data_dir: Option<&Path>, remote: &Remote) -> Result<Self, Failure> {
        let Some(dir) = data_dir else {
            if is_chain_file(actor) {
                return Ok(Self::File(Arc::new(Mutex::new(read_verified(Path::new(actor))?))));
            }
            let mut client = connect(remote)?;
            let no_file = |failure: Failure| match actor.ends_with(".chain") {
                true => Failure::no(format!("there is no chain file {actor}, and {failure}")),
                false => failure,
            };
            let id = find(&mut client, actor).map_err(no_file)?.id;
            return Ok(Self::Running { client, id });
        };
        let dir = &*readable_dir(dir)?;
        let reader = journal::open_to_read(dir).map_err(Failure::no)?;
        let row = find_row(&reader, actor, dir)?;
        Ok(Self::Journal { reader, row })
    }

    /// The history in a data directory, and how many events it has.
    pub(super) fn with_length(self) -> Result<(Self, u64), Failure> {
        let head = match &self {
            Self::Journal { reader, row } => reader.head(row.actor).map_err(Failure::no)?,
            Self::Running { .. } | Self::File(_) => None,
        };
        let length = head.map_or(0, |head| head.sequence + 1);
        Ok((self, length))
    }

    /// Gives each event from `from` on to `take`, and the sequence after the last.
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

    /// The state after event `at`; within a transition, the state before it.
    pub(super) fn state_at(&mut self, at: u64) -> Result<Option<Vec<u8>>, Failure> {
        let (recording, dir) = match self {
            Self::Running { client, id } => return fetch_past_state(client, id, at),
            Self::Journal { reader, row } => {
                (Recording::of_journal(reader.clone(), row.actor), Some(reader.dir().to_owned()))
            }
            Self::File(file) => (Recording::File(Arc::clone(file)), None),
        };
        match past_state(&recording, at).map_err(Failure::no)? {
            PastState::Is(state) => Ok(state),
            PastState::Behind(led) => computed_state(&engine(dir.as_deref())?, &recording, led).map_err(Failure::no),
        }
    }

    /// The runtime in which the actor can be followed, and its id.
    pub(super) fn followed(self) -> Result<(Client, String), Failure> {
        match self {
            Self::Running { client, id } => Ok((client, id)),
            Self::Journal { .. } | Self::File(_) => Err(Failure::usage(
                "--follow is for an actor of a running runtime: what is read here has all its events already",
            )),
        }
    }

    /// How many events there are.
    pub(super) fn length(&mut self) -> Result<u64, Failure> {
        match self {
            Self::Running { client, id } => chain_length(client, id),
            Self::Journal { reader, row } => {
                Ok(reader.head(row.actor).map_err(Failure::no)?.map_or(0, |head| head.sequence + 1))
            }
            Self::File(file) => Ok(file.lock().contents().header.events),
        }
    }

    /// The newest state; and the event that led to it, if that event's data was dropped and no event names the state.
    pub(super) fn newest_state(&mut self) -> Result<(Option<Vec<u8>>, Option<u64>), Failure> {
        let (client, id) = match self {
            Self::Journal { reader, row } => {
                let state = match reader.newest_state(row.actor).map_err(Failure::no)? {
                    Newest::Is(state) => state,
                    Newest::Behind(_) => {
                        let engine = engine(Some(reader.dir()))?;
                        newest_state(&engine, reader, row.actor).map_err(Failure::no)?
                    }
                };
                return Ok((state, reader.newest_state_is_lost_at(row.actor).map_err(Failure::no)?));
            }
            Self::File(_) => {
                let last = self.length()?.saturating_sub(1);
                return Ok((self.state_at(last)?, None));
            }
            Self::Running { client, id } => (client, id),
        };
        let answer = ask(client, &Request::GetActorState { id: id.clone() });
        let answer = answered!(answer, Response::ActorState { state, length, lost, .. } => (state, length, lost));
        Ok(match answer {
            (Some(state), _, lost) => (Some(BASE64.decode(state).map_err(Failure::no)?), lost),
            (None, Some(_), lost) => {
                (Some(fetch(client, |offset| Request::GetStateBytes { id: id.clone(), offset, at: None })?), lost)
            }
            (None, None, lost) => (None, lost),
        })
    }
}

impl History for ActorHistory {
    type Error = Failure;

    fn page(&mut self, from: u64) -> Result<Vec<ChainEvent>, Failure> {
        match self {
            Self::Journal { reader, row } => {
                Ok(reader.events(row.actor, from, PAGE, PAGE_BYTES).map_err(Failure::no)?)
            }
            Self::File(file) => file.lock().events(from, PAGE, PAGE_BYTES).map_err(Failure::no),
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

    fn component(&mut self, digest: ComponentDigest) -> Result<Vec<u8>, Failure> {
        let gone = || Failure::no(format!("the component {digest} is not kept; export with --no-component"));
        match self {
            Self::Journal { reader, .. } => reader.component(digest).map_err(Failure::no)?.ok_or_else(gone),
            Self::File(file) => file.lock().component(digest).map_err(Failure::no)?.ok_or_else(gone),
            Self::Running { client, .. } => {
                fetch(client, |offset| Request::GetComponent { digest: digest.to_string(), offset })
            }
        }
    }

    fn kept_after(&mut self, behind: u64) -> Result<Option<KeptState>, Failure> {
        match self {
            Self::Journal { reader, row } => {
                let first = reader.first_kept_behind(row.actor, behind).map_err(Failure::no)?;
                first.map_or(Ok(None), |first| reader.kept_state(row.actor, first + 1)).map_err(Failure::no)
            }
            Self::File(file) => file.lock().state_behind(behind).map_err(Failure::no),
            Self::Running { client, id } => fetch_kept(client, id, behind),
        }
    }

    fn rows(&mut self, sequence: u64, behind: Option<&[u8]>) -> Result<Vec<FileRow>, Failure> {
        match self {
            Self::Journal { reader, row } => Ok(reader.file_rows(row.actor, sequence, behind).map_err(Failure::no)?),
            Self::File(file) => {
                let rows = file.lock().rows(sequence).map_err(Failure::no)?.into_iter();
                Ok(rows.filter(|row| behind.is_none_or(|behind| *row.key > *behind)).collect())
            }
            Self::Running { client, id } => fetch_rows(client, id, sequence, behind),
        }
    }

    fn blob(&mut self, sha1: &[u8; 20]) -> Result<Vec<u8>, Failure> {
        let gone = || Failure::no(format!("the state {} is not kept", hex::encode(sha1)));
        match self {
            Self::Journal { reader, .. } => reader.blob(sha1).map_err(Failure::no)?.ok_or_else(gone),
            Self::File(file) => file.lock().blob(sha1).map_err(Failure::no)?.ok_or_else(gone),
            Self::Running { client, .. } => {
                fetch(client, |offset| Request::GetBlob { digest: hex::encode(sha1), offset })
            }
        }
    }
}

/// Fetches bytes that may be longer than a frame, piece by piece.
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

fn fetch_past_state(client: &mut Client, id: &str, at: u64) -> Result<Option<Vec<u8>>, Failure> {
    let mut bytes = Vec::new();
    loop {
        let request = Request::GetStateBytes { id: id.to_owned(), offset: bytes.len() as u64, at: Some(at) };
        let (size, data, then, no_state) = answered!(
            ask(client, &request),
            Response::Bytes { size, data, at, no_state, .. } => (size, data, at, no_state)
        );
        // An earlier version answers with the newest state, and does not say of which event.
        if then != Some(at) {
            return Err(Failure::no(
                "the runtime is of an earlier version and does not show past states; `--data-dir DIR` reads them",
            ));
        }
        if no_state {
            return Ok(None);
        }
        let stretch = BASE64.decode(data).map_err(Failure::no)?;
        let ended = stretch.is_empty();
        bytes.extend(stretch);
        if ended || bytes.len() as u64 >= size {
            return Ok(Some(bytes));
        }
    }
}

fn fetch_kept(client: &mut Client, id: &str, behind: u64) -> Result<Option<KeptState>, Failure> {
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

fn fetch_rows(client: &mut Client, id: &str, after: u64, behind: Option<&[u8]>) -> Result<Vec<FileRow>, Failure> {
    let page = super::rows::fetch_page(client, id, &[], behind, PAGE, Some(after))?;
    let row = |view: RowView| {
        let (key, value) = super::rows::value_of(client, id, &view, Some(after))?;
        let hash = EventHash::parse(&view.hash).ok_or_else(|| Failure::no(format!("{} is no hash", view.hash)))?;
        Ok(FileRow { key, hash, value })
    };
    page.into_iter().map(row).collect()
}
