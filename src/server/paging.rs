//! Paging: bytes that do not fit a frame, which a client reads piece by piece. They are read from the journal once, and
//! kept until the client has asked for the last piece. So all pieces are of the same moment, and the journal is not
//! read once for each piece.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::base::limits::KEPT_FOR_CLIENTS_BYTES;

/// How many bytes one piece has, before base64.
pub(super) const PIECE_BYTES: usize = 4 * 1024 * 1024;

/// How many bytes all connections keep.
static KEPT: AtomicUsize = AtomicUsize::new(0);

/// What a client reads piece by piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whole {
    Component(String),
    Blob(String),
    State(String),
    /// The state after an event.
    StateAt(String, u64),
    EventData(String, u64),
    /// The state that is kept after an event.
    KeptState(String, u64),
    /// A value in a table, by its key, and the event after which it is read.
    Row(String, String, Option<u64>),
}

/// The one thing that a client is reading now, if it is reading one.
#[derive(Default)]
pub(super) struct Paging(Option<OpenPaging>);

struct OpenPaging {
    what: Whole,
    sequence: Option<u64>,
    bytes: KeptBytes,
    /// Whether its first piece was not asked for yet.
    is_fresh: bool,
}

/// Bytes that are counted in [`KEPT`] while they are kept.
struct KeptBytes(Vec<u8>);

impl KeptBytes {
    fn of(bytes: Vec<u8>) -> Result<Self, Vec<u8>> {
        let before = KEPT.fetch_add(bytes.len(), Ordering::Relaxed);
        let kept = Self(bytes);
        if before.saturating_add(kept.0.len()) > KEPT_FOR_CLIENTS_BYTES { Err(kept.given_up()) } else { Ok(kept) }
    }

    fn given_up(mut self) -> Vec<u8> {
        let bytes = std::mem::take(&mut self.0);
        KEPT.fetch_sub(bytes.len(), Ordering::Relaxed);
        bytes
    }
}

impl Drop for KeptBytes {
    fn drop(&mut self) {
        KEPT.fetch_sub(self.0.len(), Ordering::Relaxed);
    }
}

/// A piece, and how many bytes the whole has. For a state that is kept it also has the sequence of the event.
pub(super) struct Piece {
    pub(super) size: u64,
    pub(super) sequence: Option<u64>,
    pub(super) bytes: Vec<u8>,
}

impl Paging {
    /// Frees what is kept, because the client asks for something else.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }

    /// Keeps `bytes`, because the client was told how long they are and will ask for them.
    pub(super) fn begin(&mut self, what: Whole, bytes: Vec<u8>) {
        self.0 = KeptBytes::of(bytes).ok().map(|bytes| OpenPaging { what, sequence: None, bytes, is_fresh: true });
    }

    /// The piece of `what` from `offset` on. The first piece is always read anew, by `read`, which gives the whole.
    pub(super) fn piece(
        &mut self,
        what: Whole,
        offset: u64,
        read: impl FnOnce() -> Result<Option<(Option<u64>, Vec<u8>)>, String>,
    ) -> Result<Option<Piece>, String> {
        if let Some(mut open) = self.0.take().filter(|open| open.what == what && (offset > 0 || open.is_fresh)) {
            let piece = cut(&open.bytes.0, open.sequence, offset);
            open.is_fresh = false;
            self.0 = Some(open).filter(|_| !is_last(&piece, offset));
            return Ok(Some(piece));
        }
        let Some((sequence, bytes)) = read()? else { return Ok(None) };
        let piece = cut(&bytes, sequence, offset);
        if !is_last(&piece, offset) {
            // If all connections keep too much already, the next piece is read anew.
            self.0 = KeptBytes::of(bytes).ok().map(|bytes| OpenPaging { what, sequence, bytes, is_fresh: false });
        }
        Ok(Some(piece))
    }
}

fn cut(bytes: &[u8], sequence: Option<u64>, offset: u64) -> Piece {
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let to = bytes.len().min(from.saturating_add(PIECE_BYTES));
    Piece { size: bytes.len() as u64, sequence, bytes: bytes[from..to].to_vec() }
}

fn is_last(piece: &Piece, offset: u64) -> bool {
    offset.saturating_add(piece.bytes.len() as u64) >= piece.size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_of_one_thing_are_of_one_reading_and_the_last_ends_it() {
        let mut paging = Paging::default();
        let whole: Vec<u8> = (0..PIECE_BYTES * 2 + 7).map(|at| at as u8).collect();
        let state = || Whole::State("id".into());
        let (mut readings, mut read) = (0, Vec::new());
        while read.len() < whole.len() {
            let piece = paging.piece(state(), read.len() as u64, || {
                readings += 1;
                Ok(Some((None, whole.clone())))
            });
            read.extend(piece.expect("read").expect("a piece").bytes);
        }
        assert_eq!((read == whole, readings, paging.0.is_none()), (true, 1, true));
    }

    #[test]
    fn the_first_piece_is_read_anew_and_so_is_another_thing() {
        let mut paging = Paging::default();
        let read = |byte: u8| move || Ok(Some((None, vec![byte; 2 * PIECE_BYTES + 1])));
        let first = |piece: Result<Option<Piece>, String>| piece.expect("read").expect("a piece").bytes[0];
        assert_eq!(first(paging.piece(Whole::State("a".into()), 0, read(1))), 1);
        assert_eq!(first(paging.piece(Whole::State("a".into()), 0, read(2))), 2);
        assert_eq!(first(paging.piece(Whole::State("b".into()), 1, read(3))), 3);
        assert_eq!(first(paging.piece(Whole::State("b".into()), PIECE_BYTES as u64, read(4))), 3);
        paging.begin(Whole::State("d".into()), vec![5; 2 * PIECE_BYTES]);
        assert_eq!(first(paging.piece(Whole::State("d".into()), 0, read(6))), 5, "what the client was told of");
        assert_eq!(first(paging.piece(Whole::State("d".into()), 0, read(6))), 6);
        let gone = paging.piece(Whole::Blob("c".into()), 0, || Ok(None)).expect("read");
        assert!(gone.is_none());
    }
}
