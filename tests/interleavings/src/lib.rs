//! Interleavings: mailbox, reply, one-shot channel and stop signal under loom, which tries every order in which a few threads
//! can take their steps. A wakeup that is lost in any of them is a deadlock, and loom reports it.
//!
//! The files are Theater's own, compiled here a second time: `base` and `system` name them by their paths. What they use
//! beside each other is replaced: locks, atomics and channels by loom's (`base/sync.rs`), the waits by waits that never time
//! out (`base/wait.rs`), the clock by one that stands still. So a test passes only if every wait is ended by a wakeup, and
//! none by its deadline.
//!
//! `make test` runs this.

#![cfg(test)]
#![allow(dead_code, unused_imports, reason = "the files are compiled whole, and a few of their functions are used")]

mod base;
mod chain;
mod journal;
mod models;
mod system;
