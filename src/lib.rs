#![allow(dead_code)]
mod base;
mod chain;
