//! The examples that repeat what they are told, as they are, and with them the bot of the documents, which is the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeSet;

use relay_proto::gateway::Config;
use relay_tests::app::config;
use relay_tests::frames::{buffered, result};
use relay_tests::guard;
use relay_tests::peer::Peer;
use serde_json::json;

#[allow(dead_code, reason = "its `main`")]
#[path = "../../relay-async-std/examples/echo-async-std.rs"]
mod on_async_std;
#[allow(dead_code, reason = "its `main`")]
#[path = "../../relay-async-std/examples/echo-smol.rs"]
mod on_smol;
#[allow(dead_code, reason = "its `main`")]
#[path = "../../relay-blocking/examples/echo-blocking.rs"]
mod on_threads;
#[allow(dead_code, reason = "its `main`")]
#[path = "../../relay-tokio/examples/echo.rs"]
mod on_tokio;

/// Whatever becomes of a delivery, those behind it are acknowledged, on the same link or on the next.
async fn goes_on_listening(run: impl FnOnce(Config) -> Result<(), String> + Send + 'static) {
    let peer = Peer::bind().await;
    let config = config(&peer);
    let bot = std::thread::spawn(move || run(config));
    let mut link = peer.handshake().await;

    // What it has no use for, and what nobody can read.
    link.send(&json!({"type": "passthrough_forward", "bufferId": "b0", "forward": {"platform": "discord"}})).await;
    assert_eq!(link.ack().await, "b0");
    link.send(&json!({"type": "inbound", "bufferId": "b1", "event": 7})).await;
    assert_eq!(link.ack().await, "b1");

    // An answer that is refused.
    link.send(&buffered("b2", "refused")).await;
    let refused = link.expect("outbound").await;
    link.send(&result(&refused, json!({"success": false, "code": "egress_declined"}))).await;
    assert_eq!(link.ack().await, "b2");
    link.send(&buffered("b3", "heard")).await;
    let heard = link.expect("outbound").await;
    assert_eq!(heard["action"]["content"], "you said: heard");
    link.answer(&heard).await;
    assert_eq!(link.ack().await, "b3");

    // A link that goes before the answer to one is known, and before the next can be answered.
    let behind = [buffered("b4", "may be answered"), buffered("b5", "is not")];
    link.send_all(&behind).await;
    link.expect("outbound").await;
    link.cut();
    let mut link = peer.handshake().await;
    link.send_all(&behind).await;
    let (mut acked, mut answered) = (BTreeSet::new(), Vec::new());
    while acked.len() < 2 {
        let frame = link.next_frame().await;
        match frame["bufferId"].as_str() {
            Some(buffer_id) => assert!(acked.insert(buffer_id.to_owned()), "{frame}"),
            None => {
                link.answer(&frame).await;
                answered.push(frame["action"]["content"].clone());
            }
        }
    }
    assert_eq!(answered, ["you said: is not"], "each at most once");

    link.close(4401, "unauthorized").await;
    let ended = tokio::task::spawn_blocking(|| bot.join().unwrap());
    assert_eq!(guard("the bot's end", ended).await.unwrap(), Ok(()));
}

// proves: ACK-2, ACK-5, ACK-6
#[tokio::test]
async fn echo_on_tokio() {
    goes_on_listening(|config| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let bot = async {
            let (gateway, events) = relay_tokio::connect(config).unwrap();
            on_tokio::run(gateway, events).await
        };
        runtime.block_on(bot).map_err(|error| error.to_string())
    })
    .await;
}

// proves: ACK-2, ACK-5, ACK-6
#[tokio::test]
async fn echo_on_async_std() {
    goes_on_listening(|config| {
        let (gateway, events) = relay_async_std::connect(config).unwrap();
        async_std::task::block_on(on_async_std::run(gateway, events)).map_err(|error| error.to_string())
    })
    .await;
}

// proves: ACK-2, ACK-5, ACK-6
#[tokio::test]
async fn echo_on_smol() {
    goes_on_listening(|config| {
        let (gateway, events, driving) = relay_async_std::gateway(config, None).unwrap();
        on_smol::run(gateway, events, driving).map_err(|error| error.to_string())
    })
    .await;
}

// proves: ACK-2, ACK-5, ACK-6
#[tokio::test]
async fn echo_on_threads() {
    goes_on_listening(|config| {
        let (gateway, events) = relay_blocking::connect(config).unwrap();
        on_threads::run(gateway, events).map_err(|error| error.to_string())
    })
    .await;
}

/// The first bot in a text: what it does with an event, line by line, without what tells the runtimes apart.
fn bot(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.trim_start_matches("//!").trim().replace(".await", ""));
    let mut bot: Vec<String> = lines.skip_while(|line| !line.starts_with("let Event::Delivery(delivery)")).collect();
    let end = bot.iter().position(|line| line == "delivery.ack();");
    bot.truncate(end.unwrap_or_else(|| panic!("no bot in {text}")));
    assert!(bot.len() > 9, "{bot:?}");
    bot
}

/// What the documents show is what the tests above run.
#[test]
fn the_bot_of_the_documents_is_the_example() {
    let example = bot(include_str!("../../relay-tokio/examples/echo.rs"));
    for (name, text) in [
        ("README.md", include_str!("../../README.md")),
        ("relay-tokio", include_str!("../../relay-tokio/src/lib.rs")),
        ("relay-async-std", include_str!("../../relay-async-std/src/lib.rs")),
        ("relay-blocking", include_str!("../../relay-blocking/src/lib.rs")),
        ("echo-async-std", include_str!("../../relay-async-std/examples/echo-async-std.rs")),
        ("echo-blocking", include_str!("../../relay-blocking/examples/echo-blocking.rs")),
    ] {
        assert_eq!(bot(text), example, "{name}");
    }
}
