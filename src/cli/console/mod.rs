//! `theater console`: a page for a browser that shows a runtime. It is a process of its own, and a client of the management
//! protocol.
//!
//! ```text
//!   browsers ── HTTP ──▶ listener ──▶ access ──▶ page | questions | commands ──▶ runtime
//!       ▲                                                                           │
//!       └──────────── streams ◀── pulse (asks once a second, for all of them) ◀─────┘
//! ```
//!
//! The runtime sees one client with few connections, however many browsers there are.

mod access;
mod answer;
mod commands;
mod listener;
mod moment;
mod page;
mod pulse;
mod questions;
mod rows;
mod runtime;
mod streams;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use self::access::Access;
use self::pulse::Pulse;
use self::runtime::Runtime;
use super::connect::client_options;
use super::show::{print_json, say};
use super::{Done, Failure, Remote};
use crate::base::wait;
use crate::net::http::HttpListener;
use crate::server::Endpoint;

#[derive(Args)]
pub(super) struct ConsoleArgs {
    /// Where the page is served: an address of this machine
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
    /// The name by which browsers reach the console, if that is not the address of --listen: of a reverse proxy, with the port if
    /// it is not 443; may be given several times
    #[arg(long, value_name = "HOST[:PORT]")]
    host: Vec<String>,
    /// A file with the key that browsers must give [default: if one is needed, a new random one, which is printed]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Let nobody change anything from the page, whatever the token allows
    #[arg(long)]
    read_only: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Serves the page until the process is ended.
pub(super) fn console(args: &ConsoleArgs) -> Done {
    let options = client_options(&args.remote)?;
    let is_local = args.listen.ip().is_loopback();
    if !is_local && args.host.is_empty() {
        return Err(Failure::usage(format!(
            "--listen {} is not loopback: put a reverse proxy with TLS before it, and name the proxy by --host HOST",
            args.listen
        )));
    }
    // Who can reach the page can do what this process may. If the runtime lets nobody in without a token, or only through its
    // socket, the page must not be a way around that.
    // A host that is named is a proxy's: whoever reaches that reaches the page.
    let needs_key =
        !is_local || !args.host.is_empty() || options.token.is_some() || matches!(options.endpoint, Endpoint::Unix(_));
    let runtime = Arc::new(Runtime::new(options, args.read_only));
    let cannot =
        |error| Failure::no(format!("cannot listen on {}: {error}; name another address with --listen", args.listen));
    let listener = HttpListener::bind(args.listen).map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    let access = Access::new(address, &args.host, args.key_file.as_deref(), needs_key)?;
    let pulse = Pulse::start(Arc::clone(&runtime)).map_err(Failure::no)?;
    let url = access.url();
    let _serving = listener::serve(listener, access, runtime, pulse).map_err(Failure::no)?;
    if args.remote.json {
        print_json(&serde_json::json!({ "url": url }));
    } else {
        say!("console  {url}");
    }
    // A signal ends the process.
    loop {
        wait::park();
    }
}
