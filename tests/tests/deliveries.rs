//! Deliveries over sockets: shown once, acknowledged once, in order, and never before the application says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use relay_proto::client::Event;
use relay_proto::gateway::{Cause, Limits};
use relay_tests::app::{App, IsMessage as _, config};
use relay_tests::frames::{buffered, message};
use relay_tests::guard;
use relay_tests::host::Host;
use relay_tests::peer::{Incoming, Link, Peer};
use serde_json::{Value, json};

/// Everything that was sent so far has been handled, and answered with nothing but the ping's answer.
async fn nothing_but_a_pong(link: &mut Link) {
    link.ping(b"?").await;
    assert_eq!(link.next().await, Incoming::Pong(b"?".to_vec()), "and no frame before it");
}

// proves: ACK-1
async fn an_ack_leaves_after_ack_and_not_before(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    link.send(&buffered("b1", "hi")).await;
    let delivery = app.message().await;
    assert_eq!(delivery.buffer_id().unwrap().as_str(), "b1");
    nothing_but_a_pong(&mut link).await;
    delivery.ack();
    assert_eq!(link.next_frame().await, json!({"type": "inbound_ack", "bufferId": "b1"}));
    link.send(&message("live")).await;
    app.message().await.ack();
    nothing_but_a_pong(&mut link).await;
    assert_eq!(app.gateway.stats().acks_sent, 1);
}

// proves: ACK-1
async fn buffer_ids_are_echoed_as_text(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    for (id, echo) in [
        (json!("x y"), Some("x y")),
        (json!("0"), Some("0")),
        (json!(17), Some("17")),
        (json!(-3), Some("-3")),
        (json!(u64::MAX), Some("18446744073709551615")),
        (json!("\u{1f600}\"\n"), Some("\u{1f600}\"\n")),
        (json!(""), None),
        (json!(0), None),
        (json!(null), None),
        (json!([1]), None),
    ] {
        let mut frame = message(&format!("{id}"));
        frame["bufferId"] = id.clone();
        link.send(&frame).await;
        let delivery = app.message().await;
        assert_eq!(delivery.buffer_id().map(|id| id.as_str()), echo, "{id}");
        delivery.ack();
        match echo {
            Some(echo) => assert_eq!(link.ack().await, echo),
            None => nothing_but_a_pong(&mut link).await,
        }
    }
}

// proves: ACK-2
async fn acks_leave_in_arrival_order(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    let frames: Vec<Value> = (0..100).map(|n| buffered(&format!("b{n}"), &format!("{n}"))).collect();
    link.send_all(&frames).await;
    let mut deliveries = Vec::new();
    for _ in 0..100 {
        deliveries.push(app.message().await);
    }
    let first = deliveries.remove(0);
    for delivery in deliveries.into_iter().rev() {
        delivery.ack();
    }
    nothing_but_a_pong(&mut link).await;
    first.ack();
    for n in 0..100 {
        assert_eq!(link.ack().await, format!("b{n}"));
    }
}

// proves: ACK-6, ACK-4, ACK-2
async fn what_is_given_back_or_dropped_comes_again(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    let frames = [buffered("b0", "given back"), buffered("b1", "dropped"), buffered("b2", "taken")];
    link.send_all(&frames).await;
    app.message().await.nack();
    drop(app.message().await);
    app.message().await.ack();
    nothing_but_a_pong(&mut link).await;
    assert_eq!((app.gateway.stats().nacked, app.gateway.stats().dropped), (1, 1));
    link.cut();
    app.disconnected().await;
    let mut link = peer.handshake().await;
    app.ready().await;
    link.send_all(&frames).await;
    let again = [app.message().await, app.message().await];
    assert_eq!(again.each_ref().map(|delivery| delivery.text()), ["given back", "dropped"]);
    nothing_but_a_pong(&mut link).await;
    for delivery in again {
        delivery.ack();
    }
    for n in 0..3 {
        assert_eq!(link.ack().await, format!("b{n}"), "also the one that was taken on the first link");
    }
    nothing_but_a_pong(&mut link).await;
    assert_eq!(app.gateway.stats().replays_suppressed, 1);
}

