//! The table `http`: a row for each HTTP request that an actor was called for.

use std::collections::{HashMap, VecDeque};
use std::ffi::CStr;

use rusqlite::types::Value as Cell;

use super::cells::{between, number, text, time};
use super::source::SqlSource;
use super::table::{ReadingWays, SqlColumn, SqlTable};
use super::walk::{EventWalk, WalkedEvent, closing_of};
use super::wanted::{ColumnKey, WantedRows};
use crate::chain::cbor::{Cbor, Value};
use crate::chain::data::Refused;
use crate::chain::{ChainEvent, EventKind};
use crate::handlers::http_events::{
    is_ending, is_request, of_request, of_response, status_of_response, text_of_request,
};

pub(super) struct HttpTable {
    walk: EventWalk,
    /// The call that each actor is at work on, as far as the walk has come.
    open: HashMap<usize, WalkedEvent>,
    /// Those that had not ended where the walk did.
    left: VecDeque<HandledRequest>,
}

/// The `call` for a request, and the event that ended it.
pub(super) struct HandledRequest {
    call: WalkedEvent,
    closing: Option<ChainEvent>,
}

impl HandledRequest {
    /// What the request was, as far as its data was not dropped.
    fn request<T>(&self, source: &SqlSource, show: impl FnOnce(&Value<'_>) -> Option<T>) -> Option<T> {
        of_request(source.with_data(&self.call.event)?, show)
    }

    /// A text of the request.
    fn said(&self, source: &SqlSource, key: &str) -> Option<String> {
        text_of_request(source.with_data(&self.call.event)?, key)
    }

    /// The path and the query of the request's target.
    fn target(&self, source: &SqlSource) -> Option<(String, Option<String>)> {
        let uri = self.said(source, "uri")?;
        Some(match uri.split_once('?') {
            Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
            None => (uri, None),
        })
    }

    /// The event of the response, if the actor returned one.
    fn returned<'e>(&'e self, source: &SqlSource) -> Option<&'e ChainEvent> {
        let closing = self.closing.as_ref().filter(|closing| closing.kind() == Some(EventKind::Return))?;
        source.with_data(closing)
    }

    fn status(&self, source: &SqlSource) -> Option<u64> {
        match self.closing.as_ref()?.kind()? {
            EventKind::Return => status_of_response(self.returned(source)?),
            EventKind::Refused | EventKind::Failed => Some(500),
            EventKind::Started | EventKind::Call | EventKind::Intent | EventKind::HostCall | EventKind::Stopped => None,
        }
    }
}

impl HttpTable {
    /// Takes an event; returns an exchange where it ends one.
    fn take(&mut self, walked: WalkedEvent) -> Option<HandledRequest> {
        if is_request(&walked.event.event_type) {
            self.open.insert(walked.actor, walked);
            return None;
        }
        if !is_ending(&walked.event.event_type) {
            return None;
        }
        let call = self.open.remove(&walked.actor)?;
        Some(HandledRequest { call, closing: Some(walked.event) })
    }

    /// The walk is over: what is still open may have ended behind what was to be walked through.
    fn end(&mut self, source: &SqlSource) -> rusqlite::Result<()> {
        let mut open: Vec<WalkedEvent> = self.open.drain().map(|(_, call)| call).collect();
        open.sort_by_key(|call| (call.position, call.actor));
        for call in open {
            let closing = closing_of(source, call.actor, call.event.sequence)?;
            self.left.push_back(HandledRequest { call, closing });
        }
        Ok(())
    }
}

type HttpColumn = SqlColumn<HandledRequest>;

