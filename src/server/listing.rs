//! Lists of actors: all of them in one answer if they fit, page by page, and the one that a text names.

use super::metrics::{self, ActorMetricsView};
use super::protocol::{ActorView, Response, StatusAnswer};
use crate::base::limits::{ACTORS_PAGE, ACTORS_PAGE_BYTES, ACTORS_UNPAGED};
use crate::system::{ActorInfo, TheaterHandle};

/// An error if there are so many actors that they cannot fit one answer: each takes bytes for an id, a name and a
/// manifest.
pub(super) fn fits_one_answer(theater: &TheaterHandle, by_pages: &str) -> Result<(), String> {
    let count = theater.registry.count();
    if count <= ACTORS_UNPAGED {
        return Ok(());
    }
    Err(format!("{count} actors do not fit one answer, which has at most {ACTORS_UNPAGED}; {by_pages}"))
}

pub(super) fn actors(theater: &TheaterHandle, from: u64, limit: Option<u64>) -> Response {
    let (infos, next) = page(theater, from, limit);
    Response::Actors { actors: infos.into_iter().map(ActorView::from).collect(), next }
}

pub(super) fn metrics(theater: &TheaterHandle, from: u64, limit: Option<u64>) -> Response {
    let (infos, next) = page(theater, from, limit);
    let reader = theater.journal.reader().ok();
    let measured = infos.into_iter().filter_map(|info| metrics::of_actor(theater, reader.as_ref(), info));
    let actors: Vec<ActorMetricsView> = measured.map(|(view, _)| view).collect();
    Response::MetricsPage { actors, next }
}

/// A page of actors, and the place where the next page begins. The page has at least one actor, if there is one.
fn page(theater: &TheaterHandle, from: u64, limit: Option<u64>) -> (Vec<ActorInfo>, Option<u64>) {
    let most = usize::try_from(limit.unwrap_or(ACTORS_PAGE).clamp(1, ACTORS_PAGE)).unwrap_or(usize::MAX);
    let found = theater.actors_from(from, most + 1);
    let mut bytes = 0;
    let mut infos = Vec::new();
    for (place, info) in found {
        bytes += about_bytes(&info);
        if infos.len() == most || (bytes > ACTORS_PAGE_BYTES && !infos.is_empty()) {
            return (infos, Some(place));
        }
        infos.push(info);
    }
    (infos, None)
}

/// About how many bytes an answer has for this actor.
fn about_bytes(info: &ActorInfo) -> usize {
    const REST: usize = 1024;
    // A control character has six characters in JSON.
    let escaped = |text: &str| text.chars().map(|c| if c.is_control() { 6 } else { c.len_utf8() + 1 }).sum::<usize>();
    let failure = match &info.status {
        crate::system::ActorStatus::Failed { detail, .. } => escaped(detail),
        _ => 0,
    };
    let path = info.path.as_deref().map_or(0, escaped);
    REST + escaped(&info.name) + path + escaped(&info.manifest_path) + failure
}

/// The actor that `text` names.
pub(super) fn find(theater: &TheaterHandle, text: &str) -> Result<Response, String> {
    let found = theater.find(text).map_err(|error| error.to_string())?;
    Ok(Response::ActorStatus(StatusAnswer::Actor { actor: Box::new(found.into()) }))
}
