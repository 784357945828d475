//! A guest under wasmtime alone, with the engine settings of `src/guest/settings.rs`.

use std::sync::OnceLock;

use wasmtime::component::{Component, ComponentExportIndex, Func, InstancePre, Linker, TypedFunc};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Store};

type Answer = Result<(Option<Vec<u8>>, (Vec<u8>,)), String>;
type Call<'a> = TypedFunc<(Option<&'a [u8]>, (&'a [u8],)), (Answer,)>;

pub struct FloorGuest {
    pre: InstancePre<()>,
    handle_request: ComponentExportIndex,
}

/// An instance that serves call after call.
pub struct Standing {
    store: Store<()>,
    call: Func,
}

pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut pool = PoolingAllocationConfig::default();
        pool.total_core_instances(4_000)
            .total_component_instances(4_000)
            .total_memories(2_000)
            .total_tables(4_000)
            .max_core_instances_per_component(200)
            .max_memories_per_component(50)
            .max_tables_per_component(200)
            .max_core_instance_size(4 * 1024 * 1024)
            .max_component_instance_size(4 * 1024 * 1024)
            .max_memory_size(1024 * 1024 * 1024)
            .table_elements(100_000);
        let mut config = Config::new();
        config
            .wasm_component_model(true)
            .concurrency_support(false)
            .epoch_interruption(true)
            .max_wasm_stack(256 * 1024)
            .memory_init_cow(true)
            .cranelift_opt_level(OptLevel::Speed)
            .cranelift_nan_canonicalization(true)
            .relaxed_simd_deterministic(true)
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        Engine::new(&config).expect("an engine")
    })
}

impl FloorGuest {
    pub fn compile(bytes: &[u8]) -> Self {
        Self::of(&Component::from_binary(engine(), bytes).expect("a component"))
    }

    pub fn of(component: &Component) -> Self {
        let mut linker = Linker::new(engine());
        linker.define_unknown_imports_as_traps(component).expect("imports");
        let interface = component.get_export_index(None, "ntwk:theater/message-server-client").expect("exported");
        let handle_request = component.get_export_index(Some(&interface), "handle-request").expect("exported");
        Self { pre: linker.instantiate_pre(component).expect("it links"), handle_request }
    }

    pub fn stand(&self) -> Standing {
        let mut store = Store::new(engine(), ());
        store.set_epoch_deadline(1 << 40);
        let instance = self.pre.instantiate(&mut store).expect("an instance");
        let call: Call = instance.get_typed_func(&mut store, &self.handle_request).expect("of this type");
        Standing { call: *call.func(), store }
    }
}

impl Standing {
    /// The new state and the answer.
    pub fn call(&mut self, state: Option<&[u8]>, message: &[u8]) -> (Option<Vec<u8>>, Vec<u8>) {
        // SAFETY: `stand` has checked the type, and a lifetime is no part of it.
        let call: Call = unsafe { TypedFunc::new_unchecked(self.call) };
        let (answer,) = call.call(&mut self.store, (state, (message,))).expect("no trap");
        let (state, (answer,)) = answer.expect("it answers");
        (state, answer)
    }
}
