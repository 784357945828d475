//! Misbehaviour on command, written so that the optimiser does not remove it.

use std::hint::black_box;

pub(crate) fn trap() -> ! {
    std::process::abort() // on this target, `unreachable`
}

pub(crate) fn spin() -> ! {
    loop {
        black_box(());
    }
}

pub(crate) fn recurse(depth: u64) -> u64 {
    if black_box(depth) == u64::MAX {
        return depth;
    }
    black_box(recurse(depth + 1)).wrapping_add(depth)
}

pub(crate) fn work(rounds: u64) -> u64 {
    for round in 0..rounds {
        black_box(round);
    }
    rounds
}

pub(crate) fn grow(mib: usize) -> Result<usize, String> {
    let bytes = mib.checked_mul(1 << 20).ok_or("more than can be addressed")?;
    black_box(vec![1_u8; bytes]);
    Ok(mib)
}

/// The bits of results that are not a number, for any finite `x`. The processor chooses these bits, unless the runtime
/// sets them.
pub(crate) fn not_a_number(x: f64) -> [u64; 4] {
    let signalling = black_box(f64::from_bits(0x7ff4_0000_dead_beef));
    let infinite = x.abs() + f64::INFINITY;
    [infinite * 0.0, infinite + -infinite, (-infinite).sqrt(), x + signalling].map(f64::to_bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_result_is_a_number() {
        assert!(not_a_number(1.5).into_iter().all(|bits| f64::from_bits(bits).is_nan()));
    }
}
