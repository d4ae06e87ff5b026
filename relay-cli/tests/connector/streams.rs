//! Standard streams that others left full or non-blocking, and a terminal that belongs to others.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::PATIENCE;
use crate::pair::{command, gateway, message, next_text};
use crate::pipes::{bound, full_pipe, make_nonblocking, next_event};

/// The status line of the health check.
fn health(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

#[test]
fn a_full_standard_error_stops_nothing() {
    let (_reader, full) = full_pipe();
    let mut relay = command(&["--gateway-env", "gw=SECRET"]);
    let relay = relay.env("RELAY_LOG", "trace").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(full);
    let mut child = relay.spawn().unwrap();
    let _bound = bound(&child);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let listening = next_event(&mut stdout);
    let address = listening["addr"].as_str().unwrap();
    // Strangers, each of whom is worth a line.
    for _ in 0..3 {
        let mut stranger = TcpStream::connect(address).unwrap();
        stranger.set_read_timeout(Some(PATIENCE)).unwrap();
        stranger.write_all(b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n").unwrap();
        let _ = stranger.read(&mut [0; 1000]);
    }
    assert_eq!(health(address), "HTTP/1.1 200 OK\r\n");
    let linked = gateway(listening["url"].as_str().unwrap(), &[]);
    linked.event("ready");
    assert_eq!(next_event(&mut stdout)["event"], "hello");
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{}", json!({"deliver": message("hi"), "id": 1})).unwrap();
    assert_eq!(next_text(&linked), "hi");
    assert_eq!(next_event(&mut stdout)["event"], "accepted");
    drop(stdin);
    assert_eq!(linked.event("disconnected")["code"], 1001);
    assert_eq!(child.wait().unwrap().code(), Some(0), "nor is its end held up");
}

#[test]
fn streams_that_are_non_blocking_are_waited_for() {
    let (stdin, mut commands) = std::io::pipe().unwrap();
    let (events, stdout) = std::io::pipe().unwrap();
    make_nonblocking(&stdin);
    make_nonblocking(&stdout);
    let mut relay = command(&[]);
    let mut child = relay.stdin(stdin).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
    let _bound = bound(&child);
    drop(relay);
    let mut events = BufReader::with_capacity(1, events);
    let listening = next_event(&mut events);
    // An input that was empty until now has not ended; and the answers are more than a pipe holds.
    const DELIVERIES: usize = 300;
    for number in 0..DELIVERIES {
        let id = format!("{number} {}", "y".repeat(1000));
        writeln!(commands, "{}", json!({"deliver": message("x"), "id": id})).unwrap();
    }
    assert_eq!(health(listening["addr"].as_str().unwrap()), "HTTP/1.1 200 OK\r\n");
    for number in 0..DELIVERIES {
        let accepted = next_event(&mut events);
        assert!(accepted["id"].as_str().unwrap().starts_with(&format!("{number} ")), "{accepted}");
    }
    drop(commands);
    assert_eq!(next_event(&mut events)["event"], "closed");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// A job of a shell: `setsid` gives the shell a terminal of its own, which the test holds the other end of.
#[cfg(target_os = "linux")]
#[test]
fn in_the_background_of_a_shell_it_serves_and_in_the_foreground_it_takes_commands() {
    let nix::pty::OpenptyResult { master, slave } = nix::pty::openpty(None, None).unwrap();
    let mut keyboard = std::fs::File::from(master);
    // The job writes where `tostop` would stop it, too.
    let script = "set -m; stty -echo tostop; \"$0\" \"$@\" & read line; echo \"$line\" >&2; fg >/dev/null";
    let relay = command(&[]);
    let mut shell = Command::new("setsid");
    shell.args(["--ctty", "--wait", "sh", "-c", script]).arg(relay.get_program()).args(relay.get_args());
    let terminal = || slave.try_clone().unwrap();
    let mut child = shell.stdin(terminal()).stdout(Stdio::piped()).stderr(terminal()).spawn().unwrap();
    let _bound = bound(&child);
    drop((shell, slave));
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let listening = next_event(&mut stdout);
    let address = listening["addr"].as_str().unwrap();
    // It reads the terminal from its start on; at the latest now it has been stopped, if it can be.
    for _ in 0..10 {
        assert_eq!(health(address), "HTTP/1.1 200 OK\r\n");
    }
    let linked = gateway(listening["url"].as_str().unwrap(), &[]);
    linked.event("ready");
    assert_eq!(next_event(&mut stdout)["event"], "hello");
    writeln!(keyboard, "to the shell").unwrap();
    let mut shown = BufReader::new(keyboard.try_clone().unwrap());
    let mut line = String::new();
    while !line.contains("to the shell") {
        line.clear();
        shown.read_line(&mut line).unwrap();
    }
    // In the foreground again.
    writeln!(keyboard, "{}", json!({"deliver": message("hi"), "id": 1})).unwrap();
    assert_eq!(next_event(&mut stdout)["id"], 1);
    assert_eq!(next_text(&linked), "hi");
    assert_eq!(next_event(&mut stdout)["event"], "ack");
    // The end of what is typed.
    keyboard.write_all(b"\x04").unwrap();
    assert_eq!(linked.event("disconnected")["code"], 1001);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
