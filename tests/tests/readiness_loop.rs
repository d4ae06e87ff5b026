//! The example of a host without a runtime, as it is in the documentation: a hundred gateways on one thread, against a
//! connector that shares no code with it but the core.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(dead_code, reason = "its `main`")]
#[path = "../../relay-proto/examples/readiness_loop.rs"]
mod readiness_loop;

use std::thread;

use readiness_loop::Host;
use relay_proto::gateway::Config;
use relay_tests::app::quick;
use relay_tests::frames::buffered;
use relay_tests::guard;
use relay_tests::peer::Peer;
use serde_json::json;

const GATEWAYS: usize = 100;

#[tokio::test]
async fn a_hundred_gateways_on_one_thread() {
    let peer = Peer::bind().await;
    let url = peer.url().replace("127.0.0.1", "localhost");
    let config = |n: usize| Config::new(&url).identity("discord", format!("bot-{n}")).timing(quick());
    let mut host = Host::new((0..GATEWAYS).map(config)).unwrap();
    let remote = host.remote();
    let thread = thread::spawn(move || {
        while host.is_alive() {
            host.turn().unwrap();
        }
    });
    for round in 0..2 {
        let mut links = Vec::new();
        for _ in 0..GATEWAYS {
            links.push(peer.handshake().await);
        }
        for (n, link) in links.iter_mut().enumerate() {
            // What it has no use for does not hold up what comes behind it.
            link.send(&json!({"type": "passthrough_forward", "bufferId": "forward", "forward": {}})).await;
            link.send(&json!({"type": "inbound", "bufferId": "unreadable", "event": 7})).await;
            link.send(&buffered(&format!("{n}"), &format!("{round}/{n}"))).await;
        }
        for (n, link) in links.iter_mut().enumerate() {
            assert_eq!([link.ack().await, link.ack().await], ["forward", "unreadable"]);
            let answer = link.expect("outbound").await;
            assert_eq!(answer["action"]["content"], format!("you said: {round}/{n}"));
            assert_eq!(link.ack().await, n.to_string());
            link.answer(&answer).await;
        }
        if round == 1 {
            remote.close();
            for mut link in links {
                assert_eq!(link.farewell().await, Some((1000, String::new())));
            }
        }
    }
    guard("the end of the loop", tokio::task::spawn_blocking(|| thread.join().unwrap())).await.unwrap();
}
