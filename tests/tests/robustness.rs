//! Whatever a connector sends: after it, the next good frame on the same link arrives.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use relay_proto::client::Event;
use relay_proto::frame::Skipped;
use relay_proto::gateway::{Cause, Limits, Stats};
use relay_tests::app::{App, IsMessage as _, config};
use relay_tests::frames::{buffered, descriptor, line, message, result};
use relay_tests::host::Host;
use relay_tests::peer::{Link, Peer};
use relay_tests::raw::{self, frame};
use serde_json::{Value, json};

/// What a case sends.
enum Input {
    Text(String),
    Binary(Vec<u8>),
}

fn text(text: impl Into<String>) -> Input {
    Input::Text(text.into())
}

fn frame_text(frame: &Value) -> Input {
    Input::Text(line(frame))
}

impl Input {
    async fn send(self, link: &mut Link) {
        match self {
            Self::Text(text) => link.send_text(text).await,
            Self::Binary(bytes) => link.send_binary(bytes).await,
        }
    }
}

/// A gateway and its link, with what has been counted so far.
struct Line {
    app: App,
    link: Link,
    stats: Stats,
    good: u32,
}

impl Line {
    async fn start(host: Host) -> Self {
        let peer = Peer::bind().await;
        let (app, link) = App::linked(host, &peer, config(&peer)).await;
        let stats = app.gateway.stats();
        Self { app, link, stats, good: 0 }
    }

    /// Sends a case, and then a good frame.
    async fn send(&mut self, input: Input) {
        input.send(&mut self.link).await;
        self.good += 1;
        self.link.send(&message(&format!("good {}", self.good))).await;
    }

    /// The good frame arrives next, on the same link.
    async fn good(&mut self, case: &str) -> Stats {
        let delivery = self.app.message().await;
        assert_eq!(delivery.text(), format!("good {}", self.good), "after {case}");
        delivery.ack();
        let before = std::mem::replace(&mut self.stats, self.app.gateway.stats());
        assert_eq!((self.stats.dials, self.stats.links), (1, 1), "the same link, after {case}");
        before
    }

    /// The case is skipped, and counted as `kind`.
    async fn skips(&mut self, case: &str, input: Input, kind: &Skipped) {
        self.send(input).await;
        let before = self.good(case).await;
        let mut expected = before.skipped;
        expected[kind.kind()] += 1;
        assert_eq!(self.stats.skipped, expected, "{case}");
        assert_eq!(self.stats.lines_received, before.lines_received + 2, "{case}");
    }

    /// The case changes nothing that is counted as skipped, and the application sees nothing of it.
    async fn passes(&mut self, case: &str, input: Input) -> Stats {
        self.send(input).await;
        let before = self.good(case).await;
        assert_eq!(self.stats.skipped, before.skipped, "{case}");
        before
    }

    /// The case is an event of its own.
    async fn shows(&mut self, case: &str, input: Input) -> Event {
        self.send(input).await;
        let event = self.app.event().await;
        let before = self.good(case).await;
        assert_eq!(self.stats.skipped, before.skipped, "{case}");
        event
    }
}

