//! The thread pool for work that all cores share: compiling components, and checking long histories. It is rayon's global
//! pool. Rayon would make it at its first use; it is made here before that, so that its threads have names.

use std::error::Error;
use std::sync::OnceLock;

use rayon::prelude::*;

use super::thread;

/// Bytes of stack for each thread: Cranelift recurses deeply.
const STACK_BYTES: usize = 4 * 1024 * 1024;

/// Makes the pool, unless it exists. If the system gives no threads for it, this returns an error, because rayon would
/// panic when the pool is used.
pub(crate) fn make_ready() -> Result<(), String> {
    static MADE: OnceLock<Result<(), String>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let pool = rayon::ThreadPoolBuilder::new().spawn_handler(|worker| {
            let name = format!("core-{}", worker.index());
            // These threads live as long as the process.
            thread::spawn_sized(&name, STACK_BYTES, || worker.run()).map(drop)
        });
        match pool.build_global() {
            // An embedder may have made the pool before.
            Err(error) if error.source().is_some() => Err(error.to_string()),
            Ok(()) | Err(_) => Ok(()),
        }
    });
    made.clone()
}

/// What `of` makes of each item, in the order of the items: on all cores if the work is worth being cut into two or more
/// shares, and otherwise, or if the system gives no threads for the pool, on this thread.
pub(crate) fn map<I: Sync, T: Send>(items: &[I], shares: usize, of: impl Fn(&I) -> T + Send + Sync) -> Vec<T> {
    if shares < 2 || items.len() < 2 || make_ready().is_err() {
        return items.iter().map(of).collect();
    }
    items.par_iter().with_min_len(items.len().div_ceil(shares)).map(of).collect()
}
