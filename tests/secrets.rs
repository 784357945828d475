//! Tests of secrets: they reach the hosts that the manifest names, and nobody else; and no chain, journal, log, error or
//! output holds one.

#[path = "support/outside.rs"]
mod outside;
mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use outside::{Server, say, tls_server};
use serde_json::{Value, json};
use support::{Stage, Theater, data_of, eventually, text, theater, verifies_and_replays};

const VALUE: &str = "hunter2-hunter2-hunter2";
const OTHER: &str = "correct-horse-battery";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const HOST_CALL: &str = "host-call ntwk:theater/http-client.send-http";

/// A directory with `theater.toml`, and secrets in files beside it.
struct Vault {
    stage: Stage,
}

impl Vault {
    /// The secret `key` is in a file.
    fn new() -> Self {
        Self::naming("key = { file = \"key\" }\n")
    }

    fn naming(secrets: &str) -> Self {
        let vault = Self { stage: Stage::new() };
        vault.stage.file("theater.toml", format!("[secrets]\n{secrets}"));
        vault.keep("key", &format!("{VALUE}\n"));
        vault
    }

    fn keep(&self, name: &str, value: &str) -> PathBuf {
        let path = self.stage.file(&format!("{name}.new"), value);
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("its mode");
        fs::rename(&path, self.stage.path().join(name)).expect("renamed");
        self.stage.path().join(name)
    }

    fn manifest(&self, config: &str) -> PathBuf {
        let handler = format!("[[handlers]]\ntype = \"http-client\"\nconfig = {config}\n");
        self.stage.manifest("courier", "courier", &handler)
    }

    /// Runs an actor that may reach loopback addresses, and for which these are the `hosts`.
    fn run(&self, hosts: &str) -> Theater {
        self.stage.run(&[&self.manifest(&local(hosts))])
    }

    /// Why a runtime with this manifest does not start.
    fn refused(&self, hosts: &str) -> String {
        let started = self.stage.run_with(&[&self.manifest(&local(hosts))], &[]);
        started.err().expect("it is refused")
    }

    /// Checks that nothing of what is kept, printed or logged holds one of the values.
    fn gives_nothing_away(&self, running: &Theater) {
        let chain = running.export(&self.stage, "courier");
        let printed: Vec<String> = [
            &["list", "--json"][..],
            &["status", "courier", "--json"],
            &["events", "courier", "--json"],
            &["state", "courier"],
            &["top", "--json"],
        ]
        .iter()
        .map(|args| text(&running.cli(args).stdout))
        .collect();
        for value in [VALUE, OTHER] {
            let holds = |bytes: &[u8]| bytes.windows(value.len()).any(|part| part == value.as_bytes());
            assert!(!holds(&fs::read(&chain).expect("a chain")), "the chain");
            assert!(!holds(self.stage.log().as_bytes()), "the log: {}", self.stage.log());
            printed.iter().for_each(|printed| assert!(!printed.contains(value), "{printed}"));
            for file in files_below(&self.stage.data_dir()) {
                assert!(!holds(&fs::read(&file).unwrap_or_default()), "{}", file.display());
            }
        }
        verifies_and_replays(&chain);
    }
}

/// The files of a data directory.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

fn local(hosts: &str) -> String {
    format!("{{ allow = [\"127.0.0.1\"], hosts = {{ {hosts} }} }}")
}

/// An entry of `hosts` for a server that speaks http.
fn bearer(server: &Server) -> String {
    format!(
        "\"{}\" = {{ insecure_http = true, headers = {{ Authorization = {{ secret = \"key\", prefix = \"Bearer \" }} }} }}",
        server.address
    )
}

fn send(running: &Theater, request: &Value) -> Value {
    let mut command = request.clone();
    command["op"] = json!("http");
    running.request("courier", &command).expect("an answer of the courier")
}

fn get(running: &Theater, url: &str) -> Value {
    send(running, &json!({ "method": "GET", "uri": url }))
}

fn refusal(running: &Theater, url: &str) -> String {
    let answer = get(running, url);
    answer["err"].as_str().unwrap_or_else(|| panic!("{url} gave {answer}")).to_owned()
}

