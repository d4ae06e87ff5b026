//! Going idle, sleeping, waking and shutting down, over sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use futures_util::FutureExt;
use relay_proto::action::Action;
use relay_proto::client::Event;
use relay_proto::gateway::{Ambiguous, Cause, IdleOutcome, NotSent, Outcome, RequestOptions, State};
use relay_tests::app::{App, IsMessage as _, config, quick};
use relay_tests::frames::{buffered, message, result};
use relay_tests::host::Host;
use relay_tests::peer::{Incoming, Peer};
use relay_tests::{HOUR, NEVER, guard};
use serde_json::json;

// proves: IDLE-1
async fn going_idle_is_acknowledged(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    let (first, second) = (app.gateway.go_idle(), app.gateway.go_idle());
    assert_eq!(link.next_frame().await, json!({"type": "going_idle"}));
    // Deliveries keep flowing until the ack.
    link.send(&buffered("b1", "late")).await;
    let delivery = app.message().await;
    delivery.ack();
    assert_eq!(link.ack().await, "b1", "and one going_idle serves both calls");
    link.idle_ack().await;
    assert_eq!(guard("an outcome", first).await, IdleOutcome::Acknowledged);
    assert_eq!(guard("an outcome", second).await, IdleOutcome::Acknowledged);
    assert!(matches!(app.event().await, Event::Idle));
    assert_eq!(app.gateway.state(), State::Ready, "idle, and still linked");
}

// proves: IDLE-1
async fn going_idle_without_an_answer_times_out(host: Host) {
    let peer = Peer::bind().await;
    let mut timing = quick();
    timing.idle = HOUR;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer).timing(timing)).await;
    let idle = app.gateway.go_idle();
    link.expect("going_idle").await;
    app.gateway.advance(HOUR);
    assert_eq!(guard("an outcome", idle).await, IdleOutcome::TimedOut);
    let dormant = app.gateway.go_dormant();
    app.gateway.advance(HOUR);
    assert_eq!(guard("an outcome", dormant).await, IdleOutcome::TimedOut);
    link.send(&message("still here")).await;
    assert_eq!(app.message().await.text(), "still here", "the link stays up");
    assert_eq!(app.gateway.stats().dials, 1);
}

// proves: IDLE-1
async fn going_idle_without_a_link(host: Host) {
    let peer = Peer::bind().await;
    let mut app = App::start(host, config(&peer));
    assert_eq!(app.gateway.go_idle().now_or_never(), Some(IdleOutcome::NoLink));
    assert_eq!(app.gateway.go_dormant().now_or_never(), Some(IdleOutcome::NoLink));
    let mut link = peer.handshake().await;
    app.ready().await;
    let idle = app.gateway.go_idle();
    link.expect("going_idle").await;
    link.cut();
    assert_eq!(guard("an outcome", idle).await, IdleOutcome::NoLink, "the link went first");
}

// proves: IDLE-2
async fn a_dormant_gateway_closes_and_dials_at_its_cadence(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    for _ in 0..3 {
        let dormant = app.gateway.go_dormant();
        let (outcome, close) = guard("dormant", async { tokio::join!(dormant, link.farewell()) }).await;
        assert_eq!(outcome, IdleOutcome::Acknowledged);
        assert_eq!(close, Some((1000, "dormant".into())));
        assert!(matches!(app.event().await, Event::Idle));
        let (ended, retry_in) = app.disconnected().await;
        assert_eq!((ended.cause, retry_in), (Cause::Dormant, Some(quick().dormant_redial)));
        link = peer.handshake().await;
        app.ready().await;
    }
}

// proves: IDLE-2
async fn a_wake_call_dials_at_once(host: Host) {
    let peer = Peer::bind().await;
    let mut timing = quick();
    timing.dormant_redial = NEVER;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer).timing(timing)).await;
    app.gateway.wake();
    let dormant = app.gateway.go_dormant();
    guard("dormant", async { tokio::join!(dormant, link.farewell()) }).await;
    assert!(matches!(app.event().await, Event::Idle));
    app.disconnected().await;
    assert_eq!(app.gateway.state(), State::Dormant);
    peer.assert_nobody_dialled().await;
    app.gateway.wake();
    // Held: a link that is dropped here would be dialled again before it is counted.
    let _link = peer.handshake().await;
    app.ready().await;
    assert_eq!(app.gateway.stats().dials, 2, "and waking a linked gateway is nothing");
}

// proves: IDLE-2
async fn a_hold_parks_the_next_dial(host: Host) {
    let peer = Peer::bind().await;
    let mut timing = quick();
    timing.hold_max = NEVER;
    let (mut app, link) = App::linked(host, &peer, config(&peer).timing(timing)).await;
    app.gateway.hold_redial();
    link.cut();
    app.disconnected().await;
    // A gateway like this one, but for the hold, dials three times meanwhile.
    let elsewhere = Peer::bind().await;
    let mut other = App::start(host, config(&elsewhere));
    for _ in 0..3 {
        elsewhere.handshake().await.cut();
        other.ready().await;
        other.disconnected().await;
    }
    peer.assert_nobody_dialled().await;
    assert_eq!(app.gateway.state(), State::Disconnected);
    app.gateway.release_redial();
    peer.handshake().await;
    app.ready().await;
}

