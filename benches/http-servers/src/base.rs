//! What the engine uses of Theater.

#[path = "../../../src/base/thread.rs"]
#[allow(dead_code)]
pub(crate) mod thread;
#[path = "../../../src/base/limits/mod.rs"]
#[allow(dead_code, unused_imports)]
pub(crate) mod limits;
