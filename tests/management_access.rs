//! Tests of access to the management server: tokens, roles, TLS, the Unix socket, and silent clients, which keep nobody
//! out.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Management, Stage, THEATER, Theater, eventually, text};

const CONTROL: &str = "control-0123456789abcdef";
const READ: &str = "read-0123456789abcdef";

fn tls(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

/// A runtime with a counter, both tokens, and further arguments.
fn guarded(more: &[&str]) -> (Stage, Theater) {
    let stage = Stage::new();
    let (control, read) = (stage.file("control.token", format!("{CONTROL}\n")), stage.file("read.token", READ));
    let paths = [control.to_str().expect("a path"), read.to_str().expect("a path")];
    let tokens = ["--token-file", paths[0], "--read-token-file", paths[1]];
    let manifest = stage.manifest("counter", "counter", "");
    let running = stage.run_with(&[&manifest], &[&tokens, more].concat()).expect("it starts");
    (stage, running)
}

fn authenticate(token: &str) -> Value {
    json!({ "Authenticate": { "token": token } })
}

/// Runs `theater ARGS…` with these environment variables.
fn cli(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = std::process::Command::new(THEATER);
    command.args(args).env_remove("THEATER_SERVER").env_remove("THEATER_TOKEN").envs(environment.iter().copied());
    command.output().expect("the binary")
}

#[test]
fn without_a_token_nothing_but_its_lack_is_answered() {
    let (stage, running) = guarded(&[]);
    let mut client = Management::connect(running.management());
    for command in [json!("ListActors"), json!("Shutdown"), json!({ "Dance": 1 }), json!(null), json!("Metrics")] {
        assert!(client.error(&command).starts_with("not authenticated"), "{command}");
    }
    assert_eq!(client.ask(&authenticate(CONTROL)), json!({ "Authenticated": { "role": "control" } }));
    assert!(client.ask(&json!("ListActors"))["ActorList"].is_object());
    assert!(!stage.log().contains(CONTROL) && !stage.log().contains(READ));
}

#[test]
fn a_wrong_token_is_answered_late_logged_without_it_and_not_for_ever() {
    let (stage, running) = guarded(&[]);
    let mut client = Management::connect(running.management());
    let wrong = "wrong-0123456789abcdef";
    for _ in 0..3 {
        let begun = Instant::now();
        assert!(client.error(&authenticate(wrong)).contains("the token is wrong"));
        assert!(begun.elapsed() >= Duration::from_secs(1));
    }
    assert!(client.receive().is_none(), "the third was the last");
    assert_eq!(stage.log().matches("gave a wrong token").count(), 3);
    assert!(stage.log().contains("(3 of 3)") && !stage.log().contains(wrong), "{}", stage.log());
    let mut other = Management::connect(running.management());
    assert!(other.ask(&authenticate(CONTROL))["Authenticated"].is_object(), "others get in");
}

#[test]
fn a_read_token_shows_everything_and_changes_nothing() {
    let (_stage, running) = guarded(&[]);
    let mut client = Management::connect(running.management());
    assert_eq!(client.ask(&authenticate(READ)), json!({ "Authenticated": { "role": "read" } }));
    let list = client.ask(&json!("ListActors"));
    let id = list["ActorList"]["actors"][0].clone();
    for command in [
        json!("ActorTree"),
        json!("Status"),
        json!("Metrics"),
        json!({ "ActorStatus": { "id": id } }),
        json!({ "GetActorState": { "id": id } }),
        json!({ "GetActorEvents": { "id": id, "from": 0, "limit": 1 } }),
    ] {
        assert!(client.ask(&command).get("Error").is_none(), "{command}");
    }
    for command in [
        json!("Shutdown"),
        json!({ "StartActor": { "manifest": "x" } }),
        json!({ "StopActor": { "id": id } }),
        json!({ "RestartActor": { "id": id } }),
        json!({ "ForgetActor": { "id": id } }),
        json!({ "ForkActor": { "id": id, "at": 0, "name": "x" } }),
        json!({ "UpgradeActor": { "id": id } }),
        json!({ "DryRunUpgrade": { "id": id } }),
        json!({ "PruneActor": { "id": id, "before": 1 } }),
        json!({ "RedactEvent": { "id": id, "sequence": 1 } }),
        json!({ "SendMessage": { "id": id, "message": "" } }),
        json!({ "RequestMessage": { "id": id, "message": "" } }),
    ] {
        let why = client.error(&command);
        assert!(why.contains("takes the role control"), "{command}: {why}");
    }
    assert!(client.ask(&authenticate(CONTROL))["Authenticated"].is_object(), "it may become more");
    let mut other = Management::connect(running.management());
    other.ask(&authenticate(READ));
    assert!(other.ask(&json!({ "SubscribeToActor": { "id": id, "from": 0 } }))["Subscribed"].is_object());
    assert_eq!(other.event()["event_type"], "started");
}

#[test]
fn whoever_neither_speaks_nor_authenticates_is_told_and_hung_up_on() {
    let stage = Stage::new();
    let token = stage.file("token", CONTROL);
    let launch = stage.command(&[], &["--token-file", token.to_str().expect("a path"), "--data-dir"]);
    let launch = launch.arg(stage.data_dir()).env("THEATER_MANAGEMENT_AUTHENTICATION_MS", "300");
    let running = launch.launch(&stage).expect("it starts");
    let mut silent = Management::connect(running.management());
    let mut half = Management::connect(running.management());
    half.send_raw(&[0, 0, 0, 40, b'{']);
    let mut busy = Management::connect(running.management());
    for client in [&mut silent, &mut half] {
        let last = client.receive().expect("a last frame");
        assert!(last["Error"].is_object(), "{last}");
        assert!(client.receive().is_none());
    }
    while busy.0.write_all(b"\0\0\0\x0c\"ListActors\"").is_ok() {
        if busy.receive().is_none() {
            break;
        }
    }
    let mut known = Management::connect(running.management());
    assert!(known.ask(&authenticate(CONTROL))["Authenticated"].is_object());
    // A client that comes later and says nothing is disconnected, because it may not be silent before it has sent a
    // command.
    let mut later = Management::connect(running.management());
    assert!(later.receive().expect("a last frame")["Error"].is_object());
    assert!(known.ask(&json!("ListActors"))["ActorList"].is_object(), "who has authenticated may be silent");
}

#[test]
fn a_stranger_cannot_make_the_server_hold_a_large_frame() {
    let (_stage, running) = guarded(&[]);
    let mut client = Management::connect(running.management());
    client.send_raw(&(1024 * 1024_u32).to_be_bytes());
    let last = client.receive().expect("a last frame");
    assert!(last["Error"]["message"].as_str().is_some_and(|why| why.contains("the limit is 8192")), "{last}");
    assert!(client.receive().is_none());
}

#[test]
fn the_command_line_authenticates_by_a_file_or_the_environment() {
    let (stage, running) = guarded(&[]);
    let server = running.management().to_string();
    let list = ["list", "--server", &server];
    let refused = cli(&list, &[]);
    assert_eq!(refused.status.code(), Some(1));
    let why = text(&refused.stderr);
    assert!(why.contains("not authenticated") && why.contains("--token-file FILE") && !why.contains('{'), "{why}");
    assert!(cli(&list, &[("THEATER_TOKEN", CONTROL)]).status.success());
    let file = stage.path().join("control.token");
    let by_file = [&list[..], &["--token-file", file.to_str().expect("a path")]].concat();
    assert!(cli(&by_file, &[]).status.success());
    assert!(cli(&list, &[("THEATER_READ_TOKEN", READ)]).status.success());
    let stop = cli(&["stop", "counter", "--server", &server], &[("THEATER_READ_TOKEN", READ)]);
    assert!(text(&stop.stderr).contains("takes the role control"), "{}", text(&stop.stderr));
}

#[test]
fn beyond_this_machine_it_takes_a_token_and_a_token_takes_length() {
    let stage = Stage::new();
    let data = stage.data_dir();
    let run = |more: &[&str], token: Option<&str>| {
        let mut args = vec!["run", "--data-dir", data.to_str().expect("a path")];
        args.extend(more);
        cli(&args, &token.map(|token| ("THEATER_TOKEN", token)).into_iter().collect::<Vec<_>>())
    };
    let open = run(&["--listen", "0.0.0.0:0"], None);
    assert_eq!(open.status.code(), Some(1));
    assert!(text(&open.stderr).contains("without a token"), "{}", text(&open.stderr));
    let short = run(&["--listen", "127.0.0.1:0"], Some("hunter2"));
    assert_eq!(short.status.code(), Some(1));
    let why = text(&short.stderr);
    assert!(why.contains("THEATER_TOKEN") && why.contains("at least 16 bytes") && !why.contains("hunter2"), "{why}");
    let none = run(&["--listen", "127.0.0.1:0", "--token-file", "/nowhere/token"], None);
    assert!(text(&none.stderr).contains("/nowhere/token"), "{}", text(&none.stderr));
}

#[test]
fn over_tls_the_server_proves_who_it_is_and_then_all_is_as_ever() {
    let (certificate, key, roots) = (tls("server.pem"), tls("server.key"), tls("roots.pem"));
    let paths = [&certificate, &key, &roots].map(|path| path.to_str().expect("a path"));
    let (stage, running) = guarded(&["--tls-certificate", paths[0], "--tls-key", paths[1]]);
    let server = format!("tls:localhost:{}", running.management().port());
    let token = [("THEATER_TOKEN", CONTROL)];
    let ask = |args: &[&str]| cli(&[args, &["--server", &server, "--authorities", paths[2]]].concat(), &token);

    let listed = ask(&["list", "--json"]);
    assert!(listed.status.success(), "{}", text(&listed.stderr));
    let answer = ask(&["request", "counter", "{\"add\":2}"]);
    assert_eq!(text(&answer.stdout), "{\"count\":2}\n", "{}", text(&answer.stderr));
    // Larger than any TLS record and any buffer on the way.
    let big = format!("\"{}\"", "x".repeat(900_000));
    let file = stage.file("big", &big);
    let mut command = std::process::Command::new(THEATER);
    command.args(["request", "counter", "-", "--server", &server, "--authorities", paths[2]]).envs(token);
    let refused = command.stdin(std::fs::File::open(file).expect("a file")).output().expect("the binary");
    assert!(text(&refused.stderr).contains("refused"), "{}", text(&refused.stderr));
    let events = ask(&["events", "counter", "--json"]);
    assert!(text(&events.stdout).lines().count() > 6 && events.stdout.len() > 900_000);

    let stranger = cli(&["list", "--server", &server], &token);
    assert_eq!(stranger.status.code(), Some(1), "nobody known vouches for it");
    assert!(text(&stranger.stderr).contains("--authorities FILE"), "{}", text(&stranger.stderr));
    let other_name = format!("tls:127.0.0.1:{}", running.management().port());
    let misnamed = cli(&["list", "--server", &other_name, "--authorities", paths[2]], &token);
    assert_eq!(misnamed.status.code(), Some(1), "it is made out to another name");
    assert!(text(&misnamed.stderr).contains("a name that its certificate is for"), "{}", text(&misnamed.stderr));
    let in_the_clear = cli(&["list", "--server", &running.management().to_string()], &token);
    assert!(text(&in_the_clear.stderr).contains("--server tls:HOST:PORT"), "{}", text(&in_the_clear.stderr));

    let mut plain = Management::connect(running.management());
    let _ = plain.0.write_all(b"\0\0\0\x0c\"ListActors\"");
    let mut rest = Vec::new();
    let _ = plain.0.read_to_end(&mut rest);
    assert!(!text(&rest).contains("ActorList"), "nothing is said in the clear");
    assert!(ask(&["list"]).status.success());
}

#[test]
fn tls_asked_of_a_runtime_that_does_not_speak_it_is_told_of() {
    let (_stage, running) = guarded(&[]);
    let roots = tls("roots.pem");
    let server = format!("tls:localhost:{}", running.management().port());
    let refused = cli(&["list", "--server", &server, "--authorities", roots.to_str().expect("a path")], &[]);
    assert!(text(&refused.stderr).contains("does not speak TLS"), "{}", text(&refused.stderr));
}

#[test]
fn files_of_certificates_and_keys_are_bounded_and_hold_what_they_should() {
    let (certificate, key) = (tls("server.pem"), tls("server.key"));
    let [certificate, key] = [&certificate, &key].map(|path| path.to_str().expect("a path"));
    let stage = Stage::new();
    let data = stage.data_dir();
    let run = ["run", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().expect("a path")];
    let list = ["list", "--server", "tls:localhost:1"];
    let long = "it is longer than 4194304 bytes";
    for (args, more, why) in [
        (&run[..], &["--tls-certificate", "/dev/zero", "--tls-key", key][..], long),
        (&run, &["--tls-certificate", certificate, "--tls-key", "/dev/zero"], long),
        (&run, &["--tls-certificate", key, "--tls-key", key], "there is no certificate in it"),
        (&run, &["--tls-certificate", certificate, "--tls-key", certificate], "there is no private key in it"),
        (&list, &["--authorities", "/dev/zero"], long),
        (&list, &["--authorities", key], "it holds no certificate in PEM form"),
    ] {
        let refused = cli(&[args, more].concat(), &[]);
        assert_eq!(refused.status.code(), Some(1), "{more:?}");
        assert!(text(&refused.stderr).contains(why), "{more:?}: {}", text(&refused.stderr));
    }
}

#[test]
fn a_subscription_over_tls_goes_on_while_commands_are_answered() {
    let (certificate, key) = (tls("server.pem"), tls("server.key"));
    let paths = [&certificate, &key].map(|path| path.to_str().expect("a path"));
    let (_stage, running) = guarded(&["--tls-certificate", paths[0], "--tls-key", paths[1]]);
    let mut client = Tls::connect(&running);
    assert!(client.ask(&authenticate(CONTROL))["Authenticated"].is_object());
    let id = client.ask(&json!("ListActors"))["ActorList"]["actors"][0].clone();
    client.ask(&json!({ "SubscribeToActor": { "id": id, "from": 0 } }));
    for _ in 0..100 {
        client.send(&json!({ "RequestMessage": { "id": id, "message": "eyJhZGQiOjF9" } }));
    }
    let (mut answers, mut events) = (0, 0);
    while answers < 100 || events < 203 {
        let frame = client.receive();
        if frame.get("Answer").is_some() {
            answers += 1;
        } else {
            assert_eq!(frame["ActorEvent"]["event"]["sequence"], events, "{frame}");
            events += 1;
        }
    }
}

/// A management client over TLS that is written without Theater's code.
struct Tls(rustls::StreamOwned<rustls::ClientConnection, TcpStream>);

impl Tls {
    fn connect(running: &Theater) -> Self {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject;
        let mut roots = rustls::RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(tls("roots.pem")).expect("certificates") {
            roots.add(root.expect("a certificate")).expect("an authority");
        }
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "localhost".try_into().expect("a name");
        let session = rustls::ClientConnection::new(config.into(), name).expect("a session");
        Self(rustls::StreamOwned::new(session, TcpStream::connect(running.management()).expect("a connection")))
    }

    fn send(&mut self, command: &Value) {
        let json = command.to_string();
        self.0.write_all(&u32::try_from(json.len()).expect("short").to_be_bytes()).expect("sent");
        self.0.write_all(json.as_bytes()).expect("sent");
    }

    fn receive(&mut self) -> Value {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).expect("a frame");
        let mut json = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut json).expect("a frame");
        serde_json::from_slice(&json).expect("JSON")
    }

    fn ask(&mut self, command: &Value) -> Value {
        self.send(command);
        self.receive()
    }
}

