//! The pool for work that all cores can share: compiling components, checking long histories. It is rayon's global one,
//! which is made on first use: here first, so that its threads have names.

use std::sync::OnceLock;

use super::thread;
use std::error::Error;

/// Cranelift recurses.
const STACK_BYTES: usize = 4 * 1024 * 1024;

/// Makes the pool, unless it is there. One that the system gave no threads for is never there: what needs it would panic.
pub(crate) fn make_ready() -> Result<(), String> {
    static MADE: OnceLock<Result<(), String>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let pool = rayon::ThreadPoolBuilder::new().spawn_handler(|worker| {
            let name = format!("core-{}", worker.index());
            // They live as long as the process.
            thread::spawn_sized(&name, STACK_BYTES, || worker.run()).map(drop)
        });
        match pool.build_global() {
            // An embedder may have made it before.
            Err(error) if error.source().is_some() => Err(error.to_string()),
            Ok(()) | Err(_) => Ok(()),
        }
    });
    made.clone()
}
