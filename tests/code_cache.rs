//! Tests of the code cache: a user compiles a component once, whichever command needs it, and nobody else's code is run.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::json;
use support::{Stage, THEATER, Theater, text};

/// A stage whose commands share an own code cache.
struct Cached {
    stage: Stage,
    dir: PathBuf,
}

impl Cached {
    fn new() -> Self {
        let stage = Stage::new();
        let dir = stage.path().join("cache/theater");
        Self { stage, dir }
    }

    fn run(&self, manifest: &Path) -> Theater {
        let data_dir = self.stage.data_dir();
        let launch = self.stage.command(&[manifest], &["--data-dir", data_dir.to_str().expect("a path")]);
        launch.env("THEATER_CODE_CACHE", &self.dir).launch(&self.stage).expect("it starts")
    }

    fn says(&self, args: &[&str]) -> Output {
        let mut command = Command::new(THEATER);
        command
            .args(args)
            .current_dir(self.stage.path())
            .env("THEATER_CODE_CACHE", &self.dir)
            .output()
            .expect("the binary")
    }

    fn files(&self) -> Vec<PathBuf> {
        fs::read_dir(&self.dir).map_or(Vec::new(), |files| files.map(|file| file.expect("a file").path()).collect())
    }
}

#[test]
fn every_command_uses_the_code_that_another_has_compiled() {
    let cached = Cached::new();
    let manifest = cached.stage.manifest("counter", "counter", "");
    let path = manifest.to_str().expect("a path");
    assert!(cached.says(&["check", path]).status.success());
    let files = cached.files();
    assert_eq!(files.len(), 1);
    let mode = fs::metadata(&cached.dir).expect("a directory").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    // Whoever compiles again puts another file in its place.
    let compiled = || fs::metadata(&files[0]).expect("it is still there").ino();
    let first = compiled();
    let running = cached.run(&manifest);
    running.request("counter", &json!({ "add": 1 })).expect("an answer");
    let chain = running.export(&cached.stage, "counter");
    running.shut_down();
    let data_dir = cached.stage.data_dir();
    let (chain, data_dir) = (chain.to_str().expect("a path"), data_dir.to_str().expect("a path"));
    for args in [&["replay", chain][..], &["replay", "--journal", data_dir], &["check", path]] {
        let output = cached.says(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    }
    assert_eq!((cached.files(), compiled()), (files.clone(), first));
    assert!(!cached.stage.data_dir().join("compiled").exists(), "the data directory has no cache of its own");
}

#[test]
fn what_an_older_version_left_in_the_data_directory_is_removed() {
    let cached = Cached::new();
    let old = cached.stage.data_dir().join("compiled");
    fs::create_dir(&old).expect("a directory");
    fs::write(old.join("0.cwasm"), "code").expect("a file");
    cached.run(&cached.stage.manifest("counter", "counter", "")).shut_down();
    assert!(!old.exists());
    assert!(cached.stage.log().contains("compiled code is in"), "{}", cached.stage.log());
}

#[test]
fn a_directory_that_other_users_can_write_in_is_not_used_and_said_so() {
    let cached = Cached::new();
    fs::create_dir_all(&cached.dir).expect("a directory");
    fs::set_permissions(&cached.dir, fs::Permissions::from_mode(0o777)).expect("changed");
    let running = cached.run(&cached.stage.manifest("counter", "counter", ""));
    running.request("counter", &json!({ "add": 1 })).expect("it works without");
    assert!(cached.stage.log().contains("other users can write in it"), "{}", cached.stage.log());
    assert_eq!(cached.files(), Vec::<PathBuf>::new());
}

#[test]
fn a_component_that_does_not_fit_is_refused_before_it_is_compiled() {
    let cached = Cached::new();
    let wasi = r#"(component (import "wasi:cli/stdout@0.2.0" (instance (export "get" (func)))))"#;
    let parrot = support::component("parrot");
    for (name, component, more, why) in [
        ("wasi", cached.stage.wat("wasi", wasi), "", "this runtime offers no WASI"),
        ("export", parrot, support::HTTP, "which the component does not export"),
        ("import", support::component("alarm"), "", "which the handler \"timer\" grants"),
    ] {
        let manifest = cached.stage.manifest_at(name, &component, more);
        let output = cached.says(&["check", manifest.to_str().expect("a path")]);
        assert!(text(&output.stderr).contains(why), "{name}: {}", text(&output.stderr));
        assert_eq!(cached.files(), Vec::<PathBuf>::new(), "{name}");
    }
}
