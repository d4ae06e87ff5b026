//! The example of a host without a runtime, as it is in the documentation: a hundred gateways on one thread, against a
//! connector that shares no code with it but the core.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(dead_code, reason = "its `main`")]
#[path = "../../relay-proto/examples/readiness_loop.rs"]
mod readiness_loop;

use std::thread;

use readiness_loop::Host;
use relay_connector as connector;
use relay_proto::connector::Event;
use relay_proto::frame::Descriptor;
use relay_proto::gateway::Config;
use relay_tests::app::quick;
use relay_tests::frames::buffered;
use relay_tests::guard;
use relay_tests::peer::Peer;
use serde_json::json;

const GATEWAYS: usize = 100;

// proves: CONN-5
#[tokio::test]
async fn many_gateways_are_many_to_a_connector() {
    assert!(readiness_loop::configs("http://h", 2, None).is_err(), "they would take turns");
    assert_eq!(readiness_loop::configs("http://h", 1, None).map(|configs| configs.len()), Ok(1));
    let listener = connector::listen("127.0.0.1:0").await.unwrap();
    let descriptor = Descriptor::new("discord");
    let mut config = connector::Config::new().descriptor(descriptor);
    for n in 0..3 {
        config = config.gateway(format!("gateway-{n}"), "s3cret");
    }
    let (connector, mut events) = connector::serve(listener, config).unwrap();
    let url = format!("http://{}", connector.address());
    let mut host = Host::new(readiness_loop::configs(&url, 3, Some("s3cret".into())).unwrap()).unwrap();
    let remote = host.remote();
    let thread = thread::spawn(move || {
        while host.is_alive() {
            host.turn().unwrap();
        }
    });
    let mut linked = Vec::new();
    while linked.len() < 3 {
        let (gateway, event) = guard("a hello", events.next()).await.unwrap();
        match event {
            Event::Hello { .. } => linked.push(gateway.to_string()),
            Event::LinkEnded { .. } => panic!("{gateway} was replaced"),
            _ => {}
        }
    }
    linked.sort();
    assert_eq!(linked, ["gateway-0", "gateway-1", "gateway-2"]);
    remote.close();
    guard("the end of the loop", tokio::task::spawn_blocking(|| thread.join().unwrap())).await.unwrap();
}

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