/// A server that sends each request back, and redirects `/to?URL` to that URL.
fn echo() -> Server {
    Server::answering(|request, stream| {
        let target = request.split(' ').nth(1).expect("a target");
        let answer = match target.strip_prefix("/to?") {
            Some(location) => format!("HTTP/1.1 307 X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"),
            None => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{request}", request.len()),
        };
        say(stream, &answer);
    })
}

fn bearer_in(saw: &str) -> bool {
    saw.contains(&format!("\r\nAuthorization: Bearer {VALUE}\r\n"))
}

#[test]
fn a_secret_goes_over_tls_to_the_host_that_is_named_and_its_echo_is_masked() {
    let vault = Vault::new();
    vault.stage.file("roots.pem", include_bytes!("tls/roots.pem"));
    let port = tls_server(|request| {
        let echoed = format!("HTTP/1.1 200 OK\r\nX-Echo: {VALUE}\r\nContent-Length: {}\r\n\r\n", request.len());
        assert!(bearer_in(request), "{request}");
        echoed + request
    });
    let hosts = format!(
        "\"localhost:{port}\" = {{ headers = {{ Authorization = {{ secret = \"key\", prefix = \"Bearer \" }} }} }}"
    );
    let config = format!("{{ allow = [\"localhost\"], roots = \"roots.pem\", hosts = {{ {hosts} }} }}");
    let running = vault.stage.run(&[&vault.manifest(&config)]);
    let answer = get(&running, &format!("https://localhost:{port}/x"));
    let body = answer["ok"]["body"].as_str().unwrap_or_else(|| panic!("{answer}"));
    let stars = "*".repeat(VALUE.len());
    assert!(body.starts_with("GET /x HTTP/1.1\r\n"), "{body}");
    assert!(body.contains(&format!("\r\nAuthorization: Bearer {stars}\r\n")), "{body}");
    assert_eq!(answer["ok"]["headers"][0], json!(["X-Echo", stars]));
    let events = running.events("courier");
    let intent = data_of(&events, "intent ntwk:theater/http-client.send-http")[0];
    assert_eq!(intent["params"][0]["headers"], json!([]), "the guest's request is recorded as the guest made it");
    vault.gives_nothing_away(&running);
}

#[test]
fn a_secret_is_not_sent_over_http_unless_the_manifest_says_so() {
    let (vault, server) = (Vault::new(), Server::saying(OK));
    let running = vault.run(&bearer(&server).replace("insecure_http = true, ", ""));
    let refused = refusal(&running, &server.url("/"));
    let why = format!("refused: requests to {} carry a secret, which is not sent over http; ", server.address);
    assert!(refused.starts_with(&why) && refused.ends_with("insecure_http = true"), "{refused}");
    assert!(server.seen.try_recv().is_err(), "nothing came");
    drop(running);
    let running = vault.run(&bearer(&server));
    assert_eq!(get(&running, &server.url("/"))["ok"]["status"], 200);
    assert!(bearer_in(&server.saw()));
    vault.gives_nothing_away(&running);
}

#[test]
fn a_host_that_is_not_named_gets_no_secret_and_its_other_ports_are_refused_by_name() {
    let (vault, named, other) = (Vault::new(), Server::saying(OK), Server::saying(OK));
    let running = vault.run(&bearer(&named));
    let refused = refusal(&running, &other.url("/"));
    assert!(refused.contains(&format!("hosts = {{ \"{}\" = {{}} }}", other.address)), "{refused}");
    assert!(other.seen.try_recv().is_err(), "nothing came");
    drop(running);
    let running = vault.run(&format!("{}, \"{}\" = {{}}", bearer(&named), other.address));
    assert_eq!(get(&running, &other.url("/"))["ok"]["status"], 200);
    assert!(!other.saw().contains(VALUE));
}

