//! A file that is opened once, so that the file that is checked is also the file that is read, even if another file
//! replaces it at its path in between.

use std::fs::{File, Metadata, OpenOptions};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

pub(crate) struct Opened {
    path: PathBuf,
    file: File,
}

impl Opened {
    /// Opens a regular file. A pipe is refused at once: this does not wait for a writer.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag of the system");
        let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path);
        let file = file.map_err(|error| error.to_string())?;
        if !file.metadata().map_err(|error| error.to_string())?.is_file() {
            return Err("not a regular file".into());
        }
        Ok(Self { path: path.to_owned(), file })
    }

    /// The path by which the file was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the open file according to the kernel, with all links followed.
    pub(crate) fn real_path(&self) -> Result<PathBuf, String> {
        let link = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        std::fs::read_link(&link).map_err(|error| format!("cannot tell where it lies ({link}: {error})"))
    }

    /// What the open file is.
    pub(crate) fn metadata(&self) -> Result<Metadata, String> {
        self.file.metadata().map_err(|error| error.to_string())
    }

    /// The permissions of the open file.
    pub(crate) fn mode(&self) -> Result<u32, String> {
        self.file.metadata().map(|metadata| metadata.permissions().mode()).map_err(|error| error.to_string())
    }

    pub(crate) fn read(self, at_most: u64) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        self.file.take(at_most + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() as u64 > at_most {
            return Err(format!("larger than {at_most} bytes"));
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_read_is_what_was_checked_though_the_link_was_changed_in_between() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().canonicalize().expect("it is there").join(name);
        fs::write(at("allowed"), "allowed").expect("a file");
        fs::write(at("other"), "other").expect("a file");
        symlink(at("allowed"), at("link")).expect("a link");
        let opened = Opened::open(&at("link")).expect("it is there");
        symlink(at("other"), at("new")).and_then(|()| fs::rename(at("new"), at("link"))).expect("another link");
        assert_eq!((opened.path(), opened.real_path()), (at("link").as_path(), Ok(at("allowed"))));
        assert_eq!(opened.read(100).expect("read"), b"allowed");
        assert_eq!(Opened::open(&at("link")).and_then(|opened| opened.real_path()), Ok(at("other")));
    }

    #[test]
    fn a_pipe_or_a_directory_is_no_file_to_be_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
        for path in [pipe.as_path(), dir.path(), Path::new("/dev/null")] {
            assert_eq!(Opened::open(path).err().as_deref(), Some("not a regular file"), "{}", path.display());
        }
    }
}
