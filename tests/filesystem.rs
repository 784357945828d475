//! Tests of the handler `filesystem`: what an actor may do in its directory, and that no path leads out of it.

mod support;

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use support::{Stage, Theater, data_of, eventually, verifies_and_replays};

const READ: &str = "host-call ntwk:theater/filesystem.read-file";
const WRITE: &str = "host-call ntwk:theater/filesystem.write-file";
const INTENT: &str = "intent ntwk:theater/filesystem.write-file";

/// An actor `files` that is granted the stage's directory `kept`.
struct Keeper {
    stage: Stage,
    running: Theater,
}

impl Keeper {
    fn new() -> Self {
        Self::with("config = { path = \"kept\" }\n", "")
    }

    fn with(config: &str, limits: &str) -> Self {
        let stage = Stage::new();
        std::fs::create_dir(stage.path().join("kept")).expect("a directory");
        let handler = format!("{limits}[[handlers]]\ntype = \"filesystem\"\n{config}");
        let running = stage.run(&[&stage.manifest("files", "files", &handler)]);
        Self { stage, running }
    }

    fn inside(&self, name: &str) -> PathBuf {
        self.stage.path().join("kept").join(name)
    }

    fn ask(&self, command: &Value) -> Value {
        self.running.request("files", command).expect("an answer")
    }

    fn on(&self, op: &str, path: &str) -> Value {
        self.ask(&json!({ "op": op, "path": path }))
    }

    fn write(&self, path: &str, content: &str) -> Value {
        self.ask(&json!({ "op": "write-file", "path": path, "content": content }))
    }

    /// The reason for which a command is refused.
    fn refused(&self, op: &str, path: &str) -> String {
        let answer = if op == "write-file" { self.write(path, "x") } else { self.on(op, path) };
        answer["err"].as_str().unwrap_or_else(|| panic!("{op} {path:?} gave {answer}")).to_owned()
    }

    /// Ends the runtime, removes the directory, and replays the chain.
    fn replays_without_the_directory(self) {
        let chain = self.running.export(&self.stage, "files");
        self.running.shut_down();
        std::fs::remove_dir_all(self.stage.path().join("kept")).expect("it was there");
        verifies_and_replays(&chain);
    }
}

const OPS: [&str; 7] =
    ["read-file", "write-file", "list-files", "delete-file", "create-dir", "delete-dir", "path-exists"];

#[test]
fn files_and_directories_are_made_read_listed_and_deleted_and_replay_needs_none_of_them() {
    let keeper = Keeper::new();
    assert_eq!(keeper.on("create-dir", "a"), json!({ "ok": null }));
    assert_eq!(keeper.write("a/z.txt", "last"), json!({ "ok": null }));
    assert_eq!(keeper.write("a/b.txt", "a longer text"), json!({ "ok": null }));
    assert_eq!(keeper.write("a/b.txt", "short"), json!({ "ok": null }));
    assert_eq!(keeper.on("create-dir", "a/sub"), json!({ "ok": null }));
    assert_eq!(keeper.on("read-file", "a/b.txt"), json!({ "ok": "short" }));
    assert_eq!(keeper.on("read-file", "a/sub/../b.txt"), json!({ "ok": "short" }));
    assert_eq!(keeper.on("list-files", "a"), json!({ "ok": ["b.txt", "sub", "z.txt"] }));
    assert_eq!(keeper.on("list-files", "."), json!({ "ok": ["a"] }));
    assert_eq!(keeper.on("list-files", ""), json!({ "ok": ["a"] }));
    assert_eq!(keeper.on("path-exists", "a/b.txt"), json!({ "ok": true }));
    assert_eq!(keeper.on("delete-file", "a/b.txt"), json!({ "ok": null }));
    assert_eq!(keeper.on("path-exists", "a/b.txt"), json!({ "ok": false }));
    assert_eq!(keeper.on("path-exists", "a/z.txt/deeper"), json!({ "ok": false }));
    assert_eq!(keeper.on("delete-dir", "a/./"), json!({ "ok": null }));
    assert_eq!(keeper.on("list-files", "."), json!({ "ok": [] }));
    keeper.replays_without_the_directory();
}

