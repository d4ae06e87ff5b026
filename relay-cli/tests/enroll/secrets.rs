//! What nobody may see.

use std::fs;
use std::process::{Command, Stdio};

use crate::process::Relay;
use crate::server::{Does, Server};
use crate::setup::{IDENTITY, Place, TOKEN, relay};

/// A command as it logs most.
fn loud(mut command: Command) -> Command {
    command.env("RELAY_LOG", "trace");
    command
}

/// The command line of a running process, as everybody on this machine can read it.
fn command_line(id: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{id}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(&line).into_owned())
}

// proves: TOKEN-3
#[test]
fn no_secret_is_on_a_screen_in_a_process_list_or_in_a_log() {
    let place = Place::new();
    let mut seen = Vec::new();
    let mut command = relay("connector");
    command.args(["--listen", "127.0.0.1:0", "--enroll-env", "TOKENS", "--identity-env", "IDENTITIES"]);
    let connector = Relay::start_command({
        command.env("TOKENS", TOKEN).env("IDENTITIES", IDENTITY);
        loud(command)
    });
    let listening = connector.event("listening");
    let url = listening["url"].as_str().unwrap();
    seen.extend(command_line(connector.id()));

    let enroll = place.enroll(url, &["--platform", "discord", "--bot-id", "b1"]);
    let output = loud(enroll).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success());
    seen.push(String::from_utf8(output.stdout).unwrap());
    seen.push(String::from_utf8(output.stderr).unwrap());
    seen.push(connector.event("enrolled").to_string());

    let mut command = relay("gateway");
    command.arg("--env-file").arg(place.path("gateway.env")).args(["--exec", "sh", "-c"]);
    // The program sees the environment that it is given, and says so in a file.
    let environment = place.path("environment");
    command.arg(format!("env > '{}'; cat > /dev/null", environment.display()));
    // As where the file was sourced.
    command
        .env("GATEWAY_RELAY_SECRET", "another")
        .env("GATEWAY_RELAY_DELIVERY_KEY", place.variable("GATEWAY_RELAY_DELIVERY_KEY"));
    let gateway = Relay::start_command(loud(command));
    seen.push(connector.event("hello").to_string());
    seen.extend(command_line(gateway.id()));
    signal(gateway.id());
    let (lines, stderr, _) = gateway.end();
    // It was complete before the program ended.
    let environment = fs::read_to_string(&environment).unwrap();
    assert!(environment.contains("RELAY_LOG=trace") && !environment.contains("another"), "{environment}");
    seen.push(environment);
    seen.extend(lines.iter().map(ToString::to_string));
    assert!(stderr.len() > 100, "it logs at this level: {stderr}");
    seen.push(stderr);
    signal(connector.id());
    let (lines, stderr, code) = connector.end();
    assert_eq!(code, 0);
    seen.extend(lines.iter().map(ToString::to_string));
    seen.push(stderr);

    // One that waits for its answer can be looked at as long as one likes.
    let silent = Server::start(|_| Does::Hang);
    let mut waiting = place.enroll(&silent.url(), &["--force"]);
    let mut waiting = waiting.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    while silent.requests().is_empty() {
        std::thread::yield_now();
    }
    let line = command_line(waiting.id());
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    assert!(line.as_ref().is_none_or(|line| line.contains("enroll")) && (line.is_some() || !cfg!(target_os = "linux")));
    seen.extend(line);

    let secret = place.variable("GATEWAY_RELAY_SECRET");
    let key = place.variable("GATEWAY_RELAY_DELIVERY_KEY");
    for hidden in [TOKEN, IDENTITY, &secret, &key] {
        assert!(hidden.len() > 20 && place.text("gateway.env").contains(&secret));
        for shown in &seen {
            assert!(!shown.contains(hidden), "{shown}");
        }
    }
    // An upgrade token is a credential as well.
    assert!(seen.iter().all(|shown| !shown.contains("Bearer ")), "{seen:?}");
}

fn signal(id: u32) {
    assert!(Command::new("kill").arg(id.to_string()).status().unwrap().success());
}
