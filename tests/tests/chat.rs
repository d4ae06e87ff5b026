//! The chat layer over sockets: what the handle adds to requests, and what messages say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use futures_util::FutureExt;
use relay_proto::action::Action;
use relay_proto::chat::{ButtonStyle, InteractionError, MediaKind, Prompt, SessionKeys};
use relay_proto::client::{Event, RequestError};
use relay_proto::gateway::{NotSent, RequestOptions};
use relay_tests::app::{App, IsMessage as _, config};
use relay_tests::frames::{descriptor, result};
use relay_tests::guard;
use relay_tests::host::Host;
use relay_tests::peer::{Link, Peer};
use serde_json::{Value, json};

/// A message from a source.
fn from(source: Value) -> Value {
    json!({"type": "inbound", "event": {"text": "hi", "message_id": "m1", "source": source}})
}

/// A descriptor with these operations and this length.
fn described(platform: &str, ops: &[&str], length: u64) -> Value {
    let mut frame = descriptor(platform);
    frame["descriptor"]["supported_ops"] = json!(ops);
    frame["descriptor"]["max_message_length"] = json!(length);
    frame
}

/// A gateway whose link has this descriptor.
async fn linked(host: Host, peer: &Peer, descriptor: &Value) -> (App, Link) {
    let mut app = App::start(host, config(peer));
    let mut link = peer.accept().await;
    link.expect("hello").await;
    link.send(descriptor).await;
    app.ready().await;
    (app, link)
}

/// The outcome of a call, and the request that it made, which is answered so.
async fn answered<T>(link: &mut Link, says: Value, call: impl Future<Output = T>) -> (T, Value) {
    let answer = async {
        let request = link.expect("outbound").await;
        link.send(&result(&request, says)).await;
        request
    };
    tokio::join!(guard("a result", call), answer)
}

fn delivered() -> Value {
    json!({"success": true, "message_id": "sent"})
}

// proves: CHAT-3
async fn what_a_chat_said_goes_with_what_is_sent_there(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    let gateway = app.gateway.clone();
    let (_, before) = answered(&mut link, delivered(), gateway.typing("c1")).await;
    assert_eq!((&before["action"], before.get("platform")), (&json!({"op": "typing", "chat_id": "c1"}), None));
    link.send(&from(
        json!({"platform": "discord", "chat_id": "c1", "guild_id": "g", "user_id": "u", "profile": "ops"}),
    ))
    .await;
    link.send(&from(json!({"platform": "discord", "chat_id": "d1", "user_id": "u", "thread_id": "t"}))).await;
    app.message().await.ack();
    let direct = app.message().await;
    let scoped = json!({"scope_id": "g", "profile": "ops"});
    for link_number in 0..2 {
        let (_, sent) = answered(&mut link, delivered(), gateway.send("c1", "hello")).await;
        assert_eq!(sent["action"]["metadata"], scoped, "link {link_number}");
        assert_eq!((&sent["platform"], &sent["botId"]), (&json!("discord"), &json!("bot-1")));
        let (_, sent) = answered(&mut link, delivered(), gateway.edit("d1", "m", "hello")).await;
        assert_eq!(sent["action"]["metadata"], json!({"user_id": "u"}));
        let (_, sent) = answered(&mut link, delivered(), gateway.typing("c2")).await;
        assert_eq!((sent["action"].get("metadata"), sent.get("platform")), (None, None), "another chat");
        if link_number == 0 {
            // Reconnecting forgets nothing.
            link.cut();
            app.disconnected().await;
            link = peer.handshake().await;
            app.ready().await;
        }
    }
    let (_, sent) = answered(&mut link, delivered(), gateway.reply(direct.expected(), "yes")).await;
    let expect = json!({
        "op": "send", "chat_id": "d1", "content": "yes", "reply_to": "m1",
        "metadata": {"user_id": "u", "thread_id": "t"},
    });
    assert_eq!(sent["action"], expect);
    // What the caller says stays as it is; and what is sent raw is sent as it is.
    let own = Action::send("c1", "x").metadata("scope_id", "own");
    let options = RequestOptions::default().platform("irc");
    let (_, sent) = answered(&mut link, delivered(), gateway.perform(own, options)).await;
    assert_eq!(sent["action"]["metadata"], json!({"scope_id": "own"}), "nothing is known of it on that platform");
    assert_eq!(sent["platform"], "irc");
    let raw = gateway.request(Action::send("c1", "x"), RequestOptions::default());
    let (_, sent) = answered(&mut link, delivered(), raw).await;
    assert_eq!(sent["action"], json!({"op": "send", "chat_id": "c1", "content": "x"}));
}

