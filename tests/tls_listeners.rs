//! Tests of TLS on the listeners of actors: requests and messages over it, and certificates that are replaced.

mod support;
#[path = "support/tls.rs"]
mod tls;

use serde_json::json;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use support::{Http, PATIENCE, Stage, Theater, eventually, verifies_and_replays};
use tls::{Tls, certify, connect, file, session, shake_hands};
use tungstenite::Message;

const TLS: &str = "tls = { cert = \"cert.pem\", key = \"key.pem\" }";

fn http(more: &str) -> (Stage, Theater) {
    let stage = Stage::new();
    certify(&stage, "server");
    let handler = format!("{more}[[handlers]]\ntype = \"http-server\"\nconfig = {{ port = 0, {TLS} }}\n");
    let running = stage.run(&[&stage.manifest("probe", "probe", &handler)]);
    (stage, running)
}

fn trusted(address: SocketAddr) -> BufReader<Tls> {
    BufReader::new(connect(address, "roots.pem").expect("a session"))
}

/// Reads an answer: its head and its body.
fn receive(client: &mut BufReader<Tls>) -> (String, Vec<u8>) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(client.read_line(&mut head).expect("a head"), 0, "the connection ended: {head:?}");
    }
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    client.read_exact(&mut body).expect("a body");
    (head, body)
}

