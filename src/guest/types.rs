//! Type mismatch of a guest's export: where in its type it differs from ours first, what was expected there and what was
//! found, for whoever wrote the component.

use std::fmt;

use wasmtime::component::types::{ComponentFunc, Type};

use super::interfaces::{Named, Signature, Wit};

/// The first difference between the type of an export and ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// From the function's parameter or result inwards; empty where it is about the function as a whole.
    place: Vec<String>,
    expected: String,
    found: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, expected, found } = self;
        if !place.is_empty() {
            write!(f, "{}: ", place.join(" > "))?;
        }
        write!(f, "expected {expected}, found {found}")
    }
}

impl Mismatch {
    pub(super) fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { place: Vec::new(), expected: expected.into(), found: found.into() }
    }

    fn within(mut self, place: impl Into<String>) -> Self {
        self.place.insert(0, place.into());
        self
    }
}

/// Where `found` differs from `expected` first. What parameters are called is nobody's business: a call goes by their
/// order.
pub(super) fn mismatch(expected: &Signature, found: &ComponentFunc) -> Option<Mismatch> {
    if found.async_() {
        return Some(Mismatch::new("a func", "an async func, which this runtime does not call"));
    }
    let (params, results): (Vec<_>, Vec<_>) = (found.params().collect(), found.results().collect());
    for ((name, expected), (_, found)) in expected.params.iter().zip(&params) {
        if let Some(mismatch) = differs(expected, found) {
            return Some(mismatch.within(format!("parameter \"{name}\"")));
        }
    }
    if expected.params.len() != params.len() {
        let shown = |count: usize, types: Vec<String>| format!("{count} parameters ({})", types.join(", "));
        let ours = expected.params.iter().map(|(_, ty)| written(ty)).collect();
        let theirs = params.iter().map(|(_, ty)| described(ty)).collect();
        return Some(Mismatch::new(shown(expected.params.len(), ours), shown(params.len(), theirs)));
    }
    match (&expected.result, &results[..]) {
        (Some(expected), [found]) => differs(expected, found).map(|mismatch| mismatch.within("result")),
        (None, []) => None,
        (expected, found) => {
            let ours = expected.as_ref().map_or_else(|| "no result".to_owned(), written);
            let theirs = found.first().map_or_else(|| "no result".to_owned(), described);
            Some(Mismatch::new(ours, theirs).within("result"))
        }
    }
}

fn differs(expected: &Wit, found: &Type) -> Option<Mismatch> {
    match (expected, found) {
        (Wit::Simple(name), found) if *name == simple(found) => None,
        (Wit::List(item), Type::List(list)) => differs(item, &list.ty()).map(|it| it.within("items of the list")),
        (Wit::Option(value), Type::Option(option)) => {
            differs(value, &option.ty()).map(|it| it.within("value of the option"))
        }
        (Wit::Result(ok, err), Type::Result(result)) => {
            let ok = half(ok.as_deref(), result.ok().as_ref(), "ok");
            ok.or_else(|| half(err.as_deref(), result.err().as_ref(), "err"))
        }
        (Wit::Tuple(items), Type::Tuple(tuple)) => {
            let found: Vec<Type> = tuple.types().collect();
            let pairs = items.iter().zip(&found).enumerate();
            let mut inner = pairs.filter_map(|(at, (expected, found))| {
                differs(expected, found).map(|it| it.within(format!("element {} of the tuple", at + 1)))
            });
            // Of tuples that are not of one length the lengths say more than what their elements are.
            if items.len() == found.len() { inner.next() } else { Some(whole(expected, &Type::Tuple(tuple.clone()))) }
        }
        (Wit::Record(record), Type::Record(found)) => {
            let found: Vec<_> = found.fields().map(|field| (field.name.to_owned(), field.ty)).collect();
            by_name(record, &found, "field", "record", &|expected, found| differs(expected, found))
        }
        (Wit::Variant(variant), Type::Variant(found)) => {
            let found: Vec<_> = found.cases().map(|case| (case.name.to_owned(), case.ty)).collect();
            by_name(variant, &found, "case", "variant", &|expected, found| payload(expected.as_ref(), found.as_ref()))
        }
        (Wit::Enum(names), Type::Enum(found)) => {
            let found: Vec<_> = found.names().map(|name| (name.to_owned(), ())).collect();
            by_name(names, &found, "case", "enum", &|(), ()| None)
        }
        (Wit::Flags(names), Type::Flags(found)) => {
            let found: Vec<_> = found.names().map(|name| (name.to_owned(), ())).collect();
            by_name(names, &found, "flag", "flags", &|(), ()| None)
        }
        (expected, found) => Some(whole(expected, found)),
    }
}

fn whole(expected: &Wit, found: &Type) -> Mismatch {
    Mismatch::new(written(expected), described(found))
}

