//! A service manager such as systemd: it opens sockets for a runtime, and is told when the runtime is ready and when it ends.

mod support;

use std::fs::File;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use serde_json::json;
use support::{Http, Launch, Stage, signal};

/// What systemd does: descriptor 3 is the socket, and the variables say that it is for this process.
const WITH_A_SOCKET: &str = "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"";

fn with_the_socket(launch: Launch, stage: &Stage, socket: impl Into<OwnedFd>) -> Launch {
    let log = File::create(stage.path().join("log")).expect("a log");
    launch.through("sh", &["-c", WITH_A_SOCKET, "sh"], log).stdin(socket.into())
}

/// A listening socket, and the manifest of a counter with its address.
fn a_socket_and_a_counter(stage: &Stage) -> (TcpListener, std::path::PathBuf) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = socket.local_addr().expect("an address").port();
    let handler = format!("[[handlers]]\ntype = \"http-server\"\nconfig = {{ port = {port} }}\n");
    (socket, stage.manifest("counter", "counter", &handler))
}

#[test]
fn an_actor_answers_on_the_socket_that_its_process_was_started_with() {
    let stage = Stage::new();
    let (socket, manifest) = a_socket_and_a_counter(&stage);
    let address = socket.local_addr().expect("an address");
    // A client that comes before anybody listens waits.
    let mut early = Http::connect(address);
    early.send("POST", "/increment", None);
    let launch = stage.command(&[&manifest], &["--ephemeral"]);
    let running = with_the_socket(launch, &stage, socket).launch(&stage).expect("it starts");
    assert_eq!(early.receive().expect("an answer").json(), json!({ "count": 1 }));
    assert!(stage.log().contains("let in by the service manager"), "{}", stage.log());

    // The socket outlives the listener: clients that come while the actor is stopped wait for the next one.
    running.cli(&["stop", "counter"]);
    let mut meanwhile = Http::connect(address);
    meanwhile.send("GET", "/", None);
    running.cli(&["restart", "counter"]);
    assert_eq!(meanwhile.receive().expect("an answer").json(), json!({ "count": 1 }));

    // One listener at a time has it.
    let text = std::fs::read_to_string(&manifest).expect("read").replace("\"counter\"", "\"second\"");
    let why = running.start(&stage.file("second.toml", text)).expect_err("taken");
    assert!(why.contains("counter") && why.contains("listens there"), "{why}");
    running.shut_down();
}

/// systemd's `ListenStream=8080` is `[::]:8080`, which takes the clients of 127.0.0.1, too.
#[test]
fn an_actor_whose_address_is_not_quite_that_of_the_socket_is_told_of_it() {
    let stage = Stage::new();
    let socket = TcpListener::bind("0.0.0.0:0").expect("a free port");
    let port = socket.local_addr().expect("an address").port();
    let handler = format!("[[handlers]]\ntype = \"http-server\"\nconfig = {{ port = {port} }}\n");
    let manifest = stage.manifest("counter", "counter", &handler);
    let launch = stage.command(&[&manifest], &["--ephemeral"]);
    let why = with_the_socket(launch, &stage, socket).launch(&stage).err().expect("a refusal");
    let expected = format!(
        "the service manager has opened 0.0.0.0:{port} for this process, which is another address: use 0.0.0.0 here"
    );
    assert!(why.contains(&expected), "{why}");
}

#[test]
fn a_socket_that_nothing_uses_is_named() {
    let stage = Stage::new();
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("an address");
    let manifest = stage.manifest("counter", "counter", "");
    let launch = stage.command(&[&manifest], &["--ephemeral"]);
    let running = with_the_socket(launch, &stage, socket).launch(&stage).expect("it starts");
    assert!(
        stage.log().contains(&format!("nothing listens on {address}, which the service manager has opened")),
        "{}",
        stage.log()
    );
    running.shut_down();
}

#[test]
fn a_socket_that_does_not_listen_is_refused() {
    let stage = Stage::new();
    let manifest = stage.manifest("counter", "counter", "");
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let launch = stage.command(&[&manifest], &["--ephemeral"]);
    let why = with_the_socket(launch, &stage, datagrams).launch(&stage).err().expect("a refusal");
    assert!(why.contains("socket 0 is no listening TCP socket"), "{why}");
}

#[test]
fn the_service_manager_is_told_of_the_beginning_and_of_the_end() {
    let stage = Stage::new();
    let manifest = stage.manifest("counter", "counter", "");
    let path = stage.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(Duration::from_secs(60))).expect("a deadline");
    let heard = || {
        let mut message = [0; 100];
        let length = manager.recv(&mut message).expect("a message");
        String::from_utf8(message[..length].to_vec()).expect("UTF-8").trim().to_owned()
    };
    let launch = stage.command(&[&manifest], &["--ephemeral"]).env("NOTIFY_SOCKET", &path);
    let mut running = launch.launch(&stage).expect("it starts");
    assert_eq!(heard(), "READY=1");
    signal(running.pid(), "TERM");
    assert_eq!(heard(), "STOPPING=1");
    assert!(running.wait().success());
}

#[test]
fn a_directory_stands_for_every_manifest_in_it() {
    let stage = Stage::new();
    let actors = stage.path().join("actors");
    std::fs::create_dir(&actors).expect("made");
    for name in ["one", "two"] {
        std::fs::rename(stage.manifest(name, "counter", ""), actors.join(format!("{name}.toml"))).expect("moved");
    }
    std::fs::write(actors.join("theater.toml"), "durability = \"relaxed\"\n").expect("written");
    let running = stage.run(&[&actors]);
    assert_eq!((running.status("one"), running.status("two")), ("running".into(), "running".into()));
    running.shut_down();
}
