//! The `relay` process.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::Value;

use crate::PATIENCE;

/// Names the runtime that gateways run on; without it that is the default one.
pub(crate) const RUNTIME: &str = "RELAY_TEST_RUNTIME";

/// `relay gateway` with these arguments, in a clean environment.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
    command.arg("gateway").env_remove("RELAY_LOG");
    if let Ok(runtime) = std::env::var(RUNTIME) {
        command.args(["--runtime", &runtime]);
    }
    // `--exec` takes whatever follows it.
    command.args(arguments);
    for name in ["URL", "ID", "SECRET", "PLATFORMS", "BOT_IDS"] {
        command.env_remove(format!("GATEWAY_RELAY_{name}"));
    }
    command
}

/// The signals that end it in order. One that is ignored here, as SIGHUP is under nohup, is ignored by children, too.
pub(crate) fn signals() -> Vec<&'static str> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).map(str::trim);
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0);
    let all = [("-HUP", 1), ("-INT", 2), ("-TERM", 15)];
    all.into_iter().filter(|(_, number)| ignored & (1 << (number - 1)) == 0).map(|(name, _)| name).collect()
}

/// A running gateway. Dropping it kills it.
pub(crate) struct Relay {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    lines: Option<Receiver<String>>,
    stderr: Receiver<String>,
}

impl Relay {
    /// Fronts `discord`, bot `b1`.
    pub(crate) fn start(url: &str, arguments: &[&str]) -> Self {
        Self::start_command(command(&[&["--url", url, "--platform", "discord", "--bot-id", "b1"], arguments].concat()))
    }

    pub(crate) fn start_command(command: Command) -> Self {
        let mut relay = Self::start_unread(command);
        relay.read();
        relay
    }

    /// Its standard output is not read until [`read`](Self::read) is called.
    pub(crate) fn start_unread(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, stderr) = channel();
        let mut errors = child.stderr.take().unwrap();
        thread::spawn(move || {
            let mut text = String::new();
            errors.read_to_string(&mut text).unwrap();
            let _ = sender.send(text);
        });
        Self { stdin: child.stdin.take(), stdout: child.stdout.take(), child, lines: None, stderr }
    }

    pub(crate) fn read(&mut self) {
        let stdout = BufReader::new(self.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines() {
                if sender.send(line.unwrap()).is_err() {
                    break;
                }
            }
        });
        self.lines = Some(lines);
    }

    /// Nobody reads its standard output any more.
    pub(crate) fn stop_listening(&mut self) {
        self.stdout = None;
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes to its standard input.
    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(bytes.as_ref()).unwrap();
        stdin.write_all(b"\n").unwrap();
    }

    /// The next line of its output.
    pub(crate) fn next(&self) -> Value {
        let line = self.lines.as_ref().unwrap().recv_timeout(PATIENCE).expect("no line came");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// The next line, which is an event of this name.
    pub(crate) fn event(&self, name: &str) -> Value {
        let event = self.next();
        assert_eq!(event["event"], name, "{event}");
        event
    }

    /// Ends its input.
    pub(crate) fn end_input(&mut self) {
        self.stdin = None;
    }

    /// Whether it has exited.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end: the rest of its output, what it said on standard error, and its exit code.
    pub(crate) fn end(mut self) -> (Vec<Value>, String, i32) {
        let mut rest = Vec::new();
        if let Some(lines) = self.lines.take() {
            while let Ok(line) = lines.recv_timeout(PATIENCE) {
                rest.push(serde_json::from_str(&line).unwrap());
            }
        }
        // Its end of this pipe closes with its exit at the latest.
        let stderr = self.stderr.recv_timeout(PATIENCE).expect("it did not exit");
        self.stdin = None;
        (rest, stderr, self.child.wait().unwrap().code().unwrap())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
