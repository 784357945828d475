//! The log against what can happen to its files.

mod codec;
mod copied;
mod damage;
mod sample;
mod second;
mod whole;
