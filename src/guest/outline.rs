//! The outline of a component: what it imports and exports, read from its bytes without compiling it. Compiling an interpreter
//! takes seconds, and a component that cannot run here is refused in milliseconds.

use wasmparser::component_types::ComponentEntityType;
use wasmparser::types::Types;
use wasmparser::{ComponentImport, ComponentImportSectionReader, Parser, Payload, ValidPayload, Validator};

use super::program::{Capability, ProgramError, Providers};
use crate::chain::Function;

/// The imports and exports of a component.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outline {
    imports: Vec<Import>,
    /// Each exported interface, with the names of its functions and types.
    exports: Vec<(String, Vec<String>)>,
}

#[derive(Debug, PartialEq, Eq)]
struct Import {
    interface: String,
    /// An interface that contains only types needs no provider.
    brings_only_types: bool,
}

impl Outline {
    /// Reads the outline; `None` if the bytes are no component, or use what the validator does not know: the
    /// compiler says why, and refuses it, too.
    pub(super) fn of(component: &[u8]) -> Option<Self> {
        let mut validator = Validator::new();
        let (mut imported, mut exported) = (Vec::new(), Vec::new());
        let (mut depth, mut types) = (0_u32, None);
        for payload in Parser::new(0).parse_all(component) {
            let payload = payload.ok()?;
            match &payload {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::ComponentImportSection(section) if depth == 1 => imported.extend(names(section)?),
                Payload::ComponentExportSection(section) if depth == 1 => {
                    for export in section.clone() {
                        exported.push(export.ok()?.name.name.to_owned());
                    }
                }
                _ => {}
            }
            // The bodies of functions, which are nearly all of a component, are passed over.
            if let ValidPayload::End(of_it) = validator.payload(&payload).ok()? {
                types = Some(of_it);
            }
        }
        let types = types?;
        let imports = imported.into_iter().map(|interface| {
            let item = types.as_ref().component_item_for_import(&interface)?;
            Some(Import { brings_only_types: brings_only_types(&types, &item.ty), interface })
        });
        let exports = exported.into_iter().map(|interface| {
            let item = types.as_ref().component_item_for_export(&interface)?;
            Some((interface, members(&types, &item.ty)))
        });
        Some(Self { imports: imports.collect::<Option<_>>()?, exports: exports.collect::<Option<_>>()? })
    }

    /// Checks that the granted handlers provide each imported interface, and that each function is exported that they
    /// deliver to.
    pub(super) fn check(&self, granted: &[&dyn Capability], all: &Providers) -> Result<(), ProgramError> {
        let is_provided = |import: &&Import| {
            import.brings_only_types || granted.iter().any(|it| it.imports().contains(&import.interface.as_str()))
        };
        if let Some(import) = self.imports.iter().find(|import| !is_provided(import)) {
            return Err(not_provided(import.interface.clone(), granted, all));
        }
        for capability in granted.iter().filter(|capability| !capability.exports_are_optional()) {
            let functions: Vec<_> = capability.exports().into_iter().map(|export| export.function()).collect();
            let there: Vec<_> =
                functions.iter().filter(|function| self.exports(function)).map(|it| it.interface).collect();
            let is_enough = capability.one_interface_is_enough() && !there.is_empty();
            let is_missing = |function: &&&'static Function| {
                !self.exports(function) && (!is_enough || there.contains(&function.interface))
            };
            if let Some(function) = functions.iter().find(is_missing) {
                let (handler, export) = (capability.name(), function.full);
                return Err(ProgramError::MissingExport { handler, export, versioned: self.versioned(function) });
            }
        }
        Ok(())
    }

    fn exports(&self, function: &Function) -> bool {
        let mut interfaces = self.exports.iter();
        interfaces
            .any(|(interface, members)| interface == function.interface && members.iter().any(|it| it == function.name))
    }

    /// The interface of `function` as the component exports it under a version.
    fn versioned(&self, function: &Function) -> Option<String> {
        let mut names = self.exports.iter().map(|(name, _)| name);
        let is_it = |name: &&String| name.split_once('@').is_some_and(|(interface, _)| interface == function.interface);
        names.find(is_it).cloned()
    }
}

fn names(section: &ComponentImportSectionReader<'_>) -> Option<Vec<String>> {
    let name = |import: wasmparser::Result<ComponentImport<'_>>| import.ok().map(|import| import.name.name.to_owned());
    section.clone().into_iter().map(name).collect()
}

fn members(types: &Types, ty: &ComponentEntityType) -> Vec<String> {
    match ty {
        ComponentEntityType::Instance(id) => types[*id].exports.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

fn brings_only_types(types: &Types, ty: &ComponentEntityType) -> bool {
    let is_type = |ty: &ComponentEntityType| matches!(ty, ComponentEntityType::Type { .. });
    match ty {
        ComponentEntityType::Instance(id) => types[*id].exports.values().all(|item| is_type(&item.ty)),
        other => is_type(other),
    }
}

/// Why nothing that was granted provides an interface.
fn not_provided(interface: String, granted: &[&dyn Capability], all: &Providers) -> ProgramError {
    let provider = all.iter().find(|(_, imports)| imports.contains(&interface.as_str()));
    let mut exports = granted.iter().flat_map(|capability| capability.exports());
    match provider {
        Some((handler, _)) => ProgramError::NotGranted { interface, handler },
        None if interface.starts_with("wasi:") => ProgramError::Wasi { interface },
        None if exports.any(|export| export.function().interface == interface) => {
            ProgramError::ImportsAnExport { interface }
        }
        None => ProgramError::UnknownImport { interface },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(text: &str) -> Option<Outline> {
        Outline::of(&wat::parse_str(text).expect("the text of a component"))
    }

    #[test]
    fn the_outline_names_imports_and_exports_and_tells_types_from_functions() {
        let outline = outline(
            r#"(component
                (import "a:b/types" (instance (type $n u32) (export "n" (type (eq $n)))))
                (import "a:b/calls" (instance $calls (export "f" (func))))
                (alias export $calls "f" (func $f))
                (component (import "c:d/not-ours" (func)))
                (instance $made (export "f" (func $f)))
                (export "a:b/given@1.0.0" (instance $made)))"#,
        );
        let import = |interface: &str, brings_only_types| Import { interface: interface.into(), brings_only_types };
        let expected = Outline {
            imports: vec![import("a:b/types", true), import("a:b/calls", false)],
            exports: vec![("a:b/given@1.0.0".into(), vec!["f".into()])],
        };
        assert_eq!(outline, Some(expected));
    }

    #[test]
    fn what_is_no_component_has_no_outline() {
        for bytes in [&b""[..], b"\0asm", b"\0asm\x0d\0\x01\0\x07\xff", b"no wasm at all"] {
            assert_eq!(Outline::of(bytes), None);
        }
    }
}