// proves: FRAME-4, FRAME-5
async fn lines_that_are_no_frames(host: Host) {
    let mut line = Line::start(host).await;
    let deep = |open: &str, close: &str| format!("{}1{}\n", open.repeat(5000), close.repeat(5000));
    let name = |name: &str| name.to_owned();
    for (case, input, kind) in [
        ("cut JSON", text("{\"type\":\"inbound\",\"event\":{\n"), Skipped::NotJson),
        ("words", text("hello there\n"), Skipped::NotJson),
        ("a trailing comma", text("{\"type\":\"going_idle_ack\",}\n"), Skipped::NotJson),
        ("a NUL within a frame", text("{\"type\":\0\"going_idle_ack\"}\n"), Skipped::NotJson),
        ("a raw control character", text("{\"type\":\"in\u{1}bound\"}\n"), Skipped::NotJson),
        ("a byte order mark within a frame", text("{\u{feff}\"type\":\"going_idle_ack\"}\n"), Skipped::NotJson),
        ("a ping without a newline", text("ping"), Skipped::NotJson),
        ("an array without a newline", text("[{\"type\":\"inbound\"}]"), Skipped::NotAnObject),
        ("a page without a newline", text("<html>{\"type\":\"going_idle_ack\"}</html>"), Skipped::NotJson),
        ("a broken object without a newline", text("{type: \"going_idle_ack\"}"), Skipped::NotJson),
        ("not UTF-8", Input::Binary(b"\xff\xfe\x80\n".to_vec()), Skipped::NotJson),
        ("half a character", Input::Binary(b"{\"type\":\"inbound\",\"event\":{\"text\":\"\xe2\x82\"}}\n".to_vec()), {
            Skipped::NotJson
        }),
        ("an array", text("[{\"type\":\"inbound\"}]\n"), Skipped::NotAnObject),
        ("a number", text("42\n"), Skipped::NotAnObject),
        ("null", text("null\n"), Skipped::NotAnObject),
        ("a string", text("\"inbound\"\n"), Skipped::NotAnObject),
        ("true", text("true\n"), Skipped::NotAnObject),
        ("5,000 arrays", text(deep("[", "]")), Skipped::NotAnObject),
        ("5,000 objects", text(deep("{\"a\":", "}")), Skipped::NoType),
        ("5,000 open arrays", text(format!("{}\n", "[".repeat(5000))), Skipped::NotJson),
        ("an empty object", text("{}\n"), Skipped::NoType),
        ("an object without a type", text("{\"event\":{\"text\":\"x\"}}\n"), Skipped::NoType),
        ("a type that is a list", text("{\"type\":[\"inbound\"]}\n"), Skipped::TypeNotAString),
        ("a type that is null", text("{\"type\":null}\n"), Skipped::TypeNotAString),
        ("a type that is a number", text("{\"type\":1e400}\n"), Skipped::TypeNotAString),
        ("a type that is an object", text("{\"type\":{\"type\":\"inbound\"}}\n"), Skipped::TypeNotAString),
        ("an unknown type", text("{\"type\":\"telepathy\"}\n"), Skipped::UnknownType(name("telepathy"))),
        ("an empty type", text("{\"type\":\"\"}\n"), Skipped::UnknownType(name(""))),
        ("a type in capitals", text("{\"type\":\"INBOUND\"}\n"), Skipped::UnknownType(name("INBOUND"))),
        ("hello", text("{\"type\":\"hello\"}\n"), Skipped::WrongDirection(name("hello"))),
        ("outbound", text("{\"type\":\"outbound\",\"requestId\":\"x\"}\n"), Skipped::WrongDirection(name("outbound"))),
        ("interrupt", text("{\"type\":\"interrupt\"}\n"), Skipped::WrongDirection(name("interrupt"))),
        ("going_idle", text("{\"type\":\"going_idle\"}\n"), Skipped::WrongDirection(name("going_idle"))),
        ("inbound_ack", text("{\"type\":\"inbound_ack\"}\n"), Skipped::WrongDirection(name("inbound_ack"))),
        ("ping", text("{\"type\":\"ping\"}\n"), Skipped::Ignored(name("ping"))),
        ("error", text("{\"type\":\"error\",\"message\":[1]}\n"), Skipped::Ignored(name("error"))),
        ("no descriptor", text("{\"type\":\"descriptor\"}\n"), Skipped::MalformedDescriptor),
        ("a null descriptor", text("{\"type\":\"descriptor\",\"descriptor\":null}\n"), Skipped::MalformedDescriptor),
        ("a list as descriptor", text("{\"type\":\"descriptor\",\"descriptor\":[1]}\n"), Skipped::MalformedDescriptor),
        ("a result without an id", text("{\"type\":\"outbound_result\"}\n"), Skipped::MissingField("requestId")),
        (
            "a result whose id is a list",
            text("{\"type\":\"outbound_result\",\"requestId\":[\"a\"],\"result\":{}}\n"),
            Skipped::MissingField("requestId"),
        ),
        ("an interrupt of nobody", text("{\"type\":\"interrupt_inbound\"}\n"), Skipped::MissingField("session_key")),
        (
            "an interrupt of a list",
            text("{\"type\":\"interrupt_inbound\",\"session_key\":[]}\n"),
            Skipped::MissingField("session_key"),
        ),
    ] {
        line.skips(case, input, &kind).await;
    }
}

