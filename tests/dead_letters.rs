//! Tests of dead letters: messages that their receivers never took, because they ended. They are listed, and sent again once.

mod support;

use std::path::PathBuf;

use serde_json::{Value, json};
use support::{Management, Stage, Theater, eventually, text, theater, verifies_and_replays};

const BUSY: &str = "[limits]\ncpu_ms_per_call = 60000\nstop_grace_ms = 0\n";

/// Two probes, `sender` and `receiver`, and a third, `heir`.
struct Post {
    stage: Stage,
    manifests: Vec<PathBuf>,
    running: Theater,
}

impl Post {
    fn new() -> Self {
        let stage = Stage::new();
        let manifests = ["sender", "receiver", "heir"].map(|name| stage.manifest(name, "probe", BUSY)).to_vec();
        let running = stage.run(&manifests.iter().map(PathBuf::as_path).collect::<Vec<_>>());
        Self { stage, manifests, running }
    }

    fn again(self) -> Self {
        let Self { stage, manifests, running } = self;
        running.kill();
        let running = stage.run(&manifests.iter().map(PathBuf::as_path).collect::<Vec<_>>());
        Self { stage, manifests, running }
    }

    /// Has the sender send these while the receiver is busy, and stops the receiver.
    fn lose(&self, messages: &[Value]) {
        let receiver = self.running.id("receiver");
        let mut outside = Management::connect(self.running.management());
        outside.send_request(&receiver, &json!("spin"));
        eventually("it is busy", || self.running.event_types("receiver").last()?.starts_with("call ").then_some(()));
        let sends: Vec<Value> =
            messages.iter().map(|msg| json!({ "op": "send", "to": receiver, "msg": msg })).collect();
        let sent = self.running.request("sender", &json!({ "op": "many", "ops": sends })).expect("an answer");
        assert!(sent.as_array().expect("a list").iter().all(|one| *one == json!({ "ok": null })), "{sent}");
        self.running.say(&["stop", "receiver"]);
    }

    fn letters(&self, more: &[&str]) -> Vec<Value> {
        self.running.json(&[&["dead-letters"], more].concat()).as_array().expect("a list").clone()
    }

    fn send(&self, letter: &Value, more: &[&str]) -> String {
        self.running.say(&[&["dead-letters", "send", id(letter)], more].concat())
    }

    fn count(&self, actor: &str) -> u64 {
        self.running.json(&["state", actor])["state"]["count"].as_u64().unwrap_or(0)
    }
}

fn id(letter: &Value) -> &str {
    letter["letter"].as_str().expect("an id")
}

