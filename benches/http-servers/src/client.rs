//! Clients: one polite, some rude, and a crowd of busy ones on one thread.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::epoll;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// The status of the answer to `request`, or how the connection ended instead.
pub(crate) fn status_of(address: SocketAddr, request: &[u8]) -> String {
    match answer_to(address, request, Duration::from_secs(10)) {
        Ok(answer) if answer.is_empty() => "closed".to_owned(),
        Ok(answer) => answer.get(9..12).unwrap_or(&answer).to_owned(),
        Err(error) => format!("{:?}", error.kind()),
    }
}

/// What comes first in answer to `request`, up to what one read gives after the head.
pub(crate) fn answer_to(address: SocketAddr, request: &[u8], timeout: Duration) -> io::Result<String> {
    let mut socket = connect(address)?;
    socket.set_read_timeout(Some(timeout))?;
    // A server may well answer before it has read everything, and close.
    let _ = socket.write_all(request);
    let mut answer = Vec::new();
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0; 4096];
        match socket.read(&mut piece)? {
            0 => break,
            bytes => answer.extend_from_slice(&piece[..bytes]),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// How long a GET on a connection of its own takes, if it is answered by 200 within ten seconds.
pub(crate) fn time_of_get(address: SocketAddr) -> Option<Duration> {
    let begun = Instant::now();
    let answer = answer_to(address, GET, Duration::from_secs(10)).ok()?;
    answer.starts_with("HTTP/1.1 200").then(|| begun.elapsed())
}

pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
    socket.set_nodelay(true)?;
    socket.set_write_timeout(Some(Duration::from_secs(10)))?;
    Ok(socket)
}

/// Connections that each said `begun`, and nothing more.
pub(crate) fn stalled(address: SocketAddr, clients: usize, begun: &[u8]) -> Vec<TcpStream> {
    let connect = |_| {
        let mut socket = connect(address).ok()?;
        socket.write_all(begun).ok()?;
        socket.set_nonblocking(true).ok()?;
        Some(socket)
    };
    (0..clients).filter_map(connect).collect()
}

/// Whether the server has not closed this connection.
pub(crate) fn is_open(mut socket: &TcpStream) -> bool {
    loop {
        match socket.read(&mut [0; 4096]) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// What a crowd got.
#[derive(Debug, Default)]
pub(crate) struct Got {
    /// Clients that were answered at all.
    pub(crate) clients: usize,
    pub(crate) answers: u64,
    pub(crate) refusals: u64,
    /// Connections that ended while an answer was due.
    pub(crate) broken: u64,
}

struct Busy {
    socket: TcpStream,
    received: Vec<u8>,
    answered: bool,
}

impl Busy {
    fn new(address: SocketAddr) -> io::Result<Self> {
        let socket = connect(address)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, received: Vec::with_capacity(4096), answered: false })
    }

    /// Takes what has come; an answer's head and whether it is whole.
    fn take(&mut self) -> io::Result<Option<String>> {
        let mut piece = [0; 4096];
        match self.socket.read(&mut piece) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => self.received.extend_from_slice(&piece[..bytes]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        let Some(end) = self.received.windows(4).position(|end| end == b"\r\n\r\n") else { return Ok(None) };
        let head = String::from_utf8_lossy(&self.received[..end + 2]).to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next()?.parse().ok());
        if self.received.len() < end + 4 + length.unwrap_or(0) {
            return Ok(None);
        }
        self.received.clear();
        Ok(Some(head))
    }
}

/// `clients` connections opened before any is used, and then kept busy for `time`: each asks again as soon as it was
/// answered, and connects anew where it must.
pub(crate) fn crowd(address: SocketAddr, clients: usize, time: Duration) -> io::Result<Got> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut busy = (0..clients).map(|_| Busy::new(address)).collect::<io::Result<Vec<_>>>()?;
    for (at, client) in busy.iter_mut().enumerate() {
        watch(&poll, client, at)?;
        client.socket.write_all(GET)?;
    }
    let (mut got, deadline) = (Got::default(), Instant::now() + time);
    let mut events = Vec::with_capacity(1024);
    while Instant::now() < deadline {
        events.clear();
        let timeout = rustix::time::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&timeout))?;
        for event in &events {
            let at = event.data.u64() as usize;
            if serve(&mut busy[at], &mut got).is_err() {
                let answered = busy[at].answered;
                busy[at] = Busy { answered, ..Busy::new(address)? };
                watch(&poll, &busy[at], at)?;
                let _ = busy[at].socket.write_all(GET);
            }
        }
    }
    got.clients = busy.iter().filter(|client| client.answered).count();
    Ok(got)
}

fn watch(poll: impl AsFd, client: &Busy, at: usize) -> io::Result<()> {
    Ok(epoll::add(poll, &client.socket, epoll::EventData::new_u64(at as u64), epoll::EventFlags::IN)?)
}

/// Takes an answer, if one is there, and asks again. An error where the connection is over.
fn serve(client: &mut Busy, got: &mut Got) -> io::Result<()> {
    let head = client.take().inspect_err(|_| got.broken += 1)?;
    let Some(head) = head else { return Ok(()) };
    if head.starts_with("http/1.1 200") {
        got.answers += 1;
        client.answered = true;
    } else {
        got.refusals += 1;
    }
    if head.contains("\r\nconnection: close") {
        return Err(ErrorKind::ConnectionAborted.into());
    }
    client.socket.write_all(GET)
}
