//! `wasi:clocks`: both clocks read `clock.now`, so each reading is in the chain.

use std::cell::Cell;

use crate::bindings::exports::wasi::clocks::{monotonic_clock, wall_clock};
use crate::bindings::exports::wasi::io::poll;
use crate::io::Pollable;
use crate::{Clock, Random, Shim};

const NANOSECONDS_OF_A_MILLISECOND: u64 = 1_000_000;

thread_local! {
    /// The latest time that the monotonic clock showed in this instance: the machine's clock may be set back.
    static LATEST: Cell<u64> = const { Cell::new(0) };
}

impl<C: Clock, R: Random> monotonic_clock::Guest for Shim<C, R> {
    fn now() -> u64 {
        let now = C::now().saturating_mul(NANOSECONDS_OF_A_MILLISECOND).max(LATEST.get());
        LATEST.set(now);
        now
    }

    fn resolution() -> u64 {
        NANOSECONDS_OF_A_MILLISECOND
    }

    fn subscribe_instant(when: u64) -> monotonic_clock::Pollable {
        let has_come = when <= <Self as monotonic_clock::Guest>::now();
        poll::Pollable::new(if has_come { Pollable::Ready } else { Pollable::Later })
    }

    fn subscribe_duration(duration: u64) -> monotonic_clock::Pollable {
        poll::Pollable::new(if duration == 0 { Pollable::Ready } else { Pollable::Later })
    }
}

impl<C: Clock, R: Random> wall_clock::Guest for Shim<C, R> {
    fn now() -> wall_clock::Datetime {
        let now = C::now();
        // Less than a thousand million.
        let nanoseconds = (now % 1000 * NANOSECONDS_OF_A_MILLISECOND) as u32;
        wall_clock::Datetime { seconds: now / 1000, nanoseconds }
    }

    fn resolution() -> wall_clock::Datetime {
        wall_clock::Datetime { seconds: 0, nanoseconds: NANOSECONDS_OF_A_MILLISECOND as u32 }
    }
}