// proves: ACK-3, ACK-4
async fn a_replay_after_a_cut_is_shown_once_and_acknowledged_once(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    link.send(&buffered("b1", "hi")).await;
    let delivery = app.message().await;
    link.cut();
    app.disconnected().await;
    // It takes it while there is no link: nothing can be said, and nothing is on the next link that does not carry it.
    delivery.ack();
    let mut link = peer.handshake().await;
    app.ready().await;
    nothing_but_a_pong(&mut link).await;
    link.send(&buffered("b1", "hi")).await;
    assert_eq!(link.ack().await, "b1");
    nothing_but_a_pong(&mut link).await;
    link.send(&message("next")).await;
    assert_eq!(app.message().await.text(), "next", "and it was not shown again");
    // A connector that missed the ack hears it again, on every link.
    for _ in 0..3 {
        link.cut();
        app.disconnected().await;
        link = peer.handshake().await;
        app.ready().await;
        link.send(&buffered("b1", "hi")).await;
        assert_eq!(link.ack().await, "b1");
    }
    assert_eq!((app.gateway.stats().deliveries, app.gateway.stats().replays_suppressed), (2, 4));
}

// proves: ACK-3, ACK-4
async fn a_delivery_may_be_kept_over_many_links(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    link.send(&buffered("b1", "kept")).await;
    let delivery = app.message().await;
    let key = delivery.key();
    for _ in 0..3 {
        link.cut();
        app.disconnected().await;
        link = peer.handshake().await;
        app.ready().await;
        link.send(&buffered("b1", "kept")).await;
        nothing_but_a_pong(&mut link).await;
    }
    assert_eq!((delivery.text(), delivery.key()), ("kept", key));
    delivery.ack();
    assert_eq!(link.ack().await, "b1");
    nothing_but_a_pong(&mut link).await;
}

// proves: ACK-4
async fn equal_ids_with_another_payload_are_another_message(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    for n in 0..5 {
        link.send(&buffered("b1", &format!("{n}"))).await;
        let delivery = app.message().await;
        assert_eq!(delivery.text(), format!("{n}"));
        delivery.ack();
        assert_eq!(link.ack().await, "b1");
    }
    // The same message id, the same text, another chat: another message.
    let mut elsewhere = buffered("b1", "4");
    elsewhere["event"]["source"]["chat_id"] = json!("c2");
    link.send(&elsewhere).await;
    assert_eq!(app.message().await.expected().chat_id(), "c2");
}

// proves: ACK-4
async fn live_messages_are_never_suppressed(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    let mut live = buffered("b1", "same");
    live.as_object_mut().unwrap().remove("bufferId");
    for _ in 0..3 {
        link.send(&live).await;
        app.message().await.ack();
    }
    // The buffered copy of what was shown live is a replay, whatever its buffer id.
    link.send(&buffered("b7", "same")).await;
    assert_eq!(link.ack().await, "b7");
    link.send(&live).await;
    assert_eq!(app.message().await.text(), "same");
    assert_eq!(app.gateway.stats().replays_suppressed, 1);
}

// proves: ACK-4
async fn the_memory_of_replays_is_bounded(host: Host) {
    let peer = Peer::bind().await;
    let mut limits = Limits::default();
    limits.replay_memory = 8;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer).limits(limits)).await;
    for n in 0..20 {
        link.send(&buffered(&format!("b{n}"), &format!("{n}"))).await;
        app.message().await.ack();
        link.ack().await;
    }
    link.send(&buffered("b12", "12")).await;
    assert_eq!(link.ack().await, "b12", "one of the last eight");
    link.send(&buffered("b11", "11")).await;
    assert_eq!(app.message().await.text(), "11", "forgotten: at least once");
}

