//! A relay between a node and a server: a link that a test can hold, as a network that loses every packet, and cut.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A link that can be held. What is sent meanwhile arrives later, if the connection is still there.
pub struct Relay {
    pub address: SocketAddr,
    is_held: Arc<AtomicBool>,
}

impl Relay {
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let is_held = Arc::<AtomicBool>::default();
        let held = Arc::clone(&is_held);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let held = Arc::clone(&held);
                std::thread::spawn(move || connect(client, port, &held));
            }
        });
        Self { address, is_held }
    }

    pub fn hold(&self, is_held: bool) {
        self.is_held.store(is_held, Ordering::Relaxed);
    }
}

fn connect(client: TcpStream, port: u16, held: &Arc<AtomicBool>) {
    while held.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { return };
    let pair = |socket: &TcpStream| socket.try_clone().expect("a descriptor");
    let (to, held_there) = ((pair(&client), pair(&server)), Arc::clone(held));
    std::thread::spawn(move || forward(to.0, to.1, &held_there));
    forward(server, client, held);
}

fn forward(mut from: TcpStream, mut to: TcpStream, held: &AtomicBool) {
    let mut room = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut room).unwrap_or(0);
        while held.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        if read == 0 || to.write_all(&room[..read]).is_err() {
            break;
        }
    }
    // Whoever has gone is gone for both.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
