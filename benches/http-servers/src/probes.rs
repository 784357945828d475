//! What is asked of each server, and what came of it: one row of the table each.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Got, answer_to, connect, crowd, is_open, stalled, status_of, time_of_get};
use crate::servers::Server;

/// A server in a process of its own, killed when dropped.
pub(crate) struct Served {
    child: Child,
    address: SocketAddr,
}

impl Served {
    fn start(server: Server) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", server.name()]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line)?;
        let address = line.trim().parse().map_err(io::Error::other)?;
        let served = Self { child, address };
        while time_of_get(address).is_none() {
            thread::sleep(Duration::from_millis(20));
        }
        Ok(served)
    }

    fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.child.id())).map_or(0, Iterator::count)
    }

    /// CPU time used so far, user and system.
    fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Probe {
    pub(crate) name: &'static str,
    run: fn(&Served) -> io::Result<String>,
}

impl Probe {
    /// What `server`, started for this alone, makes of it.
    pub(crate) fn run(&self, server: Server) -> String {
        Served::start(server).and_then(|served| (self.run)(&served)).unwrap_or_else(|error| format!("error: {error}"))
    }
}

pub(crate) const PROBES: &[Probe] = &[
    Probe { name: "200 connections at once, kept busy 5 s: clients answered", run: |served| burst(served, 200) },
    Probe { name: "1,000 connections at once, kept busy 5 s: clients answered", run: |served| burst(served, 1_000) },
    Probe { name: "200 half-sent heads: threads held after 6 s", run: half_heads },
    Probe { name: "200 heads at a byte each 250 ms: still open after 6 s", run: dripped_heads },
    Probe { name: "1,000 idle connections: threads held", run: idle },
    Probe { name: "500 half heads, reconnecting: GETs in 5 s", run: |served| besieged(served, HALF_HEAD) },
    Probe { name: "500 silent connections, reconnecting: GETs in 5 s", run: |served| besieged(served, b"") },
    Probe { name: "300 bodies announced and not sent: next GET takes", run: stalled_bodies },
    Probe { name: "300 clients that do not read 8 MiB: next GET takes", run: unread_answers },
    Probe { name: "100 panics in the service, then 100 clients: answered", run: panics },
    Probe {
        name: "two equal Content-Lengths",
        run: |served| post(served, "Content-Length: 1\r\nContent-Length: 1\r\n\r\na"),
    },
    Probe {
        name: "two different Content-Lengths",
        run: |served| post(served, "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    },
    Probe {
        name: "Content-Length and Transfer-Encoding",
        run: |served| post(served, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    },
    Probe {
        name: "Transfer-Encoding: xchunked",
        run: |served| post(served, "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    },
    Probe { name: "bare line feeds", run: |served| Ok(status_of(served.address, b"GET / HTTP/1.1\nHost: h\n\n")) },
    Probe { name: "folded header line", run: |served| get(served, "A: b\r\n c\r\n") },
    Probe { name: "second Host", run: |served| get(served, "Host: other\r\n") },
    Probe {
        name: "chunk size `+1`",
        run: |served| post(served, "Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n"),
    },
    Probe { name: "header line of 16 MiB", run: |served| get(served, &format!("A: {}\r\n", "x".repeat(16 << 20))) },
    Probe { name: "header order, duplicates, spelling", run: header_order },
    Probe { name: "3 requests in one packet: answered", run: pipelined },
    Probe { name: "requests/s, 64 connections, best of 8 × 1 s", run: throughput },
];

/// Of which the floor is a bound.
pub(crate) const THROUGHPUT: &Probe = &PROBES[PROBES.len() - 1];

fn burst(served: &Served, clients: usize) -> io::Result<String> {
    let Got { clients, refusals, broken, .. } = crowd(served.address, clients, Duration::from_secs(5))?;
    Ok(format!("{clients} ({refusals} answers not 200, {broken} broken)"))
}

const HALF_HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost:";
const HALF_POST: &[u8] = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n";

fn half_heads(served: &Served) -> io::Result<String> {
    let before = served.threads();
    let open = stalled(served.address, 200, HALF_HEAD);
    thread::sleep(Duration::from_secs(6));
    let held = served.threads().saturating_sub(before);
    Ok(format!("{held} ({} connections open)", open.iter().filter(|socket| is_open(socket)).count()))
}

fn dripped_heads(served: &Served) -> io::Result<String> {
    let mut open = stalled(served.address, 200, HALF_HEAD);
    let deadline = Instant::now() + Duration::from_secs(6);
    while Instant::now() < deadline {
        open.retain(|mut socket| socket.write_all(b"x").is_ok());
        thread::sleep(Duration::from_millis(250));
    }
    Ok(open.iter().filter(|socket| is_open(socket)).count().to_string())
}

fn idle(served: &Served) -> io::Result<String> {
    let before = served.threads();
    let answered = |_| {
        let mut socket = connect(served.address).ok()?;
        socket.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        socket.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").ok()?;
        io::Read::read(&mut socket, &mut [0; 1024]).ok()?;
        Some(socket)
    };
    let open: Vec<_> = (0..1_000).map_while(answered).collect();
    Ok(format!("{} (the first {} were answered)", served.threads().saturating_sub(before), open.len()))
}

/// Attackers that come back as soon as they are closed, and one client that opens a connection for each request.
fn besieged(served: &Served, begun: &[u8]) -> io::Result<String> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut open = stalled(served.address, 500, begun);
            while !done.load(Ordering::Relaxed) {
                open.retain(is_open);
                open.extend(stalled(served.address, 500 - open.len(), begun));
                thread::sleep(Duration::from_millis(5));
            }
        });
        thread::sleep(Duration::from_secs(1));
        let deadline = Instant::now() + Duration::from_secs(5);
        let (mut times, mut failed) = (Vec::new(), 0);
        while Instant::now() < deadline {
            match time_of_get(served.address) {
                Some(time) => times.push(time.as_millis()),
                None => failed += 1,
            }
            thread::sleep(Duration::from_millis(10));
        }
        done.store(true, Ordering::Relaxed);
        times.sort_unstable();
        if times.is_empty() {
            return Ok("none answered".to_owned());
        }
        let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
        Ok(format!("{} answered, {failed} not; median {median} ms, slowest {slowest} ms", times.len()))
    })
}