impl SqlTable for HttpTable {
    const NAME: &'static CStr = c"http";
    const MEANING: &'static str = "the HTTP requests that actors were called for, in the order in which they ended";
    const WAYS: ReadingWays = ReadingWays::JournalOrChains;
    const COLUMNS: &'static [HttpColumn] = &[
        HttpColumn::integer("position", "the place of the `call` in the order of all events", |source, row| {
            Ok(number(row.call.position(source)?))
        })
        .by(ColumnKey::Position),
        HttpColumn::text("actor", "the UUID of the actor", |source, row| {
            Ok(text(Some(source.actors[row.call.actor].actor.id)))
        })
        .by(ColumnKey::Actor),
        HttpColumn::text("name", "the name of the actor", |source, row| {
            Ok(text(Some(&source.actors[row.call.actor].name)))
        })
        .by(ColumnKey::Name),
        HttpColumn::integer("sequence", "the place of the `call` on the actor's chain", |_, row| {
            Ok(number(Some(row.call.event.sequence)))
        })
        .by(ColumnKey::Sequence),
        HttpColumn::text("time", "when the actor was called", |_, row| Ok(time(Some(row.call.event.timestamp)))),
        HttpColumn::integer("unix_ms", "the same, in milliseconds since the Unix epoch", |_, row| {
            Ok(number(Some(row.call.event.timestamp)))
        }),
        HttpColumn::text("method", "the method of the request", |source, row| Ok(text(row.said(source, "method")))),
        HttpColumn::text("path", "the path of the request, still percent-encoded", |source, row| {
            Ok(text(row.target(source).map(|(path, _)| path)))
        }),
        HttpColumn::text("query", "what follows the `?`; NULL if there is none", |source, row| {
            Ok(text(row.target(source).and_then(|(_, query)| query)))
        }),
        HttpColumn::integer(
            "status",
            "the status of the response, or of a stream's head; 500 if the actor refused or failed; NULL if it was stopped or is at work",
            |source, row| Ok(number(row.status(source))),
        ),
        HttpColumn::text(
            "outcome",
            "`return`, `refused`, `failed` or `stopped`: how the call ended; `taken` while it has not",
            |_, row| {
                let ended = row.closing.as_ref().and_then(ChainEvent::kind);
                Ok(text(Some(ended.map_or("taken", EventKind::word))))
            },
        ),
        HttpColumn::integer("took_ms", "milliseconds from the call to its end", |_, row| {
            let ended = row.closing.as_ref().map(|closing| closing.timestamp);
            Ok(between(Some(row.call.event.timestamp), ended))
        }),
        HttpColumn::integer("closing", "the place of the event that ended the call on the actor's chain", |_, row| {
            Ok(number(row.closing.as_ref().map(|closing| closing.sequence)))
        }),
        HttpColumn::text("request", "the whole request, as JSON", |source, row| {
            Ok(text(row.request(source, |request| Some(request.to_json()))))
        }),
        HttpColumn::text("response", "the whole response that the actor returned, as JSON", |source, row| {
            Ok(text(row.returned(source).and_then(|it| of_response(it, |response| Some(response.to_json())))))
        }),
        HttpColumn::text("error", "the text with which the actor refused; NULL if it did not", |source, row| {
            let refused = row.closing.as_ref().filter(|closing| closing.kind() == Some(EventKind::Refused));
            let Some(refused) = refused.and_then(|refused| source.with_data(refused)) else { return Ok(Cell::Null) };
            Ok(text(Refused::from_cbor(&refused.data).ok().map(|refused| refused.message)))
        }),
    ];

    type Row = HandledRequest;

    fn begin(source: &SqlSource, wanted: WantedRows) -> Self {
        Self { walk: EventWalk::new(source, wanted), open: HashMap::new(), left: VecDeque::new() }
    }

    fn next(&mut self, source: &SqlSource) -> rusqlite::Result<Option<HandledRequest>> {
        let picks = |_: usize, event_type: &str| is_request(event_type) || is_ending(event_type);
        while let Some(walked) = self.walk.next(source, picks)? {
            if let Some(exchange) = self.take(walked) {
                return Ok(Some(exchange));
            }
        }
        self.end(source)?;
        Ok(self.left.pop_front())
    }
}
