//! The sandbox: wasmtime, and the one door through which everything passes that crosses it.
//!
//! ```text
//!   GuestEngine ── compiles ──▶ Program ── instantiated for a call ──▶ Guest
//!                                                                       │ its store holds
//!                                                                       ▼
//!                                                      HostState { Recorder, meter, … }
//! ```
//!
//! Nothing here knows of TCP or TOML.

mod cache;
mod engine;
mod export;
mod instance;
mod interfaces;
mod interruption;
mod kept;
mod past;
mod program;
mod recorder;
mod script;
mod shortage;
mod state;
mod types;
pub(crate) mod wit;

pub(crate) use engine::{GuestEngine, SHORT_RESERVATION_BYTES, THREAD_STACK_BYTES};
pub(crate) use export::{Export, GuestExport, StateAnd, StateOnly};
pub(crate) use instance::{CallEnd, Guest};
pub(crate) use interruption::Interruption;
pub(crate) use past::Past;
pub(crate) use program::{Capability, Program};
pub(crate) use recorder::{Answered, Attempt, Effect, Recorder, Unseen};
pub use script::Divergence;
pub(crate) use script::{Pages, Script};
pub(crate) use shortage::was_recorded_as_a_trap;
pub(crate) use state::{Extensions, HostState, Live};
#[cfg(test)]
pub(crate) use types::of_wit;
