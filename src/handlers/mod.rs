//! The handlers: what an actor can be granted, one file each, all of one pattern.
//!
//! A handler is a [`Capability`] (host functions it links, exports it delivers to) with a configuration and, for some,
//! a listener. To add one: a file here, a row in [`HANDLERS`], a WIT file. No handler knows another.

mod http_client;
mod http_server;
mod message_server;
mod runtime;
mod supervisor;

use std::net::SocketAddr;
use std::sync::Arc;

pub(crate) use message_server::{HANDLE_REQUEST, HANDLE_SEND, REQUEST, SEND};
pub(crate) use runtime::INIT;
pub(crate) use supervisor::{HANDLE_CHILD_EVENT, RESTART_CHILD, SPAWN, STOP_CHILD};

use crate::base::id::ActorId;
use crate::base::limits::Limits;
use crate::guest::{Capability, Extensions};
use crate::manifest::{HandlerEntry, Manifest, ManifestError, nearest};
use crate::system::TheaterHandle;

/// One capability with its configuration, granted to one actor.
pub(crate) trait Handler: Capability + Send + Sync {
    /// Leaves what its host functions need of the configuration.
    fn install(&self, _extensions: &mut Extensions) {}

    /// Starts its listener, if it has one. The error is for the person who started the actor.
    fn start(&self, _actor: &ActorRef) -> Result<Option<Box<dyn Source>>, String> {
        Ok(None)
    }
}

/// A listener at work. Dropping it stops it and joins its threads.
pub(crate) trait Source: Send {
    fn address(&self) -> SocketAddr;
}

/// The actor a listener delivers to.
#[derive(Clone)]
pub(crate) struct ActorRef {
    pub(crate) id: ActorId,
    pub(crate) name: Arc<str>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) theater: TheaterHandle,
}

/// One row of [`HANDLERS`].
struct Kind {
    name: &'static str,
    /// The interfaces whose functions it links.
    imports: &'static [&'static str],
    /// Whether every actor has it, listed or not.
    always: bool,
    /// Makes it from its entry, or with defaults.
    make: fn(Option<&HandlerEntry>) -> Result<Box<dyn Handler>, ManifestError>,
}

/// Every handler there is.
const HANDLERS: &[Kind] = &[
    Kind { name: runtime::NAME, imports: runtime::IMPORTS, always: true, make: runtime::make },
    Kind { name: message_server::NAME, imports: message_server::IMPORTS, always: true, make: message_server::make },
    Kind { name: http_server::NAME, imports: &[], always: false, make: http_server::make },
    Kind { name: http_client::NAME, imports: http_client::IMPORTS, always: false, make: http_client::make },
    Kind { name: supervisor::NAME, imports: supervisor::IMPORTS, always: false, make: supervisor::make },
];

/// The handlers a manifest grants.
pub(crate) fn granted(manifest: &Manifest) -> Result<Vec<Box<dyn Handler>>, ManifestError> {
    for (at, entry) in manifest.handlers.iter().enumerate() {
        if !HANDLERS.iter().any(|kind| kind.name == entry.kind) {
            return Err(entry.error(unknown(&entry.kind)));
        }
        if manifest.handlers[..at].iter().any(|earlier| earlier.kind == entry.kind) {
            return Err(entry.error(format!("the handler \"{}\" is listed twice", entry.kind)));
        }
    }
    let entry = |kind: &Kind| manifest.handlers.iter().find(|entry| entry.kind == kind.name);
    let wanted = HANDLERS.iter().filter(|kind| kind.always || entry(kind).is_some());
    wanted.map(|kind| (kind.make)(entry(kind))).collect()
}

/// Every handler, with defaults: replay links them all, since none of their effects happens.
pub(crate) fn every() -> Vec<Box<dyn Handler>> {
    HANDLERS.iter().map(|kind| (kind.make)(None).expect("defaults are valid")).collect()
}

/// Each handler with the interfaces it would grant, to name the one that is missing.
pub(crate) fn catalogue() -> Vec<(&'static str, &'static [&'static str])> {
    HANDLERS.iter().map(|kind| (kind.name, kind.imports)).collect()
}

fn unknown(name: &str) -> String {
    let known: Vec<&str> = HANDLERS.iter().map(|kind| kind.name).collect();
    let hint = nearest(name, &known).map(|nearest| format!("did you mean \"{nearest}\"? "));
    format!("unknown handler \"{name}\"; {}the handlers are: {}", hint.unwrap_or_default(), known.join(", "))
}
