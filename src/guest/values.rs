//! Values of the functions in `wit/`, as a person writes them: JSON to the CBOR that events hold, by the function's type.
//!
//! A `list<u8>` is a text as it is, or any other value as JSON; under the name `json` every value is JSON, a text too.
//! `{"$text": …}`, `{"$base64": …}` and `{"$json": "…"}` stand for these bytes whatever the type says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value as Json, json};

use super::interfaces::{Named, Signature, Wit, signature};
use crate::chain::cbor::CborWriter;

/// The package of all interfaces of `wit/`.
const PACKAGE: &str = "ntwk:theater/";

/// A function as a person names it: `timer.set`, or `ntwk:theater/timer.set`.
pub(crate) fn full_name(name: &str) -> String {
    if name.contains(':') { name.to_owned() } else { format!("{PACKAGE}{name}") }
}

/// The short form of a function's full name.
pub(crate) fn short_name(full: &str) -> &str {
    full.strip_prefix(PACKAGE).unwrap_or(full)
}

/// Whether `wit/` has a function of this full name.
pub(crate) fn is_function(full: &str) -> bool {
    of(full).is_some()
}

/// The answer of a host function that returned `value`. If its type is a result, `value` is the part of a success; none if
/// that part is empty.
pub(crate) fn returned(full: &str, value: Option<&Json>) -> Result<Vec<u8>, String> {
    let result = of(full).and_then(|it| it.result);
    let mut to = CborWriter::default();
    let value_of = |ty: &Wit, to: &mut CborWriter| match value {
        Some(value) => write(ty, value, to),
        None => Err(format!("\"returns\" is missing: it is {}", expected(ty))),
    };
    match result {
        None => empty(value, &mut to)?,
        Some(Wit::Result(None, _)) => empty(value, to.map(1).key("ok"))?,
        Some(Wit::Result(Some(ok), _)) => value_of(&ok, to.map(1).key("ok"))?,
        Some(other) => value_of(&other, &mut to)?,
    }
    Ok(to.finish())
}

fn empty(value: Option<&Json>, to: &mut CborWriter) -> Result<(), String> {
    if value.is_some_and(|value| !value.is_null()) {
        return Err("\"returns\" does not belong here: the function returns nothing".to_owned());
    }
    to.null();
    Ok(())
}

/// The answer of a host function that failed with `error`.
pub(crate) fn failed(full: &str, error: &Json) -> Result<Vec<u8>, String> {
    match of(full).and_then(|it| it.result) {
        Some(Wit::Result(_, Some(err))) => {
            let mut to = CborWriter::default();
            write(&err, error, to.map(1).key("err"))?;
            Ok(to.finish())
        }
        _ => Err("\"fails\" does not belong here: the function cannot fail".to_owned()),
    }
}

/// The parameters of an exported function, behind the state.
pub(crate) fn params(full: &str, values: &[Json]) -> Result<Vec<u8>, String> {
    let Some((_, params)) = of(full).and_then(|it| it.params.into_iter().nth(1)) else {
        return Err(format!("no export is called {}", short_name(full)));
    };
    let mut to = CborWriter::default();
    write(&params, &Json::Array(values.to_vec()), &mut to)?;
    Ok(to.finish())
}

/// Whether a call of the function can be answered without anybody saying what it returns: it can only succeed.
pub(crate) fn has_plain_success(full: &str) -> bool {
    matches!(of(full).map(|it| it.result), Some(None | Some(Wit::Result(None, _))))
}

/// An example of what the function returns on success; none if that is nothing.
pub(crate) fn example(full: &str) -> Option<Json> {
    match of(full)?.result? {
        Wit::Result(None, _) => None,
        Wit::Result(Some(ok), _) => Some(sample(&ok)),
        other => Some(sample(&other)),
    }
}

fn of(full: &str) -> Option<Signature> {
    let (interface, name) = full.rsplit_once('.')?;
    signature(interface, name)
}

/// The bytes that a value stands for where JSON is meant.
pub(crate) fn json_bytes(value: &Json) -> Result<Vec<u8>, String> {
    match marked(value) {
        Some(marked) => marked,
        None => serde_json::to_vec(value).map_err(|error| error.to_string()),
    }
}

