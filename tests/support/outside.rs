//! HTTP servers that are not ours, for actors that ask others.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};

use crate::support::PATIENCE;

/// A server that is not ours: it tells what it was sent, head and body as they came.
pub struct Server {
    pub address: SocketAddr,
    pub seen: Receiver<String>,
}

impl Server {
    /// Each connection brings one request, and is answered by `answer`, which is shown the request.
    pub fn answering(answer: impl Fn(&str, &mut TcpStream) + Clone + Send + 'static) -> Self {
        Self::serving(read_request, answer)
    }

    fn serving(read: fn(&TcpStream) -> String, answer: impl Fn(&str, &mut TcpStream) + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address");
        let (tell, seen) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, tell, answer) = (stream.expect("a connection"), tell.clone(), answer.clone());
                std::thread::spawn(move || {
                    let request = read(&stream);
                    // The test may be over.
                    let _ = tell.send(request.clone());
                    answer(&request, &mut stream);
                });
            }
        });
        Self { address, seen }
    }

    /// Answers as soon as the head of a request is there; the body stays unread, unless `answer` reads it.
    pub fn answering_at_once(answer: impl Fn(&str, &mut TcpStream) + Clone + Send + 'static) -> Self {
        Self::serving(read_head, answer)
    }

    /// Answers all with these bytes.
    pub fn saying(bytes: &'static str) -> Self {
        Self::answering(move |_, stream| say(stream, bytes))
    }

    /// Answers nothing, and holds the connection.
    pub fn silent() -> Self {
        Self::answering(|_, stream| _ = stream.read(&mut [0]))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn saw(&self) -> String {
        self.seen.recv_timeout(PATIENCE).expect("a request")
    }
}

fn read_request(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        if reader.read_line(&mut request).unwrap_or(0) == 0 {
            return request;
        }
    }
    let length = request.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).expect("the body");
    request + &String::from_utf8(body).expect("text")
}

/// A byte at a time: nothing behind the head is taken.
fn read_head(mut stream: &TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

pub fn say(stream: &mut TcpStream, text: &str) {
    // A client that has heard enough hangs up.
    let _ = stream.write_all(text.as_bytes());
}
