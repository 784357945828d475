#![allow(dead_code, unused_imports)]
mod base;
mod chain;
mod journal;
mod manifest;
mod system;
mod guest;
mod handlers;
mod actor;
mod theater;
mod server;
pub mod cli;
