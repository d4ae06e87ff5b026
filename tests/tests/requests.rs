//! Requests over sockets: each ends once, in time, and as what it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::HashSet;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use relay_proto::action::Action;
use relay_proto::client::{Event, Gateway, RequestError};
use relay_proto::frame::{RawJson, Verdict};
use relay_proto::gateway::{Ambiguous, Cause, IdleOutcome, Limits, NotSent, Outcome, RequestOptions};
use relay_tests::app::{App, IsMessage as _, config};
use relay_tests::frames::{buffered, line, message, result};
use relay_tests::host::Host;
use relay_tests::peer::{Link, Peer};
use relay_tests::{HOUR, NEVER, guard};
use serde_json::{Value, json};

fn call(gateway: &Gateway, text: &str) -> impl Future<Output = Outcome> + Send + use<> {
    gateway.call(&Action::send("c1", text).to_json(), &RequestOptions::default())
}

fn patient(timeout: Duration) -> RequestOptions {
    let mut options = RequestOptions::default();
    (options.wait_for_link, options.timeout) = (true, Some(timeout));
    options
}

// proves: REQ-1, REQ-6
async fn a_request_ends_as_the_connector_says(host: Host) {
    let peer = Peer::bind().await;
    let (app, mut link) = App::linked(host, &peer, config(&peer)).await;
    let mut ids = HashSet::new();
    for (says, verdict) in [
        (json!({"success": true, "message_id": "m1", "extra": [1]}), Verdict::Delivered),
        (json!({"success": true}), Verdict::Delivered),
        (json!({"success": false, "error": "no such chat"}), Verdict::Rejected),
        (json!({"success": false, "code": "egress_declined", "error": "no"}), Verdict::Declined),
        (json!({"success": false, "error": "Egress Declined by policy"}), Verdict::Declined),
        (json!({"success": false, "ambiguous": true}), Verdict::Ambiguous),
        (json!({}), Verdict::Rejected),
        (json!(null), Verdict::Rejected),
        (json!(["?"]), Verdict::Rejected),
    ] {
        let answer = async {
            let request = link.expect("outbound").await;
            let id = request["requestId"].as_str().unwrap().to_owned();
            assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()), "{id}");
            assert!(ids.insert(id), "never twice");
            assert_eq!(request["action"], json!({"op": "send", "chat_id": "c1", "content": "hi"}));
            assert_eq!((request.get("platform"), request.get("botId")), (None, None));
            link.send(&result(&request, says.clone())).await;
        };
        let (outcome, ()) = tokio::join!(guard("a result", app.gateway.send("c1", "hi")), answer);
        match (&outcome, verdict) {
            (Ok(result), Verdict::Delivered) => assert_eq!(result.raw.read::<Value>().unwrap(), says),
            (Err(RequestError::Rejected(_)), Verdict::Rejected) => {}
            (Err(RequestError::Declined(_)), Verdict::Declined) => {}
            (Err(error @ RequestError::Unknown(_)), Verdict::Ambiguous) => assert!(error.is_ambiguous()),
            _ => panic!("{says}: {outcome:?}"),
        }
        if let Err(error) = outcome {
            assert!(!error.is_retryable(), "{error}");
            assert_eq!(error.result().unwrap().raw.read::<Value>().unwrap(), says);
        }
    }
}

// proves: REQ-4
async fn the_platform_goes_with_its_bot(host: Host) {
    let peer = Peer::bind().await;
    let config = config(&peer).identity("telegram", "").identity("slack", "s1");
    let (mut app, mut link) = App::linked(host, &peer, config).await;
    link.expect("hello").await;
    link.expect("hello").await;
    for (platform, bot) in [
        (None, None),
        (Some("discord"), Some("bot-1")),
        (Some("slack"), Some("s1")),
        (Some("telegram"), None),
        (Some("irc"), None),
    ] {
        let mut options = RequestOptions::default();
        options.platform = platform.map(str::to_owned);
        let _request = app.gateway.call(&Action::typing("c1").to_json(), &options);
        let request = link.expect("outbound").await;
        assert_eq!(request.get("platform").and_then(Value::as_str), platform);
        assert_eq!(request.get("botId").and_then(Value::as_str), bot, "{platform:?}");
    }
    let mut event = message("hi");
    event["event"]["source"]["platform"] = json!("slack");
    link.send(&event).await;
    let delivery = app.message().await;
    let mut reply = pin!(app.gateway.reply(delivery.expected(), "hello"));
    assert!(futures_util::poll!(&mut reply).is_pending());
    let request = link.expect("outbound").await;
    assert_eq!((&request["platform"], &request["botId"]), (&json!("slack"), &json!("s1")));
    link.answer(&request).await;
    guard("a result", reply).await.unwrap();
}

