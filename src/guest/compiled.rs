//! A compiled component: its machine code for both wasmtime engines, and the errors that compiling can end with.

use std::sync::{Arc, OnceLock};

use wasmtime::Engine;
use wasmtime::component::Component;

use super::shortage::refused_by_the_system;
use crate::chain::ComponentDigest;

/// A component as machine code. The code runs on the engine with the pool and, once it was carried over, on the engine
/// that makes instances on demand.
pub(crate) struct Compiled {
    pub(crate) digest: ComponentDigest,
    /// The component's own bytes. The journal stores them, and all actors that run the component share them.
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) component: Component,
    on_demand_engine: Engine,
    on_demand: OnceLock<Component>,
}

impl Compiled {
    pub(super) fn new(digest: ComponentDigest, bytes: &[u8], component: Component, on_demand_engine: Engine) -> Self {
        Self { digest, bytes: bytes.into(), component, on_demand_engine, on_demand: OnceLock::new() }
    }

    /// The same code for the engine that makes instances on demand.
    pub(crate) fn on_demand(&self) -> wasmtime::Result<&Component> {
        if self.on_demand.get().is_none() {
            let code = self.component.serialize()?;
            // SAFETY: the bytes were serialised just now from a component this process compiled.
            let component = unsafe { Component::deserialize(&self.on_demand_engine, code) }?;
            let _ = self.on_demand.set(component);
        }
        Ok(self.on_demand.get().expect("set just above, by us or by another thread"))
    }

    pub(crate) fn on_demand_engine(&self) -> &Engine {
        &self.on_demand_engine
    }
}

/// Why a component could not be compiled, or an engine could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    #[error("not a WebAssembly component: {0}")]
    NotAComponent(String),
    #[error("the component uses a part of the component model that this runtime does not know: {0}")]
    Feature(String),
    #[error(
        "the component imports or exports async functions, streams or futures, which this runtime does not run: {0}"
    )]
    Async(String),
    /// The operating system refused memory or files. Another machine could compile the same component.
    #[error("the component could not be compiled here, for what the machine did not give: {0}")]
    Shortage(String),
    /// The operating system allows this process no machine code at all, so no component can run.
    #[error(
        "this process cannot make machine code executable ({0}), so that no component can run: something denies it \
         mprotect with PROT_EXEC, such as MemoryDenyWriteExecute=yes in the service's unit, SELinux (execmem) or a \
         seccomp filter; allow it"
    )]
    NotExecutable(String),
    #[error("cannot start the sandbox: {0}")]
    Setup(String),
}

impl EngineError {
    /// Sorts the error of a compilation by its cause: the operating system, or the component.
    pub(super) fn of_compiling(error: &wasmtime::Error) -> Self {
        let why = format!("{error:#}").replace('\n', "; ");
        let denied = [rustix::io::Errno::ACCESS, rustix::io::Errno::PERM];
        let is_denied = error.chain().any(|cause| cause.downcast_ref().is_some_and(|errno| denied.contains(errno)));
        match refused_by_the_system(error) {
            Some(_) if is_denied => Self::NotExecutable(why),
            Some(_) => Self::Shortage(why),
            // wasmtime's validator has no type for these two, so its words are compared.
            None if why.contains("component model async feature") => Self::Async(why),
            None if why.contains("the component model") && why.contains(" feature") => Self::Feature(why),
            None => Self::NotAComponent(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_refused_is_not_blamed_on_the_component() {
        let said = |error: &wasmtime::Error| EngineError::of_compiling(error).to_string();
        let short = wasmtime::Error::new(rustix::io::Errno::NOMEM).context("making room for code");
        assert!(said(&short).contains("the machine did not give"));
        let denied = wasmtime::Error::new(rustix::io::Errno::ACCESS).context("making code executable");
        assert!(said(&denied).contains("MemoryDenyWriteExecute"));
        let nonsense = wasmtime::Error::msg("unexpected end");
        assert_eq!(said(&nonsense), "not a WebAssembly component: unexpected end");
    }
}
