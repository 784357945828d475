//! The handlers: the capabilities that a manifest can grant to an actor, in one file or folder each.
//!
//! A handler is a [`Capability`] (host functions that it links, exported functions that it calls) with a configuration
//! and, for some handlers, a listener. To add a handler here, add a file, a row in [`HANDLERS`] and a WIT file. An
//! embedder adds one from outside, by the trait [`Handler`]. No handler uses another; what listeners share is in the
//! layer `net`.

mod async_requests;
mod clock;
mod config;
mod deferred_replies;
mod directory_usage;
mod filesystem;
mod http_client;
pub(crate) mod http_events;
mod http_server;
mod listen_address;
mod message_server;
mod migration;
mod monitor;
mod noticed;
mod own;
mod random;
mod runtime;
mod slow_clients;
mod supervisor;
mod table;
mod timer;
mod unheard;
mod websocket_server;

use std::collections::HashSet;
use std::net::TcpListener;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

pub(crate) use http_client::{OwnAnswer, OwnServer, hostile_texts};
pub(crate) use http_server::{AskedActor, answer_http, is_repeatable};
pub(crate) use listen_address::ListenAddress;
pub(crate) use noticed::is_noticed;
pub(crate) use own::caller;
pub use own::{BeyondLimit, CallContext, Handler, HostFunctions, HostParams, HostResult, LinkError};
pub(crate) use runtime::INIT;
pub(crate) use unheard::unheard;
pub(crate) use websocket_server::send_answer;

use crate::base::id::ActorId;
use crate::base::limits::Limits;
use crate::guest::{Capability, Extensions, GuestEngine};
use crate::manifest::{HandlerEntry, Manifest, ManifestError, beginning_with, nearest};
use crate::net;
use crate::system::{Address, MissedRounds, Secrets, TheaterHandle};
use own::OwnKind;

/// Feeds the HTTP server's and the HTTP client's parsers with bytes that a client or server might send, for fuzzing.
pub(crate) fn hostile_http(bytes: &[u8]) {
    net::http::hostile_http(bytes);
    http_client::hostile_response(bytes);
}

/// One capability with its configuration, as granted to one actor.
pub(crate) trait Grant: Capability + Send + Sync {
    /// Stores the parts of the configuration that the host functions need.
    fn install(&self, _extensions: &mut Extensions) {}

    /// The directory that the guest may write to, if there is one. No actor may spawn a file from it.
    fn writes_below(&self) -> Option<&Path> {
        None
    }

    /// The directories, besides the manifest's own, from which the guest may spawn; `None` if it may not spawn.
    fn spawns_from(&self) -> Option<&[PathBuf]> {
        None
    }

    /// The manifests that the operator's own manifest allows the guest to spawn, wherever they lie.
    fn children(&self) -> &[PathBuf] {
        &[]
    }

    /// The secrets of the runtime that the handler needs, by name.
    fn secrets(&self) -> Vec<&str> {
        Vec::new()
    }

    /// What becomes of the missed rounds of the guest's timers; `None` if the guest may not set any.
    fn missed_rounds(&self) -> Option<MissedRounds> {
        None
    }

    /// Warnings about configuration that is accepted but probably not intended.
    fn doubts(&self) -> Vec<String> {
        Vec::new()
    }

    /// Why a start in this runtime would fail in the current situation, as far as this can be seen without starting.
    fn foreseen(&self, _runtime: &Foreseeable<'_>) -> Option<String> {
        None
    }

    /// Where the handler's listener listens, if it has one.
    fn listen_address(&self) -> Option<&ListenAddress> {
        None
    }

    /// Whether the handler has a listener.
    fn listens(&self) -> bool {
        self.listen_address().is_some()
    }

    /// Starts the handler's listener, if it has one: on `socket`, if an earlier listener of the actor hands that over. The error
    /// text is for the person who started the actor.
    fn start(&self, _actor: &ActorRef, _socket: Option<Arc<TcpListener>>) -> Result<Option<Box<dyn Source>>, String> {
        Ok(None)
    }
}

/// What is known of a runtime that does not run yet.
pub(crate) struct Foreseeable<'a> {
    pub(crate) data_dir: &'a Path,
    pub(crate) secrets: &'a Secrets,
}

/// A running listener. Dropping it stops it and joins its threads.
pub(crate) trait Source: Send {
    fn address(&self) -> Address;

    /// The socket, for a listener that takes it over.
    fn socket(&self) -> Arc<TcpListener>;
}

/// The actor that a listener delivers to.
#[derive(Clone)]
pub(crate) struct ActorRef {
    pub(crate) id: ActorId,
    pub(crate) name: Arc<str>,
    pub(crate) limits: Arc<Limits>,
    /// The exports that the actor can be called by.
    pub(crate) exports: Arc<HashSet<&'static str>>,
    /// Whether the actor has run before, so that the resources it was granted then must already exist.
    pub(crate) has_lived: bool,
    pub(crate) theater: TheaterHandle,
}

