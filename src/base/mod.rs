//! What every layer needs, and what needs no layer itself: identities, clocks, waits, limits, counters, threads.

pub mod clock;
pub mod dirs;
pub mod fail;
pub mod futexes;
pub mod gate;
pub mod id;
pub mod json_difference;
pub mod limits;
pub mod machine;
pub mod memory;
pub mod metrics;
pub mod one_shot;
pub mod opened;
pub mod places;
pub mod pool;
pub mod rare;
pub mod seeded_bytes;
pub mod seldom;
pub mod stack;
pub mod sync;
pub mod text;
pub mod thread;
pub mod wait;
pub mod whole_file;
