//! Composes a program, a component that wants WASI, with a shim component that gives it: the result imports from Theater
//! alone.
//!
//! The result has both components inside. It imports what either imports from `ntwk:theater`, gives the shim's exports to the
//! program, and exports the program's `ntwk:theater` interfaces. A shim gives one version of WASI 0.2. A program is given it
//! for whichever 0.2 version it asks: later ones have the functions of earlier ones.

use std::collections::HashMap;

use thiserror::Error;
use wasm_encoder::{
    Alias, ComponentBuilder, ComponentExportKind as Sort, ComponentOuterAliasKind, ComponentTypeRef, ComponentValType,
    InstanceType, PrimitiveValType as Primitive, TypeBounds,
};
use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentDefinedType, ComponentDefinedTypeId, ComponentEntityType, ComponentFuncTypeId,
    ComponentItem, ComponentValType as Value,
};
use wasmparser::types::Types;
use wasmparser::{Encoding, Parser, Payload, PrimitiveValType, ValidPayload, Validator};

/// Why two components could not be composed.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum ComposeError {
    #[error("{0} is not a component that is valid here: {1}")]
    Invalid(&'static str, String),
    #[error("the component imports {0}, which is no interface of Theater and none that can be made for an actor")]
    NotGiven(String),
    #[error("the interface {0} has {1}, which cannot be passed on")]
    Unsupported(String, &'static str),
}

/// A component that was read: its bytes, and what it imports and exports.
struct Read<'a> {
    bytes: &'a [u8],
    types: Types,
    imports: Vec<String>,
    exports: Vec<String>,
}