#[test]
fn what_the_system_refuses_is_an_answer_that_names_the_path() {
    let keeper = Keeper::new();
    keeper.write("file", "x");
    for (op, path) in [
        ("read-file", "nowhere"),
        ("read-file", "."),
        ("write-file", "no-directory/file"),
        ("write-file", "."),
        ("list-files", "file"),
        ("delete-file", "nowhere"),
        ("create-dir", "file"),
        ("create-dir", "no/parent"),
        ("delete-dir", "nowhere"),
        ("delete-dir", "file"),
        ("read-file", "a\u{0}b"),
    ] {
        let why = keeper.refused(op, path);
        assert!(why.starts_with("cannot ") && why.contains(&format!("{path:?}")), "{op}: {why}");
    }
    for path in [".", "", "..", "a/..", "./."] {
        keeper.refused("delete-dir", path);
    }
    assert_eq!(keeper.on("read-file", "file"), json!({ "ok": "x" }), "nothing was lost");
}

#[test]
fn no_path_leads_out_of_the_directory() {
    let keeper = Keeper::new();
    let (outside, secret) = (keeper.stage.path().join("outside"), keeper.stage.path().join("outside/secret"));
    std::fs::create_dir(&outside).expect("a directory");
    std::fs::write(&secret, "a secret").expect("a file");
    keeper.write("own", "x");
    keeper.on("create-dir", "dir");
    symlink(&outside, keeper.inside("absolute")).expect("a link");
    symlink("../outside", keeper.inside("relative")).expect("a link");
    symlink("../../outside/secret", keeper.inside("dir/file")).expect("a link");
    symlink("/etc/passwd", keeper.inside("passwd")).expect("a link");
    symlink("../new", keeper.inside("dangling")).expect("a link");
    let secret_path = secret.to_str().expect("a path").to_owned();
    for path in [
        "..",
        "../outside/secret",
        "dir/../../outside/secret",
        "./../outside",
        "/",
        "/etc/passwd",
        &secret_path,
        "absolute/secret",
        "relative/secret",
        "relative/../outside/secret",
        "dir/../relative/secret",
    ] {
        for op in OPS {
            let why = keeper.refused(op, path);
            assert!(!why.contains("a secret"), "{op} {path:?}: {why}");
        }
    }
    // The actor may delete the link itself, but not what it points to.
    for path in ["dir/file", "passwd", "dangling"] {
        for op in ["read-file", "write-file", "list-files", "path-exists", "create-dir", "delete-dir"] {
            keeper.refused(op, path);
        }
    }
    assert_eq!(keeper.on("delete-file", "passwd"), json!({ "ok": null }));
    assert_eq!(
        keeper.on("delete-dir", "dir"),
        json!({ "ok": null }),
        "with the link in it, not with what it points to"
    );
    assert_eq!(std::fs::read_to_string(&secret).expect("still there"), "a secret");
    assert_eq!(std::fs::read_dir(&outside).expect("still there").count(), 1);
    assert!(!keeper.stage.path().join("new").exists());
    assert!(std::fs::exists("/etc/passwd").expect("it can be looked for"));
    keeper.replays_without_the_directory();
}

#[test]
fn a_link_that_stays_inside_is_followed() {
    let keeper = Keeper::new();
    keeper.write("real", "x");
    symlink("real", keeper.inside("link")).expect("a link");
    assert_eq!(keeper.on("read-file", "link"), json!({ "ok": "x" }));
}

