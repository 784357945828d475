//! Tests of all handlers together: an actor gets a handler only through an operator's manifest, and the page about
//! writing a handler shows the compiled code.

mod support;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use support::{Stage, Theater};

/// Each handler, with a component that uses it.
const HANDLERS: [(&str, &str, &str); 16] = [
    ("runtime", "probe", ""),
    ("message-server", "probe", ""),
    ("async-requests", "gatherer", "[[handlers]]\ntype = \"supervisor\"\n"),
    ("deferred-replies", "gatherer", "[[handlers]]\ntype = \"supervisor\"\n"),
    ("config", "configured", ""),
    ("migration", "tally", ""),
    ("http-server", "probe", "config = { port = 0 }\n"),
    ("http-client", "courier", "config = { allow = [\"127.0.0.1\"] }\n"),
    ("websocket-server", "parrot", "config = { port = 0 }\n"),
    ("filesystem", "files", "config = { path = \"kept\" }\n"),
    ("clock", "chance", "[[handlers]]\ntype = \"random\"\n"),
    ("random", "chance", "[[handlers]]\ntype = \"clock\"\n"),
    ("monitor", "sentry", "[[handlers]]\ntype = \"supervisor\"\n"),
    ("table", "scribe", ""),
    ("timer", "alarm", "config = { missed = \"make-up\" }\n"),
    ("supervisor", "nursery", "config = { allow = [\"/\"] }\n"),
];

/// A parent in `own` that may spawn from there and from `allowed`, and its child `scribe`, which writes to `own/drop`.
struct Family {
    stage: Stage,
    parent: PathBuf,
}

const OUTSIDE: &str = "lies outside the directories this actor may spawn from";

impl Family {
    fn new() -> Self {
        let stage = Stage::new();
        for directory in ["own/drop", "allowed", "elsewhere"] {
            std::fs::create_dir_all(stage.path().join(directory)).expect("a directory");
        }
        for name in [
            "probe",
            "configured",
            "courier",
            "parrot",
            "files",
            "chance",
            "alarm",
            "sentry",
            "scribe",
            "tally",
            "gatherer",
            "nursery",
        ] {
            for directory in ["own", "elsewhere"] {
                let copy = stage.path().join(directory).join(format!("{name}.wasm"));
                std::fs::copy(support::component(name), copy).expect("copied");
            }
        }
        let parent = "name = \"parent\"\ncomponent_path = \"nursery.wasm\"\n[[handlers]]\ntype = \"supervisor\"\n\
                      config = { allow = [\"../allowed\"] }\n";
        let parent = stage.file("own/parent.toml", parent);
        let scribe = "name = \"scribe\"\ncomponent_path = \"files.wasm\"\n[[handlers]]\ntype = \"filesystem\"\n\
                      config = { path = \"drop\" }\n";
        stage.file("own/scribe.toml", scribe);
        Self { stage, parent }
    }

    /// Writes a manifest that grants a handler to the component at `component`.
    fn grant(&self, at: &str, handler: &str, more: &str, component: &str) -> String {
        self.stage.file(at, grant(handler, more, &self.stage.path().join(component)));
        at.strip_prefix("own/").map_or_else(|| format!("../{at}"), str::to_owned)
    }
}

fn grant(handler: &str, more: &str, component: &Path) -> String {
    format!("name = \"child\"\ncomponent_path = {component:?}\n[[handlers]]\ntype = \"{handler}\"\n{more}")
}

fn spawn(running: &Theater, manifest: &str) -> Result<String, String> {
    let answer = running.request("parent", &json!({ "op": "spawn", "manifest": manifest })).expect("an answer");
    let text = |key: &str| answer[key].as_str().map(str::to_owned);
    text("ok").ok_or_else(|| text("err").expect("either"))
}

fn refused(running: &Theater, manifest: &str, why: &str) {
    let refused = spawn(running, manifest).expect_err(manifest);
    assert!(refused.contains(why), "{manifest}: {refused}");
}

