//! The handler `clock`: an actor reads the time. The value is recorded in the chain, and replay returns the same value.

use serde::Deserialize;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::Grant;
use crate::base::clock;
use crate::chain::{Function, function};
use crate::guest::{Capability, Effect, HostState};
use crate::manifest::{HandlerEntry, ManifestError};

pub(super) const NAME: &str = "clock";
pub(super) const IMPORTS: &[&str] = &["ntwk:theater/clock"];

const NOW: &Function = function!("ntwk:theater/clock", "now");

struct Clock;

#[derive(Deserialize)]
struct Config {}

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Grant>, ManifestError> {
    if let Some(entry) = entry {
        let Config {} = entry.config(&[])?;
    }
    Ok(Box::new(Clock))
}

impl Grant for Clock {}

impl Capability for Clock {
    fn name(&self) -> &'static str {
        NAME
    }

    fn imports(&self) -> &'static [&'static str] {
        IMPORTS
    }

    fn link(&self, linker: &mut Linker<Box<HostState>>) -> wasmtime::Result<()> {
        linker.instance(IMPORTS[0])?.func_wrap("now", |store, (): ()| now(store))
    }
}

fn now(mut store: StoreContextMut<'_, Box<HostState>>) -> wasmtime::Result<(u64,)> {
    let now = store.data_mut().recorder.host_call(NOW, &(), |_| Ok(Effect::Read(clock::unix_ms())))?;
    Ok((now,))
}
