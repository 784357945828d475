//! The pool for work that all cores can share: compiling components, checking long histories. It is rayon's global one,
//! which is made on first use: here first, so that its threads have names.

use std::sync::Once;

use super::thread;

/// Cranelift recurses.
const STACK_BYTES: usize = 4 * 1024 * 1024;

/// Makes the pool, unless it is there.
pub(crate) fn make_ready() {
    static MADE: Once = Once::new();
    MADE.call_once(|| {
        let pool = rayon::ThreadPoolBuilder::new().spawn_handler(|worker| {
            let name = format!("core-{}", worker.index());
            // They live as long as the process.
            thread::spawn_sized(&name, STACK_BYTES, || worker.run()).map(drop)
        });
        // An embedder may have made it before.
        let _ = pool.build_global();
    });
}
