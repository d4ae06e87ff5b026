//! A connector that enrols its gateways: over loopback, asked by the blocking client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use relay_blocking::enroll::{CallError, Client, EnrollError, Granted, Service};
use relay_proto::frame::RawJson;
use relay_proto::gateway::Config;
use relay_proto::host::Event;
use relay_proto::proxy::Proxy;
use relay_proto::token::{Secret, mint};
use relay_proto::wire::rustls::ServerConfig;
use relay_proto::wire::rustls::crypto::ring;
use relay_proto::wire::rustls::pki_types::PrivateKeyDer;
use relay_proto::wire::{ClientTls, ClientTlsBuilder, Fingerprint};
use relay_tests::app::quick;
use relay_tests::guard;
use relay_tokio::connector::{
    self, Backlog, Change, Connector, Credential, Disk, Enrolment, EntryId, Events, Fetch, GatewayId, Grant, HttpEvent,
    Policy, Store, StoreError, StoreProblem,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const IDENTITY: &str = "identity-1";
const TOKEN: &str = "token-1";

fn enrolling() -> Enrolment {
    Enrolment::new().token(&TOKEN.into()).token_for(&"token-2".into(), "gw-2").identity(&IDENTITY.into())
}

async fn serve(config: connector::Config) -> (Connector, Events) {
    connector::serve(TcpListener::bind("127.0.0.1:0").await.unwrap(), config).unwrap()
}

async fn serve_with(config: connector::Config, store: impl Store) -> (Connector, Events) {
    connector::serve_with(TcpListener::bind("127.0.0.1:0").await.unwrap(), config, store).unwrap()
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
    for (token, id) in [("made-up", "gw-1"), ("token-2", "gw-1"), (TOKEN, "fixed")] {
        let refused = refusal(enroll(&connector, token, id).await);
        assert!(matches!(refused, EnrollError::Forbidden { .. }), "{token} {id}: {refused}");
    }
    enroll(&connector, "token-2", "gw-2").await.unwrap();
    let taken = refusal(enroll(&connector, TOKEN, "gw-2").await);
    assert!(matches!(taken, EnrollError::Forbidden { .. }), "nobody takes another's place: {taken}");
    enroll(&connector, TOKEN, "gw-1").await.unwrap();

    let (nobody, _events) = serve(connector::Config::new().gateway("fixed", "s3cret")).await;
    let closed = refusal(enroll(&nobody, TOKEN, "gw-1").await);
    assert!(matches!(closed, EnrollError::Refused { status: 404, .. }), "{closed}");
}

/// What a raw request is answered with.
async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A refusal may come before all of it is read.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = guard("the answer", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(path: &str, fields: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n{fields}\r\n{body}", body.len())
}

// proves: ENROLL-5
#[tokio::test]
async fn a_request_that_makes_no_sense_has_its_status() {
    let (connector, _events) = serve(connector::Config::new().enrolment(enrolling())).await;
    let bearer = format!("Authorization: Bearer {IDENTITY}\r\n");
    let body = r#"{"enrollmentToken":"token-1","gatewayId":"gw-1"}"#;
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
        assert!(!answer.contains("token-1"), "{answer}");
    }
    assert!(ask(connector.address(), &post("/relay/enroll?x", &bearer, body)).await.starts_with("HTTP/1.1 200 OK\r\n"));
}

// proves: ENROLL-5
#[tokio::test]
async fn refusals_are_counted_by_address() {
    let config = connector::Config::new().enrolment(enrolling()).refusals(2, Duration::from_secs(3600));
    let (connector, _events) = serve(config).await;
    for _ in 0..2 {
        let refused = refusal(enroll(&connector, "guess", "gw-1").await);
        assert!(matches!(refused, EnrollError::Forbidden { .. }), "{refused}");
    }
    let limited = refusal(enroll(&connector, "guess", "gw-1").await);
    assert!(matches!(limited, EnrollError::Refused { status: 429, .. }), "{limited}");
    enroll(&connector, TOKEN, "gw-1").await.unwrap();
}

// proves: ENROLL-5
#[tokio::test]
async fn a_request_may_come_in_pieces_and_wait_to_be_told() {
    let (connector, _events) = serve(connector::Config::new().enrolment(enrolling())).await;
    let body = r#"{"enrollmentToken":"token-1","gatewayId":"gw-1"}"#;
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
    let (connector, _events) = serve(connector::Config::new().enrolment(enrolling())).await;
    // It waits for the connector's deadline.
    let answer = ask(connector.address(), "POST /relay/enroll HTTP/1.1\r\nContent-Length: 9\r\n\r\n{").await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
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

fn store(directory: &Path) -> Disk {
    Disk::open(directory.join("relay.store")).unwrap()
}

// proves: ENROLL-5, CONN-7
#[tokio::test]
async fn with_a_store_nothing_of_it_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let enrolling = || connector::Config::new().enrolment(enrolling());
    let (connector, _events) = serve_with(enrolling(), store(directory.path())).await;
    let granted = enroll(&connector, TOKEN, "gw-1").await.unwrap();
    guard("the shutdown", connector.shutdown()).await;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(directory.path().join("relay.store")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "it holds a secret");
    }

    // Also when nobody can enrol any more, and without it everybody would be let in.
    let (connector, _events) = serve_with(connector::Config::new(), store(directory.path())).await;
    assert!(connector.authenticates());
    assert_eq!(connector.enrolled(), [GatewayId::unverified("gw-1")]);
    assert!(links(&connector, "gw-1", secret(&granted)).await);
    assert!(!links(&connector, "gw-1", Secret::new("made-up")).await);
    guard("the shutdown", connector.shutdown()).await;

    let (connector, _events) = serve_with(enrolling(), store(directory.path())).await;
    let used = refusal(enroll(&connector, TOKEN, "gw-3").await);
    assert!(matches!(used, EnrollError::Forbidden { .. }), "{used}");
    let second = enroll(&connector, "token-2", "gw-2").await.unwrap();
    assert_eq!(second.delivery_key, granted.delivery_key, "one key for one tenant");
    connector.gateway("gw-1").revoke();
    connector.gateway("gw-1").take_back().unwrap();
    guard("the shutdown", connector.shutdown()).await;

    let (connector, _events) = serve_with(enrolling(), store(directory.path())).await;
    assert_eq!(connector.enrolled(), [GatewayId::unverified("gw-2")]);
    assert!(!links(&connector, "gw-1", secret(&granted)).await, "taken back for good");
    assert!(links(&connector, "gw-2", secret(&second)).await);
    let used = refusal(enroll(&connector, TOKEN, "gw-1").await);
    assert!(matches!(used, EnrollError::Forbidden { .. }), "its token is used up: {used}");
    guard("the shutdown", connector.shutdown()).await;
}

