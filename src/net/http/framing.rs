//! How the body of a request is framed, and the versions of HTTP that a request may have.

/// Where the body of a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestFraming {
    /// The request announced no body.
    Absent,
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http10,
    /// HTTP/1.1 and every later 1.x, which RFC 9110 §2.5 tells us to read as the latest version that we know.
    Http11,
}