// proves: ACK-1, ACK-4
async fn passthroughs_are_deliveries_like_messages(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    let forward = json!({"type": "passthrough_forward", "bufferId": 9, "forward": {
        "platform": "discord", "botId": "b", "method": "POST", "path": "/x?y=1",
        "headers": [["A", "1"], ["a", "2"]], "bodyB64": "AP8=",
    }});
    link.send(&forward).await;
    let Event::Delivery(delivery) = app.event().await else { panic!("no passthrough") };
    let seen = delivery.passthrough().expect("a forward");
    assert_eq!((&*seen.method, &*seen.path, &*seen.body), ("POST", "/x?y=1", &b"\0\xff"[..]));
    assert_eq!(seen.headers, [("A".into(), "1".into()), ("a".into(), "2".into())]);
    nothing_but_a_pong(&mut link).await;
    let key = delivery.key();
    drop(delivery);
    link.cut();
    app.disconnected().await;
    let mut link = peer.handshake().await;
    app.ready().await;
    link.send(&forward).await;
    let Event::Delivery(delivery) = app.event().await else { panic!("no passthrough") };
    assert_eq!(delivery.key(), key, "for the application's own idempotency");
    delivery.ack();
    assert_eq!(link.ack().await, "9");
}

// proves: ACK-4
async fn a_key_is_the_same_in_every_process(host: Host) {
    let peer = Peer::bind().await;
    let mut keys = Vec::new();
    for _ in 0..2 {
        let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
        let mut seen = Vec::new();
        let mut live = buffered("b1", "hi");
        live.as_object_mut().unwrap().remove("bufferId");
        link.send_all(&[buffered("b1", "hi"), live, buffered("b2", "hi 2"), message("hi")]).await;
        for _ in 0..4 {
            let delivery = app.message().await;
            assert!(delivery.key().len() == 32 && delivery.key().bytes().all(|b| b.is_ascii_hexdigit()));
            seen.push(delivery.key());
            delivery.ack();
        }
        assert_eq!(seen[0], seen[1], "live or buffered");
        assert_ne!(seen[0], seen[2]);
        assert_ne!(seen[0], seen[3]);
        keys.push(seen);
        guard("the end", async { tokio::join!(app.gateway.close(), link.farewell()) }).await;
    }
    assert_eq!(keys[0], keys[1]);
}

