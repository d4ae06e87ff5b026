//! Lines on their way to a reader that may be slow.
//!
//! Standard output blocks, so a thread of its own writes. Lines keep their order. Events are let in while few bytes of
//! them wait; otherwise they stay in the queue that they come from, which is bounded and holds its link back. Answers to
//! commands are always let in, so that no number of unread events holds them up for longer than it takes to read what a
//! pipe holds (REQ-7); how many there can be is bounded by whoever takes commands.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::output::Output;
use crate::streams::keep_serving;

/// Events are let in while fewer bytes of them wait than this: about what a pipe holds.
const EVENT_ROOM: usize = 64 << 10;

/// What hangs on a line: told when the line is written, and dropped when it cannot be.
pub(crate) trait OnWritten: Send + 'static {
    /// The line is out.
    fn written(self);
}

/// Nothing does.
impl OnWritten for () {
    fn written(self) {}
}

/// The sending end. The writer ends when this is dropped, once everything is written.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    /// Told when there is something to write.
    filled: Condvar,
    /// Told when something was written, and when the writer ends.
    written: Notify,
}

#[derive(Debug)]
struct Line<T> {
    text: String,
    kind: Kind,
    then: Option<T>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Answer,
    Event,
}

#[derive(Debug)]
struct State<T> {
    lines: VecDeque<Line<T>>,
    /// Bytes that are not written yet, those that the writer has in hand included.
    unwritten: Unwritten,
    closed: bool,
    /// The writer has ended: everything is written, or nothing can be written any more.
    ended: bool,
    failed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Unwritten {
    answers: usize,
    events: usize,
}

impl Unwritten {
    fn of(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Answer => &mut self.answers,
            Kind::Event => &mut self.events,
        }
    }
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self { lines: VecDeque::new(), unwritten: Unwritten::default(), closed: false, ended: false, failed: false }
    }
}

impl<T: OnWritten> Outbox<T> {
    /// Starts a writer. `gone`: what to say when the reader has gone away.
    pub(crate) fn start(to: impl Write + Send + 'static, gone: Option<&'static str>) -> io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), filled: Condvar::new(), written: Notify::new() });
        let writer = shared.clone();
        std::thread::Builder::new().name("relay-output".into()).spawn(move || {
            keep_serving();
            writer.write(Output::new(to), gone);
        })?;
        Ok(Self { shared })
    }

    /// Answers a command.
    pub(crate) fn answer(&self, text: String) {
        self.push(Line { text, kind: Kind::Answer, then: None });
    }

    /// Tells of an event, and then tells `then`, when the line is written and not before.
    pub(crate) fn event(&self, text: String, then: Option<T>) {
        self.push(Line { text, kind: Kind::Event, then });
    }

    fn push(&self, line: Line<T>) {
        let mut state = self.shared.lock();
        if state.ended {
            // Whatever hangs on it is dropped outside the lock.
            drop(state);
            drop(line);
            return;
        }
        *state.unwritten.of(line.kind) += line.text.len();
        state.lines.push_back(line);
        drop(state);
        self.shared.filled.notify_one();
    }

    /// Whether there is room for another event.
    pub(crate) fn has_event_room(&self) -> bool {
        self.shared.lock().unwritten.events < EVENT_ROOM
    }

    /// Bytes of answers that wait to be written.
    pub(crate) fn answer_bytes(&self) -> usize {
        self.shared.lock().unwritten.answers
    }

    /// Whether nothing can be written any more.
    pub(crate) fn has_failed(&self) -> bool {
        self.shared.lock().failed
    }

    /// Waits until something was written, or nothing will be any more. Dropping the future loses nothing.
    pub(crate) async fn changed(&self) {
        self.shared.written.notified().await;
    }

    /// No line will follow. Waits until the writer has ended; then the other end is closed.
    pub(crate) async fn finish(&self) {
        self.shared.close();
        while !self.shared.lock().ended {
            self.changed().await;
        }
    }
}

impl<T> Drop for Outbox<T> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl<T> Shared<T> {
    fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing that holds this lock panics; if it did, lines are still lines.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for lines. `None`: none will follow.
    fn take(&self) -> Option<VecDeque<Line<T>>> {
        let mut state = self.lock();
        while state.lines.is_empty() {
            if state.closed {
                return None;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Some(std::mem::take(&mut state.lines))
    }
}

impl<T: OnWritten> Shared<T> {
    /// The writer's life.
    fn write(&self, mut output: Output<impl Write>, gone: Option<&str>) {
        let mut failed = false;
        while let Some(lines) = self.take() {
            let written = lines.iter().try_for_each(|line| output.line(&line.text)).and_then(|()| output.flush());
            if let Err(error) = written {
                failed = true;
                match gone {
                    _ if error.kind() != io::ErrorKind::BrokenPipe => {
                        crate::output::note(&format!("cannot write events: {error}"));
                    }
                    Some(gone) => crate::output::note(gone),
                    None => {}
                }
                break;
            }
            let mut written = Unwritten::default();
            for line in lines {
                *written.of(line.kind) += line.text.len();
                if let Some(then) = line.then {
                    then.written();
                }
            }
            let mut state = self.lock();
            state.unwritten.answers -= written.answers;
            state.unwritten.events -= written.events;
            drop(state);
            self.written.notify_one();
        }
        // Closed before anybody is told that it is.
        drop(output);
        let mut state = self.lock();
        (state.ended, state.failed, state.unwritten) = (true, failed, Unwritten::default());
        let unwritten = std::mem::take(&mut state.lines);
        drop(state);
        // And with them what hangs on them.
        drop(unwritten);
        self.written.notify_one();
    }
}
