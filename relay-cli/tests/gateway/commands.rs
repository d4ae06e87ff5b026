//! Commands, and what becomes of them.

use serde_json::{Value, json};

use crate::connector::Connector;
use crate::process::{Relay, command};

// proves: REQ-1, REQ-4, REQ-6, FRAME-1
#[test]
fn an_action_goes_out_and_its_result_comes_back_under_its_id() {
    let connector = Connector::start();
    let url = ["--url", &connector.url, "--platform", "discord", "--bot-id", "b1"];
    let relay = command(&[&url[..], &["--platform", "telegram", "--bot-id", "b2"]].concat());
    let mut relay = Relay::start_command(relay);
    let mut peer = connector.ready(&["discord", "telegram"]);
    relay.event("ready");

    relay.say(r#"{"op":"send","chat_id":"7","content":"hi\n \"you\"","id":{"n":[1, 2.50]},"metadata":{"a":null}}"#);
    let (request, frame) = peer.next_request();
    assert_eq!(request.len(), 32);
    assert_eq!(
        frame["action"],
        json!({"op": "send", "chat_id": "7", "content": "hi\n \"you\"", "metadata": {"a": null}})
    );
    assert_eq!((frame.get("platform"), frame.get("botId")), (None, None));
    peer.answer(&request, &json!({"success": true, "message_id": "m", "more": {"x": 1}}));
    assert_eq!(
        relay.next(),
        json!({"event": "result", "id": {"n": [1, 2.50]}, "outcome": "delivered",
            "result": {"success": true, "message_id": "m", "more": {"x": 1}}})
    );

    relay.say(r#"{"op":"edit","platform":"telegram"}"#);
    let (request, frame) = peer.next_request();
    assert_eq!(frame["action"], json!({"op": "edit"}));
    assert_eq!((&frame["platform"], &frame["botId"]), (&json!("telegram"), &json!("b2")));
    peer.answer(&request, &json!({"success": false, "error": "no"}));
    let result = relay.event("result");
    assert_eq!((&result["id"], &result["outcome"]), (&Value::Null, &json!("rejected")));

    for (answer, outcome) in [
        (json!({"success": false, "error": "Egress declined: not yours"}), "declined"),
        (json!({"success": false, "code": "egress_declined"}), "declined"),
        (json!({"ambiguous": true}), "ambiguous"),
        (json!([1]), "rejected"),
        (json!(null), "rejected"),
    ] {
        relay.say(r#"{"op":"send","id":"again"}"#);
        let (request, _) = peer.next_request();
        peer.answer(&request, &answer);
        let result = relay.event("result");
        assert_eq!((&result["id"], &result["outcome"], &result["result"]), (&json!("again"), &json!(outcome), &answer));
        assert_eq!(result.get("error").is_some(), outcome == "ambiguous");
    }
}

// proves: REQ-1
#[test]
fn results_come_in_the_order_of_the_answers_each_under_its_own_id() {
    let connector = Connector::start();
    let mut relay = Relay::start(&connector.url, &[]);
    let mut peer = connector.ready(&["discord"]);
    relay.event("ready");
    for number in 0..50 {
        relay.say(format!("{{\"op\":\"send\",\"n\":{number},\"id\":{number}}}"));
    }
    let requests: Vec<_> = (0..50).map(|_| peer.next_request()).collect();
    for (number, (_, frame)) in requests.iter().enumerate() {
        assert_eq!(frame["action"]["n"], json!(number), "requests leave in the order of the commands");
    }
    for (number, (request, _)) in requests.iter().enumerate().rev() {
        peer.answer(request, &json!({"success": true, "n": number}));
        let result = relay.event("result");
        assert_eq!((&result["id"], &result["result"]["n"]), (&json!(number), &json!(number)));
    }
}

// proves: REQ-5
#[test]
fn a_question_about_a_chat_is_answered_with_a_name_and_a_type() {
    let connector = Connector::start();
    let mut relay = Relay::start(&connector.url, &[]);
    let mut peer = connector.ready(&["discord"]);
    relay.event("ready");
    for (answer, outcome, info) in [
        (
            json!({"success": true, "chat_info": {"name": "Ann", "type": "group"}}),
            "delivered",
            json!({"name": "Ann", "type": "group"}),
        ),
        (json!({"name": "Ann"}), "delivered", json!({"name": "Ann", "type": "dm"})),
        (json!({}), "delivered", json!({"name": "7", "type": "dm"})),
        (json!({"success": false}), "rejected", Value::Null),
    ] {
        relay.say(r#"{"op":"get_chat_info","chat_id":"7"}"#);
        let (request, _) = peer.next_request();
        peer.answer(&request, &answer);
        let result = relay.event("result");
        assert_eq!((&result["outcome"], &result["chat_info"]), (&json!(outcome), &info), "{answer}");
        assert_eq!(result["result"], answer);
    }
    // Also when the chat's id is a number.
    relay.say(r#"{"op":"get_chat_info","chat_id":7}"#);
    let (request, _) = peer.next_request();
    peer.answer(&request, &json!({"chat_info": {"type": "group"}}));
    let result = relay.event("result");
    assert_eq!(
        (&result["outcome"], &result["chat_info"]),
        (&json!("delivered"), &json!({"name": "7", "type": "group"}))
    );
}

// proves: REQ-1, REQ-2, FRAME-1
#[test]
fn what_cannot_be_sent_is_said_to_be_not_sent() {
    let connector = Connector::start();
    let mut relay = Relay::start(&connector.url, &[]);
    // The upgrade is accepted, and no descriptor comes: the link is not ready.
    let mut peer = connector.accept();
    assert_eq!(peer.next()["type"], "hello");
    relay.say(r#"{"op":"send","id":1}"#);
    assert_eq!(
        relay.next(),
        json!({"event": "result", "id": 1, "outcome": "not_sent", "result": null, "cause": "no_link",
            "error": "not sent: there is no ready link"})
    );
    relay.say(r#"{"do":"interrupt","session_key":"s","id":2}"#);
    let result = relay.event("result");
    assert_eq!((&result["id"], &result["outcome"]), (&json!(2), &json!("not_sent")));
    relay.say(r#"{"do":"go_idle","id":3}"#);
    assert_eq!(relay.next(), json!({"event": "result", "id": 3, "outcome": "no_link", "result": null}));
    peer.send(&json!({"type": "descriptor", "descriptor": {}}));
    relay.event("ready");
    let large = format!("{{\"op\":\"send\",\"id\":4,\"content\":\"{}\"}}", "x".repeat((1 << 20) - 60));
    relay.say(large);
    let result = relay.event("result");
    assert_eq!(
        (&result["id"], &result["outcome"], &result["cause"]),
        (&json!(4), &json!("not_sent"), &json!("too_large"))
    );
    assert!(result["error"].as_str().unwrap().contains("1048576"));
}

// proves: REQ-1, REQ-2
#[test]
fn when_the_link_goes_a_request_on_it_is_ambiguous_at_once() {
    let connector = Connector::start();
    let mut relay = Relay::start(&connector.url, &[]);
    let mut peer = connector.ready(&["discord"]);
    relay.event("ready");
    relay.say(r#"{"op":"send","id":"lost"}"#);
    peer.next_request();
    drop(peer);
    assert_eq!(relay.event("disconnected")["cause"], "lost");
    let result = relay.event("result");
    assert_eq!(
        (&result["id"], &result["outcome"], &result["cause"]),
        (&json!("lost"), &json!("ambiguous"), &json!("link_lost"))
    );
    assert_eq!((&result["result"], result["error"].is_string()), (&Value::Null, true));
}

// proves: FRAME-6
#[test]
fn a_result_that_would_break_the_reader_of_its_line_comes_as_text() {
    let connector = Connector::start();
    let mut relay = Relay::start(&connector.url, &[]);
    let mut peer = connector.ready(&["discord"]);
    relay.event("ready");
    relay.say(r#"{"op":"send"}"#);
    let (request, _) = peer.next_request();
    let hostile = r#"{"success":true, "x":"\ud800"}"#;
    peer.send_text(format!("{{\"type\":\"outbound_result\",\"requestId\":\"{request}\",\"result\":{hostile}}}\n"));
    let result = relay.event("result");
    assert_eq!(
        (&result["outcome"], &result["result"], &result["result_json"]),
        (&json!("delivered"), &Value::Null, &json!(hostile))
    );
}

#[test]
fn what_makes_no_sense_is_answered_and_changes_nothing() {
    let connector = Connector::start();
    let mut relay = Relay::start(&connector.url, &["--ack", "manual"]);
    let mut peer = connector.ready(&["discord"]);
    relay.event("ready");
    peer.deliver("one", Some("b1"));
    relay.event("message");
    let deep = format!("{{\"op\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    let long = "x".repeat((1 << 20) + 1);
    let lines: &[&[u8]] = &[
        b"garbage",
        b"[]",
        b"null",
        b"17",
        b"\"op\"",
        b"{}",
        b"{\"op\":7}",
        b"{\"op\":\"\"}",
        b"{\"op\":\"send\",\"do\":\"close\"}",
        b"{\"op\":\"send\",\"op\":\"edit\"}",
        b"{\"op\":\"send\",\"platform\":[]}",
        b"{\"op\":\"send\"",
        b"{\"op\":\"send\"} {\"op\":\"send\"}",
        b"{\"do\":\"fly\"}",
        b"{\"do\":null}",
        b"{\"do\":\"ack\"}",
        b"{\"do\":\"ack\",\"delivery\":99}",
        b"{\"do\":\"ack\",\"delivery\":\"1\"}",
        b"{\"do\":\"interrupt\"}",
        b"\0\0\0",
        b"{\"op\":\"a\0b\"}",
        b"{\"op\":\"\xff\xfe\"}",
        b"\xef\xbb\xbf{\"op\":\"send\"}",
        deep.as_bytes(),
        long.as_bytes(),
    ];
    // A blank line first: it is no command, and counts as a line.
    relay.say("\r");
    for (index, line) in lines.iter().enumerate() {
        relay.say(line);
        let error = relay.event("error");
        assert_eq!(error["line"], json!(index + 2), "{error}");
        assert!(error["error"].as_str().is_some_and(|text| !text.is_empty() && text.len() < 300), "{error}");
    }
    // The link is the same, the delivery is still there, and nothing went out but this.
    relay.say(r#"{"op":"send"}"#);
    let (request, frame) = peer.next_request();
    assert_eq!(frame["action"], json!({"op": "send"}));
    peer.answer(&request, &json!({"success": true}));
    relay.event("result");
    relay.say(r#"{"do":"ack","delivery":1}"#);
    assert_eq!(peer.next(), json!({"type": "inbound_ack", "bufferId": "b1"}));
}

// proves: IDLE-1
#[test]
fn the_other_commands_reach_the_connector() {
    let connector = Connector::start();
    let mut relay = Relay::start(&connector.url, &[]);
    let mut peer = connector.ready(&["discord"]);
    relay.event("ready");
    relay.say(r#"{"do":"interrupt","session_key":"s","reason":"stop"}"#);
    assert_eq!(peer.next(), json!({"type": "interrupt", "session_key": "s", "reason": "stop"}));
    relay.say(r#"{"do":"interrupt","session_key":"s"}"#);
    assert_eq!(peer.next(), json!({"type": "interrupt", "session_key": "s", "reason": null}));
    relay.say(r#"{"do":"go_idle","id":"i"}"#);
    assert_eq!(peer.next(), json!({"type": "going_idle"}));
    peer.send(&json!({"type": "going_idle_ack"}));
    assert_eq!(relay.next(), json!({"event": "idle"}));
    assert_eq!(relay.next(), json!({"event": "result", "id": "i", "outcome": "acknowledged", "result": null}));
}

// proves: IDLE-2
#[test]
fn a_gateway_that_sleeps_can_be_kept_asleep_and_woken() {
    let connector = Connector::start();
    let mut relay = Relay::start(&connector.url, &[]);
    let mut peer = connector.ready(&["discord"]);
    relay.event("ready");
    relay.say(r#"{"do":"hold_redial"}"#);
    relay.say(r#"{"do":"go_dormant","id":1}"#);
    let (said, _) = peer.see_it_close();
    assert_eq!(said, Vec::<Value>::new());
    relay.event("idle");
    // Which of the two comes first depends on how soon the connector closes, too.
    let both = [relay.next(), relay.next()];
    let result = both.iter().find(|event| event["event"] == "result").unwrap();
    assert_eq!((&result["id"], &result["outcome"]), (&json!(1), &json!("acknowledged")));
    assert!(both.iter().any(|event| event["event"] == "disconnected" && event["cause"] == "dormant"), "{both:?}");
    relay.say(r#"{"do":"wake"}"#);
    connector.ready(&["discord"]);
    relay.event("ready");
}

// proves: REQ-2
#[test]
fn a_request_may_wait_for_a_link_also_when_the_input_has_ended() {
    let connector = Connector::start();
    let mut relay = Relay::start(&connector.url, &["--wait-for-link"]);
    relay.say(r#"{"op":"send","id":1}"#);
    relay.end_input();
    let mut peer = connector.ready(&["discord"]);
    let (request, _) = peer.next_request();
    peer.answer(&request, &json!({"success": true}));
    relay.event("ready");
    assert_eq!(relay.event("result")["outcome"], "delivered");
    peer.see_it_close();
    let (rest, _, code) = relay.end();
    assert_eq!((rest.last(), code), (Some(&json!({"event": "closed"})), 0));
}

// proves: REQ-4
#[test]
fn a_platform_that_is_not_fronted_is_refused() {
    let connector = Connector::start();
    let url = ["--url", &connector.url, "--platform", "discord", "--bot-id", "b1"];
    let relay = command(&[&url[..], &["--platform", "telegram", "--bot-id", "b2"]].concat());
    let mut relay = Relay::start_command(relay);
    let mut peer = connector.ready(&["discord", "telegram"]);
    relay.event("ready");
    for platform in ["slack", "Discord", ""] {
        relay.say(json!({"op": "send", "platform": platform, "id": 1}).to_string());
        let error = relay.event("error");
        let text = error["error"].as_str().unwrap();
        assert!(text.contains("discord, telegram") && text.contains(&format!("{platform:?}")), "{text}");
        assert_eq!(error["id"], 1);
    }
    relay.say(r#"{"op":"send","platform":"telegram"}"#);
    let (_, frame) = peer.next_request();
    assert_eq!(frame["platform"], "telegram", "the first that goes out");
}
