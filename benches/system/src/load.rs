//! How things are measured: so many clients at once, for so long, so many times; product and floor in turn.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

use crate::report::median;

/// How long a run may take.
#[derive(Clone, Copy)]
pub struct Effort {
    pub samples: usize,
    pub sample: Duration,
    pub quick: bool,
}

/// A figure of the product and of its floor, and how many cores this process kept busy for each.
pub struct Pair {
    pub product: f64,
    pub floor: f64,
    pub busy: (f64, f64),
}

/// What `sample` says, and how many cores it kept busy: what a thing takes of the CPU does not depend on how long the disk
/// or others let it wait.
fn busy(sample: &mut impl FnMut() -> f64) -> (f64, f64) {
    let cpu = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let (begun, before) = (Instant::now(), cpu());
    let said = sample();
    (said, (cpu() - before) / begun.elapsed().as_secs_f64())
}

impl Effort {
    pub const QUICK: Self = Self { samples: 3, sample: Duration::from_millis(150), quick: true };
    pub const FULL: Self = Self { samples: 7, sample: Duration::from_millis(500), quick: false };

    /// Takes a sample of each in turn, so that what the machine does meanwhile meets both; their medians.
    pub fn alternate(&self, mut product: impl FnMut() -> f64, mut floor: impl FnMut() -> f64) -> Pair {
        let mut samples = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..self.samples {
            let (product, product_busy) = busy(&mut product);
            let (floor, floor_busy) = busy(&mut floor);
            let taken = [product, floor, product_busy, floor_busy];
            samples.iter_mut().zip(taken).for_each(|(samples, taken)| samples.push(taken));
        }
        let [product, floor, product_busy, floor_busy] = samples.map(median);
        Pair { product, floor, busy: (product_busy, floor_busy) }
    }

    /// One sample instead of several.
    pub fn once(&self) -> Self {
        Self { samples: 1, ..*self }
    }

    /// By how much the one is more than the other, taken in pairs.
    pub fn difference(&self, mut more: impl FnMut() -> f64, mut less: impl FnMut() -> f64) -> f64 {
        self.median(|| more() - less())
    }

    pub fn median(&self, mut sample: impl FnMut() -> f64) -> f64 {
        median((0..self.samples).map(|_| sample()).collect())
    }

    /// Nanoseconds that one call of `once` takes, on average over a sample.
    pub fn time(&self, mut once: impl FnMut()) -> f64 {
        let begun = Instant::now();
        let mut times = 0u32;
        while begun.elapsed() < self.sample {
            for _ in 0..8 {
                once();
            }
            times += 8;
        }
        begun.elapsed().as_nanos() as f64 / f64::from(times)
    }

    /// How many times a second `clients` threads together get through `once`, each in a loop of its own.
    pub fn rate(&self, clients: usize, once: impl Fn(usize) + Sync) -> f64 {
        let (ready, stop) = (Barrier::new(clients + 1), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let client = |number: usize| {
                ready.wait();
                let mut done = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    once(number);
                    done += 1;
                }
                done
            };
            let threads: Vec<_> = (0..clients)
                .map(|number| {
                    let builder = Builder::new().name(format!("client-{number}")).stack_size(128 * 1024);
                    builder.spawn_scoped(scope, move || client(number)).expect("a thread")
                })
                .collect();
            ready.wait();
            let begun = Instant::now();
            std::thread::sleep(self.sample);
            stop.store(true, Ordering::Relaxed);
            let done: u64 = threads.into_iter().map(|thread| thread.join().expect("a client")).sum();
            done as f64 / begun.elapsed().as_secs_f64()
        })
    }
}