impl<'a> Read<'a> {
    fn of(what: &'static str, bytes: &'a [u8]) -> Result<Self, ComposeError> {
        let invalid = |error: wasmparser::BinaryReaderError| ComposeError::Invalid(what, error.to_string());
        let mut validator = Validator::new();
        let (mut imports, mut exports, mut depth, mut types) = (Vec::new(), Vec::new(), 0_u32, None);
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.map_err(invalid)?;
            match &payload {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                    return Err(ComposeError::Invalid(what, "it is a core module".into()));
                }
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::ComponentImportSection(section) if depth == 1 => {
                    for import in section.clone() {
                        imports.push(import.map_err(invalid)?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if depth == 1 => {
                    for export in section.clone() {
                        exports.push(export.map_err(invalid)?.name.name.to_owned());
                    }
                }
                _ => {}
            }
            if let ValidPayload::End(all) = validator.payload(&payload).map_err(invalid)? {
                types = Some(all);
            }
        }
        let types = types.ok_or_else(|| ComposeError::Invalid(what, "it has no end".into()))?;
        Ok(Self { bytes, types, imports, exports })
    }

    /// The members of an imported interface, in their order; none if it is not imported.
    fn imported(&self, interface: &str) -> Vec<(&str, &ComponentEntityType)> {
        match self.types.as_ref().component_item_for_import(interface) {
            Some(ComponentItem { ty: ComponentEntityType::Instance(id), .. }) => {
                self.types[*id].exports.iter().map(|(name, item)| (name.as_str(), &item.ty)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn exports_an_instance(&self, name: &str) -> bool {
        let item = self.types.as_ref().component_item_for_export(name);
        matches!(item, Some(ComponentItem { ty: ComponentEntityType::Instance(_), .. }))
    }
}

/// The names of the interfaces that a component imports.
pub(super) fn imports_of(component: &[u8]) -> Result<Vec<String>, ComposeError> {
    Ok(Read::of("the toolchain's output", component)?.imports)
}

/// Whether the interface is one of WASI.
pub(super) fn is_wasi(interface: &str) -> bool {
    interface.starts_with("wasi:")
}

/// Composes `program` with `shim`.
pub(super) fn compose(program: &[u8], shim: &[u8]) -> Result<Vec<u8>, ComposeError> {
    let program = Read::of("the toolchain's output", program)?;
    let shim = Read::of("the shim", shim)?;
    let mut composed = ComponentBuilder::default();
    let mut from_theater = HashMap::new();
    let mut imported_types = [Places::new(), Places::new()];
    for interface in program.imports.iter().filter(|it| !is_wasi(it)).chain(&shim.imports) {
        if from_theater.contains_key(interface) {
            continue;
        }
        let ty = instance_type(interface, [&program, &shim], &imported_types)?;
        let ty = composed.type_instance(None, &ty);
        let instance = composed.import(interface, ComponentTypeRef::Instance(ty));
        from_theater.insert(interface, instance);
        // Further interfaces may use the types of this one.
        let mut places = HashMap::new();
        for (component, known) in [&program, &shim].into_iter().zip(&mut imported_types) {
            for (name, ty) in component.imported(interface) {
                if let ComponentEntityType::Type { created: ComponentAnyTypeId::Defined(id), .. } = ty {
                    let alias = || composed.alias_export(instance, name, Sort::Type);
                    known.insert(*id, *places.entry(name).or_insert_with(alias));
                }
            }
        }
    }
    let shim_component = composed.component_raw(None, shim.bytes);
    let needs = shim.imports.iter().map(|it| (it, Sort::Instance, from_theater[it]));
    let shim_instance = composed.instantiate(None, shim_component, needs.collect::<Vec<_>>());
    let program_component = composed.component_raw(None, program.bytes);
    let mut needs = Vec::new();
    for interface in &program.imports {
        let instance = match from_theater.get(interface) {
            Some(instance) => *instance,
            None => {
                let given = shim.exports.iter().find(|given| gives(given, interface));
                let given = given.ok_or_else(|| ComposeError::NotGiven(interface.clone()))?;
                composed.alias_export(shim_instance, given, Sort::Instance)
            }
        };
        needs.push((interface, Sort::Instance, instance));
    }
    let program_instance = composed.instantiate(None, program_component, needs);
    // What a toolchain exports for itself stays inside.
    let is_theaters = |name: &&String| name.starts_with("ntwk:theater/") && program.exports_an_instance(name);
    for interface in program.exports.iter().filter(is_theaters) {
        let instance = composed.alias_export(program_instance, interface, Sort::Instance);
        composed.export(interface, Sort::Instance, instance, None);
    }
    let composed = composed.finish();
    Read::of("the composed component", &composed)?;
    Ok(composed)
}

/// Whether the export `given` of the shim is what a program calls `wanted`: the same interface, of WASI 0.2.
fn gives(given: &str, wanted: &str) -> bool {
    let of_wasi_0_2 = |name: &str| {
        let (interface, version) = name.split_once('@')?;
        version.starts_with("0.2.").then(|| interface.to_owned())
    };
    of_wasi_0_2(wanted).is_some_and(|interface| of_wasi_0_2(given) == Some(interface))
}

/// Where types are in what is being written. Each component knows the same type under an id of its own.
type Places = HashMap<ComponentDefinedTypeId, u32>;

/// The type of an imported interface: the members that either component uses.
fn instance_type(
    interface: &str,
    components: [&Read; 2],
    imported_types: &[Places; 2],
) -> Result<InstanceType, ComposeError> {
    let mut made = InstanceType::new();
    let mut named = HashMap::new();
    for (component, imported_types) in components.into_iter().zip(imported_types) {
        let (types, known) = (&component.types, Places::new());
        let mut encoder = Encoder { interface, types, imported_types, made: &mut made, named: &mut named, known };
        for (name, ty) in component.imported(interface) {
            encoder.member(name, ty)?;
        }
    }
    if named.is_empty() {
        return Err(ComposeError::NotGiven(interface.to_owned()));
    }
    Ok(made)
}

/// Writes types of a component into an instance type.
struct Encoder<'a> {
    interface: &'a str,
    types: &'a Types,
    /// The types of interfaces that are imported already, with their places outside.
    imported_types: &'a Places,
    made: &'a mut InstanceType,
    /// The members that are written, of either component. A type has a place.
    named: &'a mut HashMap<String, Option<u32>>,
    /// The types that are written, with their places.
    known: Places,
}

impl Encoder<'_> {
    fn unsupported(&self, what: &'static str) -> ComposeError {
        ComposeError::Unsupported(self.interface.to_owned(), what)
    }

    fn member(&mut self, name: &str, ty: &ComponentEntityType) -> Result<(), ComposeError> {
        match ty {
            ComponentEntityType::Func(_) if self.named.contains_key(name) => {}
            ComponentEntityType::Func(id) => {
                let function = self.function(*id)?;
                self.made.export(name, ComponentTypeRef::Func(function));
                self.named.insert(name.to_owned(), None);
            }
            ComponentEntityType::Type {
                referenced: ComponentAnyTypeId::Defined(referenced),
                created: ComponentAnyTypeId::Defined(created),
            } => {
                let at = match self.named.get(name) {
                    Some(Some(at)) => *at,
                    _ => {
                        let definition = self.defined(*referenced)?;
                        let at = self.made.type_count();
                        self.made.export(name, ComponentTypeRef::Type(TypeBounds::Eq(definition)));
                        self.named.insert(name.to_owned(), Some(at));
                        at
                    }
                };
                self.known.insert(*created, at);
            }
            ComponentEntityType::Type { .. } => return Err(self.unsupported("resources")),
            _ => return Err(self.unsupported("members that are neither functions nor types")),
        }
        Ok(())
    }

    fn function(&mut self, id: ComponentFuncTypeId) -> Result<u32, ComposeError> {
        let function = &self.types[id];
        if function.async_ {
            return Err(self.unsupported("asynchronous functions"));
        }
        let params = function.params.iter().map(|(name, ty)| Ok((name.as_str(), self.value(ty)?)));
        let params = params.collect::<Result<Vec<_>, _>>()?;
        let result = function.result.as_ref().map(|ty| self.value(ty)).transpose()?;
        let at = self.made.type_count();
        self.made.ty().function().params(params).result(result);
        Ok(at)
    }

    fn value(&mut self, ty: &Value) -> Result<ComponentValType, ComposeError> {
        Ok(match ty {
            Value::Primitive(primitive) => ComponentValType::Primitive(self.primitive(*primitive)?),
            Value::Type(id) => ComponentValType::Type(self.defined(*id)?),
        })
    }

    fn maybe(&mut self, ty: Option<&Value>) -> Result<Option<ComponentValType>, ComposeError> {
        ty.map(|ty| self.value(ty)).transpose()
    }

    fn defined(&mut self, id: ComponentDefinedTypeId) -> Result<u32, ComposeError> {
        if let Some(at) = self.known.get(&id) {
            return Ok(*at);
        }
        if let Some(at) = self.of_another_interface(id) {
            self.known.insert(id, at);
            return Ok(at);
        }
        let at = match &self.types[id] {
            ComponentDefinedType::Primitive(primitive) => {
                let primitive = self.primitive(*primitive)?;
                self.write(|it| it.primitive(primitive))
            }
            ComponentDefinedType::Record(record) => {
                let fields = record.fields.iter().map(|(name, ty)| Ok((name.as_str(), self.value(ty)?)));
                let fields = fields.collect::<Result<Vec<_>, _>>()?;
                self.write(|it| it.record(fields))
            }
            ComponentDefinedType::Variant(variant) => {
                let cases = variant.cases.iter().map(|(name, case)| Ok((name.as_str(), self.maybe(case.ty.as_ref())?)));
                let cases = cases.collect::<Result<Vec<_>, _>>()?;
                self.write(|it| it.variant(cases))
            }
            ComponentDefinedType::List { element, .. } => {
                let element = self.value(element)?;
                self.write(|it| it.list(element))
            }
            ComponentDefinedType::Tuple(tuple) => {
                let types = tuple.types.iter().map(|ty| self.value(ty)).collect::<Result<Vec<_>, _>>()?;
                self.write(|it| it.tuple(types))
            }
            ComponentDefinedType::Flags(names) => {
                let names: Vec<_> = names.iter().map(|name| name.as_str()).collect();
                self.write(|it| it.flags(names))
            }
            ComponentDefinedType::Enum(names) => {
                let names: Vec<_> = names.iter().map(|name| name.as_str()).collect();
                self.write(|it| it.enum_type(names))
            }
            ComponentDefinedType::Option { ty, .. } => {
                let ty = self.value(ty)?;
                self.write(|it| it.option(ty))
            }
            ComponentDefinedType::Result { ok, err, .. } => {
                let (ok, err) = (self.maybe(ok.as_ref())?, self.maybe(err.as_ref())?);
                self.write(|it| it.result(ok, err))
            }
            _ => return Err(self.unsupported("types that no interface of Theater has")),
        };
        self.known.insert(id, at);
        Ok(at)
    }

    /// Brings in a type that an imported interface has, if `id` stands for one.
    fn of_another_interface(&mut self, id: ComponentDefinedTypeId) -> Option<u32> {
        let types = self.types.as_ref();
        let stands_for = std::iter::successors(Some(id), |id| types.peel_alias(*id));
        let index = stands_for.into_iter().find_map(|id| self.imported_types.get(&id).copied())?;
        let at = self.made.type_count();
        self.made.alias(Alias::Outer { kind: ComponentOuterAliasKind::Type, count: 1, index });
        Some(at)
    }

    fn write(&mut self, encode: impl FnOnce(wasm_encoder::ComponentDefinedTypeEncoder<'_>)) -> u32 {
        let at = self.made.type_count();
        encode(self.made.ty().defined_type());
        at
    }

    fn primitive(&self, primitive: PrimitiveValType) -> Result<Primitive, ComposeError> {
        Ok(match primitive {
            PrimitiveValType::Bool => Primitive::Bool,
            PrimitiveValType::S8 => Primitive::S8,
            PrimitiveValType::U8 => Primitive::U8,
            PrimitiveValType::S16 => Primitive::S16,
            PrimitiveValType::U16 => Primitive::U16,
            PrimitiveValType::S32 => Primitive::S32,
            PrimitiveValType::U32 => Primitive::U32,
            PrimitiveValType::S64 => Primitive::S64,
            PrimitiveValType::U64 => Primitive::U64,
            PrimitiveValType::F32 => Primitive::F32,
            PrimitiveValType::F64 => Primitive::F64,
            PrimitiveValType::Char => Primitive::Char,
            PrimitiveValType::String => Primitive::String,
            PrimitiveValType::ErrorContext => return Err(self.unsupported("error contexts")),
        })
    }
}
