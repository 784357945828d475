//! WASI 0.2 for an actor, made from the host functions that Theater records. JavaScript and Python are interpreters that
//! were compiled for WASI; Theater has no WASI. A shim component exports the WASI interfaces and imports only
//! `ntwk:theater/{runtime,clock,random}`. `theater build` composes it with the interpreter's component.
//!
//! | WASI | here |
//! |---|---|
//! | standard output and error | each line is a `runtime.log` |
//! | wall clock, monotonic clock | `clock.now`, in steps of a millisecond |
//! | random bytes | a stream of ChaCha20, whose key is one `random.bytes` of each instance |
//! | standard input, environment, arguments, terminals, directories | empty |
//! | files, sockets, sleep, exit | refused: a line in the log names the reason and the remedy |
//!
//! [`shim!`] makes a component of it. What a manifest withholds is not imported: asking for it fails by name.

#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({ path: "../wit", world: "shim", generate_all, pub_export_macro: true });
}

mod cli;
mod clocks;
mod filesystem;
mod grants;
mod io;
mod random;
mod sockets;

pub use grants::{Clock, Random, Recorded, Withheld};

/// The type whose functions a component exports, with what its manifest grants.
pub struct Shim<C: Clock, R: Random>(core::marker::PhantomData<(C, R)>);

/// Makes the crate a shim component, with the clock and the randomness that are named: `Recorded` or `Withheld`.
#[macro_export]
macro_rules! shim {
    ($clock:ident, $random:ident) => {
        type Shim = $crate::Shim<$crate::$clock, $crate::$random>;
        #[cfg(target_family = "wasm")]
        $crate::bindings::export!(Shim with_types_in $crate::bindings);
        #[cfg(not(target_family = "wasm"))]
        const _: Option<Shim> = None;
    };
}

/// Implements functions of a resource of which no value exists: an actor has no files and no sockets, so nothing ever calls
/// them.
macro_rules! impossible {
    ($trait:path, $type:ty: $(fn $name:ident($($param:ty),*) $(-> $result:ty)?;)*) => {
        impl $trait for $type {
            $(fn $name(&self, $(_: $param),*) $(-> $result)? { match *self {} })*
        }
    };
}
pub(crate) use impossible;

/// Writes a line to the actor's log, and ends the call with a trap, as a panic does.
fn fail(why: &str) -> ! {
    bindings::ntwk::theater::runtime::log(why);
    trap()
}

#[cfg(target_family = "wasm")]
fn trap() -> ! {
    core::arch::wasm32::unreachable()
}

/// A test sees the failure as a panic.
#[cfg(not(target_family = "wasm"))]
fn trap() -> ! {
    panic!("trap")
}
