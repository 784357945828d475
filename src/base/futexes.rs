//! The kernel's table of a process's waiting threads: made large enough for many actors.
//!
//! A thread that waits stands in a slot of this table, and whoever wakes a thread looks through all that stand in its slot. Since
//! version 6.16, Linux gives each process a table of its own with a few slots for each *core*: 16 on two cores, also for
//! thousands of threads. With 8,000 actors on two cores, that took about half of the CPU time of a request.

/// As many slots as a process with tens of thousands of threads needs; 512 KiB of the kernel's memory.
#[cfg(target_os = "linux")]
const SLOTS: usize = 8_192;

/// `PR_FUTEX_HASH` of `linux/prctl.h`, and what it does.
#[cfg(target_os = "linux")]
const FUTEX_HASH: i32 = 78;
#[cfg(target_os = "linux")]
const SET_SLOTS: usize = 1;

/// Has the kernel make room for many waiting threads. To be called once, before other threads are started.
#[cfg(target_os = "linux")]
pub(crate) fn make_room_for_waiters() {
    // An older kernel refuses. It has one large table for all processes.
    if futex_hash(SET_SLOTS, SLOTS) != 0 {
        log::debug!("the kernel does not let the number of slots for waiting threads be set");
    }
}

#[cfg(target_os = "linux")]
fn futex_hash(what: usize, slots: usize) -> i32 {
    unsafe extern "C" {
        fn prctl(option: i32, ...) -> i32;
    }
    // SAFETY: it reads or changes the size of a table in the kernel, and touches no memory of this process.
    unsafe { prctl(FUTEX_HASH, what, slots, 0_usize, 0_usize) }
}

/// Other systems are left as they are.
#[cfg(not(target_os = "linux"))]
pub(crate) fn make_room_for_waiters() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    const GET_SLOTS: usize = 2;

    #[test]
    fn a_kernel_with_a_table_for_each_process_has_as_many_slots_as_were_asked_for() {
        let knows_tables = futex_hash(GET_SLOTS, 0) >= 0;
        make_room_for_waiters();
        if knows_tables {
            assert_eq!(futex_hash(GET_SLOTS, 0), SLOTS as i32);
        }
    }
}
