//! Both halves of this project with each other, over loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use relay_blocking::{Config, Event, Timing};
use relay_connector::{self as connector, Connector};
use relay_proto::frame::{ActionResult, RawJson};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

fn serve(runtime: &Runtime) -> (Connector, connector::Events) {
    let _entered = runtime.enter();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    connector::serve(listener, connector::Config::new().gateway("g", "s3cret")).unwrap()
}

// proves: ACK-1, REQ-7, CLOSE-1
#[test]
fn messages_are_answered_and_acknowledged_until_the_iterator_ends() {
    let runtime = Runtime::new().unwrap();
    let (connector, mut seen) = serve(&runtime);
    let config =
        Config::new(format!("ws://{}", connector.address())).identity("discord", "b").credentials("g", "s3cret");
    // No machine is too slow for the goodbye.
    let (mut timing, hour) = (Timing::default(), Duration::from_secs(3600));
    (timing.shutdown_idle, timing.shutdown_requests, timing.close) = (hour, hour, hour);
    let config = config.timing(timing);
    let (gateway, mut events) = relay_blocking::connect(config).unwrap();
    let theirs = connector.clone();
    // The connector's application: a message, then an answer for every request.
    runtime.spawn(async move {
        let text = r#"{"text":"hi","message_id":"m1","source":{"platform":"discord","chat_id":"c1"}}"#;
        theirs.gateway("g").deliver(&RawJson::parse(text).unwrap()).await.unwrap();
        while let Some((_, event)) = seen.next().await {
            if let connector::Event::Outbound(outbound) = event {
                assert!(outbound.action.as_str().contains("you said: hi"));
                let delivered = RawJson::parse(r#"{"success":true,"message_id":"m2"}"#).unwrap();
                theirs.gateway("g").answer(outbound.id, &delivered).unwrap();
            }
        }
    });
    let mut results: Vec<ActionResult> = Vec::new();
    for event in &mut events {
        if let Event::Delivery(delivery) = event {
            let message = delivery.message().expect("a message");
            let sent = gateway.reply(message, &format!("you said: {}", message.text())).unwrap();
            results.extend(sent.into_results());
            delivery.ack();
            let gateway = gateway.clone();
            std::thread::spawn(move || gateway.close());
        }
    }
    assert_eq!(results.len(), 1);
    assert!(events.next().is_none(), "over for good");
    assert_eq!(events.try_next().unwrap().map(|_| ()), None, "and not only for now");
    assert_eq!(connector.gateway("g").buffered(), 0, "acknowledged");
}
