#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| theater_fuzz::run("proofs", bytes));
