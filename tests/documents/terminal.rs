//! A shell with its own network and its own copy of the checkout: the ports that documents show are free there, and
//! files that are written disappear afterwards. It needs no root on systems that let users create namespaces.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// The time for one command, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// Covers the checkout with a layer in memory that receives everything written, and starts the loopback interface.
const PREPARE: &str = "set -e
mount -t tmpfs none \"$SCRATCH\"
mkdir \"$SCRATCH/written\" \"$SCRATCH/work\" \"$SCRATCH/out\"
# Without a terminal curl draws how far it is.
printf 'silent\nshow-error\n' > \"$SCRATCH/out/.curlrc\"
export CURL_HOME=\"$SCRATCH/out\" TMPDIR=\"$SCRATCH/out\"
mount -t overlay overlay -o \"lowerdir=$CHECKOUT,upperdir=$SCRATCH/written,workdir=$SCRATCH/work\" \"$CHECKOUT\"
python3 -c 'import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack(\"16sh14x\", b\"lo\", 0x41))'
cd \"$CHECKOUT\"
rm -rf theater-data theater.toml
";

/// The options for new namespaces: for root, and for other users.
const WAYS: [&[&str]; 2] = [&["--net", "--mount"], &["--map-root-user", "--net", "--mount"]];

/// Variables that cargo sets and a reader's environment lacks; with them, cargo would compile everything again.
const FOREIGN: [&str; 8] =
    ["THEATER_", "CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_", "MAKE", "MFLAGS"];

/// This character and the exit status follow the output of each command.
const END: char = '\x1e';

pub struct Terminal {
    shell: Child,
    to: ChildStdin,
    lines: Receiver<String>,
    /// Removed together with the terminal, which has its own file system there.
    _scratch: tempfile::TempDir,
}

/// The result of a command.
pub struct Printed {
    pub status: i32,
    pub text: String,
    /// Commands that failed before the last one, as bash reports them.
    pub failed: Vec<String>,
}

fn unshare(way: &[&str], scratch: &Path, shell: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(way).args(["--pid", "--fork", "--kill-child", "bash", "--noprofile", "--norc", "-c", shell]);
    command.env("CHECKOUT", env!("CARGO_MANIFEST_DIR")).env("SCRATCH", scratch);
    let is_foreign = |key: &str| key == "RUST_LOG" || FOREIGN.iter().any(|prefix| key.starts_with(prefix));
    for (key, _) in std::env::vars().filter(|(key, _)| is_foreign(key)) {
        command.env_remove(key);
    }
    command
}

/// The programs that the blocks and this shell need; `scripts/test-tools.sh` names their Debian packages.
const TOOLS: [&str; 6] = ["bash", "curl", "python3", "setsid", "sqlite3", "unshare"];

fn is_there(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(tool).is_file())
}

/// The options that work on this machine; the error says why none does.
fn way() -> Result<&'static [&'static str], String> {
    if let Some(tool) = TOOLS.iter().find(|tool| !is_there(tool)) {
        return Err(format!("there is no {tool}"));
    }
    let mut why = String::new();
    for way in WAYS {
        let scratch = tempfile::tempdir().expect("a directory");
        match unshare(way, scratch.path(), PREPARE).output() {
            Ok(output) if output.status.success() => return Ok(way),
            Ok(output) => why = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; "),
            Err(error) => why = format!("unshare: {error}"),
        }
    }
    Err(why)
}

impl Terminal {
    /// Opens a terminal; the built program is on its path if `has_program`.
    pub fn open(has_program: bool) -> Result<Self, String> {
        let way = way()?;
        let scratch = tempfile::tempdir().expect("a directory");
        let mut command = unshare(way, scratch.path(), &format!("{PREPARE}exec bash --noprofile --norc"));
        if has_program {
            let path = std::env::var("PATH").unwrap_or_default();
            let program = Path::new(env!("CARGO_BIN_EXE_theater")).parent().expect("it lies somewhere").display();
            command.env("PATH", format!("{program}:{path}"));
        }
        let (reader, writer) = std::io::pipe().expect("a pipe");
        command.stdin(Stdio::piped()).stdout(writer.try_clone().expect("a pipe")).stderr(writer);
        let mut shell = command.spawn().expect("it was there just now");
        drop(command);
        let to = shell.stdin.take().expect("piped");
        let (send, lines) = channel();
        std::thread::spawn(move || {
            BufReader::new(reader).lines().map_while(Result::ok).try_for_each(|line| send.send(line))
        });
        let mut terminal = Self { shell, to, lines, _scratch: scratch };
        // As in an interactive shell.
        terminal.ask("shopt -s expand_aliases; trap 'echo \"$BASH_COMMAND\" >> $SCRATCH/out/failed' ERR");
        Ok(terminal)
    }

    /// Runs a command and waits for its end.
    pub fn ask(&mut self, command: &str) -> Printed {
        let typed = format!(
            ": > $SCRATCH/out/failed\n{command}\n__status=$?; printf '\\n{END}%s\\n' $__status; cat $SCRATCH/out/failed; \
             printf '{END}\\n'\n"
        );
        self.to.write_all(typed.as_bytes()).and_then(|()| self.to.flush()).expect("the shell takes it");
        let mut said = Vec::new();
        let line = || self.lines.recv_timeout(PATIENCE);
        let status = loop {
            let line = line().unwrap_or_else(|error| panic!("{error}: {command}\n{}", said.join("\n")));
            match line.strip_prefix(END) {
                Some(status) => break status.parse().expect("a status"),
                None => said.push(line),
            }
        };
        let failed = std::iter::from_fn(|| line().ok().filter(|line| !line.starts_with(END))).collect();
        let text = said.join("\n").trim_end_matches('\n').to_owned();
        Printed { status, text, failed }
    }

    /// Runs a serving command in the other terminal, where the previous one is ended first, and waits until it is
    /// ready. Returns what it printed on standard output.
    pub fn serve(&mut self, command: &str) -> Printed {
        self.stop();
        self.ask(&format!(
            // Emptied before the command starts: what an earlier one has printed must not be taken for its output.
            ": > $SCRATCH/out/served; : > $SCRATCH/out/log
setsid {command} > $SCRATCH/out/served 2> $SCRATCH/out/log & __server=$!
until grep -qx ready $SCRATCH/out/served || ! kill -0 $__server 2> /dev/null; do sleep 0.05; done
grep -x -B 99 ready $SCRATCH/out/served || {{ cat $SCRATCH/out/served $SCRATCH/out/log; false; }}"
        ))
    }

    /// Presses Ctrl-C in the other terminal.
    pub fn stop(&mut self) {
        self.ask("[ -z \"$__server\" ] || { kill -INT -- -$__server; wait $__server; } 2> /dev/null; __server=");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The end of a namespace's first process ends all its other processes.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