#[test]
fn a_child_gets_each_handler_from_where_the_operator_allows_it_and_from_nowhere_else() {
    let family = Family::new();
    let running = family.stage.run(&[&family.parent]);
    for (handler, component, more) in HANDLERS {
        let own = format!("own/{component}.wasm");
        let outside = family.grant(&format!("elsewhere/{handler}.toml"), handler, more, &own);
        refused(&running, &outside, OUTSIDE);
        let absolute = family.stage.path().join("elsewhere").join(format!("{handler}.toml"));
        refused(&running, absolute.to_str().expect("a path"), OUTSIDE);
        symlink(&absolute, family.stage.path().join(format!("own/{handler}-link.toml"))).expect("a link");
        refused(&running, &format!("{handler}-link.toml"), OUTSIDE);
        let foreign = format!("elsewhere/{component}.wasm");
        let foreign = family.grant(&format!("own/{handler}-foreign.toml"), handler, more, &foreign);
        refused(&running, &foreign, OUTSIDE);
        for at in ["own", "allowed"] {
            let allowed = family.grant(&format!("{at}/{handler}.toml"), handler, more, &own);
            let child = spawn(&running, &allowed).unwrap_or_else(|why| panic!("{allowed}: {why}"));
            running.say(&["stop", &child]);
        }
    }
    let allowed = 1 + 2 * HANDLERS.len();
    assert_eq!(running.json(&["list"]).as_array().map(Vec::len), Some(allowed), "nothing else was started");
}

/// Another file may be put in place between the check of a path and the reading of its file.
#[test]
fn a_link_that_changes_while_it_is_looked_at_spawns_nothing_that_is_not_allowed() {
    let family = Family::new();
    let own = family.stage.path().join("own");
    let elsewhere = family.stage.path().join("elsewhere");
    let allowed = "name = \"allowed\"\ncomponent_path = \"probe.wasm\"\n";
    family.stage.file("own/allowed.toml", allowed);
    family.stage.file("elsewhere/outside.toml", allowed.replace("\"allowed\"", "\"outside\""));
    family.stage.file("own/by-component.toml", "name = \"component\"\ncomponent_path = \"turning.wasm\"\n");
    let by_state = "name = \"state\"\ncomponent_path = \"probe.wasm\"\ninit_state = \"turning.json\"\n";
    family.stage.file("own/by-state.toml", by_state);
    family.stage.file("own/state.json", "{\"count\":1}");
    family.stage.file("elsewhere/state.json", "{\"count\":66}");
    let running = family.stage.run(&[&family.parent]);
    let turns = [
        ("turning.toml", own.join("allowed.toml"), elsewhere.join("outside.toml")),
        // The component elsewhere would be refused for its imports if it were read.
        ("turning.wasm", own.join("probe.wasm"), elsewhere.join("courier.wasm")),
        ("turning.json", own.join("state.json"), elsewhere.join("state.json")),
    ];
    turns.iter().for_each(|(link, one, _)| symlink(one, own.join(link)).expect("a link"));
    let over = AtomicBool::new(false);
    let turn = |(link, one, other): &(&str, PathBuf, PathBuf)| {
        let new = own.join(format!("{link}.new"));
        for target in [other, one].into_iter().cycle().take_while(|_| !over.load(Ordering::Relaxed)) {
            symlink(target, &new).and_then(|()| std::fs::rename(&new, own.join(link))).expect("another link");
        }
    };
    std::thread::scope(|scope| {
        turns.iter().for_each(|turning| _ = scope.spawn(|| turn(turning)));
        let (mut started, mut refused) = (0, 0);
        for manifest in ["turning.toml", "by-component.toml", "by-state.toml"].into_iter().cycle().take(120) {
            match spawn(&running, manifest) {
                Ok(child) => {
                    started += 1;
                    assert_ne!(running.json(&["status", &child])["name"], "outside");
                    let state = running.json(&["state", &child])["state"]["count"].clone();
                    assert!(manifest != "by-state.toml" || state == 1, "{state}");
                    running.say(&["stop", &child]);
                }
                Err(why) => {
                    refused += 1;
                    assert!(why.contains(OUTSIDE), "{manifest}: {why}");
                }
            }
        }
        over.store(true, Ordering::Relaxed);
        assert!(started > 0 && refused > 0, "both were met with: {started} and {refused}");
    });
}

