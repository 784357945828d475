//! The memory allocator's settings: large blocks go back to the system as soon as they are free.
//!
//! By itself, glibc takes a block of 128 KiB or more from the system, and gives it back when it is freed. But each time
//! such a block is freed, glibc raises the threshold of 128 KiB to the size of that block, up to 32 MiB. Smaller blocks
//! come from glibc's arenas, each of which serves a few threads, and stay there when they are freed. So a runtime that
//! has once served large bodies to many clients would keep hundreds of MiB that nobody uses.

/// A block of this size or more comes from the system. A smaller block costs little to keep, and programs ask for such
/// blocks often.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_BYTES: i32 = 1024 * 1024;

/// Has large blocks go back to the system. To be called once, before other threads are started.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn give_large_blocks_back() {
    /// The number of this parameter in glibc's `malloc.h`.
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
