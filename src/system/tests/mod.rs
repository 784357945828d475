//! Tests of the files that `tests/interleavings` compiles too, with loom's types: there the tests could not run.

mod mailbox;
mod reply;
mod signal;
