//! Memory, counted by the allocator of this process. One test: others would be counted with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::alloc::System;

use relay_proto::action::Action;
use relay_proto::gateway::{Cause, RequestOptions};
use relay_tests::HOUR;
use relay_tests::app::{App, config, quick};
use relay_tests::frames::message;
use relay_tests::host::Host;
use relay_tests::peer::{Incoming, Peer};
use relay_tests::raw;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const IDLE: usize = 100;

// proves: FRAME-3
#[test]
fn memory_is_set_aside_for_what_came_and_not_for_what_was_announced() {
    Host::TokioOneThread.run(|host| async move {
        an_announcement_costs_nothing(host).await;
        what_a_limit_allows_is_all_that_is_held(host).await;
        an_idle_link_holds_little(host).await;
        live_deliveries_that_were_taken_leave_nothing(host).await;
        what_many_requests_needed_is_given_back_by_the_next_deadline(host).await;
    });
}

/// Ten bytes announce sixteen megabytes; and ten more announce as much as the limit allows, and then nothing comes.
async fn an_announcement_costs_nothing(host: Host) {
    for (announced, ends) in [(16 << 20, true), (1_u64 << 62, true), (1 << 20, false)] {
        let peer = Peer::bind().await;
        let (mut app, link) = App::linked(host, &peer, config(&peer)).await;
        let mut link = link.into_raw();
        let region = Region::new(ALLOCATOR);
        link.write(raw::header(0x80 | raw::BINARY, announced)).await;
        if ends {
            link.read_to_end().await;
            assert_eq!(app.disconnected().await.0.cause, Cause::TooLarge);
        } else {
            // What is behind the header is within the payload: it is not answered. A little of it comes.
            link.write([b' '; 100]).await;
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        }
        let change = region.change();
        println!("a header that announces {announced}: {} bytes allocated", change.bytes_allocated);
        if ends {
            assert!(change.bytes_allocated < 200 << 10, "{change:?}");
        } else {
            assert!(change.bytes_allocated < 3 << 20, "{change:?}");
        }
    }
}

/// A peer that sends and sends, and never ends its line.
async fn what_a_limit_allows_is_all_that_is_held(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    let region = Region::new(ALLOCATOR);
    // It may still become an object.
    link.send_binary(b"{\"text\":\"").await;
    let piece = vec![b'x'; 64 << 10];
    for _ in 0..15 {
        link.send_binary(piece.clone()).await;
    }
    link.ping(b"?").await;
    assert_eq!(link.next().await, Incoming::Pong(b"?".to_vec()));
    let change = region.change();
    let held = change.bytes_allocated as i64 - change.bytes_deallocated as i64;
    println!("a line of 960 KiB that does not end: {held} bytes held");
    assert!(held < 3 << 20, "{held} bytes for a line within the limit");
    for _ in 0..2 {
        link.send_binary(piece.clone()).await;
    }
    assert_eq!(link.ended().await.map(|(code, _)| code), Some(1009));
    assert_eq!(app.disconnected().await.0.cause, Cause::TooLarge);
    let change = region.change();
    let held = change.bytes_allocated as i64 - change.bytes_deallocated as i64;
    println!("after its end: {held} bytes held");
    assert!(held < 200 << 10, "{held} bytes are held by a link that is gone");
}

/// Gateway and connector together: the connector's end of each link is a bare socket.
async fn an_idle_link_holds_little(host: Host) {
    let peer = Peer::bind().await;
    let mut kept = Vec::with_capacity(IDLE);
    let linked = async || {
        let mut app = App::start(host, config(&peer));
        let mut raw = peer.accept_raw().await;
        raw.handshake().await;
        app.ready().await;
        // The hello has been written.
        raw.read().await;
        (app, raw)
    };
    // Whatever is set up once is set up now.
    let _warm = linked().await;
    let region = Region::new(ALLOCATOR);
    for _ in 0..IDLE {
        kept.push(linked().await);
    }
    let change = region.change();
    let held = change.bytes_allocated as i64 - change.bytes_deallocated as i64;
    let each = held / IDLE as i64;
    println!("an idle link and its gateway: {each} bytes on the heap, both ends of the socket included");
    assert!(each < 4608, "{each} bytes for an idle link");
}

/// What is known of a delivery that nothing could recognise goes with it, and its place is taken by the next.
async fn live_deliveries_that_were_taken_leave_nothing(host: Host) {
    const BATCH: usize = 500;
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    let live: Vec<_> = (0..BATCH).map(|n| message(&format!("{n}"))).collect();
    let mut held = Vec::new();
    let region = Region::new(ALLOCATOR);
    for _ in 0..40 {
        link.send_all(&live).await;
        for _ in 0..BATCH {
            app.message().await.ack();
        }
        link.settled().await;
        let change = region.change();
        held.push(change.bytes_allocated as i64 - change.bytes_deallocated as i64);
    }
    let growth = held[39] - held[3];
    println!("{} live deliveries: {growth} bytes more are held", 36 * BATCH);
    assert!(growth < 36 * BATCH as i64, "{growth} bytes for deliveries that are over: {held:?}");
}

/// Nothing but a deadline comes after them.
async fn what_many_requests_needed_is_given_back_by_the_next_deadline(host: Host) {
    const MANY: usize = 5000;
    let peer = Peer::bind().await;
    let mut timing = quick();
    (timing.ping_after, timing.lost_after) = (HOUR, 3 * HOUR);
    let (app, mut link) = App::linked(host, &peer, config(&peer).timing(timing)).await;
    let held = |region: &Region<'_, System>| {
        let change = region.change();
        change.bytes_allocated as i64 - change.bytes_deallocated as i64
    };
    let region = Region::new(ALLOCATOR);
    let calls: Vec<_> =
        (0..MANY).map(|_| app.gateway.call(&Action::typing("c1").to_json(), &RequestOptions::default())).collect();
    println!("{MANY} requests under way: {} bytes held", held(&region));
    for _ in 0..MANY {
        link.expect("outbound").await;
    }
    drop(calls);
    // The second one belongs to a link that has been idle since.
    for _ in 0..2 {
        app.gateway.advance(HOUR);
        assert_eq!(link.next().await, Incoming::Ping);
        link.settled().await;
    }
    let held = held(&region);
    println!("after the next deadline: {held} bytes held");
    assert!(held < 100 << 10, "{held} bytes are held for requests that are over");
}
