//! The cache of compiled components in memory: those in use, and a few that were used last.
//!
//! Without a bound, the bytes, the code and the type information of a component that no actor runs any more would stay
//! in memory as long as the runtime. The components used last are kept, because they are the most likely to be started
//! next.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

use super::compiled::Compiled;
use crate::chain::ComponentDigest;

/// How many components are kept in memory although no actor runs them, and how many bytes of wasm they may have
/// together. The component used last is kept whatever its size.
const KEPT_COMPONENTS: usize = 16;
const KEPT_COMPONENT_BYTES: usize = 64 * 1024 * 1024;

#[derive(Default)]
pub(super) struct KeptComponents {
    known: HashMap<ComponentDigest, Weak<Compiled>>,
    /// The kept components, the one used last first.
    recent: VecDeque<Arc<Compiled>>,
}

/// Components that leave the cache. The receiver drops it while holding no lock, because dropping it unmaps code.
#[must_use = "code is unmapped where this is dropped"]
pub(super) struct LetGo(#[allow(dead_code, reason = "it is there to be dropped")] VecDeque<Arc<Compiled>>);

impl KeptComponents {
    /// The component, if it is in use or kept.
    pub(super) fn get(&mut self, digest: ComponentDigest) -> Option<(Arc<Compiled>, LetGo)> {
        let compiled = self.known.get(&digest)?.upgrade()?;
        let let_go = self.used(&compiled);
        Some((compiled, let_go))
    }

    /// Keeps a component. If another thread has stored the same component in the meantime, that one is returned
    /// instead.
    pub(super) fn put(&mut self, compiled: Arc<Compiled>) -> (Arc<Compiled>, LetGo) {
        if let Some(found) = self.get(compiled.digest) {
            return found;
        }
        self.known.retain(|_, known| known.strong_count() > 0);
        self.known.insert(compiled.digest, Arc::downgrade(&compiled));
        let let_go = self.used(&compiled);
        (compiled, let_go)
    }

    fn used(&mut self, compiled: &Arc<Compiled>) -> LetGo {
        self.recent.retain(|other| other.digest != compiled.digest);
        self.recent.push_front(Arc::clone(compiled));
        let mut bytes = 0;
        let fit = self.recent.iter().enumerate().take_while(|(at, compiled)| {
            bytes += compiled.bytes.len();
            *at == 0 || (*at < KEPT_COMPONENTS && bytes <= KEPT_COMPONENT_BYTES)
        });
        let fit = fit.count();
        LetGo(self.recent.split_off(fit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::GuestEngine;

    fn component(number: usize, padding: usize) -> Vec<u8> {
        let text = format!(
            "(component (core module (func (export \"f\") (result i32) i32.const {number}) (data \"{}\")))",
            "x".repeat(padding)
        );
        wat::parse_str(text).expect("a component")
    }

    fn compile(engine: &GuestEngine, component: &[u8]) -> Arc<Compiled> {
        engine.compile(component, ComponentDigest::of(component)).expect("it compiles")
    }

    #[test]
    fn a_component_that_no_actor_runs_is_let_go_when_others_were_used_since() {
        let engine = GuestEngine::new(None).expect("an engine");
        let compile = |number| compile(&engine, &component(number, 0));
        let in_use = compile(0);
        let first = Arc::downgrade(&compile(1));
        assert!(first.upgrade().is_some(), "the last ones are kept");
        let others: Vec<Weak<Compiled>> = (2..60).map(|number| Arc::downgrade(&compile(number))).collect();
        assert!(first.upgrade().is_none(), "it was let go");
        assert_eq!(others.iter().filter(|other| other.strong_count() > 0).count(), KEPT_COMPONENTS);
        assert!(Arc::ptr_eq(&in_use, &compile(0)), "one in use is shared however many came since");
        let again = compile(1);
        assert_eq!(again.bytes, component(1, 0).into());
    }

    #[test]
    fn components_are_kept_up_to_so_many_bytes() {
        let engine = GuestEngine::new(None).expect("an engine");
        let large = KEPT_COMPONENT_BYTES / 2 - 1024;
        let kept: Vec<Weak<Compiled>> =
            (0..3).map(|number| Arc::downgrade(&compile(&engine, &component(number, large)))).collect();
        let alive: Vec<bool> = kept.iter().map(|compiled| compiled.strong_count() > 0).collect();
        assert_eq!(alive, [false, true, true]);
    }
}
