//! relay-blocking as its user has it: calls that wait, and an iterator.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use relay_blocking::{
    Action, Ambiguous, Cause, Config, ConfigError, ConnectError, Event, Events, Gateway, IdleOutcome, NotSent, NotYet,
    Outcome, RequestError, RequestOptions, State,
};
use relay_tests::app::{IsMessage as _, config, quick};
use relay_tests::frames::{buffered, message, result};
use relay_tests::peer::{Link, Peer};
use relay_tests::{GUARD, HOUR};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

/// Runs a test on a thread of its own, so that one that hangs fails. The connector's side runs on the runtime.
fn test(body: impl FnOnce(&Runtime) + Send + 'static) {
    let (done, outcome) = mpsc::channel();
    let thread = thread::spawn(move || {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        body(&runtime);
        done.send(()).unwrap();
    });
    match outcome.recv_timeout(GUARD) {
        Ok(()) => {}
        Err(RecvTimeoutError::Disconnected) => std::panic::resume_unwind(thread.join().unwrap_err()),
        Err(RecvTimeoutError::Timeout) => panic!("waited in vain"),
    }
}

/// A gateway at the end of its handshake.
fn linked(runtime: &Runtime, config: impl FnOnce(&Peer) -> Config) -> (Gateway, Events, Link, Peer) {
    let peer = runtime.block_on(Peer::bind());
    let (gateway, mut events) = relay_blocking::connect(config(&peer)).unwrap();
    let link = runtime.block_on(peer.handshake());
    assert!(matches!(events.next(), Some(Event::Ready { .. })));
    assert_eq!(gateway.descriptor().unwrap().platform, "discord");
    (gateway, events, link, peer)
}

#[test]
fn a_wrong_configuration_is_an_error_before_any_thread() {
    let error = relay_blocking::connect(Config::new("ws://127.0.0.1:1")).unwrap_err();
    assert!(matches!(error, ConnectError::Config(ConfigError::NoIdentity)), "{error}");
}

// proves: ACK-1, CLOSE-1
#[test]
fn a_message_is_answered_acknowledged_and_the_iterator_ends() {
    test(|runtime| {
        let (gateway, events, mut link, _peer) = linked(runtime, config);
        let script = runtime.spawn(async move {
            link.send(&buffered("b1", "hi")).await;
            let request = link.expect("outbound").await;
            assert_eq!(request["action"]["content"], "hello");
            link.answer(&request).await;
            let ack = link.ack().await;
            (ack, link.farewell().await)
        });
        let mut last = None;
        for event in events {
            if let Event::Delivery(message) = event {
                gateway.reply(message.expected(), "hello").unwrap();
                message.ack();
                // Waits for no event: its own reader may call it.
                assert_eq!(gateway.close(), State::Closed);
            } else {
                last = Some(event);
            }
        }
        assert!(matches!(last, Some(Event::Closed)), "{last:?}");
        let (ack, close) = runtime.block_on(script).unwrap();
        assert_eq!((ack.as_str(), close.map(|(code, _)| code)), ("b1", Some(1000)));
        assert_eq!(gateway.close(), State::Closed, "again");
        assert_eq!(gateway.ended(), State::Closed);
    });
}

#[test]
fn nothing_yet_is_not_the_end() {
    test(|runtime| {
        let (gateway, mut events, mut link, _peer) = linked(runtime, config);
        assert_eq!(events.try_next().unwrap_err(), NotYet);
        assert_eq!(events.next_timeout(Duration::from_millis(1)).unwrap_err(), NotYet);
        let script = runtime.spawn(async move {
            link.send(&message("now")).await;
            link.farewell().await
        });
        let event = events.next_timeout(Duration::MAX).unwrap();
        assert!(matches!(&event, Some(Event::Delivery(message)) if message.text() == "now"), "{event:?}");
        gateway.close();
        assert!(matches!(events.next_timeout(GUARD), Ok(Some(Event::Idle))));
        assert!(matches!(events.next_timeout(Duration::ZERO), Ok(Some(Event::Closed))));
        assert!(matches!(events.next_timeout(GUARD), Ok(None)));
        assert!(matches!(events.try_next(), Ok(None)));
        assert!(events.next().is_none());
        runtime.block_on(script).unwrap();
    });
}