// proves: CHAT-1
async fn an_operation_that_is_not_supported_is_not_sent(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    let gateway = app.gateway.clone();
    let unsupported =
        |op: &str| RequestError::NotSent(NotSent::Unsupported { op: op.into(), platform: "discord".into() });
    let error = gateway.react("c1", "m", "👀").now_or_never().expect("at once").unwrap_err();
    assert_eq!(error, unsupported("react"));
    assert_eq!(error.to_string(), "not sent: the connector does not support `react` on discord");
    assert!(!error.is_retryable() && !error.is_ambiguous());
    let error = gateway.thread_create("c1", "n").now_or_never().expect("at once").unwrap_err();
    assert_eq!(error, unsupported("thread_create"));
    // Nothing of them was sent: this is what comes first. And it opts out.
    let raw = gateway.request(Action::react("c1", "m", "👀"), RequestOptions::default());
    let (outcome, sent) = answered(&mut link, delivered(), raw).await;
    assert_eq!((sent["action"]["op"].as_str(), outcome.is_ok()), (Some("react"), true));
    // The next link may say otherwise.
    link.cut();
    app.disconnected().await;
    let mut link = peer.accept().await;
    link.expect("hello").await;
    assert_eq!(gateway.capabilities("c1"), None);
    let error = gateway.react("c1", "m", "👀").now_or_never().expect("at once").unwrap_err();
    assert_eq!(error, RequestError::NotSent(NotSent::NoLink));
    link.send(&described("discord", &["react"], 2000)).await;
    app.ready().await;
    let (outcome, _) = answered(&mut link, delivered(), gateway.react("c1", "m", "👀")).await;
    outcome.unwrap();
    let error = gateway.send("c1", "hi").now_or_never().expect("at once").unwrap_err();
    assert_eq!(error, unsupported("send"));
    let capabilities = gateway.capabilities("c1").unwrap();
    assert!(capabilities.supports("react") && !capabilities.edits() && capabilities.threads());
}

// proves: CHAT-2
async fn a_long_text_takes_several_messages_in_order(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = linked(host, &peer, &described("discord", &["send"], 30)).await;
    let gateway = app.gateway.clone();
    link.send(&from(json!({"platform": "discord", "chat_id": "c1", "scope_id": "g"}))).await;
    let message = app.message().await;
    let text = "First of all:\n```rust\nfn a() {}\nfn b() {}\n```\nThat is it, for now.";
    let expect = ["First of all:", "```rust\nfn a() {}\n```", "```rust\nfn b() {}\n```", "That is it, for now."];
    let answers = async {
        for (n, part) in expect.iter().enumerate() {
            let request = link.expect("outbound").await;
            // The next one comes once this one is there.
            assert!(link_is_quiet(&mut link).await);
            assert_eq!(request["action"]["content"], *part);
            assert_eq!(request["action"].get("reply_to").is_some(), n == 0, "the first quotes");
            assert_eq!(request["action"]["metadata"], json!({"scope_id": "g"}));
            link.send(&result(&request, json!({"success": true, "message_id": format!("p{n}")}))).await;
        }
    };
    let (sent, ()) = tokio::join!(guard("a result", gateway.reply(message.expected(), text)), answers);
    let sent = sent.unwrap();
    let ids: Vec<_> = sent.results().map(|result| result.message_id.as_deref().unwrap()).collect();
    assert_eq!(ids, ["p0", "p1", "p2", "p3"]);
    assert_eq!((sent.message_id.as_deref(), sent.last().message_id.as_deref()), (Some("p0"), Some("p3")));
    // The third fails: the fourth is not sent.
    let answers = async {
        for says in
            [json!({"success": true, "message_id": "p0"}), delivered(), json!({"success": false, "error": "no"})]
        {
            let request = link.expect("outbound").await;
            link.send(&result(&request, says)).await;
        }
        assert!(link_is_quiet(&mut link).await);
    };
    let (error, ()) = tokio::join!(guard("a result", gateway.send("c1", text)), answers);
    let error = error.unwrap_err();
    assert_eq!(error.to_string(), "message 3 of 4: rejected: no");
    assert!(!error.is_retryable() && !error.is_ambiguous() && error.result().is_some());
    let RequestError::Partial { sent, of: 4, error } = error else { panic!("{error:?}") };
    assert_eq!((sent.len(), sent[0].message_id.as_deref()), (2, Some("p0")));
    assert!(matches!(*error, RequestError::Rejected(_)));
}

