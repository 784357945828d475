//! Real PostgreSQL servers for tests, from the system's packages: one for all tests of a binary, or three of which one takes
//! writes and two keep what it commits.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use super::support::{eventually, skipped, text};

/// Where the programs of PostgreSQL are; none if they are not installed, which is reported.
pub fn programs(what: &str) -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        versions.map(|entry| entry.path().join("bin")).filter(|dir| dir.join("initdb").exists()).collect();
    found.sort();
    let found = found.pop();
    if found.is_none() {
        skipped(what, "PostgreSQL is not installed");
    }
    found
}

/// A command as the user `postgres`, where root runs the tests: the server refuses to run as root.
fn as_postgres(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--pdeathsig", "QUIT"]);
    command.arg(program);
    command
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn done(output: Output, what: &str) -> String {
    assert!(output.status.success(), "{what}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// One server.
pub struct Server {
    programs: PathBuf,
    dir: PathBuf,
    pub port: u16,
    /// Its name as a standby.
    name: String,
    child: Option<Child>,
}

/// What a test server is told. It must not be told to be unsafe: Theater refuses that.
const SETTINGS: [&str; 14] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=100",
    "shared_buffers=32MB",
    "max_wal_senders=6",
    "wal_level=replica",
    "wal_keep_size=256MB",
    "hot_standby=on",
    "wal_sender_timeout=5s",
    "wal_receiver_timeout=5s",
    "wal_retrieve_retry_interval=100ms",
    "log_min_messages=warning",
    "logging_collector=off",
    "datestyle=iso",
];

impl Server {
    fn make(programs: &Path, dir: PathBuf, name: &str) -> Self {
        let mut init = as_postgres(&programs.join("initdb"));
        init.arg("-D").arg(&dir).args([
            "-A",
            "trust",
            "-U",
            "postgres",
            "--no-sync",
            "--encoding",
            "UTF8",
            "--no-locale",
        ]);
        done(init.current_dir("/").output().expect("initdb"), "initdb");
        Self { programs: programs.to_owned(), dir, port: free_port(), name: name.into(), child: None }
    }

    /// Copies a server that runs, to follow it.
    fn standby_of(primary: &Self, dir: PathBuf, name: &str) -> Self {
        let mut copy = as_postgres(&primary.programs.join("pg_basebackup"));
        copy.args(["-h", "127.0.0.1", "-U", "postgres", "-R", "-X", "stream", "-c", "fast", "--no-sync", "-p"]);
        copy.arg(primary.port.to_string()).arg("-D").arg(&dir);
        done(copy.current_dir("/").output().expect("pg_basebackup"), "pg_basebackup");
        let standby =
            Self { programs: primary.programs.clone(), dir, port: free_port(), name: name.into(), child: None };
        standby.follow(primary.port);
        standby
    }

    /// Has it follow the server at this port, from its next start or reload on.
    fn follow(&self, port: u16) {
        let line =
            format!("\nprimary_conninfo = 'host=127.0.0.1 port={port} user=postgres application_name={}'\n", self.name);
        let mut file = fs::File::options().append(true).open(self.dir.join("postgresql.auto.conf")).expect("a file");
        file.write_all(line.as_bytes()).expect("written");
    }

    /// Starts it, and waits until it takes connections.
    pub fn start(&mut self, more: &[String]) {
        self.begin(more);
        eventually("the server takes connections", || self.ask_if_up("select 1"));
    }

    /// Starts it without waiting.
    fn begin(&mut self, more: &[String]) {
        let mut command = as_postgres(&self.programs.join("postgres"));
        command.arg("-D").arg(&self.dir).args(["-p", &self.port.to_string()]);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        more.iter().for_each(|setting| _ = command.args(["-c", setting]));
        let log = fs::File::options().create(true).append(true).open(self.dir.with_extension("log")).expect("a log");
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(spawn(command));
    }

    /// Executes SQL as the superuser; the result's rows as text. None if it is not possible.
    pub fn ask_if_up(&self, sql: &str) -> Option<String> {
        self.ask_in("postgres", sql).ok()
    }

    pub fn ask(&self, database: &str, sql: &str) -> String {
        self.ask_in(database, sql).unwrap_or_else(|why| panic!("{sql}: {why}"))
    }

    fn ask_in(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-h", "127.0.0.1", "-U", "postgres", "-XAtq", "-v", "ON_ERROR_STOP=1", "-p"]);
        let output = psql.arg(self.port.to_string()).args(["-d", database, "-c", sql]).current_dir("/").output();
        let output = output.expect("psql");
        if output.status.success() { Ok(text(&output.stdout).trim().to_owned()) } else { Err(text(&output.stderr)) }
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().expect("it runs").id();
        let group = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let pids = std::iter::once(pid.to_string()).chain(group.split_whitespace().map(str::to_owned));
        let mut kill = Command::new("kill");
        kill.arg(format!("-{signal}")).args(pids.collect::<Vec<_>>());
        // A process of the group may have ended meanwhile.
        let _ = kill.output().expect("kill");
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Ends all of its processes at once.
    pub fn kill(&mut self) {
        self.signal("KILL");
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
        let _ = fs::remove_file(self.dir.join("postmaster.pid"));
    }

    /// Stops all of its processes where they are.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.signal("CONT");
            self.kill();
        }
    }
}

/// Spawns from a thread that lives as long as the process: a server ends with the thread that has started it.
fn spawn(command: Command) -> Child {
    static SPAWNER: OnceLock<mpsc::SyncSender<(Command, mpsc::SyncSender<Child>)>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (to, commands) = mpsc::sync_channel::<(Command, mpsc::SyncSender<Child>)>(1);
        std::thread::spawn(move || {
            for (mut command, answer) in commands {
                answer.send(command.spawn().expect("a server")).expect("somebody waits");
            }
        });
        to
    });
    let (answer, child) = mpsc::sync_channel(1);
    spawner.send((command, answer)).expect("the thread lives");
    child.recv().expect("a child")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// A directory that the user `postgres` may use, too.
