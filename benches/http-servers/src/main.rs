//! Blocking HTTP servers, compared by what clients can do to them: `cargo run --release` prints a table.
//!
//! It is the evidence behind Theater's choice to have an engine of its own (ARCHITECTURE.md), and no part of Theater.
//! Each probe has a fresh server in a process of its own; all are given timeouts of 2 s and 256 connections where they
//! can be. Numbers of requests depend on what else the machine does; CPU time for each much less.

#[path = "../../system/src/base.rs"]
mod base;
mod client;
#[path = "../../../src/net/mod.rs"]
#[allow(dead_code, unused_imports, reason = "only the HTTP server is used here")]
mod net;
mod probes;
mod servers;

use std::io;

use rustix::process::{Resource, getrlimit, setrlimit};

use probes::{PROBES, THROUGHPUT};
use servers::Server;

fn main() -> io::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    raise_file_limit()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", name] => Server::by_name(name).ok_or(io::ErrorKind::InvalidInput)?.run(),
        [] => compare(""),
        [part] => compare(part),
        _ => Err(io::Error::other("usage: http-servers [PART OF A PROBE'S NAME]")),
    }
}

/// Both ends of a thousand connections are more than the usual soft limit.
fn raise_file_limit() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

fn compare(part: &str) -> io::Result<()> {
    let names = Server::COMPARED.map(Server::name).join(" | ");
    println!("| | {names} |\n|---|{}", "---|".repeat(Server::COMPARED.len()));
    for probe in PROBES.iter().filter(|probe| probe.name.contains(part)) {
        let results = Server::COMPARED.map(|server| probe.run(server));
        println!("| {} | {} |", probe.name, results.join(" | "));
    }
    println!("\nThe standard library and httparse with no guard at all: {}", THROUGHPUT.run(Server::Floor));
    Ok(())
}
