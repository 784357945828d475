//! Measures wasmtime's `incremental-cache`: how long two builds of one actor take to compile, with and without the functions of the
//! first build at hand. They are kept in memory, as a `theater dev` would keep them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use wasmtime::{CacheStore, Config, Engine, OptLevel, Result};

/// Compiled functions by their keys.
#[derive(Debug, Default)]
struct Functions {
    kept: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    found: AtomicU64,
    missed: AtomicU64,
}

impl CacheStore for Functions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let found = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        let counter = if found.is_some() { &self.found } else { &self.missed };
        counter.fetch_add(1, Ordering::Relaxed);
        found.map(Cow::Owned)
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_vec(), value);
        true
    }
}

/// The settings of `src/guest/settings.rs` that decide what is compiled.
fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(1024 * 1024)
        .memory_init_cow(true)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true);
    config
}

fn compile(what: &str, engine: &Engine, component: &[u8]) -> Result<Vec<u8>> {
    let begun = Instant::now();
    let code = engine.precompile_component(component)?;
    println!("{what:<32} {:>6.2} s  {:>9} bytes of code", begun.elapsed().as_secs_f64(), code.len());
    Ok(code)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [before, after] = &arguments[..] else {
        eprintln!("incremental-cache: name the components of two builds of one actor");
        std::process::exit(2);
    };
    let (before, after) = (std::fs::read(before)?, std::fs::read(after)?);

    let plain = Engine::new(&config())?;
    let plainly = [compile("before", &plain, &before)?, compile("after", &plain, &after)?];

    let functions = Arc::new(Functions::default());
    let mut with_functions = config();
    with_functions.enable_incremental_compilation(functions.clone())?;
    let incremental = Engine::new(&with_functions)?;
    let first = compile("before, functions are kept", &incremental, &before)?;
    let counters = [&functions.found, &functions.missed];
    counters.iter().for_each(|counter| counter.store(0, Ordering::Relaxed));
    let second = compile("after, with kept functions", &incremental, &after)?;

    let [found, missed] = counters.map(|counter| counter.load(Ordering::Relaxed));
    let kept = functions.kept.lock().unwrap_or_else(PoisonError::into_inner);
    println!("{found} of {} functions were kept", found + missed);
    println!("{} bytes of functions are kept now", kept.values().map(Vec::len).sum::<usize>());
    println!(
        "the code is {} with and without them",
        if plainly == [first, second] { "the same" } else { "not the same" }
    );
    Ok(())
}
