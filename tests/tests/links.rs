//! The life and the ends of links, over sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use relay_proto::action::Action;
use relay_proto::client::{Event, Gateway};
use relay_proto::gateway::{Ambiguous, Cause, NotSent, Outcome, RequestOptions, State};
use relay_tests::app::{App, IsMessage as _, config, quick};
use relay_tests::frames::{line, message};
use relay_tests::host::Host;
use relay_tests::peer::{Incoming, Peer};
use relay_tests::raw::close_frame;
use relay_tests::{HOUR, guard};
use tokio_tungstenite::tungstenite::Message;

fn send(gateway: &Gateway, text: &str) -> impl Future<Output = Outcome> + Send + use<> {
    gateway.call(&Action::send("c1", text).to_json(), &RequestOptions::default())
}

// proves: LINK-2
async fn every_close_code_has_its_class(host: Host) {
    for (code, reason, cause, slow) in [
        (1000, "", Cause::Normal, false),
        (1000, "bye", Cause::Normal, false),
        (1000, "replaced", Cause::Replaced, true),
        (1008, "duplicate session", Cause::Replaced, true),
        (4000, "", Cause::Replaced, true),
        (4409, "conflict", Cause::Replaced, true),
        (1001, "", Cause::GoingAway, false),
        (1012, "restart", Cause::GoingAway, false),
        (1013, "", Cause::GoingAway, false),
        (1002, "", Cause::Protocol, true),
        (1003, "", Cause::Protocol, true),
        (1007, "", Cause::Protocol, true),
        (1008, "policy", Cause::Protocol, true),
        (1009, "", Cause::TooLarge, false),
        (1011, "", Cause::Failed, false),
        (1014, "bad gateway", Cause::Failed, false),
        (3000, "", Cause::Failed, false),
        (4403, "forbidden", Cause::Forbidden, true),
        (4999, "", Cause::Failed, false),
    ] {
        let peer = Peer::bind().await;
        let (mut app, link) = App::linked(host, &peer, config(&peer)).await;
        let mut link = link.into_raw();
        link.write(close_frame(code, reason)).await;
        let (ended, retry_in) = app.disconnected().await;
        assert_eq!((ended.cause, ended.code, &*ended.reason), (cause, Some(code), reason));
        let retry_in = retry_in.expect("another dial");
        assert_eq!(slow, retry_in >= quick().backoff_max, "{code} {reason}: {retry_in:?}");
        link.read_to_end().await;
        peer.handshake().await;
        app.ready().await;
    }
}

// proves: LINK-2
async fn a_close_frame_is_answered(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    link.close(1012, "restart").await;
    assert_eq!(link.next().await, Incoming::Close(Some((1012, "restart".into()))));
    assert_eq!(link.next().await, Incoming::End(None), "in order");
    assert_eq!(app.disconnected().await.0.code, Some(1012));
    let mut link = peer.handshake().await;
    app.ready().await;
    link.close_without_code().await;
    assert_eq!(link.ended().await, None);
    let (ended, _) = app.disconnected().await;
    assert_eq!((ended.cause, ended.code), (Cause::Normal, None));
}

// proves: LINK-2
async fn an_end_without_a_close_frame_is_a_loss(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, link) = App::linked(host, &peer, config(&peer)).await;
    link.cut();
    let (ended, _) = app.disconnected().await;
    assert_eq!((ended.cause, ended.code), (Cause::Lost, None), "a reset");
    drop(peer.handshake().await);
    app.ready().await;
    assert_eq!(app.disconnected().await.0.cause, Cause::Lost, "the end of the stream");
    let mut link = peer.handshake().await;
    app.ready().await;
    link.write_raw(&[0x81, 100, b'{']).await;
    drop(link);
    assert_eq!(app.disconnected().await.0.cause, Cause::Lost, "within a frame");
}

