//! Gives back what a thread's stack has touched and uses no more: an idle thread then costs what it holds, not what it
//! once needed. A guest's call touches eight pages or more.

use rustix::mm::{Advice, madvise};

const PAGE: usize = 4096;
/// Below the caller's frame, for what is called from here.
const KEPT_BYTES: usize = PAGE / 2;
/// The thread's first frame lies below the true end of its stack by what the system keeps there; as far above the other
/// end nothing is given back.
const MARGIN_BYTES: usize = 128 * 1024;

/// One thread's stack.
pub(crate) struct Stack {
    first_frame: usize,
    bytes: usize,
}

impl Stack {
    /// The calling thread's, which was started with `bytes`; to be called in its first frames.
    pub(crate) fn of_this_thread(bytes: usize) -> Self {
        Self { first_frame: here(), bytes }
    }

    /// Gives back every page below the caller's frame. On the thread itself.
    pub(crate) fn give_back(&self) {
        let from = (self.first_frame.saturating_sub(self.bytes) + MARGIN_BYTES).next_multiple_of(PAGE);
        let to = here().saturating_sub(KEPT_BYTES) / PAGE * PAGE;
        if self.bytes > MARGIN_BYTES && from < to && to < self.first_frame {
            // SAFETY: the pages are of this thread's own stack, below everything that lives in it: whatever is called
            // later writes there before it reads. They stay mapped, and are zero when they are touched again.
            let given = unsafe { madvise(from as *mut _, to - from, Advice::LinuxDontNeed) };
            // A system that will not only leaves the memory where it is.
            given.unwrap_or_else(|error| log::debug!("cannot give back a stack: {error}"));
        }
    }
}

/// About where the caller's frame ends.
#[inline(never)]
fn here() -> usize {
    let mark = 0_u8;
    std::hint::black_box(&raw const mark) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::thread::spawn_sized;

    const BYTES: usize = 512 * 1024;

    fn touch(deep: usize) -> u64 {
        let block = std::hint::black_box([deep as u8; 1024]);
        if deep == 0 { u64::from(block[0]) } else { touch(deep - 1) + u64::from(block[7]) }
    }

    #[test]
    fn a_stack_that_was_given_back_can_be_used_again() {
        let thread = spawn_sized("stack", BYTES, || {
            let stack = Stack::of_this_thread(BYTES);
            let kept = std::hint::black_box([7_u8; 4096]);
            let before = touch(200);
            for _ in 0..100 {
                stack.give_back();
                assert_eq!(touch(200), before);
            }
            assert_eq!(kept, [7; 4096]);
        });
        thread.expect("a thread").join().expect("it ends in order");
    }
}
