//! The shim for a manifest that grants the clock and no randomness.

wasi_shim::shim!(Recorded, Withheld);
