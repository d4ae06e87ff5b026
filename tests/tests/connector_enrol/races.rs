//! Grants for an id that is taken, has a past, or is given out or taken back meanwhile.

use std::path::Path;
use std::sync::{Arc, Mutex};

use relay_blocking::enroll::{CallError, EnrollError, Granted};
use relay_connector::{
    self as connector, Backlog, Change, Credential, Disk, Enrolment, EntryId, Fetch, GatewayId, Grant, Store,
    StoreError, StoreProblem,
};
use relay_proto::client::Event;
use relay_proto::frame::RawJson;
use relay_tests::app::IsMessage as _;
use relay_tests::guard;

use crate::stores::store;
use crate::{IDENTITY, enroll, gateway, links, redeem, refusal, secret, serve, serve_with};

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
    let tokens = ["any-1-of-sixteen-bytes", "any-2-of-sixteen-bytes", "any-3-of-sixteen-bytes"]
        .iter()
        .fold(tokens, |all, token| all.token(&(*token).into()));
    let own = ["own-1-of-sixteen-bytes", "own-2-of-sixteen-bytes", "own-3-of-sixteen-bytes"];
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
    let first = tokio::spawn(redeem(url.clone(), IDENTITY, "any-1-of-sixteen-bytes", "gw-1", None));
    let go = held.wait().await;
    assert!(is_forbidden(guard("the second", enroll(&connector, "any-2-of-sixteen-bytes", "gw-1")).await));
    assert!(connector.enrolled().is_empty(), "it is not good yet");
    // It is free again when nothing comes of it, and the token is as good as before.
    go.send(Err(StoreError::new("here", StoreProblem::Full, ""))).unwrap();
    let failed = refusal(first.await.unwrap());
    assert!(matches!(failed, EnrollError::Refused { status: 503, .. }), "{failed}");
    let held = hold_up(&gate, When::After);
    let first = tokio::spawn(redeem(url, IDENTITY, "any-2-of-sixteen-bytes", "gw-1", None));
    let go = held.wait().await;
    assert!(is_forbidden(guard("the second", enroll(&connector, "any-1-of-sixteen-bytes", "gw-1")).await));
    go.send(Ok(())).unwrap();
    let granted = first.await.unwrap().unwrap();
    assert!(links(&connector, "gw-1", secret(&granted)).await);
    enroll(&connector, "any-1-of-sixteen-bytes", "gw-2").await.expect("it was not used up");
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
    enroll(&connector, "any-1-of-sixteen-bytes", "gone").await.unwrap();
    connector.gateway("gone").take_back().unwrap();
    assert!(is_forbidden(enroll(&connector, "any-2-of-sixteen-bytes", "gone").await), "also in the same run");
    guard("the shutdown", connector.shutdown()).await;

    let (connector, _events) = serve_with(several(), store(directory.path())).await;
    connector.gateway("busy").deliver(&event("for whom?")).await.unwrap();
    for id in ["old", "own", "gone", "busy"] {
        assert!(is_forbidden(enroll(&connector, "any-2-of-sixteen-bytes", id).await), "{id}");
    }
    enroll(&connector, "any-2-of-sixteen-bytes", "new").await.unwrap();
    // Who was meant gets what waited.
    let granted = enroll(&connector, "own-1-of-sixteen-bytes", "own").await.unwrap();
    let (_gateway, mut own) = relay_tokio::connect(gateway(&connector, "own", secret(&granted))).unwrap();
    loop {
        if let Event::Delivery(message) = guard("the message", own.next()).await.unwrap() {
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
    assert!(is_forbidden(enroll(&connector, "any-1-of-sixteen-bytes", "own").await));
    enroll(&connector, "own-1-of-sixteen-bytes", "own").await.unwrap();
    enroll(&connector, "any-1-of-sixteen-bytes", "gw-1").await.unwrap();
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
            let first = enroll(&connector, "own-1-of-sixteen-bytes", "own").await.unwrap();
            let held = hold_up(&gate, when);
            let url = format!("http://{}", connector.address());
            let second = tokio::spawn(redeem(url, IDENTITY, "own-2-of-sixteen-bytes", "own", None));
            let go = held.wait().await;
            let own = connector.gateway("own");
            if against != Against::TakenBack {
                own.revoke();
            }
            if against != Against::Revoked {
                tokio::task::spawn_blocking(move || own.take_back()).await.unwrap().unwrap();
            }
            let third = enroll(&connector, "own-3-of-sixteen-bytes", "own").await;
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
            assert!(is_forbidden(enroll(&connector, "own-2-of-sixteen-bytes", "own").await), "{what}: it is used up");
            guard("the shutdown", connector.shutdown()).await;
        }
    }
}
