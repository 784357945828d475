//! The handler `random`: an actor draws random bytes. They are recorded in the chain, and replay returns the same
//! bytes.

use serde::Deserialize;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::Grant;
use crate::chain::{Function, function};
use crate::guest::{Capability, Effect, HostState, Interruption};
use crate::manifest::{HandlerEntry, ManifestError};

pub(super) const NAME: &str = "random";
pub(super) const IMPORTS: &[&str] = &["ntwk:theater/random"];

const BYTES: &Function = function!("ntwk:theater/random", "bytes");

struct Random;

#[derive(Deserialize)]
struct Config {}

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Grant>, ManifestError> {
    if let Some(entry) = entry {
        let Config {} = entry.config(&[])?;
    }
    Ok(Box::new(Random))
}

impl Grant for Random {}

impl Capability for Random {
    fn name(&self) -> &'static str {
        NAME
    }

    fn imports(&self) -> &'static [&'static str] {
        IMPORTS
    }

    fn link(&self, linker: &mut Linker<Box<HostState>>) -> wasmtime::Result<()> {
        linker.instance(IMPORTS[0])?.func_wrap("bytes", bytes)
    }
}

/// The function's type has no place for an error, so the actor fails if it asks for too many bytes.
fn bytes(mut store: StoreContextMut<'_, Box<HostState>>, params: (u32,)) -> wasmtime::Result<(Vec<u8>,)> {
    let state = store.data_mut();
    let limit = state.limits.random_bytes;
    let drawn = state.recorder.host_call(BYTES, &params, |_| draw(params.0, limit).map(Effect::Read))?;
    Ok((drawn,))
}

fn draw(n: u32, limit: u64) -> Result<Vec<u8>, Interruption> {
    if u64::from(n) > limit {
        let why = format!("wanted {n} random bytes at once: the limit random_bytes is {limit}");
        return Err(Interruption::TooLarge(why));
    }
    let mut bytes = vec![0; n as usize];
    getrandom::fill(&mut bytes).expect("the system has randomness once it is up");
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_draws_are_alike_and_none_is_larger_than_the_limit() {
        let draw = |n| draw(n, 64).map_err(|why| why.to_string());
        assert_eq!(draw(64).map(|bytes| bytes.len()), Ok(64));
        assert_ne!(draw(32), draw(32));
        assert_eq!(draw(0), Ok(Vec::new()));
        assert_eq!(draw(65), Err("wanted 65 random bytes at once: the limit random_bytes is 64".into()));
    }
}