/// One side of a result.
fn half(expected: Option<&Wit>, found: Option<&Type>, side: &str) -> Option<Mismatch> {
    payload(expected, found).map(|it| it.within(side))
}

fn payload(expected: Option<&Wit>, found: Option<&Type>) -> Option<Mismatch> {
    match (expected, found) {
        (None, None) => None,
        (Some(expected), Some(found)) => differs(expected, found),
        (Some(expected), None) => Some(Mismatch::new(written(expected), "no value")),
        (None, Some(found)) => Some(Mismatch::new("no value", described(found))),
    }
}

/// Compares what has parts with names: their order counts, as calls go by it.
fn by_name<E, F>(
    expected: &Named<E>,
    found: &[(String, F)],
    part: &str,
    kind: &str,
    inner: &dyn Fn(&E, &F) -> Option<Mismatch>,
) -> Option<Mismatch> {
    let within = |mismatch: Mismatch| Some(mismatch.within(format!("{kind} {}", expected.name)));
    let named = |at: usize, name: &str| format!("{part} {} to be \"{name}\"", at + 1);
    for (at, (name, ty)) in expected.parts.iter().enumerate() {
        let Some((found_name, found_ty)) = found.get(at) else {
            return within(Mismatch::new(named(at, name), format!("only {} of them", found.len())));
        };
        if name != found_name {
            return within(Mismatch::new(named(at, name), format!("\"{found_name}\"")));
        }
        if let Some(mismatch) = inner(ty, found_ty) {
            return within(mismatch.within(format!("{part} \"{name}\"")));
        }
    }
    let (more, _) = found.get(expected.parts.len())?;
    let last = expected.parts.last().map_or("none", |(name, _)| name);
    within(Mismatch::new(format!("\"{last}\" to be the last {part}"), format!("one more, \"{more}\"")))
}

/// A type of ours as WIT writes it.
fn written(ty: &Wit) -> String {
    let side = |side: Option<&Wit>| side.map_or_else(|| "_".to_owned(), written);
    match ty {
        Wit::Simple(name) => name.clone(),
        Wit::List(item) => format!("list<{}>", written(item)),
        Wit::Option(value) => format!("option<{}>", written(value)),
        Wit::Result(None, None) => "result".to_owned(),
        Wit::Result(ok, None) => format!("result<{}>", side(ok.as_deref())),
        Wit::Result(ok, err) => format!("result<{}, {}>", side(ok.as_deref()), side(err.as_deref())),
        Wit::Tuple(items) => format!("tuple<{}>", items.iter().map(written).collect::<Vec<_>>().join(", ")),
        Wit::Record(named) => format!("record {}", named.name),
        Wit::Variant(named) => format!("variant {}", named.name),
        Wit::Enum(named) => format!("enum {}", named.name),
        Wit::Flags(named) => format!("flags {}", named.name),
    }
}

/// How deep a foreign type is described, and how many of its parts.
const SHOWN_DEPTH: usize = 6;
const SHOWN_PARTS: usize = 4;

/// A guest's type. What records and the like are called is not in it, so the names of their parts stand for that.
fn described(ty: &Type) -> String {
    shown(ty, SHOWN_DEPTH)
}

fn shown(ty: &Type, depth: usize) -> String {
    let Some(depth) = depth.checked_sub(1) else { return "…".to_owned() };
    let side = |side: Option<Type>| side.map_or_else(|| "_".to_owned(), |ty| shown(&ty, depth));
    match ty {
        Type::List(list) => format!("list<{}>", shown(&list.ty(), depth)),
        Type::FixedLengthList(list) => format!("list<{}, {}>", shown(&list.ty(), depth), list.len()),
        Type::Map(map) => format!("map<{}, {}>", shown(&map.key(), depth), shown(&map.value(), depth)),
        Type::Option(option) => format!("option<{}>", shown(&option.ty(), depth)),
        Type::Result(result) => format!("result<{}, {}>", side(result.ok()), side(result.err())),
        Type::Tuple(tuple) => format!("tuple<{}>", some_of(tuple.types().map(|ty| shown(&ty, depth)))),
        Type::Record(record) => {
            let fields = record.fields().map(|field| format!("{}: {}", field.name, shown(&field.ty, depth)));
            format!("record {{ {} }}", some_of(fields))
        }
        Type::Variant(variant) => format!("variant {{ {} }}", some_of(variant.cases().map(|case| case.name.into()))),
        Type::Enum(names) => format!("enum {{ {} }}", some_of(names.names().map(str::to_owned))),
        Type::Flags(names) => format!("flags {{ {} }}", some_of(names.names().map(str::to_owned))),
        Type::Own(_) => "a resource".to_owned(),
        Type::Borrow(_) => "a borrowed resource".to_owned(),
        Type::Future(_) => "a future".to_owned(),
        Type::Stream(_) => "a stream".to_owned(),
        Type::ErrorContext => "error-context".to_owned(),
        simple_type => simple(simple_type).to_owned(),
    }
}

