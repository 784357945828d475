//! Waiting for a change in directories of sources, by looking at them again and again: their files are few, and every file
//! system can be looked at, also one that is mounted from elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::{clock, wait};
use crate::build::files_to_watch;

/// The least time between two looks, and how long no file may have changed before a change is taken for complete.
const PAUSE: Duration = Duration::from_millis(80);
/// A change is taken for complete after this time, although files go on changing: somebody keeps writing there.
const LONGEST: Duration = Duration::from_secs(2);
/// A look takes at most one part in so many of the time.
const SHARE: u32 = 10;

/// What is known of a file: when it was written (in nanoseconds), how long it is, which file it is.
type FileMark = (i128, u64, u64);
type Seen = BTreeMap<PathBuf, FileMark>;

/// Directories and files that are watched.
pub(super) struct SourceTree {
    directories: Vec<PathBuf>,
    files: Vec<PathBuf>,
    /// Directories among those that are not watched.
    but: Vec<PathBuf>,
    seen: Seen,
}

impl SourceTree {
    /// Watches these directories, as they are from now on.
    pub(super) fn new(directories: Vec<PathBuf>) -> Self {
        let mut tree = Self { directories, files: Vec::new(), but: Vec::new(), seen: Seen::new() };
        tree.seen = tree.look();
        tree
    }

    /// Watches these files as well, as they are from now on.
    pub(super) fn also(&mut self, files: Vec<PathBuf>) {
        let new = files.iter().filter_map(|file| Some((file.clone(), mark(file)?)));
        self.seen.retain(|file, _| !self.files.contains(file) || files.contains(file));
        for (file, mark) in new {
            self.seen.entry(file).or_insert(mark);
        }
        self.files = files;
    }

    /// Does not watch these directories from now on, and those again that the call before has named.
    pub(super) fn except(&mut self, but: Vec<PathBuf>) {
        let is_below = |file: &Path, directories: &[PathBuf]| directories.iter().any(|it| file.starts_with(it));
        self.seen.retain(|file, _| !is_below(file, &but));
        let before = std::mem::replace(&mut self.but, but);
        let again = self.look().into_iter().filter(|(file, _)| is_below(file, &before));
        self.seen.extend(again);
    }

    /// Waits until a file has changed and then none has for a moment; says which.
    pub(super) fn changed(&mut self) -> String {
        let mut now = self.look_again();
        while now == self.seen {
            now = self.look_again();
        }
        let begun = clock::now();
        loop {
            let later = self.look_again();
            if later == now || clock::since(begun) > LONGEST {
                break;
            }
            now = later;
        }
        let text = difference(&self.seen, &now);
        self.seen = now;
        text
    }

    fn look_again(&self) -> Seen {
        wait::sleep(PAUSE);
        let begun = clock::now();
        let seen = self.look();
        wait::sleep((clock::since(begun) * (SHARE - 1)).saturating_sub(PAUSE));
        seen
    }

    fn look(&self) -> Seen {
        // A directory that is being moved or made anew has no files for a moment.
        let found =
            self.directories.iter().flat_map(|directory| files_to_watch(directory, &self.but).unwrap_or_default());
        let all = found.chain(self.files.iter().cloned());
        all.filter_map(|file| mark(&file).map(|mark| (file, mark))).collect()
    }
}

fn mark(file: &Path) -> Option<FileMark> {
    let found = fs::metadata(file).ok()?;
    Some((i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec()), found.len(), found.ino()))
}

/// `src/main.ts has changed`, or `src/main.ts and 3 others have changed`.
fn difference(before: &Seen, now: &Seen) -> String {
    let mut differing: Vec<&PathBuf> =
        now.iter().filter(|(file, mark)| before.get(*file) != Some(mark)).map(|it| it.0).collect();
    differing.extend(before.keys().filter(|file| !now.contains_key(*file)));
    let first = differing.first().map(|file| shown(file)).unwrap_or_default();
    match differing.len() {
        0 | 1 => format!("{first} has changed"),
        2 => format!("{first} and another file have changed"),
        more => format!("{first} and {} other files have changed", more - 1),
    }
}

/// The path from the working directory, if it is below that.
fn shown(file: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    super::super::show::visible(&file.strip_prefix(here).unwrap_or(file).display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_an_edit_a_new_file_or_one_that_is_gone_and_nothing_that_a_build_writes() {
        let place = tempfile::tempdir().expect("a directory");
        let file = |name: &str| place.path().join(name);
        for directory in ["src", "dist", "target", ".theater"] {
            fs::create_dir(file(directory)).expect("made");
        }
        fs::write(file("src/main.py"), "1").expect("written");
        let mut tree = SourceTree::new(vec![place.path().to_owned()]);
        let begun = tree.seen.clone();
        for built in
            ["dist/a.wasm", "target/a", ".theater/a", "src/a.wasm", "src/.main.py.swp", "src/main.py~", "README.md"]
        {
            fs::write(file(built), "built").expect("written");
        }
        assert_eq!(tree.look(), begun);
        fs::write(file("src/main.py"), "22").expect("written");
        assert!(tree.changed().ends_with("src/main.py has changed"));
        fs::write(file("src/other.py"), "").expect("written");
        assert!(tree.changed().ends_with("src/other.py has changed"));
        fs::remove_file(file("src/other.py")).expect("removed");
        fs::write(file("till.toml"), "").expect("written");
        assert!(tree.changed().ends_with("till.toml and another file have changed"));
    }

    #[test]
    fn what_a_runtime_or_an_actor_writes_is_not_watched() {
        let place = tempfile::tempdir().expect("a directory");
        let root = fs::canonicalize(place.path()).expect("a path");
        for directory in ["src", "kept", "kept/log", "files"] {
            fs::create_dir(root.join(directory)).expect("made");
        }
        fs::write(root.join("kept/journal.mark"), "").expect("written");
        fs::write(root.join("files/a.txt"), "1").expect("written");
        let mut tree = SourceTree::new(vec![root.clone()]);
        tree.except(vec![root.join("files")]);
        assert_eq!(tree.look(), tree.seen);
        fs::write(root.join("kept/log/1"), "batches").expect("written");
        fs::write(root.join("kept/index.db"), "rows").expect("written");
        fs::write(root.join("files/a.txt"), "22").expect("written");
        assert_eq!(tree.look(), tree.seen);
        // Without the grant, the files are those of a person.
        tree.except(Vec::new());
        assert_eq!(tree.look(), tree.seen);
        fs::write(root.join("files/a.txt"), "333").expect("written");
        assert!(tree.changed().ends_with("files/a.txt has changed"));
    }

    #[test]
    fn a_change_is_told_although_somebody_keeps_writing() {
        let place = tempfile::tempdir().expect("a directory");
        let busy = place.path().join("busy.txt");
        let mut tree = SourceTree::new(vec![place.path().to_owned()]);
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut length = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    length += 1;
                    fs::write(&busy, "x".repeat(length)).expect("written");
                    wait::sleep(Duration::from_millis(10));
                }
            });
            fs::write(place.path().join("main.py"), "1").expect("written");
            let told = tree.changed();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(told.contains("changed"), "{told}");
        });
    }

    #[test]
    fn a_file_elsewhere_is_watched_once_it_is_named() {
        let (place, elsewhere) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let library = elsewhere.path().join("lib.rs");
        fs::write(&library, "1").expect("written");
        let mut tree = SourceTree::new(vec![place.path().to_owned()]);
        tree.also(vec![library.clone()]);
        assert_eq!(tree.look(), tree.seen);
        fs::write(&library, "22").expect("written");
        assert!(tree.changed().ends_with("lib.rs has changed"));
    }
}