#[test]
fn what_a_receiver_never_took_is_listed_with_who_sent_it_and_why() {
    let post = Post::new();
    assert_eq!(post.letters(&[]), Vec::<Value>::new());
    post.lose(&[json!("count"), json!({ "op": "echo", "value": 7 })]);
    let (sender, receiver) = (post.running.id("sender"), post.running.id("receiver"));
    let letters = post.letters(&[]);
    assert_eq!(letters.len(), 2);
    for (letter, bytes) in letters.iter().zip([7, r#"{"op":"echo","value":7}"#.len()]) {
        assert_eq!(
            (&letter["from"], &letter["to"], &letter["why"]),
            (&json!(sender), &json!(receiver), &json!("stopped"))
        );
        assert_eq!(letter["bytes"], json!(bytes), "{letter}");
        assert!(
            letter["sent_ms"].as_u64() <= letter["dropped_ms"].as_u64() && letter["message"].is_string(),
            "{letter}"
        );
        assert!(id(letter).starts_with(&format!("{sender}:")), "{letter}");
    }
    assert_eq!(post.letters(&["receiver"]), letters);
    assert_eq!(post.letters(&["heir"]), Vec::<Value>::new());
    let said = post.running.say(&["dead-letters"]);
    assert!(said.lines().count() == 2 && said.contains("which stopped") && said.contains("count"), "{said}");
    let directory = post.stage.data_dir();
    let directory = directory.to_str().expect("a path");
    let on_disk = theater(&["dead-letters", "receiver", "--json", "--data-dir", directory], None);
    assert_eq!(serde_json::from_slice::<Value>(&on_disk.stdout).expect("JSON"), json!(letters));
    let statement = "SELECT letter, sender_name, name, why, message FROM dead_letters WHERE name = 'receiver'";
    let rows = theater(&["sql", "--json", "--data-dir", directory, statement], None);
    let rows = text(&rows.stdout);
    let rows: Vec<Value> = rows.lines().map(|row| serde_json::from_str(row).expect("JSON")).collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(rows[0]["letter"], letters[0]["letter"]);
    assert_eq!((&rows[0]["sender_name"], &rows[0]["why"]), (&json!("sender"), &json!("stopped")));
}

#[test]
fn a_dead_letter_is_sent_again_once_also_across_a_kill() {
    let post = Post::new();
    post.lose(&[json!("count"), json!("count"), json!("count")]);
    let letters = post.letters(&[]);
    let refused = post.running.refused(&["dead-letters", "send", id(&letters[0])]);
    assert!(refused.contains("is stopped"), "{refused}");
    assert_eq!(post.letters(&[]).len(), 3, "it stays one");
    post.running.say(&["restart", "receiver"]);
    let said = post.send(&letters[0], &[]);
    assert!(said.contains(&post.running.id("receiver")), "{said}");
    assert_eq!((post.count("receiver"), post.letters(&[])), (1, letters[1..].to_vec()));
    let refused = post.running.refused(&["dead-letters", "send", id(&letters[0])]);
    assert!(refused.contains("was sent again"), "{refused}");
    post.send(&letters[1], &["--to", "heir"]);
    assert_eq!((post.count("heir"), post.letters(&[])), (1, letters[2..].to_vec()));
    let post = post.again();
    assert_eq!(post.letters(&[]), letters[2..].to_vec());
    for letter in &letters[..2] {
        post.running.refused(&["dead-letters", "send", id(letter), "--to", "heir"]);
    }
    assert_eq!((post.count("receiver"), post.count("heir")), (1, 1));
    post.send(&letters[2], &[]);
    assert_eq!((post.count("receiver"), post.letters(&[])), (2, Vec::new()));
    let chains = ["receiver", "heir", "sender"].map(|name| post.running.export(&post.stage, name));
    chains.iter().for_each(|chain| _ = verifies_and_replays(chain));
    let Post { stage, running, .. } = post;
    running.shut_down();
    let audit = theater(&["verify", "--journal", stage.data_dir().to_str().expect("a path")], None);
    assert!(audit.status.success(), "{}", text(&audit.stdout));
}

#[test]
fn a_letter_that_the_actor_fails_on_was_taken_and_what_is_no_letter_is_refused() {
    let post = Post::new();
    post.lose(&[json!("trap")]);
    let letters = post.letters(&[]);
    let failed = post.running.refused(&["dead-letters", "send", id(&letters[0]), "--to", "heir"]);
    assert!(failed.contains("failed: trap"), "{failed}");
    assert_eq!(post.letters(&[]), Vec::<Value>::new());
    let sender = post.running.id("sender");
    for (wrong, why) in [
        ("17".to_owned(), "is no dead letter"),
        (format!("{sender}:0"), "is no dead letter"),
        (format!("{sender}:99999"), "is no dead letter"),
        ("67e55044-10b1-426f-9247-bb680e5fe0c8:1".to_owned(), "is no dead letter"),
        (id(&letters[0]).to_owned(), "was sent again"),
    ] {
        let refused = post.running.refused(&["dead-letters", "send", &wrong, "--to", "sender"]);
        assert!(refused.contains(why), "{wrong}: {refused}");
    }
    let refused = post.running.refused(&["send", "sender", "\"count\"", "--message-id", "dead letter x"]);
    assert!(refused.contains("visible ASCII"), "nobody else can use such an id: {refused}");
}

#[test]
fn a_dead_letter_whose_message_was_dropped_is_listed_and_cannot_be_sent() {
    let post = Post::new();
    post.lose(&[json!("count")]);
    let letters = post.letters(&[]);
    let sequence = id(&letters[0]).split(':').nth(1).expect("a sequence");
    post.running.say(&["redact", "sender", "--event", sequence]);
    let bare = post.letters(&[]);
    assert_eq!((bare.len(), &bare[0]["bytes"], &bare[0]["message"]), (1, &Value::Null, &Value::Null));
    let refused = post.running.refused(&["dead-letters", "send", id(&letters[0]), "--to", "heir"]);
    assert!(refused.contains("was dropped by a prune or a redaction"), "{refused}");
    assert_eq!(post.count("heir"), 0);
}
