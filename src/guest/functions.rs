//! Compiled functions, kept in memory for the next build of the same actor (wasmtime's incremental compilation).
//!
//! Two builds of an actor in TypeScript or Python have the interpreter in common, and differ in a few functions and in data. With the
//! others at hand, the second compiles in a third of the time. The code is the same bytes either way. Keeping them takes memory, so
//! only `theater dev` does it. They are never on disk: what is read from there and run has to be checked first.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use wasmtime::CacheStore;

/// The functions of three builds in Python, or of 15 in TypeScript. When there are more, all are forgotten.
const MOST_BYTES: usize = 128 * 1024 * 1024;

/// Where an engine keeps the functions that it has compiled.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptFunctions(Arc<Functions>);

impl KeptFunctions {
    pub(super) fn store(&self) -> Arc<dyn CacheStore> {
        Arc::<Functions>::clone(&self.0)
    }
}

#[derive(Debug, Default)]
struct Functions(Mutex<ByKey>);

#[derive(Debug, Default)]
struct ByKey {
    functions: HashMap<Vec<u8>, Vec<u8>>,
    bytes: usize,
}

impl CacheStore for Functions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.0.lock().functions.get(key).cloned().map(Cow::Owned)
    }

    /// Two threads may have compiled the same function.
    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let mut kept = self.0.lock();
        if kept.bytes + value.len() > MOST_BYTES {
            *kept = ByKey::default();
        }
        kept.bytes += value.len();
        if let Some(same) = kept.functions.insert(key.to_vec(), value) {
            kept.bytes -= same.len();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::Engine;

    use super::*;
    use crate::guest::settings::{Addresses, config};

    #[test]
    fn code_is_the_same_with_the_functions_of_an_earlier_build() {
        let component = |text: &str| {
            let text = format!(
                "(component (core module (memory 1) (data (i32.const 0) \"{text}\")
                   (func (export \"sum\") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))))"
            );
            wat::parse_str(text).expect("a component")
        };
        let plain = Engine::new(&config(Addresses::Ample)).expect("an engine");
        let kept = KeptFunctions::default();
        let mut settings = config(Addresses::Ample);
        settings.enable_incremental_compilation(kept.store()).expect("a feature of wasmtime");
        let incremental = Engine::new(&settings).expect("an engine");
        let functions = || kept.0.0.lock().functions.len();
        for text in ["before", "after"] {
            let code = |engine: &Engine| engine.precompile_component(&component(text)).expect("code");
            assert_eq!(code(&plain), code(&incremental), "{text}");
            assert!(functions() > 0);
        }
        let after_both = functions();
        incremental.precompile_component(&component("again")).expect("code");
        assert_eq!(functions(), after_both, "a build that differs in its data alone has no new function");
    }

    #[test]
    fn when_there_are_too_many_functions_all_are_forgotten() {
        let functions = Functions::default();
        let large = || vec![0; MOST_BYTES / 2 + 1];
        assert!(functions.insert(b"one", large()) && functions.insert(b"one", large()));
        assert!(functions.insert(b"two", large()));
        assert!(functions.get(b"two").is_some());
        assert!(functions.get(b"one").is_none());
    }
}
