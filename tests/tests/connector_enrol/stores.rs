//! Grants that a store keeps, or not.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use relay_blocking::enroll::EnrollError;
use relay_connector::{
    self as connector, Backlog, Change, Disk, EntryId, Fetch, GatewayId, Grant, Store, StoreError, StoreProblem,
};
use relay_proto::token::Secret;
use relay_tests::guard;

use crate::http::{ask, post};
use crate::{TOKEN, enroll, enrolling, links, refusal, secret, serve_with};

pub(crate) fn store(directory: &Path) -> Disk {
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
    let second = enroll(&connector, "token-2-of-sixteen", "gw-2").await.unwrap();
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

/// The part of a store that has to do with deliveries, of one that holds none.
macro_rules! holds_nothing {
    () => {
        fn backlogs(&self) -> Result<Vec<(GatewayId, Backlog)>, StoreError> {
            Ok(Vec::new())
        }

        fn commit(&self, _: &[Change]) -> Result<(), StoreError> {
            Ok(())
        }

        fn fetch(&self, _: &GatewayId, _: Fetch) -> Result<Vec<(EntryId, String)>, StoreError> {
            Ok(Vec::new())
        }
    };
}

/// Holds nothing, and keeps grants while it is told to.
#[derive(Clone, Default)]
struct Fickle {
    works: Arc<AtomicBool>,
    grants: Arc<Mutex<Vec<Grant>>>,
}

impl Store for Fickle {
    holds_nothing!();

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
    holds_nothing!();
}

// proves: ENROLL-5
#[tokio::test]
async fn a_grant_that_is_not_durable_is_not_made() {
    let fickle = Fickle::default();
    let (connector, _events) = serve_with(connector::Config::new().enrolment(enrolling()), fickle.clone()).await;
    let failed = refusal(enroll(&connector, TOKEN, "gw-1").await);
    assert!(matches!(failed, EnrollError::Refused { status: 503, .. }), "{failed}");
    assert!(connector.enrolled().is_empty() && !failed.may_have_granted());
    let body = format!(r#"{{"enrollmentToken":"{TOKEN}","gatewayId":"gw-1"}}"#);
    let bearer = format!("Authorization: Bearer {}\r\n", crate::IDENTITY);
    let answer = ask(connector.address(), &post("/relay/enroll", &bearer, &body)).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: 5\r\n"), "{answer}");
    fickle.works.store(true, Ordering::SeqCst);
    let granted = enroll(&connector, TOKEN, "gw-1").await.unwrap();
    let kept = fickle.grants.lock().unwrap().pop().unwrap();
    assert_eq!((kept.gateway.as_str(), kept.secret.as_ref()), ("gw-1", Some(&granted.secret)));
    assert!(!kept.token.contains(TOKEN) && !format!("{kept:?}").contains(granted.secret.expose()), "{kept:?}");

    let (connector, _events) = serve_with(connector::Config::new().enrolment(enrolling()), Old).await;
    let failed = refusal(enroll(&connector, TOKEN, "gw-1").await);
    assert!(matches!(failed, EnrollError::Refused { status: 503, .. }), "{failed}");
}