fn op(client: &mut BufReader<Tls>, body: &str) -> String {
    let request = format!("POST /op HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    client.get_mut().write_all(request.as_bytes()).expect("sent");
    let (head, body) = receive(client);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    String::from_utf8(body).expect("text")
}

#[test]
fn requests_over_tls_are_answered_on_one_connection_whatever_their_size() {
    let (stage, running) = http("[limits]\nmessage_bytes = 4194304\n");
    assert!(running.said().iter().any(|line| line.contains("https://127.0.0.1:")), "{:?}", running.said());
    let mut client = trusted(running.http("probe"));
    assert_eq!([op(&mut client, "\"count\""), op(&mut client, "\"count\"")], ["1", "2"]);
    let long = "x".repeat(2 << 20);
    let echoed = op(&mut client, &json!({ "op": "echo", "value": long }).to_string());
    assert_eq!(echoed, json!(long).to_string());
    assert_eq!(op(&mut client, "\"count\""), "3");
    let chunked = "POST /op HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n\"co\r\n4\r\nunt\"\r\n0\r\n\r\n";
    client.get_mut().write_all(chunked.as_bytes()).expect("sent");
    assert_eq!(receive(&mut client).1, b"4");
    client.get_mut().write_all(b"GET https://h/none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    assert!(receive(&mut client).0.starts_with("HTTP/1.1 404 "));
    assert_eq!(client.read(&mut [0]).expect("the session is ended before the connection"), 0);
    verifies_and_replays(&running.export(&stage, "probe"));
}

#[test]
fn a_body_that_comes_late_is_waited_for_without_a_thread_and_then_answered() {
    let (_stage, running) = http("[limits]\nhttp_connections = 1\n");
    for (head, parts) in [
        ("Content-Length: 7", ["\"c", "oun", "t\""]),
        ("Transfer-Encoding: chunked", ["3\r\n\"co\r\n", "4\r\nunt\"\r\n", "0\r\n\r\n"]),
    ] {
        let mut late = trusted(running.http("probe"));
        let head = format!("POST /op HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n");
        late.get_mut().write_all(head.as_bytes()).expect("sent");
        for part in parts {
            // With one place, this is answered only while the other connection has no thread.
            let mut other = trusted(running.http("probe"));
            other.get_mut().write_all(b"GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
            assert!(receive(&mut other).0.starts_with("HTTP/1.1 404 "));
            late.get_mut().write_all(part.as_bytes()).expect("sent");
        }
        assert!(receive(&mut late).0.starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

#[test]
fn more_clients_than_places_are_served_one_after_the_other() {
    let (_stage, running) = http("[limits]\nhttp_connections = 2\n");
    let address = running.http("probe");
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(move || {
                let mut client = trusted(address);
                client
                    .get_mut()
                    .write_all(b"GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    .expect("sent");
                assert!(receive(&mut client).0.starts_with("HTTP/1.1 404 "));
            });
        }
    });
}

#[test]
fn a_client_that_speaks_no_tls_or_says_nothing_gets_no_answer_and_disturbs_nobody() {
    let (_stage, running) = http("[limits]\nhttp_connections = 1\nhttp_head_ms = 300\n");
    let address = running.http("probe");
    let mut plain = Http::connect(address);
    plain.send("GET", "/", None);
    assert!(plain.receive().is_none_or(|answer| !answer.head.contains("HTTP/1.1")), "no HTTP is spoken in the open");
    let mut silent = TcpStream::connect(address).expect("a connection");
    silent.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    silent.write_all(&[0x16, 3, 1]).expect("the beginning of a hello");
    let end = silent.read_to_end(&mut Vec::new());
    assert!(end.is_ok() || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset), "it is over");
    assert_eq!(op(&mut trusted(address), "\"count\""), "1");
}

#[test]
fn a_handshake_or_a_head_that_stands_still_keeps_no_thread_from_others_and_goes_on_later() {
    let (stage, running) = http("[limits]\nhttp_connections = 2\n");
    let address = running.http("probe");
    let hello = || {
        let mut stream = session(address, "roots.pem").expect("a connection");
        stream.conn.write_tls(&mut stream.sock).expect("the hello is sent");
        stream
    };
    let greeted: Vec<Tls> = (0..2).map(|_| hello()).collect();
    let shaken = trusted(address);
    let mut halved = trusted(address);
    halved.get_mut().write_all(b"POST /increment HTTP/1.1\r\n").expect("half a head");
    let part = TcpStream::connect(address).expect("a connection");
    (&part).write_all(&[0x16, 3, 1]).expect("the beginning of a hello");
    // More connections stand still than there are threads, and nobody of the others waits for their patience to end.
    for count in 1..=20 {
        assert_eq!(op(&mut trusted(address), "\"count\""), count.to_string());
    }
    // None of them was disconnected for the others.
    for stream in greeted {
        let mut stream = BufReader::new(shake_hands(stream).expect("the handshake goes on"));
        assert!(op(&mut stream, "\"count\"").parse::<u32>().is_ok());
    }
    assert!(op(&mut { shaken }, "\"count\"").parse::<u32>().is_ok());
    halved.get_mut().write_all(b"Host: x\r\n\r\n").expect("the rest of it");
    assert!(receive(&mut halved).0.starts_with("HTTP/1.1 "), "it is answered");
    // Those that still stand still do not keep the runtime from ending.
    let _stands_still = hello();
    running.shut_down();
    drop((part, stage));
}

#[test]
fn a_pipe_in_the_place_of_a_certificate_stops_nothing_and_the_runtime_still_ends() {
    let (stage, running) = http("");
    let address = running.http("probe");
    let pipe = |name: &str| {
        let pipe = stage.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
        std::fs::rename(pipe, stage.path().join(name)).expect("renamed");
    };
    pipe("cert.pem");
    eventually("the log names the pipe", || {
        connect(address, "roots.pem").expect("the last certificate stays");
        stage.log().contains("cert.pem has changed and cannot be used").then_some(())
    });
    assert!(stage.log().contains("not a regular file"));
    certify(&stage, "other");
    eventually("files are read again", || connect(address, "other-roots.pem").ok());
    // It is still there when the runtime ends.
    pipe("key.pem");
    connect(address, "other-roots.pem").expect("the last certificate stays");
    running.shut_down();
}

#[test]
fn a_certificate_that_is_replaced_is_used_without_a_restart_and_one_that_cannot_be_is_not() {
    let (stage, running) = http("");
    let address = running.http("probe");
    let mut before = trusted(address);
    assert_eq!(op(&mut before, "\"count\""), "1");
    certify(&stage, "other");
    eventually("the new certificate is used", || connect(address, "other-roots.pem").ok());
    connect(address, "roots.pem").expect_err("the old one is not used any more");
    assert_eq!(op(&mut before, "\"count\""), "2", "a connection that is open goes on");
    stage.file("cert.pem", file("server.pem"));
    eventually("the log names the file", || {
        connect(address, "other-roots.pem").expect("the last one that fits its key stays");
        stage.log().contains("cert.pem has changed and cannot be used, so the last certificate stays").then_some(())
    });
    stage.file("key.pem", file("server.key"));
    eventually("both fit again", || connect(address, "roots.pem").ok());
}

#[test]
fn messages_over_tls_reach_the_actor_and_its_answers_come_back() {
    let stage = Stage::new();
    certify(&stage, "server");
    let handler = format!("[[handlers]]\ntype = \"websocket-server\"\nconfig = {{ port = 0, {TLS} }}\n");
    let running = stage.run(&[&stage.manifest("parrot", "parrot", &handler)]);
    assert!(running.said().iter().any(|line| line.contains("wss://127.0.0.1:")), "{:?}", running.said());
    let address = running.websocket("parrot");
    let wire = connect(address, "roots.pem").expect("a session");
    let (mut client, _) = tungstenite::client("ws://localhost/", wire).expect("a handshake");
    for text in ["hello", "grüße", &"x".repeat(200_000)] {
        client.send(Message::text(text)).expect("sent");
        assert_eq!(client.read().expect("an answer"), Message::text(text));
    }
    let mut refused = BufReader::new(connect(address, "roots.pem").expect("a session"));
    refused.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    assert!(receive(&mut refused).0.starts_with("HTTP/1.1 400 "), "it asked for something else");
    client.close(None).expect("closed");
    assert!(matches!(client.read(), Ok(Message::Close(_))));
    eventually("the actor hears of the end", || {
        let events = running.event_types("parrot");
        (events.iter().filter(|event| event.starts_with("return ntwk:theater/websocket-server")).count() == 5)
            .then_some(())
    });
    verifies_and_replays(&running.export(&stage, "parrot"));
}

#[test]
fn a_listener_that_closes_tells_its_clients_over_tls() {
    let stage = Stage::new();
    certify(&stage, "server");
    let handler = format!("[[handlers]]\ntype = \"websocket-server\"\nconfig = {{ port = 0, {TLS} }}\n");
    let running = stage.run(&[&stage.manifest("parrot", "parrot", &handler)]);
    let wire = connect(running.websocket("parrot"), "roots.pem").expect("a session");
    let (mut client, _) = tungstenite::client("ws://localhost/", wire).expect("a handshake");
    client.send(Message::text("hello")).expect("sent");
    client.read().expect("an answer");
    running.say(&["stop", "parrot"]);
    let Ok(Message::Close(Some(frame))) = client.read() else { panic!("it is told why") };
    assert_eq!(u16::from(frame.code), 1001);
}

#[test]
fn files_that_cannot_be_used_are_named_at_the_start() {
    let stage = Stage::new();
    certify(&stage, "server");
    stage.file("empty.pem", "");
    stage.file("other.pem", file("other.pem"));
    let running = stage.run(&[]);
    for (tls, why) in [
        ("{ cert = \"none.pem\", key = \"key.pem\" }", "none.pem for TLS: No such file or directory"),
        ("{ cert = \"empty.pem\", key = \"key.pem\" }", "empty.pem for TLS: there is no certificate in it"),
        ("{ cert = \"cert.pem\", key = \"cert.pem\" }", "cert.pem for TLS: there is no private key in it"),
        ("{ cert = \"other.pem\", key = \"key.pem\" }", "other.pem for TLS: "),
        ("{ cert = \"/dev/zero\", key = \"key.pem\" }", "/dev/zero for TLS: not a regular file"),
        ("\"cert.pem\"", "a table of both files: { cert = \"cert.pem\", key = \"key.pem\" }"),
        ("{ cert = \"cert.pem\" }", "\"tls\" needs both files: tls = { cert = \"cert.pem\", key = \"key.pem\" }"),
        ("{ cert = \"cert.pem\", key = \"key.pem\", ca = \"x\" }", "unknown field `ca`"),
    ] {
        for (kind, component) in [("http-server", "probe"), ("websocket-server", "parrot")] {
            let handler = format!("[[handlers]]\ntype = \"{kind}\"\nconfig = {{ port = 0, tls = {tls} }}\n");
            let refused = running.start(&stage.manifest("a", component, &handler)).expect_err(tls);
            assert!(refused.contains(why) && refused.contains("a.toml:"), "{refused}");
        }
    }
    // The same as a warning, before anything starts.
    let handler =
        "[[handlers]]\ntype = \"http-server\"\nconfig = { port = 0, tls = { cert = \"none.pem\", key = \"k\" } }\n";
    let manifest = stage.manifest("a", "probe", handler);
    let checked = running.cli(&["check", manifest.to_str().expect("a path")]);
    assert!(support::text(&checked.stderr).contains("a start will fail: http-server cannot use "), "{checked:?}");
    // A key that others can open is used, and warned of: by a check, and at a start.
    let handler = format!("[[handlers]]\ntype = \"http-server\"\nconfig = {{ port = 0, {TLS} }}\n");
    let manifest = stage.manifest("open", "probe", &handler);
    let doubt = "key.pem has mode 0644, so others than its owner and group can open it: chmod o= it";
    let check = || support::text(&running.cli(&["check", manifest.to_str().expect("a path")]).stderr);
    let mode = |mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(stage.path().join("key.pem"), mode).expect("its mode");
    };
    mode(0o640);
    assert!(!check().contains("has mode"), "its group may");
    mode(0o644);
    assert!(check().contains(doubt), "{}", check());
    running.start(&manifest).expect("it is used");
    assert!(stage.log().contains(doubt), "{}", stage.log());
}

#[test]
fn a_listener_of_the_runtime_speaks_tls_and_leads_to_an_actor_without_a_port() {
    let stage = Stage::new();
    certify(&stage, "server");
    let routes = "routes = [{ path = \"/*\", to = \"probe\" }]";
    stage.file("theater.toml", format!("[[listeners]]\nlisten = \"127.0.0.1:0\"\n{TLS}\n{routes}\n"));
    let manifest =
        stage.manifest("probe", "probe", "[[handlers]]\ntype = \"http-server\"\nconfig = { listen = false }\n");
    let toml = stage.path().join("theater.toml");
    let more = ["--config", toml.to_str().expect("a path")];
    let running = stage.run_with(&[&manifest], &more).unwrap_or_else(|why| panic!("{why}"));
    let address = running.said().iter().find_map(|line| line.strip_prefix("listener    https://"));
    let address = address.unwrap_or_else(|| panic!("{:?}", running.said())).trim_end_matches('/');
    let mut client = trusted(address.parse().expect("an address"));
    assert_eq!([op(&mut client, "\"count\""), op(&mut client, "\"count\"")], ["1", "2"]);
}