/// The bytes that a value stands for where any bytes are meant.
pub(crate) fn plain_bytes(value: &Json) -> Result<Vec<u8>, String> {
    match value {
        Json::String(text) => Ok(text.clone().into_bytes()),
        other => json_bytes(other),
    }
}

/// The bytes of `{"$text": …}` and the like.
fn marked(value: &Json) -> Option<Result<Vec<u8>, String>> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    let (mark, text) = object.iter().next()?;
    let text = text.as_str()?;
    match mark.as_str() {
        "$text" => Some(Ok(text.as_bytes().to_vec())),
        "$json" => Some(match serde_json::from_str::<Json>(text) {
            Ok(_) => Ok(text.as_bytes().to_vec()),
            Err(error) => Err(format!("\"$json\" is no JSON: {error}")),
        }),
        "$base64" => Some(BASE64.decode(text).map_err(|error| format!("\"$base64\": {error}"))),
        _ => None,
    }
}

fn is_bytes(item: &Wit) -> bool {
    matches!(item, Wit::Simple(name) if name == "u8")
}

/// Writes a value of a type. The error says where in the value something is wrong.
fn write(ty: &Wit, value: &Json, to: &mut CborWriter) -> Result<(), String> {
    let wrong = || Err(format!("{value} is not {}", expected(ty)));
    match (ty, value) {
        (Wit::Json, value) => _ = to.bytes(&json_bytes(value)?),
        (Wit::List(item), value) if is_bytes(item) => _ = to.bytes(&plain_bytes(value)?),
        (Wit::Simple(name), Json::Bool(value)) if name == "bool" => _ = to.bool(*value),
        (Wit::Simple(name), Json::String(text)) if name == "string" => _ = to.text(text),
        (Wit::Simple(name), Json::Number(number)) => match number.as_u64().filter(|number| *number <= largest(name)) {
            Some(number) => _ = to.uint(number),
            None => return wrong(),
        },
        (Wit::List(item), Json::Array(items)) => {
            to.array(items.len());
            each(items, to, |_, value, to| write(item, value, to))?;
        }
        (Wit::Tuple(types), Json::Array(items)) if types.len() == items.len() => {
            to.array(items.len());
            each(items, to, |at, value, to| write(&types[at], value, to))?;
        }
        (Wit::Option(_), Json::Null) => _ = to.null(),
        (Wit::Option(inner), value) => write(inner, value, to)?,
        (Wit::Record(record), Json::Object(fields)) => write_record(record, fields, to)?,
        (Wit::Enum(words), Json::String(word)) if words.parts.iter().any(|(name, ())| name == word) => {
            _ = to.text(word);
        }
        (Wit::Variant(cases), Json::String(word))
            if cases.parts.iter().any(|(name, payload)| name == word && payload.is_none()) =>
        {
            _ = to.text(word);
        }
        (Wit::Variant(cases), Json::Object(object)) if object.len() == 1 => {
            let (name, value) = object.iter().next().expect("one entry");
            match cases.parts.iter().find(|(case, _)| case == name) {
                Some((_, Some(payload))) => within(name, write(payload, value, to.map(1).key(name)))?,
                _ => return wrong(),
            }
        }
        (Wit::Result(ok, err), Json::Object(object)) if object.len() == 1 => {
            let (name, value) = object.iter().next().expect("one entry");
            let side = match name.as_str() {
                "ok" => ok,
                "err" => err,
                _ => return wrong(),
            };
            to.map(1).key(name);
            match side {
                Some(ty) => within(name, write(ty, value, to))?,
                None => _ = to.null(),
            }
        }
        _ => return wrong(),
    }
    Ok(())
}

fn each(
    items: &[Json],
    to: &mut CborWriter,
    mut write: impl FnMut(usize, &Json, &mut CborWriter) -> Result<(), String>,
) -> Result<(), String> {
    items.iter().enumerate().try_for_each(|(at, value)| within(&at.to_string(), write(at, value, to)))
}

fn within(place: &str, written: Result<(), String>) -> Result<(), String> {
    written.map_err(|why| format!("/{place}{}{why}", if why.starts_with('/') { "" } else { ": " }))
}

