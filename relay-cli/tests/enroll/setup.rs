//! A directory with tokens in it, and the commands that use them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::process::Relay;

/// The enrolment token.
pub(crate) const TOKEN: &str = "enrolment-t0ken-of-the-test";
/// The identity token.
pub(crate) const IDENTITY: &str = "identity-t0ken-of-the-test";

/// A directory of a test's own.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The names of its files, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let files = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o777
    }

    /// The value of a variable in `gateway.env`.
    pub(crate) fn variable(&self, name: &str) -> String {
        let text = self.text("gateway.env");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {name}")).to_owned()
    }

    /// `relay enroll` with both tokens in its environment, into `gateway.env`.
    pub(crate) fn enroll(&self, url: &str, arguments: &[&str]) -> Command {
        let mut command = relay("enroll");
        command.args(["--url", url, "--id", "gw", "--env-file"]).arg(self.path("gateway.env")).args(arguments);
        command.env("GATEWAY_RELAY_ENROLL_TOKEN", TOKEN).env("GATEWAY_RELAY_IDENTITY_TOKEN", IDENTITY);
        command
    }

    /// `relay connector` that enrols with the token, with its output told.
    pub(crate) fn connector(&self, arguments: &[&str]) -> (Relay, String) {
        start(self.connector_command(arguments))
    }

    pub(crate) fn connector_command(&self, arguments: &[&str]) -> Command {
        let mut command = relay("connector");
        command.args(["--listen", "127.0.0.1:0", "--enroll-env", "TOKENS", "--identity-env", "IDENTITIES"]);
        command.args(arguments).env("TOKENS", TOKEN).env("IDENTITIES", IDENTITY);
        command
    }
}

/// A connector that runs, and its address.
pub(crate) fn start(command: Command) -> (Relay, String) {
    let connector = Relay::start_command(command);
    let url = connector.event("listening")["url"].as_str().unwrap().to_owned();
    (connector, url)
}

/// `relay` in a clean environment.
pub(crate) fn relay(subcommand: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
    command.arg(subcommand);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("GATEWAY_RELAY_") || name.to_lowercase().ends_with("_proxy") || name == "RELAY_LOG" {
            command.env_remove(&*name);
        }
    }
    command
}

/// What a command said, and its exit code.
pub(crate) struct Said {
    pub(crate) lines: Vec<Value>,
    pub(crate) stderr: String,
    pub(crate) code: i32,
}

impl Said {
    /// The one line that it failed with.
    pub(crate) fn failure(&self) -> (&str, &str, &str) {
        assert!(self.lines.len() == 1 && self.code == 1, "{:?} {} {}", self.lines, self.stderr, self.code);
        let failed = &self.lines[0];
        assert_eq!(failed["event"], "failed", "{failed}");
        let text = |name: &str| failed[name].as_str().unwrap();
        (text("cause"), text("token_used"), text("error"))
    }
}

/// Runs a command to its end.
pub(crate) fn run(mut command: Command) -> Said {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    said(&stdout, &stderr, status.code().unwrap())
}

pub(crate) fn said(stdout: &[u8], stderr: &[u8], code: i32) -> Said {
    let stdout = str::from_utf8(stdout).unwrap();
    let lines = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    Said { lines, stderr: String::from_utf8(stderr.to_vec()).unwrap(), code }
}
