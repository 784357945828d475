//! The body of a request as its bytes arrive: framed by a length or in chunks, and paid for out of a common budget.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::chunked::ChunkedDecoder;
use super::head::Framing;
use super::refusal::Refusal;

/// A body is announced before it is sent, so room for it is made as it comes.
const FIRST_ROOM_BYTES: usize = 64 * 1024;

/// One body on its way in.
#[derive(Debug)]
pub(crate) struct IncomingBody<'a> {
    coding: Coding,
    bytes: Vec<u8>,
    limit: usize,
    share: BodyShare<'a>,
}

#[derive(Debug)]
enum Coding {
    Length { left: usize },
    Chunked(ChunkedDecoder),
}

impl<'a> IncomingBody<'a> {
    /// The body that `framing` announces, if it does; refused where it says that it will be larger than `limit`.
    pub(crate) fn announced(framing: Framing, limit: usize, budget: &'a BodyBudget) -> Result<Option<Self>, Refusal> {
        let coding = match framing {
            Framing::Absent => return Ok(None),
            Framing::Length(length) => {
                let fitting = usize::try_from(length).ok().filter(|length| *length <= limit);
                Coding::Length { left: fitting.ok_or_else(|| Refusal::body_too_large(limit))? }
            }
            Framing::Chunked => Coding::Chunked(ChunkedDecoder::new(limit)),
        };
        let room = match coding {
            Coding::Length { left } => left.min(FIRST_ROOM_BYTES),
            Coding::Chunked(_) => 0,
        };
        Ok(Some(Self { coding, bytes: Vec::with_capacity(room), limit, share: BodyShare { budget, bytes: 0 } }))
    }

    /// Takes what `received` has of the body, and returns how much that was.
    pub(crate) fn take(&mut self, received: &[u8]) -> Result<usize, Refusal> {
        let before = self.bytes.len();
        let used = match &mut self.coding {
            Coding::Length { left } => {
                let piece = &received[..received.len().min(*left)];
                self.bytes.extend_from_slice(piece);
                *left -= piece.len();
                piece.len()
            }
            Coding::Chunked(decoder) => decoder.decode(received, &mut self.bytes, self.limit)?,
        };
        self.share.grow(self.bytes.len() - before)?;
        Ok(used)
    }

    pub(crate) fn is_done(&self) -> bool {
        match &self.coding {
            Coding::Length { left } => *left == 0,
            Coding::Chunked(decoder) => decoder.is_done(),
        }
    }

    /// The body, and its share of the budget, which is free again when that is dropped.
    pub(crate) fn finish(self) -> (Vec<u8>, BodyShare<'a>) {
        (self.bytes, self.share)
    }
}

/// What all bodies of a listener may hold together.
#[derive(Debug)]
pub(crate) struct BodyBudget {
    used: AtomicUsize,
    limit: usize,
}

impl BodyBudget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }
}

#[derive(Debug)]
pub(crate) struct BodyShare<'a> {
    budget: &'a BodyBudget,
    bytes: usize,
}

impl BodyShare<'_> {
    fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        if bytes == 0 {
            return Ok(());
        }
        let before = self.budget.used.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        match before + bytes <= self.budget.limit {
            true => Ok(()),
            false => Err(Refusal::busy("too many bodies are being received")),
        }
    }
}

impl Drop for BodyShare<'_> {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 10;

    fn incoming(framing: Framing, budget: &BodyBudget) -> IncomingBody<'_> {
        IncomingBody::announced(framing, LIMIT, budget).expect("not too large").expect("announced")
    }

    #[test]
    fn a_body_of_a_length_ends_there() {
        let budget = BodyBudget::new(LIMIT);
        let mut body = incoming(Framing::Length(5), &budget);
        assert_eq!(body.take(b"abc"), Ok(3));
        assert!(!body.is_done());
        assert_eq!(body.take(b"deGET /"), Ok(2));
        assert!(body.is_done());
        assert_eq!(body.finish().0, b"abcde");
    }

    #[test]
    fn an_announced_empty_body_is_a_body() {
        let budget = BodyBudget::new(LIMIT);
        assert!(incoming(Framing::Length(0), &budget).is_done());
        assert!(IncomingBody::announced(Framing::Absent, LIMIT, &budget).expect("fine").is_none());
    }

    #[test]
    fn a_body_announced_too_large_is_refused_unread() {
        let budget = BodyBudget::new(LIMIT);
        for length in [LIMIT as u64 + 1, u64::MAX] {
            let refused = IncomingBody::announced(Framing::Length(length), LIMIT, &budget).expect_err("too large");
            assert_eq!(refused.status, 413);
        }
    }

    #[test]
    fn bodies_beyond_the_common_budget_are_refused_until_others_are_gone() {
        let budget = BodyBudget::new(12);
        let mut first = incoming(Framing::Length(10), &budget);
        assert_eq!(first.take(&[0; 10]), Ok(10));
        let (_, share) = first.finish();
        assert_eq!(incoming(Framing::Length(10), &budget).take(&[0; 3]).expect_err("no room").status, 503);
        drop(share);
        assert_eq!(incoming(Framing::Length(10), &budget).take(&[0; 3]), Ok(3));
    }
}
