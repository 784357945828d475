//! Running a command for the secret that it prints. It gets no input. It is ended with everything that it has started when
//! its time is over.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::source::SecretCommand;
use crate::base::limits::{SECRET_BYTES, SECRET_STDERR_BYTES};
use crate::net::{Deadline, wait_until_ready};

/// Why a command gave no secret.
#[derive(Debug)]
pub(super) struct CommandFailure {
    pub(super) what: String,
    /// The beginning of what it wrote to standard error.
    pub(super) stderr: String,
}

/// Runs a command to its end, and returns its standard output.
pub(super) fn output(command: &SecretCommand) -> Result<Vec<u8>, CommandFailure> {
    let silent = |what: String| CommandFailure { what, stderr: String::new() };
    let until = Deadline::after(command.timeout);
    let mut process = Command::new(&command.program);
    process.args(&command.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = process.process_group(0).spawn();
    let child = child.map_err(|error| silent(format!("its command cannot be started: {error}")))?;
    let unread = |error: io::Error| silent(format!("the output of its command cannot be read: {error}"));
    let mut running = Running::of(child).map_err(unread)?;
    let ended = running.follow(until);
    let stderr = String::from_utf8_lossy(&running.stderr.bytes).trim_end().to_owned();
    let failed = |what: String| CommandFailure { what, stderr };
    match ended {
        Ok(status) if status.success() => Ok(std::mem::take(&mut running.stdout.bytes)),
        Ok(status) => Err(failed(format!("its command ended with {status}"))),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Err(failed(format!("its command did not end within timeout_ms = {}", command.timeout.as_millis())))
        }
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            Err(failed(format!("its command prints more than {SECRET_BYTES} bytes")))
        }
        Err(error) => Err(failed(unread(error).what)),
    }
}

/// A command that runs. If it is dropped before its end, it is killed, and its children with it.
struct Running {
    child: Child,
    has_ended: bool,
    end: OwnedFd,
    stdout: ReadPipe,
    stderr: ReadPipe,
}

impl Running {
    fn of(mut child: Child) -> io::Result<Self> {
        let made = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).map_err(io::Error::from).and_then(|end| {
            // A line end may follow the longest secret.
            let most = usize::try_from(SECRET_BYTES).unwrap_or(usize::MAX).saturating_add(2);
            let stdout = ReadPipe::of(child.stdout.take().map(OwnedFd::from), most)?;
            Ok((end, stdout, ReadPipe::of(child.stderr.take().map(OwnedFd::from), SECRET_STDERR_BYTES)?))
        });
        match made {
            Ok((end, stdout, stderr)) => Ok(Self { child, has_ended: false, end, stdout, stderr }),
            Err(error) => {
                end(&mut child);
                Err(error)
            }
        }
    }

    /// Reads what the command writes until it ends. A child of it that still holds the pipes is not waited for.
    fn follow(&mut self, until: Deadline) -> io::Result<ExitStatus> {
        loop {
            let mut fds = vec![PollFd::new(&self.end, PollFlags::IN)];
            let open = [&self.stdout, &self.stderr].into_iter().filter_map(|pipe| pipe.fd.as_ref());
            fds.extend(open.map(|fd| PollFd::new(fd, PollFlags::IN)));
            wait_until_ready(&mut fds, Some(until.left()?))?;
            let ends = !fds[0].revents().is_empty();
            drop(fds);
            self.stdout.read_what_is_there()?;
            self.stderr.read_what_is_there()?;
            if self.stdout.is_cut {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            if ends {
                let status = self.child.wait()?;
                self.has_ended = true;
                return Ok(status);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended {
            end(&mut self.child);
        }
    }
}

/// Kills a command and its children, and takes its exit status.
fn end(child: &mut Child) {
    // It may have ended by itself meanwhile.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}

/// The end of a pipe from which this process reads.
struct ReadPipe {
    /// None after the end.
    fd: Option<OwnedFd>,
    bytes: Vec<u8>,
    most: usize,
    /// More came than is kept.
    is_cut: bool,
}

impl ReadPipe {
    fn of(fd: Option<OwnedFd>, most: usize) -> io::Result<Self> {
        if let Some(fd) = &fd {
            fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?;
        }
        Ok(Self { fd, bytes: Vec::new(), most, is_cut: false })
    }

    fn read_what_is_there(&mut self) -> io::Result<()> {
        let mut piece = [0; 4096];
        while let Some(fd) = &self.fd {
            match rustix::io::read(fd.as_fd(), &mut piece) {
                Ok(0) => self.fd = None,
                Ok(read) => {
                    let kept = read.min(self.most - self.bytes.len());
                    self.bytes.extend_from_slice(&piece[..kept]);
                    self.is_cut |= kept < read;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
            // A command that writes without end must not keep this loop from its deadline.
            if self.is_cut {
                break;
            }
        }
        Ok(())
    }
}
