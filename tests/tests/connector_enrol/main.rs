//! A connector that enrols its gateways: over loopback, asked by the blocking client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod http;
mod races;
mod stores;

use std::sync::{Arc, Barrier};

use relay_blocking::enroll::{CallError, Client, EnrollError, Granted, Service};
use relay_connector::{
    self as connector, Connector, Credential, Enrolment, Events, GatewayId, HttpEvent, Policy, Store,
};
use relay_proto::client::Event;
use relay_proto::gateway::Config;
use relay_proto::proxy::Proxy;
use relay_proto::token::{Secret, mint};
use relay_proto::wire::rustls::ServerConfig;
use relay_proto::wire::rustls::crypto::ring;
use relay_proto::wire::rustls::pki_types::PrivateKeyDer;
use relay_proto::wire::{ClientTls, ClientTlsBuilder, Fingerprint};
use relay_tests::app::{patient, quick};
use relay_tests::guard;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const IDENTITY: &str = "identity-1";
const TOKEN: &str = "token-1-of-sixteen";

fn enrolling() -> Enrolment {
    Enrolment::new().token(&TOKEN.into()).token_for(&"token-2-of-sixteen".into(), "gw-2").identity(&IDENTITY.into())
}

async fn serve(config: connector::Config) -> (Connector, Events) {
    connector::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), patient(config)).unwrap()
}

async fn serve_with(config: connector::Config, store: impl Store) -> (Connector, Events) {
    connector::serve_with(TcpListener::bind("127.0.0.1:0").await.unwrap(), patient(config), store).unwrap()
}

/// Redeems a token, from a thread that may block.
async fn redeem(
    url: String,
    identity: &str,
    token: &str,
    id: &str,
    tls: Option<ClientTls>,
) -> Result<Granted, CallError> {
    let (identity, token, id) = (Credential::new(identity), Credential::new(token), id.to_owned());
    tokio::task::spawn_blocking(move || {
        let call = Service::parse(&url).unwrap().enroll(&identity, &token, &id)?;
        let client = Client::new().timeout(relay_tests::GUARD);
        tls.map_or(client.clone(), |tls| client.tls(tls)).run(call)
    })
    .await
    .unwrap()
}

async fn enroll(connector: &Connector, token: &str, id: &str) -> Result<Granted, CallError> {
    redeem(format!("http://{}", connector.address()), IDENTITY, token, id, None).await
}

fn secret(granted: &Granted) -> Secret {
    Secret::from(&granted.secret)
}

fn gateway(connector: &Connector, id: &str, secret: Secret) -> Config {
    let config = Config::new(format!("http://{}", connector.address())).identity("discord", "bot-1");
    config.timing(quick()).reconnect(false).credentials(id, secret)
}

/// How the first dial of a gateway ends: true if it is let in.
async fn links(connector: &Connector, id: &str, secret: Secret) -> bool {
    let (_gateway, mut events) = relay_tokio::connect(gateway(connector, id, secret)).unwrap();
    matches!(guard("the end of the dial", events.next()).await, Some(Event::Ready { .. }))
}

fn refusal(result: Result<Granted, CallError>) -> EnrollError {
    match result.unwrap_err() {
        CallError::Enroll(error) => error,
        other => panic!("{other}"),
    }
}

