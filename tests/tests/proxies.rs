//! HTTP proxies between the gateway and its connector: tunnels, and every way in which there is none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use relay_proto::gateway::{Cause, Config, Ended};
use relay_proto::proxy::Proxy;
use relay_tests::HOUR;
use relay_tests::app::{App, quick};
use relay_tests::host::Host;
use relay_tests::peer::Peer;
use relay_tests::raw::Raw;

/// A name that no resolver knows: only the proxy could.
const CONNECTOR: &str = "http://connector.invalid:8080";
const OPEN: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

/// A gateway whose way leads through this proxy.
fn config(proxy: &Peer, user: &str) -> Config {
    let address = proxy.url().replace("http://", &format!("http://{user}"));
    Config::new(CONNECTOR).identity("discord", "bot-1").timing(quick()).proxy(Proxy::parse(&address).unwrap())
}

/// The next dial, which asks for a tunnel.
async fn asked(proxy: &Peer) -> (Raw, Option<String>) {
    let mut raw = proxy.accept_raw().await;
    let request = raw.request().await;
    assert_eq!(
        (request.path.as_str(), request.header("host")),
        ("connector.invalid:8080", Some("connector.invalid:8080"))
    );
    (raw, request.header("proxy-authorization").map(String::from))
}

/// How the dial ended that this proxy answered with these bytes and then closed.
async fn ended(host: Host, user: &str, answer: &str) -> Ended {
    let proxy = Peer::bind().await;
    let mut app = App::start(host, config(&proxy, user));
    for round in 0..2 {
        let (mut raw, _) = asked(&proxy).await;
        raw.write(answer).await;
        drop(raw);
        let (ended, retry_in) = app.disconnected().await;
        assert!(retry_in.is_some(), "every one is tried again");
        if round == 1 {
            return ended;
        }
    }
    unreachable!()
}

// proves: DIAL-6
async fn a_tunnel_carries_the_link(host: Host) {
    let proxy = Peer::bind().await;
    let mut app = App::start(host, config(&proxy, "user:p%40ss@"));
    let (mut raw, authorization) = asked(&proxy).await;
    assert_eq!(authorization.as_deref(), Some("Basic dXNlcjpwQHNz"));
    raw.write(OPEN).await;
    let upgrade = raw.handshake().await;
    assert_eq!((upgrade.path.as_str(), upgrade.header("host")), ("/relay", Some("connector.invalid:8080")));
    assert_eq!(upgrade.header("proxy-authorization"), None, "the connector is not told the proxy's password");
    app.ready().await;
}

// proves: DIAL-6
async fn an_answer_that_trickles_in_behind_interim_ones(host: Host) {
    let proxy = Peer::bind().await;
    let mut app = App::start(host, config(&proxy, ""));
    let (mut raw, authorization) = asked(&proxy).await;
    assert_eq!(authorization, None);
    raw.trickle("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\nContent-Length: 99\r\nVia: x\r\n\r\n").await;
    raw.handshake().await;
    app.ready().await;
}

// proves: DIAL-6
async fn a_refusal_has_its_status(host: Host) {
    let refused = ended(host, "", "HTTP/1.1 403 Not in my house\r\nContent-Length: 3\r\n\r\nno!").await;
    assert_eq!((refused.cause, refused.code, refused.reason.as_str()), (Cause::Proxy, Some(403), "Not in my house"));
    let unknown = ended(host, "", "HTTP/1.1 407 Who are you\r\n\r\n").await;
    assert_eq!((unknown.cause, unknown.code), (Cause::Proxy, Some(407)));
    assert!(unknown.reason.contains("put user:password@"), "{unknown}");
    let wrong = ended(host, "u:s3cr3t@", "HTTP/1.1 407 Who are you\r\n\r\n").await;
    assert!(wrong.reason.contains("does not accept") && !wrong.reason.contains("s3cr3t"), "{wrong}");
    // A status of the proxy's is none of the connector's: nothing is revoked.
    let unauthorized = ended(host, "", "HTTP/1.1 401 No\r\n\r\n").await;
    assert_eq!((unauthorized.cause, unauthorized.code), (Cause::Proxy, Some(401)));
}

/// Where a proxy sends a request elsewhere, it opens no tunnel.
// proves: DIAL-6
async fn a_proxy_that_redirects_is_not_followed(host: Host) {
    let elsewhere = Peer::bind().await;
    let answer = format!("HTTP/1.1 302 Found\r\nLocation: {}/\r\nContent-Length: 0\r\n\r\n", elsewhere.url());
    let redirected = ended(host, "u:s3cr3t@", &answer).await;
    assert_eq!((redirected.cause, redirected.code, redirected.reason.as_str()), (Cause::Proxy, Some(302), "Found"));
    elsewhere.assert_nobody_dialled().await;
}

// proves: DIAL-6
async fn what_is_no_answer_is_named(host: Host) {
    for (answer, part) in [
        ("", "before the proxy answered"),
        ("HTTP/1.1 2", "before the proxy answered"),
        ("SSH-2.0-OpenSSH\r\n", "not HTTP/1"),
        ("HTTP/1.1 two hundred\r\n\r\n", "malformed"),
    ] {
        let ended = ended(host, "", answer).await;
        assert_eq!((ended.cause, ended.code), (Cause::Proxy, None), "{answer:?}");
        assert!(ended.reason.contains(part), "{answer:?}: {ended}");
    }
}

// proves: DIAL-5, DIAL-6
async fn a_proxy_that_does_not_answer_costs_one_dial_deadline(host: Host) {
    let proxy = Peer::bind().await;
    let mut short = quick();
    short.dial = HOUR;
    let mut app = App::start(host, config(&proxy, "").timing(short));
    let (_silent, _) = asked(&proxy).await;
    app.gateway.advance(HOUR);
    assert_eq!(app.disconnected().await.0.cause, Cause::TimedOut);
    let (mut raw, _) = asked(&proxy).await;
    raw.write("HTTP/1.1 200 OK\r\nX: ").await;
    app.gateway.advance(HOUR);
    assert_eq!(app.disconnected().await.0.cause, Cause::TimedOut);
}

// proves: DIAL-6
async fn a_link_that_is_cut_in_the_tunnel_is_lost_and_dialled_again(host: Host) {
    let proxy = Peer::bind().await;
    let mut app = App::start(host, config(&proxy, ""));
    for _ in 0..2 {
        let (mut raw, _) = asked(&proxy).await;
        raw.write(OPEN).await;
        raw.handshake().await;
        app.ready().await;
        drop(raw);
        assert_eq!(app.disconnected().await.0.cause, Cause::Lost);
    }
}

async fn a_proxy_that_is_not_there(host: Host) {
    let gone = Peer::bind().await;
    let config = config(&gone, "u:s3cr3t@");
    drop(gone);
    let mut app = App::start(host, config);
    let (ended, _) = app.disconnected().await;
    assert_eq!(ended.cause, Cause::Unreachable);
    assert!(ended.reason.contains("the proxy http://***@127.0.0.1:"), "{ended}");
}

relay_tests::suite! {
    a_tunnel_carries_the_link,
    an_answer_that_trickles_in_behind_interim_ones,
    a_refusal_has_its_status,
    a_proxy_that_redirects_is_not_followed,
    what_is_no_answer_is_named,
    a_proxy_that_does_not_answer_costs_one_dial_deadline,
    a_link_that_is_cut_in_the_tunnel_is_lost_and_dialled_again,
    a_proxy_that_is_not_there,
}
