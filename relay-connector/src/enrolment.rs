//! Whom a connector enrols, and what it grants (ENROLL-5, POLICY-1).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use relay_proto::connector::GatewayId;
use relay_proto::enroll::{Credential, Granted, Policy};
use relay_proto::token::{self, Secret};

use super::store::{Grant, Revocation, Store, StoreError, StoreProblem};
use super::thread::on_a_thread;

/// The most platforms that a gateway has a policy for.
const MAX_POLICIES: usize = 64;
/// The shortest enrolment token, in characters. Who guesses one has a gateway.
const MIN_TOKEN: usize = 16;

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
    /// A token was too short.
    too_short: bool,
    /// A token or an identity is [weak](Secret::is_weak).
    weak: bool,
}

impl Enrolment {
    /// Nobody yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets this token be redeemed once, for a gateway with any id that is not known yet: who holds it can neither take the
    /// place of another gateway nor get its messages. Known is an id
    /// - that a secret was ever granted to, taken back or not, as far as the [`Store`](super::Store) remembers,
    /// - that another token is [meant for](Self::token_for), or that has a secret [without enrolment](super::Config::gateway),
    /// - whose secrets were revoked, as far as the store remembers,
    /// - that the host has used, say to deliver to it, or that something waits for in the store.
    ///
    /// A gateway with such an id needs a token that is meant for it.
    ///
    /// A token has at least 16 characters: with a shorter one no connector [starts](super::serve). One that is made of random
    /// bytes is best.
    #[must_use]
    pub fn token(mut self, token: &Credential) -> Self {
        self.look_at(token);
        self.tokens.insert(fingerprint(token), None);
        self
    }

    /// Lets this token be redeemed once, for the gateway with this id, which may have enrolled before: then its older
    /// secrets stay good as well, until they are [taken back](super::Gateway::take_back).
    #[must_use]
    pub fn token_for(mut self, token: &Credential, gateway: impl Into<String>) -> Self {
        self.look_at(token);
        self.tokens.insert(fingerprint(token), Some(gateway.into()));
        self
    }

    /// Lets who shows this identity token enrol. Without any, every identity will do: the enrolment token decides.
    #[must_use]
    pub fn identity(mut self, identity: &Credential) -> Self {
        self.weak |= Secret::from(identity).is_weak();
        self.identities.insert(fingerprint(identity));
        self
    }

    /// Whose gateways these are, for the answers. Default: `default`.
    #[must_use]
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    fn look_at(&mut self, token: &Credential) {
        self.too_short |= token.expose().chars().count() < MIN_TOKEN;
        self.weak |= Secret::from(token).is_weak();
    }

    /// What makes it unusable, if anything does.
    pub(super) fn problem(&self) -> Option<String> {
        self.too_short.then(|| format!("an enrolment token has under {MIN_TOKEN} characters, which can be guessed"))
    }

    /// Whether one of its tokens or identities may be guessed.
    pub(super) fn is_weak(&self) -> bool {
        self.weak
    }

