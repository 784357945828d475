//! The two ends of a listener's life, as its owner holds them: bound, then serving until dropped.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use crate::base::thread::{self, JoinHandle};
use crate::handlers::net::{self, Bell};

use super::door::Door;
use super::limits::WireLimits;
use super::shared::{Service, Shared};

/// A bound address that nobody is answered at yet: clients may connect, and wait.
#[derive(Debug)]
pub(crate) struct HttpListener(TcpListener);

impl HttpListener {
    /// Binds `address`; port 0 is any free one.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        net::bind(address).map(Self)
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Answers requests by `service` from now on. The listener's thread is called `thread_name`, those of its
    /// connections the same with a number behind.
    pub(crate) fn serve(self, thread_name: &str, limits: WireLimits, service: Service) -> io::Result<Serving> {
        let shared = Arc::new(Shared::new(limits, service));
        let (bell, rung) = Bell::new()?;
        let door = Door::new(self.0, thread_name, Arc::clone(&shared), (Arc::clone(&bell), rung))?;
        let thread = thread::spawn(thread_name, move || door.run())?;
        Ok(Serving { shared, bell, thread: Some(thread) })
    }
}

/// A listener that serves. Dropped, it takes no more clients, lets requests under way be answered, closes, and has
/// joined every thread; it must not be dropped by the service itself.
pub(crate) struct Serving {
    shared: Arc<Shared>,
    bell: Arc<Bell>,
    /// `None` only while being dropped.
    thread: Option<JoinHandle>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.shared.close();
        self.bell.ring();
        if let Some(thread) = self.thread.take() {
            // Its panic was logged by the thread itself.
            let _ = thread.join();
        }
    }
}
