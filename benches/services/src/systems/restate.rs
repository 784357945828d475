//! Restate: a virtual object for each key. The server keeps the log and the state; a process of Node runs the handlers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Running, System, here, npm, processor, version};
use crate::load::ask;
use crate::processes::{Processes, eventually};

pub struct Restate;

/// The ports of the server and of the process that runs handlers. The server keeps the address of the second, so it has to be
/// the same after a crash.
const PORTS: &str = "restate.ports";

impl Restate {
    fn server() -> PathBuf {
        npm(&format!("@restatedev/restate-server-linux-{}", processor()), "restate-server")
    }

    fn node() -> PathBuf {
        npm(&format!("node-linux-{}", processor()), "node")
    }
}

impl System for Restate {
    fn name(&self) -> &'static str {
        "Restate"
    }

    fn description(&self) -> String {
        let (server, sdk) = (version("@restatedev/restate-server"), version("@restatedev/restate-sdk"));
        let node = version(&format!("node-linux-{}", processor()));
        format!(
            "{server}, a virtual object for each key; one server with a partition for each core; JavaScript (SDK {sdk}, Node {node})"
        )
    }

    fn needs(&self) -> Vec<PathBuf> {
        vec![Self::server(), Self::node(), here("node_modules/@restatedev/restate-sdk/package.json")]
    }

    fn start(&self, dir: &Path, is_new: bool) -> io::Result<Running> {
        let [ingress, admin, fabric, service] = ports(dir, is_new)?;
        let mut processes = Processes::default();
        // Both write a line for each invocation unless they are told not to.
        let mut node = Command::new(Self::node());
        node.arg(here("restate/counters.js")).arg(service.to_string());
        node.env("RESTATE_LOGGING", "WARN").env("NODE_ENV", "production");
        processes.start(&mut node, dir, |line| (line == "ready").then_some(()))?;
        let mut server = Command::new(Self::server());
        server.args(["--no-logo", "--log-filter", "off", "--node-name", "one", "--base-dir", "restate"]);
        server.args(["--bind-ip", "127.0.0.1", "--bind-port", &fabric.to_string(), "--listen-mode", "tcp"]);
        // Of 2, 8 and 24 (the default) on two cores, 2 gave the most increments, almost twice as many as 24.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        server.env("RESTATE_DEFAULT_NUM_PARTITIONS", cores.to_string());
        server.env("RESTATE_INGRESS__BIND_PORT", ingress.to_string());
        server.env("RESTATE_ADMIN__BIND_PORT", admin.to_string());
        server.env("RESTATE_ADMIN__DISABLE_WEB_UI", "true").env("RESTATE_DISABLE_TELEMETRY", "true");
        processes.start_silent(&mut server, dir)?;

        let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let is_well = |port, path| ask(local(port), "GET", path, "").is_ok_and(|(status, _)| status == 200);
        eventually("Restate was not well", || {
            processes.has_ended() || is_well(admin, "/health") && is_well(ingress, "/restate/health")
        })?;
        if processes.has_ended() {
            return Err(io::Error::other("restate-server or its service ended at once"));
        }
        if is_new {
            let uri = serde_json::json!({ "uri": format!("http://127.0.0.1:{service}") });
            let (status, body) = ask(local(admin), "POST", "/deployments", &uri.to_string())?;
            if status != 201 {
                let body = String::from_utf8_lossy(&body);
                return Err(io::Error::other(format!("restate-server refused the service: {status} {body}")));
            }
        }
        Ok(Running { processes, address: local(ingress) })
    }

    fn count_request(&self) -> (&'static str, &'static str) {
        ("POST", "/count")
    }
}

/// Free ports at first, and then the same ones.
fn ports(dir: &Path, is_new: bool) -> io::Result<[u16; 4]> {
    let file = dir.join(PORTS);
    if is_new {
        // All are held until all are known, so that no two are the same.
        let free = (0..4).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<io::Result<Vec<_>>>()?;
        let ports = free.iter().map(|free| Ok(free.local_addr()?.port())).collect::<io::Result<Vec<_>>>()?;
        std::fs::write(&file, serde_json::to_string(&ports)?)?;
    }
    Ok(serde_json::from_str(&std::fs::read_to_string(&file)?)?)
}
