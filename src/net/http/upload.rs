//! Bodies that are larger than a listener takes into memory: they go to a file as they come.

use std::fmt;
use std::sync::Arc;

use super::refusal::HttpRefusal;

/// Where such bodies go. Whoever has the listener says what kind of place that is.
pub(crate) trait UploadPlace: Send + Sync {
    /// Bytes of one body; beyond it 413.
    fn most_bytes(&self) -> u64;

    /// Begins a file for a body, whose length may be announced.
    fn begin(&self, length: Option<u64>) -> Result<Box<dyn IncomingFile>, HttpRefusal>;
}

/// A file that is being received. If it is dropped, nothing is left of it.
pub(crate) trait IncomingFile: Send {
    fn write(&mut self, piece: &[u8]) -> Result<(), HttpRefusal>;

    /// The whole body has come.
    fn finish(self: Box<Self>) -> Result<Upload, HttpRefusal>;
}

/// A file that was received. If it is dropped without being kept, nothing is left of it.
pub(crate) trait ReceivedFile: Send + Sync {
    /// The headers that tell the service of the file, in place of a body.
    fn headers(&self) -> Vec<(String, String)>;

    fn keep(&self);
}

/// The file that the body of a request went to.
#[derive(Clone)]
pub(crate) struct Upload(pub(crate) Arc<dyn ReceivedFile>);

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Upload").field(&self.0.headers()).finish()
    }
}

impl PartialEq for Upload {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Upload {}
