//! Rehearsal: the scripted tests of `theater test`. A test says what happens to an actor, step by step, and what is expected;
//! the actor's component runs without a server, a port or a journal, and a script answers its host calls.
//!
//! ```text
//!   tests/*.toml ── format ──▶ ScriptedTest ── runner ──▶ RehearsedActor (in `actor`)
//!                                                │             │ host calls
//!                              expectation ◀─────┘             ▼
//!                              what differs            scripted, then simulated
//! ```

#![cfg(feature = "cli")]

mod expectation;
mod format;
mod runner;
mod scripted;
mod simulated;
mod stimulus;
mod written;

pub(crate) use format::TestFile;
pub(crate) use runner::{Rehearser, TestedScript};
