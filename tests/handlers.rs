//! What all handlers have in common: nobody gets one but by an operator's manifest, and the page on writing one says what
//! is compiled.

mod support;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::json;
use support::{Stage, Theater};

/// Each handler, and a component that has a use for it.
const HANDLERS: [(&str, &str, &str); 9] = [
    ("runtime", "probe", ""),
    ("message-server", "probe", ""),
    ("http-server", "probe", "config = { port = 0 }\n"),
    ("http-client", "courier", "config = { allow = [\"127.0.0.1\"] }\n"),
    ("websocket-server", "parrot", "config = { port = 0 }\n"),
    ("filesystem", "files", "config = { path = \"kept\" }\n"),
    ("clock", "chance", "[[handlers]]\ntype = \"random\"\n"),
    ("random", "chance", "[[handlers]]\ntype = \"clock\"\n"),
    ("supervisor", "nursery", "config = { allow = [\"/\"] }\n"),
];

/// A parent in `own` that may spawn from there and from `allowed`, and a child of it, `scribe`, that writes to `own/drop`.
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
        for name in ["probe", "courier", "parrot", "files", "chance", "nursery"] {
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

    /// A manifest that grants a handler, to a component that lies at `component`.
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

/// Two actors that work together are no more than each of them: what the one writes the other does not spawn.
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
    // A stranger that may write to what the parent may spawn from takes it away from it.
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

/// A block of code follows a line such as "`src/handlers/random.rs`:", and stands in that file word for word; `…` alone on
/// a line stands for lines that are left out.
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

/// A handler that is added is described, and so is every key and limit that the others have.
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