/// Holds nothing, and keeps grants while it is told to.
#[derive(Clone, Default)]
struct Fickle {
    works: Arc<AtomicBool>,
    grants: Arc<Mutex<Vec<Grant>>>,
}

impl Store for Fickle {
    fn backlogs(&self) -> Result<Vec<(GatewayId, Backlog)>, StoreError> {
        Ok(Vec::new())
    }

    fn commit(&self, _: &[Change]) -> Result<(), StoreError> {
        Ok(())
    }

    fn fetch(&self, _: &GatewayId, _: Fetch) -> Result<Vec<(EntryId, String)>, StoreError> {
        Ok(Vec::new())
    }

    fn grant(&self, grant: &Grant) -> Result<(), StoreError> {
        if !self.works.load(Ordering::SeqCst) {
            return Err(StoreError::new("here", StoreProblem::Full, ""));
        }
        self.grants.lock().unwrap().push(grant.clone());
        Ok(())
    }
}

/// Does not know what a grant is.
struct Old;

impl Store for Old {
    fn backlogs(&self) -> Result<Vec<(GatewayId, Backlog)>, StoreError> {
        Ok(Vec::new())
    }

    fn commit(&self, _: &[Change]) -> Result<(), StoreError> {
        Ok(())
    }

    fn fetch(&self, _: &GatewayId, _: Fetch) -> Result<Vec<(EntryId, String)>, StoreError> {
        Ok(Vec::new())
    }
}

// proves: ENROLL-5
#[tokio::test]
async fn a_grant_that_is_not_durable_is_not_made() {
    let fickle = Fickle::default();
    let (connector, _events) = serve_with(connector::Config::new().enrolment(enrolling()), fickle.clone()).await;
    let failed = refusal(enroll(&connector, TOKEN, "gw-1").await);
    assert!(matches!(failed, EnrollError::Refused { status: 503, .. }), "{failed}");
    assert!(connector.enrolled().is_empty() && !failed.may_have_granted());
    fickle.works.store(true, Ordering::SeqCst);
    let granted = enroll(&connector, TOKEN, "gw-1").await.unwrap();
    let kept = fickle.grants.lock().unwrap().pop().unwrap();
    assert_eq!((kept.gateway.as_str(), kept.secret.as_ref()), ("gw-1", Some(&granted.secret)));
    assert!(!kept.token.contains(TOKEN) && !format!("{kept:?}").contains(granted.secret.expose()), "{kept:?}");

    let (connector, _events) = serve_with(connector::Config::new().enrolment(enrolling()), Old).await;
    let failed = refusal(enroll(&connector, TOKEN, "gw-1").await);
    assert!(matches!(failed, EnrollError::Refused { status: 503, .. }), "{failed}");
}

