//! Shared memory of the files that implement a wait: the lock, the atomics and the channels that they use.
//!
//! `tests/interleavings` compiles those files a second time, with a module of this name that has loom's types, and
//! tries all interleavings of a few threads. So these files must take the types from here and from nowhere else.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
pub(crate) use std::sync::{Arc, OnceLock};

pub(crate) use crossbeam_channel::{Receiver, Sender, unbounded};
pub(crate) use parking_lot::Mutex;
