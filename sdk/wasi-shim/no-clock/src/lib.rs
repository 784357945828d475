//! The shim for a manifest that grants randomness and no clock.

wasi_shim::shim!(Withheld, Recorded);
