//! The guest engine: it compiles components, links them into programs, and shares both among all actors that run them.
//!
//! It holds two wasmtime engines with the same compiler settings: one takes instances from a pool of ready slots, the
//! other makes each instance on demand, and is used when the pool is full. Code that was compiled for one engine runs
//! on the other.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::cache::CodeCache;
use super::compiled::{Compiled, EngineError};
use super::functions::KeptFunctions;
use super::kept::KeptComponents;
use super::outline::Outline;
use super::program::{Capability, Program, ProgramError, Providers};
use super::settings::{Addresses, SHORT_RESERVATION_BYTES, config, pool};
use super::state::Extensions;
use crate::base::thread::{self, JoinHandle};
use crate::base::wait;
use crate::chain::ComponentDigest;

/// How often a running guest is interrupted for a look at its CPU time and at the orders for its actor.
const TICK: Duration = Duration::from_millis(10);

/// Compiles and links components, and drives the clock that interrupts running guests.
pub(crate) struct GuestEngine {
    pool: Engine,
    on_demand: Engine,
    cache: Option<CodeCache>,
    compiled: Mutex<KeptComponents>,
    programs: Mutex<HashMap<ProgramKey, Weak<Program>>>,
    ticker: Option<(Sender<()>, JoinHandle)>,
    /// What the layers above keep beside the engine, one value a type: the handlers that an embedder adds.
    pub(crate) extensions: Extensions,
}

/// What makes two programs the same: the component, and the names of the handlers that it is linked with.
type ProgramKey = (ComponentDigest, Vec<&'static str>);

impl GuestEngine {
    /// An engine that keeps compiled code in `cache_dir`, if one is given.
    pub(crate) fn new(cache_dir: Option<&Path>) -> Result<Self, EngineError> {
        Self::with(cache_dir, None)
    }

    /// The same, which also keeps the functions that it compiles, for builds to come.
    pub(crate) fn with(cache_dir: Option<&Path>, functions: Option<&KeptFunctions>) -> Result<Self, EngineError> {
        let setup = |error: wasmtime::Error| EngineError::Setup(format!("{error:#}"));
        // wasmtime compiles on rayon's threads.
        crate::base::pool::make_ready().map_err(EngineError::Setup)?;
        let addresses = Addresses::of_this_process();
        let mut compiling = config(addresses);
        if let Some(functions) = functions {
            compiling.enable_incremental_compilation(functions.store()).map_err(setup)?;
        }
        let on_demand = Engine::new(&compiling).map_err(setup)?;
        let pool = match addresses {
            Addresses::Ample => pool(compiling, &on_demand),
            Addresses::Short { limit } => {
                log::warn!(
                    "ulimit -v is {} KiB: instances reserve {SHORT_RESERVATION_BYTES} bytes of addresses each and are \
                     made on demand, which takes longer; ulimit -v unlimited gives them a pool",
                    limit / 1024
                );
                on_demand.clone()
            }
        };
        let cache = cache_dir.and_then(|dir| {
            let opened = CodeCache::open(dir, &pool);
            opened.inspect_err(|error| log::warn!("no code cache in {}: {error}", dir.display())).ok()
        });
        let (stop, stopped) = bounded::<()>(0);
        let engines = (pool.clone(), on_demand.clone());
        let ticker = thread::spawn("tick", move || {
            while wait::receive_within(&stopped, TICK) == Err(RecvTimeoutError::Timeout) {
                engines.0.increment_epoch();
                engines.1.increment_epoch();
            }
        });
        let ticker = ticker.map_err(|error| EngineError::Setup(error.to_string()))?;
        Ok(Self {
            pool,
            on_demand,
            cache,
            compiled: Mutex::default(),
            programs: Mutex::default(),
            ticker: Some((stop, ticker)),
            extensions: Extensions::default(),
        })
    }

    /// The program of a component that is granted these handlers. All actors that run the same component with the same handlers
    /// share one. `all` names every handler there is, so that an error can name the missing one.
    ///
    /// A component that does not fit is refused before it is compiled.
    pub(crate) fn program(
        &self,
        component: &[u8],
        granted: &[&dyn Capability],
        all: &Providers,
    ) -> Result<Arc<Program>, ProgramError> {
        let digest = ComponentDigest::of(component);
        let key: ProgramKey = (digest, granted.iter().map(|capability| capability.name()).collect());
        if let Some(program) = self.programs.lock().get(&key).and_then(Weak::upgrade) {
            return Ok(program);
        }
        check_header(component)?;
        if let Some(outline) = Outline::of(component) {
            outline.check(granted, all)?;
        }
        let compiled = self.compile(component, digest)?;
        // Linking takes a while, so the lock is not held meanwhile. If two threads link at once, both programs work.
        let program = Arc::new(Program::link(&self.pool, compiled, granted)?);
        let mut programs = self.programs.lock();
        programs.retain(|_, program| program.strong_count() > 0);
        programs.insert(key, Arc::downgrade(&program));
        Ok(program)
    }

    /// Has the code of a component in the cache, so that a start finds it there.
    pub(crate) fn prepare(&self, component: &[u8]) -> Result<(), EngineError> {
        self.compile(component, ComponentDigest::of(component)).map(drop)
    }

    /// Compiles a component, or takes its code from memory or from the cache on disk. If two threads ask for the same new
    /// component at once, both may compile it; that costs time and does no harm.
    pub(super) fn compile(&self, bytes: &[u8], digest: ComponentDigest) -> Result<Arc<Compiled>, EngineError> {
        // `_let_go` is dropped at the end of its block, after the lock is released: dropping it unmaps code.
        let found = self.compiled.lock().get(digest);
        if let Some((compiled, _let_go)) = found {
            return Ok(compiled);
        }
        let component = match self.cache.as_ref().and_then(|cache| cache.load(&self.pool, digest)) {
            Some(component) => component,
            None => self.compile_anew(bytes, digest)?,
        };
        let compiled = Arc::new(Compiled::new(digest, bytes, component, self.on_demand.clone()));
        let (compiled, _let_go) = self.compiled.lock().put(compiled);
        Ok(compiled)
    }

    fn compile_anew(&self, bytes: &[u8], digest: ComponentDigest) -> Result<Component, EngineError> {
        let component = Component::from_binary(&self.pool, bytes).map_err(|error| EngineError::of_compiling(&error))?;
        if let Some(cache) = &self.cache {
            cache.store(digest, &component);
        }
        Ok(component)
    }
}

/// Checks that bytes begin like a component.
fn check_header(bytes: &[u8]) -> Result<(), EngineError> {
    if !bytes.starts_with(b"\0asm") {
        return Err(EngineError::NotAComponent("it does not begin like a wasm file".into()));
    }
    if bytes.get(4..8) == Some(&[1, 0, 0, 0]) {
        let why = "it is a core module; link it as a component (wasm-component-ld, or `wasm-tools component new`)";
        return Err(EngineError::NotAComponent(why.into()));
    }
    Ok(())
}

impl Drop for GuestEngine {
    fn drop(&mut self) {
        if let Some((stop, ticker)) = self.ticker.take() {
            drop(stop);
            // A panic of the ticker was logged when it happened, and a destructor has nobody to report it to.
            let _ = ticker.join();
        }
    }
}