// proves: FRAME-4, REQ-3, IDLE-1
async fn frames_that_nobody_asked_for(host: Host) {
    let mut line = Line::start(host).await;
    for id in [json!("nobody"), json!(""), json!(7), json!("f".repeat(32)), json!(1e300)] {
        for result in [json!({"success": true}), json!(null), json!([1]), json!("x")] {
            let frame = json!({"type": "outbound_result", "requestId": id, "result": result});
            let before = line.passes("a result for nobody", frame_text(&frame)).await;
            assert_eq!(line.stats.unmatched_results, before.unmatched_results + 1, "{frame}");
        }
    }
    let before = line.passes("an unasked idle ack", text("{\"type\":\"going_idle_ack\"}\n")).await;
    assert_eq!(line.stats.unasked_idle_acks, before.unasked_idle_acks + 1);
    line.passes("another descriptor", frame_text(&descriptor("telegram"))).await;
    assert_eq!(line.app.gateway.descriptor().unwrap().platform, "discord", "the first stays the default");
    assert_eq!(line.app.gateway.descriptor_for("telegram").unwrap().platform, "telegram");
}

// proves: FRAME-2
async fn lines_that_say_nothing(host: Host) {
    let mut line = Line::start(host).await;
    for (case, input) in [
        ("an empty message", text("")),
        ("an empty binary message", Input::Binary(Vec::new())),
        ("a blank line", text("\n")),
        ("blank lines", text("\n".repeat(5000))),
        ("blank lines with CR", text("\r\n".repeat(5000))),
        ("white space", text(" \t \n")),
        ("NULs", text("\0\n\0")),
        ("a byte order mark", text("\u{feff}")),
    ] {
        let before = line.passes(case, input).await;
        assert_eq!(line.stats.lines_received, before.lines_received + 1, "{case}");
    }
    for _ in 0..3000 {
        line.link.send_text("").await;
    }
    line.passes("thousands of empty messages", text("\n")).await;
}

