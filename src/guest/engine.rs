//! The compiler and the places where instances live.
//!
//! Two wasmtime engines with the same compiler settings: one takes instances from a pool of ready places, the other
//! makes them on demand, for when the pool is full. Code compiled for one runs on the other.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;
use wasmtime::component::Component;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use super::cache::CodeCache;
use super::kept::Kept;
use super::program::Program;
use super::shortage::refused_by_the_system;
use super::state::Extensions;
use crate::base::limits::MEMORY_BYTES;
use crate::base::machine;
use crate::base::thread::{self, JoinHandle};
use crate::base::wait;
use crate::chain::ComponentDigest;

/// How often a guest that computes is looked after: its CPU time is up, or it was told to end.
const TICK: Duration = Duration::from_millis(10);
/// Deep enough for real programs; the thread's stack has as much again for the host's frames.
const WASM_STACK_BYTES: usize = 256 * 1024;
/// What a thread needs that runs guests.
pub(crate) const THREAD_STACK_BYTES: usize = 2 * WASM_STACK_BYTES;
/// Places in the pool, in core instances: a Rust guest takes 3, QuickJS 13.
const POOL_CORE_INSTANCES: u32 = 4_000;
/// Of a memory that an instance is done with, so much is put back as it was by copying what was written, where the kernel
/// tells what that is (`PAGEMAP_SCAN`, Linux 6.7). To give the pages back instead interrupts every core that runs a
/// thread of the process, and the next instance faults them in again. It is kept for each instance that has ever stood
/// beside others, so a crowd that was at work at once leaves so much for each, at most 256 MiB.
const KEPT_MEMORY_BYTES: usize = 128 * 1024;
/// The same of a table.
const KEPT_TABLE_BYTES: usize = 16 * 1024;
/// Places of the pool that are left to the component they last served, rather than given to another.
const WARM_SLOTS: u32 = 32;
/// So much of addresses the pool is made of, with room for all else.
const AMPLE_ADDRESSES: u64 = 1 << 44;
/// What a memory reserves where addresses are short: the `memory_bytes` of an actor whose manifest is silent. One that
/// grows beyond it is moved.
pub(crate) const SHORT_RESERVATION_BYTES: u64 = 64 * 1024 * 1024;
/// What one that was moved may grow by before it is moved again.
const SHORT_GROWTH_BYTES: u64 = 16 * 1024 * 1024;
/// Behind a memory, where addresses are short.
const SHORT_GUARD_BYTES: u64 = 64 * 1024;
/// Elements of one table; tables do not count into an instance's memory.
pub(super) const TABLE_ELEMENTS: usize = 100_000;

/// Compiles components and ticks the clock that running guests watch.
pub(crate) struct GuestEngine {
    pool: Engine,
    on_demand: Engine,
    cache: Option<CodeCache>,
    compiled: Mutex<Kept>,
    programs: Mutex<HashMap<ProgramKey, Weak<Program>>>,
    ticker: Option<(Sender<()>, JoinHandle)>,
    /// What the layers above keep beside the engine, one value a type: the handlers that an embedder adds.
    pub(crate) extensions: Extensions,
}

/// A component, and the handlers it is linked with.
type ProgramKey = (ComponentDigest, Vec<&'static str>);

/// A component as code, for either engine.
pub(crate) struct Compiled {
    pub(crate) digest: ComponentDigest,
    /// What was compiled: the journal keeps it, and all actors of it share it.
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) component: Component,
    on_demand_engine: Engine,
    on_demand: OnceLock<Component>,
}

/// A component that could not be made ready, or an engine that could not be made.
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
    /// The operating system refused something: what the component is has nothing to do with it.
    #[error("the component could not be compiled here, for what the machine did not give: {0}")]
    Shortage(String),
    /// The same for every component: this process may not run any.
    #[error(
        "this process cannot make machine code executable ({0}), so that no component can run: something denies it \
         mprotect with PROT_EXEC, such as MemoryDenyWriteExecute=yes in the service's unit, SELinux (execmem) or a \
         seccomp filter; allow it"
    )]
    NotExecutable(String),
    #[error("cannot start the sandbox: {0}")]
    Setup(String),
}

