//! The certificate of a server, with its key. It is read again when its files have changed, so that a renewed certificate
//! needs no restart.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::session::TlsSession;
use crate::base::clock;
use crate::base::limits::PEM_BYTES;
use crate::base::opened::Opened;
use crate::base::seldom::Seldom;

/// How often the files are looked at, if clients connect.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A certificate or a key that cannot be used.
#[derive(Debug)]
pub(crate) struct CertificateError {
    pub(crate) path: PathBuf,
    pub(crate) why: String,
}

/// The files of a certificate and its key, and what was read from them last.
#[derive(Debug)]
pub(crate) struct ServerCertificate {
    certificate: PathBuf,
    key: PathBuf,
    /// A warning about the key as it was read first.
    doubt: Option<String>,
    /// What new sessions use. The lock is held only to take it or to replace it.
    config: Mutex<Arc<ServerConfig>>,
    /// Who holds this lock looks at the files. Nobody waits for it: meanwhile the others use what was read last.
    renewal: Mutex<Renewal>,
}

#[derive(Debug)]
struct Renewal {
    /// What the files were when they were read; `None` if one of them is a pipe, which can be read only once.
    versions: Option<[FileVersion; 2]>,
    looked: Instant,
    complaints: Seldom,
}

/// What tells a file from the one that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileVersion {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl FileVersion {
    /// The version of what is at `path` now; `None` if there is nothing, or no regular file.
    fn at(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().filter(Metadata::is_file).map(|metadata| Self::of(&metadata))
    }

    fn of(metadata: &Metadata) -> Self {
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Self { inode: metadata.ino(), size: metadata.size(), changed }
    }
}

/// The content of one file.
struct PemFile {
    bytes: Vec<u8>,
    /// What the file was when it was opened; `None` for a pipe.
    metadata: Option<Metadata>,
}

/// Opens and reads one of the files; the error says why that fails.
type ReadPem = fn(&Path) -> Result<PemFile, String>;

impl ServerCertificate {
    /// Reads the certificates in PEM, the server's own first, and the key. Both are regular files of at most 4 MiB. A pipe is
    /// refused at once, and nothing is waited for.
    pub(crate) fn read(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        Self::read_by(regular, certificate, key)
    }

    /// Like [`ServerCertificate::read`], for files that the operator names for the whole runtime: each may also be a pipe,
    /// such as a shell's `<(…)`. This waits for whoever writes into a pipe. A pipe is read only this once.
    pub(crate) fn read_or_receive(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        Self::read_by(regular_or_pipe, certificate, key)
    }

    fn read_by(read: ReadPem, certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let ReadFiles { config, versions, doubt } = config(read, certificate, key)?;
        let renewal = Mutex::new(Renewal { versions, looked: clock::now(), complaints: Seldom::default() });
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        Ok(Self { certificate, key, doubt, config: Mutex::new(config), renewal })
    }

    /// A warning, if others than the owner and the group of the key's file could open it when it was read first.
    pub(crate) fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// A session with a new client, by the newest certificate that could be read.
    pub(crate) fn session(&self) -> Result<TlsSession, rustls::Error> {
        TlsSession::new(self.newest())
    }

    fn newest(&self) -> Arc<ServerConfig> {
        if let Some(mut renewal) = self.renewal.try_lock()
            && clock::since(renewal.looked) >= LOOK_EVERY
        {
            renewal.looked = clock::now();
            self.read_again(&mut renewal);
        }
        Arc::clone(&self.config.lock())
    }

    /// If the files cannot be used, the last certificate stays, and they are read again at the next look: one of them may
    /// have been replaced and the other not yet.
    fn read_again(&self, renewal: &mut Renewal) {
        let Some(versions) = renewal.versions else { return };
        if [&self.certificate, &self.key].map(|path| FileVersion::at(path)) == versions.map(Some) {
            return;
        }
        match config(regular, &self.certificate, &self.key) {
            Ok(ReadFiles { config, versions, doubt }) => {
                if let Some(doubt) = doubt {
                    log::warn!("{doubt}");
                }
                log::info!("the certificate in {} has changed, and is used from now on", self.certificate.display());
                *self.config.lock() = config;
                renewal.versions = versions;
            }
            Err(CertificateError { path, why }) => {
                let path = path.display();
                renewal
                    .complaints
                    .warn(format!("{path} has changed and cannot be used, so the last certificate stays: {why}"));
            }
        }
    }
}

/// What was read from both files.
struct ReadFiles {
    config: Arc<ServerConfig>,
    /// What the files were; `None` if one of them is a pipe.
    versions: Option<[FileVersion; 2]>,
    doubt: Option<String>,
}