#[test]
fn a_guest_that_sets_the_header_itself_is_refused_and_nothing_is_sent() {
    let (vault, server) = (Vault::new(), Server::saying(OK));
    let running = vault.run(&bearer(&server));
    let request = json!({ "method": "GET", "uri": server.url("/"), "headers": [["AUTHORIZATION", "mine"]] });
    let why =
        format!("refused: the manifest gives the header Authorization to requests to {}; leave it out", server.address);
    assert_eq!(send(&running, &request), json!({ "err": why }));
    let trace = send(&running, &json!({ "method": "TRACE", "uri": server.url("/") }));
    assert!(trace["err"].as_str().is_some_and(|why| why.ends_with("TRACE asks for it back")), "{trace}");
    assert!(server.seen.try_recv().is_err(), "nothing came");
    let other = json!({ "method": "GET", "uri": server.url("/"), "headers": [["X-Own", "mine"]] });
    assert_eq!(send(&running, &other)["ok"]["status"], 200);
    let saw = server.saw();
    assert!(bearer_in(&saw) && saw.contains("\r\nX-Own: mine\r\n"), "{saw}");
}

#[test]
fn a_secret_follows_a_redirect_only_within_the_origin_that_the_guest_asked_for() {
    let (vault, first, second) = (Vault::new(), echo(), echo());
    // Both are named, so that only the redirect keeps the second one from its secret.
    let running = vault.run(&format!("{}, {}", bearer(&first), bearer(&second)));
    get(&running, &first.url("/to?/end"));
    assert_eq!([first.saw(), first.saw()].map(|saw| bearer_in(&saw)), [true, true]);
    let away = second.url("/end");
    get(&running, &first.url(&format!("/to?{away}")));
    assert_eq!([first.saw(), second.saw()].map(|saw| saw.contains(VALUE)), [true, false]);
    let back = second.url(&format!("/to?{}", first.url("/end")));
    get(&running, &first.url(&format!("/to?{back}")));
    assert_eq!([first.saw(), second.saw(), first.saw()].map(|saw| saw.contains(VALUE)), [true, false, false]);
    vault.gives_nothing_away(&running);
}

#[test]
fn an_error_that_would_be_made_from_a_header_with_a_secret_is_not_told() {
    let vault = Vault::new();
    let server = Server::answering(|head, stream| {
        // In the text of an error a host has small letters, a quotation is cut, and a list gets spaces.
        let header = match head.split(' ').nth(1).expect("a target") {
            "/scheme" => format!("Location: file:///{VALUE}"),
            "/host" => format!("Location: https://{VALUE}.localhost/"),
            "/cut" => format!("Location: file:///{}{VALUE}", "x".repeat(90)),
            "/length" => format!("Content-Length: {VALUE},1"),
            _ => format!("Transfer-Encoding: {VALUE}"),
        };
        say(stream, &format!("HTTP/1.1 307 X\r\n{header}\r\n\r\n"));
    });
    let running = vault.run(&bearer(&server));
    for (path, header) in [
        ("/scheme", "location"),
        ("/host", "location"),
        ("/cut", "location"),
        ("/length", "content-length"),
        ("/coding", "transfer-encoding"),
    ] {
        let refused = refusal(&running, &server.url(path));
        assert!(
            refused.contains(&format!("repeats the secret in the header {header}; what failed is not told")),
            "{refused}"
        );
        assert!(!refused.contains(&VALUE[..6].to_lowercase()), "{refused}");
    }
    vault.gives_nothing_away(&running);
}

#[test]
fn a_secret_that_is_replaced_is_used_from_the_next_request_on_and_one_that_is_gone_is_named() {
    let (vault, server) = (Vault::new(), Server::saying(OK));
    let running = vault.run(&bearer(&server));
    get(&running, &server.url("/"));
    assert!(bearer_in(&server.saw()));
    let path = vault.keep("key", OTHER);
    get(&running, &server.url("/"));
    assert!(server.saw().contains(&format!("\r\nAuthorization: Bearer {OTHER}\r\n")));
    fs::remove_file(&path).expect("removed");
    let gone = "the secret \"key\" cannot be used: its file cannot be read: No such file or directory (os error 2)";
    assert_eq!(refusal(&running, &server.url("/")), gone);
    assert!(server.seen.try_recv().is_err(), "nothing came");
    let log = eventually("the log has the place", || Some(vault.stage.log()).filter(|log| log.contains(gone)));
    assert!(log.contains(&format!("the value is in {}", path.display())), "{log}");
    vault.keep("key", VALUE);
    get(&running, &server.url("/"));
    assert!(bearer_in(&server.saw()));
    vault.gives_nothing_away(&running);
}