/// A directory is replaced by a link that leads outside, and back, many times while the actor works on it.
#[test]
fn a_link_put_in_place_at_the_wrong_moment_leads_nowhere() {
    let keeper = Keeper::new();
    let outside = keeper.stage.path().join("outside");
    std::fs::create_dir(&outside).expect("a directory");
    std::fs::write(outside.join("file"), "a secret").expect("a file");
    std::fs::create_dir(keeper.inside("real")).expect("a directory");
    std::fs::write(keeper.inside("real/file"), "own").expect("a file");
    symlink("../outside", keeper.inside("link")).expect("a link");
    let (done, paths) = (AtomicBool::new(false), ["real", "link", "spot"].map(|name| keeper.inside(name)));
    let [real, link, spot] = &paths;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for hidden in [real, link] {
                    std::fs::rename(hidden, spot).expect("renamed");
                    std::fs::rename(spot, hidden).expect("renamed back");
                }
            }
        });
        let over = support::Over(&done);
        let reads: Vec<_> = (0..200).map(|_| json!({ "op": "read-file", "path": "spot/file" })).collect();
        let writes: Vec<_> =
            (0..50).map(|_| json!({ "op": "write-file", "path": "spot/new", "content": "x" })).collect();
        let answers = [reads, writes].map(|ops| keeper.ask(&json!({ "op": "many", "ops": ops })));
        drop(over);
        assert!(!answers[0].to_string().contains("a secret"), "{}", answers[0]);
    });
    assert_eq!(std::fs::read_dir(&outside).expect("still there").count(), 1, "nothing was written there");
}

