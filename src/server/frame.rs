//! Frames of the management protocol: a length as a big-endian `u32`, and after it so many bytes of JSON.

use std::io::{self, Read, Write};

use serde::Serialize;

use super::protocol::Response;
use crate::base::limits::FRAME_BYTES;

/// Why no frame was read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the connection ended within a frame")]
    Truncated,
    #[error("a frame of {size} bytes: the limit is {limit}")]
    TooLarge { size: usize, limit: usize },
    #[error("a frame that was begun has not come in time")]
    TooSlow,
    #[error(transparent)]
    Io(io::Error),
}

/// Reads the JSON of the next frame; `None` at the end of the connection.
pub(crate) fn receive(source: &mut impl Read) -> Result<Option<Vec<u8>>, FrameError> {
    receive_within(source, FRAME_BYTES, |_| ())
}

/// Like [`receive`], for a frame of at most `limit` bytes. `begun` is called when the first byte has come, and may set
/// a deadline for the rest.
pub(crate) fn receive_within<S: Read>(
    source: &mut S,
    limit: usize,
    begun: impl FnOnce(&mut S),
) -> Result<Option<Vec<u8>>, FrameError> {
    let mut length = [0; 4];
    loop {
        match source.read(&mut length[..1]) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(FrameError::Io(error)),
        }
    }
    begun(source);
    source.read_exact(&mut length[1..]).map_err(cut_short)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > limit {
        return Err(FrameError::TooLarge { size: length, limit });
    }
    // The length is what the client claims. The buffer grows only with the bytes that come.
    let mut json = Vec::new();
    source.take(length as u64).read_to_end(&mut json).map_err(cut_short)?;
    if json.len() < length { Err(FrameError::Truncated) } else { Ok(Some(json)) }
}

fn cut_short(error: io::Error) -> FrameError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => FrameError::Truncated,
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => FrameError::TooSlow,
        _ => FrameError::Io(error),
    }
}

/// A message that does not fit a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it does not fit a frame: the limit of the protocol is {FRAME_BYTES} bytes")]
pub(crate) struct TooLong;

/// Makes a whole frame of a message. It stops as soon as the message is too long for a frame.
pub(crate) fn encode(message: &impl Serialize) -> Result<Vec<u8>, TooLong> {
    let mut frame = Bounded(vec![0; LENGTH_BYTES]);
    // The types of the protocol can all be serialised, so only their length can be the error.
    serde_json::to_writer(&mut frame, message).map_err(|_| TooLong)?;
    let mut frame = frame.0;
    let length = u32::try_from(frame.len() - LENGTH_BYTES).map_err(|_| TooLong)?;
    frame[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

/// Makes the frame of an error. The text is cut if it would not fit.
pub(crate) fn encode_error(message: &str) -> Vec<u8> {
    // A character has at most six bytes in JSON, as an escape.
    let message = &message[..message.floor_char_boundary(FRAME_BYTES / 8)];
    encode(&Response::Error { message: message.to_owned() }).expect("it was cut to fit")
}

const LENGTH_BYTES: usize = 4;

struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LENGTH_BYTES + FRAME_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn send(mut sink: impl Write, frame: &[u8]) -> io::Result<()> {
    sink.write_all(frame)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::server::protocol::Request;

    proptest! {
        #[test]
        fn whatever_comes_is_a_frame_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut source = &bytes[..];
            while let Ok(Some(json)) = receive(&mut source) {
                // Bytes that are no command are an error, and nothing else happens.
                let _ = serde_json::from_slice::<Request>(&json);
            }
        }

        #[test]
        fn whatever_resembles_a_command_is_one_or_an_error(text in "\\PC{0,40}", number in any::<i64>(), at in 0..8usize) {
            let names =
                ["StartActor", "SubscribeToActor", "Subscribe", "GetActorEvents", "ForkActor", "Authenticate", "Status", "x"];
            let command = serde_json::json!({ names[at]: { "id": text, "from": number, "scope": { "Tree": number },
                "kinds": [text], "token": text, "limit": text } });
            let _ = serde_json::from_value::<Request>(command);
        }
    }

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let frame = encode(&"hello").expect("short");
        assert_eq!(receive(&mut &frame[..]).expect("a frame"), Some(b"\"hello\"".to_vec()));
        assert_eq!(receive(&mut &[][..]).expect("the end"), None);
    }

    #[test]
    fn a_broken_frame_is_told_from_the_end() {
        let frame = encode(&"hello").expect("short");
        for cut in 1..frame.len() {
            assert!(matches!(receive(&mut &frame[..cut]), Err(FrameError::Truncated)), "cut at {cut}");
        }
        assert!(matches!(receive(&mut &[0xff; 8][..]), Err(FrameError::TooLarge { .. })));
    }

    #[test]
    fn a_message_that_does_not_fit_a_frame_is_refused_and_not_written() {
        let fits = "x".repeat(FRAME_BYTES - 2);
        assert_eq!(encode(&fits).map(|frame| frame.len()), Ok(4 + FRAME_BYTES));
        assert_eq!(encode(&format!("{fits}x")), Err(TooLong));
        let error = encode_error(&"\u{1}".repeat(FRAME_BYTES));
        assert!(error.len() <= 4 + FRAME_BYTES && receive(&mut &error[..]).is_ok());
    }
}
