//! Tests of a chat application that was written from the interfaces alone: pages and assets, a WebSocket room, a store
//! that the front spawns in its `init`, and an HTTP API that it asks. It works with its own manifests, survives a kill,
//! and its chains replay without anything outside.

#[path = "support/outside.rs"]
mod outside;
mod support;
#[path = "support/languages.rs"]
mod projects;
#[path = "support/websocket.rs"]
mod websocket;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use outside::{Server, say};
use projects::{Language, Python, Rust, TypeScript};
use serde_json::{Value, json};
use support::{Http, Stage, Theater, data_of, eventually, text, theater};
use websocket::Client;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\x00\xff\xfe not really";

/// The directory of the application, as its author ships it.
struct Chat {
    stage: Stage,
    front: PathBuf,
}

impl Chat {
    /// The chat in Rust is a guest that was written from the interfaces alone; the others are the examples. `None` if a tool of the
    /// language is missing.
    fn new(oracle: &Server, language: Language) -> Option<Self> {
        let stage = Stage::new();
        for (name, manifest) in [("chatroom", "chat.toml"), ("chatstore", "store.toml")] {
            if language == Rust {
                stage.copy_component(name, name);
            } else {
                let built = projects::example(language, "chat", manifest)?;
                stage.file(&format!("{name}.wasm"), std::fs::read(built).expect("it was built"));
            }
        }
        std::fs::create_dir(stage.path().join("assets")).expect("a directory");
        stage.file("assets/index.html", "<!doctype html><title>Chat</title><script src=\"/assets/chat.js\"></script>");
        stage.file("assets/chat.js", "new WebSocket('ws://localhost:8081/')");
        stage.file("assets/logo.png", PNG);
        stage.file(
            "store.toml",
            "name = \"chat-store\"\nversion = \"0.1.0\"\ncomponent_path = \"chatstore.wasm\"\n\n\
             [interface]\nimplements = \"ntwk:theater/message-server-client\"\nrequires = []\n\n\
             [[handlers]]\ntype = \"message-server\"\nconfig = { port = 8090 }\n",
        );
        let front = format!(
            "name = \"chat\"\nversion = \"0.1.0\"\ndescription = \"A chat\"\ncomponent_path = \"chatroom.wasm\"\n\
             init_state = '{{\"store\": \"store.toml\", \"oracle\": \"http://{address}/v1/ask\"}}'\n\n\
             [interface]\nimplements = [\"ntwk:theater/actor\", \"ntwk:theater/http-server\"]\n\
             requires = [\"ntwk:theater/filesystem\"]\n\n\
             [[handlers]]\ntype = \"runtime\"\nconfig = {{}}\n\n\
             [[handlers]]\ntype = \"message-server\"\nconfig = {{}}\n\n\
             [[handlers]]\ntype = \"http-server\"\nconfig = {{ port = 0 }}\n\n\
             [[handlers]]\ntype = \"websocket-server\"\nconfig = {{ port = 0 }}\n\n\
             [[handlers]]\ntype = \"filesystem\"\nconfig = {{ path = \"assets\" }}\n\n\
             [[handlers]]\ntype = \"http-client\"\nconfig = {{ allow = [\"{address}\"] }}\n\n\
             [[handlers]]\ntype = \"supervisor\"\nconfig = {{}}\n\n\
             [logging]\nlevel = \"debug\"\n\n[event_server]\nport = 9001\n",
            address = oracle.address
        );
        let front = stage.file("chat.toml", front);
        Some(Self { stage, front })
    }

    fn run(&self) -> Theater {
        self.stage.run(&[&self.front])
    }
}

/// An HTTP server that answers questions, except those that contain `think`.
fn oracle() -> Server {
    Server::answering(|request, stream| {
        if request.contains("think") {
            _ = stream.read(&mut [0]);
        } else {
            say(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"answer\":\"42\"}",
            );
        }
    })
}

/// A member of the room. Each of its messages says up to which message it has heard.
struct Member {
    client: Client,
    name: String,
    heard: Vec<(u64, String, String)>,
}

impl Member {
    fn enter(running: &Theater, name: &str) -> Self {
        let client = Client::connect(running.websocket("chat"));
        let mut member = Self { client, name: name.to_owned(), heard: Vec::new() };
        member.hear("welcome");
        member
    }

    fn hear(&mut self, ty: &str) {
        let heard = self.client.hear().into_text().expect("text");
        let heard: Value = serde_json::from_str(heard.as_str()).expect("JSON");
        assert_eq!(heard["type"], ty, "{heard}");
        for message in heard["messages"].as_array().expect("messages") {
            let word = |key: &str| message[key].as_str().expect("text").to_owned();
            self.heard.push((message["seq"].as_u64().expect("a number"), word("name"), word("text")));
        }
    }

