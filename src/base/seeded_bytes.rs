//! Random bytes that a seed decides: the same ones in every run, for tests and comparisons.

use sha2::{Digest, Sha256};

/// Random bytes that a seed decides.
pub(crate) struct SeededBytes {
    seed: u64,
    drawn: u64,
}

impl SeededBytes {
    pub(crate) fn of(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    pub(crate) fn draw(&mut self, n: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < n as usize {
            let block = Sha256::new().chain_update(self.seed.to_be_bytes()).chain_update(self.drawn.to_be_bytes());
            self.drawn += 1;
            bytes.extend_from_slice(&block.finalize());
        }
        bytes.truncate(n as usize);
        bytes
    }
}