/// A row of [`HANDLERS`].
struct Kind {
    name: &'static str,
    /// The interfaces whose functions the handler links.
    imports: &'static [&'static str],
    /// Whether every actor has the handler, even if its manifest does not list it.
    always: bool,
    /// Builds the handler from its entry, or with defaults.
    make: fn(Option<&HandlerEntry>) -> Result<Box<dyn Grant>, ManifestError>,
}

/// All handlers.
const HANDLERS: &[Kind] = &[
    Kind { name: runtime::NAME, imports: runtime::IMPORTS, always: true, make: runtime::make },
    Kind { name: message_server::NAME, imports: message_server::IMPORTS, always: true, make: message_server::make },
    Kind { name: async_requests::NAME, imports: async_requests::IMPORTS, always: true, make: async_requests::make },
    Kind {
        name: deferred_replies::NAME,
        imports: deferred_replies::IMPORTS,
        always: true,
        make: deferred_replies::make,
    },
    Kind { name: migration::NAME, imports: migration::IMPORTS, always: true, make: migration::make },
    Kind { name: config::NAME, imports: config::IMPORTS, always: true, make: config::make },
    Kind { name: http_server::NAME, imports: http_server::IMPORTS, always: false, make: http_server::make },
    Kind { name: http_client::NAME, imports: http_client::IMPORTS, always: false, make: http_client::make },
    Kind {
        name: websocket_server::NAME,
        imports: websocket_server::IMPORTS,
        always: false,
        make: websocket_server::make,
    },
    Kind { name: filesystem::NAME, imports: filesystem::IMPORTS, always: false, make: filesystem::make },
    Kind { name: clock::NAME, imports: clock::IMPORTS, always: false, make: clock::make },
    Kind { name: random::NAME, imports: random::IMPORTS, always: false, make: random::make },
    Kind { name: monitor::NAME, imports: monitor::IMPORTS, always: false, make: monitor::make },
    Kind { name: table::NAME, imports: table::IMPORTS, always: false, make: table::make },
    Kind { name: timer::NAME, imports: timer::IMPORTS, always: false, make: timer::make },
    Kind { name: supervisor::NAME, imports: supervisor::IMPORTS, always: false, make: supervisor::make },
];

/// The handlers that manifests can grant: those that Theater brings, and those that an embedder adds.
#[derive(Clone, Default)]
pub struct Handlers {
    own: Vec<OwnKind>,
}

impl std::fmt::Debug for Handlers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl Handlers {
    /// The handlers that Theater brings, and no others.
    pub const fn new() -> Self {
        Self { own: Vec::new() }
    }

    /// Adds an embedder's handler. [`crate::TheaterRuntime::start`] refuses a name or an interface that another handler
    /// has.
    pub fn add(&mut self, handler: impl Handler) {
        self.own.push(OwnKind::of(handler));
    }