/// A store on disk that holds up the next grant once: tells that it is there, and waits to be let go, with or without an
/// error. Without anybody at the gate it is open.
struct Gated {
    disk: Disk,
    gate: Arc<Mutex<Option<Gate>>>,
}

struct Gate {
    when: When,
    there: std::sync::mpsc::Sender<()>,
    go: std::sync::mpsc::Receiver<Result<(), StoreError>>,
}

/// When a grant is held up: before the disk has it, or after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Before,
    After,
}

/// Who lets a grant go that is held up.
struct Gatekeeper {
    there: std::sync::mpsc::Receiver<()>,
    go: std::sync::mpsc::Sender<Result<(), StoreError>>,
}

impl Gated {
    fn new(directory: &Path) -> (Self, Arc<Mutex<Option<Gate>>>) {
        let gate = Arc::default();
        (Self { disk: store(directory), gate: Arc::clone(&gate) }, gate)
    }
}

/// Holds up the next grant.
fn hold_up(gate: &Mutex<Option<Gate>>, when: When) -> Gatekeeper {
    let (tell, there) = std::sync::mpsc::channel();
    let (go, wait) = std::sync::mpsc::channel();
    *gate.lock().unwrap() = Some(Gate { when, there: tell, go: wait });
    Gatekeeper { there, go }
}

impl Gatekeeper {
    /// Until the grant is there.
    async fn wait(self) -> std::sync::mpsc::Sender<Result<(), StoreError>> {
        let Self { there, go } = self;
        let waiting = tokio::task::spawn_blocking(move || there.recv_timeout(relay_tests::GUARD));
        waiting.await.unwrap().expect("a grant that is held up");
        go
    }
}

impl Store for Gated {
    fn backlogs(&self) -> Result<Vec<(GatewayId, Backlog)>, StoreError> {
        self.disk.backlogs()
    }

    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.disk.commit(changes)
    }

    fn fetch(&self, gateway: &GatewayId, fetch: Fetch) -> Result<Vec<(EntryId, String)>, StoreError> {
        self.disk.fetch(gateway, fetch)
    }

    fn grants(&self) -> Result<Vec<Grant>, StoreError> {
        self.disk.grants()
    }

    fn grant(&self, grant: &Grant) -> Result<(), StoreError> {
        let Some(Gate { when, there, go }) = self.gate.lock().unwrap().take() else { return self.disk.grant(grant) };
        if when == When::After {
            self.disk.grant(grant)?;
        }
        let _ = there.send(());
        // A test that has failed does not let go.
        go.recv().unwrap_or(Ok(()))?;
        if when == When::Before { self.disk.grant(grant) } else { Ok(()) }
    }

    fn take_back(&self, gateway: &GatewayId) -> Result<(), StoreError> {
        self.disk.take_back(gateway)
    }
}

/// Three tokens for whoever comes, and three for one gateway.
fn several() -> connector::Config {
    let tokens = Enrolment::new().identity(&IDENTITY.into());
    let tokens = ["any-1", "any-2", "any-3"].iter().fold(tokens, |all, token| all.token(&(*token).into()));
    let own = ["own-1", "own-2", "own-3"];
    connector::Config::new().enrolment(own.iter().fold(tokens, |all, token| all.token_for(&(*token).into(), "own")))
}

fn is_forbidden(result: Result<Granted, CallError>) -> bool {
    let refused = refusal(result);
    assert!(matches!(refused, EnrollError::Forbidden { .. }), "{refused}");
    true
}

// proves: ENROLL-5
#[tokio::test]
async fn an_id_that_is_being_granted_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let (store, gate) = Gated::new(directory.path());
    let (connector, _events) = serve_with(several(), store).await;
    let held = hold_up(&gate, When::Before);
    let url = format!("http://{}", connector.address());
    let first = tokio::spawn(redeem(url.clone(), IDENTITY, "any-1", "gw-1", None));
    let go = held.wait().await;
    assert!(is_forbidden(guard("the second", enroll(&connector, "any-2", "gw-1")).await));
    assert!(connector.enrolled().is_empty(), "it is not good yet");
    // It is free again when nothing comes of it, and the token is as good as before.
    go.send(Err(StoreError::new("here", StoreProblem::Full, ""))).unwrap();
    let failed = refusal(first.await.unwrap());
    assert!(matches!(failed, EnrollError::Refused { status: 503, .. }), "{failed}");
    let held = hold_up(&gate, When::After);
    let first = tokio::spawn(redeem(url, IDENTITY, "any-2", "gw-1", None));
    let go = held.wait().await;
    assert!(is_forbidden(guard("the second", enroll(&connector, "any-1", "gw-1")).await));
    go.send(Ok(())).unwrap();
    let granted = first.await.unwrap().unwrap();
    assert!(links(&connector, "gw-1", secret(&granted)).await);
    enroll(&connector, "any-1", "gw-2").await.expect("it was not used up");
    guard("the shutdown", connector.shutdown()).await;
}

