//! The real reference gateway dials `relay connector`.

use serde_json::{Value, json};

use crate::process::Process;
use crate::python;
use crate::relay::{Connector, SECRET};

/// A version of the reference, and what it can.
#[derive(Clone, Copy)]
struct Version {
    name: &'static str,
    /// From 0.18 on it acknowledges messages, fronts several platforms, sleeps, dials again by itself, takes forwards
    /// and knows what a revocation is. Before, it does nothing of that.
    modern: bool,
}

macro_rules! suite {
    ($($test:ident),+ $(,)?) => {
        suite!(@ v0_17_0 "0.17.0" false $($test)+);
        suite!(@ v0_18_2 "0.18.2" true $($test)+);
        suite!(@ v0_19_0 "0.19.0" true $($test)+);
    };
    (@ $module:ident $name:literal $modern:literal $($test:ident)+) => {
        mod $module {
            $(
                #[test]
                fn $test() {
                    super::$test(super::Version { name: $name, modern: $modern });
                }
            )+
        }
    };
}

suite!(
    it_is_let_in_with_and_without_a_secret,
    it_is_turned_away_with_a_wrong_secret,
    messages_arrive_in_order_live_or_buffered,
    the_unacknowledged_tail_comes_again_after_a_cut,
    it_sleeps_and_misses_nothing,
    a_session_is_stopped_from_either_side,
    forwards_that_it_never_acknowledges_wedge_nothing,
    what_it_asks_for_is_answered,
    it_is_revoked,
    its_silence_is_held_to_the_window,
    with_presumed_acks_it_drains_more_than_the_window,
);

/// The reference gateway with this secret, as `gw`. `None`: there is no reference.
fn reference(version: Version, connector: &Connector, secret: Option<&str>) -> Option<Process> {
    let python = python::with_reference(version.name)?;
    let mut command = python::script(&python, "reference_gateway.py");
    command.arg(&connector.url);
    if let Some(secret) = secret {
        command.env("GATEWAY_ID", "gw").env("GATEWAY_SECRET", secret);
    }
    Some(Process::start("reference gateway", &mut command))
}

/// The same with the right secret, linked.
fn linked(version: Version, connector: &Connector) -> Option<Process> {
    let mut gateway = reference(version, connector, Some(SECRET))?;
    gateway.say(&json!({"do": "connect"}));
    gateway.event("linked");
    gateway.event("done");
    hellos(version, connector);
    Some(gateway)
}

fn hellos(version: Version, connector: &Connector) {
    for platform in if version.modern { &["discord", "telegram"][..] } else { &["discord"] } {
        assert_eq!(connector.event("hello")["platform"], *platform);
    }
}

fn call(gateway: &mut Process, method: &str, args: Value, kwargs: Value) {
    gateway.say(&json!({"do": "call", "method": method, "args": args, "kwargs": kwargs}));
}

fn texts(gateway: &Process, link: u64, texts: &[&str]) {
    for text in texts {
        let message = gateway.event("inbound");
        assert_eq!((&message["text"], &message["link"]), (&json!(text), &json!(link)), "{message}");
    }
}

// proves: CONN-1, CONN-2, TOKEN-1, HELLO-1
fn it_is_let_in_with_and_without_a_secret(version: Version) {
    for (connector, secret, name) in
        [(Connector::registered(&[]), Some(SECRET), "gw"), (Connector::start(&[]), None, "default")]
    {
        let Some(mut gateway) = reference(version, &connector, secret) else { return };
        gateway.say(&json!({"do": "connect"}));
        gateway.event("linked");
        let expected = json!({"platform": "discord", "max_message_length": 2000, "len_unit": "chars"});
        assert_eq!(gateway.event("done")["result"], expected);
        let hello = connector.event("hello");
        assert_eq!((&hello["gateway"], &hello["bot_id"]), (&json!(name), &json!("b1")));
    }
}

// proves: CONN-1, TOKEN-2
fn it_is_turned_away_with_a_wrong_secret(version: Version) {
    let connector = Connector::registered(&[]);
    for secret in [Some("wrong"), None] {
        let Some(mut gateway) = reference(version, &connector, secret) else { return };
        gateway.say(&json!({"do": "connect"}));
        // It learns it before or after it has said hello.
        let told = std::iter::repeat_with(|| gateway.next())
            .find(|event| event["event"] == "link_ended" || event["event"] == "failed")
            .unwrap();
        assert_eq!(told["code"], 4401, "{told}");
    }
    let Some(_gateway) = linked(version, &connector) else { return };
}

