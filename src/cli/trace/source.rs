//! Where a trace reads events: through the management protocol, or in a data directory.

use std::collections::HashMap;

use super::super::Failure;
use super::super::connect::{answered, ask, chain_length};
use crate::base::id::ActorId;
use crate::chain::ChainEvent;
use crate::chain::cbor::Cbor;
use crate::chain::data::Started;
use crate::journal::{ActorRow, JournalReader};
use crate::server::Client;
use crate::server::protocol::{EventsAnswer, Request, Response, StatusAnswer};

/// Data beyond this, on one page, is left for the next page.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// So many labels are put together.
const PATH_PARTS: usize = 64;
/// The beginning of an id that tells actors apart.
pub(super) const ID_CHARS: usize = 8;

/// The chains of actors. An error says why a chain cannot be read.
pub(in crate::cli) trait EventSource {
    /// The events from `from` on, at most `limit`; none at the end of the chain.
    fn page(&mut self, actor: ActorId, from: u64, limit: u64) -> Result<Vec<ChainEvent>, Failure>;

    /// How many events the chain has.
    fn length(&mut self, actor: ActorId) -> Result<u64, Failure>;

    /// The actor's path; of an actor that has none, its name and the beginning of its id. Nothing if it is not known.
    fn name(&mut self, actor: ActorId) -> Option<String>;
}

impl EventSource for Client {
    fn page(&mut self, actor: ActorId, from: u64, limit: u64) -> Result<Vec<ChainEvent>, Failure> {
        let request = Request::GetActorEvents { id: actor.to_string(), from: Some(from), limit: Some(limit) };
        let answer = ask(self, &request);
        let events = answered!(answer, Response::ActorEvents(EventsAnswer::Page { events, .. }) => events);
        // Data that does not fit a page is left out: a trace shows no more than the beginning of it.
        events.into_iter().map(|event| event.into_event(|_| Ok(Vec::new())).map_err(Failure::no)).collect()
    }

    fn length(&mut self, actor: ActorId) -> Result<u64, Failure> {
        chain_length(self, &actor.to_string())
    }

    fn name(&mut self, actor: ActorId) -> Option<String> {
        match self.ask(&Request::ActorStatus { id: actor.to_string() }) {
            Ok(Response::ActorStatus(StatusAnswer::Actor { actor: view })) => {
                Some(view.path.unwrap_or_else(|| without_path(&view.name, actor)))
            }
            _ => None,
        }
    }
}

/// The chains in a data directory.
pub(in crate::cli) struct DirectoryEvents {
    reader: JournalReader,
    rows: HashMap<ActorId, ActorRow>,
}

impl DirectoryEvents {
    pub(in crate::cli) fn of(reader: JournalReader) -> Result<Self, Failure> {
        let rows = reader.actors().map_err(Failure::no)?;
        Ok(Self { reader, rows: rows.into_iter().map(|row| (row.actor.id, row)).collect() })
    }

    /// The name of its root and the labels down to it, if each actor on the way has one.
    fn path(&self, row: &ActorRow, parts: usize) -> Option<String> {
        let Some(parent) = row.parent else { return Some(row.name.clone()) };
        let above = self.path(self.rows.get(&parent)?, parts.checked_sub(1)?)?;
        let started = self.reader.newest_started(row.actor).ok()??;
        let label = Started::from_cbor(&started.data).ok()?.label?;
        Some(format!("{above}/{label}"))
    }

    fn row(&self, actor: ActorId) -> Result<&ActorRow, Failure> {
        self.rows.get(&actor).ok_or_else(|| Failure::no(format!("no such actor: {actor}")))
    }
}

impl EventSource for DirectoryEvents {
    fn page(&mut self, actor: ActorId, from: u64, limit: u64) -> Result<Vec<ChainEvent>, Failure> {
        self.reader.events(self.row(actor)?.actor, from, limit, PAGE_BYTES).map_err(Failure::no)
    }

    fn length(&mut self, actor: ActorId) -> Result<u64, Failure> {
        let head = self.reader.head(self.row(actor)?.actor).map_err(Failure::no)?;
        Ok(head.map_or(0, |head| head.sequence + 1))
    }

    fn name(&mut self, actor: ActorId) -> Option<String> {
        let row = self.rows.get(&actor)?;
        Some(self.path(row, PATH_PARTS).unwrap_or_else(|| without_path(&row.name, actor)))
    }
}

/// Several children of one actor may have the same name.
fn without_path(name: &str, actor: ActorId) -> String {
    format!("{name} {}", &actor.to_string()[..ID_CHARS])
}
