//! Secrets and tokens are nowhere to be read.

use super::pair::*;
use crate::gateway::{Config, Output};
use crate::time::Now;

const URL_PASSWORD: &str = "hunter2-in-the-url";

fn clean(text: &str, token: &str, what: &str) {
    assert!(!text.contains(SECRET), "{what}: the secret in {text}");
    assert!(!text.contains(token), "{what}: the token in {text}");
    assert!(!text.contains(URL_PASSWORD), "{what}: the password in {text}");
}

// proves: TOKEN-3
#[test]
fn no_debug_output_holds_a_secret_or_a_token() {
    let config = || {
        Config::new(format!("wss://user:{URL_PASSWORD}@connector.example"))
            .identity("discord", "b1")
            .credentials("gw-1", SECRET)
    };
    let now = Now { monotonic: secs(0), unix: UNIX };
    let mut machine = crate::gateway::Machine::new(config().build().unwrap(), 1, now);
    machine.handle_timeout(now);
    let output = machine.poll_output().unwrap();
    let Output::Dial(dial) = &output else { panic!() };
    let token = dial.token.as_ref().unwrap();
    let text = token.as_str();
    assert!(text.len() > 50);
    for (what, shown) in [
        ("Config", format!("{0:?} {0:#?}", config())),
        ("Settings", format!("{:?}", machine.settings())),
        ("Machine", format!("{machine:?} {machine:#?}")),
        ("Output", format!("{output:?} {output:#?}")),
        ("Dial", format!("{dial:?}")),
        ("Token", format!("{token:?}")),
        ("State", format!("{:?} {:?}", machine.state(), machine.stats())),
        ("ConfigError", format!("{:?}", Config::new(format!("ws://u:{URL_PASSWORD}@c.example")).build())),
    ] {
        clean(&shown, text, what);
    }
    let plaintext =
        Config::new(format!("ws://u:{URL_PASSWORD}@c.example")).identity("irc", "b").credentials("g", SECRET);
    let error = plaintext.build().unwrap_err();
    clean(&format!("{error} {error:?}"), text, "a refused configuration");
}

// proves: TOKEN-3
#[test]
fn a_whole_life_leaves_no_trace_of_them() {
    let mut world = World::ready();
    world.request();
    world.line("nonsense");
    world.end(closed(4401, "expired"));
    world.await_dial();
    world.become_ready();
    world.end(closed(4401, "unauthorized"));
    let log = world.log.join("\n") + &format!("{:?}{:?}", world.events, world.machine);
    for (_, dial) in &world.dials {
        clean(&log, dial.token.as_ref().unwrap().as_str(), "the log");
    }
}
