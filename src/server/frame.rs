//! Frames: a big-endian `u32` length, then so many bytes of JSON.

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

/// The next frame's JSON; `None` at the end of the connection.
pub(crate) fn receive(source: &mut impl Read) -> Result<Option<Vec<u8>>, FrameError> {
    receive_within(source, FRAME_BYTES, |_| ())
}

/// Like [`receive`], of at most `limit` bytes; `begun` hears of the first byte, and may set a deadline for the rest.
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
    // The length is a claim: the buffer grows with what really comes.
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

/// A whole frame. What might not fit is cut or paged before it comes here; what is too long all the same becomes an
/// error, so that the other side can go on.
pub(crate) fn encode(message: &impl Serialize) -> Vec<u8> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message).expect("wire types serialise");
    let length = frame.len() - 4;
    if length > FRAME_BYTES {
        let message = format!("the answer has {length} bytes: the limit of a frame is {FRAME_BYTES}");
        return encode(&Response::Error { message });
    }
    let length = u32::try_from(length).expect("shorter than a frame may be");
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
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
                // What is no command is an error as well, and nothing else.
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
        let frame = encode(&"hello");
        assert_eq!(receive(&mut &frame[..]).expect("a frame"), Some(b"\"hello\"".to_vec()));
        assert_eq!(receive(&mut &[][..]).expect("the end"), None);
    }

    #[test]
    fn a_broken_frame_is_told_from_the_end() {
        let frame = encode(&"hello");
        for cut in 1..frame.len() {
            assert!(matches!(receive(&mut &frame[..cut]), Err(FrameError::Truncated)), "cut at {cut}");
        }
        assert!(matches!(receive(&mut &[0xff; 8][..]), Err(FrameError::TooLarge { .. })));
    }
}
