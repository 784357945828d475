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
    fn a_program_gets_wasi_of_whichever_0_2_version_and_keeps_what_it_imports_from_theater() {
        let program = wat::parse_str(
            r#"(component
                (import "wasi:clocks/monotonic-clock@0.2.3" (instance (export "now" (func (result u64)))))
                (type $types (instance (type $r (record (field "n" u64))) (export "r" (type (eq $r)))))
                (import "ntwk:theater/types" (instance $types (type $types)))
                (alias export $types "r" (type $r))
                (import "ntwk:theater/runtime" (instance
                    (alias outer 1 $r (type $r)) (export "r" (type $s (eq $r))) (export "get-chain" (func (result $s)))))
                (instance $made)
                (export "ntwk:theater/actor" (instance $made))
                (export "of-the-toolchain" (instance $made)))"#,
        )
        .expect("a component");
        let world = World { imports: ["clock".to_owned()].into(), exports: [].into() };
        let composed = complete(&program, &world).expect("composed");
        let mut imports = imports_of(&composed).expect("a component");
        imports.sort_unstable();
        assert_eq!(imports, ["ntwk:theater/clock", "ntwk:theater/runtime", "ntwk:theater/types"]);
        let engine = wasmtime::Engine::default();
        let component = wasmtime::component::Component::new(&engine, &composed).expect("it compiles");
        let exports: Vec<_> = component.component_type().exports(&engine).map(|(name, _)| name.to_owned()).collect();
        assert_eq!(exports, ["ntwk:theater/actor"]);
        // The program's function and the shim's are both there.
        let runtime = component.component_type().get_import(&engine, "ntwk:theater/runtime").expect("imported").ty;
        let wasmtime::component::types::ComponentItem::ComponentInstance(runtime) = runtime else {
            panic!("no instance")
        };
        let functions: Vec<_> = runtime.exports(&engine).map(|(name, _)| name.to_owned()).collect();
        assert!(
            functions.iter().any(|it| it == "get-chain") && functions.iter().any(|it| it == "log"),
            "{functions:?}"
        );
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
