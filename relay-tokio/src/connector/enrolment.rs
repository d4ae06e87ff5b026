//! Whom a connector enrols, and what it grants (ENROLL-5, POLICY-1).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use relay_proto::connector::GatewayId;
use relay_proto::enroll::{Credential, Granted, Policy};
use relay_proto::token::{self, Secret};

use super::store::{Grant, Store, StoreError, StoreProblem};

/// The most platforms that a gateway has a policy for.
const MAX_POLICIES: usize = 64;

/// Whom a connector enrols: the tokens that can be redeemed, each once, and who may do so.
///
/// With a [`Store`](super::Store) that keeps grants, what was redeemed stays redeemed and what was granted stays granted
/// when the process ends. Without one, both end with it.
#[derive(Clone, Default)]
pub struct Enrolment {
    /// By fingerprint, with the gateway that the token is for.
    tokens: BTreeMap<String, Option<String>>,
    /// Fingerprints.
    identities: BTreeSet<String>,
    tenant: Option<String>,
}

impl Enrolment {
    /// Nobody yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets this token be redeemed once, for a gateway with any id that is not known yet: who holds it cannot take the
    /// place of another gateway.
    #[must_use]
    pub fn token(mut self, token: &Credential) -> Self {
        self.tokens.insert(fingerprint(token), None);
        self
    }

    /// Lets this token be redeemed once, for the gateway with this id, which may have enrolled before: then its older
    /// secrets stay good as well, until they are [taken back](super::Gateway::take_back).
    #[must_use]
    pub fn token_for(mut self, token: &Credential, gateway: impl Into<String>) -> Self {
        self.tokens.insert(fingerprint(token), Some(gateway.into()));
        self
    }

    /// Lets who shows this identity token enrol. Without any, every identity will do: the enrolment token decides.
    #[must_use]
    pub fn identity(mut self, identity: &Credential) -> Self {
        self.identities.insert(fingerprint(identity));
        self
    }

    /// Whose gateways these are, for the answers. Default: `default`.
    #[must_use]
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// How many tokens there are, redeemed ones included.
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }
}

impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrolment")
            .field("tokens", &self.tokens.len())
            .field("identities", &self.identities.len())
            .field("tenant", &self.tenant)
            .finish()
    }
}

/// What stands for a credential where it is looked up: nothing can be learned of it from that, nor from how long it takes.
fn fingerprint(credential: &Credential) -> String {
    token::mint("enrolment", &Secret::from(credential), 0, 0).as_str().to_owned()
}

/// What gateways do over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpEvent {
    /// The gateway enrolled: what it was granted is good for links.
    Enrolled,
    /// The gateway told its policy of one platform, in the place of what it told before.
    Policy(Policy),
}

/// What was granted and told.
pub(super) struct Desk {
    enrolment: Option<Enrolment>,
    ledger: Mutex<Ledger>,
    /// `None`: nothing is kept. The keeper's thread owns it.
    store: Option<Weak<dyn Store>>,
}

#[derive(Default)]
struct Ledger {
    /// What enrolment granted.
    secrets: BTreeMap<String, Vec<Secret>>,
    /// Fingerprints of tokens that were redeemed, or are being.
    redeemed: BTreeSet<String>,
    delivery_key: Option<Credential>,
    /// Gateways whose secrets are good for nothing until this process ends.
    revoked: BTreeSet<String>,
    policies: BTreeMap<GatewayId, BTreeMap<String, Policy>>,
}

/// Why nobody is enrolled.
pub(super) enum NotEnrolled {
    /// Nobody ever is.
    Closed,
    Identity,
    Token,
    NotStored(StoreError),
}

