//! `wasi:random`: a stream of ChaCha20 (RFC 8439) for each instance. The chain holds the key, which the host gave, and not the
//! stream: a replay computes the same stream.

use std::cell::RefCell;

use crate::bindings::exports::wasi::random::{insecure, insecure_seed, random};
use crate::{Clock, Random, Shim};

const ROUNDS: usize = 20;
const BLOCK: usize = 64;

/// The random bytes of an instance, from the key on.
struct Stream {
    key: [u32; 8],
    /// The number of the next block.
    next: u64,
    /// What is left of the last block: the last `left` bytes of it.
    block: [u8; BLOCK],
    left: usize,
}

thread_local! {
    static STREAM: RefCell<Option<Stream>> = const { RefCell::new(None) };
}

fn quarter_round(words: &mut [u32; 16], [a, b, c, d]: [usize; 4]) {
    let mut step = |sum: usize, with: usize, turned: usize, by: u32| {
        words[sum] = words[sum].wrapping_add(words[with]);
        words[turned] = (words[turned] ^ words[sum]).rotate_left(by);
    };
    step(a, b, d, 16);
    step(c, d, b, 12);
    step(a, b, d, 8);
    step(c, d, b, 7);
}

const COLUMNS: [[usize; 4]; 4] = [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]];
const DIAGONALS: [[usize; 4]; 4] = [[0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]];

/// The block of ChaCha20 with this key, counter and nonce. The first two words of `place` are the counter.
fn block(key: &[u32; 8], place: [u32; 4]) -> [u8; BLOCK] {
    let mut start = [0; 16];
    start[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
    start[4..12].copy_from_slice(key);
    start[12..].copy_from_slice(&place);
    let mut words = start;
    for _ in 0..ROUNDS / 2 {
        COLUMNS.into_iter().chain(DIAGONALS).for_each(|four| quarter_round(&mut words, four));
    }
    let mut bytes = [0; BLOCK];
    for ((four, word), start) in bytes.chunks_exact_mut(4).zip(words).zip(start) {
        four.copy_from_slice(&word.wrapping_add(start).to_le_bytes());
    }
    bytes
}

impl Stream {
    fn with_key(bytes: [u8; 32]) -> Self {
        let mut key = [0; 8];
        for (word, four) in key.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        }
        Self { key, next: 0, block: [0; BLOCK], left: 0 }
    }

    fn fill(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            if self.left == 0 {
                self.block = block(&self.key, [self.next as u32, (self.next >> 32) as u32, 0, 0]);
                (self.next, self.left) = (self.next + 1, BLOCK);
            }
            let (now, later) = bytes.split_at_mut(self.left.min(bytes.len()));
            now.copy_from_slice(&self.block[BLOCK - self.left..][..now.len()]);
            // What was given out is not kept.
            self.block[BLOCK - self.left..][..now.len()].fill(0);
            self.left -= now.len();
            bytes = later;
        }
    }
}

fn drawn<R: Random>(len: u64) -> Vec<u8> {
    STREAM.with_borrow_mut(|stream| {
        let stream = stream.get_or_insert_with(|| Stream::with_key(R::key()));
        let mut bytes = vec![0; usize::try_from(len).expect("a length that fits into memory")];
        stream.fill(&mut bytes);
        bytes
    })
}

fn number<R: Random>() -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&drawn::<R>(8));
    u64::from_le_bytes(bytes)
}

impl<C: Clock, R: Random> random::Guest for Shim<C, R> {
    fn get_random_bytes(len: u64) -> Vec<u8> {
        drawn::<R>(len)
    }

    fn get_random_u64() -> u64 {
        number::<R>()
    }
}

impl<C: Clock, R: Random> insecure::Guest for Shim<C, R> {
    fn get_insecure_random_bytes(len: u64) -> Vec<u8> {
        drawn::<R>(len)
    }

    fn get_insecure_random_u64() -> u64 {
        number::<R>()
    }
}

impl<C: Clock, R: Random> insecure_seed::Guest for Shim<C, R> {
    /// Interpreters take this seed for their hash maps, unasked. WASI allows a constant, so without a grant it is one.
    fn insecure_seed() -> (u64, u64) {
        if R::GRANTED { (number::<R>(), number::<R>()) } else { (0, 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8439, section 2.3.2.
    #[test]
    fn a_block_is_that_of_the_standard() {
        let bytes: Vec<u8> = (0..32).collect();
        let stream = Stream::with_key(bytes.try_into().unwrap());
        let block = block(&stream.key, [1, 0x0900_0000, 0x4a00_0000, 0]);
        assert_eq!(
            block[..16],
            [0x10, 0xf1, 0xe7, 0xe4, 0xd1, 0x3b, 0x59, 0x15, 0x50, 0x0f, 0xdd, 0x1f, 0xa3, 0x20, 0x71, 0xc4]
        );
        assert_eq!(block[60..], [0xa2, 0x50, 0x3c, 0x4e]);
    }

    #[test]
    fn the_stream_is_the_same_however_it_is_cut() {
        let mut whole = [0; 300];
        Stream::with_key([7; 32]).fill(&mut whole);
        let (mut pieces, mut stream) = ([0; 300], Stream::with_key([7; 32]));
        let mut rest = &mut pieces[..];
        for len in [1, 63, 0, 64, 65, 100, 7] {
            let (now, later) = rest.split_at_mut(len);
            stream.fill(now);
            rest = later;
        }
        assert!(rest.is_empty() && whole == pieces);
        let mut other = [0; 300];
        Stream::with_key([8; 32]).fill(&mut other);
        assert_ne!(whole, other);
    }
}
