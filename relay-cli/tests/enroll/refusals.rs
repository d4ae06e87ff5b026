//! Connectors that say no, and answers that are none.

use std::net::TcpListener;

use crate::server::{Does, Server, answer};
use crate::setup::{IDENTITY, Place, TOKEN, run};

const GRANT: &str = r#"{"secret":"granted-s3cret","tenant":"org","gatewayId":"gw"}"#;

/// The cause, and whether the token may be used up. Nothing is left behind.
fn fails(server: &Server) -> (String, String) {
    let (cause, used, _) = fails_with(server);
    (cause, used)
}

/// The same, and what it says.
fn fails_with(server: &Server) -> (String, String, String) {
    let place = Place::new();
    let said = run(place.enroll(&server.url(), &[]));
    let (cause, used, error) = said.failure();
    assert!(place.files().is_empty(), "{:?}", place.files());
    for hidden in [TOKEN, IDENTITY] {
        assert!(!error.contains(hidden) && !said.stderr.contains(hidden), "{error}");
    }
    (cause.to_owned(), used.to_owned(), error.to_owned())
}

// proves: ENROLL-3
#[test]
fn every_refusal_has_its_cause() {
    for (status, cause, used, advice) in [
        (400, "bad_request", "no", "--id"),
        (401, "unauthorized", "no", "get a new one"),
        (403, "forbidden", "perhaps", "expired or used"),
        (404, "refused", "no", "--url"),
        (429, "refused", "no", "try again later"),
        (500, "refused", "perhaps", "get a new one"),
        (502, "refused", "perhaps", "get a new one"),
        (503, "refused", "no", "try again later"),
    ] {
        let server = Server::answering(status, "", &format!(r#"{{"error":"not {TOKEN}"}}"#));
        let (is, may_be, said) = fails_with(&server);
        assert_eq!((&*is, &*may_be), (cause, used), "{status}");
        assert!(said.contains(advice) && said.contains("not ***"), "{said}");
        assert_eq!(server.requests().len(), 1);
    }
}

// proves: ENROLL-3
#[test]
fn a_connector_that_says_when_to_try_again_is_quoted() {
    let place = Place::new();
    for (status, retry, says, millis) in [
        (503, "Retry-After: 7\r\n", "try again in 7 s", Some(7000)),
        (429, "Retry-After: 0\r\n", "try again in 0 s", Some(0)),
        (503, "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n", "try again later", None),
        (500, "Retry-After: 7\r\n", "get a new one", None),
    ] {
        let server = Server::answering(status, retry, r#"{"error":"busy"}"#);
        let said = run(place.enroll(&server.url(), &[]));
        let (_, _, error) = said.failure();
        assert!(error.contains(says) && error.contains("busy"), "{error}");
        assert_eq!(said.lines[0].get("retry_in_ms").map(|millis| millis.as_u64().unwrap()), millis, "{error}");
    }
}

// proves: ENROLL-3
#[test]
fn an_answer_that_is_none_may_have_used_up_the_token() {
    let long = " ".repeat((64 << 10) + 1);
    for (body, cause) in [
        ("{}", "no_secret"),
        (r#"{"secret":""}"#, "no_secret"),
        ("<html>", "not_json"),
        (long.as_str(), "too_long"),
        (r#"{"secret":"a\nGATEWAY_RELAY_URL=wss://evil.example"}"#, "unusable_secret"),
        (r#"{"secret":"s","gatewayId":"another"}"#, "other_gateway"),
    ] {
        assert_eq!(fails(&Server::answering(200, "", body)), (cause.into(), "perhaps".into()), "{cause}");
    }
    for bytes in ["", "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"] {
        let server = Server::start(|_| Does::Answer(bytes.into()));
        assert_eq!(fails(&server), ("not_http".into(), "perhaps".into()), "{bytes:?}");
    }
}

// proves: ENROLL-4
#[test]
fn nothing_is_sent_to_where_a_redirect_leads_away() {
    // Whoever listens there is never asked for anything.
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let there = elsewhere.local_addr().unwrap();
    for (status, location) in [
        (307, format!("http://{there}/relay/enroll")),
        (308, format!("http://localhost:{}/relay/enroll", there.port())),
        (302, format!("http://{there}/")),
        (303, "/relay/enrolled".into()),
        (307, format!("//{there}/relay/enroll")),
    ] {
        let server = Server::answering(status, &format!("Location: {location}\r\n"), GRANT);
        assert_eq!(fails(&server), ("redirected_away".into(), "no".into()), "{location}");
        assert_eq!(server.requests().len(), 1);
    }
    assert_eq!(elsewhere.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

// proves: ENROLL-4
#[test]
fn a_redirect_within_the_connector_is_followed() {
    let server = Server::start(|here| Does::Answer(answer(308, &format!("Location: http://{here}/moved\r\n"), "")));
    assert_eq!(fails(&server), ("too_many_redirects".into(), "no".into()));
    let requests = server.requests();
    assert_eq!(requests.len(), 4);
    assert!(requests[0].starts_with("POST /relay/enroll ") && requests[0].contains(TOKEN));
    assert!(requests[1].starts_with("POST /moved ") && requests[1].contains(IDENTITY) && requests[1].contains(TOKEN));
}

/// How an enrolment ends whose connector leaves something out. On a slow machine the time may be over before the request is
/// sent or what there is of the answer is read: then there is more time.
fn ends_as(expected: (&str, &str), does: impl Fn() -> Does) -> String {
    let mut ends = Vec::new();
    for timeout in ["1", "10", "100"] {
        let (server, place) = (Server::start(|_| does()), Place::new());
        let said = run(place.enroll(&server.url(), &["--timeout", timeout]));
        let (cause, used, error) = said.failure();
        assert!(place.files().is_empty(), "{error}");
        if (cause, used) == expected {
            return error.into();
        }
        ends.push(format!("{cause}, {used}: {error}"));
    }
    panic!("not {expected:?}: {ends:?}")
}

// proves: ENROLL-3
#[test]
fn a_connector_that_does_not_answer_is_not_waited_for() {
    let error = ends_as(("timed_out", "perhaps"), || Does::Hang);
    assert!(error.contains("--timeout"), "{error}");
}

// proves: ENROLL-3
#[test]
fn a_refusal_whose_end_does_not_come_is_one() {
    let slow = "HTTP/1.1 403 X\r\nContent-Length: 99\r\n\r\n{".to_owned();
    let endless = format!("HTTP/1.1 401 X\r\n\r\n{}", "x".repeat(70_000));
    for (bytes, expected) in [(slow, ("forbidden", "perhaps")), (endless, ("unauthorized", "no"))] {
        ends_as(expected, || Does::Begin(bytes.clone()));
    }
}

// proves: ENROLL-3
#[test]
fn a_connector_that_is_not_there_is_said_to_be_unreachable() {
    // Taken on another address of loopback, so that nobody else gets it in the meantime.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = std::net::SocketAddr::from(([127, 0, 0, 2], taken.local_addr().unwrap().port()));
    let place = Place::new();
    let said = run(place.enroll(&format!("http://{gone}"), &[]));
    let (cause, used, error) = said.failure();
    assert_eq!((cause, used), ("unreachable", "no"));
    assert!(error.contains(&gone.to_string()) && place.files().is_empty(), "{error}");
}

// proves: DIAL-6
#[test]
fn a_proxy_is_asked_for_a_tunnel() {
    let connector = Server::answering(200, "", GRANT);
    let proxy = Server::start(|_| Does::Tunnel(connector.address()));
    let place = Place::new();
    let address = format!("http://user:pass@{}", proxy.address());
    // The name is the proxy's to resolve.
    let url = format!("http://{}", connector.address());
    let said = run(place.enroll(&url, &["--proxy", &address]));
    assert_eq!(said.code, 0, "{:?}", said.lines);
    let asked = proxy.requests();
    assert!(asked.len() == 1 && asked[0].starts_with(&format!("CONNECT {} HTTP/1.1\r\n", connector.address())));
    assert!(asked[0].contains("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n") && !asked[0].contains(IDENTITY));
    assert!(connector.requests()[0].contains(IDENTITY));

    let refusing = Server::answering(407, "", "");
    let said = run(place.enroll(&url, &["--force", "--proxy", &refusing.url()]));
    let (cause, used, error) = said.failure();
    assert_eq!((cause, used), ("proxy", "no"));
    assert!(error.contains("407"), "{error}");
    // The environment names one, too; loopback needs none, and --no-proxy takes none.
    let mut direct = place.enroll(&url, &["--force"]);
    direct.env("HTTP_PROXY", refusing.url());
    assert_eq!(run(direct).code, 0);
    let mut far = place.enroll("http://connector.invalid", &["--force", "--allow-plaintext-credentials"]);
    far.env("HTTP_PROXY", refusing.url());
    assert_eq!(run(far).failure().0, "proxy");
}
