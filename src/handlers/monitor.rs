//! The handler `monitor`: an actor has itself told of the end for good of any other actor that it can address.
//!
//! A monitor is a promise that the actor makes to itself (`promise/monitor.rs`). The host call that makes it is recorded
//! together with a row of `pending`. The registry knows who watches whom (`system/watches.rs`); `actor/ending.rs` tells it of
//! an end, and `actor/serve.rs` takes a watch that is due.

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::Grant;
use crate::base::fail;
use crate::base::id::ActorId;
use crate::base::limits::ADDRESS_BYTES;
use crate::chain::{Function, function};
use crate::guest::wit::MonitoredEnd;
use crate::guest::{Capability, Effect, Export, GuestExport, HostState, Interruption, Live, StateOnly};
use crate::journal::Owed;
use crate::manifest::{HandlerEntry, ManifestError};
use crate::promise::{HANDLE_DOWN, MONITOR, Promise};

pub(super) const NAME: &str = "monitor";
pub(super) const IMPORTS: &[&str] = &["ntwk:theater/monitors"];

const DEMONITOR: &Function = function!("ntwk:theater/monitors", "demonitor");

struct MonitorHandler;

/// The handler has no settings.
#[derive(serde::Deserialize)]
struct Config {}

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Grant>, ManifestError> {
    if let Some(entry) = entry {
        let Config {} = entry.config(&[])?;
    }
    Ok(Box::new(MonitorHandler))
}

impl Grant for MonitorHandler {}

impl Capability for MonitorHandler {
    fn name(&self) -> &'static str {
        NAME
    }

    fn imports(&self) -> &'static [&'static str] {
        IMPORTS
    }

    fn link(&self, linker: &mut Linker<Box<HostState>>) -> wasmtime::Result<()> {
        let mut monitors = linker.instance(IMPORTS[0])?;
        monitors.func_wrap("monitor", monitor)?;
        monitors.func_wrap("demonitor", demonitor)
    }

    fn exports(&self) -> Vec<Box<dyn GuestExport>> {
        vec![Box::new(Export::<(MonitoredEnd,), StateOnly>::new(HANDLE_DOWN))]
    }

    fn exports_are_optional(&self) -> bool {
        true
    }
}

/// The answer to the guest: the reference, which is the sequence of the event of this host call.
type Monitored = Result<u64, String>;

fn monitor(
    mut store: StoreContextMut<'_, Box<HostState>>,
    (mut address,): (String,),
) -> wasmtime::Result<(Monitored,)> {
    let state = store.data_mut();
    let (live, limit) = (state.live().cloned(), state.limits.monitors);
    // One byte more than an address can have: what is cut is no address either.
    address.truncate(address.floor_char_boundary(ADDRESS_BYTES + 1));
    let (params, reference) = ((address,), state.recorder.next_sequence());
    let monitored = state.recorder.host_call(MONITOR, &params, |_| {
        let live = live.as_deref().expect("effects run live");
        Ok(match watch(live, &params.0, reference, limit) {
            Ok((watched, owes)) => {
                let act = Box::new(|_| {
                    fail::point("monitor-recorded");
                    fail::point_after("monitor-committed", || _ = live.theater.journal.flush());
                });
                Effect::Announce { result: Ok(reference), owes, settles: None, act }.to(&params.0, watched)
            }
            Err(why) => Effect::Look(Err(why)),
        })
    })?;
    Ok((monitored,))
}

/// Begins a watch of the actor that the address stands for; what the host call owes then.
fn watch(live: &Live, address: &str, reference: u64, limit: u64) -> Result<(ActorId, Option<Owed>), String> {
    live.theater.journal.has_room_within().map_err(|low| low.to_string())?;
    let registry = &live.theater.registry;
    let watched = registry.resolve(address).map_err(|why| why.to_string())?;
    registry.watch((live.id, reference), watched, HANDLE_DOWN, limit).map_err(|why| why.to_string())?;
    Ok((watched, Promise::Monitor.owed(live.id)))
}

fn demonitor(mut store: StoreContextMut<'_, Box<HostState>>, params: (u64,)) -> wasmtime::Result<(bool,)> {
    let state = store.data_mut();
    let live = state.live().cloned();
    let was_open = state.recorder.host_call(DEMONITOR, &params, |_| {
        let live = live.as_deref().expect("effects run live");
        let (registry, watcher, reference) = (&live.theater.registry, live.id, params.0);
        Ok::<_, Interruption>(if registry.is_watch_open(watcher, reference) {
            let act = Box::new(move |_| {
                registry.end_watch(watcher, reference);
                fail::point("demonitor-recorded");
                fail::point_after("demonitor-committed", || _ = live.theater.journal.flush());
            });
            Effect::Announce { result: true, owes: None, settles: Some(reference), act }
        } else {
            Effect::Look(false)
        })
    })?;
    Ok((was_open,))
}
