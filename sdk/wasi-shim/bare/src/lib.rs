//! The shim for a manifest that grants neither the clock nor randomness.

wasi_shim::shim!(Withheld, Withheld);