/// The connector closes and resets, and before the gateway could have noticed either, it has something to write.
// proves: LINK-2
async fn a_close_code_is_not_lost_behind_a_write_error(host: Host) {
    for n in 0..100_u16 {
        let peer = Peer::bind().await;
        let (mut app, link) = App::linked(host, &peer, config(&peer)).await;
        let code = 4100 + n;
        link.into_raw().write_and_reset(&close_frame(code, "why"));
        let pending: Vec<_> = (0..20).map(|n| send(&app.gateway, &format!("{n}"))).collect();
        let (ended, _) = app.disconnected().await;
        assert_eq!((ended.cause, ended.code, &*ended.reason), (Cause::Failed, Some(code), "why"), "{ended}");
        for request in pending {
            let outcome = guard("an outcome", request).await;
            assert!(
                matches!(outcome, Outcome::Ambiguous(Ambiguous::LinkLost) | Outcome::NotSent(NotSent::NoLink)),
                "{outcome:?}"
            );
        }
    }
}

/// The same with a gateway that writes all the time, more than the socket takes.
// proves: LINK-2
async fn a_close_code_is_not_lost_behind_a_full_socket(host: Host) {
    let text = "x".repeat(100_000);
    for n in 0..4_u16 {
        let peer = Peer::bind().await;
        let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
        let mut pending: Vec<_> = (0..100).map(|_| send(&app.gateway, &text)).collect();
        link.expect("outbound").await;
        let code = 4100 + n;
        link.into_raw().write_and_reset(&close_frame(code, "why"));
        pending.extend((0..20).map(|_| send(&app.gateway, &text)));
        let (ended, _) = app.disconnected().await;
        assert_eq!((ended.cause, ended.code), (Cause::Failed, Some(code)), "{ended}");
    }
}

/// What came before the close frame counts as well: a result that the connector sent ends its request.
// proves: LINK-2, REQ-1
async fn a_result_is_not_lost_behind_a_write_error(host: Host) {
    for _ in 0..50 {
        let peer = Peer::bind().await;
        let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
        let answered = send(&app.gateway, "answered");
        let request = link.expect("outbound").await;
        let result = relay_tests::frames::result(&request, serde_json::json!({"success": true}));
        let result = relay_tests::raw::frame(relay_tests::raw::TEXT, relay_tests::frames::line(&result));
        link.into_raw().write_and_reset(&[result, close_frame(1012, "")].concat());
        let unanswered = send(&app.gateway, "unanswered");
        assert!(matches!(guard("a result", answered).await, Outcome::Result(_)));
        assert!(!matches!(guard("an end", unanswered).await, Outcome::Result(_)));
        assert_eq!(app.disconnected().await.0.cause, Cause::GoingAway);
    }
}

// proves: LINK-1
async fn a_lost_link_is_dialled_again_and_again(host: Host) {
    let peer = Peer::bind().await;
    let mut app = App::start(host, config(&peer));
    for n in 1..=20 {
        let mut link = peer.handshake().await;
        app.ready().await;
        link.send(&message(&format!("{n}"))).await;
        assert_eq!(app.message().await.text(), format!("{n}"));
        assert_eq!((app.gateway.stats().links, app.gateway.stats().dials), (n, n));
        link.cut();
        app.disconnected().await;
    }
}

// proves: LINK-1
async fn the_waits_double_and_only_stable_links_end_that(host: Host) {
    let peer = Peer::bind().await;
    let mut timing = quick();
    (timing.backoff_initial, timing.backoff_max) = (Duration::from_millis(2), Duration::from_millis(32));
    let mut app = App::start(host, config(&peer).timing(timing));
    for full in [2, 4, 8, 16, 32, 32] {
        // Made, ready, and gone again: no reason to start over.
        peer.handshake().await.cut();
        app.ready().await;
        let (_, retry_in) = app.disconnected().await;
        let (full, retry_in) = (Duration::from_millis(full), retry_in.unwrap());
        assert!(full / 2 <= retry_in && retry_in <= full, "{retry_in:?} is not in [{:?}, {full:?}]", full / 2);
    }
}

