//! The sandbox: wasmtime, and the recorder, through which everything passes that enters or leaves a guest.
//!
//! ```text
//!   GuestEngine ── compiles and links ──▶ Program ── is instantiated for a call by ──▶ Guest
//!                                                                       │ its store holds
//!                                                                       ▼
//!                                                      HostState { Recorder, meter, … }
//! ```
//!
//! Nothing here knows of TCP or TOML.

mod cache;
mod compiled;
mod effect;
mod engine;
mod export;
mod functions;
mod instance;
mod interfaces;
mod interruption;
mod kept;
mod last_words;
mod outline;
mod past;
mod program;
mod recorder;
mod script;
mod settings;
mod shortage;
mod state;
mod table;
mod types;
pub(crate) mod values;
pub(crate) mod wit;
mod wit_files;

pub(crate) use cache::code_cache_within;
pub(crate) use effect::{Answered, Attempt, Effect};
pub(crate) use engine::GuestEngine;
pub(crate) use export::{Export, GuestExport, StateAnd, StateOnly};
pub(crate) use functions::KeptFunctions;
pub(crate) use instance::{CallEnd, Guest};
pub(crate) use interruption::Interruption;
pub(crate) use last_words::{is_the_recorded_detail, trap_alone};
pub(crate) use past::Past;
pub(crate) use program::{Capability, Program};
pub(crate) use recorder::{AskedHost, HostAnswers, PutOff, Recorder, Unseen};
pub use script::Divergence;
pub(crate) use script::{EventPages, Script};
pub(crate) use settings::{SHORT_RESERVATION_BYTES, THREAD_STACK_BYTES};
pub(crate) use shortage::was_recorded_as_a_trap;
pub(crate) use state::{Extensions, HostState, Live};
pub(crate) use table::{Cell, Table, TableBase, Unread};
#[cfg(test)]
pub(crate) use types::of_wit;
pub(crate) use wit_files::WIT_FILES;
