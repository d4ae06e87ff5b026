use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use proptest::prelude::*;

use super::server::{self, BadRequest, Enrollment, RequestReader, read_policy};
use super::*;
use crate::token::{self, Secret};

const IDENTITY: &str = "ident1ty";
const TOKEN: &str = "one-t1me";

fn service(url: &str) -> Service {
    Service::parse(url).unwrap()
}

fn enroll(url: &str) -> Result<Call<Granted>, EnrollError> {
    service(url).enroll(&IDENTITY.into(), &TOKEN.into(), "gw-1")
}

fn call() -> Call<Granted> {
    enroll("https://c.example").unwrap()
}

fn answer(status: u16, fields: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{fields}\r\n{body}", body.len())
}

/// What becomes of a call that is answered with these bytes, after which the connection ends.
fn read<T: Answer>(call: Call<T>, bytes: &[u8]) -> Result<Step<T>, EnrollError> {
    let mut reader = AnswerReader::default();
    reader.read(bytes)?;
    call.read(reader.finish()?)
}

fn granted(bytes: &str) -> Result<Granted, EnrollError> {
    match read(call(), bytes.as_bytes())? {
        Step::Done(granted) => Ok(granted),
        Step::Again(again) => panic!("again: {again:?}"),
    }
}

fn error(bytes: &str) -> EnrollError {
    granted(bytes).unwrap_err()
}

// proves: ENROLL-1
#[test]
fn the_address_is_that_of_the_link() {
    for (url, expected) in [
        ("https://c.example", "https://c.example/relay/enroll"),
        ("wss://c.example/relay", "https://c.example/relay/enroll"),
        ("wss://c.example/relay/", "https://c.example/relay/enroll"),
        ("ws://127.0.0.1:8765/base/relay", "http://127.0.0.1:8765/base/relay/enroll"),
        ("https://[::1]:8443/base", "https://[::1]:8443/base/relay/enroll"),
        ("wss://c.example/relay?shard=1", "https://c.example/relay/enroll?shard=1"),
    ] {
        assert_eq!(enroll(url).unwrap().url(), expected, "{url}");
    }
}

