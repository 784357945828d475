//! HTTP servers written without Theater's code, for actors that send requests.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::PATIENCE;

/// A server that reports the requests it received, head and body, unchanged.
pub struct Server {
    pub address: SocketAddr,
    pub seen: Receiver<String>,
}

impl Server {
    /// Reads one request on each connection and answers it with `answer`, which is given the request.
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
                    // The test may have ended.
                    let _ = tell.send(request.clone());
                    answer(&request, &mut stream);
                });
            }
        });
        Self { address, seen }
    }

    /// Answers when the head of a request has arrived; the body stays unread unless `answer` reads it.
    pub fn answering_at_once(answer: impl Fn(&str, &mut TcpStream) + Clone + Send + 'static) -> Self {
        Self::serving(read_head, answer)
    }

    /// Answers every request with these bytes.
    pub fn saying(bytes: &'static str) -> Self {
        Self::answering(move |_, stream| say(stream, bytes))
    }

    /// Answers nothing, and keeps the connection open.
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

/// Reads byte by byte, so that nothing after the head is consumed.
fn read_head(mut stream: &TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

pub fn say(stream: &mut TcpStream, text: &str) {
    // A client that has read enough closes the connection.
    let _ = stream.write_all(text.as_bytes());
}

/// The port of a server certified as `localhost` by the authority in `tests/tls/roots.pem`. `answer` is given what came
/// first of each request, and returns what is sent back.
pub fn tls_server(answer: impl Fn(&str) -> String + Send + 'static) -> u16 {
    let pem = CertificateDer::pem_slice_iter(include_bytes!("../tls/server.pem"));
    let chain = pem.map(|pem| pem.expect("a certificate"));
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../tls/server.key")).expect("a key");
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain.collect(), key);
    let config = Arc::new(config.expect("they belong together"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(config.clone()).expect("a connection");
            let socket = stream.expect("a connection");
            // Otherwise a reset could discard the answer while it waits for an acknowledgement.
            socket.set_nodelay(true).expect("a socket");
            let mut stream = rustls::StreamOwned::new(connection, socket);
            // A client that does not trust this certificate closes the connection.
            let mut request = [0; 4096];
            let came = stream.read(&mut request).unwrap_or(0);
            let _ = stream.write_all(answer(&String::from_utf8_lossy(&request[..came])).as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    port
}
