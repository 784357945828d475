//! Precedence, origins, and what a wrong file is told.

use super::*;

fn load(
    text: &str,
    flags: &[(&'static str, Option<String>)],
    environment: &[(&str, &str)],
) -> Result<Settings, String> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(FILE_NAME);
    std::fs::write(&path, text).expect("a file");
    let environment = |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into());
    let sources = Sources { file: Some(&path), flags, environment: &environment };
    Settings::load(&sources).map_err(|error| error.to_string().replace(&format!("{}/", dir.path().display()), ""))
}

fn origin(settings: &Settings, key: &str) -> String {
    let origin = settings.get(key).origin.to_string();
    origin.rsplit('/').next().unwrap_or_default().to_owned()
}

#[test]
fn flags_go_over_the_environment_over_the_file_over_defaults() {
    let text = "durability = \"relaxed\"\ndata_dir = \"a\"\n[management]\nlisten = \"127.0.0.1:1\"\n";
    let flags = [("management.listen", Some("127.0.0.1:3".to_owned())), ("data_dir", None)];
    let environment = [("THEATER_LISTEN", "127.0.0.1:2"), ("THEATER_DATA_DIR", "b")];
    let settings = load(text, &flags, &environment).expect("settings");
    assert_eq!(settings.server().expect("a server").listen, "127.0.0.1:3".parse().ok());
    assert_eq!((settings.data_dir(), settings.durability()), ("b".into(), Durability::Relaxed));
    let origins = ["management.listen", "data_dir", "durability", "logging.filter"].map(|key| origin(&settings, key));
    assert_eq!(origins, ["flag --listen", "environment variable THEATER_DATA_DIR", "theater.toml:1", "default"]);
}

#[test]
fn what_is_wrong_with_a_file_is_named_by_its_line() {
    for (text, expected) in [
        ("durabilty = \"commit\"", "theater.toml:1: unknown key \"durabilty\"; did you mean \"durability\"?"),
        ("[managment]\n", "theater.toml:1: unknown key \"managment\"; did you mean \"management\"?"),
        ("[management]\nlisten = 9000", "theater.toml:2: \"management.listen\" is text, in quotes; it is a integer"),
        (
            "\n[management]\n\nlistn = \"x\"",
            "theater.toml:4: unknown key \"listn\" of [management]; did you mean \"listen\"?",
        ),
        ("listen = \"x\"", "theater.toml:1: \"listen\" belongs under [management]"),
        ("[management]\ndata_dir = \"x\"", "theater.toml:2: \"data_dir\" stands before all sections"),
        ("management = 1", "theater.toml:1: \"management\" is a section: [management]"),
        (
            "[limits]\nmanagement_connections = 0",
            "theater.toml:2: \"limits.management_connections\" is a whole number from 1",
        ),
        (
            "[limits]\nmanagement_connections = \"x\"",
            "theater.toml:2: \"limits.management_connections\" is a whole number",
        ),
        ("durability = \"maybe\"", "theater.toml:1: \"durability\" is \"commit\" or \"relaxed\"; it is \"maybe\""),
        ("[management]\nlisten = \"here\"", "theater.toml:2: \"management.listen\" is an address with a port"),
        (
            "[management]\ntoken = \"0123456789abcdef\"",
            "theater.toml:2: \"management.token\" does not belong in a file",
        ),
        ("a = 1\na = 2", "theater.toml:2: the key \"a\" stands there twice"),
    ] {
        let why = load(text, &[], &[]).expect_err(text);
        assert!(why.starts_with(expected), "{text}: {why}");
    }
}

#[test]
fn what_is_wrong_elsewhere_is_named_by_where_it_came_from() {
    let why = load("", &[], &[("THEATER_LISTEN", "nowhere")]).expect_err("no address");
    assert!(why.starts_with("environment variable THEATER_LISTEN: \"management.listen\" is an address"), "{why}");
    let why = load("", &[("durability", Some("x".into()))], &[]).expect_err("no word for it");
    assert!(why.starts_with("flag --durability: "), "{why}");
}