fn config(read: ReadPem, certificate: &Path, key: &Path) -> Result<ReadFiles, CertificateError> {
    let refused = |path: &Path, why: String| CertificateError { path: path.to_owned(), why };
    let read = |path: &Path| read(path).map_err(|why| refused(path, why));
    let (chain_file, key_file) = (read(certificate)?, read(key)?);
    let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&chain_file.bytes).collect();
    let chain = chain.map_err(|error| refused(certificate, explain_pem(&error)))?;
    if chain.is_empty() {
        return Err(refused(certificate, "there is no certificate in it".into()));
    }
    let private = PrivateKeyDer::from_pem_slice(&key_file.bytes)
        .map_err(|error| refused(key, explain_key(&error, &key_file.bytes)))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the default versions")
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                refused(certificate, format!("its first certificate is not for the key in {}", key.display()))
            }
            other => refused(certificate, other.to_string()),
        })?;
    let doubt = key_file.metadata.as_ref().and_then(|metadata| open_to_others(key, metadata));
    let versions = chain_file.metadata.zip(key_file.metadata);
    let versions = versions.map(|(chain, key)| [FileVersion::of(&chain), FileVersion::of(&key)]);
    Ok(ReadFiles { config: Arc::new(config), versions, doubt })
}

/// A warning, if others than the owner and the group of a key's file can open it.
pub(crate) fn doubt_key(key: &Path) -> Option<String> {
    std::fs::metadata(key).ok().filter(Metadata::is_file).and_then(|metadata| open_to_others(key, &metadata))
}

fn open_to_others(key: &Path, metadata: &Metadata) -> Option<String> {
    let mode = metadata.permissions().mode() & 0o7777;
    let key = key.display();
    (mode & 0o007 != 0).then(|| {
        format!("the key in {key} has mode {mode:04o}, so others than its owner and group can open it: chmod o= it")
    })
}

fn regular(path: &Path) -> Result<PemFile, String> {
    let opened = Opened::open(path)?;
    let metadata = Some(opened.metadata()?);
    Ok(PemFile { bytes: opened.read(PEM_BYTES)?, metadata })
}

