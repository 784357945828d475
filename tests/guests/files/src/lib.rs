//! Keeps files on command.

use commanded::{Commanded, More, outcome};
use serde::Deserialize;
use serde_json::{Value, json};
use theater_actor::filesystem;

/// Commands for each function of `filesystem`. All answer with `{"ok": …}` or `{"err": text}`.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
#[allow(clippy::enum_variant_names, reason = "the operations have the names of the functions")]
enum Files {
    /// With the text of the file.
    ReadFile {
        path: String,
    },
    /// With null, as all that change something.
    WriteFile {
        path: String,
        content: String,
    },
    /// Writes so many bytes.
    WriteBytes {
        path: String,
        n: usize,
    },
    /// With the names.
    ListFiles {
        path: String,
    },
    DeleteFile {
        path: String,
    },
    CreateDir {
        path: String,
    },
    DeleteDir {
        path: String,
    },
    /// With true or false.
    PathExists {
        path: String,
    },
    /// Asks whether a path of so many bytes exists.
    LongPathExists {
        n: usize,
    },
}

impl More for Files {
    fn obey(self) -> Result<Value, String> {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(match self {
            Files::ReadFile { path } => outcome(filesystem::read_file(&path).map(text)),
            Files::WriteFile { path, content } => outcome(filesystem::write_file(&path, &content)),
            Files::WriteBytes { path, n } => outcome(filesystem::write_file(&path, &"x".repeat(n)).map(|()| json!(n))),
            Files::ListFiles { path } => outcome(filesystem::list_files(&path)),
            Files::DeleteFile { path } => outcome(filesystem::delete_file(&path)),
            Files::CreateDir { path } => outcome(filesystem::create_dir(&path)),
            Files::DeleteDir { path } => outcome(filesystem::delete_dir(&path)),
            Files::PathExists { path } => outcome(filesystem::path_exists(&path)),
            Files::LongPathExists { n } => outcome(filesystem::path_exists(&"x".repeat(n))),
        })
    }
}

type Keeper = Commanded<Files>;

theater_actor::export!(Keeper: messages);