// proves: ENROLL-1, ENROLL-5, POLICY-1
#[tokio::test]
async fn what_is_granted_is_good_at_once() {
    let (told, mut http) = mpsc::channel(8);
    let (connector, mut events) =
        serve(connector::Config::new().enrolment(enrolling().tenant("org")).http_events(told)).await;
    let granted = enroll(&connector, TOKEN, "gw-1").await.unwrap();
    assert_eq!((granted.gateway_id.as_str(), granted.tenant.as_deref()), ("gw-1", Some("org")));
    assert!(granted.secret.expose().len() == 64 && granted.delivery_key.is_some());
    let gw = GatewayId::unverified("gw-1");
    assert_eq!(guard("the event", http.recv()).await, Some((gw.clone(), HttpEvent::Enrolled)));
    assert_eq!(connector.enrolled(), std::slice::from_ref(&gw));

    let (_gateway, mut own) = relay_tokio::connect(gateway(&connector, "gw-1", secret(&granted))).unwrap();
    assert!(matches!(guard("a link", own.next()).await, Some(Event::Ready { .. })));
    assert_eq!(guard("its hello", events.next()).await.unwrap().0, gw);

    // Its policy, with a token of its own.
    let mut policy = Policy::new("discord");
    policy.require_address = true;
    let (url, secret, sent) = (format!("http://{}", connector.address()), secret(&granted), policy.clone());
    let tell = move |secret: Secret, policy: Policy| {
        let token = mint("gw-1", &secret, 0, 0);
        let call = Service::parse(&url).unwrap().policy(&token, &policy).unwrap();
        tokio::task::spawn_blocking(move || Client::new().timeout(relay_tests::GUARD).run(call))
    };
    tell(secret.clone(), sent.clone()).await.unwrap().unwrap();
    assert_eq!(guard("the event", http.recv()).await, Some((gw.clone(), HttpEvent::Policy(policy.clone()))));
    let other = Policy::new("discord");
    tell(secret.clone(), other.clone()).await.unwrap().unwrap();
    assert_eq!(connector.gateway("gw-1").policies(), [other], "the last one counts");
    let refused = tell(Secret::new("wrong"), sent.clone()).await.unwrap().unwrap_err();
    assert!(matches!(refused, CallError::Enroll(EnrollError::Unauthorized { .. })), "{refused}");

    // And a revoked gateway has nothing left.
    assert!(connector.gateway("gw-1").revoke());
    let refused = tell(secret.clone(), sent).await.unwrap().unwrap_err();
    assert!(matches!(refused, CallError::Enroll(EnrollError::Unauthorized { .. })), "{refused}");
    assert!(!links(&connector, "gw-1", secret).await && connector.enrolled().is_empty());
    assert!(connector.gateway("gw-1").policies().is_empty());
}

// proves: ENROLL-5
#[tokio::test]
async fn a_token_is_redeemed_once_also_by_two_at_once() {
    let (connector, _events) = serve(connector::Config::new().enrolment(enrolling())).await;
    let start = Arc::new(Barrier::new(8));
    let url = format!("http://{}", connector.address());
    let racing: Vec<_> = (0..8)
        .map(|n| {
            let (start, url) = (start.clone(), url.clone());
            tokio::task::spawn_blocking(move || {
                let service = Service::parse(&url).unwrap();
                let call = service.enroll(&IDENTITY.into(), &TOKEN.into(), &format!("gw-{n}")).unwrap();
                start.wait();
                Client::new().timeout(relay_tests::GUARD).run(call)
            })
        })
        .collect();
    let mut granted = Vec::new();
    for one in racing {
        match one.await.unwrap() {
            Ok(won) => granted.push(won),
            Err(lost) => assert!(matches!(lost, CallError::Enroll(EnrollError::Forbidden { .. })), "{lost}"),
        }
    }
    assert_eq!(granted.len(), 1);
    assert!(links(&connector, &granted[0].gateway_id, secret(&granted[0])).await);
}

// proves: ENROLL-3, ENROLL-5
#[tokio::test]
async fn who_may_not_enrol_is_told_why() {
    let config = connector::Config::new().gateway("fixed", "s3cret").enrolment(enrolling());
    let (connector, _events) = serve(config).await;
    let url = format!("http://{}", connector.address());
    let stranger = refusal(redeem(url, "stranger", TOKEN, "gw-1", None).await);
    assert!(matches!(stranger, EnrollError::Unauthorized { .. }), "{stranger}");
    for (token, id) in [("made-up", "gw-1"), ("token-2-of-sixteen", "gw-1"), (TOKEN, "fixed")] {
        let refused = refusal(enroll(&connector, token, id).await);
        assert!(matches!(refused, EnrollError::Forbidden { .. }), "{token} {id}: {refused}");
    }
    enroll(&connector, "token-2-of-sixteen", "gw-2").await.unwrap();
    let taken = refusal(enroll(&connector, TOKEN, "gw-2").await);
    assert!(matches!(taken, EnrollError::Forbidden { .. }), "nobody takes another's place: {taken}");
    enroll(&connector, TOKEN, "gw-1").await.unwrap();

    let (nobody, _events) = serve(connector::Config::new().gateway("fixed", "s3cret")).await;
    let closed = refusal(enroll(&nobody, TOKEN, "gw-1").await);
    assert!(matches!(closed, EnrollError::Refused { status: 404, .. }), "{closed}");
}

