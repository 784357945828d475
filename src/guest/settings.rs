//! The settings of wasmtime: how guest code is compiled, how much memory an instance reserves, how many instances the pool
//! holds.

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::base::limits::MEMORY_BYTES;
use crate::base::machine;

/// The stack of a guest. An interpreter (QuickJS, CPython) takes it quickly: a JSON message nested 3,000 deep needs most of it.
/// Only pages that were touched cost memory.
const WASM_STACK_BYTES: usize = 1024 * 1024;
/// The stack of a thread that runs guests: the host's own frames need room beyond the guest's.
pub(crate) const THREAD_STACK_BYTES: usize = WASM_STACK_BYTES + 256 * 1024;
/// How many core instances the pool has room for. A Rust guest takes 3, a QuickJS guest 13.
const POOL_CORE_INSTANCES: u32 = 4_000;
/// How many bytes of a used memory the pool resets by copying the pages that were written, if the kernel can tell which
/// pages those are (`PAGEMAP_SCAN`, Linux 6.7).
///
/// The other way to reset a memory is to return its pages to the kernel. That interrupts every core which runs a thread of
/// the process, and the next instance faults the pages in again. The cost of copying is that each slot of the pool that
/// was ever used keeps these bytes: many instances that were at work at once leave at most 256 MiB together.
///
/// A memory that has grown costs such an interruption nevertheless: the pages beyond its first size are made inaccessible for
/// the next instance. No setting avoids that, so `theater-actor` brings an allocator that does not begin by growing.
const KEPT_MEMORY_BYTES: usize = 128 * 1024;
/// The same for a table.
const KEPT_TABLE_BYTES: usize = 16 * 1024;
/// How many slots of the pool are kept for the component that used them last, instead of being given to another component.
const WARM_SLOTS: u32 = 32;
/// An address space of this size has room for the pool and everything else.
const AMPLE_ADDRESSES: u64 = 1 << 44;
/// The addresses that a memory reserves if the address space is small: the default of `memory_bytes`. A memory that grows
/// beyond is moved.
pub(crate) const SHORT_RESERVATION_BYTES: u64 = 64 * 1024 * 1024;
/// The addresses reserved for growth when such a memory is moved.
const SHORT_GROWTH_BYTES: u64 = 16 * 1024 * 1024;
/// The guard pages after a memory if the address space is small.
const SHORT_GUARD_BYTES: u64 = 64 * 1024;
/// The elements of one table. Tables do not count as memory of an instance.
pub(super) const TABLE_ELEMENTS: usize = 100_000;

/// How much address space the process has. If it is ample, each memory reserves all that 32 bits can address, and its code
/// needs no bounds checks. If it is short (`ulimit -v`), eight such instances would take all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Addresses {
    Ample,
    Short { limit: u64 },
}

impl Addresses {
    pub(super) fn of_this_process() -> Self {
        Self::within(machine::address_limit())
    }

    fn within(limit: Option<u64>) -> Self {
        match limit {
            Some(limit) if limit < AMPLE_ADDRESSES => Self::Short { limit },
            Some(_) | None => Self::Ample,
        }
    }
}

/// The configuration that both engines share. Everything that decides how guest code behaves is set here and nowhere else.
/// A guest cannot tell ample addresses from short ones: it traps at the same accesses.
pub(super) fn config(addresses: Addresses) -> Config {
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
        // With these two, the same call computes the same bits on every machine. Replay depends on it.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true);
    config
}

/// The engine with the pool and these settings, or `on_demand` itself if the system refuses the pool: the pool reserves terabytes of
/// addresses, which not every system grants (valgrind does not).
pub(super) fn pool(mut config: Config, on_demand: &Engine) -> Engine {
    Engine::new(config.allocation_strategy(pooling())).unwrap_or_else(|error| {
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
}