impl GuestEngine {
    /// An engine that keeps compiled code in `cache_dir`, where one is given.
    pub(crate) fn new(cache_dir: Option<&Path>) -> Result<Self, EngineError> {
        let setup = |error: wasmtime::Error| EngineError::Setup(format!("{error:#}"));
        // wasmtime compiles on it.
        crate::base::pool::make_ready().map_err(EngineError::Setup)?;
        let addresses = Addresses::of_this_process();
        let on_demand = Engine::new(&config(addresses)).map_err(setup)?;
        let pool = match addresses {
            Addresses::Ample => pool(&on_demand),
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

    /// The engine whose linkers and types all components share.
    pub(crate) fn engine(&self) -> &Engine {
        &self.pool
    }

    /// Compiles a component, or takes it from memory or disk. Two threads that ask for the same new component at once
    /// may both compile it; that costs time and nothing else.
    pub(crate) fn compile(&self, bytes: &[u8]) -> Result<Arc<Compiled>, EngineError> {
        let digest = ComponentDigest::of(bytes);
        // The lock is released before what is let go is dropped.
        let found = self.compiled.lock().get(digest);
        if let Some((compiled, _let_go)) = found {
            return Ok(compiled);
        }
        let component = match self.cache.as_ref().and_then(|cache| cache.load(&self.pool, digest)) {
            Some(component) => component,
            None => self.compile_anew(bytes, digest)?,
        };
        let compiled = Arc::new(Compiled {
            digest,
            bytes: bytes.into(),
            component,
            on_demand_engine: self.on_demand.clone(),
            on_demand: OnceLock::new(),
        });
        let (compiled, _let_go) = self.compiled.lock().put(compiled);
        Ok(compiled)
    }

    /// The program of `key`, shared by all actors that run it: made by `link` where there is none.
    pub(super) fn program<E>(
        &self,
        key: ProgramKey,
        link: impl FnOnce() -> Result<Program, E>,
    ) -> Result<Arc<Program>, E> {
        if let Some(program) = self.programs.lock().get(&key).and_then(Weak::upgrade) {
            return Ok(program);
        }
        // Linked without the lock; of two that link at once, both serve.
        let program = Arc::new(link()?);
        let mut programs = self.programs.lock();
        programs.retain(|_, program| program.strong_count() > 0);
        programs.insert(key, Arc::downgrade(&program));
        Ok(program)
    }

    fn compile_anew(&self, bytes: &[u8], digest: ComponentDigest) -> Result<Component, EngineError> {
        if !bytes.starts_with(b"\0asm") {
            return Err(EngineError::NotAComponent("it does not begin like a wasm file".into()));
        }
        if bytes.get(4..8) == Some(&[1, 0, 0, 0]) {
            let why = "it is a core module; link it as a component (wasm-component-ld, or `wasm-tools component new`)";
            return Err(EngineError::NotAComponent(why.into()));
        }
        let component = Component::from_binary(&self.pool, bytes).map_err(|error| not_compiled(&error))?;
        if let Some(cache) = &self.cache {
            cache.store(digest, &component);
        }
        Ok(component)
    }
}

impl Compiled {
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

impl Drop for GuestEngine {
    fn drop(&mut self) {
        if let Some((stop, ticker)) = self.ticker.take() {
            drop(stop);
            // Its panic was logged; there is nobody to tell.
            let _ = ticker.join();
        }
    }
}

fn not_compiled(error: &wasmtime::Error) -> EngineError {
    let why = format!("{error:#}").replace('\n', "; ");
    let denied = [rustix::io::Errno::ACCESS, rustix::io::Errno::PERM];
    let is_denied = error.chain().any(|cause| cause.downcast_ref().is_some_and(|errno| denied.contains(errno)));
    match refused_by_the_system(error) {
        Some(_) if is_denied => EngineError::NotExecutable(why),
        Some(_) => EngineError::Shortage(why),
        // wasmtime's validator has no type for it.
        None if why.contains("component model async feature") => EngineError::Async(why),
        None if why.contains("the component model") && why.contains(" feature") => EngineError::Feature(why),
        None => EngineError::NotAComponent(why),
    }
}

/// How much of the address space there is to reserve. Where it is ample a memory reserves all that 32 bits can address,
/// and its code needs no bounds checks; where it is short (`ulimit -v`), eight instances would take all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Addresses {
    Ample,
    Short { limit: u64 },
}

impl Addresses {
    fn of_this_process() -> Self {
        Self::within(machine::address_limit())
    }

    fn within(limit: Option<u64>) -> Self {
        match limit {
            Some(limit) if limit < AMPLE_ADDRESSES => Self::Short { limit },
            Some(_) | None => Self::Ample,
        }
    }
}

/// What decides how guest code behaves is set here and nowhere else, and the same for both engines. A guest sees no
/// difference between ample and short addresses: it traps at the same accesses.
fn config(addresses: Addresses) -> Config {
    let mut config = Config::new();
    if let Addresses::Short { .. } = addresses {
        config
            .memory_reservation(SHORT_RESERVATION_BYTES)
            .memory_reservation_for_growth(SHORT_GROWTH_BYTES)
            .memory_guard_size(SHORT_GUARD_BYTES)
            .guard_before_linear_memory(false);
    }
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .memory_init_cow(true)
        .cranelift_opt_level(OptLevel::Speed)
        // The same call gives the same bits on every machine: replay depends on it.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true);
    config
}

/// The pool reserves terabytes of addresses, which not every system grants (valgrind).
fn pool(on_demand: &Engine) -> Engine {
    Engine::new(config(Addresses::Ample).allocation_strategy(pooling())).unwrap_or_else(|error| {
        log::warn!("no pool for instances, each is made on demand, which takes longer: {error:#}");
        on_demand.clone()
    })
}

fn pooling() -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_core_instances(POOL_CORE_INSTANCES)
        .total_component_instances(POOL_CORE_INSTANCES)
        .total_memories(POOL_CORE_INSTANCES / 2)
        .total_tables(POOL_CORE_INSTANCES)
        .max_core_instances_per_component(200)
        .max_memories_per_component(50)
        .max_tables_per_component(200)
        .max_core_instance_size(4 * 1024 * 1024)
        .max_component_instance_size(4 * 1024 * 1024)
        .max_memory_size(usize::try_from(MEMORY_BYTES).unwrap_or(usize::MAX))
        .table_elements(TABLE_ELEMENTS);
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(KEPT_MEMORY_BYTES)
            .table_keep_resident(KEPT_TABLE_BYTES)
            .max_unused_warm_slots(WARM_SLOTS);
    }
    InstanceAllocationStrategy::Pooling(pool)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::Limits;

    #[test]
    fn an_instance_reserves_memory_bytes_where_addresses_are_short() {
        assert_eq!(Addresses::within(None), Addresses::Ample);
        assert_eq!(Addresses::within(Some(1 << 50)), Addresses::Ample);
        let limit = 20_000_000 * 1024;
        assert_eq!(Addresses::within(Some(limit)), Addresses::Short { limit });
        assert_eq!(SHORT_RESERVATION_BYTES, Limits::default().memory_bytes);
    }

    #[test]
    fn what_the_system_refused_is_not_blamed_on_the_component() {
        let short = wasmtime::Error::new(rustix::io::Errno::NOMEM).context("making room for code");
        assert!(not_compiled(&short).to_string().contains("the machine did not give"));
        let denied = wasmtime::Error::new(rustix::io::Errno::ACCESS).context("making code executable");
        assert!(not_compiled(&denied).to_string().contains("MemoryDenyWriteExecute"));
        let nonsense = wasmtime::Error::msg("unexpected end");
        assert_eq!(not_compiled(&nonsense).to_string(), "not a WebAssembly component: unexpected end");
    }
}