// proves: REQ-5
async fn chat_info_is_asked_for_and_read(host: Host) {
    let peer = Peer::bind().await;
    let (app, mut link) = App::linked(host, &peer, config(&peer)).await;
    for (says, name, kind) in [
        (json!({"success": true, "chat_info": {"name": "ops", "type": "channel"}}), "ops", "channel"),
        (json!({"name": "ops"}), "ops", "dm"),
        (json!({"success": true}), "c9", "dm"),
    ] {
        let answer = async {
            let request = link.expect("outbound").await;
            assert_eq!(request["action"], json!({"op": "get_chat_info", "chat_id": "c9"}));
            link.send(&result(&request, says)).await;
        };
        let (info, ()) = tokio::join!(guard("a result", app.gateway.chat_info("c9")), answer);
        let info = info.unwrap();
        assert_eq!((&*info.name, &*info.kind), (name, kind));
    }
}

// proves: REQ-7
async fn a_request_made_while_handling_an_event_completes(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    // More messages wait behind the one that is being handled.
    link.send_all(&[buffered("1", "a"), buffered("2", "b"), buffered("3", "c")]).await;
    for id in ["1", "2", "3"] {
        let delivery = app.message().await;
        let answer = async {
            let request = link.expect("outbound").await;
            link.answer(&request).await;
        };
        let (outcome, ()) = tokio::join!(guard("a result", app.gateway.reply(delivery.expected(), "echo")), answer);
        outcome.unwrap();
        delivery.ack();
        assert_eq!(link.ack().await, id);
    }
}

/// Fills the queue of unread events: the gateway stops reading.
async fn fill(link: &mut Link) -> usize {
    let text = "x".repeat(10_000);
    for n in 0..150 {
        link.send(&buffered(&format!("b{n}"), &format!("{n} {text}"))).await;
    }
    150
}

// proves: REQ-7
async fn a_consumer_that_never_reads_gets_its_results(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    let sent = fill(&mut link).await;
    for n in 0..20 {
        let answer = async {
            let request = link.expect("outbound").await;
            // A message before the result does not hold it up either.
            link.send(&message(&format!("before {n}"))).await;
            link.answer(&request).await;
        };
        let (outcome, ()) = tokio::join!(guard("a result", app.gateway.send("c1", "hi")), answer);
        outcome.unwrap();
    }
    for n in 0..sent {
        let delivery = app.message().await;
        assert!(delivery.text().starts_with(&format!("{n} ")));
        delivery.ack();
        assert_eq!(link.ack().await, format!("b{n}"));
    }
    assert_eq!(app.gateway.stats().dials, 1);
}

// proves: REQ-7
async fn an_idle_ack_is_not_held_up_by_unread_messages(host: Host) {
    let peer = Peer::bind().await;
    let (app, mut link) = App::linked(host, &peer, config(&peer)).await;
    fill(&mut link).await;
    let answer = async {
        link.expect("going_idle").await;
        link.idle_ack().await;
    };
    let (outcome, ()) = tokio::join!(guard("an outcome", app.gateway.go_idle()), answer);
    assert_eq!(outcome, IdleOutcome::Acknowledged);
}

