//! What the HTTP engine uses of Theater.

#[path = "../../../src/base/thread.rs"]
#[allow(dead_code)]
pub(crate) mod thread;