#[test]
fn the_unix_socket_is_for_its_user_alone_and_asks_for_no_token() {
    let stage = Stage::new();
    let (socket, token) = (stage.path().join("theater.sock"), stage.file("token", CONTROL));
    let (path, token) = (socket.to_str().expect("a path"), token.to_str().expect("a path"));
    let manifest = stage.manifest("counter", "counter", "");
    // The socket file that a killed runtime leaves does not prevent a start.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    let running = stage.run_with(&[&manifest], &["--socket", path, "--token-file", token]).expect("it starts");
    let mode = std::fs::metadata(&socket).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let server = format!("unix:{path}");
    assert!(cli(&["request", "counter", "{\"add\":1}", "--server", &server], &[]).status.success());

    let other = Stage::new();
    let refused = other.run_with(&[], &["--socket", path]).err().expect("it is taken");
    assert!(refused.contains(path) && refused.contains("another runtime listens on it"), "{refused}");
    let file = other.file("file", "precious");
    let refused = other.run_with(&[], &["--socket", file.to_str().expect("a path")]).err().expect("it is a file");
    assert!(refused.contains("something else"), "{refused}");
    assert_eq!(std::fs::read_to_string(file).expect("a file"), "precious");

    running.shut_down();
    assert!(!socket.exists(), "it is removed at the end");
}

