//! Test components that import functions with the types of `wit/`. They import, because exports would need code.

use std::collections::BTreeSet;

use wasmtime::Engine;
use wasmtime::component::types::{Component, ComponentItem};

use super::super::interfaces::{Signature, Wit, signature};

/// The text of a component that imports this function with the type that `wit/` has.
pub(crate) fn component(interface: &str, function: &str) -> String {
    let Signature { params, result } = signature(interface, function).expect("it is in wit/");
    let mut types = Types::default();
    let params: Vec<String> =
        params.iter().map(|(name, ty)| format!("(param \"{name}\" {})", types.written(ty))).collect();
    let result = result.map(|ty| format!("(result {})", types.written(&ty))).unwrap_or_default();
    with_types(interface, function, &types.text, &format!("{} {result}", params.join(" ")))
}

/// The same for any types. `function_type` may name the types that `types` exports.
pub(crate) fn with_types(interface: &str, function: &str, types: &str, function_type: &str) -> String {
    format!("(component (import \"{interface}\" (instance {types} (export \"{function}\" (func {function_type})))))")
}

/// The function that such a component imports.
pub(crate) fn imported(engine: &Engine, component: &Component, interface: &str, function: &str) -> ComponentItem {
    match component.get_import(engine, interface).expect("the interface").ty {
        ComponentItem::ComponentInstance(found) => found.get_export(engine, function).expect("the function").ty,
        other => panic!("{other:?} is no interface"),
    }
}

#[derive(Default)]
struct Types {
    text: String,
    named: BTreeSet<String>,
}

impl Types {
    fn written(&mut self, ty: &Wit) -> String {
        match ty {
            Wit::Simple(name) => name.clone(),
            Wit::Json => "(list u8)".to_owned(),
            Wit::List(item) => format!("(list {})", self.written(item)),
            Wit::Option(value) => format!("(option {})", self.written(value)),
            Wit::Tuple(items) => {
                let items: Vec<String> = items.iter().map(|item| self.written(item)).collect();
                format!("(tuple {})", items.join(" "))
            }
            Wit::Result(ok, err) => {
                let ok = ok.as_ref().map(|ty| self.written(ty)).unwrap_or_default();
                let err = err.as_ref().map(|ty| format!("(error {})", self.written(ty))).unwrap_or_default();
                format!("(result {ok} {err})")
            }
            Wit::Record(record) => {
                let fields = record.parts.iter();
                let fields = fields.map(|(name, ty)| format!("(field \"{name}\" {})", self.written(ty)));
                let fields: Vec<String> = fields.collect();
                self.named(&record.name, format!("(record {})", fields.join(" ")))
            }
            Wit::Variant(variant) => {
                let cases = variant.parts.iter().map(|(name, ty)| {
                    format!("(case \"{name}\" {})", ty.as_ref().map(|ty| self.written(ty)).unwrap_or_default())
                });
                let cases: Vec<String> = cases.collect();
                self.named(&variant.name, format!("(variant {})", cases.join(" ")))
            }
            Wit::Enum(_) | Wit::Flags(_) => unreachable!("wit/ exports none"),
        }
    }

    fn named(&mut self, name: &str, definition: String) -> String {
        if self.named.insert(name.to_owned()) {
            self.text += &format!("(type ${name}-is {definition}) (export \"{name}\" (type ${name} (eq ${name}-is)))");
        }
        format!("${name}")
    }
}