/// Two actors that work together can do no more than each alone: what one writes, the other cannot spawn.
#[test]
fn what_an_actor_wrote_is_spawned_by_no_other_whatever_it_would_grant() {
    let family = Family::new();
    let running = family.stage.run(&[&family.parent]);
    let scribe = spawn(&running, "scribe.toml").expect("the scribe");
    let why = "where the actor scribe may write: it could have written it itself; spawn from elsewhere";
    let write = |running: &Theater, path: &str, content: &str| {
        let command = json!({ "op": "write-file", "path": path, "content": content });
        assert_eq!(running.request("scribe", &command), Ok(json!({ "ok": null })));
    };
    for (handler, component, more) in HANDLERS {
        let component = family.stage.path().join("own").join(format!("{component}.wasm"));
        write(&running, &format!("{handler}.toml"), &grant(handler, more, &component));
        refused(&running, &format!("drop/{handler}.toml"), why);
    }
    write(&running, "state", "{\"count\": 1}");
    let with_state = "name = \"child\"\ncomponent_path = \"probe.wasm\"\ninit_state = \"drop/state\"\n";
    family.stage.file("own/with-state.toml", with_state);
    refused(&running, "with-state.toml", why);
    running.say(&["stop", &scribe]);
    refused(&running, "drop/filesystem.toml", why);
    running.kill();
    let running = family.stage.run(&[&family.parent]);
    refused(&running, "drop/filesystem.toml", why);
    // Another actor that may write to a directory removes it from those that the parent may spawn from.
    let probe = family.grant("allowed/probe.toml", "runtime", "", "own/probe.wasm");
    spawn(&running, &probe).expect("nobody may write there yet");
    let stranger = "[[handlers]]\ntype = \"filesystem\"\nconfig = { path = \"allowed\" }\n";
    running.start(&family.stage.manifest("stranger", "files", stranger)).expect("it starts");
    refused(&running, &probe, "where the actor stranger may write");
}

#[test]
fn what_a_childs_manifest_does_not_grant_is_refused_by_the_handlers_name() {
    let family = Family::new();
    let running = family.stage.run(&[&family.parent]);
    for (component, handlers) in [
        ("courier", vec!["http-client"]),
        ("files", vec!["filesystem"]),
        ("chance", vec!["clock", "random"]),
        ("alarm", vec!["timer"]),
        ("nursery", vec!["supervisor"]),
    ] {
        family.stage.file("own/poor.toml", format!("name = \"poor\"\ncomponent_path = \"{component}.wasm\"\n"));
        let why = spawn(&running, "poor.toml").expect_err("it was not granted");
        let named = handlers.iter().any(|handler| {
            why.contains(&format!("imports \"ntwk:theater/{handler}\", which the handler \"{handler}\" grants"))
        });
        assert!(named, "{component}: {why}");
    }
}

fn page(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name))
        .unwrap_or_else(|why| panic!("{name}: {why}"))
}

/// A block of code follows a line such as "`src/handlers/random.rs`:", and stands in that file word for word. A line
/// `…` stands for lines that are left out.
#[test]
fn the_code_on_the_page_about_handlers_is_the_code_that_is_compiled_and_run() {
    let text = page("docs/writing-a-handler.md");
    let mut blocks = 0;
    let mut lines = text.lines().peekable();
    let mut file = None;
    while let Some(line) = lines.next() {
        if let Some(named) = line.strip_suffix("`:").and_then(|line| line.rsplit_once('`')) {
            file = Some(named.1.to_owned());
        }
        let Some(language) = line.strip_prefix("```").filter(|language| ["rust", "wit"].contains(language)) else {
            continue;
        };
        let name = file.take().unwrap_or_else(|| panic!("a block of {language} names no file: {:?}", lines.peek()));
        let code: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let source = page(&name);
        let mut rest = source.as_str();
        for part in code.split(|line| line.trim() == "…") {
            let part = part.join("\n");
            let at = rest.find(&part).unwrap_or_else(|| panic!("not in {name}, in this order:\n{part}"));
            rest = &rest[at + part.len()..];
        }
        blocks += 1;
    }
    assert!(blocks >= 8, "the page shows code: {blocks} blocks");
}

