//! The handler `runtime`: calls `actor.init` of every actor, and lets it write to the log and read its own chain.

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::Grant;
use crate::base::clock;
use crate::chain::cbor::{Value, bytes_to_json};
use crate::chain::{ChainEvent, Function, function};
use crate::guest::wit::{Chain, Event, MetaEvent};
use crate::guest::{Capability, Effect, Export, GuestExport, HostState, StateOnly};
use crate::manifest::{HandlerEntry, ManifestError};

pub(super) const NAME: &str = "runtime";
pub(super) const IMPORTS: &[&str] = &["ntwk:theater/runtime"];

/// The one function that every actor exports.
pub(crate) const INIT: &Function = function!("ntwk:theater/actor", "init");
const LOG: &Function = function!("ntwk:theater/runtime", "log");

struct Runtime;

#[derive(serde::Deserialize)]
struct Config {}

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Grant>, ManifestError> {
    if let Some(entry) = entry {
        let Config {} = entry.config(&[])?;
    }
    Ok(Box::new(Runtime))
}

impl Grant for Runtime {}

impl Capability for Runtime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn imports(&self) -> &'static [&'static str] {
        IMPORTS
    }

    fn link(&self, linker: &mut Linker<Box<HostState>>) -> wasmtime::Result<()> {
        let mut runtime = linker.instance(IMPORTS[0])?;
        runtime.func_wrap("log", log)?;
        runtime.func_wrap("get-chain", |store, (): ()| get_chain(store))
    }

    fn exports(&self) -> Vec<Box<dyn GuestExport>> {
        vec![Box::new(Export::<(String,), StateOnly>::new(INIT))]
    }

    fn exports_are_optional(&self) -> bool {
        false
    }
}

/// Cuts the line before it is recorded, so that the chain and the log hold the same text.
fn log(mut store: StoreContextMut<'_, Box<HostState>>, (mut line,): (String,)) -> wasmtime::Result<()> {
    let state = store.data_mut();
    let limit = usize::try_from(state.limits.log_line_bytes).unwrap_or(usize::MAX);
    line.truncate(line.floor_char_boundary(limit));
    state.last_words.hear(&line);
    let live = state.live().cloned();
    let per_second = state.limits.log_lines_per_second;
    let params = (line,);
    let budget = &mut state.log;
    state.recorder.host_call(LOG, &params, |_| {
        let live = live.as_ref().expect("effects run live");
        let write = || budget.write(&live.name, &params.0, clock::unix_ms() / 1000, per_second);
        Ok(Effect::Log { result: (), act: Box::new(write) })
    })
}

fn get_chain(mut store: StoreContextMut<'_, Box<HostState>>) -> wasmtime::Result<(Chain,)> {
    let events = store.data_mut().recorder.get_chain()?;
    Ok((Chain { events: events.into_iter().map(meta_event).collect() },))
}

/// WIT declares an event's data as `json`, so the data is converted to JSON.
fn meta_event(event: ChainEvent) -> MetaEvent {
    let data = Value::parse(&event.data).map_or_else(|_| bytes_to_json(&event.data), |value| value.to_json());
    MetaEvent {
        hash: event.hash.prefix(),
        event: Event {
            event_type: event.event_type.into_owned(),
            parent: event.parent_hash.map(|hash| hash.prefix()),
            data: data.to_string().into_bytes(),
        },
    }
}