fn some_of(parts: impl Iterator<Item = String>) -> String {
    let mut parts: Vec<String> = parts.take(SHOWN_PARTS + 1).collect();
    if parts.len() > SHOWN_PARTS {
        parts[SHOWN_PARTS] = "…".to_owned();
    }
    parts.join(", ")
}

/// What WIT calls a type that has no parts; empty for any other.
fn simple(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "bool",
        Type::S8 => "s8",
        Type::U8 => "u8",
        Type::S16 => "s16",
        Type::U16 => "u16",
        Type::S32 => "s32",
        Type::U32 => "u32",
        Type::S64 => "s64",
        Type::U64 => "u64",
        Type::Float32 => "f32",
        Type::Float64 => "f64",
        Type::Char => "char",
        Type::String => "string",
        _ => "",
    }
}

/// Components that import what has the types of `wit/`: exports of them would need code, for tests.
#[cfg(test)]
pub(crate) mod of_wit {
    use std::collections::BTreeSet;

    use wasmtime::Engine;
    use wasmtime::component::types::{Component, ComponentItem};

    use super::super::interfaces::{Signature, Wit, signature};

    /// The text of a component that imports this function as `wit/` has it.
    pub(crate) fn component(interface: &str, function: &str) -> String {
        let Signature { params, result } = signature(interface, function).expect("it is in wit/");
        let mut types = Types::default();
        let params: Vec<String> =
            params.iter().map(|(name, ty)| format!("(param \"{name}\" {})", types.written(ty))).collect();
        let result = result.map(|ty| format!("(result {})", types.written(&ty))).unwrap_or_default();
        with_types(interface, function, &types.text, &format!("{} {result}", params.join(" ")))
    }

