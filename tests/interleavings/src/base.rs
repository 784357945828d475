//! Theater's `base`, as far as the files need it.

pub mod clock;
pub mod id;
#[path = "../../../src/base/one_shot.rs"]
pub mod one_shot;
pub mod sync;
pub mod wait;