// proves: REQ-1, REQ-3
async fn hundreds_in_flight_answered_out_of_order(host: Host) {
    let peer = Peer::bind().await;
    let (app, mut link) = App::linked(host, &peer, config(&peer)).await;
    let calls: Vec<_> = (0..500).map(|n| call(&app.gateway, &format!("{n}"))).collect();
    let mut requests = Vec::new();
    for n in 0..500 {
        let request = link.expect("outbound").await;
        assert_eq!(request["action"]["content"], format!("{n}"), "in the order of the calls");
        requests.push(request);
    }
    for request in requests.iter().rev() {
        let content = request["action"]["content"].as_str().unwrap();
        link.send(&result(request, json!({"success": true, "message_id": content}))).await;
        // Once more, with another content: ignored.
        link.send(&result(request, json!({"success": false}))).await;
    }
    for (n, call) in calls.into_iter().enumerate() {
        let Outcome::Result(result) = guard("a result", call).await else { panic!() };
        assert_eq!(result.message_id, Some(n.to_string()));
    }
    link.settled().await;
    assert_eq!(app.gateway.stats().unmatched_results, 500);
}

// proves: REQ-3
async fn a_dropped_future_cancels_its_request(host: Host) {
    let peer = Peer::bind().await;
    let (app, mut link) = App::linked(host, &peer, config(&peer)).await;
    let written = call(&app.gateway, "written");
    let request = link.expect("outbound").await;
    drop(written);
    link.answer(&request).await;
    let kept = call(&app.gateway, "kept");
    let request = link.expect("outbound").await;
    link.answer(&request).await;
    assert!(matches!(guard("a result", kept).await, Outcome::Result(_)));
    assert_eq!(app.gateway.stats().unmatched_results, 1, "the late result is ignored, and counted");
}

// proves: FRAME-1, REQ-1
async fn a_request_over_the_limit_is_not_sent(host: Host) {
    let peer = Peer::bind().await;
    let mut limits = Limits::default();
    limits.frame = 2000;
    let (app, mut link) = App::linked(host, &peer, config(&peer).limits(limits)).await;
    let error = guard("an end", app.gateway.send("c1", &"x".repeat(2000))).await.unwrap_err();
    let RequestError::NotSent(NotSent::TooLarge { size, limit }) = error else { panic!("{error:?}") };
    assert!(size > 2000 && limit == 2000);
    assert!(error.to_string().contains(&size.to_string()) && error.to_string().contains("2000"), "{error}");
    assert!(!error.is_retryable() && !error.may_succeed_later() && !error.is_ambiguous());
    assert!(matches!(app.gateway.interrupt(&"x".repeat(2000), None), Err(NotSent::TooLarge { .. })));
    // As long as the limit is fine, and arrives whole.
    let fits = "x".repeat(2000 - (size - 2000));
    let _call = call(&app.gateway, &fits);
    let request = link.expect("outbound").await;
    assert_eq!((request["action"]["content"].as_str().unwrap(), request.to_string().len()), (&*fits, 2000));
}

// proves: REQ-2
async fn without_a_link_a_request_is_not_sent_at_once(host: Host) {
    let peer = Peer::bind().await;
    let app = App::start(host, config(&peer));
    // Before the link, within the dial, within the handshake.
    assert_eq!(call(&app.gateway, "early").now_or_never(), Some(Outcome::NotSent(NotSent::NoLink)));
    let mut link = peer.accept().await;
    link.expect("hello").await;
    let error = app.gateway.send("c1", "early").now_or_never().expect("at once").unwrap_err();
    assert_eq!(error, RequestError::NotSent(NotSent::NoLink));
    assert!(error.is_retryable() && error.may_succeed_later());
    // Only the next process can do better than one that has ended.
    for why in [NotSent::ShutDown, NotSent::Revoked] {
        let ended = RequestError::NotSent(why);
        assert!(ended.may_succeed_later() && !ended.is_retryable(), "{ended}");
    }
    assert_eq!(app.gateway.interrupt("agent:main", None), Err(NotSent::NoLink));
}