// proves: CONN-3
fn messages_arrive_in_order_live_or_buffered(version: Version) {
    let mut connector = Connector::registered(&[]);
    let buffered = [connector.deliver("a"), connector.deliver("b")];
    let Some(mut gateway) = reference(version, &connector, Some(SECRET)) else { return };
    gateway.say(&json!({"do": "connect"}));
    gateway.event("linked");
    // What waits may come before it knows that the handshake is over.
    let mut events = [gateway.next(), gateway.next(), gateway.next()];
    events.sort_by_key(|event| event["event"] != "inbound");
    hellos(version, &connector);
    assert_eq!(
        events[0],
        json!({"event": "inbound", "link": 1, "text": "a", "message_id": "m-a", "platform": "discord",
            "chat_id": "c1", "scope": "g1"})
    );
    assert_eq!((&events[1]["text"], &events[2]["event"]), (&json!("b"), &json!("done")));
    if version.modern {
        for id in &buffered {
            assert_eq!(connector.event("ack")["buffer_id"], *id);
        }
    }
    let live = connector.deliver("c");
    texts(&gateway, 1, &["c"]);
    if version.modern {
        assert_eq!(connector.event("ack")["buffer_id"], live);
    }
}

// proves: CONN-3, ACK-3
fn the_unacknowledged_tail_comes_again_after_a_cut(version: Version) {
    let mut connector = Connector::registered(&[]);
    let Some(mut gateway) = linked(version, &connector) else { return };
    connector.deliver("taken");
    texts(&gateway, 1, &["taken"]);
    if version.modern {
        connector.event("ack");
    }
    gateway.say(&json!({"do": "hold"}));
    gateway.event("done");
    for text in ["a", "b", "c"] {
        connector.deliver(text);
    }
    texts(&gateway, 1, &["a"]);
    connector.say(&json!({"drop": "gw"}));
    assert_eq!(connector.event("link_closed")["cause"], "dropped");
    gateway.say(&json!({"do": "release"}));
    gateway.until("link_ended");
    if !version.modern {
        gateway.say(&json!({"do": "connect"}));
    }
    // All of them again, since none was acknowledged. The oldest version never acknowledged anything.
    let again = if version.modern { &["a", "b", "c"][..] } else { &["taken", "a", "b", "c"] };
    let mut seen = Vec::new();
    while seen.len() < again.len() {
        let event = gateway.next();
        if event["event"] == "inbound" && event["link"] == 2 {
            seen.push(event["text"].clone());
        }
    }
    assert_eq!(seen, again);
    hellos(version, &connector);
    for _ in if version.modern { again } else { &[] } {
        connector.event("ack");
    }
}

// proves: CONN-4, IDLE-1, IDLE-2
fn it_sleeps_and_misses_nothing(version: Version) {
    let mut connector = Connector::registered(&[]);
    let Some(mut gateway) = linked(version, &connector) else { return };
    if !version.modern {
        return;
    }
    call(&mut gateway, "go_idle", json!([]), json!({}));
    assert_eq!(gateway.event("done")["result"], true);
    connector.event("idle");
    connector.deliver("while idle");
    // What is said after it arrives before it: it waits.
    connector.say(&json!({"interrupt": {"session_key": "s", "chat_id": "c1"}}));
    gateway.event("interrupt");
    call(&mut gateway, "go_dormant", json!([]), json!({}));
    assert_eq!(connector.event("link_closed")["cause"], "gateway");
    hellos(version, &connector);
    assert_eq!(gateway.until("inbound")["text"], "while idle");
    connector.event("ack");
}