// proves: EVENT-2, FRAME-4, FRAME-6
async fn odd_events_are_still_messages(host: Host) {
    let mut line = Line::start(host).await;
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let event = |event: &str| text(format!("{{\"type\":\"inbound\",\"event\":{event}}}\n"));
    for (case, input, expected) in [
        ("an empty event", event("{}"), ""),
        ("a null text", event(r#"{"text":null}"#), ""),
        ("a list as text", event(r#"{"text":["a"]}"#), ""),
        ("a number as text", event(r#"{"text":17}"#), "17"),
        ("30 digits as text", event(r#"{"text":123456789012345678901234567890}"#), "123456789012345678901234567890"),
        ("a source that is a list", event(r#"{"text":"x","source":[1,2]}"#), "x"),
        ("a source that is null", event(r#"{"text":"x","source":null}"#), "x"),
        ("a source of lists", event(r#"{"text":"x","source":{"platform":[],"chat_id":{},"user_id":true}}"#), "x"),
        ("ids out of range", event(r#"{"text":"x","message_id":1e400,"source":{"chat_id":-1e999}}"#), "x"),
        ("media that are no list", event(r#"{"text":"x","media_urls":{"a":1},"context":"no"}"#), "x"),
        ("media of numbers", event(r#"{"text":"x","media_urls":[1,null,[],"u"],"context":[1,null,{}]}"#), "x"),
        ("duplicate keys", event(r#"{"text":"first","text":"last"}"#), "last"),
        ("a type that is a list", event(r#"{"text":"x","message_type":["text"]}"#), "x"),
        ("NUL, escaped", event(r#"{"text":"a\u0000b"}"#), "a\0b"),
        ("a surrogate pair", event(r#"{"text":"\ud83d\ude00"}"#), "😀"),
        ("unknown and deep", event(&format!("{{\"text\":\"x\",\"deep\":{deep}}}")), "x"),
        ("deep where a text should be", event(&format!("{{\"text\":\"x\",\"source\":{deep}}}")), "x"),
        ("CRLF", text("{\"type\":\"inbound\",\"event\":{\"text\":\"x\"}}\r\n"), "x"),
        ("no newline", text("{\"type\":\"inbound\",\"event\":{\"text\":\"x\"}}"), "x"),
        ("white space around", text("  {\"type\":\"inbound\",\"event\":{\"text\":\"x\"}}  \n"), "x"),
        ("a repeated type", text("{\"type\":\"x\",\"type\":\"inbound\",\"event\":{\"text\":\"x\"}}\n"), "x"),
        ("an escaped key", text("{\"t\\u0079pe\":\"inbound\",\"event\":{\"text\":\"x\"}}\n"), "x"),
        ("binary", Input::Binary(b"{\"type\":\"inbound\",\"event\":{\"text\":\"\xc3\xa4\"}}\n".to_vec()), "ä"),
    ] {
        match line.shows(case, input).await {
            Event::Delivery(message) => {
                assert_eq!(message.text(), expected, "{case}");
                assert_eq!(message.buffer_id(), None, "{case}");
            }
            other => panic!("{case}: {other:?}"),
        }
    }
    for (case, text) in [("a lone high one", r"\ud800"), ("a lone low one", r"\udc00"), ("two", r"\ud800\ud800x")] {
        let Event::Delivery(message) = line.shows(case, event(&format!("{{\"text\":\"{text}\",\"n\":7}}"))).await
        else {
            panic!("{case}")
        };
        assert!(message.raw().contains(text), "the raw text stays readable: {case}");
    }
}

// proves: ACK-5
async fn poison_is_handed_over_and_can_be_acknowledged(host: Host) {
    let mut line = Line::start(host).await;
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    for (n, (fields, raw)) in [
        ("", ""),
        (",\"event\":null", "null"),
        (",\"event\":[1]", "[1]"),
        (",\"event\":\"x\"", "\"x\""),
        (",\"event\":1e400", "1e400"),
        (&*format!(",\"event\":{deep}"), &*deep),
    ]
    .into_iter()
    .enumerate()
    {
        let input = text(format!("{{\"type\":\"inbound\",\"bufferId\":\"b{n}\"{fields}}}\n"));
        let Event::Delivery(poison) = line.shows(fields, input).await else { panic!("{fields}") };
        assert_eq!((poison.undecodable().map(|content| content.frame_type), poison.raw()), (Some("inbound"), raw));
        poison.ack();
        assert_eq!(line.link.ack().await, format!("b{n}"));
    }
    let input = text("{\"type\":\"passthrough_forward\",\"bufferId\":\"p\",\"forward\":[]}\n");
    let Event::Delivery(poison) = line.shows("a forward that is a list", input).await else { panic!() };
    poison.ack();
    assert_eq!(line.link.ack().await, "p");
    let bytes = b"{\"type\":\"inbound\",\"bufferId\":\"u\",\"event\":{\"text\":\"\xff\"}}\n";
    let Event::Delivery(poison) = line.shows("not UTF-8", Input::Binary(bytes.to_vec())).await else { panic!() };
    assert_eq!(poison.raw(), "{\"text\":\"\u{FFFD}\"}");
    poison.ack();
    assert_eq!(line.link.ack().await, "u");
}

// proves: PASS-1
async fn odd_forwards_are_still_forwards(host: Host) {
    let mut line = Line::start(host).await;
    let forward = |forward: &str| text(format!("{{\"type\":\"passthrough_forward\",\"forward\":{forward}}}\n"));
    for (case, input, headers, body, undecodable) in [
        ("an empty one", forward("{}"), 0, &b""[..], false),
        ("null everywhere", forward(r#"{"method":null,"headers":null,"bodyB64":null}"#), 0, b"", false),
        ("headers as an object", forward(r#"{"headers":{"a":"b"},"bodyB64":"eA=="}"#), 0, b"x", false),
        (
            "pairs and others",
            forward(r#"{"headers":[["a","1"],["a"],["a","2","3"],"a",null,[],["a","1"],{"a":1}]}"#),
            2,
            b"",
            false,
        ),
        ("a body that is a list", forward(r#"{"bodyB64":["eA=="]}"#), 0, b"", true),
        ("a body that is no base64", forward(r#"{"bodyB64":"!A!"}"#), 0, b"", true),
        ("a binary body", forward(r#"{"bodyB64":"AP+A"}"#), 0, b"\0\xff\x80", false),
    ] {
        let Event::Delivery(delivery) = line.shows(case, input).await else { panic!("{case}") };
        let seen = delivery.passthrough().expect(case);
        assert_eq!((seen.headers.len(), &*seen.body, seen.body_undecodable), (headers, body, undecodable), "{case}");
    }
}

// proves: FRAME-4, REQ-3
async fn odd_results_end_their_request(host: Host) {
    let mut line = Line::start(host).await;
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    for raw in ["null", "[1]", "\"ok\"", "1e400", "{\"success\":[]}", &*deep] {
        let send = line.app.gateway.send("c1", "hi");
        let answer = async {
            let id = line.link.expect("outbound").await["requestId"].as_str().unwrap().to_owned();
            let text = format!("{{\"type\":\"outbound_result\",\"requestId\":\"{id}\",\"result\":{raw}}}\n");
            line.link.send_text(text).await;
        };
        let (outcome, ()) = tokio::join!(relay_tests::guard("a result", send), answer);
        assert_eq!(outcome.unwrap_err().result().unwrap().raw.as_str(), raw);
    }
    line.passes("odd results", text("\n")).await;
}

// proves: FRAME-2
async fn many_frames_in_one_message(host: Host) {
    let mut line = Line::start(host).await;
    let frames: Vec<Value> = (0..500).map(|n| message(&format!("part {n}"))).collect();
    line.link.send_all(&frames).await;
    for n in 0..500 {
        assert_eq!(line.app.message().await.text(), format!("part {n}"));
    }
    line.passes("many frames", text("\n")).await;
}

// proves: FRAME-2
async fn objects_without_newlines_and_with_what_some_peers_put_around_them(host: Host) {
    let mut line = Line::start(host).await;
    let object = |text: &str| relay_tests::frames::line(&message(text)).trim_end().to_owned();
    let (one, two) = (object("one"), object("two"));
    for (case, sent) in [
        ("glued", format!("{one}{two}")),
        ("glued, with a newline", format!("{one} {two}\r\n")),
        ("a mark in front", format!("\u{feff}{one}\n\u{feff}{two}")),
        ("a NUL behind", format!("{one}\0{two}\0\n\0")),
    ] {
        line.link.send_text(sent.clone()).await;
        assert_eq!(line.app.message().await.text(), "one", "{case}");
        assert_eq!(line.app.message().await.text(), "two", "{case}");
        for piece in sent.as_bytes().chunks(5) {
            line.link.send_binary(piece).await;
        }
        assert_eq!(line.app.message().await.text(), "one", "{case}, cut");
        assert_eq!(line.app.message().await.text(), "two", "{case}, cut");
    }
    line.passes("objects without newlines", text("\n")).await;
}

// proves: FRAME-2
async fn a_frame_split_at_every_byte(host: Host) {
    let mut line = Line::start(host).await;
    let whole = "{\"type\":\"inbound\",\"event\":{\"text\":\"h\u{e4} \u{20ac} \u{1f600}\"}}\r\n".as_bytes();
    for cut in 0..=whole.len() {
        line.link.send_binary(&whole[..cut]).await;
        line.link.send_binary(&whole[cut..]).await;
        assert_eq!(line.app.message().await.text(), "hä € 😀", "cut at {cut}");
    }
    for byte in whole {
        line.link.send_binary([*byte]).await;
    }
    assert_eq!(line.app.message().await.text(), "hä € 😀", "byte by byte");
    line.passes("cut frames", text("\n")).await;
}

// proves: FRAME-2
async fn a_text_message_in_fragments_cut_inside_characters(host: Host) {
    let peer = Peer::bind().await;
    let mut app = App::start(host, config(&peer));
    let mut link = peer.accept_raw().await;
    link.handshake().await;
    app.ready().await;
    let text = relay_tests::frames::line(&message("€€€"));
    let mut bytes = raw::header(raw::TEXT, 1);
    bytes.push(text.as_bytes()[0]);
    for byte in &text.as_bytes()[1..text.len() - 1] {
        bytes.extend(raw::header(0, 1));
        bytes.push(*byte);
    }
    bytes.extend(frame(0, "\n"));
    link.trickle(bytes).await;
    assert_eq!(app.message().await.text(), "€€€");
}

fn line_of(bytes: usize) -> String {
    let empty = line(&message(""));
    line(&message(&"x".repeat(bytes - (empty.len() - 1))))
}

// proves: FRAME-3
async fn a_line_as_long_as_the_limit(host: Host) {
    let mut line = Line::start(host).await;
    let limit = Limits::default().line;
    let longest = line_of(limit);
    assert_eq!(longest.len(), limit + 1, "the newline is not of the line");
    let Event::Delivery(message) = line.shows("the longest line", text(longest.clone())).await else { panic!() };
    assert!(message.raw().len() > limit - 100);
    drop(message);
    let pieces = longest.as_bytes().chunks(4096);
    for piece in pieces {
        line.link.send_binary(piece).await;
    }
    let Event::Delivery(_) = line.app.event().await else { panic!() };
    line.passes("the longest line in pieces", text("\n")).await;
}

// proves: FRAME-3
async fn a_line_over_the_limit(host: Host) {
    let limit = Limits::default().line;
    let whole = line_of(limit + 1);
    let without_end = whole.trim_end().to_owned();
    for pieces in [vec![whole.clone()], vec![without_end], vec![whole[..limit / 2].into(), whole[limit / 2..].into()]] {
        let peer = Peer::bind().await;
        let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
        for piece in pieces {
            link.send_text(piece).await;
        }
        assert_eq!(link.ended().await.map(|(code, _)| code), Some(1009), "the peer is told");
        let (ended, _) = app.disconnected().await;
        assert_eq!((ended.cause, ended.code), (Cause::TooLarge, Some(1009)));
        assert!(ended.reason.contains("1048576"), "{ended}");
        peer.handshake().await;
        app.ready().await;
    }
}

// proves: FRAME-3
async fn a_message_over_the_limit(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, link) = App::linked(host, &peer, config(&peer)).await;
    let mut link = link.into_raw();
    link.write(raw::header(0x80 | raw::BINARY, 16 << 20)).await;
    let end = link.read_to_end().await;
    assert_eq!(raw::close_code(&end), Some(1009), "the peer is told");
    assert_eq!(app.disconnected().await.0.cause, Cause::TooLarge);
}

// proves: FRAME-3
async fn a_message_over_the_limit_whose_sender_goes_on_sending(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    // The connection may be gone before all of this is written.
    let _ = link.send_message(tokio_tungstenite::tungstenite::Message::text("x".repeat(8 << 20))).await;
    assert_eq!(app.disconnected().await.0.cause, Cause::TooLarge);
    assert_eq!(link.ended().await.map(|(code, _)| code), Some(1009), "the peer is told");
}

// proves: LINK-2
async fn invalid_utf8_in_a_text_message_ends_the_link(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, link) = App::linked(host, &peer, config(&peer)).await;
    let mut link = link.into_raw();
    link.write(frame(raw::TEXT, b"{\"type\":\"\xff\"}\n")).await;
    let end = link.read_to_end().await;
    assert_eq!(raw::close_code(&end), Some(1007), "the peer is told");
    assert_eq!(app.disconnected().await.0.cause, Cause::Protocol);
}

// proves: FRAME-4
async fn a_flood_of_bad_lines_ends_nothing(host: Host) {
    let mut line = Line::start(host).await;
    let before = line.app.gateway.stats().skipped_total();
    line.link.send_text("x\n".repeat(200_000)).await;
    line.send(text("\n")).await;
    line.good("a flood").await;
    assert_eq!(line.stats.skipped_total(), before + 200_000);
    line.link.send(&buffered("b", "after")).await;
    line.app.message().await.ack();
    assert_eq!(line.link.ack().await, "b");
    let request = line.app.gateway.send("c1", "hi");
    let answer = async {
        let request = line.link.expect("outbound").await;
        line.link.send(&result(&request, json!({"success": true}))).await;
    };
    let (outcome, ()) = tokio::join!(relay_tests::guard("a result", request), answer);
    outcome.unwrap();
}

relay_tests::suite! {
    lines_that_are_no_frames,
    frames_that_nobody_asked_for,
    lines_that_say_nothing,
    odd_events_are_still_messages,
    poison_is_handed_over_and_can_be_acknowledged,
    odd_forwards_are_still_forwards,
    odd_results_end_their_request,
    many_frames_in_one_message,
    objects_without_newlines_and_with_what_some_peers_put_around_them,
    a_frame_split_at_every_byte,
    a_text_message_in_fragments_cut_inside_characters,
    a_line_as_long_as_the_limit,
    a_line_over_the_limit,
    a_message_over_the_limit,
    a_message_over_the_limit_whose_sender_goes_on_sending,
    invalid_utf8_in_a_text_message_ends_the_link,
    a_flood_of_bad_lines_ends_nothing,
}
