//! Who is let in: what gateways show, what was refused before, and how many connections may wait to be links.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use relay_proto::connector::{GatewayId, Refusal, authenticate};
use relay_proto::time::Now;
use relay_proto::token::{self, Secret};

use super::config::Config;
use super::enrolment::Enroller;
use super::pending_connections::{PendingConnection, PendingConnections};
use super::refusals::Refusals;
use super::throttle::Failures;

/// Decides about connections and tokens. It knows the time only as it is told.
pub(super) struct Admission {
    config: Arc<Config>,
    pub(super) enroller: Enroller,
    pub(super) refusals: Refusals,
    /// Told apart from other refusals: it is no fault of those that it happens to.
    crowd: Refusals,
    failures: Mutex<Failures>,
    pending_connections: Arc<PendingConnections>,
}

/// Why somebody is not let in.
pub(super) enum NotAdmitted {
    /// There were too many refusals: to be asked again after this time.
    Later(Duration),
    Refused {
        refusal: Refusal,
        /// The id that was claimed, if it is one of ours.
        claimed: Option<GatewayId>,
    },
}

/// The one gateway of a connector that requires no token: without a verified id there is nothing to tell links apart
/// by (CONN-2).
pub(super) fn anyone() -> GatewayId {
    GatewayId::unverified("default")
}

impl Admission {
    pub(super) fn new(config: Arc<Config>, enroller: Enroller) -> Self {
        Self {
            enroller,
            refusals: Refusals::default(),
            crowd: Refusals::default(),
            failures: Mutex::new(Failures::new(config.refusals, config.refusal_every)),
            pending_connections: PendingConnections::new(config.unlinked),
            config,
        }
    }

    pub(super) fn authenticates(&self) -> bool {
        !self.config.secrets.is_empty() || self.enroller.authenticates()
    }

    /// The secrets of the gateway with this id, also those that are revoked for good.
    pub(super) fn secrets(&self, id: &str) -> Vec<Secret> {
        let mut secrets = self.configured(id).to_vec();
        secrets.extend(self.enroller.secrets(id));
        secrets
    }

    /// The same without those.
    fn good_secrets(&self, id: &str) -> Vec<Secret> {
        let mut secrets = self.enroller.unspent(id, self.configured(id));
        secrets.extend(self.enroller.secrets(id));
        secrets
    }

    /// Who shows this token (CONN-1, CONN-2).
    fn identify(&self, bearer: Option<&str>, now: Now) -> Result<GatewayId, Refusal> {
        let gateway = match self.authenticates() {
            true => authenticate(bearer, |id| Some(self.secrets(id)).filter(|secrets| !secrets.is_empty()), now)?,
            false => anyone(),
        };
        let spent =
            self.enroller.has_spent(&gateway) && authenticate(bearer, |id| Some(self.good_secrets(id)), now).is_err();
        if spent || self.enroller.is_revoked(&gateway) { Err(Refusal::Revoked) } else { Ok(gateway) }
    }

    /// Lets whoever shows this token in, or not. What does not hold is counted, and beyond the limits nothing is verified
    /// but what cannot be guessed (CONN-8).
    pub(super) fn admit(&self, address: IpAddr, bearer: Option<&str>, now: Now) -> Result<GatewayId, NotAdmitted> {
        let claimed = bearer.and_then(token::peek_id);
        let authenticates = self.authenticates();
        if !authenticates && !self.enroller.is_revoked(&anyone()) {
            return Ok(anyone());
        }
        let claimed = claimed.as_deref().filter(|_| authenticates);
        let secrets = claimed.map(|id| self.secrets(id)).unwrap_or_default();
        let (known, strong) = (!secrets.is_empty(), !secrets.iter().any(Secret::is_weak));
        // Held until the outcome is counted: else many guesses at once would all come before the first is.
        let mut failures = self.failures();
        let wait = failures.wait(address, claimed, now.monotonic);
        if let Some(wait) = wait
            && !(known && strong)
        {
            return Err(NotAdmitted::Later(wait));
        }
        match (self.identify(bearer, now), wait) {
            (Ok(gateway), wait) => {
                let proven = known && strong && failures.prove(gateway.as_str(), address);
                match wait {
                    Some(wait) if !proven => Err(NotAdmitted::Later(wait)),
                    _ => Ok(gateway),
                }
            }
            (Err(_), Some(wait)) => Err(NotAdmitted::Later(wait)),
            (Err(refusal), None) => {
                failures.count(address, claimed, now.monotonic);
                let claimed = claimed.filter(|_| known).map(GatewayId::unverified);
                Err(NotAdmitted::Refused { refusal, claimed })
            }
        }
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long nothing from this address is looked at; `None`: it is.
    pub(super) fn has_to_wait(&self, address: IpAddr, now: Now) -> Option<Duration> {
        self.failures().wait(address, None, now.monotonic)
    }

    /// Something from this address was refused.
    pub(super) fn count_failure(&self, address: IpAddr, now: Now) {
        self.failures().count(address, None, now.monotonic);
    }

    /// A connection from this address is no link, or is none any more.
    pub(super) fn pending(&self, address: IpAddr, now: Now) -> PendingConnection {
        let (pending, sent_away) = self.pending_connections.admit(address);
        if let Some(address) = sent_away {
            self.crowd.tell_crowd(address, now.monotonic);
        }
        pending
    }

    /// The secrets that the configuration has for this gateway.
    pub(super) fn configured(&self, id: &str) -> &[Secret] {
        self.config.secrets.get(id).map_or(&[], Vec::as_slice)
    }
}