/// Writes a record; an optional field may be absent.
fn write_record(record: &Named<Wit>, fields: &Map<String, Json>, to: &mut CborWriter) -> Result<(), String> {
    let names = || record.parts.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(unknown) = fields.keys().find(|key| !record.parts.iter().any(|(name, _)| name == *key)) {
        return Err(format!("\"{unknown}\" is no key of {}: its keys are {}", record.name, names()));
    }
    let mut parts: Vec<_> = record.parts.iter().collect();
    parts.sort_by_key(|(name, _)| (name.len(), name.as_str()));
    to.map(parts.len());
    for (name, ty) in parts {
        let absent = if matches!(ty, Wit::Option(_)) { Some(&Json::Null) } else { None };
        let Some(value) = fields.get(name).or(absent) else {
            return Err(format!("the key \"{name}\" is missing: the keys of {} are {}", record.name, names()));
        };
        within(name, write(ty, value, to.key(name)))?;
    }
    Ok(())
}

fn largest(name: &str) -> u64 {
    match name {
        "u8" => u8::MAX.into(),
        "u16" => u16::MAX.into(),
        "u32" => u32::MAX.into(),
        "u64" => u64::MAX,
        _ => 0,
    }
}

/// What a value of this type looks like, for an error.
fn expected(ty: &Wit) -> String {
    match ty {
        Wit::Simple(name) if name == "bool" => "true or false".to_owned(),
        Wit::Simple(name) if name == "string" => "a text".to_owned(),
        Wit::Simple(name) => format!("a number ({name})"),
        Wit::Json => "a value, which is written as JSON".to_owned(),
        Wit::List(item) if is_bytes(item) => "a text, or a value which is written as JSON".to_owned(),
        Wit::Enum(words) => words.parts.iter().map(|(name, ())| format!("\"{name}\"")).collect::<Vec<_>>().join(" or "),
        other => format!("like {}", sample(other)),
    }
}

