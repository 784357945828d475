//! The allocator of a component: the first allocations come from memory that is there from the beginning.
//!
//! The standard library's allocator begins empty, and asks for memory (`memory.grow`) at the first allocation. An actor gets
//! a new instance for each call, so each call would ask. For the runtime that is the dearest part of a small call: it changes
//! which pages of the instance may be touched, and changes it back for the next instance, which interrupts every core that
//! runs a thread of the process.
//!
//! So there is a block of [`BYTES`] in front. It gives out its memory in order, takes back what was given out last, and is
//! all free again once nothing of it is in use, as after each call. What does not fit goes to the standard library's
//! allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::ptr;

/// One page of WebAssembly, which is what the standard library's allocator would ask for first.
const BYTES: usize = 64 * 1024;
/// What the block is aligned to, and so the most that an allocation of it can be aligned to.
const ALIGN: usize = 16;

#[cfg(target_family = "wasm")]
#[global_allocator]
static HEAP: Heap = Heap::new();

#[repr(align(16))]
struct Block(UnsafeCell<[u8; BYTES]>);

struct Heap {
    block: Block,
    /// How many bytes of the block were given out, from its beginning.
    used: Cell<usize>,
    /// How many allocations of the block are in use.
    live: Cell<usize>,
}

// SAFETY: an instance has one thread. The tests give each heap to one thread.
unsafe impl Sync for Heap {}

impl Heap {
    const fn new() -> Self {
        Self { block: Block(UnsafeCell::new([0; BYTES])), used: Cell::new(0), live: Cell::new(0) }
    }

    fn start(&self) -> *mut u8 {
        self.block.0.get().cast()
    }

    /// Where in the block an allocation lies; `None` where it is not in the block.
    fn place(&self, allocation: *mut u8) -> Option<usize> {
        let place = allocation.addr().wrapping_sub(self.start().addr());
        (place < BYTES).then_some(place)
    }

    /// An allocation in the block, if it fits.
    fn take(&self, layout: Layout) -> Option<*mut u8> {
        let place = self.used.get().next_multiple_of(layout.align());
        if layout.align() > ALIGN || layout.size() > BYTES - place.min(BYTES) {
            return None;
        }
        self.used.set(place + layout.size());
        self.live.set(self.live.get() + 1);
        Some(self.start().wrapping_add(place))
    }

    fn give_back(&self, place: usize, size: usize) {
        self.live.set(self.live.get() - 1);
        if self.live.get() == 0 {
            self.used.set(0);
        } else if place + size == self.used.get() {
            self.used.set(place);
        }
    }

    /// Changes the size of the allocation that was given out last, if this is it and the block has room.
    fn resize(&self, place: usize, size: usize, new_size: usize) -> bool {
        let fits = place + size == self.used.get() && new_size <= BYTES - place;
        if fits {
            self.used.set(place + new_size);
        }
        fits
    }
}

