//! What the HTTP engine uses of Theater.

#[path = "../../../src/base/limits/mod.rs"]
#[allow(dead_code, unused_imports, reason = "only the bounds of listeners are used here")]
pub(crate) mod limits;
#[path = "../../../src/base/thread.rs"]
#[allow(dead_code)]
pub(crate) mod thread;
