//! Commands, outbounds, and lines that make no sense.

use serde_json::{Value, json};

use crate::pair::{Connector, message, next_text};

// proves: CONN-6
#[test]
fn by_default_every_outbound_succeeds() {
    let connector = Connector::registered();
    let mut gateway = connector.linked(&[]);
    for action in [
        json!({"op": "send", "chat_id": "7", "content": "hi"}),
        json!({"op": "follow_up", "session_key": "s", "kind": "discord.interaction_token", "content": "hi"}),
        json!({"op": "edit", "chat_id": "7", "message_id": "m1", "content": "x", "n": 1e2}),
    ] {
        let mut command = action.clone();
        command["platform"] = json!("discord");
        gateway.say(command.to_string());
        let outbound = connector.event("outbound");
        assert_eq!((&outbound["action"], &outbound["gateway"]), (&action, &json!("gw")));
        assert_eq!((&outbound["platform"], &outbound["bot_id"]), (&json!("discord"), &json!("b1")));
        assert_eq!(outbound["request_id"].as_str().unwrap().len(), 32);
        let result = gateway.event("result");
        assert_eq!(result["outcome"], "delivered");
        assert!(result["result"]["message_id"].is_string(), "{result}");
    }
    // Every operation that the platform has can be tried.
    for action in [
        json!({"op": "react", "chat_id": "7", "message_id": "m1", "emoji": "x", "remove": true}),
        json!({"op": "prompt", "chat_id": "7", "prompt_kind": "choice", "prompt_id": "a.1", "content": "?",
            "options": [{"id": "y", "label": "Yes"}]}),
        json!({"op": "send_media", "chat_id": "7", "media_kind": "image", "source_url": "https://x/y", "content": ""}),
        json!({"op": "thread_create", "chat_id": "7", "thread_name": "t"}),
        json!({"op": "thread_rename", "chat_id": "7", "message_id": "t1", "thread_name": "u"}),
    ] {
        gateway.say(action.to_string());
        assert_eq!(connector.event("outbound")["action"], action);
        assert_eq!(gateway.event("result")["outcome"], "delivered", "{action}");
    }
    // What the connector does not support it is not asked for.
    gateway.say(r#"{"op":"something_new","id":1}"#);
    let refused = gateway.event("result");
    assert_eq!((&refused["outcome"], &refused["cause"]), (&json!("not_sent"), &json!("unsupported")));
    gateway.say(r#"{"op":"edit","chat_id":"7","message_id":"m9","content":"x"}"#);
    assert_eq!(connector.event("outbound")["platform"], Value::Null);
    assert_eq!(gateway.event("result")["result"], json!({"success": true, "message_id": "m9"}));
    gateway.say(r#"{"op":"get_chat_info","chat_id":"7"}"#);
    connector.event("outbound");
    assert_eq!(gateway.event("result")["chat_info"], json!({"name": "7", "type": "dm"}));
}

// proves: CONN-6, REQ-6
#[test]
fn by_hand_an_outbound_gets_the_result_it_is_given() {
    let mut connector = Connector::start(&["--answer", "manual"]);
    let mut gateway = connector.linked(&[]);
    gateway.say("{\"op\":\"send\",\"id\":1}\n{\"op\":\"send\",\"id\":2}");
    let ids = [(); 2].map(|()| connector.event("outbound")["request_id"].clone());
    let declined = json!({"success": false, "code": "egress_declined", "more": [1]});
    connector.say(&json!({"result": declined, "request_id": ids[1], "id": "x"}));
    assert_eq!(connector.event("done")["id"], "x");
    let result = gateway.event("result");
    assert_eq!((&result["id"], &result["outcome"], &result["result"]), (&json!(2), &json!("declined"), &declined));
    for (request_id, works) in [(&ids[1], false), (&json!("never was"), false), (&ids[0], true), (&ids[0], false)] {
        connector.say(&json!({"result": {"success": true}, "request_id": request_id, "id": 0}));
        if works {
            connector.event("done");
            assert_eq!(gateway.event("result")["id"], 1);
        } else {
            assert_eq!(connector.event("error")["cause"], "not_waiting");
        }
    }
    // With its link goes whoever waited.
    gateway.say(r#"{"op":"send"}"#);
    let id = connector.event("outbound")["request_id"].clone();
    connector.say(&json!({"drop": null}));
    connector.event("link_closed");
    connector.say(&json!({"result": {"success": true}, "request_id": id}));
    assert_eq!(connector.event("error")["cause"], "not_waiting");
}

// proves: STOP-1, CONN-6
#[test]
fn a_session_is_stopped_from_either_side() {
    let mut connector = Connector::registered();
    let mut gateway = connector.linked(&[]);
    connector.say(&json!({"interrupt": {"session_key": "s1", "chat_id": "7"}, "id": 1}));
    assert_eq!(connector.event("done"), json!({"event": "done", "id": 1}));
    assert_eq!(gateway.event("interrupt"), json!({"event": "interrupt", "session_key": "s1", "chat_id": "7"}));
    connector.say(&json!({"interrupt": "s2", "chat_id": "8", "gateway": "gw"}));
    assert_eq!(gateway.event("interrupt"), json!({"event": "interrupt", "session_key": "s2", "chat_id": "8"}));
    gateway.say("{\"do\":\"interrupt\",\"session_key\":\"s3\",\"reason\":\"r\"}");
    gateway.say("{\"do\":\"interrupt\",\"session_key\":\"s4\"}");
    for (session, reason) in [("s3", json!("r")), ("s4", Value::Null)] {
        assert_eq!(
            connector.event("interrupt"),
            json!({"event": "interrupt", "gateway": "gw", "session_key": session, "reason": reason})
        );
    }
}

// proves: FRAME-6
#[test]
fn an_action_that_would_break_the_reader_of_its_line_comes_as_text() {
    let connector = Connector::registered();
    let mut gateway = connector.linked(&[]);
    let hostile = r#"{"op":"send","chat_id":"7","content":"\ud800"}"#;
    gateway.say(hostile);
    let outbound = connector.event("outbound");
    assert_eq!((&outbound["action"], &outbound["action_json"]), (&Value::Null, &json!(hostile)));
    let result = gateway.event("result");
    assert_eq!(
        (&result["outcome"], &result["result"]["error"]),
        (&json!("rejected"), &json!("`content` is not a text")),
        "{result}"
    );
}

// proves: CONN-6, CHAT-4
#[test]
fn what_no_platform_could_carry_out_is_not_called_delivered() {
    let connector = Connector::registered();
    let mut gateway = connector.linked(&[]);
    // As they are: what the command itself would mend or refuse is in its own tests.
    for (action, error) in [
        (json!({"op": "send", "content": "hi"}), "`chat_id` is missing"),
        (json!({"op": "send", "chat_id": "7", "contnet": "hi"}), "`content` is missing (and \"contnet\" is no member"),
        (json!({"op": "edit", "chat_id": "7", "content": "hi"}), "`message_id` is missing"),
        (json!({"op": "react", "chat_id": "7", "message_id": "m", "emoji": ""}), "`emoji` is empty"),
    ] {
        gateway.say(action.to_string());
        connector.event("outbound");
        let result = gateway.event("result");
        assert_eq!(result["outcome"], "rejected", "{action}: {result}");
        assert!(result["result"]["error"].as_str().unwrap().contains(error), "{error}: {result}");
    }
}

#[test]
fn a_message_that_no_gateway_could_use_is_refused() {
    let mut connector = Connector::registered();
    let slack = json!({"text": "hi", "source": {"platform": "slack", "chat_id": "7"}});
    // Nobody knows yet what the gateway fronts.
    connector.say(&json!({"deliver": slack, "id": 1}));
    assert_eq!(connector.event("accepted")["id"], 1);
    let _gateway = connector.linked(&[]);
    connector.event("ack");
    for (event, word) in [
        (json!({"source": {"platform": "discord", "chat_id": "7"}}), "no `text`"),
        (json!({"txt": "hi"}), "no `text`"),
        (slack, "\"slack\" is in no hello of the gateway: it fronts discord"),
    ] {
        connector.say(&json!({"deliver": event, "id": 2}));
        let error = connector.event("error");
        assert_eq!((&error["id"], error.get("cause")), (&json!(2), None), "{error}");
        assert!(error["error"].as_str().unwrap().contains(word), "{error}");
    }
    connector.say(&json!({"deliver": message("hi"), "id": 3}));
    assert_eq!(connector.event("accepted")["id"], 3);
}

#[test]
fn what_cannot_be_carried_out_says_why() {
    let mut connector = Connector::registered();
    for (line, cause) in [
        (json!({"drop": "gw", "id": 1}), "no_link"),
        (json!({"interrupt": "s", "id": 1}), "no_link"),
        (json!({"deliver": {"text": "x".repeat((1 << 20) - 60)}, "id": 1}), "too_large"),
    ] {
        connector.say(&line);
        let error = connector.event("error");
        assert_eq!((&error["cause"], &error["id"]), (&json!(cause), &json!(1)), "{error}");
    }
    // Revoking needs no link.
    connector.say(&json!({"revoke": "gw", "id": 2}));
    connector.event("done");
}

#[test]
fn what_makes_no_sense_is_answered_and_changes_nothing() {
    let mut connector = Connector::start(&["--gateway-env", "gw=SECRET", "--gateway-env", "other=SECRET"]);
    let gateway = connector.linked(&[]);
    let long = "x".repeat((1 << 20) + 1);
    let lines: &[&[u8]] = &[
        b"garbage",
        b"[]",
        b"{}",
        b"{\"deliver\":{}}",
        b"{\"deliver\":{},\"gateway\":\"nobody\"}",
        b"{\"deliver\":{},\"gateway\":7}",
        b"{\"deliver\":[],\"gateway\":\"gw\"}",
        b"{\"deliver\":{\"a\":},\"gateway\":\"gw\"}",
        b"{\"deliver\":{},\"forward\":{},\"gateway\":\"gw\"}",
        b"{\"interrupt\":{},\"gateway\":\"gw\"}",
        b"{\"result\":{},\"request_id\":\"r\",\"gateway\":\"gw\"}",
        b"{\"drop\":\"nobody\"}",
        b"{\"drop\":null}",
        b"{\"revoke\":7}",
        b"\0",
        b"{\"deliver\":{\"text\":\"\xff\"},\"gateway\":\"gw\"}",
        long.as_bytes(),
    ];
    connector.relay.say("");
    for (index, line) in lines.iter().enumerate() {
        connector.relay.say(line);
        let error = connector.event("error");
        assert_eq!((&error["line"], error.get("cause")), (&json!(index + 2), None), "{error}");
        assert!(error["error"].as_str().is_some_and(|text| !text.is_empty() && text.len() < 300), "{error}");
    }
    connector.say(&json!({"deliver": message("hi"), "gateway": "gw", "id": {"n": [1]}}));
    assert_eq!(connector.event("accepted")["id"], json!({"n": [1]}));
    assert_eq!(next_text(&gateway), "hi");
}