#[test]
fn a_start_without_its_secret_is_refused_by_name_with_the_remedy() {
    let server = Server::saying(OK);
    let vault = Vault::naming("kez = { file = \"key\" }\n");
    let refused = vault.refused(&bearer(&server));
    let why = "the secret \"key\" cannot be used: this runtime has no secret of that name; did you mean \"kez\"? \
               Otherwise name its source in theater.toml, under [secrets]: key = { file = \"…\" }";
    assert!(refused.contains("courier.toml:3: ") && refused.contains(why), "{refused}");

    let vault = Vault::new();
    let path = vault.stage.path().join("key");
    for (content, mode, why) in [
        (VALUE, 0o644, "its file has mode 0644, so others than its owner and group can open it"),
        (&*format!("{VALUE}\r\nX-Evil: 1"), 0o600, "it has a character that a header cannot carry"),
        ("", 0o600, "it is empty"),
    ] {
        vault.keep("key", content);
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("its mode");
        let refused = vault.refused(&bearer(&server));
        assert!(refused.contains(&format!("the secret \"key\" cannot be used: {why}")), "{refused}");
        assert!(refused.contains(&*path.to_string_lossy()) && !refused.contains(VALUE), "{refused}");
    }
    fs::remove_file(&path).expect("removed");
    let refused = vault.refused(&bearer(&server));
    assert!(refused.contains("put it there, readable for this user"), "{refused}");
    vault.keep("key", VALUE);
    vault.run(&bearer(&server));
}

#[test]
fn an_actor_that_has_lived_goes_on_without_its_secret_until_there_is_one() {
    let (vault, server) = (Vault::new(), Server::saying(OK));
    let running = vault.run(&bearer(&server));
    get(&running, &server.url("/"));
    assert!(bearer_in(&server.saw()));
    running.shut_down();
    let path = vault.stage.path().join("key");
    fs::remove_file(&path).expect("removed");
    let running = vault.run(&bearer(&server));
    let refused = refusal(&running, &server.url("/"));
    assert!(refused.starts_with("the secret \"key\" cannot be used: its file cannot be read: "), "{refused}");
    vault.keep("key", VALUE);
    get(&running, &server.url("/"));
    assert!(bearer_in(&server.saw()));
}

#[test]
fn a_command_and_the_environment_give_secrets_too_and_what_a_command_complains_of_stays_in_the_log() {
    let server = Server::saying(OK);
    let vault = Vault::naming(
        "key = { environment = \"COURIER_KEY\" }\n\
         [secrets.other]\ncommand = [\"sh\", \"-c\", \"cat other || { echo sealed >&2; exit 3; }\"]\nkeep_ms = 0\n",
    );
    let other = vault.keep("other", OTHER);
    let hosts = bearer(&server).replace("{ Auth", "{ X-Other = { secret = \"other\" }, Auth");
    let manifest = vault.manifest(&local(&hosts));
    let launch = vault.stage.command(&[&manifest], &[]).arg("--data-dir").arg(vault.stage.data_dir());
    let running = launch.env("COURIER_KEY", VALUE).launch(&vault.stage).expect("it starts");
    get(&running, &server.url("/"));
    let saw = server.saw();
    assert!(bearer_in(&saw) && saw.contains(&format!("\r\nX-Other: {OTHER}\r\n")), "{saw}");
    fs::remove_file(&other).expect("removed");
    let why = "the secret \"other\" cannot be used: its command ended with exit status: 3";
    assert_eq!(refusal(&running, &server.url("/")), why);
    eventually("the log has the command's words", || {
        let log = vault.stage.log();
        (log.contains(why) && log.contains("the command sh says on standard error: ") && log.contains("sealed"))
            .then_some(())
    });
    let events = running.events("courier");
    let failed = data_of(&events, HOST_CALL).pop().expect("a host call");
    assert_eq!(failed["result"], json!({ "err": why }));
    vault.gives_nothing_away(&running);
}