/// Whether nothing but the answer to a ping comes.
async fn link_is_quiet(link: &mut Link) -> bool {
    link.ping(b"quiet").await;
    link.next().await == relay_tests::peer::Incoming::Pong(b"quiet".to_vec())
}

// proves: CHAT-4
async fn every_operation_has_its_fields_and_its_result(host: Host) {
    let peer = Peer::bind().await;
    let ops = ["send", "typing", "react", "send_media", "prompt", "thread_create", "thread_rename", "follow_up"];
    let (app, mut link) = linked(host, &peer, &described("discord", &ops, 2000)).await;
    let gateway = app.gateway.clone();
    let (outcome, sent) = answered(&mut link, delivered(), gateway.react("c", "m", "👀")).await;
    outcome.unwrap();
    assert_eq!(sent["action"], json!({"op": "react", "chat_id": "c", "message_id": "m", "emoji": "👀"}));
    let (outcome, sent) = answered(&mut link, delivered(), gateway.unreact("c", "m", "👀")).await;
    outcome.unwrap();
    assert_eq!(sent["action"]["remove"], json!(true));
    let media = gateway.send_media("c", MediaKind::Voice, "https://x/y", "");
    let (outcome, sent) = answered(&mut link, delivered(), media).await;
    assert_eq!(outcome.unwrap().message_id.as_deref(), Some("sent"));
    let expect =
        json!({"op": "send_media", "chat_id": "c", "media_kind": "voice", "source_url": "https://x/y", "content": ""});
    assert_eq!(sent["action"], expect);
    let thread = gateway.thread_create("c", "plans");
    let (outcome, sent) = answered(&mut link, json!({"success": true, "thread_id": 7}), thread).await;
    assert_eq!(outcome.unwrap().id.as_deref(), Some("7"));
    assert_eq!(sent["action"], json!({"op": "thread_create", "chat_id": "c", "thread_name": "plans"}));
    let (outcome, sent) = answered(&mut link, delivered(), gateway.thread_rename("c", "7", "done")).await;
    outcome.unwrap();
    let expect = json!({"op": "thread_rename", "chat_id": "c", "message_id": "7", "thread_name": "done"});
    assert_eq!(sent["action"], expect);
    for (key, kind, platform) in [
        ("agent:main:relay:dm:c", "discord.interaction_token", Some("discord")),
        ("agent:main:relay:dm:c", "slack.token", None),
    ] {
        let (outcome, sent) = answered(&mut link, delivered(), gateway.follow_up(key, kind, "hi")).await;
        outcome.unwrap();
        assert_eq!(sent["action"], json!({"op": "follow_up", "session_key": key, "kind": kind, "content": "hi"}));
        assert_eq!(sent.get("platform").and_then(Value::as_str), platform);
    }
}

// proves: CHAT-4
async fn a_press_answers_the_prompt_that_was_asked(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = linked(host, &peer, &described("telegram", &["prompt"], 2000)).await;
    let gateway = app.gateway.clone();
    let nothing = gateway.prompt("c", &Prompt::new("?")).now_or_never().expect("at once").unwrap_err();
    assert!(matches!(nothing, RequestError::NotSent(NotSent::BadPrompt(_))), "{nothing}");
    let prompt = Prompt::new("Go on?").styled("yes", "Yes", ButtonStyle::Success).option("no", "No");
    let (asked, sent) = answered(&mut link, delivered(), gateway.prompt("c", &prompt)).await;
    let asked = asked.unwrap();
    let expect = json!({
        "op": "prompt", "chat_id": "c", "content": "Go on?", "prompt_kind": "choice", "prompt_id": asked.prompt_id,
        "options": [{"id": "yes", "label": "Yes", "style": "success"}, {"id": "no", "label": "No"}],
    });
    assert_eq!(sent["action"], expect);
    assert_eq!(asked.result.message_id.as_deref(), Some("sent"));
    let mut press = from(json!({"platform": "telegram", "chat_id": "c", "user_id": "u"}));
    press["event"]["text"] = json!("/yes");
    for (prompt_id, is_own) in [(&*asked.prompt_id, true), ("ffffff.00000000x", false)] {
        press["event"]["prompt_response"] = json!({"prompt_id": prompt_id, "option_id": "yes"});
        link.send(&press).await;
        let message = app.message().await;
        let response = message.prompt_response().expect("an answer");
        assert_eq!((&*response.option_id, response.prompt_id == asked.prompt_id), ("yes", is_own));
        assert_eq!(gateway.is_own_prompt(&response.prompt_id), is_own);
        message.ack();
    }
    let (again, _) = answered(&mut link, delivered(), gateway.prompt("c", &prompt)).await;
    assert_ne!(again.unwrap().prompt_id, asked.prompt_id);
}