/// A new handler must be described in the document, like all others.
#[test]
fn every_handler_has_a_section_and_a_row() {
    let text = page("docs/handlers.md");
    for (handler, ..) in HANDLERS {
        assert!(text.contains(&format!("\n## {handler}\n")), "{handler} has a section");
        assert!(text.contains(&format!("| [`{handler}`](#{handler}) |")), "{handler} has a row");
    }
    let stage = Stage::new();
    let unknown = stage.manifest("probe", "probe", "[[handlers]]\ntype = \"none\"\n");
    let why = stage.run(&[]).start(&unknown).expect_err("no such handler");
    let named = why.rsplit("the handlers are: ").next().expect("a list").trim();
    let mut known: Vec<&str> = named.split(", ").collect();
    let mut listed = HANDLERS.map(|(handler, ..)| handler);
    known.sort_unstable();
    listed.sort_unstable();
    assert_eq!(known, listed, "the tests here try each handler");
}

/// A parent whose child keeps its files in the directory of all manifests, as some applications do. `config` is the
/// parent's.
fn chat(config: &str, more: &str) -> Family {
    let family = Family::new();
    let parent = format!(
        "name = \"parent\"\ncomponent_path = \"nursery.wasm\"\n[[handlers]]\ntype = \"supervisor\"\nconfig = {{ {config} \
         }}\n{more}"
    );
    family.stage.file("own/parent.toml", parent);
    let scribe = "name = \"scribe\"\ncomponent_path = \"files.wasm\"\n[[handlers]]\ntype = \"filesystem\"\n\
                  config = { path = \".\" }\n";
    family.stage.file("own/scribe.toml", scribe);
    for name in ["room", "other"] {
        family.stage.file(&format!("own/{name}.toml"), format!("name = \"{name}\"\ncomponent_path = \"probe.wasm\"\n"));
    }
    family
}

fn write(running: &Theater, path: &str, content: &str) {
    let command = json!({ "op": "write-file", "path": path, "content": content });
    assert_eq!(running.request("scribe", &command), Ok(json!({ "ok": null })));
}

/// An operator's manifest vouches for the bytes of the files it names, so two actors that work together gain nothing by
/// it.
#[test]
fn what_the_parents_own_manifest_names_is_spawned_where_a_child_may_write_but_only_as_it_was() {
    let family = chat("children = [\"scribe.toml\", \"room.toml\"]", "");
    let running = family.stage.run(&[&family.parent]);
    for child in ["scribe.toml", "room.toml", "room.toml"] {
        spawn(&running, child).unwrap_or_else(|why| panic!("{child}: {why}"));
    }
    refused(&running, "other.toml", "where the actor scribe may write: it could have written it itself");
    refused(&running, "other.toml", "mode = \"read-only\"");
    refused(&running, "other.toml", "children = [\"child.toml\"]");
    let log = family.stage.log();
    assert!(log.contains("actor parent was refused the child") && log.contains("other.toml"), "{log}");
    let room = "name = \"room\"\ncomponent_path = \"probe.wasm\"\n";
    let grants = "[[handlers]]\ntype = \"filesystem\"\nconfig = { path = \"/srv\" }\n";
    for wrong in ["reuse = 2\n", "init_state = \"1\"\n", grants] {
        write(&running, "room.toml", &format!("{room}{wrong}"));
        refused(&running, "room.toml", "and the manifest has changed since \"children\" was read");
        write(&running, "room.toml", room);
        spawn(&running, "room.toml").expect("it is what it was");
    }
    // A changed component with the old manifest is refused too.
    let before = std::fs::read(family.stage.path().join("own/probe.wasm")).expect("a component");
    std::fs::copy(support::component("variant"), family.stage.path().join("own/probe.wasm")).expect("copied");
    refused(&running, "room.toml", "and its component has changed since");
    std::fs::write(family.stage.path().join("own/probe.wasm"), before).expect("written");
    running.kill();
    // A start without the parent's manifest vouches for nothing; a start with it vouches for the files as they are
    // then.
    let running = family.stage.run(&[]);
    refused(&running, "room.toml", "this runtime was started without the actor's manifest");
    running.kill();
    let running = family.stage.run(&[&family.parent]);
    spawn(&running, "room.toml").expect("it is named again");
    spawn(&running, "scribe.toml").expect("so is the one that writes");
}

