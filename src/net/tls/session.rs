//! The TLS session of one connection, from its first byte on: the handshake is part of what is read and written.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};

/// How many bytes are encrypted at a time: as many as one record holds.
const RECORD_BYTES: usize = 16 * 1024;

/// A session, what it has decrypted, and what it wants to send.
#[derive(Debug)]
pub(crate) struct TlsSession {
    session: ServerConnection,
    /// `plain[at..]` was decrypted and not taken yet.
    plain: Vec<u8>,
    at: usize,
    /// The client has said that nothing more comes.
    has_ended: bool,
    /// What is to be sent.
    out: Vec<u8>,
}

impl TlsSession {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        let session = ServerConnection::new(config)?;
        Ok(Self { session, plain: Vec::new(), at: 0, has_ended: false, out: Vec::new() })
    }

    /// Whether the handshake is not over.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    /// What was decrypted and not taken yet.
    pub(crate) fn plain(&self) -> &[u8] {
        &self.plain[self.at..]
    }

    /// Takes decrypted bytes. `None` if there are none and more may come; 0 if the client has ended the session.
    pub(crate) fn take(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let taken = self.plain().len().min(buffer.len());
        if taken == 0 && !buffer.is_empty() {
            return self.has_ended.then_some(0);
        }
        buffer[..taken].copy_from_slice(&self.plain()[..taken]);
        self.at += taken;
        if self.at == self.plain.len() {
            // A connection that waits for long keeps no memory for what it has received.
            (self.plain, self.at) = (Vec::new(), 0);
        }
        Some(taken)
    }

    /// Takes all decrypted bytes.
    pub(crate) fn take_plain(&mut self) -> Vec<u8> {
        let mut plain = std::mem::take(&mut self.plain);
        plain.drain(..std::mem::take(&mut self.at));
        plain
    }

    /// Whether the client has said that nothing more comes.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Decrypts what has come. After an error the alert that names it is to be sent, and then the connection ends.
    pub(crate) fn feed(&mut self, mut raw: &[u8]) -> io::Result<()> {
        while !raw.is_empty() && !self.has_ended {
            self.session.read_tls(&mut raw)?;
            let processed = self.session.process_new_packets();
            self.collect();
            processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            match self.session.reader().read_to_end(&mut self.plain) {
                // The client has said that this was all.
                Ok(_) => self.has_ended = true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Encrypts `plain`. What is to be sent is then in [`TlsSession::take_out`].
    pub(crate) fn encrypt(&mut self, plain: &[u8]) -> io::Result<()> {
        for piece in plain.chunks(RECORD_BYTES) {
            self.session.writer().write_all(piece)?;
            self.collect();
        }
        Ok(())
    }

    /// Says that nothing more will be sent.
    pub(crate) fn say_end(&mut self) {
        self.session.send_close_notify();
        self.collect();
    }

    /// Takes what is to be sent, which may be nothing.
    pub(crate) fn take_out(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn collect(&mut self) {
        while self.session.wants_write() {
            self.session.write_tls(&mut self.out).expect("a vector takes all");
        }
    }
}
