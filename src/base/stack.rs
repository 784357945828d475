//! The stack memory of an idle thread, given back to the system: afterwards the thread has only the pages that it uses
//! now, not the pages that it once used. A guest's call touches eight pages or more.
//!
//! The kernel takes pages away by `madvise` with `MADV_DONTNEED`: they stay mapped, and read as zeros when they are touched
//! again. That is sound for the part of the thread's own stack in which nothing lives. Nothing lives below the stack
//! pointer, except in the red zone that the processor's calling convention grants to a function. So [`give_back`] reads the
//! stack pointer and makes the system call itself, in one function and without calling another in between: however
//! the compiler inlines or lays out functions, every frame that is in use then lies above what is given back.
//!
//! On processors other than x86-64 and AArch64, and on systems other than Linux, nothing is given back.

use std::cell::Cell;

/// Stack memory is given back in whole pages of this size. A system with larger pages refuses a range that does not
/// begin and end at their bounds.
const PAGE: usize = 4096;
/// What a function may use below the stack pointer: 128 bytes on x86-64, nothing on AArch64.
const RED_ZONE_BYTES: usize = 128;
/// The system and the C library keep data above the thread's first frame, always less than this. The same number of
/// bytes is left alone at the lowest end of the stack, because the true end may differ from the computed one by up to
/// this much.
const MARGIN_BYTES: usize = 128 * 1024;

thread_local! {
    /// The lowest address of the calling thread's stack that may be given back, if that is known.
    static LOWEST: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Notes where the stack of the calling thread lies. The thread was started with a stack of `bytes`. `base::thread`
/// calls this in the first frame of its own on each thread.
pub(super) fn note(bytes: usize) {
    if let Some(pointer) = machine::stack_pointer()
        && bytes > MARGIN_BYTES
    {
        LOWEST.set(Some((pointer.saturating_sub(bytes) + MARGIN_BYTES).next_multiple_of(PAGE)));
    }
}

/// Gives back the pages of the calling thread's stack that lie below all frames in use.
pub(crate) fn give_back() {
    if let Some(lowest) = LOWEST.get() {
        machine::give_back_from(lowest);
    }
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod machine {
    use std::arch::asm;

    use super::{PAGE, RED_ZONE_BYTES};

    const MADV_DONTNEED: usize = 4;

    macro_rules! read_stack_pointer {
        () => {{
            let pointer: usize;
            // SAFETY: it reads a register.
            unsafe {
                #[cfg(target_arch = "x86_64")]
                asm!("mov {}, rsp", out(reg) pointer, options(nomem, nostack, preserves_flags));
                #[cfg(target_arch = "aarch64")]
                asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags));
            }
            pointer
        }};
    }

    pub(super) fn stack_pointer() -> Option<usize> {
        Some(read_stack_pointer!())
    }

    /// Gives back from `lowest` up to the red zone.
    pub(super) fn give_back_from(lowest: usize) {
        let end = read_stack_pointer!().saturating_sub(RED_ZONE_BYTES) / PAGE * PAGE;
        if lowest >= end {
            return;
        }
        let bytes = end - lowest;
        // The system may refuse; then the memory stays where it is.
        let _refused: isize;
        // SAFETY: the pages belong to this thread's own stack, and lie below the stack pointer of this very frame and below its
        // red zone. No frame in use reaches there, so whatever is called later writes there before it reads.
        // The call keeps nothing on the stack itself.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            asm!(
                "syscall",
                inlateout("rax") 28_isize => _refused,
                in("rdi") lowest,
                in("rsi") bytes,
                in("rdx") MADV_DONTNEED,
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack),
            );
            #[cfg(target_arch = "aarch64")]
            asm!(
                "svc 0",
                in("x8") 233_usize,
                inlateout("x0") lowest as isize => _refused,
                in("x1") bytes,
                in("x2") MADV_DONTNEED,
                options(nostack),
            );
        }
    }
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod machine {
    pub(super) fn stack_pointer() -> Option<usize> {
        None
    }

    pub(super) fn give_back_from(_lowest: usize) {}
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

    /// How much of the stack that has the address `inside` is resident.
    fn resident_bytes(inside: usize) -> usize {
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("Linux");
        let mut lines = maps.lines();
        lines.find(|line| holds(line, inside)).expect("a stack");
        let resident = lines.find(|line| line.starts_with("Rss:")).expect("its resident part");
        resident.split_whitespace().nth(1).and_then(|text| text.parse::<usize>().ok()).expect("KiB") * 1024
    }

    /// Whether this is the line that begins the mapping of an address.
    fn holds(line: &str, address: usize) -> bool {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let number = |text| usize::from_str_radix(text, 16).ok();
        range.and_then(|(from, to)| Some((number(from)?..number(to)?).contains(&address))).unwrap_or(false)
    }

    #[test]
    fn a_stack_that_was_given_back_can_be_used_again() {
        let thread = spawn_sized("stack", BYTES, || {
            let kept = std::hint::black_box([7_u8; 4096]);
            let before = touch(200);
            for _ in 0..100 {
                give_back();
                assert_eq!(touch(200), before);
            }
            assert_eq!(kept, [7; 4096]);
        });
        thread.expect("a thread").join().expect("it ends in order");
    }

    #[test]
    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn what_a_thread_has_used_of_its_stack_and_needs_no_more_is_resident_no_longer() {
        let thread = spawn_sized("stack", BYTES, || {
            touch(200);
            let inside = machine::stack_pointer().expect("on this machine");
            let before = resident_bytes(inside);
            give_back();
            let after = resident_bytes(inside);
            assert!(before >= 200 * 1024 && after <= before - 150 * 1024, "from {before} to {after} bytes");
        });
        thread.expect("a thread").join().expect("it ends in order");
    }

    #[test]
    fn a_thread_whose_stack_is_not_known_keeps_it() {
        std::thread::spawn(give_back).join().expect("it does nothing");
    }
}
