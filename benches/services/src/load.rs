//! The load generator: one thread that keeps many connections busy, each with one request at a time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use crate::PATIENCE;
use crate::answer::{self, Answer};

/// What happens to a request.
pub enum Fate {
    Sent,
    Answered {
        status: u16,
        body: Vec<u8>,
        micros: u32,
    },
    /// The connection ended before the answer came.
    Lost,
}

/// How requests are made: one line before the key, one after it.
pub struct Requests<'a> {
    pub address: SocketAddr,
    pub connections: usize,
    pub method: &'a str,
    /// What follows `/counters/KEY` in the path.
    pub suffix: &'a str,
}

/// Something that is done once, while requests are under way.
pub struct Interruption<'a> {
    pub after: Duration,
    pub action: &'a mut dyn FnMut(),
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    /// The key of the request that has no answer yet, and when it was sent.
    open: Option<(usize, Instant)>,
}

struct Loop<'a, 'b> {
    requests: &'a Requests<'a>,
    epoll: rustix::fd::OwnedFd,
    connections: Vec<Option<Connection>>,
    next: &'b mut dyn FnMut() -> Option<usize>,
    hear: &'b mut dyn FnMut(usize, Fate),
    is_interrupted: bool,
    lost: usize,
}

/// A server may close connections; one that closes so many does not serve.
const MOST_LOST: usize = 10_000;

pub fn name_of(key: usize) -> String {
    format!("k{key}")
}

impl Requests<'_> {
    /// Sends requests for the keys that `next` tells, until it tells none and all are answered. After an interruption no more
    /// requests are sent.
    pub fn drive(
        &self,
        next: &mut dyn FnMut() -> Option<usize>,
        hear: &mut dyn FnMut(usize, Fate),
        mut interruption: Option<Interruption>,
    ) -> io::Result<()> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let connections = (0..self.connections).map(|_| None).collect();
        let mut running = Loop { requests: self, epoll, connections, next, hear, is_interrupted: false, lost: 0 };
        for number in 0..self.connections {
            running.connect(number)?;
            running.send(number)?;
        }
        let begun = Instant::now();
        let mut moved = begun;
        let mut events = Vec::with_capacity(self.connections);
        while running.connections.iter().flatten().any(|connection| connection.open.is_some()) {
            if interruption.as_ref().is_some_and(|due| begun.elapsed() >= due.after) {
                let due = interruption.take().expect("there is one");
                (due.action)();
                running.is_interrupted = true;
            }
            let wait = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
            match epoll::wait(&running.epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(why) => return Err(why.into()),
            }
            if !events.is_empty() {
                moved = Instant::now();
            } else if moved.elapsed() > PATIENCE {
                return Err(io::Error::new(ErrorKind::TimedOut, format!("no answer in {} s", PATIENCE.as_secs())));
            }
            for event in events.drain(..) {
                running.receive(event.data.u64() as usize)?;
            }
        }
        Ok(())
    }
}

impl Loop<'_, '_> {
    fn connect(&mut self, number: usize) -> io::Result<()> {
        let stream = TcpStream::connect(self.requests.address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN)?;
        self.connections[number] = Some(Connection { stream, input: Vec::new(), open: None });
        Ok(())
    }

    fn send(&mut self, number: usize) -> io::Result<()> {
        let Some(connection) = self.connections[number].as_mut() else { return Ok(()) };
        let Some(key) = (!self.is_interrupted).then(|| (self.next)()).flatten() else { return Ok(()) };
        let Requests { address, method, suffix, .. } = self.requests;
        let name = name_of(key);
        let text =
            format!("{method} /counters/{name}{suffix} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\n\r\n");
        (self.hear)(key, Fate::Sent);
        connection.open = Some((key, Instant::now()));
        // So short a text fits the empty buffer of a socket, or the connection is at its end.
        match connection.stream.write_all(text.as_bytes()) {
            Ok(()) => Ok(()),
            Err(_) => self.lose(number),
        }
    }

    fn receive(&mut self, number: usize) -> io::Result<()> {
        let Some(connection) = self.connections[number].as_mut() else { return Ok(()) };
        let mut part = [0; 4096];
        match connection.stream.read(&mut part) {
            Ok(0) => return self.lose(number),
            Ok(length) => connection.input.extend(&part[..length]),
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            Err(_) => return self.lose(number),
        }
        let invalid = |why: String| io::Error::new(ErrorKind::InvalidData, why);
        let Some(Answer { status, body, length, is_last }) = answer::read(&connection.input).map_err(invalid)? else {
            return Ok(());
        };
        if length != connection.input.len() {
            return Err(invalid("more than one answer to a request".into()));
        }
        connection.input.clear();
        let (key, sent) = connection.open.take().ok_or_else(|| invalid("an answer without a request".into()))?;
        let micros = sent.elapsed().as_micros().try_into().unwrap_or(u32::MAX);
        (self.hear)(key, Fate::Answered { status, body, micros });
        if is_last {
            return self.lose(number);
        }
        self.send(number)
    }

    /// The connection is at its end. If the system was not killed, it gets another one, which goes on with the next key.
    fn lose(&mut self, number: usize) -> io::Result<()> {
        let Some(connection) = self.connections[number].take() else { return Ok(()) };
        if let Some((key, _)) = connection.open {
            (self.hear)(key, Fate::Lost);
        }
        drop(connection);
        if self.is_interrupted {
            return Ok(());
        }
        self.lost += 1;
        if self.lost > MOST_LOST {
            return Err(io::Error::other(format!("{MOST_LOST} connections were closed by the server")));
        }
        self.connect(number)?;
        self.send(number)
    }
}

/// A request of its own, and its status and body.
pub fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )?;
    let mut input = Vec::new();
    let mut part = [0; 4096];
    loop {
        let length = stream.read(&mut part)?;
        if length == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        input.extend(&part[..length]);
        let answer = answer::read(&input).map_err(|why| io::Error::new(ErrorKind::InvalidData, why))?;
        if let Some(Answer { status, body, .. }) = answer {
            return Ok((status, body));
        }
    }
}