fn open_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("permitted");
    dir
}

/// A server of a test's own, without standbys.
pub fn single(programs: &Path) -> Single {
    let dir = open_dir();
    let mut server = Server::make(programs, dir.path().join("data"), "single");
    server.start(&[]);
    Single { server, _dir: dir }
}

/// The same with TLS and a password, and no other way in.
pub fn single_with_tls(programs: &Path, password: &str) -> Single {
    let dir = open_dir();
    let mut server = Server::make(programs, dir.path().join("data"), "single");
    server.start(&[]);
    server.ask("postgres", &format!("alter user postgres password '{password}'"));
    server.kill();
    let at = |name: &str| server.dir.join(name).display().to_string();
    let openssl = |args: &[&str]| {
        let mut command = as_postgres(Path::new("openssl"));
        done(command.args(args).current_dir("/").output().expect("openssl"), "openssl");
    };
    let of = |name: &str| -> [String; 2] { [at(&format!("{name}.key")), at(&format!("{name}.crt"))] };
    let ([authority_key, authority], [key, certificate]) = (of("authority"), of("server"));
    let ca = ["-subj", "/CN=authority", "-addext", "basicConstraints=critical,CA:TRUE"];
    openssl(
        &[&["req", "-new", "-x509", "-days", "30", "-nodes", "-keyout", &authority_key, "-out", &authority], &ca[..]]
            .concat(),
    );
    let extensions = at("extensions");
    fs::write(&extensions, "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n").expect("written");
    let request = at("server.csr");
    openssl(&["req", "-new", "-nodes", "-subj", "/CN=localhost", "-keyout", &key, "-out", &request]);
    let signed =
        ["-CA", &authority, "-CAkey", &authority_key, "-CAcreateserial", "-days", "30", "-extfile", &extensions];
    openssl(&[&["x509", "-req", "-in", &request, "-out", &certificate], &signed[..]].concat());
    fs::write(server.dir.join("pg_hba.conf"), "hostssl all all all scram-sha-256\n").expect("written");
    let settings = ["ssl=on".into(), format!("ssl_cert_file={certificate}"), format!("ssl_key_file={key}")];
    server.begin(&settings);
    let address = ("127.0.0.1", server.port);
    eventually("the server listens", || std::net::TcpStream::connect(address).ok());
    Single { server, _dir: dir }
}

pub struct Single {
    server: Server,
    _dir: tempfile::TempDir,
}

impl Single {
    /// The certificate of the authority that has signed the server's.
    pub fn authority(&self) -> PathBuf {
        self.server.dir.join("authority.crt")
    }
}