// proves: DIAL-5
async fn the_old_connection_is_gone_before_the_next_one_is_used(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut old) = App::linked(host, &peer, config(&peer)).await;
    for n in 0..20 {
        match n % 4 {
            0 => app.gateway.reconnect(),
            1 => old.close(1012, "").await,
            2 => old.write_raw(&[0xff; 14]).await,
            _ => old.send_text("x".repeat((1 << 20) + 1)).await,
        }
        // The gateway dials only when it has dropped the connection, so this ends before anybody accepts the dial.
        let mut raw = old.into_raw();
        if n % 4 == 0 || n % 4 == 3 {
            // It waits for the answer to its close frame, or for the end.
            raw.finish().await;
        }
        raw.read_to_end().await;
        let (_, retry_in) = app.disconnected().await;
        assert!(retry_in.is_some());
        old = peer.handshake().await;
        app.ready().await;
    }
    peer.assert_nobody_dialled().await;
}

// proves: AUTH-2, REQ-1, LINK-1
async fn a_revocation_is_the_end(host: Host) {
    let peer = Peer::bind().await;
    let config = config(&peer).credentials("gw", "secret");
    let (mut app, mut link) = App::linked(host, &peer, config).await;
    let written = send(&app.gateway, "written");
    link.expect("outbound").await;
    link.close(4401, "unauthorized").await;
    let (ended, retry_in) = app.disconnected().await;
    assert_eq!((ended.cause, ended.code, retry_in), (Cause::Unauthorized, Some(4401), None));
    let Event::Revoked { ended } = app.event().await else { panic!("not revoked") };
    assert_eq!(ended.reason, "unauthorized");
    assert!(guard("the end of events", app.events.next()).await.is_none());
    assert_eq!(guard("the end", app.gateway.ended()).await, State::Revoked);
    assert_eq!(guard("an end", written).await, Outcome::Ambiguous(Ambiguous::LinkLost));
    // Nothing brings it back.
    app.gateway.wake();
    app.gateway.reconnect();
    app.gateway.release_redial();
    assert_eq!(guard("an end", send(&app.gateway, "late")).await, Outcome::NotSent(NotSent::Revoked));
    let mut patient = RequestOptions::default();
    patient.wait_for_link = true;
    let late = app.gateway.call(&Action::typing("c1").to_json(), &patient);
    assert_eq!(guard("an end", late).await, Outcome::NotSent(NotSent::Revoked));
    guard("nothing to close", app.gateway.close()).await;
    assert_eq!(app.gateway.state(), State::Revoked);
    link.ended().await;
    peer.assert_nobody_dialled().await;
    assert_eq!(app.gateway.stats().dials, 1);
}

// proves: AUTH-3
async fn a_401_on_the_upgrade_revokes_like_4401(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, link) = App::linked(host, &peer, config(&peer).credentials("gw", "secret")).await;
    link.cut();
    app.disconnected().await;
    let mut raw = peer.accept_raw().await;
    raw.request().await;
    raw.write("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await;
    let (ended, retry_in) = app.disconnected().await;
    assert_eq!((ended.cause, ended.code, retry_in), (Cause::HttpStatus, Some(401), None));
    assert!(matches!(app.event().await, Event::Revoked { .. }));
    assert_eq!(guard("the end", app.gateway.ended()).await, State::Revoked);
    peer.assert_nobody_dialled().await;
}

// proves: AUTH-3
async fn a_stricter_gateway_confirms_a_refusal_once(host: Host) {
    let peer = Peer::bind().await;
    let config = config(&peer).credentials("gw", "secret").confirm_refusals(true);
    let (mut app, mut link) = App::linked(host, &peer, config).await;
    link.close(4401, "unauthorized").await;
    let (_, retry_in) = app.disconnected().await;
    assert_eq!(retry_in, Some(Duration::ZERO), "one immediate dial decides");
    let mut link = peer.accept().await;
    link.close(4401, "unauthorized").await;
    assert_eq!(app.disconnected().await.1, None);
    assert!(matches!(app.event().await, Event::Revoked { .. }));
    peer.assert_nobody_dialled().await;
}

