//! Replacing a file as a whole.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Replaces a file, or makes it: whoever reads it, also after a power loss, finds all of what was there before or all of this.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    // Each file has its own: two of them may be replaced at the same time.
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = File::create(&beside)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_whose_names_differ_behind_the_dot_are_replaced_at_the_same_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let (one, other) = (dir.path().join("checkpoint"), dir.path().join("checkpoint.witnessed"));
        std::thread::scope(|scope| {
            for path in [&one, &other] {
                scope.spawn(move || {
                    let name = path.display().to_string();
                    for _ in 0..200 {
                        replace(path, name.as_bytes()).expect("replaced");
                        assert_eq!(fs::read_to_string(path).expect("a file"), name);
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 2, "nothing else is left");
    }
}
