//! The command line, files, and what they are worth.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::pair::{Connector, SECRET, gateway};
use crate::process::{self, Relay};

/// A directory that goes with the test.
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("relay-connector-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What it says when it does not start: standard error and the exit code.
fn refused(arguments: &[&str]) -> (String, i32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
    command.arg("connector").args(arguments).env_remove("RELAY_LOG").env_remove("UNSET");
    command.env("SECRET", SECRET).env("BLANK", " \n");
    refused_command(command)
}

/// The same of a command.
pub(crate) fn refused_command(mut command: Command) -> (String, i32) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.stdout, b"", "{command:?}");
    (String::from_utf8(output.stderr).unwrap(), output.status.code().unwrap())
}

// proves: TOKEN-3
#[test]
fn a_wrong_command_line_is_explained_without_a_secret() {
    let files = Files::new("wrong");
    let text = files.write("text", "nothing useful");
    for (arguments, word) in [
        (vec!["--gateway", SECRET], "ID=SECRET"),
        (vec!["--gateway", "gw="], "blank"),
        (vec!["--gateway", &format!("={SECRET}")], "--gateway: the gateway's id"),
        (vec!["--gateway-env", "gw"], "ID=NAME"),
        (vec!["--gateway-env", "gw=UNSET"], "UNSET"),
        (vec!["--gateway-env", "gw=BLANK"], "BLANK"),
        (vec!["--gateway-env", "=SECRET"], "--gateway-env: the gateway's id"),
        (vec!["--window", "0"], "--window"),
        (vec!["--window", "70000"], "--window"),
        (vec!["--window", "many"], "--window"),
        (vec!["--window", "-1"], "--window"),
        (vec!["--answer", "never"], "--answer"),
        (vec!["--presume-acks=gw"], "--presume-acks=gw"),
        (vec!["--descriptor", &text], "not JSON"),
        (vec!["--descriptor", "/nowhere/at/all"], "/nowhere/at/all"),
        (vec!["--tls-cert", &text], "--tls-key"),
        (vec!["--tls-client-ca", &text], "--tls-cert"),
        (vec!["--write-timeout", "0"], "--write-timeout"),
        (vec!["--tls-cert", &text, "--tls-key", &text], "certificate"),
    ] {
        let (stderr, code) = refused(&[&["--listen", "127.0.0.1:0"], arguments.as_slice()].concat());
        assert_eq!(code, 2, "{arguments:?}: {stderr}");
        assert!(stderr.contains(word) && !stderr.contains(SECRET), "{arguments:?}: {stderr}");
    }
    assert_eq!(refused(&[]).1, 2);
    // Before anything is made or asked for.
    let store = files.path("relay.store");
    for (address, word) in [
        ("nonsense", "no port"),
        (":8765", "no host"),
        ("127.0.0.1:", "65535"),
        ("127.0.0.1:65536", "65535"),
        ("http://127.0.0.1:0", "URL"),
    ] {
        let (stderr, code) = refused(&["--listen", address, "--store", &store]);
        assert_eq!((stderr.contains(word) && stderr.contains("HOST:PORT"), code), (true, 2), "{stderr}");
    }
    assert!(!std::fs::exists(store).unwrap());
}

#[test]
fn a_port_that_is_taken_is_a_failure() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (stderr, code) = refused(&["--listen", &address]);
    assert_eq!((stderr.contains(&address), code), (true, 1), "{stderr}");
}

#[test]
fn the_name_that_was_given_is_announced() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
    command.args(["connector", "--listen", "localhost:0"]).env_remove("RELAY_LOG");
    let listening = Relay::start_command(command).event("listening");
    let (addr, url) = (listening["addr"].as_str().unwrap(), listening["url"].as_str().unwrap());
    let port = addr.rsplit_once(':').unwrap().1;
    assert_eq!(url, format!("ws://localhost:{port}/relay"));
    assert!(!addr.contains("localhost"), "{addr}");
}

// proves: TOKEN-3
#[test]
fn a_secret_on_the_command_line_works_and_is_warned_about() {
    let mut connector = Connector::start(&["--gateway", &format!("gw={SECRET}")]);
    connector.linked(&[]);
    connector.event("link_closed");
    connector.say(&json!({"revoke": "gw"}));
    connector.relay.end_input();
    let (rest, stderr, _) = connector.relay.end();
    assert!(stderr.contains("--gateway-env"), "{stderr}");
    assert!(!stderr.contains(SECRET) && !rest.iter().any(|event| event.to_string().contains(SECRET)));
}

// proves: CONN-2
#[test]
fn a_platform_is_what_its_file_says() {
    let files = Files::new("descriptors");
    let one = files.write("one.json", r#"{"platform":"matrix","max_message_length":99}"#);
    let two = files.write("two.json", r#"[{"platform":"discord","label":"Mine"},{"platform":"slack"}]"#);
    let connector = Connector::start(&["--descriptor", &one, "--descriptor", &two]);
    let first =
        Relay::start_command(process::command(&["--url", &connector.url, "--platform", "matrix", "--bot-id", "b"]));
    assert_eq!(first.event("ready")["descriptor"]["max_message_length"], 99);
    connector.event("hello");
    let second = gateway(&connector.url, &[]);
    assert_eq!(second.event("ready")["descriptor"]["label"], "Mine");
}

// proves: CONN-7
#[test]
fn what_a_store_holds_outlives_the_connector() {
    let files = Files::new("store");
    let store = files.path("relay.store");
    let arguments = ["--gateway-env", "gw=SECRET", "--store", &store];
    let mut first = Connector::start(&arguments);
    let ids = [first.deliver("a"), first.deliver("b")];
    // One connector at a time.
    let (stderr, code) = refused(&["--listen", "127.0.0.1:0", "--store", &store]);
    assert_eq!((stderr.contains(&store) && stderr.contains("in use"), code), (true, 1), "{stderr}");
    first.relay.end_input();
    let (_, stderr, code) = first.relay.end();
    assert_eq!((stderr.as_str(), code), ("", 0), "nothing is lost");
    let second = Connector::start(&arguments);
    let gateway = second.linked(&[]);
    for (text, id) in ["a", "b"].into_iter().zip(&ids) {
        let message = gateway.event("message");
        assert_eq!((&message["message"]["text"], &message["buffer_id"]), (&json!(text), &json!(id)));
        assert_eq!(second.event("ack")["buffer_id"], json!(id));
    }
    drop(second);
    for (path, word) in [(files.path("no/such/store"), "directory"), (files.write("text", "x"), "not the store")] {
        let (stderr, code) = refused(&["--listen", "127.0.0.1:0", "--store", &path]);
        assert_eq!((stderr.contains(&path) && stderr.contains(word), code), (true, 1), "{stderr}");
    }
}
