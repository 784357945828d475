//! The shim for a manifest that grants the clock and randomness.

wasi_shim::shim!(Recorded, Recorded);