#[test]
fn pipes_sockets_and_devices_are_refused_and_waited_for_by_nobody() {
    let keeper = Keeper::new();
    let pipe = keeper.inside("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let _socket = std::os::unix::net::UnixListener::bind(keeper.inside("socket")).expect("a socket");
    for path in ["pipe", "socket"] {
        for op in ["read-file", "write-file", "list-files", "delete-dir"] {
            keeper.refused(op, path);
        }
    }
    let why = keeper.refused("read-file", "pipe");
    assert!(why.ends_with("not a regular file"), "{why}");
    assert_eq!(keeper.on("list-files", "."), json!({ "ok": ["pipe", "socket"] }));
    assert_eq!(keeper.on("delete-file", "pipe"), json!({ "ok": null }));
    assert!(!pipe.exists());
}

#[test]
fn a_directory_granted_read_only_is_not_changed() {
    let keeper = Keeper::with("config = { path = \"kept\", mode = \"read-only\" }\n", "");
    std::fs::write(keeper.inside("file"), "x").expect("a file");
    std::fs::create_dir(keeper.inside("dir")).expect("a directory");
    for (op, path) in [("write-file", "new"), ("write-file", "file"), ("delete-file", "file"), ("create-dir", "new")] {
        let why = keeper.refused(op, path);
        assert!(why.contains("read-only") && why.contains("mode = \"read-write\""), "{why}");
    }
    keeper.refused("delete-dir", "dir");
    assert_eq!(keeper.on("read-file", "file"), json!({ "ok": "x" }));
    assert_eq!(keeper.on("list-files", "."), json!({ "ok": ["dir", "file"] }));
    assert!(data_of(&keeper.running.events("files"), INTENT).is_empty(), "nothing was about to be done");
    keeper.replays_without_the_directory();
}

#[test]
fn each_limit_is_named_where_it_is_met_and_what_is_refused_is_not_kept_on_the_chain() {
    let limits = "[limits]\nfile_bytes = 1000\nlist_entries = 3\nfilesystem_entries = 5\nfilesystem_bytes = 2500\n";
    let keeper = Keeper::with("config = { path = \"kept\" }\n", limits);
    let write = |path: &str, n: usize| keeper.ask(&json!({ "op": "write-bytes", "path": path, "n": n }));
    assert_eq!(write("a", 1000), json!({ "ok": 1000 }));
    assert_eq!(write("b", 1000), json!({ "ok": 1000 }));
    let why = |answer: Value| answer["err"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    assert!(why(write("c", 1001)).contains("the limit file_bytes is 1000"));
    assert!(why(write("c", 501)).contains("the limit filesystem_bytes is 2500"));
    assert_eq!(write("a", 1), json!({ "ok": 1 }));
    assert_eq!(write("c", 501), json!({ "ok": 501 }), "there is room again");
    assert_eq!(keeper.on("list-files", "."), json!({ "ok": ["a", "b", "c"] }));
    assert_eq!(keeper.on("create-dir", "d"), json!({ "ok": null }));
    assert!(keeper.refused("list-files", ".").contains("the limit list_entries, 3"));
    assert_eq!(keeper.on("create-dir", "d/e"), json!({ "ok": null }));
    assert!(keeper.refused("create-dir", "f").contains("the limit filesystem_entries is 5"));
    assert!(keeper.refused("write-file", "f").contains("the limit filesystem_entries is 5"));
    std::fs::write(keeper.inside("large"), [b'x'; 1001]).expect("a file");
    assert!(keeper.refused("read-file", "large").contains("the limit file_bytes, 1000"));
    assert!(keeper.refused("delete-dir", &"d/".repeat(65)).starts_with("cannot delete"));
    assert!(keeper.refused("create-dir", &"d/".repeat(65)).contains("more than 64 directories"));
    let long = keeper.ask(&json!({ "op": "long-path-exists", "n": 1_000_000 }));
    assert_eq!(why(long), "a path of 1000000 bytes: the longest has 4096");
    let events = keeper.running.events("files");
    let oversized: Vec<_> = data_of(&events, WRITE)
        .into_iter()
        .filter(|data| data["result"]["err"].as_str().is_some_and(|why| why.contains("file_bytes")))
        .collect();
    assert_eq!(oversized.len(), 1);
    assert_eq!(oversized[0]["params"], json!(["c", ""]));
    let on_chain = data_of(&events, "host-call ntwk:theater/filesystem.path-exists").pop().expect("it was asked");
    assert!(on_chain.to_string().len() < 5_000);
    keeper.replays_without_the_directory();
}

#[test]
fn a_change_is_recorded_as_an_intent_before_it_is_made_and_a_read_is_not() {
    let keeper = Keeper::new();
    keeper.write("a", "x");
    keeper.on("read-file", "a");
    let events = keeper.running.events("files");
    assert_eq!(data_of(&events, INTENT), [&json!({ "params": ["a", "x"] })]);
    assert_eq!(data_of(&events, WRITE), [&json!({ "answer": null, "result": { "ok": null } })]);
    assert_eq!(data_of(&events, READ).len(), 1);
}

#[test]
fn a_missing_directory_is_made_for_one_who_writes_and_named_to_one_who_only_reads() {
    let stage = Stage::new();
    let manifest = |name: &str, config: &str| {
        stage.manifest(name, "files", &format!("[[handlers]]\ntype = \"filesystem\"\nconfig = {{ {config} }}\n"))
    };
    let running = stage.run(&[&manifest("files", "path = \"new/deep\"")]);
    assert!(stage.path().join("new/deep").is_dir());
    let why =
        running.start(&manifest("reader", "path = \"missing\", mode = \"read-only\"")).expect_err("nothing there");
    assert!(why.contains("missing") && why.contains("create it"), "{why}");
    let why = running.start(&manifest("typo", "path = \"new\", mode = \"readonly\"")).expect_err("no such mode");
    assert!(why.contains("read-only"), "{why}");
    let why = running.start(&manifest("nowhere", "")).expect_err("no path");
    assert!(why.contains("path"), "{why}");
    let why = running.start(&manifest("spy", "path = \"data\", mode = \"read-only\"")).expect_err("the journal");
    assert!(why.contains("the runtime keeps its data in"), "{why}");
    let why = running.start(&manifest("all", "path = \".\"")).expect_err("the journal is below");
    assert!(why.contains("the runtime keeps its data in"), "{why}");
    let ungranted = running.start(&stage.manifest("poor", "files", "")).expect_err("it was not granted");
    assert!(
        ungranted.contains("imports \"ntwk:theater/filesystem\"") && ungranted.contains("type = \"filesystem\""),
        "{ungranted}"
    );
}

/// An actor that may write where it spawns from could grant anything to its children.
#[test]
fn nothing_is_spawned_from_where_the_actor_may_write() {
    let stage = Stage::new();
    std::fs::create_dir_all(stage.path().join("own/assets")).expect("a directory");
    let parent = |name: &str, files: &str, supervisor: &str| {
        let handlers = format!(
            "[[handlers]]\ntype = \"supervisor\"\nconfig = {{ {supervisor} }}\n\
             [[handlers]]\ntype = \"filesystem\"\nconfig = {{ {files} }}\n"
        );
        let written = stage.manifest(name, "nursery", &handlers);
        let moved = stage.path().join("own").join(format!("{name}.toml"));
        std::fs::rename(written, &moved).expect("moved");
        moved
    };
    let running = stage.run(&[]);
    for (files, supervisor) in
        [("path = \".\"", ""), ("path = \"../own\"", ""), ("path = \"assets\"", "allow = [\"assets/x\"]")]
    {
        let why = running.start(&parent("greedy", files, supervisor)).expect_err("it could write a manifest");
        assert!(why.contains("it could write itself a manifest"), "{why}");
    }
    running.start(&parent("reader", "path = \".\", mode = \"read-only\"", "")).expect("it cannot write");
    running.start(&parent("nursery", "path = \"assets\"", "")).expect("below is fine");
    let child = stage.manifest("child", "probe", "");
    let component = stage.copy_component("probe", "own");
    std::fs::rename(component, stage.path().join("own/own.wasm")).expect("moved");
    std::fs::rename(child, stage.path().join("own/assets/child.toml")).expect("moved");
    let least = |component: &str| format!("name = \"child\"\ncomponent_path = \"{component}\"\n");
    let spawn = |manifest: &str, text: &str| {
        std::fs::write(stage.path().join("own").join(manifest), text).expect("a file");
        running.request("nursery", &json!({ "op": "spawn", "manifest": manifest })).expect("an answer")
    };
    let refused = spawn("assets/child.toml", &least("../own.wasm"));
    assert!(refused["err"].as_str().is_some_and(|why| why.contains("where the actor nursery may write")), "{refused}");
    std::fs::copy(stage.path().join("own/own.wasm"), stage.path().join("own/assets/own.wasm")).expect("copied");
    let refused = spawn("child.toml", &least("assets/own.wasm"));
    assert!(refused["err"].as_str().is_some_and(|why| why.contains("where the actor nursery may write")), "{refused}");
    let spawned = spawn("child.toml", &least("own.wasm"));
    assert!(spawned["ok"].is_string(), "{spawned}");
}

#[test]
fn an_actor_that_may_write_over_its_own_manifest_is_started_and_its_operator_is_told() {
    let stage = Stage::new();
    std::fs::create_dir(stage.path().join("own")).expect("a directory");
    let running = stage.run(&[]);
    for (name, path, warned) in [("a", "assets", false), ("b", ".", true), ("c", "../own/assets/..", true)] {
        let text = format!(
            "name = {name:?}\ncomponent_path = {:?}\n[[handlers]]\ntype = \"filesystem\"\nconfig = {{ path = {path:?} }}\n",
            support::component("files")
        );
        running.start(&stage.file("own/files.toml", text)).expect("it starts");
        assert_eq!(stage.log().contains("it can grant itself anything for the next start"), warned, "{path}");
    }
}

const KEEPS: &str = "[[handlers]]\ntype = \"filesystem\"\nconfig = { path = \"kept\" }\n";

/// A stage with manifests in the directory `before`.
fn to_be_moved(manifests: &[(&str, &str, &str)]) -> Stage {
    let stage = Stage::new();
    std::fs::create_dir(stage.path().join("before")).expect("a directory");
    for (name, component_name, more) in manifests {
        let text = format!("name = {name:?}\ncomponent_path = \"{component_name}.wasm\"\n{more}");
        stage.file(&format!("before/{name}.toml"), text);
        std::fs::copy(support::component(component_name), stage.path().join(format!("before/{component_name}.wasm")))
            .expect("a copy");
    }
    stage
}

fn moves(stage: &Stage) {
    std::fs::rename(stage.path().join("before"), stage.path().join("after")).expect("moved");
}

fn write(running: &Theater, actor: &str, content: &str) {
    let written = running.request(actor, &json!({ "op": "write-file", "path": "note", "content": content }));
    assert_eq!(written, Ok(json!({ "ok": null })));
}

fn read(running: &Theater, actor: &str) -> Result<Value, String> {
    running.request(actor, &json!({ "op": "read-file", "path": "note" }))
}

#[test]
fn a_granted_directory_that_is_gone_is_not_made_anew_but_found_where_its_manifest_is_named_now() {
    for more in ["", "restart = \"permanent\"\n"] {
        let stage = to_be_moved(&[("files", "files", &format!("{more}{KEEPS}"))]);
        let running = stage.run(&[&stage.path().join("before/files.toml")]);
        write(&running, "files", "worth keeping");
        running.kill();
        moves(&stage);

        let running = stage.run(&[]);
        let failed = running.said().iter().find(|line| line.starts_with("actor       files        did not come up"));
        let failed = failed.unwrap_or_else(|| panic!("ready, as if nothing were wrong: {:?}", running.said()));
        assert!(failed.contains("the actor has lived before") && failed.contains("theater run MANIFEST"), "{failed}");
        assert!(failed.contains(stage.path().join("before/kept").to_str().expect("a path")), "{failed}");
        // The actor's own restart policy may be active too.
        eventually("a restart is refused by the same words", || {
            running.refused(&["restart", "files"]).contains("the actor has lived before").then_some(())
        });
        assert!(!stage.path().join("before").exists(), "nothing was made where it lay");
        running.shut_down();

        let running = stage.run(&[&stage.path().join("after/files.toml")]);
        assert_eq!(read(&running, "files"), Ok(json!({ "ok": "worth keeping" })));
        running.shut_down();
        // From now on the manifest counts in its new place, whether or not it is named.
        let running = stage.run(&[]);
        assert_eq!(read(&running, "files"), Ok(json!({ "ok": "worth keeping" })));
        verifies_and_replays(&running.export(&stage, "files"));
    }
}

#[test]
fn a_child_moves_along_with_the_manifest_of_its_parent() {
    let supervisor = "[[handlers]]\ntype = \"supervisor\"\n";
    let stage = to_be_moved(&[("parent", "nursery", supervisor), ("files", "files", KEEPS)]);
    let running = stage.run(&[&stage.path().join("before/parent.toml")]);
    running.request("parent", &json!({ "op": "spawn", "manifest": "files.toml" })).expect("a child");
    write(&running, "files", "of a child");
    running.shut_down();
    moves(&stage);
    let running = stage.run(&[&stage.path().join("after/parent.toml")]);
    assert_eq!(read(&running, "files"), Ok(json!({ "ok": "of a child" })));
    assert!(!stage.path().join("before").exists(), "nothing was made where it lay");
}

#[test]
fn neither_a_restart_nor_a_fork_makes_a_granted_directory_anew() {
    let stage = to_be_moved(&[("files", "files", &format!("restart = \"transient\"\n{KEEPS}"))]);
    let running = stage.run(&[&stage.path().join("before/files.toml")]);
    write(&running, "files", "worth keeping");
    let kept = stage.path().join("before/kept");
    std::fs::remove_dir_all(&kept).expect("it was there");
    let forked = running.refused(&["fork", "files", "--at", "5", "--name", "fork"]);
    assert!(forked.contains("the actor has lived before"), "{forked}");
    running.request("files", &json!("trap")).expect_err("it traps");
    eventually("it fails for good, by the words that say why", || {
        running.say(&["status", "files"]).contains("the actor has lived before").then_some(())
    });
    assert!(!kept.exists());
    std::fs::create_dir(&kept).expect("as it is meant to be");
    eventually("it is restarted, by its policy or by hand", || {
        running.cli(&["restart", "files"]);
        (running.status("files") == "running").then_some(())
    });
    write(&running, "files", "again");
}