// proves: ACK-4, ACK-2
async fn too_much_unread_closes_the_link_and_comes_again(host: Host) {
    let peer = Peer::bind().await;
    let mut limits = Limits::default();
    (limits.queue, limits.queue_hard) = (50_000, 100_000);
    let (mut app, mut link) = App::linked(host, &peer, config(&peer).limits(limits)).await;
    // A request that waits for its result keeps the gateway reading.
    let request = app
        .gateway
        .call(&relay_proto::action::Action::typing("c1").to_json(), &relay_proto::gateway::RequestOptions::default());
    link.expect("outbound").await;
    let text = "x".repeat(10_000);
    let frames: Vec<Value> = (0..30).map(|n| buffered(&format!("b{n}"), &format!("{n} {text}"))).collect();
    for frame in &frames {
        // The gateway may have closed by now.
        let line = relay_tests::frames::line(frame);
        let _ = link.send_message(tokio_tungstenite::tungstenite::Message::text(line)).await;
    }
    assert_eq!(link.ended().await.map(|(code, _)| code), Some(1013));
    drop(request);
    let mut shown = 0;
    loop {
        match app.event().await {
            Event::Delivery(delivery) => {
                assert!(delivery.text().starts_with(&format!("{shown} ")), "in order");
                delivery.ack();
                shown += 1;
            }
            Event::Disconnected { ended, .. } => {
                assert_eq!(ended.cause, Cause::QueueFull, "{ended}");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(0 < shown && shown < 20, "{shown} were shown, of 300,000 bytes");
    let mut link = peer.handshake().await;
    app.ready().await;
    for (n, frame) in frames.iter().enumerate() {
        link.send(frame).await;
        if n >= shown {
            let delivery = app.message().await;
            assert!(delivery.text().starts_with(&format!("{n} ")));
            delivery.ack();
        }
        assert_eq!(link.ack().await, format!("b{n}"));
    }
}

// proves: ACK-1
async fn a_delivery_can_be_acknowledged_from_anywhere(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    for n in 0..20 {
        link.send(&buffered(&format!("b{n}"), &format!("{n}"))).await;
        let delivery = app.message().await;
        match n % 2 {
            0 => std::thread::spawn(move || delivery.ack()).join().unwrap(),
            _ => guard("a task", tokio::spawn(async move { delivery.ack() })).await.unwrap(),
        }
        assert_eq!(link.ack().await, format!("b{n}"));
    }
}

// proves: ACK-1, ACK-2
async fn deliveries_acknowledged_by_many_threads_leave_in_order(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    let frames: Vec<Value> = (0..200).map(|n| buffered(&format!("b{n}"), &format!("{n}"))).collect();
    link.send_all(&frames).await;
    let mut hands: Vec<Vec<_>> = (0..4).map(|_| Vec::new()).collect();
    for n in 0..200 {
        hands[n * 7 % 4].push(app.message().await);
    }
    let threads: Vec<_> = hands
        .into_iter()
        .map(|hand| std::thread::spawn(move || hand.into_iter().rev().for_each(|delivery| delivery.ack())))
        .collect();
    for n in 0..200 {
        assert_eq!(link.ack().await, format!("b{n}"));
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Full, emptied, full, emptied: the reading goes on each time, and nothing is lost or asked for twice.
// proves: REQ-7, ACK-2
async fn a_full_queue_holds_the_link_back_and_loses_nothing(host: Host) {
    let peer = Peer::bind().await;
    let mut limits = Limits::default();
    limits.queue = 20_000;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer).limits(limits)).await;
    let text = "x".repeat(10_000);
    let mut next = 0;
    for round in 1..=10 {
        for n in (round - 1) * 50..round * 50 {
            link.send(&buffered(&format!("b{n}"), &format!("{n} {text}"))).await;
        }
        while next < round * 50 {
            let delivery = app.message().await;
            assert!(delivery.text().starts_with(&format!("{next} ")));
            delivery.ack();
            assert_eq!(link.ack().await, format!("b{next}"));
            next += 1;
        }
    }
    assert_eq!((app.gateway.stats().dials, app.gateway.stats().replays_suppressed), (1, 0));
}

// proves: EVENT-3
async fn trust_is_stamped_and_not_read(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    let mut frame = message("hi");
    frame["event"]["delivered_via_upstream_relay"] = json!(false);
    frame["event"]["source"]["delivered_via_upstream_relay"] = json!(false);
    link.send(&frame).await;
    assert!(app.message().await.expected().is_upstream_trusted());
}

relay_tests::suite! {
    an_ack_leaves_after_ack_and_not_before,
    buffer_ids_are_echoed_as_text,
    acks_leave_in_arrival_order,
    what_is_given_back_or_dropped_comes_again,
    a_replay_after_a_cut_is_shown_once_and_acknowledged_once,
    a_delivery_may_be_kept_over_many_links,
    equal_ids_with_another_payload_are_another_message,
    live_messages_are_never_suppressed,
    the_memory_of_replays_is_bounded,
    passthroughs_are_deliveries_like_messages,
    a_key_is_the_same_in_every_process,
    too_much_unread_closes_the_link_and_comes_again,
    a_full_queue_holds_the_link_back_and_loses_nothing,
    a_delivery_can_be_acknowledged_from_anywhere,
    deliveries_acknowledged_by_many_threads_leave_in_order,
    trust_is_stamped_and_not_read,
}