impl Desk {
    pub(super) fn new(enrolment: Option<Enrolment>, store: Option<Weak<dyn Store>>, grants: Vec<Grant>) -> Self {
        let mut ledger = Ledger::default();
        for Grant { gateway, token, secret, delivery_key } in grants {
            ledger.redeemed.insert(token);
            ledger.delivery_key.get_or_insert(delivery_key);
            if let Some(secret) = secret {
                ledger.secrets.entry(gateway.as_str().into()).or_default().push(Secret::from(&secret));
            }
        }
        Self { enrolment, ledger: Mutex::new(ledger), store }
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether gateways have to authenticate because of it: also when all that was granted is taken back.
    pub(super) fn authenticates(&self) -> bool {
        self.enrolment.is_some() || !self.lock().redeemed.is_empty()
    }

    /// The secrets that were granted to this gateway.
    pub(super) fn secrets(&self, gateway: &str) -> Vec<Secret> {
        self.lock().secrets.get(gateway).cloned().unwrap_or_default()
    }

    /// The gateways that something was granted to.
    pub(super) fn enrolled(&self) -> Vec<String> {
        self.lock().secrets.keys().cloned().collect()
    }

    /// Whether who shows this may enrol.
    pub(super) fn check_identity(&self, identity: Option<&Credential>) -> Result<(), NotEnrolled> {
        let enrolment = self.enrolment.as_ref().ok_or(NotEnrolled::Closed)?;
        let known = identity.is_some_and(|identity| {
            enrolment.identities.is_empty() || enrolment.identities.contains(&fingerprint(identity))
        });
        if known { Ok(()) } else { Err(NotEnrolled::Identity) }
    }

    /// Redeems a token. `fixed`: the gateway has secrets that enrolment did not grant, and nobody may add to those.
    ///
    /// What is granted counts once it is [kept](Self::keep).
    pub(super) fn redeem(&self, token: &Credential, gateway: &str, fixed: bool) -> Result<Redeemed, NotEnrolled> {
        let enrolment = self.enrolment.as_ref().ok_or(NotEnrolled::Closed)?;
        let token = fingerprint(token);
        let meant = enrolment.tokens.get(&token).ok_or(NotEnrolled::Token)?;
        if fixed || meant.as_ref().is_some_and(|meant| meant != gateway) {
            return Err(NotEnrolled::Token);
        }
        let secret = random()?;
        let mut ledger = self.lock();
        let taken = meant.is_none() && ledger.secrets.contains_key(gateway);
        if taken || ledger.revoked.contains(gateway) || ledger.redeemed.contains(&token) {
            return Err(NotEnrolled::Token);
        }
        let delivery_key = match &ledger.delivery_key {
            Some(key) => key.clone(),
            None => ledger.delivery_key.insert(random()?).clone(),
        };
        ledger.redeemed.insert(token.clone());
        let grant = Grant { gateway: GatewayId::unverified(gateway), token, secret: Some(secret), delivery_key };
        Ok(Redeemed { grant, tenant: enrolment.tenant.clone().unwrap_or_else(|| "default".into()) })
    }

    /// Makes a grant durable, if there is a store, and then good.
    pub(super) async fn keep(&self, redeemed: Redeemed) -> Result<Granted, NotEnrolled> {
        let Redeemed { grant, tenant } = redeemed;
        if let Some(store) = &self.store {
            let (store, kept) = (store.clone(), grant.clone());
            if let Err(error) = blocking(move || with(&store, |store| store.grant(&kept))).await {
                // The store may have it nevertheless, and it is not told to anybody then: no harm.
                self.lock().redeemed.remove(&grant.token);
                return Err(NotEnrolled::NotStored(error));
            }
        }
        let Grant { gateway, secret, delivery_key, .. } = grant;
        let secret = secret.unwrap_or_else(|| Credential::new(""));
        let mut granted = Granted::new(gateway.as_str(), secret.clone());
        (granted.delivery_key, granted.tenant) = (Some(delivery_key), Some(tenant));
        self.lock().secrets.entry(gateway.as_str().into()).or_default().push(Secret::from(&secret));
        Ok(granted)
    }

    /// Nothing of this gateway is good any more, until the process ends.
    pub(super) fn revoke(&self, gateway: &GatewayId) {
        let mut ledger = self.lock();
        ledger.revoked.insert(gateway.as_str().into());
        ledger.secrets.remove(gateway.as_str());
        ledger.policies.remove(gateway);
    }

    pub(super) fn is_revoked(&self, gateway: &GatewayId) -> bool {
        self.lock().revoked.contains(gateway.as_str())
    }

    /// Takes back what was granted to this gateway, for good. Blocks.
    pub(super) fn take_back(&self, gateway: &GatewayId) -> Result<(), StoreError> {
        self.lock().secrets.remove(gateway.as_str());
        match &self.store {
            Some(store) => with(store, |store| store.take_back(gateway)),
            None => Ok(()),
        }
    }

    /// Holds a policy. Whether there was room.
    pub(super) fn hold(&self, gateway: &GatewayId, policy: &Policy) -> bool {
        let mut ledger = self.lock();
        let policies = ledger.policies.entry(gateway.clone()).or_default();
        let room = policies.len() < MAX_POLICIES || policies.contains_key(&policy.platform);
        if room {
            policies.insert(policy.platform.clone(), policy.clone());
        }
        room
    }

    pub(super) fn policies(&self, gateway: &GatewayId) -> Vec<Policy> {
        self.lock().policies.get(gateway).map(|policies| policies.values().cloned().collect()).unwrap_or_default()
    }
}

/// A token that is used up, and what for.
pub(super) struct Redeemed {
    grant: Grant,
    tenant: String,
}

fn with(store: &Weak<dyn Store>, work: impl FnOnce(&dyn Store) -> Result<(), StoreError>) -> Result<(), StoreError> {
    match store.upgrade() {
        Some(store) => work(&*store),
        None => Err(StoreError::new("(closed)", StoreProblem::Io, "the connector shuts down")),
    }
}

/// Runs on a thread that may wait for a disk.
async fn blocking(work: impl FnOnce() -> Result<(), StoreError> + Send + 'static) -> Result<(), StoreError> {
    let failed = |_| StoreError::new("(unknown)", StoreProblem::Io, "the store panicked");
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}

/// 256 bits that nobody can guess.
fn random() -> Result<Credential, NotEnrolled> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| NotEnrolled::NotStored(StoreError::new("(none)", StoreProblem::Io, error.to_string())))?;
    Ok(Credential::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}