// proves: IDLE-2
async fn a_hold_ends_by_itself(host: Host) {
    let peer = Peer::bind().await;
    let mut timing = quick();
    timing.hold_max = HOUR;
    let (mut app, link) = App::linked(host, &peer, config(&peer).timing(timing)).await;
    app.gateway.hold_redial();
    link.cut();
    app.disconnected().await;
    app.gateway.advance(HOUR / 2);
    assert_eq!(app.gateway.state(), State::Disconnected);
    app.gateway.advance(HOUR / 2);
    peer.handshake().await;
    app.ready().await;
}

// proves: CLOSE-1
async fn shutting_down_takes_its_steps(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    let under_way = app.gateway.call(&Action::typing("c1").to_json(), &RequestOptions::default());
    let request = link.expect("outbound").await;
    let (one, two) = (app.gateway.clone(), app.gateway.clone());
    let closing = async { tokio::join!(one.close(), two.close()) };
    let script = async {
        assert_eq!(link.next_frame().await, json!({"type": "going_idle"}));
        link.idle_ack().await;
        // A request under way may finish.
        link.send(&result(&request, json!({"success": true}))).await;
        assert_eq!(link.next().await, Incoming::Close(Some((1000, String::new()))), "one going_idle, one close");
        assert_eq!(link.next().await, Incoming::End(None));
    };
    guard("the end", async { tokio::join!(closing, script) }).await;
    assert!(matches!(guard("a result", under_way).await, Outcome::Result(_)));
    assert!(matches!(app.event().await, Event::Idle));
    app.closed().await;
    assert_eq!(app.gateway.state(), State::Closed);
    guard("nothing left to close", app.gateway.close()).await;
    let late = app.gateway.call(&Action::typing("c1").to_json(), &RequestOptions::default());
    assert_eq!(late.now_or_never(), Some(Outcome::NotSent(NotSent::ShutDown)));
    app.gateway.wake();
    app.gateway.reconnect();
    peer.assert_nobody_dialled().await;
}

// proves: CLOSE-1, REQ-1
async fn shutting_down_is_bounded(host: Host) {
    let peer = Peer::bind().await;
    let mut timing = quick();
    (timing.shutdown_idle, timing.shutdown_requests, timing.close) = (HOUR, HOUR, HOUR);
    let (mut app, mut link) = App::linked(host, &peer, config(&peer).timing(timing)).await;
    let pending = app.gateway.call(&Action::typing("c1").to_json(), &RequestOptions::default());
    link.expect("outbound").await;
    // Nobody answers anything: not the going_idle, not the request, not the close frame.
    let mut end = Box::pin(app.gateway.close());
    for _ in 0..3 {
        assert!(futures_util::poll!(&mut end).is_pending());
        app.gateway.advance(HOUR);
    }
    guard("the end", end).await;
    assert_eq!(guard("an end", pending).await, Outcome::Ambiguous(Ambiguous::ShutDown));
    app.closed().await;
    link.expect("going_idle").await;
    assert_eq!(link.ended().await, Some((1000, String::new())));
}

/// The connector does not read: not even the goodbye fits.
// proves: CLOSE-1
async fn shutting_down_with_a_full_socket(host: Host) {
    let peer = Peer::bind().await;
    let mut timing = quick();
    (timing.shutdown_idle, timing.shutdown_requests, timing.close) = (HOUR, HOUR, HOUR);
    let (mut app, link) = App::linked(host, &peer, config(&peer).timing(timing)).await;
    let text = "x".repeat(200_000);
    let send = || app.gateway.call(&Action::send("c1", &text).to_json(), &RequestOptions::default());
    let calls: Vec<_> = (0..100).map(|_| send()).collect();
    let end = app.gateway.close();
    for _ in 0..3 {
        app.gateway.advance(HOUR);
    }
    guard("the end", end).await;
    for call in calls {
        let outcome = call.now_or_never().expect("ended");
        let ended = [Outcome::Ambiguous(Ambiguous::ShutDown), Outcome::NotSent(NotSent::ShutDown)];
        assert!(ended.contains(&outcome), "{outcome:?}");
    }
    app.closed().await;
    assert!(!link.into_raw().read_to_end().await.is_empty());
}

// proves: LINK-1
async fn a_new_link_is_made_although_the_peer_does_not_answer(host: Host) {
    let peer = Peer::bind().await;
    let mut timing = quick();
    timing.close = HOUR;
    let (mut app, link) = App::linked(host, &peer, config(&peer).timing(timing)).await;
    app.gateway.reconnect();
    app.gateway.advance(HOUR);
    let (ended, _) = app.disconnected().await;
    assert_eq!(ended.cause, Cause::Requested);
    peer.handshake().await;
    app.ready().await;
    drop(link);
}

