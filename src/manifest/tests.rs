//! Tests of reading manifests, valid and invalid, and of the error messages for the invalid ones.

use super::*;

fn parse(text: &str) -> Result<Manifest, String> {
    Manifest::parse(Path::new("dir/actor.toml"), text.into(), &ActorLimits::default())
        .map_err(|error| error.to_string())
}

#[test]
fn a_manifest_for_another_name_differs_in_nothing_else() {
    let before = parse("# name = \"x\"\ncomponent_path = \"c.wasm\"\nname = 'a' # mine\nreuse = 3\n").expect("valid");
    for name in ["fork", "say \"hi\"", "a \\ b"] {
        let renamed = before.renamed(name).expect("a name");
        assert_eq!((renamed.name.as_str(), renamed.reuse), (name, 3));
        assert!(renamed.text().ends_with(" # mine\nreuse = 3\n"), "{}", renamed.text());
    }
    assert!(before.renamed("").expect_err("no name").to_string().contains("\"name\" is empty"));
}

const LEAST: &str = "name = \"counter\"\ncomponent_path = \"counter.wasm\"\n";

fn with(more: &str) -> Result<Manifest, String> {
    parse(&format!("{LEAST}{more}"))
}

#[test]
fn the_least_manifest_names_an_actor_and_its_component() {
    let manifest = parse(LEAST).expect("a manifest");
    assert_eq!(manifest.component_path, absolute(Path::new("dir/counter.wasm")));
    assert_eq!((manifest.reuse, manifest.reads, manifest.read_init_state()), (1, Reads::Commit, Ok(None)));
    assert_eq!(*manifest.limits, Limits::default());
}

#[test]
fn every_key_of_older_manifests_is_accepted() {
    let manifest = with(
        "version = \"0.1.0\"\ndescription = \"counts\"\ninit_data = \"[1]\"\n[interface]\nimplements = \"a\"\n\
         requires = [\"b\"]\n[logging]\nlevel = \"debug\"\n[event_server]\nport = 3030\n[[handlers]]\ntype = \
         \"message-server\"\nconfig = {}\n",
    )
    .expect("a manifest");
    assert_eq!(manifest.read_init_state(), Ok(Some(b"[1]".to_vec())));
    assert_eq!(manifest.warnings.len(), 2);
}

#[test]
fn an_interface_beside_a_handlers_type_is_accepted_with_a_note() {
    let manifest = with(
        "[[handlers]]\ntype = \"message-server\"\nconfig = { port = 8080 }\n\
         interface = \"ntwk:theater/message-server-client\"\n\
         [[handlers]]\ntype = \"http-server\"\ninterface = [\"a\", \"b\"]\nconfig = { port = 0 }\n",
    )
    .expect("a manifest");
    let [first, second] = &manifest.warnings[..] else { panic!("{:?}", manifest.warnings) };
    assert!(first.starts_with("line 6: \"interface\" of the handler \"message-server\" has no effect here"), "{first}");
    assert!(second.starts_with("line 9: \"interface\" of the handler \"http-server\""), "{second}");
    assert_eq!(manifest.handlers.len(), 2);
    let slip = with("[[handlers]]\ntype = \"runtime\"\ninterfaces = \"a\"\n").expect_err("a slip");
    assert!(slip.contains("did you mean \"interface\"?"), "{slip}");
}

#[test]
fn init_state_is_json_or_a_value_or_a_file() {
    let state = |text: &str| with(text).expect("a manifest").read_init_state().map_err(|error| error.to_string());
    assert_eq!(state("init_state = '{\"count\": 41}'"), Ok(Some(br#"{"count": 41}"#.to_vec())));
    assert_eq!(state("init_state = { count = 41 }"), Ok(Some(br#"{"count":41}"#.to_vec())));
    let missing = state("init_state = \"nowhere.json\"").expect_err("no such file");
    assert!(missing.starts_with("dir/actor.toml:3: \"init_state\": neither JSON nor the path"), "{missing}");
}

#[test]
fn each_mistake_is_named_with_its_line_and_a_remedy() {
    for (more, expected) in [
        ("nmae = \"x\"", "dir/actor.toml:3: unknown key \"nmae\"; did you mean \"name\"?"),
        ("reuse = \"often\"", "dir/actor.toml:3: \"reuse\": the text \"often\" stands where a whole number"),
        ("reuse = 0", "dir/actor.toml:3: \"reuse\" is 0; it counts transitions"),
        ("reuse = 1001", "dir/actor.toml:3: \"reuse\" is 1001"),
        ("memory_bytes = 1", "dir/actor.toml:3: \"memory_bytes\" is a limit: it belongs under [limits]"),
        ("[limits]\nmemory = 1", "dir/actor.toml:4: unknown key \"memory\" of [limits]"),
        ("[limits]\nmemory_bytes = -1", "dir/actor.toml:4: \"memory_bytes\" of [limits] is a whole number"),
        ("[limits]\nmemory_bytes = 99999999999", "dir/actor.toml:4: \"memory_bytes\" of [limits] is 99999999999; this"),
        ("[[handlers]]\nkind = \"x\"", "dir/actor.toml:4: unknown key \"kind\" of [[handlers]]"),
        ("[[handlers]]\n", "dir/actor.toml:3: [[handlers]] needs a \"type\""),
        ("handlers = 3", "dir/actor.toml:3: \"handlers\" is written as [[handlers]]"),
        ("reads = \"soon\"", "dir/actor.toml:3: \"reads\": \"soon\" is not one of \"commit\", \"early\""),
        ("restart = \"sometimes\"", "dir/actor.toml:3: \"restart\": \"sometimes\" is not one of \"temporary\""),
        ("x = ", "dir/actor.toml:3: "),
    ] {
        let error = with(more).expect_err(more);
        assert!(error.starts_with(expected), "{more:?} gave {error}");
    }
    let nameless = parse("component_path = \"x\"").expect_err("no name");
    assert!(nameless.contains("the key \"name\" is missing"), "{nameless}");
}

#[derive(Debug, Deserialize)]
struct Port {
    #[allow(dead_code)]
    port: Option<u16>,
}

#[test]
fn a_handlers_config_is_read_as_its_own_type_with_lines() {
    let config = |text: &str| {
        let manifest = with(text).expect("a manifest");
        manifest.handlers[0].config::<Port>(&["port"]).map_err(|error| error.to_string())
    };
    assert_eq!(config("[[handlers]]\ntype = \"x\"").expect("a config").port, None);
    assert_eq!(config("[[handlers]]\ntype = \"x\"\nconfig = { port = 80 }").expect("a config").port, Some(80));
    assert_eq!(config("[[handlers]]\ntype = \"x\"\n[handlers.config]\nport = 80").expect("a config").port, Some(80));
    let typo = config("[[handlers]]\ntype = \"x\"\nconfig = { prot = 80 }").expect_err("a typo");
    assert_eq!(typo, "dir/actor.toml:5: unknown key \"prot\" of handler \"x\"; did you mean \"port\"?");
    let range = config("[[handlers]]\ntype = \"x\"\nconfig = { port = 70000 }").expect_err("out of range");
    assert!(range.starts_with("dir/actor.toml:5: \"port\" of handler \"x\": "), "{range}");
}
