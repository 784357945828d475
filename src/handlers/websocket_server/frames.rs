//! Finds where frames begin in what a client sends, to refuse lengths that RFC 6455 forbids: lengths that are not
//! written in the fewest bytes (§5.2), which tungstenite lets through, and lengths of control frames above 125 (§5.5),
//! which tungstenite refuses only when the whole frame has come. tungstenite checks everything else.
//!
//! It also finds where messages begin and end: a ping in the middle of a message does not end it.

/// The most bytes before a mask: two, and eight of a length.
const HEAD_BYTES: usize = 10;
const MASK_BYTES: u64 = 4;

/// Follows the frames of one client, however its bytes are cut.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD_BYTES],
    /// How many bytes of the head have come.
    begun: usize,
    /// How many bytes of mask and payload come before the next head.
    left: u64,
    /// The message goes on in another frame.
    is_fragmented: bool,
    /// How many messages, and control frames between messages, have begun.
    count: u64,
}

impl Frames {
    /// How many of the bytes `received`, from the first on, are good: all of them, or those before a head whose length
    /// is forbidden.
    pub(super) fn good(&mut self, received: &[u8]) -> usize {
        let mut at = 0;
        while at < received.len() {
            if self.left > 0 {
                let skipped = self.left.min((received.len() - at) as u64);
                self.left -= skipped;
                at += usize::try_from(skipped).expect("no more than was received");
                continue;
            }
            if self.begun == 0 && !self.is_fragmented {
                self.count += 1;
            }
            self.head[self.begun] = received[at];
            self.begun += 1;
            at += 1;
            if self.begun < head_bytes(&self.head[..self.begun]) {
                continue;
            }
            let Some(payload) = payload_bytes(&self.head[..self.begun]) else { return at - 1 };
            let is_masked = self.head[1] & 0x80 != 0;
            self.left = payload + if is_masked { MASK_BYTES } else { 0 };
            self.begun = 0;
            if !is_control(self.head[0]) {
                self.is_fragmented = self.head[0] & 0x80 == 0;
            }
        }
        at
    }

    /// The number of the message, or of the control frame between messages, that has come in part.
    pub(super) fn unfinished(&self) -> Option<u64> {
        (self.begun > 0 || self.left > 0 || self.is_fragmented).then_some(self.count)
    }
}

fn is_control(first: u8) -> bool {
    first & 0x08 != 0
}

/// How long a head is that begins with these bytes.
fn head_bytes(begun: &[u8]) -> usize {
    match begun.get(1).map(|second| second & 0x7f) {
        Some(126) => 4,
        Some(127) => HEAD_BYTES,
        Some(_) | None => 2,
    }
}

/// The length in a whole head, if it is written in the fewest bytes and a frame of its kind may have it. In the longest
/// form the highest bit is 0.
fn payload_bytes(head: &[u8]) -> Option<u64> {
    let written = head[2..].iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
    match head.len() {
        2 => Some(u64::from(head[1] & 0x7f)),
        _ if is_control(head[0]) => None,
        4 => Some(written).filter(|length| *length > 125),
        _ => Some(written).filter(|length| *length > 0xffff && *length <= u64::MAX >> 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: &[u8], payload: usize) -> Vec<u8> {
        [&[0x82], length, &[0; 4], &vec![7; payload]].concat()
    }

    #[test]
    fn frames_of_every_length_are_good_wherever_they_are_cut() {
        let frames = [
            frame(&[0x80], 0),
            frame(&[0x80 | 125], 125),
            frame(&[0xfe, 0, 126], 126),
            frame(&[0xfe, 0xff, 0xff], 0xffff),
            frame(&[0xff, 0, 0, 0, 0, 0, 1, 0, 0], 0x1_0000),
            vec![0x81, 1, b'a'],
            frame(&[0x81], 1),
        ];
        let bytes = frames.concat();
        assert_eq!(Frames::default().good(&bytes), bytes.len());
        for piece in [1, 2, 3, 7] {
            let mut scan = Frames::default();
            assert!(bytes.chunks(piece).all(|piece| scan.good(piece) == piece.len()));
        }
    }

    #[test]
    fn a_length_in_more_bytes_than_it_needs_is_not_good() {
        let before = frame(&[0x81], 1);
        for length in [
            &[0xfe, 0, 0][..],
            &[0xfe, 0, 125],
            &[0xff, 0, 0, 0, 0, 0, 0, 0, 5],
            &[0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
            &[0xff, 0x80, 0, 0, 0, 0, 1, 0, 0],
        ] {
            let bytes = [&before[..], &frame(length, 9)].concat();
            let good = Frames::default().good(&bytes);
            assert!(good >= before.len() && good < bytes.len() - 9, "{length:?}: what came before is good");
        }
    }

    #[test]
    fn a_message_is_unfinished_until_its_last_frame_has_come_whatever_comes_between() {
        let mut frames = Frames::default();
        let mut after = |bytes: &[u8]| {
            assert_eq!(frames.good(bytes), bytes.len());
            frames.unfinished()
        };
        let (first, ping, last) = ([0x01, 0x80, 0, 0, 0, 0], [0x89, 0x80, 0, 0, 0, 0], [0x80, 0x81, 0, 0, 0, 0, b'a']);
        assert_eq!(after(&ping), None);
        assert_eq!(after(&first), Some(2));
        assert_eq!(after(&ping), Some(2));
        assert_eq!(after(&ping[..1]), Some(2));
        assert_eq!(after(&ping[1..]), Some(2));
        assert_eq!(after(&last[..6]), Some(2));
        assert_eq!(after(&last[6..]), None);
        // A message that has ended and a message that begins within the same bytes count as two.
        assert_eq!(after(&first), Some(3));
        assert_eq!(after(&[&last[..], &first].concat()), Some(4));
    }

    #[test]
    fn a_control_frame_has_at_most_125_bytes() {
        assert_eq!(Frames::default().good(&[0x89, 0x80 | 125]), 2);
        assert_eq!(Frames::default().good(&[0x89, 0xfe, 0, 126]), 3);
    }
}