#[test]
fn connections_that_say_nothing_make_room_for_others() {
    let stage = Stage::new();
    let manifest = stage.manifest("counter", "counter", "");
    let launch = stage.command(&[&manifest], &["--data-dir"]).arg(stage.data_dir());
    let running = launch.env("THEATER_MANAGEMENT_CONNECTIONS", "8").launch(&stage).expect("it starts");
    let mut heard = Management::connect(running.management());
    assert!(heard.ask(&json!("ListActors"))["ActorList"].is_object());
    let silent: Vec<Management> = (0..50)
        .map(|at| {
            let mut client = Management::connect(running.management());
            if at % 2 == 0 {
                // The server may have disconnected this client already to make room.
                let _ = client.0.write_all(&[0, 0, 1, 0, b'"']);
            }
            client
        })
        .collect();
    for _ in 0..20 {
        // One that was heard and has gone counts until the server has noticed.
        eventually("it is let in", || {
            let mut other = Management::connect(running.management());
            other.ask(&json!("ListActors"))["ActorList"].is_object().then_some(())
        });
    }
    assert!(heard.ask(&json!("ListActors"))["ActorList"].is_object(), "whoever was heard stays");
    drop(silent);
    eventually("their threads end", || {
        (running.thread_names().iter().filter(|name| name.starts_with("mgmt-")).count() <= 4).then_some(())
    });
}