    /// Whether a token is meant for this gateway alone.
    fn expects(&self, gateway: &str) -> bool {
        self.tokens.values().any(|meant| meant.as_deref() == Some(gateway))
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

/// The same for a secret of a gateway that is revoked.
fn revoked_as(gateway: &str, secret: &Secret) -> String {
    token::mint(&format!("revoked {gateway}"), secret, 0, 0).as_str().to_owned()
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
pub(super) struct Enroller {
    enrolment: Option<Enrolment>,
    ledger: Mutex<Ledger>,
    /// `None`: nothing is kept. The store's thread owns it.
    store: Option<Weak<dyn Store>>,
}

#[derive(Default)]
struct Ledger {
    /// By id, the gateways that something was granted to, or is being.
    gateways: BTreeMap<String, Standing>,
    /// Fingerprints of tokens that were redeemed, or are being.
    redeemed: BTreeSet<String>,
    delivery_key: Option<Credential>,
    /// Gateways whose secrets are good for nothing until this process ends.
    revoked: BTreeSet<String>,
    /// By gateway, what stands for the secrets of the configuration that are revoked for good.
    spent: BTreeMap<String, BTreeSet<String>>,
    policies: BTreeMap<GatewayId, BTreeMap<String, Policy>>,
}

/// How enrolment stands with a gateway.
#[derive(Default)]
struct Standing {
    /// Those that were granted and are good.
    secrets: Vec<Secret>,
    /// All that was granted, also what was taken back or is not durable yet.
    grants: usize,
    /// How often they were taken back. What was not good by then is not to become so.
    taken_back: u64,
}

/// What a gateway is to the connector, whatever enrolment granted it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing.
    No,
    /// Something happened to it, or waits for it.
    Seen,
    /// It has secrets that enrolment did not grant, and no enrolment may add to those.
    Configured,
}

/// Why an enrolment is refused.
pub(super) enum NotEnrolled {
    /// Nobody ever is.
    Closed,
    Identity,
    Token,
    NotStored(StoreError),
}

impl Enroller {
    pub(super) fn new(
        enrolment: Option<Enrolment>,
        store: Option<Weak<dyn Store>>,
        grants: Vec<Grant>,
        revocations: Vec<Revocation>,
    ) -> Self {
        let mut ledger = Ledger::default();
        ledger.spend(revocations);
        for Grant { gateway, token, secret, delivery_key } in grants {
            ledger.redeemed.insert(token);
            ledger.delivery_key.get_or_insert(delivery_key);
            let standing = ledger.gateways.entry(gateway.as_str().into()).or_default();
            standing.grants += 1;
            standing.secrets.extend(secret.as_ref().map(Secret::from));
        }
        Self { enrolment, ledger: Mutex::new(ledger), store }
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether gateways have to authenticate because of it: also when all that was granted is taken back, and when a
    /// gateway was revoked, which would be let in otherwise.
    pub(super) fn authenticates(&self) -> bool {
        let ledger = self.lock();
        self.enrolment.is_some() || !ledger.redeemed.is_empty() || !ledger.spent.is_empty()
    }

    /// Of the secrets that the configuration has for this gateway, those that are not revoked for good.
    pub(super) fn unspent(&self, gateway: &str, configured: &[Secret]) -> Vec<Secret> {
        let ledger = self.lock();
        match ledger.spent.get(gateway) {
            None => configured.to_vec(),
            Some(spent) => {
                configured.iter().filter(|secret| !spent.contains(&revoked_as(gateway, secret))).cloned().collect()
            }
        }
    }

    pub(super) fn has_spent(&self, gateway: &GatewayId) -> bool {
        self.lock().spent.contains_key(gateway.as_str())
    }

    /// Says of the gateways that were revoked what has become of them.
    pub(super) fn report_revoked(&self, configured: &BTreeMap<String, Vec<Secret>>) {
        let revoked: Vec<String> = self.lock().spent.keys().cloned().collect();
        for gateway in &revoked {
            let Some(secrets) = configured.get(gateway) else { continue };
            if self.unspent(gateway, secrets).is_empty() {
                tracing::warn!(%gateway, "the gateway was revoked, and is not let in: give it a new secret to change that");
            } else {
                tracing::info!(%gateway, "the gateway was revoked, and is let in with the secret that it has got since");
            }
        }
    }

    /// The secrets that were granted to this gateway.
    pub(super) fn secrets(&self, gateway: &str) -> Vec<Secret> {
        self.lock().gateways.get(gateway).map(|standing| standing.secrets.clone()).unwrap_or_default()
    }

    /// The gateways that something was granted to.
    pub(super) fn enrolled(&self) -> Vec<String> {
        let ledger = self.lock();
        let enrolled = ledger.gateways.iter().filter(|(_, standing)| !standing.secrets.is_empty());
        enrolled.map(|(gateway, _)| gateway.clone()).collect()
    }

    /// Whether who shows this may enrol.
    pub(super) fn check_identity(&self, identity: Option<&Credential>) -> Result<(), NotEnrolled> {
        let enrolment = self.enrolment.as_ref().ok_or(NotEnrolled::Closed)?;
        let known = identity.is_some_and(|identity| {
            enrolment.identities.is_empty() || enrolment.identities.contains(&fingerprint(identity))
        });
        if known { Ok(()) } else { Err(NotEnrolled::Identity) }
    }

    /// Redeems a token for a gateway; how well it is `known` decides which tokens are good for it.
    ///
    /// What is granted counts once it is [kept](Self::keep).
    pub(super) fn redeem(&self, token: &Credential, gateway: &str, known: Known) -> Result<Redeemed, NotEnrolled> {
        let enrolment = self.enrolment.as_ref().ok_or(NotEnrolled::Closed)?;
        let token = fingerprint(token);
        let meant = enrolment.tokens.get(&token).ok_or(NotEnrolled::Token)?;
        let good = match meant {
            Some(meant) => meant == gateway && known != Known::Configured,
            None => known == Known::No && !enrolment.expects(gateway),
        };
        if !good {
            return Err(NotEnrolled::Token);
        }
        let secret = random()?;
        let mut ledger = self.lock();
        // Also by a grant that is not durable yet, and by one that was taken back: its messages may still be there.
        let used = ledger.gateways.contains_key(gateway) || ledger.spent.contains_key(gateway);
        let taken = meant.is_none() && used;
        if taken || ledger.revoked.contains(gateway) || ledger.redeemed.contains(&token) {
            return Err(NotEnrolled::Token);
        }
        let delivery_key = match &ledger.delivery_key {
            Some(key) => key.clone(),
            None => ledger.delivery_key.insert(random()?).clone(),
        };
        ledger.redeemed.insert(token.clone());
        let standing = ledger.gateways.entry(gateway.into()).or_default();
        standing.grants += 1;
        let taken_back = standing.taken_back;
        let grant = Grant { gateway: GatewayId::unverified(gateway), token, secret: Some(secret), delivery_key };
        let tenant = enrolment.tenant.clone().unwrap_or_else(|| "default".into());
        Ok(Redeemed { grant, tenant, taken_back })
    }

    /// Makes a grant durable, if there is a store, and then good.
    pub(super) async fn keep(&self, redeemed: Redeemed) -> Result<Granted, NotEnrolled> {
        let Redeemed { grant, tenant, taken_back } = redeemed;
        if let Err(error) = self.write(&grant).await {
            // The store may have it nevertheless, and it is not told to anybody then: no harm.
            self.lock().forget(&grant);
            return Err(NotEnrolled::NotStored(error));
        }
        if !self.lock().make_good(&grant, taken_back) {
            // Whoever took back what the gateway had may have done so before this was durable. This grant alone: another
            // may have been made since, and is good.
            let grant = Grant { secret: None, ..grant };
            if let Err(error) = self.write(&grant).await {
                tracing::error!(%error, gateway = %grant.gateway, "the store keeps a secret that nobody was told");
            }
            return Err(NotEnrolled::Token);
        }
        let Grant { gateway, secret, delivery_key, .. } = grant;
        let mut granted = Granted::new(gateway.as_str(), secret.unwrap_or_else(|| Credential::new("")));
        (granted.delivery_key, granted.tenant) = (Some(delivery_key), Some(tenant));
        Ok(granted)
    }

    /// Makes a grant durable as it is, if there is a store.
    async fn write(&self, grant: &Grant) -> Result<(), StoreError> {
        let Some(store) = &self.store else { return Ok(()) };
        let (store, grant) = (store.clone(), grant.clone());
        blocking(move || with(&store, |store| store.grant(&grant))).await
    }

    /// Nothing of this gateway is good any more, until the process ends.
    pub(super) fn revoke(&self, gateway: &GatewayId) {
        let mut ledger = self.lock();
        ledger.revoked.insert(gateway.as_str().into());
        ledger.take_back(gateway);
        ledger.policies.remove(gateway);
    }

    pub(super) fn is_revoked(&self, gateway: &GatewayId) -> bool {
        self.lock().revoked.contains(gateway.as_str())
    }

    /// Takes back what was granted to this gateway and the secrets that the configuration has for it, for good. Blocks.
    pub(super) fn take_back(&self, gateway: &GatewayId, configured: &[Secret]) -> Result<(), StoreError> {
        let revocation = |secret| {
            let secret = revoked_as(gateway.as_str(), secret);
            Revocation { gateway: gateway.clone(), secret }
        };
        let revocations: Vec<Revocation> = configured.iter().map(revocation).collect();
        {
            // First, so that a grant that becomes durable only after the store has done it sees to itself.
            let mut ledger = self.lock();
            ledger.take_back(gateway);
            ledger.spend(revocations.clone());
        }
        let Some(store) = &self.store else { return Ok(()) };
        with(store, |store| {
            // Both, whatever becomes of the other.
            let revoked = if revocations.is_empty() { Ok(()) } else { store.revoke(&revocations) };
            store.take_back(gateway).and(revoked)
        })
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

impl Ledger {
    /// From here on the grant is good, unless what the gateway had was taken back since it was redeemed. Whether it is.
    fn make_good(&mut self, grant: &Grant, taken_back: u64) -> bool {
        let standing = self.gateways.entry(grant.gateway.as_str().into()).or_default();
        let good = standing.taken_back == taken_back;
        if good {
            standing.secrets.extend(grant.secret.as_ref().map(Secret::from));
        }
        good
    }

    /// The grant was never made.
    fn forget(&mut self, grant: &Grant) {
        self.redeemed.remove(&grant.token);
        if let Some(standing) = self.gateways.get_mut(grant.gateway.as_str()) {
            standing.grants = standing.grants.saturating_sub(1);
            if standing.grants == 0 {
                self.gateways.remove(grant.gateway.as_str());
            }
        }
    }

    fn spend(&mut self, revocations: Vec<Revocation>) {
        for Revocation { gateway, secret } in revocations {
            self.spent.entry(gateway.as_str().into()).or_default().insert(secret);
        }
    }

    fn take_back(&mut self, gateway: &GatewayId) {
        // Otherwise nothing was granted, nor is being.
        if let Some(standing) = self.gateways.get_mut(gateway.as_str()) {
            standing.secrets.clear();
            standing.taken_back += 1;
        }
    }
}

/// Whom to tell what gateways do over HTTP.
pub(super) type HttpEvents = tokio::sync::mpsc::Sender<(GatewayId, HttpEvent)>;

/// A token that is used up, and what for.
pub(super) struct Redeemed {
    grant: Grant,
    tenant: String,
    /// How often the gateway's grants were taken back by then.
    taken_back: u64,
}

fn with(store: &Weak<dyn Store>, work: impl FnOnce(&dyn Store) -> Result<(), StoreError>) -> Result<(), StoreError> {
    match store.upgrade() {
        Some(store) => work(&*store),
        None => Err(StoreError::new("(closed)", StoreProblem::Io, "the connector shuts down")),
    }
}

/// Runs on a thread that may wait for a disk.
async fn blocking(work: impl FnOnce() -> Result<(), StoreError> + Send + 'static) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| StoreError::new("(unknown)", StoreProblem::Io, error.to_string());
    on_a_thread("relay-grant", work).await.map_err(failed)?
}

/// 256 random bits.
fn random() -> Result<Credential, NotEnrolled> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| NotEnrolled::NotStored(StoreError::new("(none)", StoreProblem::Io, error.to_string())))?;
    Ok(Credential::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}
