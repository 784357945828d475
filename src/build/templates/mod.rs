//! `theater new`: projects from templates. The templates are parts of the program, so nothing is downloaded.

mod contents;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::{BuildError, at};
use super::project::{Language, Project};
use super::{sdk, world};

/// What a new actor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Template {
    /// Answers HTTP requests and messages.
    Http,
    /// Does jobs one after the other.
    Worker,
    /// Starts workers, and gives them work.
    Supervisor,
    /// A chat room over WebSocket.
    Chat,
    /// Takes messages.
    Empty,
}

/// The language of a new project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Rust,
    TypeScript,
    JavaScript,
    Python,
}

impl Dialect {
    const fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::TypeScript => "TypeScript",
            Self::JavaScript => "JavaScript",
            Self::Python => "Python",
        }
    }

    const fn language(self) -> Language {
        match self {
            Self::Rust => Language::Rust,
            Self::TypeScript | Self::JavaScript => Language::JavaScript,
            Self::Python => Language::Python,
        }
    }

    const fn entry(self) -> &'static str {
        match self {
            Self::Rust => "src/lib.rs",
            Self::TypeScript => "src/main.ts",
            Self::JavaScript => "src/main.js",
            Self::Python => "src/main.py",
        }
    }
}

macro_rules! library {
    ($($file:literal),* $(,)?) => {
        /// The library for actors in Rust: a project has a copy of it.
        const RUST_LIBRARY: &[(&str, &str)] = &[$(($file, include_str!(concat!("../../../sdk/rust/", $file)))),*];
    };
}

library! {
    "actor.rs", "bindings.rs", "export.rs", "heap.rs", "host.rs", "http.rs", "json.rs", "lib.rs",
    "native.rs", "router.rs", "sse.rs", "static_files/conditions.rs", "static_files/date.rs", "static_files/mod.rs",
    "testing.rs", "websocket.rs",
}

/// A project that is to be made.
pub(crate) struct NewProject<'a> {
    /// The name of the actor.
    pub(crate) name: &'a str,
    /// Where to make it: a directory that does not exist, or is empty.
    pub(crate) directory: &'a Path,
    pub(crate) dialect: Dialect,
    pub(crate) template: Template,
}

/// Names that are another's: the manifest would be Python's project file, or the package that of the library or of a language.
const TAKEN_NAMES: [&str; 7] = ["alloc", "core", "proc-macro", "pyproject", "std", "test", "theater-actor"];

/// The longest name of a new project.
const LONGEST_NAME: usize = 64;

/// Makes a project, and returns the paths of its files. Nothing that exists is overwritten.
pub(crate) fn create(new: &NewProject<'_>) -> Result<Vec<PathBuf>, BuildError> {
    let refused = |why: String| Err(BuildError::Project(new.directory.to_owned(), why));
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let starts_well = !TAKEN_NAMES.contains(&new.name)
        && new.name.starts_with(|c: char| c.is_ascii_lowercase())
        && !new.name.ends_with('-');
    if !starts_well || !new.name.chars().all(is_plain) || new.name.len() > LONGEST_NAME {
        return refused(format!(
            "\"{}\" is no name for a project: use small letters, digits and hyphens, a letter first, at most {LONGEST_NAME}, and no \
             name that is taken, such as test or std",
            new.name
        ));
    }
    let holds_something = match fs::read_dir(new.directory) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(at(new.directory)(error)),
    };
    if holds_something {
        return refused("the directory is there already, and not empty: name another one with --dir".into());
    }
    let mut files = Vec::new();
    for (name, text) in files_of(new) {
        let path = new.directory.join(&name);
        let parent = path.parent().unwrap_or(new.directory);
        fs::create_dir_all(parent).map_err(at(parent))?;
        fs::write(&path, text).map_err(at(&path))?;
        files.push(path);
    }
    let mut roots = vec![new.directory.to_owned()];
    if new.template == Template::Supervisor {
        roots.push(new.directory.join("worker"));
    }
    for root in roots {
        sdk::write(&Project::at(root, new.dialect.language()))?;
    }
    Ok(files)
}