// proves: CHAT-4
async fn typing_is_cleared_where_it_stays(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer).identity("slack", "s1")).await;
    link.expect("hello").await;
    let gateway = app.gateway.clone();
    link.send(&from(json!({"platform": "slack", "chat_id": "s", "user_id": "u"}))).await;
    link.send(&from(json!({"platform": "telegram", "chat_id": "t", "user_id": "u"}))).await;
    app.message().await.ack();
    app.message().await.ack();
    for ends_by_itself in ["t", "unheard"] {
        assert_eq!(gateway.clear_typing(ends_by_itself).now_or_never(), Some(Ok(None)), "{ends_by_itself}");
    }
    let (outcome, sent) = answered(&mut link, delivered(), gateway.clear_typing("s")).await;
    assert!(outcome.unwrap().is_some());
    assert_eq!(sent["action"]["content"], "");
    assert_eq!((&sent["action"]["op"], &sent["platform"]), (&json!("typing"), &json!("slack")));
}

// proves: CHAT-8, HELLO-1, HELLO-2
async fn several_identities_share_a_link(host: Host) {
    let peer = Peer::bind().await;
    let config = config(&peer).identity("telegram", "t1");
    let mut app = App::start(host, config);
    let mut link = peer.accept().await;
    let hellos = [link.expect("hello").await, link.expect("hello").await];
    assert_eq!(hellos.each_ref().map(|hello| &hello["botId"]), [&json!("bot-1"), &json!("t1")]);
    link.send(&described("discord", &["send", "react"], 2000)).await;
    link.send(&described("telegram", &["send"], 10)).await;
    app.ready().await;
    let gateway = app.gateway.clone();
    // The same id on both, and a chat on a platform that is not fronted.
    for (platform, user) in [("discord", "d"), ("telegram", "t")] {
        link.send(&from(json!({"platform": platform, "chat_id": "7", "user_id": user}))).await;
    }
    for source in [json!({"platform": "irc", "chat_id": "7", "user_id": "i"}), json!({"chat_id": "7", "user_id": "n"})]
    {
        link.send(&from(source)).await;
    }
    link.send(&from(json!({"platform": "irc", "chat_id": "8", "user_id": "i"}))).await;
    let (discord, telegram) = (app.message().await, app.message().await);
    let elsewhere = [(app.message().await, "i"), (app.message().await, "n")];
    app.message().await.ack();
    let text = "one two three";
    let (_, sent) = answered(&mut link, delivered(), gateway.reply(discord.expected(), text)).await;
    assert_eq!((&sent["platform"], &sent["botId"]), (&json!("discord"), &json!("bot-1")));
    assert_eq!((&sent["action"]["content"], &sent["action"]["metadata"]), (&json!(text), &json!({"user_id": "d"})));
    // The other platform has a length of its own.
    let answers = async {
        for part in ["one two", "three"] {
            let request = link.expect("outbound").await;
            assert_eq!((&request["platform"], &request["botId"]), (&json!("telegram"), &json!("t1")));
            assert_eq!(request["action"]["content"], part);
            assert_eq!(request["action"]["metadata"], json!({"user_id": "t"}));
            link.answer(&request).await;
        }
    };
    let (outcome, ()) = tokio::join!(guard("a result", gateway.reply(telegram.expected(), text)), answers);
    assert_eq!(outcome.unwrap().results().len(), 2);
    // A chat without more goes where it was used last; what that platform lacks, it lacks.
    let error = gateway.react("7", "m", "👀").now_or_never().expect("at once").unwrap_err();
    let telegram_lacks = NotSent::Unsupported { op: "react".into(), platform: "telegram".into() };
    assert_eq!(error, RequestError::NotSent(telegram_lacks));
    let on_discord = gateway.perform(Action::react("7", "m", "👀"), RequestOptions::default().platform("discord"));
    let (_, sent) = answered(&mut link, delivered(), on_discord).await;
    assert_eq!((&sent["platform"], &sent["action"]["metadata"]), (&json!("discord"), &json!({"user_id": "d"})));
    let (_, sent) = answered(&mut link, json!({"name": "x"}), gateway.chat_info("7")).await;
    assert_eq!(
        (&sent["platform"], &sent["action"]),
        (&json!("discord"), &json!({"op": "get_chat_info", "chat_id": "7"}))
    );
    let (_, sent) = answered(&mut link, delivered(), gateway.send("8", "hi")).await;
    assert_eq!((sent.get("platform"), &sent["action"]["metadata"]), (None, &json!({"user_id": "i"})));
    // Nor is it one of those that happen to have a chat of this id.
    for (message, user) in &elsewhere {
        let (_, sent) = answered(&mut link, delivered(), gateway.reply(message.expected(), "hi")).await;
        assert_eq!((sent.get("platform"), &sent["action"]["metadata"]), (None, &json!({"user_id": user})));
    }
}

