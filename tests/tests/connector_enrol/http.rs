//! What a connector makes of requests that no client of ours sends.

use std::net::SocketAddr;
use std::time::Duration;

use relay_blocking::enroll::EnrollError;
use relay_connector::{self as connector, GatewayId, HttpEvent};
use relay_proto::token::{Secret, mint};
use relay_tests::guard;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::{IDENTITY, TOKEN, enroll, enrolling, refusal, serve};

/// What a raw request is answered with.
pub(crate) async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A refusal may come before all of it is read.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = guard("the answer", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) fn post(path: &str, fields: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n{fields}\r\n{body}", body.len())
}

// proves: ENROLL-5
#[tokio::test]
async fn a_request_that_makes_no_sense_has_its_status() {
    let (connector, _events) = serve(connector::Config::new().enrolment(enrolling())).await;
    let bearer = format!("Authorization: Bearer {IDENTITY}\r\n");
    let body = r#"{"enrollmentToken":"token-1-of-sixteen","gatewayId":"gw-1"}"#;
    for (request, status) in [
        (post("/relay/enroll", &bearer, "{}"), "400 Bad Request"),
        (post("/relay/enroll", &bearer, "not JSON"), "400 Bad Request"),
        (post("/relay/enroll", "", body), "401 Unauthorized"),
        (post("/relay/enroll", "Authorization: Basic aWRlbnRpdHktMQ==\r\n", body), "401 Unauthorized"),
        (post("/relay/enroll", &format!("{bearer}{bearer}"), body), "401 Unauthorized"),
        (post("/relay/policy", &bearer, r#"{"platform":"discord"}"#), "401 Unauthorized"),
        (post("/relay/provision", &bearer, "{}"), "404 Not Found"),
        (post("/relay/elsewhere", &bearer, "{}"), "404 Not Found"),
        (post("/relay", &bearer, "{}"), "405 Method Not Allowed"),
        (format!("POST /relay/enroll HTTP/1.1\r\nHost: x\r\n{bearer}\r\n"), "411 Length Required"),
        (post("/relay/enroll", &bearer, &"x".repeat(65 << 10)), "413 Content Too Large"),
        (post("/relay/enroll", &format!("A: {}\r\n", "x".repeat(20_000)), ""), "431 Request Header Fields Too Large"),
    ] {
        let answer = ask(connector.address(), &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{}: {answer}", request.lines().next().unwrap());
        assert!(!answer.contains("token-1-of-sixteen"), "{answer}");
    }
    assert!(ask(connector.address(), &post("/relay/enroll?x", &bearer, body)).await.starts_with("HTTP/1.1 200 OK\r\n"));
}

// proves: ENROLL-5, CONN-8
#[tokio::test]
async fn refusals_are_counted_by_address_and_beyond_the_limit_nothing_is_looked_at() {
    let config = connector::Config::new().enrolment(enrolling()).refusals(2, Duration::from_secs(3600));
    let (connector, _events) = serve(config).await;
    for _ in 0..2 {
        let refused = refusal(enroll(&connector, "guess", "gw-1").await);
        assert!(matches!(refused, EnrollError::Forbidden { .. }), "{refused}");
    }
    let limited = refusal(enroll(&connector, "guess", "gw-1").await);
    assert!(matches!(limited, EnrollError::Refused { status: 429, .. }), "{limited}");
    let limited = refusal(enroll(&connector, TOKEN, "gw-1").await);
    assert!(matches!(limited, EnrollError::Refused { status: 429, .. }), "the right token, too: {limited}");
    let answer = ask(connector.address(), &post("/relay/enroll", "", "{}")).await;
    let wait =
        answer.lines().find_map(|line| line.strip_prefix("Retry-After: ")).map(|wait| wait.parse::<u32>().unwrap());
    assert!(wait.is_some_and(|wait| (3500..=3600).contains(&wait)), "{answer}");
    assert!(connector.enrolled().is_empty());
}

// proves: ENROLL-5
#[tokio::test]
async fn what_follows_a_request_is_nothing() {
    let (connector, _events) = serve(connector::Config::new().enrolment(enrolling())).await;
    let enrol = |token: &str, id: &str| {
        let body = format!(r#"{{"enrollmentToken":"{token}","gatewayId":"{id}"}}"#);
        post("/relay/enroll", &format!("Authorization: Bearer {IDENTITY}\r\n"), &body)
    };
    let second = enrol("token-2-of-sixteen", "gw-2");
    for behind in ["}", "\r\n", second.as_str()] {
        let token = if behind == "}" { TOKEN } else { "made-up" };
        let answer = ask(connector.address(), &format!("{}{behind}", enrol(token, "gw-1"))).await;
        let status = if behind == "}" { "HTTP/1.1 200 OK\r\n" } else { "HTTP/1.1 403 Forbidden\r\n" };
        assert!(answer.starts_with(status), "{behind}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
    assert_eq!(connector.enrolled(), [GatewayId::unverified("gw-1")]);
    // What does not say how long its body is, or says it twice, is not read at all.
    let bearer = format!("Authorization: Bearer {IDENTITY}\r\n");
    let with = |fields: &str| format!("POST /relay/enroll HTTP/1.1\r\nHost: x\r\n{bearer}{fields}\r\n{{}}");
    for (fields, status) in [
        ("Transfer-Encoding: chunked\r\n", 411),
        ("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", 411),
        ("Content-Length: 2\r\nContent-Length: 2\r\n", 400),
        ("Content-Length: 2, 2\r\n", 400),
        ("Content-Length: +2\r\n", 400),
        ("Content-Length: 0x2\r\n", 400),
        ("Content-Length: \r\n", 400),
        ("Content-Length : 2\r\n", 400),
        ("Content-Length: 99999999999999999999999\r\n", 413),
    ] {
        let answer = ask(connector.address(), &with(fields)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{fields}: {answer}");
    }
}

// proves: CONN-6, ENROLL-5
#[tokio::test]
async fn a_policy_is_not_taken_from_a_revoked_gateway() {
    let secret = "a secret of the host's";
    let (connector, _events) = serve(connector::Config::new().gateway("gw-1", secret)).await;
    let token = mint("gw-1", &Secret::new(secret), 0, 0);
    let fields = format!("Authorization: Bearer {}\r\n", token.as_str());
    let tell = post("/relay/policy", &fields, r#"{"platform":"discord"}"#);
    assert!(ask(connector.address(), &tell).await.starts_with("HTTP/1.1 200 "));
    connector.gateway("gw-1").revoke();
    assert!(ask(connector.address(), &tell).await.starts_with("HTTP/1.1 401 "));
    assert!(connector.gateway("gw-1").policies().is_empty());
}

// proves: CONN-10
#[tokio::test]
async fn a_web_page_tells_an_open_connector_no_policy() {
    let (connector, _events) = serve(connector::Config::new()).await;
    let body = r#"{"platform":"discord"}"#;
    for origin in ["https://page.example", "null", &format!("http://{}", connector.address())] {
        let page = post("/relay/policy", &format!("Origin: {origin}\r\n"), body);
        let answer = ask(connector.address(), &page).await;
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n") && answer.contains("web pages"), "{answer}");
    }
    assert!(connector.gateway("default").policies().is_empty());
    assert!(ask(connector.address(), &post("/relay/policy", "", body)).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(connector.gateway("default").policies().len(), 1);
}

// proves: ENROLL-5
#[tokio::test]
async fn a_request_may_come_in_pieces_and_wait_to_be_told() {
    let (connector, _events) = serve(connector::Config::new().enrolment(enrolling())).await;
    let body = r#"{"enrollmentToken":"token-1-of-sixteen","gatewayId":"gw-1"}"#;
    let fields = format!("Authorization: bearer {IDENTITY}\r\nExpect: 100-continue\r\n");
    let request = post("/relay/enroll", &fields, body);
    let (head, body) = request.split_at(request.len() - body.len());
    let mut stream = TcpStream::connect(connector.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in head.bytes() {
        stream.write_all(&[byte]).await.unwrap();
    }
    let expected = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut told = vec![0; expected.len()];
    guard("100", stream.read_exact(&mut told)).await.unwrap();
    assert_eq!(told, expected);
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    guard("the answer", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains(r#""gatewayId":"gw-1""#));
}

// proves: ENROLL-5
#[tokio::test]
async fn requests_that_never_end_hold_up_nobody() {
    let (connector, _events) = serve(connector::Config::new().enrolment(enrolling()).unlinked(4)).await;
    let mut slow = Vec::new();
    for start in ["P", "POST /relay/", "POST /relay/enroll HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"] {
        let mut stream = TcpStream::connect(connector.address()).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    enroll(&connector, TOKEN, "gw-1").await.unwrap();
    guard("the shutdown", connector.shutdown()).await;
    for mut stream in slow {
        let mut rest = Vec::new();
        let _ = guard("its end", stream.read_to_end(&mut rest)).await;
        assert!(rest.is_empty(), "{rest:?}");
    }
}

// proves: ENROLL-5
#[tokio::test]
async fn a_request_that_does_not_come_in_time_is_told_so() {
    let begun = "POST /relay/enroll HTTP/1.1\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    // On a slow machine the time may be over before the connector has read that. Then it has more.
    for milliseconds in (0..).map(|n| 100 << n) {
        let config = connector::Config::new().enrolment(enrolling());
        let config = config.request_timeout(Duration::from_millis(milliseconds));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (connector, _events) = connector::serve(listener, config).unwrap();
        let answer = ask(connector.address(), begun).await;
        if let Some(answer) = answer.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n") {
            assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
            return;
        }
        assert_eq!(answer, "");
    }
}

#[tokio::test]
async fn who_does_not_listen_holds_up_no_shutdown() {
    let (told, _http) = mpsc::channel(1);
    let config = connector::Config::new().gateway("gw-1", "s3cret").http_events(told.clone());
    let (connector, _events) = serve(config).await;
    // The channel is full before anybody comes.
    told.try_send((GatewayId::unverified("x"), HttpEvent::Enrolled)).unwrap();
    let token = mint("gw-1", &Secret::new("s3cret"), 0, 0);
    let fields = format!("Authorization: Bearer {}\r\n", token.as_str());
    let request = post("/relay/policy", &fields, r#"{"platform":"discord"}"#);
    let mut stream = TcpStream::connect(connector.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    // Held before it is told.
    guard("the policy", async {
        while connector.gateway("gw-1").policies().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    guard("the shutdown", connector.shutdown()).await;
}

// proves: ENROLL-5
#[tokio::test]
async fn who_waits_to_be_heard_makes_room_and_loses_nothing() {
    let (told, mut http) = mpsc::channel(1);
    let config = connector::Config::new().gateway("old", "s3cret").enrolment(enrolling());
    let (connector, _events) = serve(config.unlinked(1).http_events(told.clone())).await;
    told.try_send((GatewayId::unverified("x"), HttpEvent::Enrolled)).unwrap();
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let token = mint("old", &Secret::new("s3cret"), 0, 0);
    let policy = post("/relay/policy", &bearer(token.as_str()), r#"{"platform":"discord"}"#);
    let enrol =
        post("/relay/enroll", &bearer(IDENTITY), &format!(r#"{{"enrollmentToken":"{TOKEN}","gatewayId":"gw-1"}}"#));
    let mut waiting = Vec::new();
    for request in [&policy, &enrol, &policy] {
        let mut stream = TcpStream::connect(connector.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        waiting.push(stream);
        guard("the policy", async {
            while connector.gateway("old").policies().is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    // Nobody hears of them, so that each has to go when the next one comes.
    let last = waiting.pop();
    for mut stream in waiting {
        let mut answer = Vec::new();
        let _ = guard("its end", stream.read_to_end(&mut answer)).await;
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    }
    drop(last);
    http.recv().await.unwrap();
    http.close();
    enroll(&connector, TOKEN, "gw-1").await.expect("the token was not redeemed for nobody");
}
