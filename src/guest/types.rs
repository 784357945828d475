//! Type mismatches: the first place where the type of a guest's export differs from the type in `wit/`, what was
//! expected there and what was found. The text is for the author of the component.

use std::fmt;

use wasmtime::component::types::{ComponentFunc, Type};

use super::interfaces::{Named, Signature, Wit};

/// The first difference between the type of an export and the type in `wit/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// The path from the function's parameter or result inwards; empty if the difference concerns the function as a
    /// whole.
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

/// The first place where `found` differs from `expected`. The names of parameters are not compared, because a call
/// passes them by their order.
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
        (Wit::Json, found) => differs(&Wit::List(Box::new(Wit::Simple("u8".to_owned()))), found),
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
            // If two tuples have different lengths, their lengths tell more than a difference between their elements.
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

/// Compares one side of a result.
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

/// Compares types with named parts. Their order counts, because a call passes them by order.
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

/// A type of `wit/`, written as WIT.
fn written(ty: &Wit) -> String {
    let side = |side: Option<&Wit>| side.map_or_else(|| "_".to_owned(), written);
    match ty {
        Wit::Simple(name) => name.clone(),
        Wit::Json => "list<u8>".to_owned(),
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

/// How deep a guest's type is described, and how many of its parts.
const SHOWN_DEPTH: usize = 6;
const SHOWN_PARTS: usize = 4;

/// A guest's type, described. wasmtime does not know the names of records and the like, so the names of their parts
/// stand for them.
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

/// The WIT name of a type that has no parts; empty for any other.
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

#[cfg(test)]
pub(crate) mod of_wit;
#[cfg(test)]
mod tests;