// proves: AUTH-1, AUTH-2
async fn refusals_that_do_not_revoke(host: Host) {
    let peer = Peer::bind().await;
    let mut app = App::start(host, config(&peer).credentials("gw", "secret"));
    for _ in 0..3 {
        peer.accept().await.close(4401, "unauthorized").await;
        let (ended, retry_in) = app.disconnected().await;
        assert_eq!(ended.cause, Cause::Unauthorized);
        assert!(retry_in.is_some_and(|wait| !wait.is_zero()), "a cold start race: with backoff");
    }
    let mut link = peer.handshake().await;
    app.ready().await;
    link.close(4401, "expired").await;
    assert!(app.disconnected().await.1.is_some(), "expired never revokes");
    let mut link = peer.handshake().await;
    app.ready().await;
    link.close(4403, "forbidden").await;
    assert!(app.disconnected().await.1.is_some(), "forbidden never revokes");
    peer.handshake().await;
    app.ready().await;
}

// proves: LINK-3
async fn a_silent_peer_is_pinged_and_given_up(host: Host) {
    let peer = Peer::bind().await;
    let mut timing = quick();
    (timing.ping_after, timing.lost_after) = (HOUR, 2 * HOUR);
    let (mut app, link) = App::linked(host, &peer, config(&peer).timing(timing)).await;
    // Nobody answers.
    let mut link = link.into_raw();
    app.gateway.advance(HOUR);
    assert_eq!(link.read().await.first(), Some(&0x89), "a ping");
    app.gateway.advance(HOUR);
    let (ended, _) = app.disconnected().await;
    assert_eq!(ended.cause, Cause::Lost, "{ended}");
    assert!(ended.reason.contains("nothing"), "{ended}");
    link.read_to_end().await;
    peer.handshake().await;
    app.ready().await;
}

// proves: LINK-3
async fn a_peer_that_talks_and_reads_nothing_is_given_up(host: Host) {
    let peer = Peer::bind().await;
    let mut timing = quick();
    (timing.ping_after, timing.lost_after) = (HOUR, 3 * HOUR);
    let (mut app, mut link) = App::linked(host, &peer, config(&peer).timing(timing)).await;
    // More than the system takes for a peer, and the last of it less than a write does.
    let text = "x".repeat(900_000);
    let requests: Vec<_> = (0..16).map(|_| send(&app.gateway, &text)).collect();
    let mut hours = 0;
    let ended = loop {
        // The gateway has heard the peer say this before an hour passes. The link may end meanwhile.
        let _ = link.send_message(Message::text(line(&message("I am here")))).await;
        match app.event().await {
            Event::Delivery(message) => message.ack(),
            Event::Disconnected { ended, .. } => break ended,
            other => panic!("{other:?}"),
        }
        // Hours do not count in which bytes still moved.
        app.gateway.advance(HOUR);
        hours += 1;
    };
    assert!(ended.cause == Cause::Lost && ended.reason.contains("read nothing"), "{ended}");
    assert!(hours >= 3, "{hours}");
    drop((requests, link));
    peer.handshake().await;
    app.ready().await;
}

// proves: LINK-3
async fn a_peer_that_answers_pings_is_kept(host: Host) {
    let peer = Peer::bind().await;
    let mut timing = quick();
    (timing.ping_after, timing.lost_after) = (HOUR, 3 * HOUR);
    let (app, mut link) = App::linked(host, &peer, config(&peer).timing(timing)).await;
    for hour in 1..=10 {
        app.gateway.advance(HOUR);
        assert_eq!(link.next().await, Incoming::Ping);
        assert_eq!(link.pings, hour);
        // Its answer leaves before this, and has been read when this is answered.
        link.settled().await;
    }
    assert_eq!((app.gateway.state(), app.gateway.stats().dials), (State::Ready, 1));
}

