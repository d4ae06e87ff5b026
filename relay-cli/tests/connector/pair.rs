//! The two processes.

use std::process::Command;

use serde_json::{Value, json};

use crate::process::{self, Relay};

/// The secret of the gateway `gw`.
pub(crate) const SECRET: &str = "hunter2-correct-horse";

/// `relay connector` on a port of its own.
pub(crate) struct Connector {
    pub(crate) relay: Relay,
    pub(crate) url: String,
}

/// `relay connector` with these arguments and this secret in `SECRET`, in a clean environment.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
    command.args(["connector", "--listen", "127.0.0.1:0"]).args(arguments);
    command.env_remove("RELAY_LOG").env("SECRET", SECRET);
    command
}

impl Connector {
    /// With these arguments. Whatever authenticates nobody knows its gateway as `default`.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_command(command(arguments))
    }

    pub(crate) fn start_command(command: Command) -> Self {
        let relay = Relay::start_command(command);
        let listening = relay.event("listening");
        let (addr, url) = (listening["addr"].as_str().unwrap(), listening["url"].as_str().unwrap());
        assert!(addr.starts_with("127.0.0.1:") && !addr.ends_with(":0") && url.contains(addr), "{listening}");
        Self { relay, url: url.to_owned() }
    }

    /// With one gateway, `gw`, which has to authenticate.
    pub(crate) fn registered() -> Self {
        Self::start(&["--gateway-env", "gw=SECRET"])
    }

    pub(crate) fn say(&mut self, line: &Value) {
        self.relay.say(line.to_string());
    }

    pub(crate) fn event(&self, name: &str) -> Value {
        self.relay.event(name)
    }

    /// Takes up a message for the only gateway. Its buffer id.
    pub(crate) fn deliver(&mut self, text: &str) -> String {
        self.say(&json!({"deliver": message(text), "id": text}));
        let accepted = self.event("accepted");
        assert_eq!(accepted["id"], text);
        accepted["buffer_id"].as_str().unwrap().to_owned()
    }

    /// A gateway of its own, linked.
    pub(crate) fn linked(&self, arguments: &[&str]) -> Relay {
        let gateway = gateway(&self.url, arguments);
        gateway.event("ready");
        self.event("hello");
        gateway
    }
}

/// A message in chat `7`.
pub(crate) fn message(text: &str) -> Value {
    json!({"text": text, "message_id": format!("m-{text}"), "source": {"platform": "discord", "chat_id": "7"}})
}

/// A gateway `gw`, with its secret.
pub(crate) fn gateway(url: &str, arguments: &[&str]) -> Relay {
    gateway_with("gw", SECRET, url, arguments)
}

/// A gateway with this id and this secret.
pub(crate) fn gateway_with(id: &str, secret: &str, url: &str, arguments: &[&str]) -> Relay {
    let base = ["--url", url, "--platform", "discord", "--bot-id", "b1", "--id", id, "--secret-env", "SECRET"];
    let mut command = process::command(&[&base, arguments].concat());
    command.env("SECRET", secret);
    Relay::start_command(command)
}

/// The text of a message event, which is next.
pub(crate) fn next_text(gateway: &Relay) -> String {
    gateway.event("message")["message"]["text"].as_str().unwrap().to_owned()
}