#[test]
fn the_configuration_shows_where_secrets_come_from_and_a_check_names_those_that_are_missing() {
    let vault = Vault::naming(&format!(
        "key = {{ file = \"key\" }}\nprinted = {{ command = [\"echo\", \"{OTHER}\"] }}\nset = {{ environment = \"COURIER_KEY\" }}\n"
    ));
    let toml = vault.stage.path().join("theater.toml");
    let toml = toml.to_str().expect("a path");
    for json in [&["--json"][..], &[]] {
        let shown = text(&theater(&[&["config", "--config", toml][..], json].concat(), None).stdout);
        assert!(shown.contains("secrets.key") && shown.contains("secrets.set"), "{shown}");
        assert!(shown.contains("command echo …") && shown.contains("environment variable COURIER_KEY"), "{shown}");
        assert!(!shown.contains(VALUE) && !shown.contains(OTHER), "{shown}");
    }
    let hosts = "\"127.0.0.1\" = { headers = { X = { secret = \"kay\" } } }";
    let manifest = vault.manifest(&local(hosts));
    let checked = theater(&["check", manifest.to_str().expect("a path"), "--config", toml], None);
    let why = "a start will fail: the secret \"kay\" cannot be used: this runtime has no secret of that name; did you \
               mean \"key\"?";
    assert!(checked.status.success() && text(&checked.stderr).contains(why), "{}", text(&checked.stderr));
    let granting = "[[handlers]]\ntype = \"filesystem\"\nconfig = { path = \".\", mode = \"read-only\" }\n";
    let manifest = vault.stage.manifest("keeper", "files", granting);
    let checked = theater(&["check", manifest.to_str().expect("a path"), "--config", toml], None);
    let (start, what) = ("a start will fail: filesystem cannot grant ", "the value of the secret \"key\" lies there");
    let said = text(&checked.stderr);
    assert!(checked.status.success() && said.contains(start) && said.contains(what), "{said}");
}

#[test]
fn a_manifest_whose_hosts_cannot_be_is_refused_with_the_line_and_the_reason() {
    let vault = Vault::new();
    let running = vault.stage.run(&[]);
    for (hosts, why) in [
        (
            "\"127.0.0.1\" = { headers = { Authorization = \"Bearer hunter2\" } }",
            "names a secret, and never holds a value",
        ),
        ("\"127.0.0.1\" = { insecure = true }", "unknown field `insecure`"),
        ("\"10.0.0.1\" = {}", "\"10.0.0.1\" in \"hosts\" is not in \"allow\", so it cannot be reached"),
    ] {
        let refused = running.start(&vault.manifest(&local(hosts))).expect_err(hosts);
        assert!(refused.contains("courier.toml:3: ") && refused.contains(why), "{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}

#[test]
fn no_actor_is_granted_the_directory_in_which_a_secret_lies() {
    let vault = Vault::naming("key = { file = \"vault/key\" }\nprinted = { command = [\"tools/print\"] }\n");
    let elsewhere = Stage::new();
    for directory in ["vault", "tools"] {
        fs::create_dir(vault.stage.path().join(directory)).expect("a directory");
    }
    for (directory, mode, why) in [
        ("vault", "read-only", Some("the value of the secret \"key\" lies there, in ")),
        (".", "read-only", Some("the value of the secret \"key\" lies there, in ")),
        ("tools", "read-write", Some("the program that gives the secret \"printed\" lies there, in ")),
        ("tools", "read-only", None),
    ] {
        let config = format!("config = {{ path = {directory:?}, mode = {mode:?} }}");
        let handler = format!("[[handlers]]\ntype = \"filesystem\"\n{config}\n");
        let manifest = vault.stage.manifest("files", "files", &handler);
        let launch = vault.stage.command(&[&manifest], &[]).arg("--data-dir").arg(elsewhere.data_dir());
        match (launch.launch(&vault.stage), why) {
            (Ok(_), None) => {}
            (Err(refused), Some(why)) => assert!(refused.contains(why), "{refused}"),
            (started, _) => panic!("{directory} {mode}: it starts: {}", started.is_ok()),
        }
    }
}