fn regular_or_pipe(path: &Path) -> Result<PemFile, String> {
    let read = || {
        let file = File::open(path)?;
        let (metadata, mut bytes) = (file.metadata()?, Vec::new());
        file.take(PEM_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(PemFile { bytes, metadata: Some(metadata).filter(Metadata::is_file) })
    };
    let file = read().map_err(|error: std::io::Error| error.to_string())?;
    if file.bytes.len() as u64 > PEM_BYTES { Err(format!("it is longer than {PEM_BYTES} bytes")) } else { Ok(file) }
}

fn explain_key(error: &pem::Error, bytes: &[u8]) -> String {
    let holds = |label: &[u8]| bytes.windows(label.len()).any(|text| text == label);
    match error {
        _ if holds(b"BEGIN ENCRYPTED PRIVATE KEY") || holds(b"Proc-Type: 4,ENCRYPTED") => {
            "its key is encrypted with a passphrase, and nobody is there to type it: give a key that is not (openssl pkey -in \
             KEY -out NEW writes one), in a file that only its owner can read"
                .into()
        }
        pem::Error::NoItemsFound => "there is no private key in it".into(),
        other => explain_pem(other),
    }
}

/// What is wrong with a file of certificates or keys, for whoever wrote it.
pub(crate) fn explain_pem(error: &pem::Error) -> String {
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(60).collect::<String>();
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            format!("it is cut off: its last section has no line \"-----END {}-----\"", shown(end_marker))
        }
        pem::Error::IllegalSectionStart { line } => {
            format!("the line \"{}\" should begin a section, as \"-----BEGIN …-----\" does", shown(line).trim_end())
        }
        pem::Error::Base64Decode(why) => format!("one of its sections is not base64: {why}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn text(name: &str) -> Vec<u8> {
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)).expect(name)
    }

    /// A directory with a certificate and its key, and both read.
    fn certified() -> (tempfile::TempDir, ServerCertificate) {
        let dir = tempfile::tempdir().expect("a directory");
        let [certificate, key] = ["server.pem", "server.key"].map(|name| {
            let path = dir.path().join(name);
            fs::write(&path, text(name)).expect("a file");
            path
        });
        let read = ServerCertificate::read(&certificate, &key).expect("they fit");
        (dir, read)
    }

    fn look_again(read: &ServerCertificate) -> Arc<ServerConfig> {
        let mut renewal = read.renewal.lock();
        renewal.looked = renewal.looked.checked_sub(LOOK_EVERY).expect("the machine runs longer");
        drop(renewal);
        read.newest()
    }

    fn pipe(path: &Path) {
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
    }

    fn why(certificate: &Path, key: &Path) -> String {
        let CertificateError { path, why } = ServerCertificate::read(certificate, key).expect_err("it cannot be used");
        format!("{}: {why}", path.file_name().expect("a file").to_string_lossy())
    }

    #[test]
    fn a_pipe_or_a_device_in_the_place_of_a_file_is_not_waited_for_at_a_renewal() {
        for name in ["server.pem", "server.key"] {
            let (dir, read) = certified();
            let (path, first) = (dir.path().join(name), read.newest());
            assert!(Arc::ptr_eq(&look_again(&read), &first), "nothing has changed");
            fs::remove_file(&path).expect("it was there");
            pipe(&path);
            assert!(Arc::ptr_eq(&look_again(&read), &first), "the last certificate stays");
            fs::remove_file(&path).and_then(|()| symlink("/dev/zero", &path)).expect("a link");
            assert!(Arc::ptr_eq(&look_again(&read), &first), "the last certificate stays");
            fs::remove_file(&path).and_then(|()| fs::write(&path, text(name))).expect("a file");
            assert!(!Arc::ptr_eq(&look_again(&read), &first), "it is read again once it is a file");
        }
    }

    #[test]
    fn nobody_waits_for_the_one_that_looks_at_the_files() {
        let (_dir, read) = certified();
        let looking = read.renewal.lock();
        read.session().expect("by what was read last");
        drop(looking);
    }

    #[test]
    fn a_pipe_is_refused_at_the_start_unless_the_operator_may_name_one() {
        let (dir, _) = certified();
        let [pem, key, fifo] = ["server.pem", "server.key", "fifo"].map(|name| dir.path().join(name));
        pipe(&fifo);
        assert_eq!(why(&fifo, &key), "fifo: not a regular file");
        assert_eq!(why(&pem, &fifo), "fifo: not a regular file");
        let writer = {
            let fifo = fifo.clone();
            std::thread::spawn(move || fs::write(fifo, text("server.key")).expect("it is read"))
        };
        let read = ServerCertificate::read_or_receive(&pem, &fifo).expect("they fit");
        writer.join().expect("written");
        let first = read.newest();
        fs::write(&pem, text("other.pem")).expect("a file");
        assert!(Arc::ptr_eq(&look_again(&read), &first), "a pipe is read once, so neither file is looked at again");
    }

    #[test]
    fn a_file_that_cannot_be_used_is_explained_to_whoever_wrote_it() {
        let (dir, _) = certified();
        let [pem, key, wrong] = ["server.pem", "server.key", "wrong"].map(|name| dir.path().join(name));
        let write = |text: &[u8]| fs::write(&wrong, text).expect("a file");
        fs::write(dir.path().join("other.key"), text("other.key")).expect("a file");
        let told = why(&pem, &dir.path().join("other.key"));
        assert!(
            told.starts_with("server.pem: its first certificate is not for the key in ") && told.ends_with("other.key")
        );
        write(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
        assert!(why(&pem, &wrong).starts_with("wrong: its key is encrypted with a passphrase"));
        write(b"-----BEGIN CERTIFICATE-----\nAAAA\n");
        let cut = "wrong: it is cut off: its last section has no line \"-----END CERTIFICATE-----\"";
        assert_eq!(why(&wrong, &key), cut);
        write(b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
        assert!(why(&wrong, &key).starts_with("wrong: one of its sections is not base64: "));
        write(b"-----BEGIN CERTIFICATE\nAAAA\n");
        let start = "wrong: the line \"-----BEGIN CERTIFICATE\" should begin a section, as \"-----BEGIN …-----\" does";
        assert_eq!(why(&wrong, &key), start);
        write(&vec![b'x'; usize::try_from(PEM_BYTES).expect("small") + 1]);
        assert_eq!(why(&wrong, &key), "wrong: larger than 4194304 bytes");
        write(b"");
        assert_eq!(why(&pem, &wrong), "wrong: there is no private key in it");
    }

    #[test]
    fn a_key_that_others_can_open_is_warned_of() {
        let (dir, _) = certified();
        let key = dir.path().join("server.key");
        for (mode, warns) in [(0o600, false), (0o640, false), (0o644, true), (0o602, true)] {
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).expect("its mode");
            let warning = doubt_key(&key);
            let read = ServerCertificate::read(&dir.path().join("server.pem"), &key).expect("it is used");
            assert_eq!(read.doubt(), warning.as_deref());
            assert_eq!(warning.is_some_and(|text| text.contains("server.key has mode")), warns, "{mode:o}");
        }
    }
}