    /// The names of all handlers: those that Theater brings come first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.catalogue().map(|(name, _)| name)
    }

    /// The handlers that actors of this engine can be granted.
    pub(crate) fn of(engine: &GuestEngine) -> &Self {
        static BROUGHT: Handlers = Handlers::new();
        engine.extensions.get().unwrap_or(&BROUGHT)
    }

    /// Checks that each handler has a name and interfaces of its own; the text names one that has not.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.own.iter().try_for_each(OwnKind::check)?;
        let all: Vec<_> = self.catalogue().collect();
        for (at, (name, imports)) in all.iter().enumerate() {
            if all[..at].iter().any(|(other, _)| other == name) {
                return Err(format!("two handlers are called \"{name}\": give the added one another name"));
            }
            let linked = |interface: &&&str| all[..at].iter().any(|(_, others)| others.contains(*interface));
            if let Some(twice) = imports.iter().find(linked) {
                return Err(format!("the handler \"{name}\" links \"{twice}\", which another handler links already"));
            }
        }
        Ok(())
    }

    /// The handlers that a manifest grants.
    pub(crate) fn granted(&self, manifest: &Manifest) -> Result<Vec<Box<dyn Grant>>, ManifestError> {
        for (at, entry) in manifest.handlers.iter().enumerate() {
            if !self.names().any(|name| name == entry.kind) {
                return Err(entry.error(self.unknown(&entry.kind)));
            }
            if manifest.handlers[..at].iter().any(|earlier| earlier.kind == entry.kind) {
                return Err(entry.error(format!("the handler \"{}\" is listed twice", entry.kind)));
            }
        }
        let entry = |name: &str| manifest.handlers.iter().find(|entry| entry.kind == name);
        let wanted = HANDLERS.iter().filter(|kind| kind.always || entry(kind.name).is_some());
        let brought = wanted.map(|kind| (kind.make)(entry(kind.name)));
        let own = self.own.iter().filter_map(|kind| entry(kind.name).map(|entry| (kind.make)(Some(entry))));
        let granted = brought.chain(own).collect::<Result<Vec<_>, _>>()?;
        keep_manifests_from_the_guest(manifest, &granted)?;
        Ok(granted)
    }

    /// All handlers with defaults. A replay links them all, because it runs none of their effects.
    pub(crate) fn every(&self) -> Vec<Box<dyn Grant>> {
        let brought = HANDLERS.iter().map(|kind| (kind.make)(None).expect("defaults are valid"));
        brought.chain(self.own.iter().map(|kind| (kind.make)(None).expect("a prototype is valid"))).collect()
    }

    /// The name and the interfaces of each handler, for naming the handler that a manifest lacks.
    pub(crate) fn catalogue(&self) -> impl Iterator<Item = (&'static str, &'static [&'static str])> + '_ {
        let brought = HANDLERS.iter().map(|kind| (kind.name, kind.imports));
        brought.chain(self.own.iter().map(|kind| (kind.name, kind.imports)))
    }

    fn unknown(&self, name: &str) -> String {
        let known: Vec<&str> = self.names().collect();
        let several =
            || beginning_with(name, &known).iter().map(|it| format!("\"{it}\"")).collect::<Vec<_>>().join(" or ");
        let meant = nearest(name, &known).map_or_else(several, |nearest| format!("\"{nearest}\""));
        let hint = (!meant.is_empty()).then(|| format!("did you mean {meant}? "));
        format!("unknown handler \"{name}\"; {}the handlers are: {}", hint.unwrap_or_default(), known.join(", "))
    }
}

/// Refuses a manifest whose guest could write a manifest for itself, because that manifest could grant anything. The
/// directory that the guest may write to must not contain a directory that it spawns from. It may lie below one; the
/// guest then cannot spawn files from the writable directory.
fn keep_manifests_from_the_guest(manifest: &Manifest, granted: &[Box<dyn Grant>]) -> Result<(), ManifestError> {
    let own = manifest.path().parent().map(Path::to_owned);
    let Some(allowed) = granted.iter().find_map(|handler| handler.spawns_from()) else {
        return Ok(());
    };
    if granted.iter().any(|handler| !handler.children().is_empty()) {
        // With `children`, files in a writable directory are spawned only if `children` names them and they are
        // unchanged.
        return Ok(());
    }
    let sources: Vec<PathBuf> = own.iter().chain(allowed).map(|directory| real(directory)).collect();
    for handler in granted {
        let Some(written) = handler.writes_below().map(real) else { continue };
        if let Some(source) = sources.iter().find(|source| source.starts_with(&written)) {
            let why = format!(
                "{} cannot be written to by an actor that may spawn from {}: it could write itself a manifest; name a \
                 directory below it, grant it with mode = \"read-only\", or name what it spawns: config = {{ children \
                 = [\"child.toml\"] }} of the handler supervisor",
                written.display(),
                source.display()
            );
            return Err(manifest.handler_error(handler.name(), why));
        }
    }
    Ok(())
}

/// Warnings about grants that are accepted but probably not intended.
pub(crate) fn doubts(manifest: &Manifest, granted: &[Box<dyn Grant>]) -> Vec<String> {
    let own = manifest.path().parent().map(real);
    let holds_own = |written: &&Path| own.as_ref().is_some_and(|own| own.starts_with(real(written)));
    // An actor that spawns nothing may be able to write to its own manifest, as some existing ones are. The operator is
    // warned.
    let written = granted.iter().filter_map(|handler| handler.writes_below()).filter(holds_own);
    let told = written.map(|written| {
        format!(
            "the actor may write to {}, where this manifest lies: it can grant itself anything for the next start; name \
             a directory below it, or grant it with mode = \"read-only\"",
            real(written).display()
        )
    });
    told.chain(granted.iter().flat_map(|handler| handler.doubts())).collect()
}

/// Follows all links in a path, as far as the path exists.
fn real(path: &Path) -> PathBuf {
    let mut real = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => _ = real.pop(),
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                real.push(part);
                real = real.canonicalize().unwrap_or(real);
            }
        }
    }
    real
}

#[cfg(test)]
mod tests {
    use wasmtime::Engine;
    use wasmtime::component::Component;

    use super::*;
    use crate::guest::of_wit;

    /// The types with which handlers call exports are the types in `wit/`, which authors of actors read.
    #[test]
    fn every_export_that_is_called_has_the_type_that_wit_gives_it() {
        let engine = Engine::default();
        let mut seen = 0;
        for handler in Handlers::new().every() {
            for export in handler.exports() {
                let function = export.function();
                let text = of_wit::component(function.interface, function.name);
                let component = Component::new(&engine, wat::parse_str(text).expect("text")).expect("a component");
                let component = component.component_type();
                let found = of_wit::imported(&engine, &component, function.interface, function.name);
                let mismatch = export.mismatch(&found, &component);
                assert_eq!(mismatch.map(|it| it.to_string()), None, "{}", function.full);
                seen += 1;
            }
        }
        assert_eq!(seen, 13);
    }
}
