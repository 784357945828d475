//! A program: a component whose imports are checked against the granted handlers, linked once, with its exports looked
//! up, ready to be instantiated.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use wasmtime::component::{ComponentExportIndex, Instance, InstancePre, Linker};
use wasmtime::{Engine, PoolConcurrencyLimitError, Store};

use super::compiled::{Compiled, EngineError};
use super::export::{GuestExport, exported, find};
use super::state::HostState;
use super::types::Mismatch;
use crate::chain::{ComponentDigest, Function};

/// Every handler of this runtime by name, with the interfaces that it provides.
pub(crate) type Providers = [(&'static str, &'static [&'static str])];

/// What a handler brings: host functions that a component imports, and exports of the component that the handler delivers
/// to. A handler implements only the part that it has.
pub(crate) trait Capability {
    /// The handler's name, as `type` in a manifest.
    fn name(&self) -> &'static str;

    /// The interfaces whose functions the handler links.
    fn imports(&self) -> &'static [&'static str] {
        &[]
    }

    fn link(&self, _linker: &mut Linker<Box<HostState>>) -> wasmtime::Result<()> {
        Ok(())
    }

    fn exports(&self) -> Vec<Box<dyn GuestExport>> {
        Vec::new()
    }

    /// Whether a component may lack exports of this handler.
    fn exports_are_optional(&self) -> bool {
        false
    }

    /// Whether a component may lack all interfaces but one that this handler delivers to.
    fn one_interface_is_enough(&self) -> bool {
        false
    }
}

/// Why a component cannot run with the handlers that it was granted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    #[error(transparent)]
    NotCompiled(#[from] EngineError),
    #[error(
        "the component imports \"{interface}\", which the handler \"{handler}\" grants; add to the manifest:\n[[handlers]]\ntype = \"{handler}\""
    )]
    NotGranted { interface: String, handler: &'static str },
    #[error("the component imports \"{interface}\", which no handler of this runtime provides")]
    UnknownImport { interface: String },
    #[error("the component imports \"{interface}\": this runtime offers no WASI; {}", WITHOUT_WASI)]
    Wasi { interface: String },
    #[error("the component imports \"{interface}\", which an actor does not call but may export")]
    ImportsAnExport { interface: String },
    #[error("the handler \"{handler}\" delivers to \"{export}\", which the component does not export{}", instead(.versioned))]
    MissingExport { handler: &'static str, export: &'static str, versioned: Option<String> },
    #[error("{}; build the component against the wit/ of this runtime", told(.0))]
    ExportTypes(Vec<(&'static str, Mismatch)>),
    #[error("the component does not fit: {0}")]
    Link(String),
}

/// The advice for a component that imports WASI.
const WITHOUT_WASI: &str = "build it for wasm32-unknown-unknown, print with runtime.log, and take the time, randomness \
                            and files from the handlers clock, random and filesystem";

fn told(mismatches: &[(&'static str, Mismatch)]) -> String {
    let told = mismatches.iter().map(|(export, mismatch)| {
        format!("the export \"{export}\" is not of the type that this runtime calls: {mismatch}")
    });
    told.collect::<Vec<_>>().join("; ")
}

/// The hint in an error: the component exports the function, but under a name with a version.
fn instead(versioned: &Option<String>) -> String {
    let told =
        |name| format!("; it exports \"{name}\": the packages of wit/ have no version, and neither may an export");
    versioned.as_ref().map(told).unwrap_or_default()
}

/// A runnable component.
pub(crate) struct Program {
    compiled: Arc<Compiled>,
    linker: Linker<Box<HostState>>,
    pooled: InstancePre<Box<HostState>>,
    on_demand: OnceLock<InstancePre<Box<HostState>>>,
    /// A program has a handful of exports, and comparing a handful of names is quicker than hashing one.
    exports: Vec<(Box<dyn GuestExport>, ComponentExportIndex)>,
    /// Their names. All actors of the component share them.
    export_names: Arc<HashSet<&'static str>>,
}

impl Program {
    /// Links `compiled` with `granted`, which provide its imports and deliver to its exports, as its outline says.
    pub(super) fn link(
        engine: &Engine,
        compiled: Arc<Compiled>,
        granted: &[&dyn Capability],
    ) -> Result<Self, ProgramError> {
        let mut linker = Linker::new(engine);
        let mut exports = Vec::new();
        for capability in granted {
            capability.link(&mut linker).map_err(|error| ProgramError::Link(format!("{error:#}")))?;
            for export in capability.exports() {
                if let Some(index) = find(&compiled.component, export.function()) {
                    exports.push((export, index));
                }
            }
        }
        let pooled =
            linker.instantiate_pre(&compiled.component).map_err(|error| ProgramError::Link(format!("{error:#}")))?;
        let export_names = Arc::new(exports.iter().map(|(export, _)| export.function().full).collect());
        Ok(Self { compiled, linker, pooled, on_demand: OnceLock::new(), exports, export_names })
    }

    /// Checks the types of all exports that deliveries may go to. `Err` names the exports that cannot be called, each with
    /// the place in its type that differs. This is not part of linking: a program with such an export can run, and traps
    /// when the export is called, because chains that recorded such a trap must replay.
    pub(crate) fn check_exports(&self) -> Result<(), ProgramError> {
        let engine = self.pooled.engine();
        let component = self.compiled.component.component_type();
        let exports = self.exports.iter().map(|(export, _)| export);
        let mismatches = exports.filter_map(|export| {
            let found = exported(engine, &component, export.function())?;
            let mismatch = export.mismatch(&found, &component)?;
            Some((export.function().full, mismatch))
        });
        let mismatches: Vec<_> = mismatches.collect();
        if mismatches.is_empty() { Ok(()) } else { Err(ProgramError::ExportTypes(mismatches)) }
    }

    /// Whether the component exports a function, whether or not deliveries may go to it.
    pub(crate) fn has(&self, function: &Function) -> bool {
        find(&self.compiled.component, function).is_some()
    }

    /// The interfaces that the component exports, whether or not deliveries may go to them.
    pub(crate) fn exported_interfaces(&self) -> Vec<String> {
        let component = self.compiled.component.component_type();
        component.exports(self.pooled.engine()).map(|(name, _)| name.to_owned()).collect()
    }

    pub(crate) fn digest(&self) -> ComponentDigest {
        self.compiled.digest
    }

    /// The component's own bytes.
    pub(crate) fn component(&self) -> &Arc<[u8]> {
        &self.compiled.bytes
    }

    /// The names of the exports that deliveries may go to.
    pub(crate) fn export_names(&self) -> &Arc<HashSet<&'static str>> {
        &self.export_names
    }

    /// The export called `name` that deliveries may go to.
    pub(crate) fn function(&self, name: &str) -> Option<&'static Function> {
        self.export(name).map(|(export, _)| export.function())
    }

    pub(super) fn export(&self, name: &str) -> Option<(&dyn GuestExport, &ComponentExportIndex)> {
        let (export, index) = self.exports.iter().find(|(export, _)| export.function().full == name)?;
        Some((&**export, index))
    }

    /// A new instance with its store, from the pool, or made on demand if the pool is full.
    ///
    /// Start functions of the guest run here. If instantiating fails, the store comes back with the host state in it.
    pub(super) fn instantiate(&self, state: Box<HostState>) -> (Store<Box<HostState>>, wasmtime::Result<Instance>) {
        let mut store = new_store(self.pooled.engine(), state);
        match self.pooled.instantiate(&mut store) {
            Err(error) if error.is::<PoolConcurrencyLimitError>() => self.instantiate_on_demand(store.into_data()),
            instance => (store, instance),
        }
    }

    fn instantiate_on_demand(&self, state: Box<HostState>) -> (Store<Box<HostState>>, wasmtime::Result<Instance>) {
        let mut store = new_store(self.compiled.on_demand_engine(), state);
        let instance = self.on_demand_pre().and_then(|pre| pre.instantiate(&mut store));
        (store, instance)
    }

    fn on_demand_pre(&self) -> wasmtime::Result<&InstancePre<Box<HostState>>> {
        if self.on_demand.get().is_none() {
            let component = self.compiled.on_demand()?;
            let _ = self.on_demand.set(self.linker.instantiate_pre(component)?);
        }
        Ok(self.on_demand.get().expect("set just above, by us or by another thread"))
    }
}

fn new_store(engine: &Engine, mut state: Box<HostState>) -> Store<Box<HostState>> {
    state.begin_instance();
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut **state);
    store.epoch_deadline_callback(|mut store| store.data_mut().tick().map_err(wasmtime::Error::new));
    store.set_epoch_deadline(1);
    store
}
