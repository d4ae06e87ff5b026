//! The command `relay`, built once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::process::Process;

/// The secret of the gateway `gw`.
pub(crate) const SECRET: &str = "hunter2-correct-horse";

fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        // Cargo builds the binaries of a test's own package only. Its lock lets one test at a time do this.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([
            "build",
            "--package",
            "hermes-relay-cli",
            "--bin",
            "relay",
            "--message-format",
            "json-render-diagnostics",
        ]);
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join("Cargo.toml");
        let output = cargo.arg("--manifest-path").arg(manifest).arg("--target-dir").arg(target).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let messages = String::from_utf8(output.stdout).unwrap();
        let executable = messages
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok()?["executable"].as_str().map(PathBuf::from))
            .next_back();
        executable.expect("a binary")
    })
}

/// `relay` with these arguments, in a clean environment.
pub(crate) fn relay(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).env_remove("RELAY_LOG").env("SECRET", SECRET);
    for name in ["URL", "ID", "SECRET", "PLATFORMS", "BOT_IDS"] {
        command.env_remove(format!("GATEWAY_RELAY_{name}"));
    }
    command
}

/// `relay connector`.
pub(crate) struct Connector {
    pub(crate) process: Process,
    pub(crate) url: String,
}

impl Connector {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = relay(&[&["connector", "--listen", "127.0.0.1:0"][..], arguments].concat());
        let process = Process::start("relay connector", &mut command);
        let url = format!("http://{}", process.event("listening")["addr"].as_str().unwrap());
        Self { process, url }
    }

    /// With one gateway, `gw`, which has to authenticate.
    pub(crate) fn registered(arguments: &[&str]) -> Self {
        Self::start(&[&["--gateway-env", "gw=SECRET"], arguments].concat())
    }

    pub(crate) fn say(&mut self, command: &Value) {
        self.process.say(command);
    }

    pub(crate) fn event(&self, name: &str) -> Value {
        self.process.event(name)
    }

    /// Takes up a message. Its buffer id.
    pub(crate) fn deliver(&mut self, text: &str) -> Value {
        let source = json!({"platform": "discord", "chat_id": "c1", "chat_type": "group", "scope_id": "g1",
            "guild_id": "g1", "user_id": "u1"});
        self.say(&json!({"deliver": {"text": text, "message_id": format!("m-{text}"), "source": source}}));
        self.process.until("accepted")["buffer_id"].clone()
    }
}

/// `relay gateway` that fronts discord and telegram.
pub(crate) fn gateway(url: &str, arguments: &[&str]) -> Process {
    let base = ["gateway", "--url", url, "--platform", "discord", "--bot-id", "b1", "--platform", "telegram"];
    Process::start("relay gateway", &mut relay(&[&base[..], &["--bot-id", "b2"], arguments].concat()))
}
