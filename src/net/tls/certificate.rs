//! The certificate of a server, with its key. It is read again when its files have changed, so that a renewed certificate
//! needs no restart.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
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
    read: Mutex<ReadCertificate>,
}

#[derive(Debug)]
struct ReadCertificate {
    config: Arc<ServerConfig>,
    /// What the files were when they were read; `None` for a pipe, which can be read only once.
    versions: [Option<FileVersion>; 2],
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
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Some(Self { inode: metadata.ino(), size: metadata.size(), changed })
    }
}

impl ServerCertificate {
    /// Reads the certificates in PEM, the server's own first, and the key. Each file may be a pipe, such as a shell's
    /// `<(…)`.
    pub(crate) fn read(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        let versions = [certificate, key].map(FileVersion::of);
        let (config, looked) = (config(certificate, key)?, clock::now());
        let read = Mutex::new(ReadCertificate { config, versions, looked, complaints: Seldom::default() });
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), read })
    }

    /// A session with a new client, by the newest certificate that could be read.
    pub(crate) fn session(&self) -> Result<TlsSession, rustls::Error> {
        TlsSession::new(self.newest())
    }

    fn newest(&self) -> Arc<ServerConfig> {
        let mut read = self.read.lock();
        if clock::since(read.looked) >= LOOK_EVERY {
            read.looked = clock::now();
            self.read_again(&mut read);
        }
        Arc::clone(&read.config)
    }

    /// If the files cannot be used, the last certificate stays, and they are read again at the next look: one of them may
    /// have been replaced and the other not yet.
    fn read_again(&self, read: &mut ReadCertificate) {
        let versions = [&self.certificate, &self.key].map(|path| FileVersion::of(path));
        if versions == read.versions || read.versions.contains(&None) {
            return;
        }
        match config(&self.certificate, &self.key) {
            Ok(config) => {
                log::info!("the certificate in {} has changed, and is used from now on", self.certificate.display());
                (read.config, read.versions) = (config, versions);
            }
            Err(CertificateError { path, why }) => {
                let path = path.display();
                read.complaints
                    .warn(format!("{path} has changed and cannot be used, so the last certificate stays: {why}"));
            }
        }
    }
}

fn config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, CertificateError> {
    let refused = |path: &Path, why: String| CertificateError { path: path.to_owned(), why };
    let read = |path: &Path| contents(path).map_err(|why| refused(path, why));
    let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&read(certificate)?).collect();
    let chain = chain.map_err(|error| refused(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(refused(certificate, "there is no certificate in it".into()));
    }
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| match error {
        pem::Error::NoItemsFound => refused(key, "there is no private key in it".into()),
        other => refused(key, other.to_string()),
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the default versions")
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| refused(certificate, error.to_string()))?;
    Ok(Arc::new(config))
}

fn contents(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(PEM_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > PEM_BYTES { Err(format!("it is longer than {PEM_BYTES} bytes")) } else { Ok(bytes) }
}
