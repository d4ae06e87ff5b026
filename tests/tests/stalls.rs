//! Ends that stop reading for a while, or read slowly: nobody is given up who is getting on, and reading goes on as soon as it
//! may.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use relay_proto::action::Action;
use relay_proto::client::Gateway;
use relay_proto::gateway::{Limits, Outcome, RequestOptions, Timing};
use relay_tests::app::{App, IsMessage as _, config, quick};
use relay_tests::frames::{line, message};
use relay_tests::host::Host;
use relay_tests::peer::{Link, Peer};
use relay_tests::raw::{PING, TEXT, frame, frames_of, header};
use relay_tests::{HOUR, guard};
use serde_json::json;

fn send(gateway: &Gateway, text: &str) -> impl Future<Output = Outcome> + Send + use<> {
    gateway.call(&Action::send("c1", text).to_json(), &RequestOptions::default())
}

/// A link is lost whose socket takes nothing for two hours.
fn two_hours() -> Timing {
    let mut timing = quick();
    (timing.ping_after, timing.lost_after) = (2 * HOUR - HOUR / 10, 2 * HOUR);
    timing
}

/// An hour and a half passes, after the gateway has heard the peer say something.
async fn later(app: &mut App, link: &mut Link) {
    link.send(&message("I am here")).await;
    app.message().await.ack();
    app.gateway.advance(HOUR + HOUR / 2);
}

/// The queue is full with two messages, and has room as soon as one of them is taken.
// proves: REQ-7
async fn one_event_that_is_taken_lets_the_link_be_read_on(host: Host) {
    let peer = Peer::bind().await;
    let mut limits = Limits::default();
    limits.queue = 300_000;
    let (mut app, link) = App::linked(host, &peer, config(&peer).limits(limits)).await;
    let mut raw = link.into_raw();
    let whole = |n: u32| line(&message(&format!("{n} {}", "x".repeat(200_000))));
    // There is a ping within the third, far behind what one read brings with the end of the second.
    let third = whole(3);
    let (head, tail) = third.split_at(150_000);
    let bytes = [
        frame(TEXT, whole(1)),
        frame(TEXT, whole(2)),
        header(TEXT, head.len() as u64),
        head.into(),
        frame(PING, "?"),
        header(0x80, tail.len() as u64),
        tail.into(),
    ];
    let before = app.gateway.stats().lines_received;
    let take_one = async {
        while app.gateway.stats().lines_received < before + 2 {
            tokio::task::yield_now().await;
        }
        app.message().await
    };
    let ((), first) = guard("a message", async { tokio::join!(raw.write(bytes.concat()), take_one) }).await;
    assert!(first.text().starts_with("1 "));
    // No other is taken.
    let pong = raw.read().await;
    assert_eq!(frames_of(&pong), [(10, b"?".to_vec())]);
    for n in 2..=3 {
        assert!(app.message().await.text().starts_with(&format!("{n} ")));
    }
}

// proves: LINK-3
async fn a_peer_that_stalls_twice_is_kept(host: Host) {
    let peer = Peer::bind_narrow().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer).timing(two_hours())).await;
    // Together more than the system takes.
    let text = "x".repeat(900_000);
    for _ in 0..2 {
        let requests: Vec<_> = (0..8).map(|_| send(&app.gateway, &text)).collect();
        let mut request = link.expect("outbound").await;
        later(&mut app, &mut link).await;
        for (n, outcome) in requests.into_iter().enumerate() {
            if n > 0 {
                request = link.expect("outbound").await;
            }
            link.answer(&request).await;
            assert!(matches!(guard("a result", outcome).await, Outcome::Result(_)));
        }
        link.settled().await;
    }
    assert_eq!(app.gateway.stats().dials, 1);
}

/// Of one frame a part is taken now and then, and it takes far longer than a socket may take nothing.
// proves: LINK-3
async fn a_peer_that_reads_a_large_frame_slowly_is_kept(host: Host) {
    // Twice what the system takes of a socket that nobody reads: after as much is read, the gateway has written again, and
    // knows it.
    const PART: usize = 9 << 20;
    let peer = Peer::bind_narrow().await;
    let mut limits = Limits::default();
    limits.frame = 3 * PART;
    let config = config(&peer).timing(two_hours()).limits(limits);
    let (mut app, link) = App::linked(host, &peer, config).await;
    let text = "x".repeat(2 * PART + PART / 8);
    let outcome = send(&app.gateway, &text);
    let mut raw = link.into_raw();
    let mut read = raw.read().await;
    while read.len() < 200 {
        read.extend(raw.read().await);
    }
    let (total, id) = long_request(&read);
    for part in 0..2 {
        // The gateway hears that the peer is there.
        raw.write(frame(TEXT, line(&message("I am here")))).await;
        app.message().await.ack();
        app.gateway.advance(HOUR + HOUR / 2);
        while read.len() < (part + 1) * PART {
            read.extend(raw.read().await);
        }
    }
    while read.len() < total {
        read.extend(raw.read().await);
    }
    let result = json!({"type": "outbound_result", "requestId": id, "result": {"success": true}});
    raw.write(frame(TEXT, line(&result))).await;
    assert!(matches!(guard("a result", outcome).await, Outcome::Result(_)));
    assert_eq!(app.gateway.stats().dials, 1);
}

/// How long the frame is that begins like this, and the id of the request in it.
fn long_request(start: &[u8]) -> (usize, String) {
    assert_eq!(start[..2], [0x80 | TEXT, 0x80 | 127], "a long frame, masked");
    let length = u64::from_be_bytes(start[2..10].try_into().unwrap()) as usize;
    let mask = start[10..14].iter().cycle();
    let payload: Vec<u8> = start[14..].iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
    let text = String::from_utf8_lossy(&payload);
    let (_, id) = text.split_once("\"requestId\":\"").expect("an id near the beginning");
    (14 + length, id[..32].to_owned())
}

relay_tests::suite! {
    one_event_that_is_taken_lets_the_link_be_read_on,
    a_peer_that_stalls_twice_is_kept,
    a_peer_that_reads_a_large_frame_slowly_is_kept,
}