#[test]
fn a_manifest_that_is_named_may_lie_anywhere_and_is_read_when_its_parent_is() {
    let family = chat("children = [\"../elsewhere/far.toml\"]", "");
    family.stage.file("elsewhere/far.toml", "name = \"far\"\ncomponent_path = \"probe.wasm\"\n");
    family.stage.file("elsewhere/near.toml", "name = \"near\"\ncomponent_path = \"probe.wasm\"\n");
    let running = family.stage.run(&[&family.parent]);
    spawn(&running, "../elsewhere/far.toml").expect("it is named");
    refused(&running, "../elsewhere/near.toml", OUTSIDE);
    running.kill();
    std::fs::remove_file(family.stage.path().join("elsewhere/far.toml")).expect("it was there");
    let why = family.stage.run_with(&[&family.parent], &[]).err().expect("it names what is not there");
    assert!(why.contains("parent.toml:3: \"children\": cannot find") && why.contains("far.toml"), "{why}");
}

/// An application whose front keeps files beside its manifests starts with one additional key.
#[test]
fn a_front_that_writes_where_its_manifests_lie_starts_with_one_added_key() {
    let files = |more: &str| format!("[[handlers]]\ntype = \"filesystem\"\nconfig = {{ path = \".\"{more} }}\n");
    let why = chat("", &files("")).stage;
    let why = why.run_with(&[&why.path().join("own/parent.toml")], &[]).err().expect("it could write a manifest");
    assert!(why.contains("mode = \"read-only\"") && why.contains("children = [\"child.toml\"]"), "{why}");
    for (config, more) in [("", files(", mode = \"read-only\"")), ("children = [\"room.toml\"]", files(""))] {
        let family = chat(config, &more);
        let running = family.stage.run(&[&family.parent]);
        spawn(&running, "room.toml").expect("it starts");
    }
}

#[test]
fn check_foresees_the_spawns_that_will_be_refused() {
    let checked = |family: &Family| {
        let output = support::theater(&["check", family.parent.to_str().expect("a path")], None);
        assert!(output.status.success(), "{}", support::text(&output.stderr));
        support::text(&output.stderr)
    };
    let family = chat("", "");
    family.stage.file("own/far.toml", "name = \"far\"\ncomponent_path = \"../elsewhere/probe.wasm\"\n");
    let warned = checked(&family);
    for expected in [
        "once scribe runs, a spawn of",
        "where the actor scribe may write",
        "mode = \"read-only\"",
        "far.toml will be refused",
        OUTSIDE,
    ] {
        assert!(warned.contains(expected), "{expected}: {warned}");
    }
    family.stage.file("own/slip.toml", "nmae = \"slip\"\ncomponent_path = \"probe.wasm\"\n");
    family.stage.file("own/none.toml", "[package]\nname = \"none\"\n");
    let warned = checked(&family);
    assert!(warned.contains("slip.toml will be refused: ") && warned.contains("did you mean \"name\"?"), "{warned}");
    assert!(!warned.contains("none.toml"), "{warned}");
    let named = ["far", "other", "room", "scribe"].map(|name| format!("\"{name}.toml\"")).join(", ");
    let family = chat(&format!("children = [{named}]"), "");
    family.stage.file("own/far.toml", "name = \"far\"\ncomponent_path = \"../elsewhere/probe.wasm\"\n");
    assert!(!checked(&family).contains("refused"), "all of them are named");
}