    fn since(&self) -> u64 {
        self.heard.last().map_or(0, |(seq, ..)| *seq)
    }

    fn say_unheard(&mut self, text: &str) {
        let said = json!({ "type": "say", "name": self.name, "text": text, "since": self.since() });
        self.client.say(&said.to_string());
    }

    fn say(&mut self, text: &str) {
        self.say_unheard(text);
        self.hear("messages");
    }

    fn poll(&mut self) {
        self.client.say(&json!({ "type": "poll", "since": self.since() }).to_string());
        self.hear("messages");
    }

    fn texts(&self) -> Vec<String> {
        self.heard.iter().map(|(_, name, text)| format!("{name}: {text}")).collect()
    }
}

fn get(running: &Theater, path: &str) -> support::HttpAnswer {
    Http::connect(running.http("chat")).ask("GET", path, None)
}

/// Checks that all chains of the data directory verify together, and replay; returns the answer of `replay`.
fn all_verify_and_replay(data_dir: &Path) -> Value {
    let data_dir = data_dir.to_str().expect("a path");
    let [_, replayed] = ["verify", "replay"].map(|command| {
        let output = theater(&[command, "--journal", data_dir, "--json"], None);
        assert!(output.status.success(), "{command}: {}{}", text(&output.stdout), text(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    });
    replayed
}

#[test]
fn a_chat_written_elsewhere_serves_talks_asks_and_goes_on_after_a_kill() {
    serves_talks_asks_and_goes_on_after_a_kill(Rust);
}

#[test]
fn a_chat_in_typescript_serves_talks_asks_and_goes_on_after_a_kill() {
    serves_talks_asks_and_goes_on_after_a_kill(TypeScript);
}

#[test]
fn a_chat_in_python_serves_talks_asks_and_goes_on_after_a_kill() {
    serves_talks_asks_and_goes_on_after_a_kill(Python);
}

fn serves_talks_asks_and_goes_on_after_a_kill(language: Language) {
    let oracle = oracle();
    let Some(chat) = Chat::new(&oracle, language) else { return };
    let running = chat.run();

    let page = get(&running, "/");
    assert_eq!(page.status, 200);
    assert!(page.head.contains("text/html; charset=utf-8") && page.body.contains("<title>Chat</title>"), "{page:?}");
    let logo = get(&running, "/assets/logo.png");
    assert!(logo.head.contains("image/png") && logo.head.contains(&format!(": {}\r\n", PNG.len())), "{logo:?}");
    assert_eq!(logo.body, text(PNG));
    assert_eq!(get(&running, "/assets/none.css").status, 404);
    let outside = get(&running, "/assets/../chat.toml");
    assert_eq!(outside.status, 403, "{outside:?}");

    let (mut anna, mut ben) = (Member::enter(&running, "anna"), Member::enter(&running, "ben"));
    anna.say("hello");
    ben.poll();
    assert_eq!(ben.texts(), ["room: open", "anna: hello"]);
    ben.say("/ask what?");
    assert_eq!(ben.texts()[2..], ["ben: /ask what?", "oracle: 42"]);
    let asked = oracle.saw();
    assert!(asked.starts_with("POST /v1/ask HTTP/1.1\r\n") && asked.ends_with("{\"question\":\"what?\"}"), "{asked}");
    let posted = Http::connect(running.http("chat")).ask(
        "POST",
        "/api/messages",
        Some("{\"name\":\"carol\",\"text\":\"by post\"}"),
    );
    assert_eq!((posted.status, posted.json()), (201, json!({ "seq": 5 })));
    anna.poll();
    assert_eq!(anna.texts()[4..], ["carol: by post"]);
    assert_eq!(get(&running, "/api/messages?since=4").json()["messages"][0]["text"], "by post");

    ben.say_unheard("/ask think about it");
    oracle.saw();
    running.kill();
    let running = chat.run();
    let mut ben = Member::enter(&running, "ben");
    assert_eq!(ben.texts().len(), 7, "{:?}", ben.texts());
    assert_eq!(ben.texts()[5..], ["ben: /ask think about it", "oracle: (no answer: interrupted: outcome unknown)"]);
    assert!(oracle.seen.try_recv().is_err(), "it was asked once");
    ben.say("still here");
    let status = get(&running, "/api/status").json();
    assert_eq!(
        (&status["stored"], &status["store_chain_linked"], &status["own_chain_linked"]),
        (&json!(8), &json!(true), &json!(true))
    );
    assert_eq!(status["children"], json!([running.id("chat-store")]));
    let summary = running.request("chat", &json!("summary")).expect("an answer");
    assert_eq!(summary["store"], status["children"][0]);
    let events = running.events("chat");
    assert_eq!(data_of(&events, "failed").len() + data_of(&events, "refused").len(), 0);

    running.kill();
    drop(oracle);
    std::fs::remove_dir_all(chat.stage.path().join("assets")).expect("it was there");
    let replayed = all_verify_and_replay(&chat.stage.data_dir());
    assert_eq!(replayed["actors"], 2, "{replayed}");
}

#[test]
fn a_room_full_of_members_hears_everything_in_one_order() {
    all_hear_everything_in_one_order(Rust);
}

#[test]
fn a_room_in_typescript_full_of_members_hears_everything_in_one_order() {
    all_hear_everything_in_one_order(TypeScript);
}

#[test]
fn a_room_in_python_full_of_members_hears_everything_in_one_order() {
    all_hear_everything_in_one_order(Python);
}

fn all_hear_everything_in_one_order(language: Language) {
    let oracle = oracle();
    let Some(chat) = Chat::new(&oracle, language) else { return };
    let running = chat.run();
    let (members, words) = (12, 15);
    let heard: Vec<_> = std::thread::scope(|scope| {
        let talking: Vec<_> = (0..members)
            .map(|member| {
                let running = &running;
                scope.spawn(move || {
                    let mut member = Member::enter(running, &format!("m{member}"));
                    (0..words).for_each(|word| member.say(&format!("word {word}")));
                    member
                })
            })
            .collect();
        let mut members: Vec<_> = talking.into_iter().map(|it| it.join().expect("it talks")).collect();
        members.iter_mut().for_each(Member::poll);
        members.into_iter().map(|member| member.heard).collect()
    });
    assert_eq!(heard[0].len(), 1 + members * words);
    assert!(heard.iter().all(|it| *it == heard[0]), "all heard the same");
    assert!(heard[0].iter().map(|(seq, ..)| *seq).eq(1..=heard[0].len() as u64));
    eventually("the room has heard that all left", || {
        (running.request("chat", &json!("summary")).ok()?["connected"] == 0).then_some(())
    });
    running.kill();
    all_verify_and_replay(&chat.stage.data_dir());
}

/// The interfaces of a WIT text, each as a list of its words, without comments and without the comma before a closing
/// brace.
fn interfaces(text: &str) -> BTreeMap<String, Vec<String>> {
    let code: String = text.lines().map(|line| line.split("//").next().unwrap_or_default().to_owned() + "\n").collect();
    let mut words: Vec<String> = vec![String::new()];
    for character in code.chars() {
        match character {
            c if c.is_whitespace() => words.push(String::new()),
            c if c.is_alphanumeric() || c == '-' => words.last_mut().expect("never empty").push(c),
            c => words.extend([c.to_string(), String::new()]),
        }
    }
    words.retain(|word| !word.is_empty());
    let is_last_comma = |at: usize| words[at] == "," && words.get(at + 1).is_some_and(|next| next == "}");
    let words: Vec<String> = (0..words.len()).filter(|at| !is_last_comma(*at)).map(|at| words[at].clone()).collect();
    let starts = (0..words.len()).filter(|at| words[*at] == "interface");
    starts
        .map(|start| {
            let mut depth = 0;
            let end = words[start..].iter().position(|word| {
                depth += i32::from(word == "{") - i32::from(word == "}");
                word == "}" && depth == 0
            });
            let end = start + end.expect("it is closed");
            (words[start + 1].clone(), words[start + 2..=end].to_vec())
        })
        .collect()
}

/// The chat was compiled against its own copy of the interfaces, as authors of actors received them.
#[test]
fn the_interfaces_that_actors_were_compiled_against_are_ours_to_the_letter() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let theirs = std::fs::read_to_string(root.join("tests/guests/chatroom/wit/theater.wit")).expect("their WIT");
    let theirs = interfaces(&theirs);
    let mut ours = BTreeMap::new();
    for entry in std::fs::read_dir(root.join("wit")).expect("our WIT") {
        ours.extend(interfaces(&std::fs::read_to_string(entry.expect("an entry").path()).expect("text")));
    }
    assert_eq!(theirs.len(), 11);
    for (name, words) in theirs {
        assert_eq!(ours.get(&name), Some(&words), "{name}");
    }
}