// proves: STOP-1, CONN-6
fn a_session_is_stopped_from_either_side(version: Version) {
    let mut connector = Connector::registered(&[]);
    let Some(mut gateway) = linked(version, &connector) else { return };
    connector.say(&json!({"interrupt": {"session_key": "s1", "chat_id": "c1"}}));
    let told = gateway.event("interrupt");
    assert_eq!((&told["session_key"], &told["chat_id"]), (&json!("s1"), &json!("c1")));
    call(&mut gateway, "send_interrupt", json!(["s2", "why"]), json!({}));
    call(&mut gateway, "send_interrupt", json!(["s3"]), json!({}));
    for (session, reason) in [("s2", json!("why")), ("s3", Value::Null)] {
        let told = connector.event("interrupt");
        assert_eq!((&told["session_key"], &told["reason"]), (&json!(session), &reason));
    }
}

// proves: PASS-1 (as the reference reads a forward)
fn forwards_that_it_never_acknowledges_wedge_nothing(version: Version) {
    let mut connector = Connector::registered(&["--window", "3"]);
    let Some(gateway) = linked(version, &connector) else { return };
    // As many as the window holds: without an exception for them, the message would never arrive.
    let mut forwards = Vec::new();
    for path in ["/1", "/2", "/3"] {
        connector.say(&json!({"forward": {"platform": "discord", "botId": "b1", "method": "POST", "path": path,
            "headers": [["X-B", "2"], ["X-A", "1"], ["X-B", "3"]], "bodyB64": "AP8K4oKs"}}));
        forwards.push(connector.event("accepted")["buffer_id"].clone());
    }
    connector.deliver("behind them");
    for path in if version.modern { &["/1", "/2", "/3"][..] } else { &[] } {
        let mut forward = gateway.event("passthrough");
        assert!(forward["buffer_id"].take().is_string());
        assert_eq!(
            forward,
            json!({"event": "passthrough", "link": 1, "platform": "discord", "bot_id": "b1", "method": "POST",
                "path": path, "headers": [["X-B", "2"], ["X-A", "1"], ["X-B", "3"]], "body": "00ff0ae282ac",
                "buffer_id": null})
        );
    }
    // It is alive behind them, and had the time to acknowledge them.
    texts(&gateway, 1, &["behind them"]);
    // The first made room for the message; the others follow, before or after its ack.
    let mut acks = u32::from(version.modern);
    while acks > 0 || !forwards.is_empty() {
        let event = connector.process.next();
        if event["event"] == "ack" {
            acks -= 1;
        } else {
            assert_eq!((&event["event"], &event["buffer_id"]), (&json!("presumed"), &forwards.remove(0)));
        }
    }
}

// proves: CONN-6, REQ-4, REQ-5
fn what_it_asks_for_is_answered(version: Version) {
    let mut connector = Connector::registered(&["--answer", "manual"]);
    let Some(mut gateway) = linked(version, &connector) else { return };
    let send = json!({"op": "send", "chat_id": "c1", "content": "hi \u{1f600}\n", "reply_to": null});
    let follow_up = json!({"op": "follow_up", "session_key": "s", "kind": "discord.interaction_token", "content": "x"});
    for (method, action, result) in [
        ("send_outbound", send, json!({"success": true, "message_id": "m1"})),
        ("send_outbound", json!({"op": "typing", "chat_id": "c1"}), json!({"success": true})),
        ("send_follow_up", follow_up, json!({"success": false, "error": "no capability", "code": "egress_declined"})),
    ] {
        call(&mut gateway, method, json!([action]), json!({}));
        let outbound = connector.event("outbound");
        assert_eq!((&outbound["action"], &outbound["platform"]), (&action, &Value::Null));
        connector.say(&json!({"result": result, "request_id": outbound["request_id"]}));
        assert_eq!(gateway.event("done")["result"], result);
    }
    if version.modern {
        let action = json!({"op": "edit", "chat_id": "c1", "message_id": "m1", "content": "y"});
        call(&mut gateway, "send_outbound", json!([action]), json!({"platform": "telegram"}));
        let outbound = connector.event("outbound");
        assert_eq!((&outbound["platform"], &outbound["bot_id"]), (&json!("telegram"), &json!("b2")));
        connector.say(&json!({"result": {"success": true}, "request_id": outbound["request_id"]}));
        gateway.event("done");
    }
    for (answer, info) in [
        (
            json!({"success": true, "chat_info": {"name": "Ann", "type": "group"}}),
            json!({"name": "Ann", "type": "group"}),
        ),
        (json!({"success": true}), json!({"name": "c1", "type": "dm"})),
    ] {
        call(&mut gateway, "get_chat_info", json!(["c1"]), json!({}));
        let outbound = connector.event("outbound");
        assert_eq!(outbound["action"], json!({"op": "get_chat_info", "chat_id": "c1"}));
        connector.say(&json!({"result": answer, "request_id": outbound["request_id"]}));
        assert_eq!(gateway.event("done")["result"], info);
    }
    // Left to itself the connector makes the answers up, in a way that it understands.
    let connector = Connector::registered(&[]);
    let Some(mut gateway) = linked(version, &connector) else { return };
    call(&mut gateway, "send_outbound", json!([{"op": "send", "chat_id": "c1", "content": "hi"}]), json!({}));
    let result = &gateway.event("done")["result"];
    assert!(result["success"] == true && result["message_id"].is_string(), "{result}");
    call(&mut gateway, "get_chat_info", json!(["c1"]), json!({}));
    assert_eq!(gateway.event("done")["result"], json!({"name": "c1", "type": "dm"}));
}