// SAFETY: what `take` gives out lies within the block, is aligned, and overlaps nothing that is in use: `used` is behind
// all that is in use, and goes back only over an allocation that was given back. The rest is the standard library's.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are the same.
        self.take(layout).unwrap_or_else(|| unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match self.take(layout) {
            Some(allocation) => {
                // SAFETY: `take` gives out this many bytes.
                unsafe { allocation.write_bytes(0, layout.size()) };
                allocation
            }
            // SAFETY: the caller's promises are the same. It need not touch memory that is zero already.
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, allocation: *mut u8, layout: Layout) {
        match self.place(allocation) {
            Some(place) => self.give_back(place, layout.size()),
            // SAFETY: what is not in the block came from `System`.
            None => unsafe { System.dealloc(allocation, layout) },
        }
    }

    unsafe fn realloc(&self, allocation: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Some(place) = self.place(allocation) else {
            // SAFETY: what is not in the block came from `System`.
            return unsafe { System.realloc(allocation, layout, new_size) };
        };
        if self.resize(place, layout.size(), new_size) {
            return allocation;
        }
        // SAFETY: the caller promises that `new_size` makes a layout; the old and the new allocation are both in use, so
        // they do not overlap, and the lesser size lies within both.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !moved.is_null() {
                ptr::copy_nonoverlapping(allocation, moved, layout.size().min(new_size));
                self.give_back(place, layout.size());
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(size: usize) -> Layout {
        Layout::from_size_align(size, 1).unwrap()
    }

    fn heap() -> Box<Heap> {
        Box::new(Heap::new())
    }

    #[test]
    fn allocations_come_in_order_and_aligned() {
        let heap = heap();
        let taken = [(3, 1), (8, 8), (1, 16), (1, 1)].map(|(size, align)| {
            heap.place(heap.take(Layout::from_size_align(size, align).unwrap()).unwrap()).unwrap()
        });
        assert_eq!(taken, [0, 8, 16, 17]);
    }

    #[test]
    fn all_of_the_block_is_free_once_nothing_of_it_is_in_use() {
        let heap = heap();
        let (first, second) = (heap.take(bytes(100)).unwrap(), heap.take(bytes(100)).unwrap());
        unsafe { heap.dealloc(first, bytes(100)) };
        assert_eq!(heap.used.get(), 200, "the second is behind it");
        unsafe { heap.dealloc(second, bytes(100)) };
        assert_eq!(heap.take(bytes(BYTES)), Some(heap.start()));
    }

    #[test]
    fn what_was_given_out_last_can_be_given_back_and_can_grow_where_it_is() {
        let heap = heap();
        let (kept, last) = (heap.take(bytes(100)).unwrap(), heap.take(bytes(100)).unwrap());
        assert_eq!(unsafe { heap.realloc(last, bytes(100), 1_000) }, last);
        assert_eq!(heap.used.get(), 1_100);
        unsafe { heap.dealloc(last, bytes(1_000)) };
        assert_eq!(heap.used.get(), 100);
        assert_eq!(unsafe { heap.realloc(kept, bytes(100), 10) }, kept);
        assert_eq!(heap.used.get(), 10);
    }

    #[test]
    fn an_allocation_that_cannot_grow_where_it_is_moves_with_its_bytes() {
        let heap = heap();
        let (first, _second) = (heap.take(bytes(3)).unwrap(), heap.take(bytes(1)).unwrap());
        unsafe { first.copy_from(b"abc".as_ptr(), 3) };
        let moved = unsafe { heap.realloc(first, bytes(3), 6) };
        assert_eq!((heap.place(moved), heap.live.get()), (Some(4), 2));
        assert_eq!(unsafe { std::slice::from_raw_parts(moved, 3) }, b"abc");
        let outside = unsafe { heap.realloc(moved, bytes(6), BYTES) };
        assert_eq!((heap.place(outside), heap.live.get()), (None, 1));
        assert_eq!(unsafe { std::slice::from_raw_parts(outside, 3) }, b"abc");
        unsafe { heap.dealloc(outside, bytes(BYTES)) };
        assert_eq!(heap.live.get(), 1);
    }

    #[test]
    fn what_does_not_fit_comes_from_the_standard_librarys_allocator() {
        let heap = heap();
        assert_eq!(heap.take(bytes(BYTES + 1)), None);
        assert_eq!(heap.take(Layout::from_size_align(1, 2 * ALIGN).unwrap()), None);
        let last = heap.take(bytes(BYTES - 1)).unwrap();
        assert_eq!(heap.take(Layout::from_size_align(1, 2).unwrap()), None, "nothing is left behind the gap");
        let outside = unsafe { heap.alloc_zeroed(bytes(10)) };
        assert_eq!((heap.place(outside), heap.live.get()), (None, 1));
        unsafe { heap.dealloc(outside, bytes(10)) };
        unsafe { heap.dealloc(last, bytes(BYTES - 1)) };
    }

    #[test]
    fn memory_that_is_asked_for_as_zero_is_zero_after_it_was_used() {
        let heap = heap();
        let used = heap.take(bytes(4)).unwrap();
        unsafe { used.write_bytes(7, 4) };
        unsafe { heap.dealloc(used, bytes(4)) };
        let zeroed = unsafe { heap.alloc_zeroed(bytes(4)) };
        assert_eq!((zeroed, unsafe { std::slice::from_raw_parts(zeroed, 4) }), (used, &[0; 4][..]));
    }
}