#[test]
fn the_library_has_what_the_command_line_has() {
    let stage = Stage::new();
    let config = theater::Config::new().data_dir(stage.data_dir());
    let runtime = theater::TheaterRuntime::start(config).expect("a runtime");
    let token = theater::Token::new(CONTROL).expect("a token");
    let loopback = "127.0.0.1:0".parse().expect("an address");
    let options = theater::ServerOptions::new().listen(loopback).control_token(token);
    let server = theater::TheaterServer::start(options, runtime.handle().clone()).expect("a server");
    let endpoint = theater::Endpoint::Tcp(server.address().expect("an address").to_string());
    let options = |token: Option<&str>| {
        let options = theater::ClientOptions::new(endpoint.clone());
        token.map_or(options.clone(), |token| options.token(token))
    };
    assert!(!format!("{:?}", options(Some(CONTROL))).contains(CONTROL), "it is not shown by accident");
    assert!(theater::Client::connect(&options(Some("wrong-0123456789abcdef"))).is_err());
    let mut stranger = theater::Client::connect(&options(None)).expect("a connection");
    assert!(matches!(stranger.actors(), Err(theater::ClientError::Refused(why)) if why.contains("not authenticated")));

    let mut client = theater::Client::connect(&options(Some(CONTROL))).expect("a connection");
    let id = client.start(&stage.manifest("counter", "counter", "")).expect("it starts");
    assert_eq!(client.actors().expect("a list"), [id]);
    let request = json!({ "RequestMessage": { "id": id.to_string(), "message": "eyJhZGQiOjJ9" } });
    assert_eq!(client.command(&request).expect("an answer")["Answer"]["message"], "eyJjb3VudCI6Mn0=");
    client.restart(id).expect("it restarts");
    client.stop(id).expect("it stops");
    assert_eq!(client.actors().expect("a list"), []);
    runtime.handle().forget(id).expect("it has ended");
    assert!(runtime.handle().actor(id).is_none());
    drop((client, server));
    runtime.shutdown();
}
