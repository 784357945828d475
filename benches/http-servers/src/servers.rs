//! The servers that are compared, each answering alike, with the bounds it can be given.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::net::http::{HttpLimits, HttpListener, WireRequest, WireResponse};

/// Each is given these where it can be, so that the probes need not take minutes.
const TIMEOUT: Duration = Duration::from_secs(2);
const CONNECTIONS: usize = 256;
const BIG_BYTES: usize = 8 * 1024 * 1024;
/// Threads that take requests from tiny_http.
const TINY_WORKERS: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    TinyHttp,
    Oxhttp,
    Theater,
    /// What the standard library and httparse can do, without any guard: a bound for requests a second only.
    Floor,
}

impl Server {
    pub(crate) const COMPARED: [Self; 3] = [Self::TinyHttp, Self::Oxhttp, Self::Theater];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TinyHttp => "tiny_http",
            Self::Oxhttp => "oxhttp",
            Self::Theater => "theater",
            Self::Floor => "floor",
        }
    }

    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::COMPARED.into_iter().chain([Self::Floor]).find(|server| server.name() == name)
    }

    /// Serves on a port that is printed, until standard input ends.
    pub(crate) fn run(self) -> io::Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        match self {
            Self::TinyHttp => serve_tiny_http(address),
            Self::Oxhttp => serve_oxhttp(),
            Self::Theater => serve_theater(address),
            Self::Floor => serve_floor(address),
        }
    }
}

fn report_and_wait(address: SocketAddr) -> io::Result<()> {
    println!("{address}");
    io::stdout().flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// The service: `headers` are name and value as the server tells them.
fn respond(uri: &str, headers: impl Iterator<Item = (String, String)>) -> Vec<u8> {
    match uri {
        "/headers" => headers.map(|(name, value)| format!("{name}={value};")).collect::<String>().into_bytes(),
        "/panic" => panic!("on purpose"),
        "/big" => vec![b'x'; BIG_BYTES],
        _ => b"hello".to_vec(),
    }
}

fn serve_theater(address: SocketAddr) -> io::Result<()> {
    let limits = HttpLimits {
        connections: CONNECTIONS,
        head_timeout: TIMEOUT,
        body_timeout: TIMEOUT,
        idle_timeout: 5 * TIMEOUT,
        write_timeout: TIMEOUT,
        ..HttpLimits::default()
    };
    let listener = HttpListener::bind(address)?;
    let address = listener.local_addr()?;
    let service = |request: WireRequest| {
        let body = respond(&request.uri, request.headers.into_iter());
        WireResponse::new(200, Vec::new(), Some(body)).expect("a valid answer")
    };
    let _serving = listener.serve("http", limits, Arc::new(service))?;
    report_and_wait(address)
}

fn serve_tiny_http(address: SocketAddr) -> io::Result<()> {
    let server = Arc::new(tiny_http::Server::http(address).map_err(io::Error::other)?);
    for _ in 0..TINY_WORKERS {
        let server = Arc::clone(&server);
        thread::spawn(move || {
            for mut request in server.incoming_requests() {
                let _ = io::copy(request.as_reader(), &mut io::sink());
                let headers: Vec<_> = request
                    .headers()
                    .iter()
                    .map(|header| (header.field.to_string(), header.value.to_string()))
                    .collect();
                let body = respond(request.url(), headers.into_iter());
                let _ = request.respond(tiny_http::Response::from_data(body));
            }
        });
    }
    report_and_wait(server.server_addr().to_ip().expect("an IP address"))
}

/// oxhttp does not tell which port it was given, so one is chosen before.
fn serve_oxhttp() -> io::Result<()> {
    use oxhttp::model::{Body, Response};
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let server = oxhttp::Server::new(|request| {
        let _ = io::copy(request.body_mut(), &mut io::sink());
        let headers = request.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or("?").to_owned()));
        Response::builder().body(Body::from(respond(request.uri().path(), headers))).expect("a valid answer")
    });
    let server = server.bind(address).with_global_timeout(TIMEOUT).with_max_concurrent_connections(CONNECTIONS);
    let _serving = server.spawn()?;
    report_and_wait(address)
}

fn serve_floor(address: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            thread::spawn(move || serve_floor_connection(socket));
        }
    });
    report_and_wait(address)
}

fn serve_floor_connection(mut socket: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    let mut filled = 0;
    loop {
        filled += socket.read(&mut buffer[filled..])?;
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&buffer[..filled]).map_err(io::Error::other)? {
            httparse::Status::Complete(used) => {
                socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")?;
                buffer.copy_within(used..filled, 0);
                filled -= used;
            }
            httparse::Status::Partial => {}
        }
    }
}