// proves: REQ-2
async fn a_patient_request_waits_for_its_link_and_no_longer(host: Host) {
    let peer = Peer::bind().await;
    let mut app = App::start(host, config(&peer));
    let mut link = peer.accept().await;
    link.expect("hello").await;
    let action = Action::send("c1", "patient").to_json();
    let waits = app.gateway.call(&action, &patient(NEVER));
    let gives_up = app.gateway.call(&action, &patient(HOUR));
    app.gateway.advance(HOUR);
    assert_eq!(guard("its deadline", gives_up).await, Outcome::NotSent(NotSent::TimedOut));
    // It waits over a lost dial as well.
    link.cut();
    app.disconnected().await;
    let mut link = peer.handshake().await;
    app.ready().await;
    let request = link.expect("outbound").await;
    assert_eq!(request["action"]["content"], "patient");
    link.answer(&request).await;
    assert!(matches!(guard("a result", waits).await, Outcome::Result(_)));
}

// proves: REQ-1
async fn an_unanswered_request_is_ambiguous_in_time(host: Host) {
    let peer = Peer::bind().await;
    let (app, mut link) = App::linked(host, &peer, config(&peer)).await;
    let mut options = RequestOptions::default();
    options.timeout = Some(HOUR);
    let request = app.gateway.call(&Action::typing("c1").to_json(), &options);
    let written = link.expect("outbound").await;
    app.gateway.advance(HOUR);
    assert_eq!(guard("its deadline", request).await, Outcome::Ambiguous(Ambiguous::TimedOut));
    link.answer(&written).await;
    link.settled().await;
    assert_eq!(app.gateway.stats().unmatched_results, 1, "late");
}

/// Issue 2: every request ends within 10 ms of the runtime noticing that the link is gone. When the application sees the
/// event, every one of them has ended already; the time from the cut until the last waiting task went on is printed.
// proves: REQ-2, REQ-1
async fn a_cut_link_ends_a_thousand_requests_at_once(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    let calls: Vec<_> = (0..1000).map(|n| call(&app.gateway, &format!("{n}"))).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..1000 {
        let call = call(&app.gateway, &format!("task {n}"));
        tasks.spawn(async move { (call.await, now()) });
    }
    for _ in 0..2000 {
        link.expect("outbound").await;
    }
    let cut = now();
    link.cut();
    let (ended, _) = app.disconnected().await;
    assert_eq!(ended.cause, Cause::Lost);
    for call in calls {
        assert_eq!(call.now_or_never(), Some(Outcome::Ambiguous(Ambiguous::LinkLost)), "ended before the event");
    }
    let mut last = Duration::ZERO;
    while let Some(ended) = guard("every task", tasks.join_next()).await {
        let (outcome, at) = ended.unwrap();
        assert_eq!(outcome, Outcome::Ambiguous(Ambiguous::LinkLost));
        last = last.max(at.saturating_duration_since(cut));
    }
    println!("{host:?}: the last of 1,000 waiting tasks went on {last:?} after the cut");
}

fn now() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "a measurement, printed and not asserted")]
    Instant::now()
}