fn next_get(served: &Served, open: Vec<TcpStream>) -> String {
    let time = time_of_get(served.address);
    drop(open);
    time.map_or("not answered in 10 s".to_owned(), |time| format!("{} ms", time.as_millis()))
}

fn stalled_bodies(served: &Served) -> io::Result<String> {
    Ok(next_get(served, stalled(served.address, 300, HALF_POST)))
}

fn unread_answers(served: &Served) -> io::Result<String> {
    Ok(next_get(served, stalled(served.address, 300, b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")))
}

fn panics(served: &Served) -> io::Result<String> {
    for _ in 0..100 {
        let _ = answer_to(served.address, b"GET /panic HTTP/1.1\r\nHost: h\r\n\r\n", Duration::from_millis(500));
    }
    Ok(crowd(served.address, 100, Duration::from_secs(2))?.clients.to_string())
}

fn post(served: &Served, rest: &str) -> io::Result<String> {
    Ok(status_of(served.address, format!("POST / HTTP/1.1\r\nHost: h\r\n{rest}").as_bytes()))
}

fn get(served: &Served, lines: &str) -> io::Result<String> {
    Ok(status_of(served.address, format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n").as_bytes()))
}

fn header_order(served: &Served) -> io::Result<String> {
    let request =
        b"GET /headers HTTP/1.1\r\nHost: h\r\nx-B: 1\r\nX-a: 2\r\nx-b: 3\r\nX-c: 4\r\nConnection: close\r\n\r\n";
    let mut socket = connect(served.address)?;
    socket.write_all(request)?;
    let mut answer = String::new();
    io::Read::read_to_string(&mut socket, &mut answer)?;
    let seen = answer.lines().last().unwrap_or_default();
    let all = "Host=h;x-B=1;X-a=2;x-b=3;X-c=4;Connection=close;";
    Ok(match seen {
        seen if seen == all => "kept".to_owned(),
        seen if seen.eq_ignore_ascii_case(all) => "spelling lost".to_owned(),
        seen => format!("lost: `{seen}`"),
    })
}

fn pipelined(served: &Served) -> io::Result<String> {
    let mut socket = connect(served.address)?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    socket.write_all(&b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(3))?;
    let (mut answers, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(bytes @ 1..) = io::Read::read(&mut socket, &mut piece) {
        answers.extend_from_slice(&piece[..bytes]);
    }
    Ok(answers.windows(12).filter(|part| part == b"HTTP/1.1 200").count().to_string())
}

/// The best of several short rounds, for the machine may have other things to do.
fn throughput(served: &Served) -> io::Result<String> {
    let (mut most, mut least) = (0.0, f64::MAX);
    for _ in 0..8 {
        let (begun, time) = (served.cpu(), Duration::from_secs(1));
        let answers = crowd(served.address, 64, time)?.answers.max(1) as f64;
        most = f64::max(most, answers / time.as_secs_f64());
        least = f64::min(least, (served.cpu() - begun).as_secs_f64() / answers);
    }
    Ok(format!("{:.0} k ({:.1} µs of CPU each)", most / 1e3, least * 1e6))
}