// proves: LINK-3
async fn a_gateway_that_only_talks_still_pings(host: Host) {
    let peer = Peer::bind().await;
    let mut timing = quick();
    (timing.ping_after, timing.lost_after) = (3 * HOUR, 9 * HOUR);
    let (app, mut link) = App::linked(host, &peer, config(&peer).timing(timing)).await;
    // Our own sends are no sign of life from the peer.
    for _ in 0..2 {
        app.gateway.advance(HOUR);
        app.gateway.interrupt("agent:main", None).unwrap();
        assert!(matches!(link.next().await, Incoming::Frame(_)));
    }
    app.gateway.advance(HOUR);
    assert_eq!(link.next().await, Incoming::Ping);
}

// proves: LINK-3
async fn a_peers_pings_are_answered(host: Host) {
    let peer = Peer::bind().await;
    let (_app, mut link) = App::linked(host, &peer, config(&peer)).await;
    for payload in [&b""[..], b"a", &[0xff; 125]] {
        link.ping(payload).await;
        assert_eq!(link.next().await, Incoming::Pong(payload.to_vec()));
    }
}

// proves: LINK-1
async fn one_call_reconnects_at_once(host: Host) {
    let peer = Peer::bind().await;
    let mut timing = quick();
    (timing.backoff_initial, timing.backoff_max) = (Duration::from_secs(600), Duration::from_secs(600));
    let (mut app, mut link) = App::linked(host, &peer, config(&peer).timing(timing)).await;
    app.gateway.reconnect();
    assert_eq!(link.ended().await, Some((1000, "reconnect".into())));
    let (ended, retry_in) = app.disconnected().await;
    assert_eq!((ended.cause, retry_in), (Cause::Requested, Some(Duration::ZERO)));
    let link = peer.handshake().await;
    app.ready().await;
    link.cut();
    assert!(app.disconnected().await.1.unwrap() >= Duration::from_secs(300));
    app.gateway.reconnect();
    peer.handshake().await;
    app.ready().await;
}

// proves: LINK-4
async fn without_reconnecting_the_first_end_is_the_last(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, link) = App::linked(host, &peer, config(&peer).reconnect(false)).await;
    link.cut();
    let (ended, retry_in) = app.disconnected().await;
    assert_eq!((ended.cause, retry_in), (Cause::Lost, None));
    app.closed().await;
    peer.assert_nobody_dialled().await;
}

async fn many_pings_do_not_pile_up(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    for n in 0..2000_u32 {
        link.send_message(Message::Ping(n.to_be_bytes().to_vec().into())).await.unwrap();
    }
    link.send(&message("after")).await;
    assert_eq!(app.message().await.text(), "after");
}

relay_tests::suite! {
    every_close_code_has_its_class,
    a_close_frame_is_answered,
    an_end_without_a_close_frame_is_a_loss,
    a_close_code_is_not_lost_behind_a_write_error,
    a_close_code_is_not_lost_behind_a_full_socket,
    a_result_is_not_lost_behind_a_write_error,
    a_lost_link_is_dialled_again_and_again,
    the_waits_double_and_only_stable_links_end_that,
    the_old_connection_is_gone_before_the_next_one_is_used,
    a_revocation_is_the_end,
    a_401_on_the_upgrade_revokes_like_4401,
    a_stricter_gateway_confirms_a_refusal_once,
    refusals_that_do_not_revoke,
    a_silent_peer_is_pinged_and_given_up,
    a_peer_that_talks_and_reads_nothing_is_given_up,
    a_peer_that_answers_pings_is_kept,
    a_gateway_that_only_talks_still_pings,
    a_peers_pings_are_answered,
    one_call_reconnects_at_once,
    without_reconnecting_the_first_end_is_the_last,
    many_pings_do_not_pile_up,
}
