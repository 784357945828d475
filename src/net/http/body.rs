//! The body of a request as its bytes arrive: framed by a length or in chunks. It takes its bytes from a budget that
//! all bodies share.
//!
//! A body takes no memory, and nothing of the budget, for bytes that it only announces.

use std::sync::Arc;

use super::body_budget::{BodyBudget, BodyShare};
use super::chunked::ChunkedDecoder;
use super::framing::RequestFraming;
use super::refusal::HttpRefusal;
use super::upload::{IncomingFile, Upload, UploadPlace};

/// A body that is being received.
pub(crate) struct IncomingBody {
    coding: Coding,
    /// What has come; of a body that goes to a file, what was not written yet.
    bytes: Vec<u8>,
    file: Option<Box<dyn IncomingFile>>,
    /// Where a body goes that becomes larger than the limit.
    place: Option<Arc<dyn UploadPlace>>,
    /// Of a body in memory.
    limit: usize,
    /// Its share of the budget, as large as the capacity of `bytes`.
    share: BodyShare,
}

#[derive(Debug)]
enum Coding {
    Length { left: usize },
    Chunked(ChunkedDecoder),
}

/// What became of bytes that were given to a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// This many of the bytes belonged to the body.
    Bytes(usize),
    /// No byte was taken, because the budget has no room for them.
    NoRoom,
}

impl IncomingBody {
    /// The body that `framing` announces, if it announces one. Where it will be larger than `limit`, it goes to a file if there
    /// is a place for one, and else is refused.
    pub(crate) fn announced(
        framing: RequestFraming,
        limit: usize,
        budget: &Arc<BodyBudget>,
        place: Option<&Arc<dyn UploadPlace>>,
    ) -> Result<Option<Self>, HttpRefusal> {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let most = place.map_or(limit, |place| size(place.most_bytes()).max(limit));
        let coding = match framing {
            RequestFraming::Absent => return Ok(None),
            RequestFraming::Length(length) => {
                let fitting = usize::try_from(length).ok().filter(|length| *length <= most);
                Coding::Length { left: fitting.ok_or_else(|| HttpRefusal::body_too_large(most))? }
            }
            RequestFraming::Chunked => Coding::Chunked(ChunkedDecoder::new(most)),
        };
        let file = match (&coding, place) {
            (Coding::Length { left }, Some(place)) if *left > limit => Some(place.begin(Some(*left as u64))?),
            _ => None,
        };
        let place = place.filter(|_| file.is_none()).cloned();
        Ok(Some(Self { coding, bytes: Vec::new(), file, place, limit, share: BodyShare::of(budget) }))
    }

    /// Takes the bytes of `received` that belong to the body.
    pub(crate) fn take(&mut self, received: &[u8]) -> Result<Taken, HttpRefusal> {
        let piece = match &self.coding {
            Coding::Length { left } => &received[..received.len().min(*left)],
            Coding::Chunked(_) => received,
        };
        let may_be_large = self.file.is_none() && matches!(self.coding, Coding::Chunked(_));
        if may_be_large
            && self.bytes.len() + piece.len() > self.limit
            && let Some(place) = self.place.take()
        {
            self.file = Some(place.begin(None)?);
            self.write_out()?;
        }
        if !self.make_room(piece.len()) {
            return Ok(Taken::NoRoom);
        }
        let used = match &mut self.coding {
            Coding::Length { left } => {
                self.bytes.extend_from_slice(piece);
                *left -= piece.len();
                piece.len()
            }
            Coding::Chunked(decoder) => decoder.decode(piece, &mut self.bytes, self.limit)?,
        };
        self.write_out()?;
        Ok(Taken::Bytes(used))
    }