// proves: CHAT-7, PASS-1, ACK-1
async fn interactions_come_out_of_forwards(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    // {"id":"1","type":2,"channel_id":"c","guild_id":"g","data":{"name":"ask"},"member":{"user":{"id":"u"}}}
    let body = "eyJpZCI6IjEiLCJ0eXBlIjoyLCJjaGFubmVsX2lkIjoiYyIsImd1aWxkX2lkIjoiZyIsImRhdGEiOnsibmFtZSI6ImFzayJ9LCJtZW1iZXIi\
                OnsidXNlciI6eyJpZCI6InUifX19";
    for (n, (platform, body)) in [("discord", body), ("discord", "W10="), ("twilio", body)].into_iter().enumerate() {
        link.send(&json!({"type": "passthrough_forward", "bufferId": format!("b{n}"), "forward": {
            "platform": platform, "botId": "bot-1", "method": "POST", "path": "/", "headers": [], "bodyB64": body,
        }}))
        .await;
        let Event::Delivery(delivery) = app.event().await else { panic!("not a delivery") };
        let forward = delivery.passthrough().expect("a forward");
        match (n, forward.interaction()) {
            (0, Some(Ok(interaction))) => {
                assert_eq!(interaction.command_line().as_deref(), Some("/ask"));
                let key = SessionKeys::default().key(&interaction.session_source());
                assert_eq!(key, "agent:main:relay:channel:c:u");
            }
            (1, Some(Err(InteractionError::NotAnObject))) | (2, None) => {}
            (_, other) => panic!("{n}: {other:?}"),
        }
        assert!(!forward.body.is_empty(), "it stays as it came");
        delivery.ack();
        assert_eq!(link.ack().await, format!("b{n}"));
    }
    // Its channel is a chat that was heard from.
    let (_, sent) = answered(&mut link, delivered(), app.gateway.send("c", "hi")).await;
    assert_eq!((&sent["platform"], &sent["action"]["metadata"]), (&json!("discord"), &json!({"scope_id": "g"})));
}

// proves: CHAT-5, CHAT-6
async fn a_delivery_says_what_a_conversation_needs(host: Host) {
    let peer = Peer::bind().await;
    let (mut app, mut link) = App::linked(host, &peer, config(&peer)).await;
    let mut event = from(json!({"platform": "slack", "chat_type": "group", "chat_id": "C", "user_id": "U"}));
    event["event"]["reply_to_message_id"] = json!("m0");
    event["event"]["reply_to"] = json!({"text": "before", "author": "ann"});
    event["event"]["media_urls"] = json!(["https://x/1"]);
    event["event"]["media"] = json!([{"url": "https://x/1", "kind": "image", "mime": "image/png"}]);
    event["event"]["context"] = json!([{"text": "nearby", "source": {"user_id": "V"}}]);
    link.send(&event).await;
    let delivery = app.message().await;
    let message = delivery.expected();
    assert_eq!(message.session_key(&SessionKeys::default()), "agent:main:slack:group:C:U");
    assert_eq!(message.reply_quote().unwrap().author.as_deref(), Some("ann"));
    assert_eq!(
        (message.media()[0].kind, message.media()[0].mime.as_deref()),
        (Some(MediaKind::Image), Some("image/png"))
    );
    let expect = "[Replying to: \"before\"]\n\n[Recent channel messages]\nV: nearby\n\n[New message]\nhi";
    assert_eq!(message.text_in_context(), expect);
}

relay_tests::suite! {
    what_a_chat_said_goes_with_what_is_sent_there,
    an_operation_that_is_not_supported_is_not_sent,
    a_long_text_takes_several_messages_in_order,
    every_operation_has_its_fields_and_its_result,
    a_press_answers_the_prompt_that_was_asked,
    typing_is_cleared_where_it_stays,
    several_identities_share_a_link,
    interactions_come_out_of_forwards,
    a_delivery_says_what_a_conversation_needs,
}
