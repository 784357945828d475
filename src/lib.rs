#![allow(dead_code, unused_imports)]
mod base;
mod chain;
mod journal;
mod manifest;