// proves: REQ-1
async fn what_was_not_written_is_not_sent(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, link) = App::linked(host, &peer, config(&peer)).await;
    // The peer does not read: only some of this fits.
    let text = "x".repeat(200_000);
    let calls: Vec<_> = (0..100).map(|_| call(&app.gateway, &text)).collect();
    let last = app.gateway.call(&Action::send("c1", "last").to_json(), &patient(NEVER));
    let mut link = link.into_raw();
    // The gateway works: it writes until the socket takes no more.
    link.read().await;
    link.reset();
    app.disconnected().await;
    let (mut ambiguous, mut not_sent) = (0, 0);
    for call in calls {
        match call.now_or_never().expect("ended") {
            Outcome::Ambiguous(Ambiguous::LinkLost) => {
                assert_eq!(not_sent, 0, "in order");
                ambiguous += 1;
            }
            Outcome::NotSent(NotSent::NoLink) => not_sent += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(ambiguous > 0 && not_sent > 0, "{ambiguous} ambiguous, {not_sent} not sent");
    let mut link = peer.handshake().await;
    app.ready().await;
    let request = link.expect("outbound").await;
    assert_eq!(request["action"]["content"], "last", "what may wait, and was not written, goes out on the next link");
    link.answer(&request).await;
    assert!(matches!(guard("a result", last).await, Outcome::Result(_)));
}

// proves: REQ-1
async fn a_request_polled_from_anywhere_completes(host: Host) {
    let peer = Peer::bind().await;
    let (app, mut link) = App::linked(host, &peer, config(&peer)).await;
    // Polled in one task, then moved to a thread without any runtime.
    let mut request = Box::pin(call(&app.gateway, "hi"));
    let first = std::future::poll_fn(|context| Poll::Ready(request.as_mut().poll(context))).await;
    assert!(first.is_pending());
    let thread = std::thread::spawn(move || block_on(request));
    let written = link.expect("outbound").await;
    link.answer(&written).await;
    link.settled().await;
    let outcome = guard("the thread", tokio::task::spawn_blocking(|| thread.join())).await.unwrap().unwrap();
    assert!(matches!(outcome, Outcome::Result(_)));
}

/// The smallest executor there is.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

// proves: FRAME-1
async fn everything_that_is_sent_is_one_line_in_one_message(host: Host) {
    let peer = Peer::bind().await;
    let (app, mut link) = App::linked(host, &peer, config(&peer)).await;
    let text = "a\nb\r\nc\u{2028}\0\u{1f600} \"\\";
    let _call = call(&app.gateway, text);
    // `next_frame` checks the form of each message.
    let request = link.expect("outbound").await;
    assert_eq!(request["action"]["content"], text);
    let action = relay_proto::action::from_json("{\n \"op\": \"x\",\n \"y\": [1,\n 2]}").unwrap();
    let _call = app.gateway.call(&action, &RequestOptions::default());
    assert_eq!(link.expect("outbound").await["action"], json!({"op": "x", "y": [1, 2]}));
    let raw = RawJson::parse("{\n\"z\":\r\n1}").unwrap();
    let _call = app.gateway.call(&Action::new("raw").json_field("raw", &raw).to_json(), &RequestOptions::default());
    assert_eq!(link.expect("outbound").await["action"], json!({"op": "raw", "raw": {"z": 1}}));
    app.gateway.interrupt("agent:\n1", Some("because\n")).unwrap();
    let interrupt = json!({"type": "interrupt", "session_key": "agent:\n1", "reason": "because\n"});
    assert_eq!(link.next_frame().await, interrupt);
    app.gateway.interrupt("agent:1", None).unwrap();
    assert_eq!(link.next_frame().await, json!({"type": "interrupt", "session_key": "agent:1", "reason": null}));
}

// proves: REQ-7, STOP-1
async fn interrupts_overtake_messages(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    let mut lines: String = (0..50).map(|n| line(&message(&format!("{n}")))).collect();
    lines.push_str("{\"type\":\"interrupt_inbound\",\"session_key\":\"agent:main:1\",\"chat_id\":\"c1\"}\n");
    link.send_text(lines).await;
    link.settled().await;
    let Event::Interrupt(interrupt) = app.event().await else { panic!("not an interrupt") };
    assert_eq!((&*interrupt.session_key, interrupt.chat_id.as_deref()), ("agent:main:1", Some("c1")));
    for n in 0..50 {
        assert_eq!(app.message().await.text(), format!("{n}"));
    }
}

relay_tests::suite! {
    a_request_ends_as_the_connector_says,
    the_platform_goes_with_its_bot,
    chat_info_is_asked_for_and_read,
    a_request_made_while_handling_an_event_completes,
    a_consumer_that_never_reads_gets_its_results,
    an_idle_ack_is_not_held_up_by_unread_messages,
    hundreds_in_flight_answered_out_of_order,
    a_dropped_future_cancels_its_request,
    a_request_over_the_limit_is_not_sent,
    without_a_link_a_request_is_not_sent_at_once,
    a_patient_request_waits_for_its_link_and_no_longer,
    an_unanswered_request_is_ambiguous_in_time,
    a_cut_link_ends_a_thousand_requests_at_once,
    what_was_not_written_is_not_sent,
    a_request_polled_from_anywhere_completes,
    everything_that_is_sent_is_one_line_in_one_message,
    interrupts_overtake_messages,
}
