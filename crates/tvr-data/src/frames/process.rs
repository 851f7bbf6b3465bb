//! One run of a program: its complaints, its pipes, its time limit.

use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};

use super::Fault;

/// Most bytes of complaints that are kept; a damaged file may complain of every block.
const COMPLAINTS: u64 = 1 << 16;

/// How a complaint ends that is of the disk which the program writes to, and of no file that it reads.
const DISK: [(&str, ErrorKind); 3] = [
    (": No space left on device", ErrorKind::StorageFull),
    (": Disk quota exceeded", ErrorKind::QuotaExceeded),
    (": File too large", ErrorKind::FileTooLarge),
];

/// Signals by which others end a program: somebody, a scheduler, or the system where memory is short. A program that breaks
/// down over a file dies of none of them.
const ENDINGS: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGKILL, libc::SIGTERM];

/// What FFmpeg exits with, and no word, when it was asked to end.
const ASKED: i32 = 255;

/// What a shell adds to the signal of which its child died.
const SHELL: i32 = 128;

/// How a run ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Whether the exit code was 0.
    pub well: bool,
    /// Whether it was stopped at its limit.
    pub late: bool,
    /// Whether it was killed, and not by us.
    pub killed: bool,
    /// What it said on stderr.
    pub said: String,
}

impl Ended {
    /// Whether nothing at all was complained of.
    pub fn clean(&self) -> bool {
        self.well && !self.late && self.said.trim().is_empty()
    }

    /// Why it came to no end of its own, if it did not.
    pub fn cut_short(&self, limit: Duration) -> Option<Fault> {
        if self.late {
            return Some(Fault::TimeLimit { seconds: limit.as_secs() });
        }
        self.killed.then_some(Fault::Killed)
    }

    /// The first complaint, without the address that a library puts in front of it.
    pub fn complaint(&self) -> String {
        let mut lines = self.said.lines().map(|line| {
            let mut line = line.trim();
            while let Some((_, rest)) = line.strip_prefix('[').and_then(|line| line.split_once("] ")) {
                line = rest.trim();
            }
            line
        });
        lines.find(|line| !line.is_empty()).unwrap_or("no reason was given").to_owned()
    }
}

/// Runs a program. The writing end `pipes[i].0` is its file descriptor `3 + i`, and `read` gets the reading ends, all
/// at once on threads of their own.
///
/// # Errors
/// A program that cannot be run, or that had no room to write in.
pub(super) fn run<T: Send>(
    mut command: Command,
    limit: Duration,
    pipes: usize,
    read: impl Fn(usize, std::io::PipeReader) -> T + Sync,
) -> std::io::Result<(Ended, Vec<T>)> {
    let mut readers = Vec::with_capacity(pipes);
    let mut mappings = Vec::with_capacity(pipes);
    for place in 0..pipes {
        let (reader, writer) = std::io::pipe()?;
        readers.push(reader);
        mappings.push(FdMapping { parent_fd: OwnedFd::from(writer), child_fd: 3 + place as i32 });
    }
    command.fd_mappings(mappings).map_err(std::io::Error::other)?;
    // In a group of its own, so that Ctrl-C reaches us and not it: interrupted, it would end as if the file did.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn()?;
    drop(command); // and with it our copies of the writing ends
    let mut words = child.stderr.take();
    let read = &read;
    let (over, wait) = channel::<()>();
    let (said, late, results) = std::thread::scope(|scope| {
        let said = scope.spawn(move || {
            let mut said = Vec::new();
            if let Some(words) = &mut words {
                // A read that fails ends the complaints; the exit code tells the rest.
                let _ = words.take(COMPLAINTS).read_to_end(&mut said);
                let _ = std::io::copy(words, &mut std::io::sink());
            }
            drop(over);
            String::from_utf8_lossy(&said).into_owned()
        });
        let results: Vec<_> = readers
            .into_iter()
            .enumerate()
            .map(|(place, reader)| scope.spawn(move || read(place, reader)))
            .collect();
        let late = wait.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        if late {
            kill_group(&child);
        }
        let said = said.join().unwrap_or_default();
        let results: Option<Vec<T>> = results.into_iter().map(|thread| thread.join().ok()).collect();
        (said, late, results)
    });
    let status = child.wait()?;
    let results = results.ok_or_else(|| std::io::Error::other("a thread that read its pictures is lost"))?;
    if let Some(cause) = disk(&said) {
        return Err(cause);
    }
    let killed = !late && is_killed(status, &said);
    Ok((Ended { well: status.success(), late, killed, said }, results))
}

/// Ends a program that was started in a group of its own, with all that it has started: behind a script, FFmpeg is a child
/// of the child, and would keep its pipes open.
fn kill_group(child: &Child) {
    let Ok(group) = libc::pid_t::try_from(child.id()) else { return };
    // SAFETY: the call reads no memory of ours. The child was not waited for, so its number is still its own.
    #[allow(unsafe_code, reason = "the standard library ends a process, and no group")]
    // It may have ended by itself in this very moment.
    let _ = unsafe { libc::kill(-group, libc::SIGKILL) };
}

/// Whether somebody ended a program: by itself, behind a script that handed on its signal as shells do, or by asking it.
fn is_killed(status: ExitStatus, said: &str) -> bool {
    let ends = |signal: i32| ENDINGS.contains(&signal);
    match (status.signal(), status.code()) {
        (Some(signal), _) => ends(signal),
        (None, Some(ASKED)) => said.trim().is_empty(),
        (None, Some(code)) => ends(code - SHELL),
        (None, None) => false,
    }
}

/// Whether a run failed for want of room to write in; the files that it read are none the worse for it.
pub(super) fn is_of_the_disk(cause: &std::io::Error) -> bool {
    DISK.iter().any(|(_, kind)| *kind == cause.kind())
}

fn disk(said: &str) -> Option<std::io::Error> {
    said.lines().map(str::trim).find_map(|line| {
        let (_, kind) = DISK.iter().find(|(end, _)| line.ends_with(end))?;
        Some(std::io::Error::new(*kind, format!("{line}; TMPDIR names another folder")))
    })
}
