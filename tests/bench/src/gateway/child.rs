//! The processes that are measured, from outside. Each tells what it has to as lines of JSON on its standard output, does
//! what lines on its standard input say, and ends with that.

use std::io::{BufRead, BufReader, Write};
use std::process::{self, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::Result;

/// After this, a process that says nothing has hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// What lets a process go on.
pub(super) const GO: &str = "go";

pub(super) struct Child {
    name: String,
    child: process::Child,
    commands: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Child {
    /// Starts this program with other arguments.
    pub(super) fn start(arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments);
        Self::start_as(&arguments.join(" "), command)
    }

    pub(super) fn start_as(name: &str, mut command: Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let commands = child.stdin.take();
        let output = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        let (sender, lines) = channel();
        thread::spawn(move || output.lines().map_while(|line| line.ok()).try_for_each(|line| sender.send(line)));
        Ok(Self { name: name.into(), child, commands, lines })
    }

    /// What it says next.
    pub(super) fn next(&mut self) -> Result<Value> {
        let line = self.lines.recv_timeout(PATIENCE).map_err(|error| format!("{}: {error}", self.name))?;
        Ok(serde_json::from_str(&line)?)
    }

    pub(super) fn go(&mut self) -> Result<()> {
        let commands = self.commands.as_mut().ok_or("no standard input")?;
        Ok(writeln!(commands, "{GO}")?)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.commands = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Inside such a process: waits for a line, or the end of the lines. Whether there was one.
pub(super) fn wait() -> bool {
    std::io::stdin().lines().next().is_some()
}

/// Inside such a process: says something.
pub(super) fn tell(what: &Value) {
    println!("{what}");
}
