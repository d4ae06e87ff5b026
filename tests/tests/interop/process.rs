//! A process that speaks one JSON object a line, both ways.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use relay_tests::GUARD;
use serde_json::Value;

/// Dropping it kills it.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Process {
    /// Its standard error is that of the test.
    pub(crate) fn start(name: &'static str, command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { name, stdin: child.stdin.take(), child, lines }
    }

    /// Writes to its standard input.
    pub(crate) fn say(&mut self, command: &Value) {
        writeln!(self.stdin.as_mut().unwrap(), "{command}").unwrap();
    }

    /// The next line of its output.
    pub(crate) fn next(&self) -> Value {
        let line = self.lines.recv_timeout(GUARD).unwrap_or_else(|_| panic!("{}: no line came", self.name));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{}: {error}: {line}", self.name))
    }

    /// The next line, which is an event of this name.
    pub(crate) fn event(&self, name: &str) -> Value {
        let event = self.next();
        assert_eq!(event["event"], name, "{}: {event}", self.name);
        event
    }

    /// The next event of this name; what comes before it is passed over.
    pub(crate) fn until(&self, name: &str) -> Value {
        std::iter::repeat_with(|| self.next()).find(|event| event["event"] == name).unwrap()
    }

    /// Ends its input, and waits for its end: its exit code.
    pub(crate) fn end(mut self) -> i32 {
        self.stdin = None;
        while self.lines.recv_timeout(GUARD).is_ok() {}
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
