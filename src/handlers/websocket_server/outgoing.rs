//! Messages that leave for WebSocket clients: what an actor may send, and the frames of it.

use std::sync::Arc;

use tungstenite::Message;

use crate::guest::wit::{MessageType, WebSocketMessage};

/// The most bytes that a ping or a pong may carry.
const CONTROL_BYTES: usize = 125;

/// A message as the client gets it; nothing if the actor closes the connection. A payload in the field of the other
/// type is taken as well.
pub(super) fn outgoing(WebSocketMessage { ty, data, text }: WebSocketMessage) -> Result<Option<Message>, String> {
    let bytes = |data: Option<Vec<u8>>, text: Option<String>| data.or(text.map(String::into_bytes)).unwrap_or_default();
    match ty {
        MessageType::Text => {
            let text = text.map_or_else(|| String::from_utf8(data.unwrap_or_default()), Ok);
            text.map(|text| Some(Message::text(text))).map_err(|_| "a text message that is not UTF-8".to_owned())
        }
        MessageType::Binary => Ok(Some(Message::binary(bytes(data, text)))),
        MessageType::Ping => control(bytes(data, text)).map(|data| Some(Message::Ping(data.into()))),
        MessageType::Pong => control(bytes(data, text)).map(|data| Some(Message::Pong(data.into()))),
        MessageType::Close => Ok(None),
        MessageType::Connect => Err("a \"connect\", which only comes in".to_owned()),
        MessageType::Other(_) => Err("a message of no known type".to_owned()),
    }
}

fn control(data: Vec<u8>) -> Result<Vec<u8>, String> {
    if data.len() > CONTROL_BYTES {
        return Err(format!("a ping or pong of {} bytes: the most is {CONTROL_BYTES}", data.len()));
    }
    Ok(data)
}

/// The one frame of a message. A server does not mask its frames (RFC 6455 §5.1), so all clients get the same bytes.
pub(super) fn frame_of(message: &Message) -> Arc<[u8]> {
    let (opcode, payload): (u8, &[u8]) = match message {
        Message::Text(text) => (1, text.as_bytes()),
        Message::Binary(data) => (2, data),
        Message::Ping(data) => (9, data),
        Message::Pong(data) => (10, data),
        Message::Close(_) | Message::Frame(_) => unreachable!("the connection's own thread sends these"),
    };
    let mut frame = Vec::with_capacity(payload.len() + 10);
    frame.push(0x80 | opcode);
    match payload.len() {
        length @ 0..126 => frame.push(u8::try_from(length).expect("below 126")),
        length @ 126..=0xffff => {
            frame.push(126);
            frame.extend_from_slice(&u16::try_from(length).expect("it fits").to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame.into()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tungstenite::WebSocket;
    use tungstenite::protocol::Role;

    use super::*;

    fn message(ty: MessageType, data: Option<&[u8]>, text: Option<&str>) -> WebSocketMessage {
        WebSocketMessage { ty, data: data.map(<[u8]>::to_vec), text: text.map(str::to_owned) }
    }

    #[test]
    fn what_an_actor_says_is_sent_as_it_meant_it() {
        let say = |ty, data, text| outgoing(message(ty, data, text));
        assert_eq!(say(MessageType::Text, None, Some("a")), Ok(Some(Message::text("a"))));
        assert_eq!(say(MessageType::Text, Some(b"a"), None), Ok(Some(Message::text("a"))));
        assert_eq!(say(MessageType::Binary, Some(&[0xff]), None), Ok(Some(Message::binary(vec![0xff]))));
        assert_eq!(say(MessageType::Ping, None, None), Ok(Some(Message::Ping(Vec::new().into()))));
        assert_eq!(say(MessageType::Close, None, None), Ok(None));
    }

    #[test]
    fn what_cannot_be_sent_is_named() {
        for (ty, data) in [
            (MessageType::Text, &[0xff][..]),
            (MessageType::Ping, &[0; 126]),
            (MessageType::Connect, &[]),
            (MessageType::Other("x".into()), &[]),
        ] {
            outgoing(message(ty, Some(data), None)).expect_err("it cannot be sent");
        }
    }

    #[test]
    fn a_frame_of_any_length_is_read_as_the_message_that_it_was() {
        let of = |length: usize| Message::binary(vec![7; length]);
        let lengths = [0, 1, 125, 126, 127, 0xffff, 0x1_0000, 0x1_0001];
        let messages = lengths.map(of).into_iter().chain([Message::text("ä"), Message::Ping(vec![1].into())]);
        for message in messages {
            let wire = Cursor::new(frame_of(&message).to_vec());
            let mut client = WebSocket::from_raw_socket(wire, Role::Client, None);
            assert_eq!(client.read().expect("a message"), message);
        }
    }
}
