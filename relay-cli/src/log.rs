//! Standard error: the log, warnings and errors.
//!
//! Logging never blocks service. A thread writes the lines, which wait for it in a bounded queue; a line that finds no room
//! is dropped and counted, and the count is told in its place once standard error takes lines again.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::streams::{Patient, keep_serving};
use crate::text;

/// Bytes of lines that may wait to be written.
const ROOM: usize = 256 << 10;

/// How long the end of the process waits for lines that are not written yet.
const PATIENCE: Duration = Duration::from_secs(1);

/// One for the process, as there is one standard error.
static LOG: Log = Log { state: Mutex::new(State::new()), filled: Condvar::new(), emptied: Condvar::new() };

struct Log {
    state: Mutex<State>,
    /// Told when there is something to write.
    filled: Condvar,
    /// Told when nothing is left to write.
    emptied: Condvar,
}

struct State {
    lines: VecDeque<String>,
    /// The bytes of these, and of the line that is being written.
    bytes: usize,
    /// Lines that found no room since the last one that did.
    dropped: u64,
    writer: Writer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Writer {
    NotStarted,
    Runs,
    /// No thread can be made: whoever has a line writes it.
    Impossible,
}

impl State {
    const fn new() -> Self {
        Self { lines: VecDeque::new(), bytes: 0, dropped: 0, writer: Writer::NotStarted }
    }

    fn push(&mut self, line: String) {
        self.bytes += line.len();
        self.lines.push_back(line);
    }

    /// The line that stands for those that were dropped.
    fn take_dropped(&mut self) -> Option<String> {
        let dropped = std::mem::take(&mut self.dropped);
        (dropped > 0).then(|| {
            format!(
                "relay: {dropped} lines of the log are missing here: standard error was not read, and had no room\n"
            )
        })
    }
}

/// Writes lines as soon as possible. Control characters in them are made visible.
pub(crate) fn line(line: &str) {
    LOG.write(&text::visible(line));
}

/// Waits for what is not written yet, for a while.
pub(crate) fn finish() {
    let state = LOG.lock();
    if state.writer == Writer::Runs {
        let unwritten = |state: &mut State| state.bytes > 0 || state.dropped > 0;
        let _ = LOG.emptied.wait_timeout_while(state, PATIENCE, unwritten);
    }
}

/// What the events of `tracing` are written to: each is one write, and one line.
pub(crate) struct Events;

impl Write for Events {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        // A newline of a peer's would look like another event.
        line(&format!("{}\n", text.trim_end_matches('\n').replace('\n', "\\n")));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds this lock panics; if it did, lines are still lines.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&'static self, line: &str) {
        let mut state = self.lock();
        if state.writer == Writer::NotStarted {
            let started = std::thread::Builder::new().name("relay-log".into()).spawn(|| self.write_lines());
            state.writer = if started.is_ok() { Writer::Runs } else { Writer::Impossible };
        }
        if state.writer == Writer::Impossible {
            drop(state);
            let _ = Patient(io::stderr()).write_all(line.as_bytes());
            return;
        }
        // A line that is longer than the room is none that never fits.
        if state.bytes > 0 && state.bytes + line.len() > ROOM {
            state.dropped += 1;
            return;
        }
        if let Some(dropped) = state.take_dropped() {
            state.push(dropped);
        }
        state.push(line.to_owned());
        drop(state);
        self.filled.notify_one();
    }

    /// The writer's life, which is the process's.
    fn write_lines(&self) {
        keep_serving();
        let mut stderr = Patient(io::stderr());
        let mut state = self.lock();
        loop {
            let line = state.lines.pop_front();
            let Some(line) = line.or_else(|| {
                let dropped = state.take_dropped();
                state.bytes += dropped.as_ref().map_or(0, String::len);
                dropped
            }) else {
                self.emptied.notify_all();
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            // Nobody may be there to read it, and there is no other place to say so.
            let _ = stderr.write_all(line.as_bytes());
            state = self.lock();
            state.bytes -= line.len();
        }
    }
}
