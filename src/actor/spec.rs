//! What an actor runs: its manifest, the program, and the handlers it is granted, all checked before it exists.

use std::sync::Arc;

use crate::chain::ComponentDigest;
use crate::guest::{Capability, GuestEngine, Program};
use crate::handlers::{self, Handler};
use crate::manifest::{Manifest, ManifestError};

/// Everything that does not change while an actor runs.
pub(crate) struct Spec {
    pub(crate) manifest: Manifest,
    pub(crate) program: Arc<Program>,
    pub(crate) handlers: Vec<Box<dyn Handler>>,
    /// What a new actor of it begins with.
    pub(crate) init_state: Option<Arc<[u8]>>,
}

impl Spec {
    /// Reads what the manifest names, and compiles and links it.
    pub(crate) fn load(engine: &GuestEngine, manifest: Manifest) -> Result<Self, ManifestError> {
        let component = manifest.read_component()?;
        let init_state = manifest.read_init_state()?.map(Arc::from);
        Self::assemble(engine, manifest, component, init_state)
    }

    /// Like [`Spec::load`], from what the journal kept.
    pub(crate) fn assemble(
        engine: &GuestEngine,
        manifest: Manifest,
        component: Vec<u8>,
        init_state: Option<Arc<[u8]>>,
    ) -> Result<Self, ManifestError> {
        let handlers = handlers::granted(&manifest)?;
        let path = manifest.component_path.display();
        let compiled = engine.compile(&component).map_err(|error| manifest.error(format!("{path}: {error}")))?;
        let granted: Vec<&dyn Capability> = handlers.iter().map(|handler| &**handler as &dyn Capability).collect();
        let program = Program::new(engine, compiled, &granted, &handlers::catalogue())
            .map_err(|error| manifest.error(format!("{path}: {error}")))?;
        Ok(Self { program, handlers, init_state, manifest })
    }

    pub(crate) fn digest(&self) -> ComponentDigest {
        self.program.digest()
    }
}