    /// The same of any types; `function_type` may name those that `types` exports.
    pub(crate) fn with_types(interface: &str, function: &str, types: &str, function_type: &str) -> String {
        format!(
            "(component (import \"{interface}\" (instance {types} (export \"{function}\" (func {function_type})))))"
        )
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
                self.text +=
                    &format!("(type ${name}-is {definition}) (export \"{name}\" (type ${name} (eq ${name}-is)))");
            }
            format!("${name}")
        }
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::Engine;
    use wasmtime::component::Component;
    use wasmtime::component::types::ComponentItem;

    use super::super::interfaces::signature;
    use super::*;

    const HTTP: (&str, &str) = ("ntwk:theater/http-server", "handle-request");
    const WEBSOCKET: (&str, &str) = ("ntwk:theater/websocket-server", "handle-message");
    const INIT: (&str, &str) = ("ntwk:theater/actor", "init");
    const SEND: (&str, &str) = ("ntwk:theater/message-server-client", "handle-send");
    const CHILD: (&str, &str) = ("ntwk:theater/supervisor-handlers", "handle-child-event");

    /// What is said of a component's function of this name.
    fn said((interface, function): (&str, &str), text: &str) -> Option<String> {
        let engine = Engine::default();
        let component = Component::new(&engine, wat::parse_str(text).expect("the text of a component"));
        let component = component.expect("a component").component_type();
        let ComponentItem::ComponentFunc(found) = of_wit::imported(&engine, &component, interface, function) else {
            panic!("a function")
        };
        mismatch(&signature(interface, function).expect("ours"), &found).map(|mismatch| mismatch.to_string())
    }

    #[test]
    fn the_types_of_wit_fit_themselves() {
        for (interface, function) in [HTTP, WEBSOCKET, INIT, SEND, CHILD] {
            assert_eq!(said((interface, function), &of_wit::component(interface, function)), None, "{interface}");
        }
    }

    /// Ours, with a part of its text replaced.
    fn altered(of: (&str, &str), from: &str, to: &str) -> String {
        let text = of_wit::component(of.0, of.1);
        assert!(text.contains(from), "{from} is not in {text}");
        said(of, &text.replace(from, to)).unwrap_or_else(|| panic!("{from} -> {to} is not noticed"))
    }

    #[test]
    fn each_difference_of_an_exports_type_is_named_by_its_place_with_expected_and_found() {
        for (of, from, to, expected) in [
            (INIT, "(tuple string)", "string", "parameter \"params\": expected tuple<string>, found string"),
            (INIT, "(tuple string)", "(tuple string u8)", "expected tuple<string>, found tuple<string, u8>"),
            (
                INIT,
                "(tuple string)",
                "(list string)",
                "parameter \"params\": expected tuple<string>, found list<string>",
            ),
            (
                INIT,
                "(param \"params\" (tuple string))",
                "",
                "expected 2 parameters (option<list<u8>>, tuple<string>), found 1 parameters (option<list<u8>>)",
            ),
            (
                INIT,
                "(param \"params\"",
                "(param \"x\" u8) (param \"params\"",
                "parameter \"params\": expected tuple<string>, found u8",
            ),
            (INIT, "(error string)", "(error u32)", "result > err: expected string, found u32"),
            (INIT, "(error string)", "", "result > err: expected string, found no value"),
            (
                SEND,
                "(param \"state\" (option (list u8)))",
                "(param \"state\" (list u8))",
                "parameter \"state\": expected option<list<u8>>, found list<u8>",
            ),
            (
                SEND,
                "(param \"state\" (option (list u8)))",
                "(param \"state\" (option (list s8)))",
                "parameter \"state\" > value of the option > items of the list: expected u8, found s8",
            ),
            (
                SEND,
                "(result (result (tuple (option (list u8)))",
                "(result (result (tuple (option (list u8)) (tuple (list u8)))",
                "result > ok: expected tuple<option<list<u8>>>, found tuple<option<list<u8>>, tuple<list<u8>>>",
            ),
            (
                HTTP,
                "\"status\" u16",
                "\"status\" u32",
                "result > ok > element 2 of the tuple > element 1 of the tuple > record http-response > field \"status\": expected u16, found u32",
            ),
            (
                HTTP,
                "\"method\" string",
                "\"verb\" string",
                "record http-request: expected field 1 to be \"method\", found \"verb\"",
            ),
            (
                HTTP,
                "(field \"body\" (option (list u8)))",
                "",
                "record http-request: expected field 4 to be \"body\", found only 3 of them",
            ),
            (
                HTTP,
                "(field \"uri\" string)",
                "(field \"uri\" string) (field \"port\" u16)",
                "record http-request: expected field 3 to be \"headers\", found \"port\"",
            ),
            (
                HTTP,
                "(record (field \"method\" string) (field \"uri\" string)",
                "(record (field \"uri\" string) (field \"method\" string)",
                "expected field 1 to be \"method\", found \"uri\"",
            ),
            (
                HTTP,
                "(tuple string string)",
                "(tuple string)",
                "field \"headers\" > items of the list: expected tuple<string, string>, found tuple<string>",
            ),
            (
                HTTP,
                "(param \"params\" (tuple $http-request))",
                "(param \"params\" (tuple string string))",
                "expected tuple<record http-request>, found tuple<string, string>",
            ),
            (WEBSOCKET, "(case \"ping\" )", "", "variant message-type: expected case 5 to be \"ping\", found \"pong\""),
            (
                WEBSOCKET,
                "(case \"other\" string)",
                "(case \"other\" )",
                "case \"other\": expected string, found no value",
            ),
            (
                WEBSOCKET,
                "(case \"other\" string)",
                "(case \"other\" string) (case \"more\" )",
                "expected \"other\" to be the last case, found one more, \"more\"",
            ),
            (WEBSOCKET, "(case \"text\" )", "(case \"text\" string)", "case \"text\": expected no value, found string"),
            (
                CHILD,
                "(case \"failed\" string)",
                "(case \"failed\" (list u8))",
                "variant child-event-kind > case \"failed\": expected string, found list<u8>",
            ),
        ] {
            let said = altered(of, from, to);
            assert!(said.contains(expected), "{from} -> {to}: {said}");
            assert!(said.len() < 400, "{said}");
        }
    }

    #[test]
    fn what_is_no_type_of_ours_is_described() {
        for (ty, expected) in [
            ("(enum \"a\" \"b\")", "enum { a, b }"),
            ("(flags \"a\" \"b\" \"c\" \"d\" \"e\")", "flags { a, b, c, d, … }"),
            ("(record (field \"id\" string))", "record { id: string }"),
            ("(variant (case \"a\") (case \"b\" u8))", "variant { a, b }"),
        ] {
            let types = format!("(type $is {ty}) (export \"named\" (type $named (eq $is)))");
            let function = "(param \"state\" (option (list u8))) (param \"params\" $named) (result string)";
            let text = of_wit::with_types(INIT.0, INIT.1, &types, function);
            let said = said(INIT, &text).expect("it does not fit");
            assert_eq!(said, format!("parameter \"params\": expected tuple<string>, found {expected}"));
        }
        let resource = of_wit::with_types(
            INIT.0,
            INIT.1,
            "(export \"handle\" (type $handle (sub resource)))",
            "(param \"state\" (option (list u8))) (param \"params\" (own $handle)) (result string)",
        );
        assert!(said(INIT, &resource).expect("it does not fit").contains("found a resource"));
    }

    #[test]
    fn what_parameters_are_called_does_not_matter() {
        let text = of_wit::component(INIT.0, INIT.1).replace("\"state\"", "\"before\"").replace("\"params\"", "\"p1\"");
        assert_eq!(said(INIT, &text), None);
    }
}