#[test]
fn an_empty_value_counts_as_not_given_wherever_it_stands_and_whatever_the_setting() {
    let mut file = String::new();
    let mut section = "";
    for setting in SETTINGS.iter().filter(|setting| setting.kind != Kind::Secret) {
        let (of, name) = setting.key.split_once('.').unwrap_or(("", setting.key));
        if of != section {
            section = of;
            file += &format!("[{of}]\n");
        }
        file += &format!("{name} = \"\"\n");
    }
    let flags: Vec<_> = SETTINGS.iter().map(|setting| (setting.key, Some(String::new()))).collect();
    let names = SETTINGS.iter().flat_map(|setting| setting.environment.iter().map(|name| (*name, "")));
    let environment: Vec<_> = names.collect();
    let (empty, untouched) = (load(&file, &flags, &environment), load("", &[], &[]).expect("settings"));
    let empty = empty.expect("settings");
    for (of_empty, default) in empty.all().iter().zip(untouched.all()) {
        let key = of_empty.setting.key;
        assert_eq!((&of_empty.value, &of_empty.origin), (&default.value, &Origin::Default), "{key}");
    }
    let text = "[management]\nsocket = \"/run/x\"\n[retention]\nkeep_days = 3\n";
    let settings = load(text, &flags, &environment).expect("settings");
    let origins = ["management.socket", "retention.keep_days"].map(|key| origin(&settings, key));
    assert_eq!(origins, ["theater.toml:2", "theater.toml:4"], "the next place decides");
}

#[test]
fn off_takes_away_what_a_later_place_gives_where_a_setting_may_be_none() {
    let text = "[management]\nsocket = \"/run/x\"\n[metrics]\nlisten = \"127.0.0.1:1\"\n[retention]\nkeep_days = 3\n";
    let environment =
        [("THEATER_SOCKET", "off"), ("THEATER_METRICS_LISTEN", "off"), ("THEATER_RETENTION_KEEP_DAYS", "off")];
    let settings = load(text, &[("management.listen", Some("off".into()))], &environment).expect("settings");
    let server = settings.server().expect("a server");
    assert_eq!((server.listen, server.socket, settings.metrics()), (None, None, None));
    assert!(!settings.retention().expect("retention").drops_by_itself());
    assert_eq!(origin(&settings, "retention.keep_days"), "environment variable THEATER_RETENTION_KEEP_DAYS");
    for setting in SETTINGS.iter().filter(|setting| matches!(setting.kind, Kind::Number { .. } | Kind::Durability)) {
        for name in setting.environment {
            let given = load("", &[], &[(name, "off")]);
            assert_eq!(given.is_ok(), setting.default.is_none(), "{}", setting.key);
        }
    }
    let in_the_file = load("[retention]\nkeep_days = \"off\"\n", &[], &[]).expect("settings");
    assert!(!in_the_file.retention().expect("retention").drops_by_itself());
    let why = load("[limits]\nhttp_exchanges = \"off\"\n", &[], &[]).expect_err("it has to have a value");
    assert!(why.starts_with("theater.toml:2: \"limits.http_exchanges\" is a whole number from 0 to 65536"), "{why}");
}

#[test]
fn a_variable_that_is_no_text_is_refused_by_its_name() {
    use std::os::unix::ffi::OsStringExt as _;
    let environment = |name: &str| (name == "THEATER_SOCKET").then(|| OsString::from_vec(vec![b'x', 0xff]));
    let why = Settings::load(&Sources { file: None, flags: &[], environment: &environment }).expect_err("no text");
    let why = why.to_string();
    assert_eq!(why, "environment variable THEATER_SOCKET: \"management.socket\" is text in UTF-8, and this is not");
}

#[test]
fn a_path_of_the_file_is_meant_from_where_the_file_lies() {
    let settings = load("data_dir = \"data\"\n[management]\nsocket = \"/run/x\"", &[], &[]).expect("settings");
    assert!(settings.data_dir().is_absolute() && settings.data_dir().ends_with("data"), "{:?}", settings.data_dir());
    assert_eq!(settings.server().expect("a server").socket, Some("/run/x".into()));
}

#[test]
fn a_token_of_the_environment_goes_over_one_of_the_file_and_below_one_of_a_flag() {
    let secret = "0123456789abcdef";
    let environment = [("THEATER_TOKEN", secret)];
    let text = "[management]\ntoken_file = \"nowhere\"";
    let settings = load(text, &[], &environment).expect("settings");
    assert!(settings.server().expect("a server").control_token == Token::new(secret).ok());
    assert_eq!(settings.client(None).expect("a client").token.as_deref(), Some(secret));
    let flags = [("management.token_file", Some("nowhere".to_owned()))];
    let why = load("", &flags, &environment).expect("settings").server().expect_err("no such file").to_string();
    assert!(why.contains("nowhere") && !why.contains(secret), "{why}");
    let why = load("", &[], &[("THEATER_TOKEN", "short")]).expect("settings").server().expect_err("it is short");
    assert!(why.to_string().contains("THEATER_TOKEN") && !why.to_string().contains("short\""), "{why}");
}

