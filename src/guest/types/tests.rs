//! Tests of the messages about exports whose types differ from those of `wit/`, part by part.

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

/// The message about a component's function of this name.
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

/// The type of `wit/`, with a part of its text replaced.
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
        (INIT, "(tuple string)", "(list string)", "parameter \"params\": expected tuple<string>, found list<string>"),
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
        (WEBSOCKET, "(case \"other\" string)", "(case \"other\" )", "case \"other\": expected string, found no value"),
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
