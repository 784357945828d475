//! The shim components of `sdk/wasi-shim`, and the choice among them.
//!
//! They are parts of the program, so that `theater build` needs no file beside it; `scripts/build-shims.sh` makes them, and a
//! test compares them with their sources. A component may not import what its manifest does not grant: so there is one
//! shim for each grant of the clock and of randomness.

use super::compose::{compose, imports_of, is_wasi};
use super::error::BuildError;
use super::world::World;

const FULL: &[u8] = include_bytes!("shims/full.wasm");
const NO_CLOCK: &[u8] = include_bytes!("shims/no-clock.wasm");
const NO_RANDOM: &[u8] = include_bytes!("shims/no-random.wasm");
const BARE: &[u8] = include_bytes!("shims/bare.wasm");

/// The shim that imports no more than the world does.
fn shim_of(world: &World) -> &'static [u8] {
    match (world.grants("clock"), world.grants("random")) {
        (true, true) => FULL,
        (false, true) => NO_CLOCK,
        (true, false) => NO_RANDOM,
        (false, false) => BARE,
    }
}

/// The component with the WASI that it wants inside it.
pub(super) fn complete(program: &[u8], world: &World) -> Result<Vec<u8>, BuildError> {
    if imports_of(program)?.iter().any(|interface| is_wasi(interface)) {
        Ok(compose(program, shim_of(world))?)
    } else {
        Ok(program.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shim_imports_what_is_granted_and_nothing_else() {
        let of_theater = |name: &str| format!("ntwk:theater/{name}");
        for (granted, imported) in [
            (&["clock", "random"][..], &["runtime", "clock", "random"][..]),
            (&["random"], &["runtime", "random"]),
            (&["clock"], &["runtime", "clock"]),
            (&[], &["runtime"]),
        ] {
            let imports = granted.iter().map(|name| (*name).to_owned()).collect();
            let world = World { imports, exports: ["actor".to_owned()].into() };
            let mut expected: Vec<String> = imported.iter().copied().map(of_theater).collect();
            let mut found = imports_of(shim_of(&world)).expect("a component");
            expected.sort_unstable();
            found.sort_unstable();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_component_that_wants_no_wasi_stays_as_it_is() {
        let program = wat::parse_str(r#"(component (import "ntwk:theater/clock" (instance)))"#).expect("a component");
        let world = World { imports: ["clock".to_owned()].into(), exports: [].into() };
        assert_eq!(complete(&program, &world).expect("completed"), program);
    }

    #[test]
    fn wasi_that_an_actor_cannot_have_is_refused_by_name() {
        let program =
            wat::parse_str(r#"(component (import "wasi:http/types@0.2.9" (instance)))"#).expect("a component");
        let world = World { imports: [].into(), exports: [].into() };
        let why = complete(&program, &world).expect_err("refused").to_string();
        assert!(why.contains("wasi:http/types@0.2.9"), "{why}");
        let preview = wat::parse_str(r#"(component (import "wasi:clocks/wall-clock@0.3.0" (instance)))"#).expect("one");
        assert!(complete(&preview, &world).is_err());
    }

    #[test]
    fn bytes_that_are_no_component_are_refused() {
        let world = World { imports: [].into(), exports: [].into() };
        for bytes in [&b"no component"[..], b"", b"\0asm\x01\0\0\0"] {
            let why = complete(bytes, &world).expect_err("refused").to_string();
            assert!(why.contains("is not a component"), "{why}");
        }
    }
}