impl std::ops::Deref for Single {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl std::ops::DerefMut for Single {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

/// A database of its own in a server without standbys, which all tests of this binary share. None if PostgreSQL is not installed,
/// which is reported.
pub fn database(what: &str) -> Option<Database> {
    static SHARED: OnceLock<Single> = OnceLock::new();
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let programs = programs(what)?;
    let server: &'static Server = SHARED.get_or_init(|| single(&programs));
    let name = format!("theater{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    server.ask("postgres", &format!("create database {name}"));
    Some(Database { server, name })
}

/// A database of one server.
pub struct Database {
    pub server: &'static Server,
    pub name: String,
}

impl Database {
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{}", self.server.port, self.name)
    }

    pub fn ask(&self, sql: &str) -> String {
        self.server.ask(&self.name, sql)
    }
}

/// Three servers: one takes writes, and a commit waits until one of the two others has it on its disk.
pub struct Three {
    _dir: tempfile::TempDir,
    pub servers: Vec<Server>,
    primary: usize,
    /// The one that was killed last, and is not back.
    dead: Option<usize>,
}

impl Three {
    /// None if PostgreSQL is not installed, which is reported.
    pub fn start(what: &str) -> Option<Self> {
        let programs = programs(what)?;
        let dir = open_dir();
        let mut first = Server::make(&programs, dir.path().join("p0"), "s0");
        first.start(&[standbys(&["s1", "s2"])]);
        let mut servers = vec![first];
        for number in 1..3 {
            let name = format!("s{number}");
            let mut standby = Server::standby_of(&servers[0], dir.path().join(format!("p{number}")), &name);
            standby.start(&[]);
            servers.push(standby);
        }
        let three = Self { _dir: dir, servers, primary: 0, dead: None };
        three.until_safe(2);
        Some(three)
    }

    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
        format!("postgres://postgres@{}/postgres", hosts.join(","))
    }

    pub fn primary(&mut self) -> &mut Server {
        &mut self.servers[self.primary]
    }

    /// Waits until so many standbys keep what the primary commits.
    fn until_safe(&self, count: usize) {
        let sql = "select count(*) from pg_stat_replication where state = 'streaming'";
        let has = || self.servers[self.primary].ask_if_up(sql)?.parse::<usize>().ok().filter(|found| *found >= count);
        eventually("the standbys follow", has);
    }

    /// Kills the primary, and has that standby take its place which has received most.
    pub fn fail_over(&mut self) {
        let before = self.primary;
        self.servers[before].kill();
        let received = |server: &Server| {
            let sql = "select pg_last_wal_receive_lsn() - '0/0'::pg_lsn";
            server.ask_if_up(sql).and_then(|bytes| bytes.parse::<u64>().ok()).unwrap_or(0)
        };
        let others: Vec<usize> = (0..3).filter(|number| *number != before).collect();
        let next = *others.iter().max_by_key(|number| received(&self.servers[**number])).expect("two of them");
        let other = others.into_iter().find(|number| *number != next).expect("the other one");
        let names = [format!("s{other}"), format!("s{before}")];
        let setting = format!("alter system set {}", standbys(&[&names[0], &names[1]]).replacen('=', " = '", 1) + "'");
        let server = &self.servers[next];
        server.ask("postgres", "select pg_promote(true)");
        server.ask("postgres", &setting);
        server.ask("postgres", "select pg_reload_conf()");
        let port = server.port;
        self.servers[other].follow(port);
        self.servers[other].ask("postgres", "select pg_reload_conf()");
        (self.primary, self.dead) = (next, Some(before));
        self.until_safe(1);
    }

    /// Makes a standby of the server that was killed, as a copy of the one that takes writes now.
    pub fn bring_back(&mut self) {
        let Some(dead) = self.dead.take() else { return };
        let (dir, name) = (self.servers[dead].dir.clone(), self.servers[dead].name.clone());
        fs::remove_dir_all(&dir).expect("removed");
        let mut standby = Server::standby_of(&self.servers[self.primary], dir, &name);
        // Those who know the servers know this port.
        standby.port = self.servers[dead].port;
        standby.start(&[]);
        self.servers[dead] = standby;
        self.until_safe(2);
    }
}

fn standbys(names: &[&str]) -> String {
    format!("synchronous_standby_names=ANY 1 ({})", names.join(","))
}