/// A value of the type.
fn sample(ty: &Wit) -> Json {
    match ty {
        Wit::Simple(name) if name == "bool" => true.into(),
        Wit::Simple(name) if name == "string" => "…".into(),
        Wit::Simple(_) => 1.into(),
        Wit::Json => json!({}),
        Wit::List(item) if is_bytes(item) => "…".into(),
        Wit::List(_) => json!([]),
        Wit::Option(inner) => sample(inner),
        Wit::Result(Some(ok), _) => json!({ "ok": sample(ok) }),
        Wit::Result(None, _) => json!({ "ok": "" }),
        Wit::Tuple(items) => items.iter().map(sample).collect(),
        Wit::Record(record) => record.parts.iter().map(|(name, ty)| (name.clone(), sample(ty))).collect(),
        Wit::Variant(cases) => match cases.parts.first() {
            Some((name, Some(payload))) => json!({ name: sample(payload) }),
            Some((name, None)) => name.as_str().into(),
            None => Json::Null,
        },
        Wit::Enum(words) => words.parts.first().map_or(Json::Null, |(name, ())| name.as_str().into()),
        Wit::Flags(_) => json!([]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::cbor::{Cbor, Value};
    use crate::guest::wit::{ChildEvent, ChildEventKind, HttpResponse, MonitoredEnd, PendingTimer};

    fn sent(value: &Json) -> Result<Result<HttpResponse, String>, String> {
        let bytes = returned("ntwk:theater/http-client.send-http", Some(value))?;
        Ok(Cbor::from_cbor(&bytes).expect("of the type"))
    }

    #[test]
    fn a_record_is_written_from_json_and_what_is_optional_may_be_absent() {
        let response = sent(&json!({ "status": 200, "headers": [["a", "1"]], "body": { "id": 7 } }));
        let expected =
            HttpResponse { status: 200, headers: vec![("a".into(), "1".into())], body: Some(br#"{"id":7}"#.to_vec()) };
        assert_eq!(response, Ok(Ok(expected)));
        assert_eq!(sent(&json!({ "status": 204, "headers": [] })).map(|it| it.map(|it| it.body)), Ok(Ok(None)));
        let text = sent(&json!({ "status": 200, "headers": [], "body": "as it is" }));
        assert_eq!(text.map(|it| it.map(|it| it.body)), Ok(Ok(Some(b"as it is".to_vec()))));
    }

    #[test]
    fn what_is_not_of_the_type_is_refused_with_its_place() {
        let why = |value: Json| sent(&value).expect_err("refused");
        assert_eq!(why(json!({ "status": 70_000, "headers": [] })), "/status: 70000 is not a number (u16)");
        assert_eq!(why(json!({ "status": 200, "headers": [["a"]] })), "/headers/0: [\"a\"] is not like [\"…\",\"…\"]");
        assert!(why(json!({ "statos": 200 })).contains("its keys are status, headers, body"));
        assert!(why(json!({ "headers": [] })).contains("the key \"status\" is missing"));
        let missing = returned("ntwk:theater/timer.set", None).expect_err("refused");
        assert_eq!(missing, "\"returns\" is missing: it is a number (u64)");
        assert!(failed("ntwk:theater/clock.now", &json!("x")).is_err());
        assert!(returned("ntwk:theater/message-server-host.send", Some(&json!(1))).is_err());
    }

    #[test]
    fn answers_and_parameters_of_each_shape_are_those_that_the_handlers_read() {
        let ok = returned("ntwk:theater/message-server-host.send", None).expect("nothing");
        assert_eq!(Cbor::from_cbor(&ok), Ok(Ok::<(), String>(())));
        let err = failed("ntwk:theater/message-server-host.send", &json!("full")).expect("a text");
        assert_eq!(Cbor::from_cbor(&err), Ok(Err::<(), String>("full".into())));
        let timers = returned("ntwk:theater/timer.list", Some(&json!([{ "key": "tea", "due": 9, "round": 1 }])));
        let timer = PendingTimer { key: "tea".into(), due: 9, round: 1 };
        assert_eq!(Cbor::from_cbor(&timers.expect("timers")), Ok(vec![timer]));
        let event = params(
            "ntwk:theater/supervisor-handlers.handle-child-event",
            &[json!({ "child-id": "x", "kind": { "failed": "trap" } })],
        );
        let expected = ChildEvent { child_id: "x".into(), kind: ChildEventKind::Failed("trap".into()) };
        assert_eq!(Cbor::from_cbor(&event.expect("an event")), Ok((expected,)));
        let down = json!({ "reference": 3, "actor-id": "x", "reason": "stopped" });
        let down = params("ntwk:theater/monitor-handlers.handle-down", &[down]).expect("an end");
        assert!(<(MonitoredEnd,)>::from_cbor(&down).is_ok());
        let reply = params("ntwk:theater/reply-handlers.handle-reply", &[json!(3), json!({ "ok": { "a": 1 } })]);
        let reply: (u64, Result<Vec<u8>, String>) = Cbor::from_cbor(&reply.expect("a reply")).expect("of the type");
        assert_eq!(reply, (3, Ok(br#"{"a":1}"#.to_vec())));
    }

    #[test]
    fn bytes_are_written_as_text_as_json_or_as_base64() {
        assert_eq!(json_bytes(&json!("get")), Ok(b"\"get\"".to_vec()));
        assert_eq!(json_bytes(&json!({ "$text": "get" })), Ok(b"get".to_vec()));
        assert_eq!(json_bytes(&json!({ "$base64": "/w==" })), Ok(vec![0xff]));
        assert_eq!(json_bytes(&json!({ "$json": "{\"a\": null}" })), Ok(b"{\"a\": null}".to_vec()));
        assert!(json_bytes(&json!({ "$json": "{" })).is_err());
        assert_eq!(plain_bytes(&json!("get")), Ok(b"get".to_vec()));
    }

    #[test]
    fn an_example_of_each_function_of_an_imported_interface_is_of_its_type() {
        for name in ["http-client.send-http", "timer.set", "supervisor.spawn", "connections.push", "random.bytes"] {
            let full = full_name(name);
            let example = example(&full).expect("it returns something");
            let bytes = returned(&full, Some(&example)).unwrap_or_else(|why| panic!("{name}: {why}"));
            assert!(Value::parse(&bytes).is_ok(), "{name}");
        }
        assert_eq!(example("ntwk:theater/message-server-host.send"), None);
        assert!(has_plain_success("ntwk:theater/message-server-host.send"));
        assert!(!has_plain_success("ntwk:theater/timer.set"));
    }
}