#[test]
fn a_client_finds_the_runtime_of_its_configuration() {
    for (text, expected) in [
        ("", "127.0.0.1:9000"),
        ("[management]\nlisten = \"0.0.0.0:9001\"", "127.0.0.1:9001"),
        ("[management]\nlisten = \"off\"\nsocket = \"/run/x\"", "unix:/run/x"),
        ("[management]\ntls_certificate = \"/c\"\ntls_key = \"/k\"", "tls:localhost:9000"),
    ] {
        let settings = load(text, &[], &[]).expect("settings");
        assert_eq!(settings.client(None).expect("a client").endpoint.to_string(), expected, "{text}");
        let given: Endpoint = "tls:elsewhere:1".parse().expect("an endpoint");
        assert_eq!(settings.client(Some(given.clone())).expect("a client").endpoint, given);
    }
}

#[test]
fn a_default_of_actors_goes_over_the_built_in_one_and_follows_a_lowered_ceiling() {
    let text = "[actor_limits]\nmessage_bytes = 1000\n[actor_ceilings]\nmemory_bytes = 65536\nchildren = 99999\n";
    let settings = load(text, &[], &[]).expect("settings");
    let limits = settings.actor_limits();
    assert_eq!((limits.defaults().message_bytes, limits.defaults().memory_bytes), (1_000, 65_536));
    assert!(limits.check("memory_bytes", 65_536).is_ok() && limits.check("memory_bytes", 65_537).is_err());
    assert!(limits.check("children", 99_999).is_ok());
    let keys = ["actor_limits.message_bytes", "actor_limits.memory_bytes", "actor_limits.children"];
    assert_eq!(keys.map(|key| origin(&settings, key)), ["theater.toml:2", "theater.toml:4", "default"]);
    let untouched = load("", &[], &[]).expect("settings").actor_limits();
    assert_eq!(untouched, crate::base::limits::ActorLimits::default());
}

#[test]
fn a_secret_is_named_by_its_source_and_a_value_in_its_place_is_refused_without_being_quoted() {
    let text = "[secrets]\nkey = { file = \"key\" }\nother = { environment = \"OTHER\" }\n\
                [secrets.third]\ncommand = [\"./vault\", \"read\"]\ntimeout_ms = 1_000\nkeep_ms = 0\n\
                [secrets.fourth]\ncommand = [\"vault\"]\n";
    let settings = load(text, &[], &[]).expect("settings");
    let shown: Vec<_> = settings.named_secrets().iter().map(|named| (&*named.name, named.source.to_string())).collect();
    let [file, variable, command, plain] = &shown[..] else { panic!("four: {shown:?}") };
    assert!(file.0 == "key" && file.1.starts_with("file /") && file.1.ends_with("/key"), "{file:?}");
    assert_eq!(*variable, ("other", "environment variable OTHER".to_owned()));
    assert!(command.0 == "third" && command.1.starts_with("command /") && command.1.ends_with("/./vault …"));
    assert_eq!(*plain, ("fourth", "command vault".to_owned()), "it is looked for in PATH");
    assert!(settings.named_secrets()[2].origin.to_string().ends_with("theater.toml:4"));
    settings.secrets().knows("third").expect("it is known");

    for (secret, expected) in [
        ("key = \"hunter2\"", "the secret \"key\" names the source of its value, and never holds the value"),
        ("key = { value = \"hunter2\" }", "unknown key \"value\" of the secret \"key\"; the keys here are: file,"),
        ("key = {}", "the secret \"key\": it has one source: \"file\", \"environment\" or \"command\""),
        ("key = { file = \"f\", environment = \"E\" }", "the secret \"key\": it has one source"),
        ("key = { file = 1 }", "the secret \"key\": its \"file\" is text, in quotes"),
        ("key = { file = \"\" }", "the secret \"key\": its \"file\" is empty"),
        ("key = { file = \"f\", keep_ms = 1 }", "the secret \"key\": \"timeout_ms\" and \"keep_ms\" are of a command"),
        ("key = { environment = \"A=hunter2\" }", "the secret \"key\": its \"environment\" is not the name"),
        ("key = { command = \"hunter2\" }", "the secret \"key\": its \"command\" is a list of texts"),
        ("key = { command = [] }", "the secret \"key\": its \"command\" is empty"),
        ("key = { command = [\"c\"], timeout_ms = 0 }", "the secret \"key\": its \"timeout_ms\" is from 1 to 30000"),
        ("key = { command = [\"c\"], keep_ms = -1 }", "the secret \"key\": its \"keep_ms\" is a whole number"),
        ("\"a b\" = { file = \"f\" }", "\"a b\" cannot be the name of a secret"),
    ] {
        let why = load(&format!("[secrets]\n{secret}"), &[], &[]).expect_err(secret);
        assert!(why.starts_with(&format!("theater.toml:2: {expected}")) && !why.contains("hunter2"), "{secret}: {why}");
    }
    let why = load("secrets = \"hunter2\"", &[], &[]).expect_err("it is a section");
    assert_eq!(why, "theater.toml:1: \"secrets\" is a section: [secrets]");
}

