//! Dependencies and packages: few crates, each for a reason that ARCHITECTURE.md names, and nothing missing from what is
//! published.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The crates of the default build, this one among them, may be so many. Raise it for a reason that you write into
/// ARCHITECTURE.md.
const MOST_CRATES: usize = 201;
/// A library without the command line.
const MOST_CRATES_OF_THE_LIBRARY: usize = 175;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn cargo(directory: &Path, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(args).current_dir(directory).output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The crates that are compiled into the library and the program, each with its version.
fn compiled(more: &[&str]) -> BTreeSet<String> {
    let tree = [&["tree", "--locked", "--edges", "normal", "--prefix", "none"], more].concat();
    let tree = cargo(root(), &tree);
    let name_and_version = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    tree.lines().map(name_and_version).collect()
}

fn manifest() -> toml::Table {
    std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml").parse().expect("TOML")
}

/// The rows of the table in ARCHITECTURE.md: the crates of each, its feature, its reason.
fn reasons() -> Vec<(Vec<String>, String, String)> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let (_, section) = text.split_once("\n## Crates\n").expect("a section about crates");
    let section = section.split("\n## ").next().expect("a first part");
    let unquoted = |text: &str| text.replace('`', "").trim().to_owned();
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
        let [crates, feature, reason] = cells[..] else { panic!("three cells: {line}") };
        (crates.split(',').map(unquoted).collect(), unquoted(feature), unquoted(reason))
    };
    section.lines().filter(|line| line.starts_with("| `")).map(row).collect()
}

#[test]
fn the_default_build_has_few_crates() {
    let (all, library) = (compiled(&[]), compiled(&["--no-default-features"]));
    assert!(all.iter().any(|name| name.starts_with("wasmtime ")), "the tree is looked at");
    assert!(all.len() <= MOST_CRATES, "{} crates, and at most {MOST_CRATES}: {all:?}", all.len());
    assert!(library.len() <= MOST_CRATES_OF_THE_LIBRARY, "{} crates: {library:?}", library.len());
    assert!(!library.iter().any(|name| name.starts_with("clap ")), "the library has no command line");
}

#[test]
fn the_reason_for_each_dependency_is_named() {
    let manifest = manifest();
    let dependencies = manifest["dependencies"].as_table().expect("dependencies");
    let rows = reasons();
    let named: BTreeSet<&str> = rows.iter().flat_map(|(crates, ..)| crates).map(String::as_str).collect();
    let there: BTreeSet<&str> = dependencies.keys().map(String::as_str).collect();
    assert_eq!(named, there, "the table in ARCHITECTURE.md, and Cargo.toml");
    for (crates, feature, reason) in &rows {
        assert!(reason.len() > 10, "a reason for {crates:?}");
        for name in crates {
            let optional = dependencies[name].get("optional").and_then(toml::Value::as_bool).unwrap_or(false);
            let enables = |feature: &str| {
                let dep = format!("dep:{name}");
                let enabled = manifest["features"].get(feature).and_then(toml::Value::as_array);
                enabled.is_some_and(|enabled| enabled.iter().any(|it| it.as_str() == Some(&dep)))
            };
            assert_eq!(optional, !feature.is_empty(), "{name} stands behind a feature, or does not");
            assert!(!optional || enables(feature), "{name} stands behind the feature {feature}");
        }
    }
}

/// What the sources of a package include lies in it. `make package` builds it as it is packed.
#[test]
fn a_package_has_all_that_its_sources_include() {
    let packed = |directory: &Path| -> BTreeSet<String> {
        cargo(directory, &["package", "--list", "--allow-dirty", "--offline"]).lines().map(str::to_owned).collect()
    };
    let wit = std::fs::read_dir(root().join("wit")).expect("a directory");
    let wit: Vec<String> = wit.map(|it| format!("wit/{}", it.expect("a file").file_name().display())).collect();
    let library = packed(root());
    let sdk = packed(&root().join("actors/theater-actor"));
    for file in wit {
        assert!(library.contains(&file) && sdk.contains(&file), "{file}");
    }
    for file in [
        "LICENSE",
        "README.md",
        "docs/embedding.md",
        "docs/greeter.wasm",
        "src/lib.rs",
        "src/main.rs",
        "sdk/ts/index.ts",
    ] {
        assert!(library.contains(file), "{file}: {library:?}");
    }
    for file in ["sdk/rust/lib.rs", "sdk/python/theater_actor/__init__.py", "src/build/shims/full.wasm"] {
        assert!(library.contains(file), "{file}: {library:?}");
    }
    assert!(!library.iter().any(|file| file.starts_with("tests/") || file.starts_with("benches/")), "{library:?}");
}
