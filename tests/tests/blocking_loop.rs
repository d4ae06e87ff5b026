//! The example of the smallest host, as it is in the documentation of `wire::GatewayIo`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(dead_code, reason = "its `main`")]
#[path = "../../relay-proto/examples/blocking_loop.rs"]
mod blocking_loop;

use std::thread;
use std::time::Duration;

use relay_proto::gateway::Config;
use relay_tests::app::quick;
use relay_tests::frames::buffered;
use relay_tests::guard;
use relay_tests::peer::Peer;
use serde_json::json;

const HOUR: Duration = Duration::from_secs(3600);

// proves: ACK-2
#[tokio::test]
async fn nothing_waits_for_the_next_deadline() {
    let peer = Peer::bind().await;
    let mut timing = quick();
    // No deadline comes that would take along what was left lying.
    (timing.ping_after, timing.lost_after, timing.stable) = (HOUR, 2 * HOUR, HOUR);
    let url = peer.url().replace("127.0.0.1", "localhost");
    let config = Config::new(url).identity("discord", "bot-1").timing(timing);
    let host = thread::spawn(move || blocking_loop::run(config).map_err(|error| error.to_string()));
    for _ in 0..2 {
        let mut link = peer.handshake().await;
        link.send(&json!({"type": "passthrough_forward", "bufferId": "b0", "forward": {}})).await;
        link.send(&json!({"type": "inbound", "bufferId": "b1", "event": 7})).await;
        link.send(&buffered("b2", "hi")).await;
        for id in ["b0", "b1", "b2"] {
            assert_eq!(link.ack().await, id);
        }
        link.cut();
    }
    peer.handshake().await.close(4401, "unauthorized").await;
    let ended = tokio::task::spawn_blocking(|| host.join().unwrap());
    assert_eq!(guard("the host's end", ended).await.unwrap(), Ok(()));
}
