//! Dialling: the upgrade as connectors, proxies and strangers answer it, and the handshake behind it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::time::{Duration, SystemTime};

use relay_proto::client::Event;
use relay_proto::frame::RawJson;
use relay_proto::gateway::{Cause, Config, Identity, State};
use relay_proto::token::{self, Secret};
use relay_tests::HOUR;
use relay_tests::app::{App, IsMessage as _, config, quick};
use relay_tests::frames::{descriptor, line};
use relay_tests::host::Host;
use relay_tests::peer::{Incoming, Peer};
use relay_tests::raw::{self, frame};
use serde_json::json;
use tokio::net::TcpSocket;

async fn an_upgrade_that_trickles_in_byte_by_byte(host: Host) {
    let peer = Peer::bind().await;
    let mut app = App::start(host, config(&peer));
    let mut raw = peer.accept_raw().await;
    let upgrade = raw.request().await;
    let acceptance = upgrade.acceptance().replace("\r\n\r\n", "\r\nServer: slow\r\n\r\n");
    raw.trickle(acceptance).await;
    raw.trickle(frame(raw::TEXT, line(&descriptor("discord")))).await;
    assert_eq!(app.ready().await.platform, "discord");
}

// proves: DIAL-4
async fn every_refusal_is_a_typed_error_with_its_status(host: Host) {
    for (status, phrase) in [
        (200, "OK"),
        (204, "No Content"),
        (301, "Moved Permanently"),
        (302, "Found"),
        (307, "Temporary Redirect"),
        (400, "Bad Request"),
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (404, "Not Found"),
        (426, "Upgrade Required"),
        (429, "Too Many Requests"),
        (500, "Internal Server Error"),
        (502, "Bad Gateway"),
        (503, "Service Unavailable"),
    ] {
        let peer = Peer::bind().await;
        let mut app = App::start(host, config(&peer));
        let mut raw = peer.accept_raw().await;
        raw.request().await;
        raw.write(format!("HTTP/1.1 {status} {phrase}\r\nContent-Length: 4\r\n\r\nbusy")).await;
        let (ended, retry_in) = app.disconnected().await;
        assert_eq!((ended.cause, ended.code), (Cause::HttpStatus, Some(status)), "{ended}");
        assert!(ended.to_string().contains(&status.to_string()));
        assert!(retry_in.is_some(), "a status alone ends no gateway");
        if status == 403 {
            assert!(retry_in.unwrap() >= quick().backoff_max, "slowly");
        }
        if status != 204 {
            assert_eq!(ended.reason, "busy");
        }
        raw.read_to_end().await;
        peer.handshake().await;
        app.ready().await;
    }
}

// proves: LINK-1
async fn a_refusal_that_says_when_to_come_again_is_heeded(host: Host) {
    let second = Duration::from_secs(1);
    for (answer, wait) in [
        ("429 Too Many Requests\r\nRetry-After: 100", Some(100 * second)),
        ("503 Service Unavailable\r\nretry-after:  1200 ", Some(1200 * second)),
        ("503 Service Unavailable\r\nRetry-After: 99999999999999999999", Some(HOUR)),
        ("503 Service Unavailable\r\nRetry-After: Wed, 21 Oct 2065 07:28:00 GMT", None),
        ("500 Internal Server Error\r\nRetry-After: 100", None),
    ] {
        let peer = Peer::bind().await;
        let mut timing = quick();
        timing.backoff_max = HOUR;
        let mut app = App::start(host, config(&peer).timing(timing));
        let mut raw = peer.accept_raw().await;
        raw.request().await;
        raw.write(format!("HTTP/1.1 {answer}\r\nContent-Length: 4\r\n\r\nbusy")).await;
        let (ended, retry_in) = app.disconnected().await;
        assert_eq!((ended.cause, &*ended.reason), (Cause::HttpStatus, "busy"), "{answer}");
        raw.read_to_end().await;
        match wait {
            Some(wait) => {
                assert_eq!(retry_in, Some(wait), "{answer}");
                app.gateway.advance(wait);
            }
            None => assert!(retry_in.is_some_and(|retry_in| retry_in < second), "{answer}: {retry_in:?}"),
        }
        peer.handshake().await;
        app.ready().await;
    }
}