// proves: ENROLL-2, DIAL-6
#[tokio::test]
async fn a_proxy_elsewhere_is_not_even_looked_up_for_credentials_in_plaintext() {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let call = |proxy: String| {
        let service = Service::parse("http://127.0.0.1:9").unwrap();
        let client = Client::new().timeout(relay_tests::GUARD).proxy(Proxy::parse(&proxy).unwrap());
        let call = service.enroll(&IDENTITY.into(), &TOKEN.into(), "gw-1").unwrap();
        tokio::task::spawn_blocking(move || client.run(call))
    };
    // A name that nobody has.
    let refused = refusal(call("http://proxy.invalid:3128".into()).await.unwrap());
    assert_eq!(refused, EnrollError::PlaintextCredentials { host: "proxy.invalid".into() });
    // One on this machine is asked.
    let asked = call(format!("http://{}", proxy.local_addr().unwrap()));
    let (mut stream, _) = guard("the call", proxy.accept()).await.unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(guard("the request", stream.read_u8()).await.unwrap());
    }
    assert!(request.starts_with(b"CONNECT 127.0.0.1:9 HTTP/1.1\r\n"), "{}", request.escape_ascii());
    stream.write_all(b"HTTP/1.1 403 No\r\n\r\n").await.unwrap();
    assert_eq!(asked.await.unwrap().unwrap_err(), CallError::Proxy { status: Some(403) });
}

/// A redirect of a proxy is none of the connector's: it says where else there is a tunnel, if it says anything.
// proves: ENROLL-4, DIAL-6
#[tokio::test]
async fn a_proxy_that_redirects_is_not_followed() {
    let (connector, _events) = serve(connector::Config::new().enrolment(enrolling())).await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = Service::parse(&format!("http://{}", connector.address())).unwrap();
    let client = Client::new().timeout(relay_tests::GUARD);
    let client = client.proxy(Proxy::parse(&format!("http://{}", proxy.local_addr().unwrap())).unwrap());
    let call = service.enroll(&IDENTITY.into(), &TOKEN.into(), "gw-1").unwrap();
    let asked = tokio::task::spawn_blocking(move || client.run(call));
    let (mut stream, _) = guard("the call", proxy.accept()).await.unwrap();
    let elsewhere = format!("http://{}/relay/enroll", connector.address());
    let answer = format!("HTTP/1.1 302 Found\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
    let failed = guard("the end of the call", asked).await.unwrap().unwrap_err();
    assert_eq!(failed, CallError::Proxy { status: Some(302) });
    assert!(!failed.may_have_granted() && connector.enrolled().is_empty());
    let mut request = Vec::new();
    let _ = guard("all that the proxy was told", stream.read_to_end(&mut request)).await;
    let request = String::from_utf8(request).unwrap();
    assert!(request.starts_with("CONNECT ") && !request.contains(TOKEN) && !request.contains(IDENTITY), "{request}");
}

// proves: ENROLL-5
#[tokio::test]
async fn over_tls_everything_is_the_same() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".into()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let (connector, _events) = serve(connector::Config::new().enrolment(enrolling()).tls(Arc::new(server))).await;
    let url = format!("https://{}", connector.address());
    let untrusted = ClientTlsBuilder::new().without_platform_roots().pin("127.0.0.1", Fingerprint::from_bytes([0; 32]));
    let failed = redeem(url.clone(), IDENTITY, TOKEN, "gw-1", Some(untrusted.build().unwrap())).await.unwrap_err();
    assert!(matches!(failed, CallError::Tls { .. }) && !failed.may_have_granted(), "{failed}");

    let tls = ClientTlsBuilder::new().roots(made.cert.pem()).build().unwrap();
    let granted = redeem(url.clone(), IDENTITY, TOKEN, "gw-1", Some(tls.clone())).await.unwrap();
    let config = Config::new(url).identity("discord", "bot-1").timing(quick()).credentials("gw-1", secret(&granted));
    let (_gateway, mut events) = relay_tokio::connect_with_tls(config, Some(tls)).unwrap();
    assert!(matches!(guard("a link", events.next()).await, Some(Event::Ready { .. })));
}