    /// Writes what has come, if it goes to a file.
    fn write_out(&mut self) -> Result<(), HttpRefusal> {
        if let Some(file) = &mut self.file {
            file.write(&self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }

    /// Makes room for `more` bytes, and takes it from the budget. If the budget has enough, the room is doubled, so
    /// that the body is not moved each time more of it comes.
    fn make_room(&mut self, more: usize) -> bool {
        let most = match &self.coding {
            _ if self.file.is_some() => more,
            Coding::Length { left } => self.bytes.len() + left,
            Coding::Chunked(_) => self.limit,
        };
        let needed = (self.bytes.len() + more).min(most);
        let generous = (2 * self.bytes.capacity()).clamp(needed, most.max(needed));
        let has_room = needed <= self.share.bytes() || self.share.grow_to(generous) || self.share.grow_to(needed);
        if has_room {
            self.bytes.reserve_exact(self.share.bytes() - self.bytes.len());
        }
        has_room
    }

    pub(crate) fn is_done(&self) -> bool {
        match &self.coding {
            Coding::Length { left } => *left == 0,
            Coding::Chunked(decoder) => decoder.is_done(),
        }
    }

    /// How many bytes are still to come, where that is known.
    pub(crate) fn left(&self) -> Option<usize> {
        match &self.coding {
            Coding::Length { left } => Some(*left),
            Coding::Chunked(_) => None,
        }
    }

    /// How many bytes of the budget it has.
    pub(crate) fn held(&self) -> usize {
        self.share.bytes()
    }

    /// The body, with the file that it went to, and its share of the budget.
    pub(crate) fn finish(self) -> Result<(Vec<u8>, Option<Upload>, BodyShare), HttpRefusal> {
        let upload = self.file.map(IncomingFile::finish).transpose()?;
        Ok((self.bytes, upload, self.share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 10;

    fn incoming(framing: RequestFraming, budget: &Arc<BodyBudget>) -> IncomingBody {
        let announced = IncomingBody::announced(framing, LIMIT, budget, None);
        announced.unwrap_or_else(|refusal| panic!("{refusal:?}")).expect("announced")
    }

    fn budget(limit: usize) -> Arc<BodyBudget> {
        Arc::new(BodyBudget::new(limit))
    }

    #[test]
    fn a_body_of_a_length_ends_there() {
        let mut body = incoming(RequestFraming::Length(5), &budget(LIMIT));
        assert_eq!(body.take(b"abc"), Ok(Taken::Bytes(3)));
        assert!(!body.is_done());
        assert_eq!(body.left(), Some(2));
        assert_eq!(body.take(b"deGET /"), Ok(Taken::Bytes(2)));
        assert!(body.is_done());
        assert_eq!(body.finish().expect("a body").0, b"abcde");
    }

    #[test]
    fn an_announced_empty_body_is_a_body() {
        let budget = budget(LIMIT);
        assert!(incoming(RequestFraming::Length(0), &budget).is_done());
        assert!(matches!(IncomingBody::announced(RequestFraming::Absent, LIMIT, &budget, None), Ok(None)));
    }

    #[test]
    fn a_body_announced_too_large_is_refused_unread() {
        for length in [LIMIT as u64 + 1, u64::MAX] {
            let refused = IncomingBody::announced(RequestFraming::Length(length), LIMIT, &budget(99), None);
            assert_eq!(refused.map(drop).expect_err("too large").status, 413);
        }
    }

    #[test]
    fn a_body_pays_for_what_has_come_and_not_for_what_it_announces() {
        let budget = budget(12);
        let (mut first, mut second) =
            (incoming(RequestFraming::Length(10), &budget), incoming(RequestFraming::Length(10), &budget));
        assert_eq!((first.held(), first.take(&[0; 2])), (0, Ok(Taken::Bytes(2))));
        assert_eq!((first.held(), second.take(&[0; 10])), (2, Ok(Taken::Bytes(10))));
        assert_eq!(first.take(&[0; 1]), Ok(Taken::NoRoom));
        drop(second);
        assert_eq!(first.take(&[0; 8]), Ok(Taken::Bytes(8)));
        assert_eq!(first.held(), 10, "no more than it has in all");
    }

    #[test]
    fn a_chunked_body_pays_for_no_more_than_a_body_may_have() {
        let budget = budget(LIMIT);
        let mut body = incoming(RequestFraming::Chunked, &budget);
        assert_eq!(body.take(b"3;x=aaaaaaaaaaaaaaaaaaa\r\nabc\r\n7\r\nabcdefg\r\n0\r\n\r\n"), Ok(Taken::Bytes(47)));
        assert!(body.is_done() && body.held() == LIMIT);
    }
}