#[test]
fn what_cannot_be_of_actors_limits_is_refused_by_its_line() {
    for (text, expected) in [
        (
            "[actor_limits]\nmemory_bytes = 2147483648",
            "theater.toml:2: \"actor_limits.memory_bytes\" is 2147483648, but no actor may have more than 1073741824: \
             lower it, or raise \"memory_bytes\" of [actor_ceilings]",
        ),
        (
            "[actor_limits]\nmessage_bytes = 20\n[actor_ceilings]\nmessage_bytes = 10",
            "theater.toml:2: \"actor_limits.message_bytes\" is 20, but no actor may have more than 10",
        ),
        (
            "[actor_ceilings]\nhttp_connections = 0",
            "theater.toml:2: \"actor_ceilings.http_connections\" is a whole number from 1 to 1048576; it is \"0\"",
        ),
        (
            "[actor_ceilings]\nstop_grace_ms = 9223372036854775807",
            "theater.toml:2: \"actor_ceilings.stop_grace_ms\" is a whole number from 0 to 2592000000",
        ),
        (
            "[actor_ceilings]\nmemory_byte = 1",
            "theater.toml:2: unknown key \"memory_byte\" of [actor_ceilings]; did you mean \"memory_bytes\"?",
        ),
        ("[actor_limit]\n", "theater.toml:1: unknown key \"actor_limit\"; did you mean \"actor_limits\"?"),
        ("[limits]\nmemory_bytes = 1", "theater.toml:2: \"memory_bytes\" belongs under [actor_limits]"),
        ("memory_bytes = 1", "theater.toml:1: \"memory_bytes\" belongs under [actor_limits]"),
    ] {
        let why = load(text, &[], &[]).expect_err(text);
        assert!(why.starts_with(expected), "{text}: {why}");
    }
}

#[test]
fn the_documentation_has_every_setting_with_its_variables_and_its_flag() {
    let document = include_str!("../../docs/configuration.md");
    for setting in SETTINGS.iter() {
        let of_actors = setting.key.split_once('.').filter(|(section, _)| section.starts_with("actor_"));
        let key = of_actors.map_or(setting.key.to_owned(), |(section, _)| format!("{section}.LIMIT"));
        // A secret has no key in the file: its row has the name of its environment variable.
        let first = match (setting.kind, setting.environment) {
            (Kind::Secret, [name, ..]) => format!("| | `{name}` |"),
            (_, _) => format!("| `{key}` |"),
        };
        let row = document.lines().find(|line| line.starts_with(&first));
        let row = row.unwrap_or_else(|| panic!("docs/configuration.md lacks {key}"));
        for name in setting.environment.iter().copied().chain(setting.flag) {
            assert!(row.contains(&format!("`{name}`")), "{key} lacks {name}: {row}");
        }
    }
}

#[test]
fn the_documentation_has_the_default_and_the_bounds_of_every_number_of_the_runtime() {
    let document = include_str!("../../docs/configuration.md").replace(',', "");
    for setting in SETTINGS.iter().filter(|setting| setting.key.starts_with("limits.")) {
        let Kind::Number { least, most } = setting.kind else { continue };
        let row = document.lines().find(|line| line.starts_with(&format!("| `{}` |", setting.key))).expect("a row");
        let default = setting.default.as_deref().expect("a number has one");
        assert!(row.contains(&format!("| {default} |")) && row.contains(&format!("{least} to {most} |")), "{row}");
    }
}
