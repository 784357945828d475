//! Has the allocator give large blocks back to the system as soon as they are free.
//!
//! glibc takes a block of 128 KiB or more from the system, and gives it back when it is freed; but each time one is freed
//! it raises that size, up to 32 MiB, and blocks below it come from its arenas, one for each few threads, and stay there.
//! A runtime that has once served large bodies to many clients would keep hundreds of MiB that nobody uses.

/// From this size on a block is the system's. A smaller one is cheap to keep, and is asked for often.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_BYTES: i32 = 1024 * 1024;

/// To be called once, before other threads are started.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn give_large_blocks_back() {
    /// Of glibc's `malloc.h`.
    const M_MMAP_THRESHOLD: i32 = -3;
    unsafe extern "C" {
        fn mallopt(parameter: i32, value: i32) -> i32;
    }
    // SAFETY: it sets a number in the allocator, under the allocator's own lock.
    let is_set = unsafe { mallopt(M_MMAP_THRESHOLD, LARGE_BYTES) } == 1;
    if !is_set {
        log::debug!("the allocator does not let its threshold be set");
    }
}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_large_blocks_back() {}
