//! The bots among the examples close in order on Ctrl-C. Each runs in a process of its own, which is this test again.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::error::Error;
use std::process::{Command, Stdio};

use relay_tests::guard;
use relay_tests::peer::Peer;
use serde_json::json;

#[allow(dead_code, reason = "its `run` is that of `main`")]
#[path = "../../relay-async-std/examples/agent-async-std.rs"]
mod agent_async_std;
#[allow(dead_code, reason = "its `run` is that of `main`")]
#[path = "../../relay-blocking/examples/agent-blocking.rs"]
mod agent_blocking;
#[allow(dead_code, reason = "its `run` is that of `main`")]
#[path = "../../relay-tokio/examples/agent.rs"]
mod agent_tokio;
#[path = "../../relay-async-std/examples/echo-async-std.rs"]
mod echo_async_std;
#[path = "../../relay-blocking/examples/echo-blocking.rs"]
mod echo_blocking;
#[path = "../../relay-async-std/examples/echo-smol.rs"]
mod echo_smol;
#[path = "../../relay-tokio/examples/echo.rs"]
mod echo_tokio;

/// Names the bot that a process is.
const BOT: &str = "RELAY_TEST_BOT";

type Main = fn() -> Result<(), Box<dyn Error>>;

const BOTS: [(&str, Main); 7] = [
    ("agent", agent_tokio::main),
    ("agent-async-std", agent_async_std::main),
    ("agent-blocking", agent_blocking::main),
    ("echo", echo_tokio::main),
    ("echo-async-std", echo_async_std::main),
    ("echo-blocking", echo_blocking::main),
    ("echo-smol", echo_smol::main),
];

/// The bot, in a process that is one.
#[test]
fn bot() {
    let Ok(bot) = std::env::var(BOT) else { return };
    let (_, main) = BOTS.iter().find(|(name, _)| *name == bot).unwrap();
    main().unwrap();
}

/// Whether a process would survive a SIGINT, as far as the system tells.
fn catches_interrupts(process: u32) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{process}/status")) else { return true };
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << 1) != 0
}

// proves: CLOSE-1
#[tokio::test]
async fn every_bot_closes_in_order_on_ctrl_c() {
    for (name, _) in BOTS {
        let peer = Peer::bind().await;
        let directory = tempfile::tempdir().unwrap();
        let mut bot = Command::new(std::env::current_exe().unwrap());
        bot.args(["--exact", "bot", "--nocapture"]).env(BOT, name).current_dir(directory.path());
        bot.env("GATEWAY_RELAY_URL", peer.url()).env("GATEWAY_RELAY_PLATFORMS", "discord");
        let mut bot = bot.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut link = peer.handshake().await;
        while !catches_interrupts(bot.id()) {
            assert_eq!(bot.try_wait().unwrap(), None, "{name}");
            tokio::task::yield_now().await;
        }
        // Until it has read its descriptor, it has no link to put to sleep, and closes at once.
        link.settled().await;
        let killed = Command::new("kill").args(["-INT", &bot.id().to_string()]).status().unwrap();
        assert!(killed.success());
        link.expect("going_idle").await;
        link.send(&json!({"type": "going_idle_ack"})).await;
        assert_eq!(link.farewell().await, Some((1000, String::new())), "{name}");
        let ended = tokio::task::spawn_blocking(move || bot.wait_with_output().unwrap());
        let ended = guard("the bot's end", ended).await.unwrap();
        assert!(ended.status.success(), "{name}: {}", String::from_utf8_lossy(&ended.stderr));
    }
}