// proves: DIAL-4
async fn redirects_are_not_followed(host: Host) {
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let (peer, elsewhere) = (Peer::bind().await, Peer::bind().await);
        let config = config(&peer).credentials("gw", "secret");
        let mut app = App::start(host, config);
        let mut raw = peer.accept_raw().await;
        raw.request().await;
        let location = elsewhere.url();
        raw.write(format!("HTTP/1.1 {status}\r\nLocation: {location}/relay\r\nContent-Length: 0\r\n\r\n")).await;
        assert_eq!(app.disconnected().await.0.cause, Cause::HttpStatus);
        let mut link = peer.handshake().await;
        app.ready().await;
        elsewhere.assert_nobody_dialled().await;
        link.close(1000, "").await;
    }
}

// proves: LINK-2
async fn answers_that_are_no_upgrade(host: Host) {
    let key = "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept:";
    for (case, answer) in [
        ("another protocol", "SSH-2.0-OpenSSH_9.6\r\n".to_owned()),
        ("noise", "\u{1}\u{2}\u{3}\0\0\0\r\n\r\n".to_owned()),
        ("HTTP/2", "HTTP/2 101 Switching\r\n\r\n".to_owned()),
        ("HTTP/1.0", "HTTP/1.0 101 Switching Protocols\r\n\r\n".to_owned()),
        ("no status", "HTTP/1.1\r\n\r\n".to_owned()),
        ("a wrong key", format!("HTTP/1.1 101 Switching Protocols{key} dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")),
        ("an empty key", format!("HTTP/1.1 101 Switching Protocols{key}\r\n\r\n")),
        ("no headers", "HTTP/1.1 101 Switching Protocols\r\n\r\n".to_owned()),
        ("a head without an end", format!("HTTP/1.1 101 Switching Protocols\r\nX: {}", "x".repeat(20_000))),
        ("headers without end", format!("HTTP/1.1 101 Switching Protocols\r\n{}", "X: y\r\n".repeat(5000))),
        ("too many interim answers", "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000)),
    ] {
        let peer = Peer::bind().await;
        let mut app = App::start(host, config(&peer));
        let mut raw = peer.accept_raw().await;
        raw.request().await;
        raw.write(answer).await;
        let (ended, retry_in) = app.disconnected().await;
        assert_eq!(ended.cause, Cause::Protocol, "{case}: {ended}");
        assert!(retry_in.unwrap() >= quick().backoff_max, "slowly, after {case}");
        raw.read_to_end().await;
        peer.handshake().await;
        app.ready().await;
    }
}

// proves: LINK-2
async fn a_good_answer_with_a_wrong_key_or_an_unasked_extension(host: Host) {
    let answers: [fn(String) -> String; 3] = [
        |good| good.replace("Accept: ", "Accept: A"),
        |good| good.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
        |good| good.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat\r\n\r\n"),
    ];
    for change in answers {
        let peer = Peer::bind().await;
        let mut app = App::start(host, config(&peer));
        let mut raw = peer.accept_raw().await;
        let upgrade = raw.request().await;
        raw.write(change(upgrade.acceptance())).await;
        let (ended, _) = app.disconnected().await;
        assert_eq!(ended.cause, Cause::Protocol, "{ended}");
        assert!(ended.reason.contains("upgrade"), "{ended}");
    }
}

async fn interim_answers_come_before_the_real_one(host: Host) {
    let peer = Peer::bind().await;
    let mut app = App::start(host, config(&peer));
    let mut raw = peer.accept_raw().await;
    let upgrade = raw.request().await;
    raw.write("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n").await;
    raw.write(upgrade.acceptance()).await;
    raw.write(frame(raw::TEXT, line(&descriptor("discord")))).await;
    app.ready().await;
}

// proves: LINK-2, HELLO-3
async fn a_connection_that_ends_before_the_descriptor(host: Host) {
    let peer = Peer::bind().await;
    let mut app = App::start(host, config(&peer));
    peer.accept_raw().await.reset();
    // A reset may come before the gateway so much as knows that it is connected.
    assert!(matches!(app.disconnected().await.0.cause, Cause::Lost | Cause::Unreachable));
    let mut raw = peer.accept_raw().await;
    raw.request().await;
    drop(raw);
    assert_eq!(app.disconnected().await.0.cause, Cause::Lost, "before the answer");
    let mut raw = peer.accept_raw().await;
    let upgrade = raw.request().await;
    raw.write(upgrade.acceptance().get(..40).unwrap()).await;
    raw.finish().await;
    assert_eq!(app.disconnected().await.0.cause, Cause::Lost, "within the answer");
    peer.accept().await.cut();
    assert_eq!(app.disconnected().await.0.cause, Cause::Lost, "before the descriptor");
    let mut link = peer.accept().await;
    link.close(1012, "restarting").await;
    let (ended, _) = app.disconnected().await;
    let why = "ended before the first descriptor: restarting";
    assert_eq!((ended.cause, ended.code, &*ended.reason), (Cause::GoingAway, Some(1012), why));
    assert_eq!(app.gateway.stats().links, 0);
    peer.handshake().await;
    app.ready().await;
}

// proves: LINK-1
async fn nobody_listens(host: Host) {
    // Bound and not listening: nobody else can get the port meanwhile.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("ws://{}", socket.local_addr().unwrap());
    let mut app = App::start(host, Config::new(url).identity("discord", "b").timing(quick()));
    for _ in 0..5 {
        let (ended, retry_in) = app.disconnected().await;
        assert_eq!((ended.cause, ended.code), (Cause::Unreachable, None), "{ended}");
        assert!(!ended.reason.is_empty() && retry_in.is_some());
    }
}

/// Nobody has a name that ends like this.
// proves: LINK-1
async fn a_name_that_nobody_can_look_up(host: Host) {
    let config = Config::new("ws://connector.invalid:1").identity("discord", "b").timing(quick());
    let mut app = App::start(host, config);
    for _ in 0..2 {
        let (ended, retry_in) = app.disconnected().await;
        assert_eq!((ended.cause, ended.code), (Cause::Unreachable, None), "{ended}");
        assert!(!ended.reason.is_empty() && retry_in.is_some());
    }
}

// proves: DIAL-5
async fn an_upgrade_that_is_never_answered(host: Host) {
    let peer = Peer::bind().await;
    let mut timing = quick();
    timing.dial = HOUR;
    let mut app = App::start(host, config(&peer).timing(timing));
    let mut raw = peer.accept_raw().await;
    raw.request().await;
    // A drop now and then is no answer.
    raw.write("HTTP/1.1 101").await;
    app.gateway.advance(HOUR);
    let (ended, retry_in) = app.disconnected().await;
    assert_eq!(ended.cause, Cause::TimedOut, "{ended}");
    assert!(retry_in.is_some());
    assert_eq!(raw.read_to_end().await, b"", "the connection is dropped");
}

// proves: DIAL-5
async fn a_descriptor_that_never_comes(host: Host) {
    let peer = Peer::bind().await;
    let mut timing = quick();
    timing.handshake = HOUR;
    let mut app = App::start(host, config(&peer).timing(timing));
    let mut link = peer.accept().await;
    link.expect("hello").await;
    // None of these is a descriptor.
    link.send_text("{\"type\":\"descriptor\",\"descriptor\":null}\n{\"type\":\"ping\"}\n").await;
    link.settled().await;
    app.gateway.advance(HOUR);
    assert_eq!(link.next().await, Incoming::Close(Some((1000, String::new()))));
    let (ended, _) = app.disconnected().await;
    assert_eq!(ended.cause, Cause::TimedOut, "{ended}");
}

// proves: DIAL-1
async fn the_path_is_made_from_the_base_url(host: Host) {
    let peer = Peer::bind().await;
    let base = peer.url();
    let ws = base.replace("http:", "ws:");
    for (url, path) in [
        (base.clone(), "/relay"),
        (format!("{base}/"), "/relay"),
        (format!("  {base}/relay  "), "/relay"),
        (format!("{ws}/team/a//"), "/team/a/relay"),
        (format!("{ws}/team/relay/"), "/team/relay"),
    ] {
        let mut app = App::start(host, Config::new(url.clone()).identity("discord", "b").timing(quick()));
        let mut link = peer.accept().await;
        assert_eq!(link.upgrade.path, path, "{url}");
        assert_eq!(link.upgrade.header("host"), base.strip_prefix("http://"), "{url}");
        link.handshake().await;
        app.ready().await;
        drop(app);
        assert_eq!(link.farewell().await.map(|(code, _)| code), Some(1000));
    }
}

fn unix() -> u64 {
    #[allow(clippy::disallowed_methods, reason = "a connector has a clock")]
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

// proves: DIAL-2, DIAL-3, TOKEN-1
async fn every_dial_carries_a_fresh_token_that_verifies(host: Host) {
    let peer = Peer::bind().await;
    let config = config(&peer).credentials("gw:with:colons", "s3cret");
    let before = unix();
    let mut app = App::start(host, config);
    let secrets = [Secret::new("old"), Secret::new("s3cret")];
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let link = peer.accept().await;
        let token = link.upgrade.bearer().expect("a token").to_owned();
        assert_eq!(token::verify(&token, &secrets, unix()).unwrap(), "gw:with:colons");
        assert!(token::verify(&token, &secrets[..1], unix()).is_err(), "not with another secret");
        assert!(token::verify(&token, &secrets, before + 299).is_ok(), "for 300 seconds");
        assert!(token::verify(&token, &secrets, unix() + 302).is_err(), "and not for longer");
        tokens.push(token);
        // Tokens count whole seconds, so only dials a second apart can be told apart.
        app.gateway.advance(Duration::from_secs(1));
        link.cut();
        app.disconnected().await;
    }
    assert_ne!(tokens[0], tokens[1], "a token of its own for each dial");
}

// proves: DIAL-2
async fn without_credentials_there_is_no_authorization(host: Host) {
    for config in [
        |config: Config| config,
        |config: Config| config.gateway_id("gw"),
        |config: Config| config.credentials("gw", ""),
        |config: Config| config.credentials("gw", "  \t"),
        |config: Config| config.credentials("  ", "secret"),
    ] {
        let peer = Peer::bind().await;
        let (_app, link) = App::linked(host, &peer, config(self::config(&peer))).await;
        assert_eq!(link.upgrade.header("authorization"), None);
    }
}

// proves: TOKEN-3
async fn errors_and_debug_output_hold_no_secret(host: Host) {
    let peer = Peer::bind().await;
    let mut app = App::start(host, config(&peer).credentials("gw", "s3cret"));
    let mut raw = peer.accept_raw().await;
    let token = raw.request().await.bearer().unwrap().to_owned();
    raw.write("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await;
    let (ended, _) = app.disconnected().await;
    let seen = format!("{ended} {ended:?} {app:?} {:?}", config(&peer).credentials("gw", "s3cret"));
    assert!(!seen.contains("s3cret") && !seen.contains(&token), "{seen}");
}

// proves: HELLO-1
async fn one_hello_for_each_identity_in_order(host: Host) {
    let peer = Peer::bind().await;
    let manifest = RawJson::parse(r#"[{"name":"ask"}]"#).unwrap();
    let telegram = Identity { platform: "telegram".into(), bot_id: "t".into(), command_manifest: Some(manifest) };
    let mut app = App::start(host, config(&peer).full_identity(telegram).identity("slack", ""));
    for _ in 0..2 {
        let mut link = peer.accept().await;
        assert_eq!(link.next_frame().await, json!({"type": "hello", "platform": "discord", "botId": "bot-1"}));
        let manifest = json!([{"name": "ask"}]);
        let hello = json!({"type": "hello", "platform": "telegram", "botId": "t", "command_manifest": manifest});
        assert_eq!(link.next_frame().await, hello);
        assert_eq!(link.next_frame().await, json!({"type": "hello", "platform": "slack", "botId": ""}));
        link.send(&descriptor("discord")).await;
        app.ready().await;
        link.cut();
        app.disconnected().await;
    }
}

// proves: HELLO-2
async fn descriptors_belong_to_their_link(host: Host) {
    let peer = Peer::bind().await;
    let mut app = App::start(host, config(&peer).identity("telegram", "t"));
    let mut link = peer.accept().await;
    assert!(app.gateway.descriptor().is_none());
    link.send_all(&[descriptor("discord"), descriptor("telegram")]).await;
    assert_eq!(app.ready().await.platform, "discord");
    link.ping(b"x").await;
    while link.next().await != Incoming::Pong(b"x".to_vec()) {}
    assert_eq!(app.gateway.descriptor().unwrap().platform, "discord");
    assert_eq!(app.gateway.descriptor_for("telegram").unwrap().platform, "telegram");
    link.cut();
    app.disconnected().await;
    assert!(app.gateway.descriptor().is_none() && app.gateway.descriptor_for("telegram").is_none());
    let mut link = peer.accept().await;
    link.expect("hello").await;
    assert!(app.gateway.descriptor().is_none() && app.gateway.descriptor_for("discord").is_none());
    link.send(&descriptor("telegram")).await;
    assert_eq!(app.ready().await.platform, "telegram", "the first of this link");
    assert!(app.gateway.descriptor_for("discord").is_none());
}

// proves: HELLO-2
async fn what_comes_right_behind_the_upgrade_is_not_lost(host: Host) {
    let peer = Peer::bind().await;
    let mut app = App::start(host, config(&peer));
    let mut raw = peer.accept_raw().await;
    let upgrade = raw.request().await;
    let lines = [descriptor("discord"), relay_tests::frames::message("first")].iter().map(line).collect::<String>();
    raw.write([upgrade.acceptance().into_bytes(), frame(raw::TEXT, lines)].concat()).await;
    app.ready().await;
    assert_eq!(app.message().await.text(), "first");
    assert_eq!(app.gateway.state(), State::Ready);
    drop(raw);
    assert!(matches!(app.event().await, Event::Disconnected { .. }));
}

relay_tests::suite! {
    an_upgrade_that_trickles_in_byte_by_byte,
    every_refusal_is_a_typed_error_with_its_status,
    a_refusal_that_says_when_to_come_again_is_heeded,
    redirects_are_not_followed,
    answers_that_are_no_upgrade,
    a_good_answer_with_a_wrong_key_or_an_unasked_extension,
    interim_answers_come_before_the_real_one,
    a_connection_that_ends_before_the_descriptor,
    nobody_listens,
    a_name_that_nobody_can_look_up,
    an_upgrade_that_is_never_answered,
    a_descriptor_that_never_comes,
    the_path_is_made_from_the_base_url,
    every_dial_carries_a_fresh_token_that_verifies,
    without_credentials_there_is_no_authorization,
    errors_and_debug_output_hold_no_secret,
    one_hello_for_each_identity_in_order,
    descriptors_belong_to_their_link,
    what_comes_right_behind_the_upgrade_is_not_lost,
}
