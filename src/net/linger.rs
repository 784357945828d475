//! Lingering: closing a connection so that its client still reads what was sent to it last.
//!
//! If a socket is closed while bytes from its client are unread, the system resets the connection, and the client may
//! lose the answer that it was just sent. So the bytes that the client still sends are read and thrown away, for a
//! limited time.

use std::io;
use std::net::TcpStream;

use rustix::net::{RecvFlags, recv};

/// How many reads the bytes of a client that was answered in full are worth.
const DISCARDED_READS: usize = 8;
const PIECE_BYTES: usize = 4 * 1024;

/// Reads and throws away what the client still sends, by `read`, until the client has closed its side, `read` fails (as
/// it does after its deadline), or `most_bytes` have come.
pub(crate) fn read_until_closed(mut read: impl FnMut(&mut [u8]) -> io::Result<usize>, most_bytes: usize) {
    let (mut buffer, mut left) = ([0; PIECE_BYTES], most_bytes);
    while left > 0 {
        match read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(bytes) => left = left.saturating_sub(bytes),
        }
    }
}

/// Throws away what has been received already, up to a bound, and waits for nothing. `scratch` is where it is read to.
pub(crate) fn discard_received(socket: &TcpStream, scratch: &mut [u8]) {
    for _ in 0..DISCARDED_READS {
        if !matches!(recv(socket, &mut *scratch, RecvFlags::DONTWAIT), Ok((_, 1..))) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lingering_ends_with_the_client_with_an_error_and_at_its_bound() {
        let reads = |answers: &[io::Result<usize>], most| {
            let (mut reads, mut answers) = (0, answers.iter());
            read_until_closed(
                |_| {
                    reads += 1;
                    answers.next().expect("an answer").as_ref().copied().map_err(|error| error.kind().into())
                },
                most,
            );
            reads
        };
        assert_eq!(reads(&[Ok(1), Ok(0)], usize::MAX), 2);
        assert_eq!(reads(&[Ok(1), Err(io::ErrorKind::TimedOut.into())], usize::MAX), 2);
        assert_eq!(reads(&[Ok(3), Ok(3)], 5), 2);
    }
}