// proves: CLOSE-1
async fn shutting_down_in_every_state(host: Host) {
    // Before anything was accepted.
    let peer = Peer::bind().await;
    let mut app = App::start(host, config(&peer));
    guard("the end", app.gateway.close()).await;
    app.closed().await;
    // Within the upgrade.
    let peer = Peer::bind().await;
    let mut app = App::start(host, config(&peer));
    let mut raw = peer.accept_raw().await;
    raw.request().await;
    guard("the end", app.gateway.close()).await;
    app.closed().await;
    assert_eq!(raw.read_to_end().await, b"", "the connection is gone");
    // Within the handshake.
    let peer = Peer::bind().await;
    let mut app = App::start(host, config(&peer));
    let mut link = peer.accept().await;
    link.expect("hello").await;
    guard("the end", async { tokio::join!(app.gateway.close(), link.ended()) }).await;
    app.closed().await;
    // While it waits to dial again.
    let peer = Peer::bind().await;
    let mut timing = quick();
    (timing.backoff_initial, timing.backoff_max) = (NEVER, NEVER);
    let (mut app, link) = App::linked(host, &peer, config(&peer).timing(timing)).await;
    link.cut();
    app.disconnected().await;
    guard("the end", app.gateway.close()).await;
    app.closed().await;
    peer.assert_nobody_dialled().await;
    // While the peer closes.
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    link.close(1012, "").await;
    guard("the end", app.gateway.close()).await;
    while !matches!(app.event().await, Event::Closed) {}
}

// proves: CLOSE-1
async fn a_patient_request_ends_with_the_gateway(host: Host) {
    let peer = Peer::bind().await;
    let app = App::start(host, config(&peer));
    let mut options = RequestOptions::default();
    options.wait_for_link = true;
    let waiting = app.gateway.call(&Action::typing("c1").to_json(), &options);
    guard("the end", app.gateway.close()).await;
    assert_eq!(waiting.now_or_never(), Some(Outcome::NotSent(NotSent::ShutDown)));
}

// proves: CLOSE-1
async fn dropping_every_handle_shuts_the_gateway_down(host: Host) {
    let peer = Peer::bind().await;
    let (app, mut link) = App::linked(host, &peer, config(&peer)).await;
    let App { gateway, events } = app;
    let other = gateway.clone();
    drop(gateway);
    drop(events);
    // One handle is left: the link lives.
    other.interrupt("agent:main", None).unwrap();
    link.expect("interrupt").await;
    drop(other);
    assert_eq!(link.farewell().await, Some((1000, String::new())));
    peer.assert_nobody_dialled().await;
}

// proves: CLOSE-1
async fn deliveries_and_requests_do_not_keep_a_gateway(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    link.send(&buffered("b1", "kept")).await;
    let delivery = app.message().await;
    let request = app.gateway.call(&Action::typing("c1").to_json(), &RequestOptions::default());
    let written = link.expect("outbound").await;
    drop(app);
    link.expect("going_idle").await;
    // Until the end, both are as good as ever.
    delivery.ack();
    assert_eq!(link.ack().await, "b1");
    link.answer(&written).await;
    link.idle_ack().await;
    assert!(matches!(guard("a result", request).await, Outcome::Result(_)));
    assert_eq!(link.ended().await, Some((1000, String::new())));
}

async fn many_gateways_in_one_process(host: Host) {
    const MANY: usize = 200;
    let peer = Peer::bind().await;
    let mut apps = Vec::new();
    let mut links = Vec::new();
    for n in 0..MANY {
        apps.push(App::start(host, config(&peer).identity("telegram", format!("{n}"))));
    }
    for _ in 0..MANY {
        let mut link = peer.handshake().await;
        let n: usize = link.expect("hello").await["botId"].as_str().unwrap().parse().unwrap();
        links.push((n, link));
    }
    for app in &mut apps {
        app.ready().await;
    }
    for (n, link) in &mut links {
        link.send(&buffered(&format!("b{n}"), &format!("{n}"))).await;
    }
    for (n, app) in apps.iter_mut().enumerate() {
        let delivery = app.message().await;
        assert_eq!(delivery.text(), format!("{n}"), "to each its own");
        delivery.ack();
    }
    for (n, link) in &mut links {
        assert_eq!(link.ack().await, format!("b{n}"));
    }
    drop(apps);
    for (_, link) in &mut links {
        assert_eq!(link.farewell().await, Some((1000, String::new())));
    }
    peer.assert_nobody_dialled().await;
}

relay_tests::suite! {
    going_idle_is_acknowledged,
    going_idle_without_an_answer_times_out,
    going_idle_without_a_link,
    a_dormant_gateway_closes_and_dials_at_its_cadence,
    a_wake_call_dials_at_once,
    a_hold_parks_the_next_dial,
    a_hold_ends_by_itself,
    shutting_down_takes_its_steps,
    shutting_down_is_bounded,
    shutting_down_with_a_full_socket,
    a_new_link_is_made_although_the_peer_does_not_answer,
    shutting_down_in_every_state,
    a_patient_request_ends_with_the_gateway,
    dropping_every_handle_shuts_the_gateway_down,
    deliveries_and_requests_do_not_keep_a_gateway,
    many_gateways_in_one_process,
}