fn event(text: &str) -> RawJson {
    RawJson::parse(&format!(r#"{{"text":"{text}"}}"#)).unwrap()
}

// proves: ENROLL-5
#[tokio::test]
async fn nobody_inherits_an_id_with_a_past_without_a_token_for_it() {
    let directory = tempfile::tempdir().unwrap();
    // From here on nobody enrols it, and something waits for it.
    let fixed = connector::Config::new().gateway("old", "s3cret").gateway("own", "s3cret");
    let (connector, _events) = serve_with(fixed, store(directory.path())).await;
    for id in ["old", "own"] {
        connector.gateway(id).deliver(&event("private")).await.unwrap();
    }
    guard("the shutdown", connector.shutdown()).await;

    let (connector, _events) = serve_with(several(), store(directory.path())).await;
    enroll(&connector, "any-1", "gone").await.unwrap();
    connector.gateway("gone").take_back().unwrap();
    assert!(is_forbidden(enroll(&connector, "any-2", "gone").await), "also in the same run");
    guard("the shutdown", connector.shutdown()).await;

    let (connector, _events) = serve_with(several(), store(directory.path())).await;
    connector.gateway("busy").deliver(&event("for whom?")).await.unwrap();
    for id in ["old", "own", "gone", "busy"] {
        assert!(is_forbidden(enroll(&connector, "any-2", id).await), "{id}");
    }
    enroll(&connector, "any-2", "new").await.unwrap();
    // Who was meant gets what waited.
    let granted = enroll(&connector, "own-1", "own").await.unwrap();
    let (_gateway, mut own) = relay_tokio::connect(gateway(&connector, "own", secret(&granted))).unwrap();
    loop {
        if let Event::Message(message) = guard("the message", own.next()).await.unwrap() {
            assert_eq!(message.text(), "private");
            break message.ack();
        }
    }
    guard("the shutdown", connector.shutdown()).await;
}

// proves: ENROLL-5
#[tokio::test]
async fn an_id_that_a_token_is_meant_for_is_nobody_elses() {
    let (connector, _events) = serve(several()).await;
    assert!(is_forbidden(enroll(&connector, "any-1", "own").await));
    enroll(&connector, "own-1", "own").await.unwrap();
    enroll(&connector, "any-1", "gw-1").await.unwrap();
}

/// What the host does to a gateway while a grant to it is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Against {
    /// Until the end of the process.
    Revoked,
    /// For good, and a later grant is good.
    TakenBack,
    Both,
}

// proves: ENROLL-5, CONN-6
#[tokio::test]
async fn what_is_taken_back_while_it_is_granted_stays_taken_back() {
    for when in [When::Before, When::After] {
        for against in [Against::Revoked, Against::TakenBack, Against::Both] {
            let what = format!("{when:?} {against:?}");
            let directory = tempfile::tempdir().unwrap();
            let (store, gate) = Gated::new(directory.path());
            let (connector, _events) = serve_with(several(), store).await;
            let first = enroll(&connector, "own-1", "own").await.unwrap();
            let held = hold_up(&gate, when);
            let url = format!("http://{}", connector.address());
            let second = tokio::spawn(redeem(url, IDENTITY, "own-2", "own", None));
            let go = held.wait().await;
            let own = connector.gateway("own");
            if against != Against::TakenBack {
                own.revoke();
            }
            if against != Against::Revoked {
                tokio::task::spawn_blocking(move || own.take_back()).await.unwrap().unwrap();
            }
            let third = enroll(&connector, "own-3", "own").await;
            go.send(Ok(())).unwrap();
            assert!(is_forbidden(second.await.unwrap()), "{what}");
            let enrolled = if third.is_ok() { vec![GatewayId::unverified("own")] } else { vec![] };
            assert_eq!(connector.enrolled(), enrolled, "{what}");
            guard("the shutdown", connector.shutdown()).await;

            // What is left of it: never the second.
            let disk = Disk::open(directory.path().join("relay.store")).unwrap();
            let left: Vec<Credential> = disk.grants().unwrap().into_iter().filter_map(|grant| grant.secret).collect();
            let expected = match against {
                Against::Revoked => vec![first.secret.clone()],
                Against::TakenBack => vec![third.as_ref().unwrap().secret.clone()],
                Against::Both => vec![],
            };
            assert!(left == expected, "{what}: {} are left", left.len());
            assert!(against == Against::TakenBack || is_forbidden(third), "{what}");
            let (connector, _events) = serve_with(several(), disk).await;
            assert_eq!(links(&connector, "own", secret(&first)).await, against == Against::Revoked, "{what}");
            assert!(is_forbidden(enroll(&connector, "own-2", "own").await), "{what}: it is used up");
            guard("the shutdown", connector.shutdown()).await;
        }
    }
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