// proves: REQ-1, REQ-2, REQ-6, IDLE-1
#[test]
fn calls_wait_for_their_outcome_and_have_the_same_errors() {
    test(|runtime| {
        let (gateway, mut events, mut link, peer) = linked(runtime, config);
        let script = runtime.spawn(async move {
            for (op, answer) in [
                ("send", json!({"success": true, "message_id": "m1"})),
                ("edit", json!({"success": false, "error": "no such message"})),
                ("get_chat_info", json!({"name": "general"})),
                ("follow_up", json!({"success": false, "code": "egress_declined"})),
            ] {
                let request = link.expect("outbound").await;
                assert_eq!(request["action"]["op"], op);
                link.send(&result(&request, answer)).await;
            }
            link.expect("interrupt").await;
            link.expect("going_idle").await;
            link.idle_ack().await;
            link.expect("outbound").await;
            link.cut();
        });
        assert_eq!(gateway.send("c1", "hi").unwrap().message_id.as_deref(), Some("m1"));
        assert!(matches!(gateway.edit("c1", "m1", "ho"), Err(RequestError::Rejected(_))));
        assert_eq!(gateway.chat_info("c1").unwrap().name, "general");
        let declined = gateway.follow_up("s1", "discord.interaction_token", "x");
        assert!(matches!(declined, Err(RequestError::Declined(_))));
        gateway.interrupt("s1", None).unwrap();
        assert_eq!(gateway.go_idle(), IdleOutcome::Acknowledged);
        gateway.hold_redial();
        assert!(matches!(gateway.typing("c1"), Err(RequestError::Ambiguous(Ambiguous::LinkLost))));
        runtime.block_on(script).unwrap();
        drop(peer);
        // What is waited for ends in its own time as well.
        assert!(matches!(events.next(), Some(Event::Idle)));
        assert!(matches!(events.next(), Some(Event::Disconnected { .. })));
        let mut options = RequestOptions::default();
        assert_eq!(gateway.call(&Action::typing("c1").to_json(), &options), Outcome::NotSent(NotSent::NoLink));
        options.wait_for_link = true;
        options.timeout = Some(Duration::from_millis(1));
        assert_eq!(gateway.call(&Action::typing("c1").to_json(), &options), Outcome::NotSent(NotSent::TimedOut));
        assert_eq!(gateway.go_dormant(), IdleOutcome::NoLink);
    });
}

/// A program may park its threads: nothing here takes a token away, or leaves one.
#[test]
fn the_park_token_is_the_programs_own() {
    test(|runtime| {
        let (gateway, _events, mut link, _peer) = linked(runtime, config);
        runtime.spawn(async move {
            loop {
                let request = link.expect("outbound").await;
                link.answer(&request).await;
            }
        });
        thread::current().unpark();
        gateway.typing("c1").unwrap();
        thread::park();
        gateway.typing("c1").unwrap();
        let (parked, tell) = (thread::current(), gateway.clone());
        thread::spawn(move || {
            tell.typing("c1").unwrap();
            parked.unpark();
        });
        thread::park();
    });
}

#[test]
fn many_threads_wait_at_the_same_time() {
    test(|runtime| {
        let (gateway, mut events, mut link, _peer) = linked(runtime, config);
        runtime.spawn(async move {
            // In the wrong order, so that each has to find its own.
            let mut requests = Vec::new();
            for _ in 0..32 {
                requests.push(link.expect("outbound").await);
            }
            for request in requests.iter().rev() {
                let own = request["action"]["content"].clone();
                link.send(&result(request, json!({"success": true, "message_id": own}))).await;
            }
            link.send(&message("over")).await;
            link.farewell().await;
        });
        let watcher = gateway.clone();
        let ended = thread::spawn(move || watcher.ended());
        thread::scope(|scope| {
            for n in 0..32 {
                let (gateway, text) = (gateway.clone(), n.to_string());
                scope.spawn(move || {
                    assert_eq!(gateway.send("c1", &text).unwrap().message_id, Some(text));
                });
            }
        });
        assert!(matches!(events.next(), Some(Event::Delivery(_))));
        gateway.close();
        assert_eq!(ended.join().unwrap(), State::Closed);
    });
}

// proves: REQ-7
#[test]
fn a_request_completes_while_events_are_unread() {
    test(|runtime| {
        const MESSAGES: usize = 64;
        let (gateway, mut events, mut link, _peer) = linked(runtime, |peer| {
            let mut limits = relay_blocking::Limits::default();
            (limits.queue, limits.queue_hard) = (64 << 10, 16 << 20);
            config(peer).limits(limits)
        });
        let text = "x".repeat(4 << 10);
        let script = runtime.spawn(async move {
            for _ in 0..MESSAGES {
                link.send(&message(&text)).await;
            }
            let request = link.expect("outbound").await;
            link.answer(&request).await;
            link
        });
        gateway.typing("c1").unwrap();
        for _ in 0..MESSAGES {
            assert!(matches!(events.next(), Some(Event::Delivery(_))));
        }
        drop(runtime.block_on(script));
    });
}

// proves: REQ-7
#[test]
fn what_nobody_reads_is_left_with_the_connector() {
    test(|runtime| {
        const MESSAGES: usize = 2000;
        let (gateway, mut events, mut link, _peer) = linked(runtime, |peer| {
            let mut limits = relay_blocking::Limits::default();
            (limits.queue, limits.queue_hard) = (64 << 10, 256 << 10);
            config(peer).limits(limits)
        });
        let text = "x".repeat(4 << 10);
        let script = runtime.spawn(async move {
            for _ in 0..MESSAGES {
                link.send(&message(&text)).await;
            }
            link
        });
        // Many times what it may hold. Had it read on, this would be the end of the link.
        for n in 0..MESSAGES {
            let event = events.next();
            assert!(matches!(event, Some(Event::Delivery(_))), "{n}: {event:?}");
        }
        assert_eq!(gateway.stats().dials, 1);
        drop(runtime.block_on(script));
    });
}