/// The files of a new project, below its directory.
fn files_of(new: &NewProject<'_>) -> Vec<(String, String)> {
    let (dialect, template) = (new.dialect, new.template);
    let filled = |text: &str, name: &str| {
        let text = text.replace("ATTEMPTS", template.attempts()).replace("EXPECTATIONS", template.expectations());
        text.replace("NAME", name).replace("ENTRY", dialect.entry()).replace("LANGUAGE", dialect.name())
    };
    let own = |path: &str, text: &str| (path.to_owned(), filled(text, new.name));
    let as_it_is = |path: String, text: &str| (path, text.to_owned());
    let mut files = vec![
        own(&format!("{}.toml", new.name), template.manifest()),
        own(dialect.entry(), dialect.code(template)),
        own("README.md", include_str!("README.md.txt")),
        own("test.sh", include_str!("test.sh.txt")),
        own(".gitignore", IGNORED),
    ];
    files.extend(dialect.project_files().iter().map(|(path, text)| own(path, text)));
    files.push(own(&format!("tests/{}.toml", new.name), template.scripted_tests()));
    if let Some((path, text)) = dialect.own_tests(template) {
        files.push(own(path, text));
        for (_, text) in files.iter_mut().filter(|(path, _)| path == "package.json") {
            *text = text.replace("  \"theater\": {", &format!("{NPM_TEST}  \"theater\": {{"));
        }
    }
    files.extend(dialect.page(template).map(|(path, text)| (path.to_owned(), filled(&text, new.name))));
    if template == Template::Supervisor {
        let of_worker = |path: &str, text: &str| (format!("worker/{path}"), filled(text, "worker"));
        files.push(of_worker("worker.toml", include_str!("manifest-of-worker.toml.txt")));
        files.push(of_worker(dialect.entry(), dialect.pooled()));
        files.push(of_worker(".gitignore", IGNORED));
        let shared = |text: &str| text.replace("path = \"theater-actor\"", "path = \"../theater-actor\"");
        files.extend(dialect.project_files().iter().map(|(path, text)| of_worker(path, &shared(text))));
    }
    if dialect == Dialect::Rust {
        files.push(as_it_is("theater-actor/Cargo.toml".into(), include_str!("theater-actor.toml.txt")));
        let library = RUST_LIBRARY.iter().map(|(name, text)| as_it_is(format!("theater-actor/src/{name}"), text));
        files.extend(library);
        files.extend(world::all_files().map(|(name, text)| as_it_is(format!("theater-actor/wit/{name}"), text)));
    }
    files
}

/// What `npm test` runs.
const NPM_TEST: &str = "  \"scripts\": {\n    \"test\": \"node --import ./.theater/sdk/ts/testing/register.mjs --test tests/*.test.*\"\n  },\n";

/// What version control leaves out.
const IGNORED: &str = "/.theater\n/dist\n/node_modules\n/target\n/.venv\n/theater-data\n__pycache__\n";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const DIALECTS: [Dialect; 4] = [Dialect::Rust, Dialect::TypeScript, Dialect::JavaScript, Dialect::Python];

    fn new(name: &str, directory: &Path, dialect: Dialect) -> Result<Vec<PathBuf>, BuildError> {
        create(&NewProject { name, directory, dialect, template: Template::Http })
    }

    #[test]
    fn a_template_has_no_word_left_that_stands_for_another() {
        for dialect in DIALECTS {
            for template in Template::ALL {
                let new = NewProject { name: "till", directory: Path::new("till"), dialect, template };
                for (name, text) in files_of(&new).iter().filter(|(name, _)| !name.starts_with("theater-actor/")) {
                    let left = ["NAME", "ENTRY", "ATTEMPTS", "EXPECTATIONS", "LANGUAGE"];
                    assert!(!left.iter().any(|word| text.contains(word)), "{name}: {text}");
                }
            }
        }
    }

    #[test]
    fn a_name_that_is_no_name_is_refused_and_makes_nothing() {
        let place = tempfile::tempdir().expect("a directory");
        let long = "a".repeat(LONGEST_NAME + 1);
        for name in ["", "-a", "a-", "A", "a b", "../a", "1a", "ä", "pyproject", "theater-actor", "test", &long] {
            let directory = place.path().join("new");
            let why = new(name, &directory, Dialect::Python).expect_err("refused").to_string();
            assert!(why.contains("no name for a project"), "{why}");
            assert!(!directory.exists());
        }
    }

    #[test]
    fn a_directory_that_holds_something_is_left_alone() {
        let place = tempfile::tempdir().expect("a directory");
        fs::write(place.path().join("mine"), "mine").expect("written");
        let why = new("till", place.path(), Dialect::Rust).expect_err("refused").to_string();
        assert!(why.contains("not empty"), "{why}");
        assert_eq!(fs::read_dir(place.path()).expect("a directory").count(), 1);
        fs::remove_file(place.path().join("mine")).expect("removed");
        new("till", place.path(), Dialect::Rust).expect("made in an empty directory");
    }

    #[test]
    fn the_copy_of_the_rust_library_is_whole() {
        let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("actors/theater-actor/src");
        let files = |within: &Path| -> Vec<PathBuf> {
            fs::read_dir(within).expect("a directory").map(|it| it.expect("a file").path()).collect()
        };
        let all = files(&library).into_iter().flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] });
        let name = |path: PathBuf| path.strip_prefix(&library).expect("below it").display().to_string();
        let there: BTreeSet<String> = all.map(name).collect();
        let here: BTreeSet<String> = RUST_LIBRARY.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(
            here, there,
            "the files that src/build/templates/mod.rs lists, and those of actors/theater-actor/src"
        );
    }
}
