//! The WIT world of an actor, as its manifest decides it: each granted handler's interfaces are imported, and the interfaces
//! by which a handler calls the actor are exported.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::error::{BuildError, at};
use crate::guest::WIT_FILES;
use crate::handlers::Handlers;
use crate::manifest::{Manifest, ManifestError};

/// The name of every world that is written here.
pub(super) const NAME: &str = "this-actor";

/// The package of all interfaces, with the slash before an interface's name.
pub(super) const PACKAGE: &str = "ntwk:theater/";

/// All files of `wit/`, for a library that makes worlds of its own.
pub(super) fn all_files() -> impl Iterator<Item = (&'static str, &'static str)> {
    WIT_FILES.iter().copied().chain([("worlds.wit", include_str!("../../wit/worlds.wit"))])
}

/// An interface that is exported in place of another one, if the actor has a method for it.
struct ByMethod {
    interface: &'static str,
    /// None if the actor may have neither.
    in_place_of: Option<&'static str>,
    /// The method's name, as TypeScript and as Python has it.
    names: [&'static str; 2],
}

const BY_METHOD: [ByMethod; 3] = [
    ByMethod {
        interface: "connection-handlers",
        in_place_of: Some("websocket-server"),
        names: ["handleConnection", "handle_connection"],
    },
    ByMethod {
        interface: "stream-handlers",
        in_place_of: Some("http-server"),
        names: ["handleStream", "handle_stream"],
    },
    ByMethod { interface: "migration", in_place_of: None, names: ["migrate", "migrate"] },
];

/// What a component imports and exports, by the names of the interfaces without their package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct World {
    pub(super) imports: BTreeSet<String>,
    pub(super) exports: BTreeSet<String>,
}

impl World {
    /// All that the manifest grants, and every interface by which its handlers can call an actor.
    pub(super) fn of(manifest: &Manifest) -> Result<Self, ManifestError> {
        let granted = Handlers::new().granted(manifest)?;
        let name = |interface: &str| interface.strip_prefix(PACKAGE).unwrap_or(interface).to_owned();
        let imports = granted.iter().flat_map(|handler| handler.imports()).map(|interface| name(interface)).collect();
        let exports = granted.iter().flat_map(|handler| handler.exports());
        Ok(Self { imports, exports: exports.map(|export| name(export.function().interface)).collect() })
    }

    /// Of two interfaces of which an actor exports one, leaves the one that it has a method for. `code` is the file of the actor.
    pub(super) fn choose(&mut self, code: &str) {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let words: BTreeSet<&str> = code.split(|c| !is_part(c)).collect();
        for ByMethod { interface, in_place_of, names } in BY_METHOD {
            let has_method = names.iter().any(|name| words.contains(name));
            let other = if has_method { in_place_of } else { Some(interface) };
            other.map(|other| self.exports.remove(other));
        }
    }

    pub(super) fn grants(&self, interface: &str) -> bool {
        self.imports.contains(interface)
    }

    /// The text of the world in WIT.
    pub(super) fn text(&self) -> String {
        let imports = self.imports.iter().map(|interface| format!("    import {interface};\n"));
        let exports = self.exports.iter().map(|interface| format!("    export {interface};\n"));
        let lines: String = imports.chain(exports).collect();
        format!(
            "package ntwk:theater;\n\n/// What the manifest grants, and how it has the actor called.\nworld {NAME} {{\n{lines}}}\n"
        )
    }

    /// Writes the world and all interfaces into a directory, which has nothing else then.
    pub(super) fn write(&self, directory: &Path) -> Result<(), BuildError> {
        if directory.exists() {
            fs::remove_dir_all(directory).map_err(at(directory))?;
        }
        fs::create_dir_all(directory).map_err(at(directory))?;
        let world = self.text();
        for (name, text) in WIT_FILES.iter().copied().chain([("this-actor.wit", world.as_str())]) {
            let path = directory.join(name);
            fs::write(&path, text).map_err(at(&path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::ActorLimits;

    fn world(handlers: &[&str]) -> World {
        world_with(handlers, "")
    }

    fn world_with(handlers: &[&str], code: &str) -> World {
        let config = |handler: &str| if handler.ends_with("-server") { "config = { port = 0 }\n" } else { "" };
        let granted = handlers.iter().map(|it| format!("[[handlers]]\ntype = \"{it}\"\n{}", config(it)));
        let granted: String = granted.collect();
        let text = format!("name = \"a\"\ncomponent_path = \"a.wasm\"\n{granted}");
        let manifest = Manifest::parse(Path::new("a.toml"), text.into(), &ActorLimits::default()).expect("a manifest");
        let mut world = World::of(&manifest).expect("a world");
        world.choose(code);
        world
    }

    fn names(set: &BTreeSet<String>) -> Vec<&str> {
        set.iter().map(String::as_str).collect()
    }

    #[test]
    fn a_manifest_that_grants_nothing_has_the_world_of_an_actor_that_takes_messages() {
        let world = world(&[]);
        assert_eq!(
            names(&world.imports),
            ["async-requests", "config", "deferred-replies", "message-server-host", "runtime"]
        );
        assert_eq!(names(&world.exports), ["actor", "message-server-client", "reply-handlers"]);
    }

    #[test]
    fn what_is_granted_is_imported_and_what_is_delivered_is_exported() {
        let world = world(&["timer", "clock"]);
        assert!(world.grants("clock") && world.grants("timer") && !world.grants("random"));
        assert!(world.exports.contains("timer-handlers"));
        let text = world.text();
        assert!(text.contains("    import clock;\n") && text.contains("    export timer-handlers;\n"), "{text}");
    }

    #[test]
    fn an_actor_with_a_method_for_connections_or_streams_exports_these_in_place_of_the_simpler_interfaces() {
        let handlers = ["http-server", "websocket-server"];
        let simple = ["actor", "http-server", "message-server-client", "reply-handlers", "websocket-server"];
        assert_eq!(names(&world(&handlers).exports), simple);
        let both = world_with(&handlers, "handleStream(stream) {}\ndef handle_connection(self):");
        let other = world_with(&handlers, "handleStreamClosed() {} // handle_stream_closed");
        assert_eq!(names(&other.exports), simple);
        let wanted = ["actor", "connection-handlers", "message-server-client", "reply-handlers", "stream-handlers"];
        assert_eq!(names(&both.exports), wanted);
        assert!(world_with(&[], "def migrate(self, before, from_digest):").exports.contains("migration"));
        let ungranted = world_with(&[], "handleStream handleConnection");
        assert_eq!(names(&ungranted.exports), ["actor", "message-server-client", "reply-handlers"]);
    }
}