// proves: LINK-3
#[test]
fn a_peer_that_stops_writing_is_lost() {
    test(|runtime| {
        let (gateway, mut events, link, _peer) = linked(runtime, |peer| {
            let mut timing = quick();
            (timing.ping_after, timing.lost_after) = (HOUR / 2, HOUR);
            config(peer).timing(timing).reconnect(false)
        });
        gateway.advance(HOUR);
        match events.next() {
            Some(Event::Disconnected { ended, .. }) => assert_eq!(ended.cause, Cause::Lost),
            other => panic!("{other:?}"),
        }
        drop(link);
    });
}

#[test]
fn async_code_uses_the_same_gateway() {
    test(|runtime| {
        let (gateway, events, mut link, _peer) = linked(runtime, config);
        let script = runtime.spawn(async move {
            for _ in 0..2 {
                let request = link.expect("outbound").await;
                link.answer(&request).await;
            }
            link.farewell().await
        });
        relay_blocking::block_on(gateway.as_async().typing("c1")).unwrap();
        gateway.typing("c1").unwrap();
        let (gateway, mut events) = (gateway.into_async(), events.into_async());
        runtime.block_on(async {
            assert_eq!(gateway.close().await, State::Closed);
            assert!(matches!(events.next().await, Some(Event::Idle)));
            assert!(matches!(events.next().await, Some(Event::Closed)));
        });
        runtime.block_on(script).unwrap();
    });
}

/// The thread that makes requests reads their results by itself.
#[test]
fn what_comes_while_no_call_waits_is_read_all_the_same() {
    test(|runtime| {
        let (gateway, events, mut link, _peer) = linked(runtime, config);
        let script = runtime.spawn(async move {
            for _ in 0..100 {
                let request = link.expect("outbound").await;
                link.answer(&request).await;
            }
            link
        });
        for _ in 0..100 {
            gateway.typing("c1").unwrap();
        }
        let mut link = runtime.block_on(script).unwrap();
        runtime.block_on(link.send(&message("now")));
        // No call of this crate waits for it.
        let mut events = events.into_async();
        let event = runtime.block_on(events.next());
        assert!(matches!(&event, Some(Event::Delivery(message)) if message.text() == "now"), "{event:?}");
    });
}

// proves: ACK-1
#[test]
fn an_acknowledgement_leaves_although_events_are_left_to_read() {
    test(|runtime| {
        let (gateway, mut events, mut link, _peer) = linked(runtime, |peer| {
            // No timer is to bring it about.
            let (mut timing, late) = (quick(), 10 * GUARD);
            (timing.request, timing.ping_after, timing.lost_after) = (late, late, 2 * late);
            config(peer).timing(timing)
        });
        for n in 0..50 {
            let (one, two) = (format!("{n}-one"), format!("{n}-two"));
            let first = one.clone();
            let script = runtime.spawn(async move {
                link.send(&buffered(&one, &one)).await;
                link.send(&buffered(&two, &two)).await;
                let request = link.expect("outbound").await;
                link.answer(&request).await;
                (link.ack().await, link)
            });
            let Some(Event::Delivery(one)) = events.next() else { panic!("no message") };
            // The other one has come when this has been answered.
            gateway.typing("c1").unwrap();
            one.ack();
            let ack;
            (ack, link) = runtime.block_on(script).unwrap();
            assert_eq!(ack, first);
            let Ok(Some(Event::Delivery(two))) = events.try_next() else { panic!("no message") };
            two.ack();
            runtime.block_on(link.ack());
        }
    });
}

/// Threads that read for each other, in every order that comes about.
#[test]
fn threads_that_request_and_threads_that_acknowledge_get_along() {
    const THREADS: usize = 8;
    const REQUESTS: usize = 50;
    test(|runtime| {
        let (gateway, mut events, mut link, _peer) = linked(runtime, config);
        let script = runtime.spawn(async move {
            let (mut answered, mut acked) = (0, 0);
            while acked < THREADS * REQUESTS {
                let frame = link.next_frame().await;
                if frame["type"] == "inbound_ack" {
                    acked += 1;
                    continue;
                }
                link.send(&buffered(&format!("b{answered}"), &format!("m{answered}"))).await;
                link.answer(&frame).await;
                answered += 1;
            }
            link
        });
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..REQUESTS {
                        gateway.typing("c1").unwrap();
                    }
                });
            }
            for n in 0..THREADS * REQUESTS {
                match events.next() {
                    Some(Event::Delivery(message)) => message.ack(),
                    other => panic!("{n}: {other:?}"),
                }
            }
        });
        drop(runtime.block_on(script));
    });
}
