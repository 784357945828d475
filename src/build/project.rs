//! The project that a manifest belongs to: its directory, its language, its settings.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::{BuildError, at};
use crate::manifest::Manifest;

/// The language of a project. TypeScript is built as JavaScript is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Rust,
    JavaScript,
    Python,
}

impl Language {
    const ALL: [Self; 3] = [Self::Rust, Self::JavaScript, Self::Python];

    /// The file by which a project of the language is known.
    const fn project_file(self) -> &'static str {
        match self {
            Self::Rust => "Cargo.toml",
            Self::JavaScript => "package.json",
            Self::Python => "pyproject.toml",
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::JavaScript => "JavaScript",
            Self::Python => "Python",
        }
    }
}

/// A project: the directory with the project file.
#[derive(Debug)]
pub(super) struct Project {
    pub(super) root: PathBuf,
    pub(super) language: Language,
    /// The file or module that defines the actor, if the project file names one.
    entry: Option<String>,
}

#[derive(Default, Deserialize)]
struct Settings {
    entry: Option<Entry>,
}

/// The entry that a project file names: one, or one for each actor by the name in its manifest.
#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    One(String),
    ByActor(BTreeMap<String, String>),
}

impl Project {
    /// The project of a manifest: the nearest directory, from that of the manifest upwards, that has a project file.
    pub(super) fn of(manifest: &Manifest) -> Result<Self, BuildError> {
        let path = manifest.path();
        let from = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let from = fs::canonicalize(from).map_err(at(from))?;
        let found = from.ancestors().find_map(|directory| {
            let there = |language: &Language| directory.join(language.project_file()).is_file();
            let languages: Vec<_> = Language::ALL.into_iter().filter(there).collect();
            (!languages.is_empty()).then_some((directory, languages))
        });
        let Some((root, languages)) = found else {
            let why = "no Cargo.toml, package.json or pyproject.toml beside the manifest or above it: one of them says \
                       in which language the actor is written. `theater new` makes a project";
            return Err(BuildError::Project(path, why.into()));
        };
        let [language] = languages[..] else {
            let files: Vec<_> = languages.iter().map(|language| language.project_file()).collect();
            let why = format!("{} are both here: put each project into a directory of its own", files.join(" and "));
            return Err(BuildError::Project(root.to_owned(), why));
        };
        let file = root.join(language.project_file());
        let entry = match settings(&file, language)?.entry {
            Some(Entry::ByActor(entries)) => Some(entries.get(&manifest.name).cloned().ok_or_else(|| {
                let named: Vec<_> = entries.keys().map(String::as_str).collect();
                let why = format!("it has no entry for the actor \"{}\", only for {}", manifest.name, named.join(", "));
                BuildError::Project(file, why)
            })?),
            Some(Entry::One(entry)) => Some(entry),
            None => None,
        };
        Ok(Self { root: root.to_owned(), language, entry })
    }

    /// A project that was just made.
    pub(super) fn at(root: PathBuf, language: Language) -> Self {
        Self { root, language, entry: None }
    }

    /// What builds write for themselves: nobody edits it, and version control ignores it.
    pub(super) fn scratch(&self) -> PathBuf {
        self.root.join(".theater")
    }

    /// The entry that the project file names, or the first of `usual` that exists.
    pub(super) fn entry(&self, usual: &[&str]) -> Result<String, BuildError> {
        let file = self.language.project_file();
        if let Some(entry) = &self.entry {
            return Ok(entry.clone());
        }
        let there = usual.iter().find(|entry| self.root.join(entry).is_file());
        there.map(|entry| (*entry).to_owned()).ok_or_else(|| {
            let why =
                format!("there is none of {}: create one, or name the file of the actor in {file}", usual.join(", "));
            BuildError::Project(self.root.clone(), why)
        })
    }
}

/// The settings for Theater: the key `theater` of package.json, the table `tool.theater` of pyproject.toml.
fn settings(path: &Path, language: Language) -> Result<Settings, BuildError> {
    let wrong = |why: String| BuildError::Project(path.to_owned(), why);
    let text = fs::read_to_string(path).map_err(at(path))?;
    match language {
        Language::Rust => Ok(Settings::default()),
        Language::JavaScript => {
            let package: serde_json::Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
            let settings = package.get("theater").cloned();
            let settings = settings.map(serde_json::from_value).transpose();
            Ok(settings.map_err(|error| wrong(format!("the key \"theater\": {error}")))?.unwrap_or_default())
        }
        Language::Python => {
            let mut file: toml::Table = text.parse().map_err(|error: toml::de::Error| wrong(error.to_string()))?;
            let tool = file.remove("tool").and_then(|mut tool| tool.as_table_mut()?.remove("theater"));
            let settings = tool.map(toml::Value::try_into).transpose();
            Ok(settings.map_err(|error| wrong(format!("the table [tool.theater]: {error}")))?.unwrap_or_default())
        }
    }
}

/// The manifests that a build of `path` builds: those that it stands for, and of a directory also those of the projects directly
/// below it, such as the actors that this one spawns.
pub(crate) fn manifests_to_build(path: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let mut found = manifests_of(path)?;
    if path.is_dir() {
        let mut below = Vec::new();
        for entry in fs::read_dir(path).map_err(at(path))? {
            let directory = entry.map_err(at(path))?.path();
            let is_project = Language::ALL.iter().any(|language| directory.join(language.project_file()).is_file());
            if is_project {
                // A library beside the actor has no manifest.
                below.extend(manifests_of(&directory).unwrap_or_default());
            }
        }
        below.sort_unstable();
        found.splice(0..0, below);
    }
    Ok(found)
}

/// The manifests that `path` stands for: itself if it is a file, otherwise all manifests in this directory.
fn manifests_of(path: &Path) -> Result<Vec<PathBuf>, BuildError> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(at(path))? {
        let file = entry.map_err(at(path))?.path();
        // A test may write one for itself, with a dot before its name.
        let is_hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_manifest = |text: &String| text.parse::<toml::Table>().is_ok_and(|it| it.contains_key("component_path"));
        if !is_hidden
            && file.extension().is_some_and(|it| it == "toml")
            && fs::read_to_string(&file).is_ok_and(|it| is_manifest(&it))
        {
            found.push(file);
        }
    }
    found.sort_unstable();
    if found.is_empty() {
        let why = "no manifest is here: a manifest is a TOML file with the keys name and component_path. `theater new` \
                   makes a project with one";
        return Err(BuildError::Project(path.to_owned(), why.into()));
    }
    Ok(found)
}