// proves: CONN-6
fn it_is_revoked(version: Version) {
    let mut connector = Connector::registered(&[]);
    let Some(gateway) = linked(version, &connector) else { return };
    connector.say(&json!({"revoke": "gw"}));
    assert_eq!(connector.event("link_closed")["code"], 4401);
    let ended = gateway.event("link_ended");
    assert_eq!(ended["code"], 4401);
    if version.modern {
        assert_eq!((&ended["revoked"], &ended["dials_again"]), (&json!(true), &json!(false)));
    }
    let Some(mut next) = reference(version, &connector, Some(SECRET)) else { return };
    next.say(&json!({"do": "connect"}));
    let told = std::iter::repeat_with(|| next.next())
        .find(|event| event["event"] == "link_ended" || event["event"] == "failed")
        .unwrap();
    assert_eq!(told["code"], 4401);
}

// proves: CONN-3
fn its_silence_is_held_to_the_window(version: Version) {
    let mut connector = Connector::registered(&["--window", "4"]);
    let Some(gateway) = linked(version, &connector) else { return };
    for text in ["1", "2", "3", "4", "5"] {
        connector.deliver(text);
    }
    texts(&gateway, 1, &["1", "2", "3", "4"]);
    if version.modern {
        return texts(&gateway, 1, &["5"]);
    }
    // The oldest version acknowledges nothing, so that this is all it gets, unless acks are presumed.
    connector.say(&json!({"interrupt": {"session_key": "s", "chat_id": "c1"}}));
    gateway.event("interrupt");
}

// proves: CONN-3
fn with_presumed_acks_it_drains_more_than_the_window(version: Version) {
    let mut connector = Connector::registered(&["--window", "4", "--presume-acks"]);
    let numbers: Vec<String> = (0..200).map(|number: u32| number.to_string()).collect();
    let mut waiting: Vec<Value> = numbers.iter().map(|text| connector.deliver(text)).collect();
    let Some(mut gateway) = reference(version, &connector, Some(SECRET)) else { return };
    gateway.say(&json!({"do": "connect"}));
    for number in &numbers {
        let message = gateway.until("inbound");
        assert_eq!((&message["text"], &message["link"]), (&json!(number), &json!(1)));
    }
    // Each leaves once. A version that acknowledges is held to it from its first ack on.
    while !waiting.is_empty() {
        let event = connector.process.next();
        match event["event"].as_str() {
            Some("presumed") => {}
            Some("ack") => assert!(version.modern, "{event}"),
            _ => {
                assert_eq!(event["event"], "hello");
                continue;
            }
        }
        assert_eq!(event["buffer_id"], waiting.remove(0));
    }
    connector.say(&json!({"drop": "gw"}));
    assert_eq!(connector.process.until("link_closed")["cause"], "dropped");
    gateway.until("link_ended");
    if !version.modern {
        gateway.say(&json!({"do": "connect"}));
    }
    connector.process.until("hello");
    connector.deliver("live");
    let message = gateway.until("inbound");
    assert_eq!((&message["text"], &message["link"]), (&json!("live"), &json!(2)), "nothing comes again");
}