// proves: ENROLL-1
#[test]
fn the_request_holds_both_tokens_and_the_id() {
    let request = call().request();
    let (head, body) = str::from_utf8(&request).unwrap().split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    assert_eq!(lines.next(), Some("POST /relay/enroll HTTP/1.1"));
    let lines: Vec<&str> = lines.collect();
    for line in ["Host: c.example", "Authorization: Bearer ident1ty", "Content-Type: application/json"] {
        assert!(lines.contains(&line), "{line}: {head}");
    }
    assert!(lines.contains(&format!("Content-Length: {}", body.len()).as_str()));
    assert_eq!(body, r#"{"enrollmentToken":"one-t1me","gatewayId":"gw-1"}"#);
}

// proves: ENROLL-6
#[test]
fn provisioning_asserts_what_the_gateway_is() {
    let body = |provision: &Provision| {
        let call = service("https://c.example").provision(&IDENTITY.into(), provision).unwrap();
        assert_eq!(call.url(), "https://c.example/relay/provision");
        let request = call.request();
        str::from_utf8(&request).unwrap().split_once("\r\n\r\n").unwrap().1.to_string()
    };
    let mut provision = Provision::new("gw-1", "discord", "b1");
    let least = r#"{"gatewayId":"gw-1","platform":"discord","botId":"b1","gatewayEndpoint":"","routeKeys":[]}"#;
    assert_eq!(json(&body(&provision)), json(least), "what is absent is not asserted");
    provision.route_keys = alloc::vec!["s1".into()];
    (provision.instance_id, provision.wake_url) = (Some("i1".into()), Some("https://w".into()));
    let most = r#"{"gatewayId":"gw-1","platform":"discord","botId":"b1","gatewayEndpoint":"","routeKeys":["s1"],
        "instanceId":"i1","wakeUrl":"https://w"}"#;
    assert_eq!(json(&body(&provision)), json(most));
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

// proves: POLICY-1
#[test]
fn a_policy_is_sent_with_a_token_of_the_gateway() {
    let token = token::mint("gw-1", &Secret::new("s3cret"), 300, 1_800_000_000);
    let mut policy = Policy::new("discord");
    policy.require_address = true;
    policy.free_response_scopes = alloc::vec!["c1".into(), "c\"2".into()];
    let call = service("https://c.example").policy(&token, &policy).unwrap();
    assert_eq!(call.url(), "https://c.example/relay/policy");
    let request = call.request();
    let (head, body) = str::from_utf8(&request).unwrap().split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Authorization: Bearer {}\r\n", token.as_str())));
    let expected =
        r#"{"platform":"discord","requireAddress":true,"freeResponseScopes":["c1","c\"2"],"allowOtherBots":false}"#;
    assert_eq!(json(body), json(expected));
    assert_eq!(read_policy(body.as_bytes()).unwrap(), policy, "a connector reads what a gateway sends");
    assert!(matches!(read(call, answer(200, "", "{}").as_bytes()), Ok(Step::Done(()))));
}

// proves: ENROLL-2
#[test]
fn credentials_go_in_plaintext_to_this_machine_alone() {
    for url in ["http://c.example", "ws://10.0.0.5:80/relay", "http://localhost.example"] {
        let refused = enroll(url).unwrap_err();
        assert!(matches!(refused, EnrollError::PlaintextCredentials { .. }), "{url}: {refused}");
        let allowed = service(url).allow_plaintext_credentials(true).enroll(&IDENTITY.into(), &TOKEN.into(), "gw-1");
        assert!(allowed.is_ok_and(|call| !call.is_tls()), "{url}");
    }
    for url in ["http://127.0.0.1", "ws://[::1]:80", "http://localhost:8765", "https://c.example"] {
        enroll(url).unwrap();
    }
}

// proves: ENROLL-2
#[cfg(feature = "wire")]
#[test]
fn a_proxy_elsewhere_sees_no_credentials_in_plaintext() {
    let proxy = |host: &str| crate::proxy::Proxy::parse(&format!("http://user:pass@{host}:3128")).unwrap();
    // What is loopback for the connector's address is the proxy's own.
    for url in ["http://127.0.0.1:9", "ws://[::1]", "http://localhost"] {
        for elsewhere in ["192.0.2.2", "[2001:db8::1]", "proxy.example", "localhost.example"] {
            let proxy = proxy(elsewhere);
            let refused = enroll(url).unwrap().tunnel_request(&proxy).unwrap_err();
            assert_eq!(refused, EnrollError::PlaintextCredentials { host: proxy.host().into() }, "{url} {elsewhere}");
            let allowed =
                service(url).allow_plaintext_credentials(true).enroll(&IDENTITY.into(), &TOKEN.into(), "gw-1");
            assert!(allowed.unwrap().tunnel_request(&proxy).is_ok(), "{url} {elsewhere}");
        }
        for here in ["127.0.0.1", "[::1]", "localhost"] {
            enroll(url).unwrap().tunnel_request(&proxy(here)).unwrap();
        }
    }
    // With TLS it sees where it leads, and nothing else. The same holds after a redirect.
    let request = call().tunnel_request(&proxy("proxy.example")).unwrap();
    assert!(request.starts_with("CONNECT c.example:443 HTTP/1.1\r\n"), "{}", request.as_str());
    let moved = read(enroll("http://localhost").unwrap(), answer(308, "Location: /elsewhere\r\n", "").as_bytes());
    let Ok(Step::Again(moved)) = moved else { panic!("{moved:?}") };
    assert!(moved.tunnel_request(&proxy("proxy.example")).is_err());
}

// proves: ENROLL-2
#[test]
fn what_cannot_be_sent_is_not_sent() {
    let service = service("https://c.example");
    let long = "x".repeat(9000);
    for identity in ["", "  ", "two words", "a\r\nX: y", "ä", long.as_str()] {
        let refused = service.enroll(&identity.into(), &TOKEN.into(), "gw-1").unwrap_err();
        assert_eq!(refused, EnrollError::UnsendableIdentity, "{identity:?}");
    }
    for token in ["", " \n", "a\0b", long.as_str()] {
        let refused = service.enroll(&IDENTITY.into(), &token.into(), "gw-1").unwrap_err();
        assert_eq!(refused, EnrollError::UnsendableToken, "{token:?}");
    }
    for id in ["", " gw", "a\nb", long.as_str()] {
        let refused = service.enroll(&IDENTITY.into(), &TOKEN.into(), id).unwrap_err();
        assert_eq!(refused, EnrollError::BadGatewayId, "{id:?}");
    }
}

// proves: ENROLL-1
#[test]
fn what_is_granted_is_read() {
    let full = granted(&answer(
        200,
        "",
        r#"{"secret":"s3cret","deliveryKey":"k3y","tenant":"org 1","gatewayId":"gw-1","later":[1]}"#,
    ))
    .unwrap();
    assert_eq!((full.gateway_id.as_str(), full.secret.expose()), ("gw-1", "s3cret"));
    assert_eq!(full.delivery_key.as_ref().map(Credential::expose), Some("k3y"));
    assert_eq!(full.tenant.as_deref(), Some("org 1"));
    let least = granted(&answer(201, "", r#"{"secret":"s3cret","deliveryKey":null,"gatewayId":""}"#)).unwrap();
    assert_eq!((least.gateway_id.as_str(), least.delivery_key, least.tenant), ("gw-1", None, None));
    assert_eq!(granted(&answer(200, "", &full.to_json())).unwrap(), full, "as a connector writes it");
}

// proves: ENROLL-3
#[test]
fn every_refusal_has_its_type_and_the_connectors_words() {
    let body = r#"{"error":"no \u001b[31mway\n"}"#;
    let detail = || "no  [31mway".to_string();
    assert_eq!(error(&answer(400, "", body)), EnrollError::BadRequest { detail: detail() });
    assert_eq!(error(&answer(401, "", body)), EnrollError::Unauthorized { detail: detail() });
    assert_eq!(error(&answer(403, "", body)), EnrollError::Forbidden { detail: detail() });
    assert_eq!(
        error(&answer(500, "", body)),
        EnrollError::Refused { status: 500, detail: detail(), retry_after: None }
    );
    let none = EnrollError::Refused { status: 404, detail: String::new(), retry_after: None };
    assert_eq!(error(&answer(404, "", "<html>")), none);
    assert_eq!(error(&answer(404, "", &"x".repeat(MAX_ANSWER + 1))), none, "the status counts, and not the page");
    assert_eq!(error("HTTP/1.1 404 X\r\nContent-Length: 99\r\n\r\ncut"), none);
    assert!(!none.may_have_granted());
    let long = error(&answer(403, "", &format!(r#"{{"error":"{}"}}"#, "x".repeat(5000))));
    assert!(long.to_string().len() < 400, "{long}");
}

// proves: ENROLL-3
#[test]
fn an_answer_says_when_to_try_again() {
    let wait = |status, fields: &str| error(&answer(status, fields, "")).retry_after().map(|wait| wait.as_secs());
    assert_eq!(wait(503, "Retry-After: 120\r\n"), Some(120));
    assert_eq!(wait(429, "retry-after:  0 \r\n"), Some(0));
    assert_eq!(wait(503, "Retry-After: 99999999999999999999999\r\n"), Some(u64::MAX));
    for none in
        ["", "Retry-After: \r\n", "Retry-After: -1\r\n", "Retry-After: 1.5\r\n", "Retry-After: 1\r\nRetry-After: 2\r\n"]
    {
        assert_eq!(wait(503, none), None, "{none}");
    }
    assert_eq!([400, 401, 403, 408, 500, 502].map(|status| wait(status, "Retry-After: 5\r\n")), [None; 6]);
    let error = error(&answer(503, "Retry-After: 120\r\n", r#"{"error":"busy"}"#));
    assert_eq!(error.to_string(), "the connector answered with HTTP 503; it says: busy; try again in 120 s");
}

// proves: TOKEN-3
#[test]
fn a_connector_that_repeats_a_token_does_not_make_us_show_it() {
    for status in [400, 401, 403, 500] {
        let error = error(&answer(status, "", &format!(r#"{{"error":"bad {TOKEN} of {IDENTITY}"}}"#)));
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("bad *** of ***") && !shown.contains(TOKEN) && !shown.contains(IDENTITY), "{shown}");
    }
}

// proves: TOKEN-3
#[test]
fn a_short_token_spoils_no_words() {
    let said = r#"{"error":"me: some token was redeemed by 'me' (Bearer me)"}"#;
    let call = Service::parse("https://c").unwrap().enroll(&"me".into(), &"t".into(), "gw-1").unwrap();
    let mut reader = AnswerReader::default();
    reader.read(answer(403, "", said).as_bytes()).unwrap();
    let detail = "***: some token was redeemed by '***' (Bearer ***)".into();
    assert_eq!(call.read(reader.finish().unwrap()).unwrap_err(), EnrollError::Forbidden { detail });
}

// proves: ENROLL-3
#[test]
fn who_failed_may_have_granted() {
    let may = |status| EnrollError::Refused { status, detail: String::new(), retry_after: None }.may_have_granted();
    assert_eq!(
        [404, 429, 499, 500, 502, 503, 504, 599, 600].map(may),
        [false, false, false, true, true, false, true, true, false]
    );
}

// proves: ENROLL-3
#[test]
fn what_is_no_http_is_not_waited_for() {
    for (bytes, word) in
        [(&b"\x15\x03\x03\0\x02\x02\x28"[..], "https://"), (b"SSH-2.0", "not HTTP/1"), (b"\n", "not HTTP/1")]
    {
        for size in [1, 100] {
            let mut reader = AnswerReader::default();
            let error = bytes.chunks(size).find_map(|piece| reader.read(piece).err()).unwrap();
            assert!(matches!(error, EnrollError::NotHttp { detail } if detail.contains(word)), "{error}");
        }
    }
}

// proves: TOKEN-3
#[test]
fn no_debug_shows_a_credential() {
    let call = call();
    let mut reader = AnswerReader::default();
    reader.read(answer(200, "", r#"{"secret":"s3cret","deliveryKey":"s3cret2"}"#).as_bytes()).unwrap();
    let before = format!("{reader:?} {call:?} {:?}", Credential::new("s3cret"));
    let reply = reader.finish().unwrap().clone();
    let step = call.read(&reply).unwrap();
    let mut request = RequestReader::default();
    let asked = request.read(&super::tests::call().request()).unwrap().unwrap();
    let body = Enrollment::read(asked.body()).unwrap();
    let shown = format!("{before} {reply:?} {step:?} {request:?} {asked:?} {body:?}");
    for secret in ["s3cret", TOKEN, IDENTITY] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

// proves: ENROLL-3
#[test]
fn an_answer_that_is_none_has_its_type() {
    let too_long = EnrollError::TooLong { limit: MAX_ANSWER };
    let secret = |secret: &str| answer(200, "", &format!(r#"{{"secret":{secret}}}"#));
    for (bytes, expected) in [
        (answer(200, "", "<html>"), EnrollError::NotJson),
        (answer(200, "", "[]"), EnrollError::NotJson),
        (answer(200, "", ""), EnrollError::NotJson),
        (answer(204, "", ""), EnrollError::NotJson),
        (answer(200, "", "{}"), EnrollError::NoSecret),
        (secret("null"), EnrollError::NoSecret),
        (secret("7"), EnrollError::NoSecret),
        (secret(r#""""#), EnrollError::NoSecret),
        (secret(r#"" \n ""#), EnrollError::NoSecret),
        (secret(r#""a\nb""#), EnrollError::UnusableSecret),
        (secret(&format!("\"{}\"", "x".repeat(9000))), EnrollError::UnusableSecret),
        (answer(200, "", r#"{"secret":"s","deliveryKey":"a\u0000"}"#), EnrollError::UnusableSecret),
        (answer(200, "", &" ".repeat(MAX_ANSWER + 1)), too_long.clone()),
        (format!("HTTP/1.1 200 X\r\n\r\n{}", " ".repeat(MAX_ANSWER + 1)), too_long.clone()),
        (format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n", usize::MAX), too_long),
        (answer(200, "", r#"{"secret":"s","gatewayId":"gw-2"}"#), EnrollError::OtherGateway { gateway: "gw-2".into() }),
    ] {
        let error = error(&bytes);
        assert_eq!(error, expected);
        assert!(error.may_have_granted(), "{error}");
    }
    for bytes in [
        "",
        "SSH-2.0-x\r\n\r\n",
        "HTTP/1.1 200",
        "HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n{}",
        "HTTP/1.1 200 X\r\nContent-Length: +2\r\n\r\n{}",
        "HTTP/1.1 200 X\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "HTTP/1.1 101 X\r\n\r\n",
        "HTTP/1.1 200 X\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}",
        "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}}\r\n0\r\n\r\n",
        "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    ] {
        assert!(matches!(error(bytes), EnrollError::NotHttp { .. }), "{bytes:?}: {}", error(bytes));
    }
    assert!(matches!(error(&"x".repeat(20_000)), EnrollError::NotHttp { .. }));
}

// proves: ENROLL-4
#[test]
fn a_redirect_is_followed_within_the_origin() {
    for (location, path) in [
        ("/moved/enroll?a=b", "/moved/enroll?a=b"),
        ("https://c.example/elsewhere", "/elsewhere"),
        ("HTTPS://C.EXAMPLE:443/x#part", "/x"),
        ("https://c.example", "/"),
    ] {
        for status in [307, 308] {
            let reply = answer(status, &format!("Location: {location}\r\n"), "");
            let Step::Again(again) = read(call(), reply.as_bytes()).unwrap() else { panic!("{location}") };
            let request = again.request();
            let request = str::from_utf8(&request).unwrap();
            assert!(request.starts_with(&format!("POST {path} HTTP/1.1\r\nHost: c.example\r\n")), "{request}");
            assert!(request.contains(IDENTITY) && request.ends_with(r#""gatewayId":"gw-1"}"#), "{request}");
        }
    }
}

// proves: ENROLL-3
#[test]
fn an_answer_that_is_compressed_is_an_error_that_says_so() {
    let read = |status, field: &str| {
        let mut reader = AnswerReader::default();
        let read = reader.read(answer(status, field, "{\"secret\":\"s\"}").as_bytes());
        read.map(|done| (done, reader.finish().map(Reply::status)))
    };
    for coding in ["gzip", "br, identity", "x"] {
        let error = read(200, &format!("Content-Encoding: {coding}\r\n")).unwrap_err();
        assert!(error.to_string().contains("Content-Encoding"), "{error}");
        assert!(error.may_have_granted());
        assert_eq!(read(403, &format!("Content-Encoding: {coding}\r\n")).unwrap().1, Ok(403), "the status counts");
    }
    for coding in ["identity", "IDENTITY", ""] {
        assert_eq!(read(200, &format!("content-encoding: {coding}\r\n")), Ok((true, Ok(200))), "{coding}");
    }
}

// proves: ENROLL-4
#[test]
fn no_redirect_leads_to_another_origin() {
    for (status, location) in [
        (307, "https://evil.example/relay/enroll"),
        (308, "https://c.example.evil.example/"),
        (307, "http://c.example/relay/enroll"),
        (307, "http://c.example:443/relay/enroll"),
        (307, "https://c.example:8443/relay/enroll"),
        (307, "https://c.example@evil.example/"),
        (307, "//evil.example/relay/enroll"),
        (307, "https://[::1/"),
        (307, "ftp://c.example/"),
        (307, "enroll"),
        (307, ""),
        (301, "/moved"),
        (302, "https://c.example/moved"),
        (303, "/moved"),
        (304, "/moved"),
    ] {
        let error = error(&answer(status, &format!("Location: {location}\r\n"), ""));
        assert!(
            matches!(&error, EnrollError::RedirectedAway { status: s, .. } if *s == status),
            "{status} {location}: {error}"
        );
        assert!(!error.may_have_granted());
    }
    let error = error(&answer(307, "", ""));
    assert!(matches!(error, EnrollError::RedirectedAway { .. }), "{error}");
    let shown = self::error(&answer(307, "Location: https://evil.example/?steal\r\n", "")).to_string();
    assert!(shown.contains("https://evil.example:443") && !shown.contains("steal"), "{shown}");
}

// proves: ENROLL-4
#[test]
fn redirects_end() {
    let reply = answer(307, "Location: /again\r\n", "");
    let mut next = call();
    for _ in 0..3 {
        let Step::Again(again) = read(next, reply.as_bytes()).unwrap() else { panic!() };
        next = again;
    }
    assert_eq!(read(next, reply.as_bytes()).unwrap_err(), EnrollError::TooManyRedirects);
}

const WHOLE: [&str; 4] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{\"secret\":\"s\",\"tenant\":\"t\"}",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\nConnection: close\n\n{\"secret\":\"s\",\"tenant\":\"t\"}",
    "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200\r\nTransfer-Encoding: CHUNKED\r\n\r\n\
     9;ext=1\r\n{\"secret\"\r\n12\r\n:\"s\",\"tenant\":\"t\"}\r\n000\r\nTrailer: x\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: 1\r\ncontent-length:  27 \r\n\r\n{\"secret\":\"s\",\"tenant\":\"t\"}and more",
];

// proves: ENROLL-3
#[test]
fn an_answer_reads_the_same_however_it_is_cut() {
    for whole in WHOLE {
        let expected = granted(whole).unwrap();
        assert_eq!((expected.secret.expose(), expected.tenant.as_deref()), ("s", Some("t")));
        for cut in 0..whole.len() {
            let (first, second) = whole.as_bytes().split_at(cut);
            let mut reader = AnswerReader::default();
            reader.read(first).unwrap();
            reader.read(second).unwrap();
            assert_eq!(reader.finish().unwrap().body().len(), 27, "{cut}: {whole}");
        }
        let mut reader = AnswerReader::default();
        let complete = whole.bytes().filter(|byte| reader.read(&[*byte]).unwrap()).count();
        assert_eq!(complete > 0, !whole.contains("close"), "it ends by itself unless the connection has to");
        assert!(matches!(call().read(reader.finish().unwrap()), Ok(Step::Done(granted)) if granted == expected));
    }
}

// ── the connector's half ─────────────────────────────────────────────────

fn status(bytes: &[u8]) -> u16 {
    RequestReader::default().read(bytes).unwrap_err().status
}

// proves: ENROLL-5
#[test]
fn a_connector_reads_what_a_gateway_sends_however_it_is_cut() {
    let sent = call().request();
    let check = |asked: server::Request| {
        assert_eq!((asked.path(), asked.bearer().unwrap().expose()), ("/relay/enroll", IDENTITY));
        let body = Enrollment::read(asked.body()).unwrap();
        assert_eq!((body.token.expose(), body.gateway_id.as_str()), (TOKEN, "gw-1"));
    };
    check(RequestReader::default().read(&sent).unwrap().unwrap());
    let mut reader = RequestReader::default();
    let mut read: Vec<server::Request> = sent.iter().filter_map(|byte| reader.read(&[*byte]).unwrap()).collect();
    assert_eq!(read.len(), 1);
    check(read.remove(0));
}

// proves: ENROLL-5
#[test]
fn a_request_that_cannot_be_served_has_its_status() {
    let with = |fields: &str| format!("POST /relay/enroll HTTP/1.1\r\n{fields}\r\n");
    assert_eq!(status(with("").as_bytes()), 411);
    assert_eq!(status(with("Transfer-Encoding: chunked\r\n").as_bytes()), 411);
    for length in ["x", "", "+1", "-1", "0x1", "1 1", "1, 1", "1\r\nContent-Length: 1"] {
        assert_eq!(status(with(&format!("Content-Length: {length}\r\n")).as_bytes()), 400, "{length}");
    }
    assert_eq!(status(with("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n").as_bytes()), 411);
    assert_eq!(status(with("Content-Length : 1\r\n").as_bytes()), 400);
    assert_eq!(status(with("Content-Length: 99999999999999999999999\r\n").as_bytes()), 413);
    assert_eq!(status(with(&format!("Content-Length: {}\r\n", server::MAX_REQUEST + 1)).as_bytes()), 413);
    assert_eq!(status(b"POST\r\n\r\n"), 400);
    assert_eq!(status(with(&"a: b\r\n".repeat(100)).as_bytes()), 400);
    assert_eq!(status(with(&format!("a: {}\r\n", "b".repeat(20_000))).as_bytes()), 431);
    for body in [
        "",
        "[]",
        "{}",
        r#"{"enrollmentToken":"t"}"#,
        r#"{"gatewayId":"gw"}"#,
        r#"{"enrollmentToken":7,"gatewayId":"gw"}"#,
        r#"{"enrollmentToken":" ","gatewayId":"gw"}"#,
        r#"{"enrollmentToken":"t","gatewayId":" gw"}"#,
        r#"{"enrollmentToken":"t","gatewayId":"a\nb"}"#,
    ] {
        assert_eq!(Enrollment::read(body.as_bytes()).unwrap_err().status, 400, "{body}");
    }
    let deep = format!(r#"{{"platform":"d","freeResponseScopes":{}}}"#, "[".repeat(5000));
    let many = format!(r#"{{"platform":"d","freeResponseScopes":[{}""]}}"#, r#""","#.repeat(5000));
    for body in [
        "{}",
        r#"{"platform":""}"#,
        r#"{"platform":"d","requireAddress":1}"#,
        r#"{"platform":"d","allowOtherBots":"yes"}"#,
        r#"{"platform":"d","freeResponseScopes":[1]}"#,
        deep.as_str(),
        many.as_str(),
    ] {
        assert_eq!(read_policy(body.as_bytes()).unwrap_err().status, 400, "{body}");
    }
    assert_eq!(read_policy(br#"{"platform":"d","later":{}}"#).unwrap(), Policy::new("d"));
}

// proves: ENROLL-5
#[test]
fn a_client_that_waits_to_be_told_is_told_once() {
    let head = b"POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let mut reader = RequestReader::default();
    assert_eq!(reader.read(head).unwrap(), None);
    assert!(reader.wants_to_continue() && !reader.wants_to_continue());
    assert_eq!(reader.read(b"{}").unwrap().unwrap().body(), b"{}");
    let mut reader = RequestReader::default();
    reader.read(&[head.as_slice(), b"{}"].concat()).unwrap().unwrap();
    assert!(!reader.wants_to_continue(), "the body came by itself");
    let mut reader = RequestReader::default();
    let old = String::from_utf8_lossy(head).replace("HTTP/1.1", "HTTP/1.0");
    assert_eq!(reader.read(old.as_bytes()).unwrap(), None);
    assert!(!reader.wants_to_continue(), "HTTP/1.0 knows no interim answers");
    assert_eq!(reader.read(b"{}").unwrap().unwrap().body(), b"{}");
}

// proves: ENROLL-5
#[test]
fn a_refusal_names_what_would_be_taken() {
    let field = |status| {
        let sent = server::response(status, "{}");
        str::from_utf8(&sent).unwrap().lines().nth(1).unwrap().to_owned()
    };
    assert_eq!((field(401), field(405)), ("WWW-Authenticate: Bearer".into(), "Allow: POST".into()));
    assert_eq!(field(200), "Content-Type: application/json");
}

// proves: ENROLL-3
#[test]
fn a_refusal_that_never_ends_is_one() {
    for fields in ["", "Content-Length: 99999999999999999999999\r\n", "Transfer-Encoding: chunked\r\n"] {
        for size in [1, 7, 100_000] {
            let mut reader = AnswerReader::default();
            assert!(!reader.is_refused());
            assert_eq!(reader.read(format!("HTTP/1.1 403 x\r\n{fields}\r\n").as_bytes()), Ok(false));
            assert!(reader.is_refused());
            let body =
                if fields.starts_with('T') { "ffffff\r\n".to_owned() } else { String::new() } + &" ".repeat(70_000);
            let complete = body.as_bytes().chunks(size).any(|piece| reader.read(piece).unwrap());
            assert!(complete, "nobody waits for the rest: {fields} {size}");
            let refused = call().read(reader.finish().unwrap()).unwrap_err();
            assert_eq!(refused, EnrollError::Forbidden { detail: String::new() });
        }
    }
    let mut reader = AnswerReader::default();
    reader.read(b"HTTP/1.1 200 OK\r\n\r\n{").unwrap();
    assert!(!reader.is_refused());
}

#[test]
fn what_a_connector_answers_is_read_by_a_gateway() {
    let refused = server::response(403, &server::refusal("no \"way\""));
    assert_eq!(error(str::from_utf8(&refused).unwrap()), EnrollError::Forbidden { detail: "no \"way\"".into() });
    let mut full = Granted::new("gw-1", "s3\"cret");
    full.tenant = Some("t".into());
    assert_eq!(granted(str::from_utf8(&server::response(200, &full.to_json())).unwrap()).unwrap(), full);
    assert_eq!(BadRequest { status: 400, detail: "x" }.to_string(), "x");
}

proptest! {
    // proves: ENROLL-3
    #[test]
    fn no_answer_panics_or_is_held_without_bound(
        noise in proptest::collection::vec(any::<u8>(), 0..200), head in "HTTP/1\\.[01] [0-9]{3}[ -~\r\n]{0,60}",
        cut in any::<prop::sample::Index>(), whole in 0..WHOLE.len(), flip in any::<u8>(),
    ) {
        let mut bent = WHOLE[whole].as_bytes().to_vec();
        let at = cut.index(bent.len());
        bent[at] = flip;
        for bytes in [noise.clone(), [head.as_bytes(), b"\r\n\r\n", &noise].concat(), bent] {
            let mut reader = AnswerReader::default();
            let mut asked = RequestReader::default();
            let _ = asked.read(&[b"POST / HTTP/1.1\r\n", bytes.as_slice()].concat());
            if reader.read(&bytes).is_ok() && let Ok(reply) = reader.finish() {
                prop_assert!(reply.body().len() <= MAX_ANSWER);
                let _ = call().read(reply);
            }
        }
    }
}
