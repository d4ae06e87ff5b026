//! Standard streams as other processes leave them.

use std::io::{BufRead, ErrorKind, PipeReader, PipeWriter, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use serde_json::Value;

/// What only a hang takes.
const HANG: Duration = Duration::from_secs(120);

/// Kills a process that hangs, so that the test which reads its output fails. Until dropped.
pub(crate) fn bound(child: &Child) -> Sender<()> {
    let (ended, end) = channel();
    let id = child.id().to_string();
    std::thread::spawn(move || {
        if end.recv_timeout(HANG) == Err(RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").args(["-KILL", &id]).status();
        }
    });
    ended
}

/// The next event.
pub(crate) fn next_event(stdout: &mut impl BufRead) -> Value {
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// Makes a stream non-blocking, for every process that has it.
pub(crate) fn make_nonblocking(stream: impl AsFd) {
    set(&stream, true);
}

fn set(stream: &impl AsFd, nonblocking: bool) {
    let mut flags = OFlag::from_bits_retain(fcntl(stream, FcntlArg::F_GETFL).unwrap());
    flags.set(OFlag::O_NONBLOCK, nonblocking);
    fcntl(stream, FcntlArg::F_SETFL(flags)).unwrap();
}

/// A pipe that takes no byte until it is read.
pub(crate) fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    set(&writer, true);
    for size in [4096, 1] {
        let full = loop {
            if let Err(error) = writer.write_all(&vec![b'.'; size]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
    }
    set(&writer, false);
    (reader, writer)
}
