//! Directories for their owner only: they hold what actors said.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Makes the directory, unless it is there. The one above it has to be there: a data directory that is being removed, by a
/// process that ends while its threads go on, is not made again by what is made inside it.
pub fn make(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

/// Makes the directory and those above it, unless they are there.
pub fn make_all(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_once_and_never_those_above_it_unless_that_is_asked() {
        let tmp = tempfile::tempdir().expect("a directory");
        let (above, inside) = (tmp.path().join("above"), tmp.path().join("above/inside"));
        assert_eq!(make(&inside).expect_err("nothing above it").kind(), io::ErrorKind::NotFound);
        make_all(&inside).expect("made");
        make(&inside).expect("it is there");
        make_all(&inside).expect("it is there");
        let file = above.join("file");
        std::fs::write(&file, "").expect("written");
        assert_eq!(make(&file).expect_err("a file").kind(), io::ErrorKind::AlreadyExists);
    }
}
