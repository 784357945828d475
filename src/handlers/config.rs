//! The handler `config`: an actor reads the plain values that its manifest has under `[config]`.

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::Grant;
use crate::base::limits::CONFIG_KEY_BYTES;
use crate::chain::{Function, function};
use crate::guest::{Capability, Effect, HostState, Interruption};
use crate::manifest::{HandlerEntry, ManifestError, PlainValues};

pub(super) const NAME: &str = "config";
pub(super) const IMPORTS: &[&str] = &["ntwk:theater/config"];

const GET: &Function = function!("ntwk:theater/config", "get");

struct ReadsConfig;

#[derive(serde::Deserialize)]
struct Config {}

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Grant>, ManifestError> {
    if let Some(entry) = entry {
        let Config {} = entry.config(&[])?;
    }
    Ok(Box::new(ReadsConfig))
}

impl Grant for ReadsConfig {}

impl Capability for ReadsConfig {
    fn name(&self) -> &'static str {
        NAME
    }

    fn imports(&self) -> &'static [&'static str] {
        IMPORTS
    }

    fn link(&self, linker: &mut Linker<Box<HostState>>) -> wasmtime::Result<()> {
        linker.instance(IMPORTS[0])?.func_wrap("get", get)
    }
}

/// The function's type has no place for an error, so the actor fails if it asks by a key that is longer than any. Otherwise a
/// guest could fill the disk with keys.
fn get(mut store: StoreContextMut<'_, Box<HostState>>, params: (String,)) -> wasmtime::Result<(Option<Vec<u8>>,)> {
    let state = store.data_mut();
    let live = state.live().cloned();
    let found = state.recorder.host_call(GET, &params, |_| {
        let key = &params.0;
        if key.len() > CONFIG_KEY_BYTES {
            let why =
                format!("asked for a key of {} bytes: a key of [config] has at most {CONFIG_KEY_BYTES}", key.len());
            return Err(Interruption::TooLarge(why));
        }
        let live = live.as_deref().expect("effects run live");
        let values: &PlainValues = live.extensions.get().expect("installed for every actor");
        Ok(Effect::Read(values.get(key).map(<[u8]>::to_vec)))
    })?;
    Ok((found,))
}
