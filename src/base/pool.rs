//! The thread pool for work that all cores share: compiling components, and checking long histories. It is rayon's global
//! pool. Rayon would make it at its first use; it is made here before that, so that its threads have names.

use std::error::Error;
use std::sync::OnceLock;

use rayon::prelude::*;

use super::thread;

/// Bytes of stack for each thread: Cranelift recurses deeply.
const STACK_BYTES: usize = 4 * 1024 * 1024;

/// Makes the pool, unless it exists. If the system gives no threads for it, this returns an error, because rayon would
/// panic when the pool is used.
pub(crate) fn make_ready() -> Result<(), String> {
    static MADE: OnceLock<Result<(), String>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let pool = rayon::ThreadPoolBuilder::new().spawn_handler(|worker| {
            let name = format!("core-{}", worker.index());
            // These threads live as long as the process.
            thread::spawn_sized(&name, STACK_BYTES, || worker.run()).map(drop)
        });
        match pool.build_global() {
            // An embedder may have made the pool before.
            Err(error) if error.source().is_some() => Err(error.to_string()),
            Ok(()) | Err(_) => Ok(()),
        }
    });
    made.clone()
}

/// Has `fill` fill each piece of some bytes, which it is told the place of; on all cores, as [`map`] works.
pub(crate) fn fill<E: Send>(
    bytes: &mut [u8],
    piece_bytes: usize,
    fill: impl Fn(usize, &mut [u8]) -> Result<(), E> + Send + Sync,
) -> Result<(), E> {
    if bytes.len() <= piece_bytes || make_ready().is_err() {
        return fill(0, bytes);
    }
    let pieces = bytes.par_chunks_mut(piece_bytes).enumerate();
    pieces.try_for_each(|(number, piece)| fill(number * piece_bytes, piece))
}

/// What `of` makes of each item, in the order of the items: on all cores if the work is worth being cut into two or more
/// shares, and otherwise, or if the system gives no threads for the pool, on this thread.
pub(crate) fn map<I: Sync, T: Send>(items: &[I], shares: usize, of: impl Fn(&I) -> T + Send + Sync) -> Vec<T> {
    if shares < 2 || items.len() < 2 || make_ready().is_err() {
        return items.iter().map(of).collect();
    }
    items.par_iter().with_min_len(items.len().div_ceil(shares)).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_of_items_stands_in_their_order_however_many_shares_there_are() {
        let items: Vec<usize> = (0..1_000).collect();
        let doubled: Vec<usize> = items.iter().map(|item| item * 2).collect();
        for shares in [0, 1, 2, 7, 999, 5_000] {
            assert_eq!(map(&items, shares, |item| item * 2), doubled, "{shares} shares");
        }
        assert_eq!(map(&items[..0], 9, |item| item * 2), [0; 0]);
    }

    #[test]
    fn each_piece_of_some_bytes_is_filled_at_its_place_and_an_error_is_told() {
        for (length, piece) in [(0, 10), (9, 10), (10, 10), (11, 10), (95, 10)] {
            let mut bytes = vec![0; length];
            let filled = fill(&mut bytes, piece, |at, piece| {
                piece.iter_mut().zip(at..).for_each(|(byte, place)| *byte = place as u8);
                Ok::<_, ()>(())
            });
            assert_eq!(filled, Ok(()));
            assert_eq!(bytes, (0..length as u8).collect::<Vec<_>>(), "{length} bytes");
        }
        let refused = fill(&mut [0; 40], 10, |at, _| if at == 20 { Err("no") } else { Ok(()) });
        assert_eq!(refused, Err("no"));
    }
}
