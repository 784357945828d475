//! The programs of replay: each component is linked with every handler, because no handler has an effect in replay.

use std::collections::HashMap;
use std::sync::Arc;

use super::ReplayError;
use crate::chain::ComponentDigest;
use crate::guest::{Capability, GuestEngine, GuestExport, HostState, Program};
use crate::handlers::{Grant, Handlers};

/// The handlers, with default configuration, that replay links every component with, and the programs made so far.
pub(super) struct Stage<'a> {
    engine: &'a GuestEngine,
    handlers: Vec<Box<dyn Grant>>,
    pub(super) programs: HashMap<ComponentDigest, Arc<Program>>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(engine: &'a GuestEngine) -> Self {
        Self { engine, handlers: Handlers::of(engine).every(), programs: HashMap::new() }
    }

    pub(super) fn program(&self, component: &[u8]) -> Result<Arc<Program>, ReplayError> {
        let sandbox = |error: &dyn std::error::Error| ReplayError::Sandbox(error.to_string());
        let granted: Vec<Optional<'_>> = self.handlers.iter().map(|handler| Optional(&**handler)).collect();
        let granted: Vec<&dyn Capability> = granted.iter().map(|capability| capability as &dyn Capability).collect();
        self.engine.program(component, &granted, &[]).map_err(|error| sandbox(&error))
    }
}

/// A capability whose exports a component may lack: replay grants every handler to every component.
struct Optional<'a>(&'a dyn Grant);

impl Capability for Optional<'_> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn imports(&self) -> &'static [&'static str] {
        self.0.imports()
    }

    fn link(&self, linker: &mut wasmtime::component::Linker<Box<HostState>>) -> wasmtime::Result<()> {
        self.0.link(linker)
    }

    fn exports(&self) -> Vec<Box<dyn GuestExport>> {
        self.0.exports()
    }

    fn exports_are_optional(&self) -> bool {
        true
    }
}
