//! What a connector is told before it starts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use relay_proto::connector::{AckPolicy, GatewayId, Identity, Limits, Settings};
use relay_proto::frame::Descriptor;
use relay_proto::token::Secret;
use relay_proto::wire::ServerTls;

use super::enrolment::{Enrolment, HttpEvents};

/// The descriptor of an identity; `None` turns the gateway away.
pub(super) type Describe = Arc<dyn Fn(&Identity) -> Option<Descriptor> + Send + Sync>;

/// A connector's configuration.
#[derive(Clone)]
pub struct Config {
    pub(super) secrets: BTreeMap<String, Vec<Secret>>,
    pub(super) descriptors: BTreeMap<String, Descriptor>,
    pub(super) describe: Option<Describe>,
    settings: Settings,
    presumed: BTreeSet<String>,
    pub(super) tls: Option<ServerTls>,
    pub(super) enrolment: Option<Enrolment>,
    pub(super) http_events: Option<HttpEvents>,
    pub(super) refusals: u32,
    pub(super) refusal_every: Duration,
    pub(super) unstored: usize,
    pub(super) unlinked: usize,
    pub(super) write_timeout: Duration,
    pub(super) request_timeout: Duration,
}

impl Config {
    /// A connector that requires no token, describes every platform with defaults, and speaks plain `ws`.
    pub fn new() -> Self {
        Self {
            secrets: BTreeMap::new(),
            descriptors: BTreeMap::new(),
            describe: None,
            settings: Settings::default(),
            presumed: BTreeSet::new(),
            tls: None,
            enrolment: None,
            http_events: None,
            refusals: 20,
            refusal_every: Duration::from_secs(3),
            unstored: 16 << 20,
            unlinked: 1024,
            write_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(10),
        }
    }

    /// Lets this gateway in, with this secret. Called again for the same gateway it adds a secret, for a rotation. From
    /// the first one on, gateways have to authenticate (CONN-1). A [weak](Secret::is_weak) secret is warned of at the start.
    #[must_use]
    pub fn gateway(mut self, id: impl Into<String>, secret: impl Into<Secret>) -> Self {
        self.secrets.entry(id.into()).or_default().push(secret.into());
        self
    }

    /// Answers hellos of the descriptor's platform with it. Platforms without one get every default.
    #[must_use]
    pub fn descriptor(mut self, descriptor: Descriptor) -> Self {
        self.descriptors.insert(descriptor.platform.clone(), descriptor);
        self
    }

    /// Decides for each hello: a descriptor, or `None` to turn the gateway away. Takes the place of
    /// [`descriptor`](Self::descriptor). It is called on the link's task, and must not wait.
    #[must_use]
    pub fn describe(mut self, describe: impl Fn(&Identity) -> Option<Descriptor> + Send + Sync + 'static) -> Self {
        self.describe = Some(Arc::new(describe));
        self
    }

    /// Time and size limits. Default: [`Settings::default`].
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// This gateway acknowledges nothing: [`AckPolicy::Assumed`] for it alone. For all of them, see
    /// [`Settings::with_acks`].
    #[must_use]
    pub fn presume_acks(mut self, id: impl Into<String>) -> Self {
        self.presumed.insert(id.into());
        self
    }

    /// Speaks `wss`.
    #[must_use]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Lets gateways enrol (ENROLL-5). From then on all have to authenticate. Default: off.
    #[must_use]
    pub fn enrolment(mut self, enrolment: Enrolment) -> Self {
        self.enrolment = Some(enrolment);
        self
    }

    /// Tells what gateways do over HTTP, and who. While the channel is full, gateways wait for their answers. Default:
    /// nobody is told.
    #[must_use]
    pub fn http_events(mut self, to: HttpEvents) -> Self {
        self.http_events = Some(to);
        self
    }

    /// How many refused credentials an address may show at once, and after which time one more. Beyond that, everything from
    /// it is HTTP 429 before it is verified, the right token too. An id has ten times that over all addresses. Loopback is an
    /// address like any other; of IPv6 the first 64 bits are one. At least 1. Default: 20, and one more every 3 s.
    ///
    /// A gateway whose secrets are not [weak](Secret::is_weak) is let in nevertheless from an address where it has shown a
    /// right token before, also in a dial that was refused for the limit: strangers cannot lock it out, even from behind the
    /// same proxy (CONN-8).
    #[must_use]
    pub fn refusals(mut self, at_once: u32, one_more_every: Duration) -> Self {
        (self.refusals, self.refusal_every) = (at_once, one_more_every);
        self
    }

    /// Bytes of entries that may wait for the store to make them durable, at about half a kilobyte more than its payload
    /// for each. A delivery beyond that waits until there is room. Without a store it has no effect. Default: 16 MiB.
    #[must_use]
    pub fn unstored(mut self, bytes: usize) -> Self {
        self.unstored = bytes;
        self
    }

    /// How many connections may be no links: not upgraded yet, refused, or closing. One more than that drops the oldest of
    /// the address that has the most of them, so that slow clients cost a bounded amount, and one address cannot keep others
    /// out (CONN-9): a gateway that means to link does so in moments. Most cost next to nothing, and a POST that never ends 64 KiB. At least 1. Default: 1024.
    #[must_use]
    pub fn unlinked(mut self, most: usize) -> Self {
        self.unlinked = most;
        self
    }

    /// How long bytes may wait for a socket that takes none of them. After that the link is lost, and what was in flight
    /// on it waits for the next. A century or more means no limit. Default: 30 s.
    #[must_use]
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// How long a client may take from its connection to the end of its request: the upgrade, or a POST with its body. After
    /// that the connection is closed, and who has begun a POST is told 408. [`Duration::MAX`] waits as long as it takes.
    /// Default: 10 s.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// The settings of one gateway.
    pub(super) fn settings_for(&self, id: &GatewayId) -> Settings {
        let settings = self.settings.clone();
        if self.presumed.contains(id.as_str()) { settings.with_acks(AckPolicy::Assumed) } else { settings }
    }

    pub(super) fn limits(&self) -> &Limits {
        self.settings.limits()
    }

    pub(super) fn describe_identity(&self, identity: &Identity) -> Option<Descriptor> {
        match &self.describe {
            Some(describe) => describe(identity),
            None => {
                let known = self.descriptors.get(&identity.platform).cloned();
                Some(known.unwrap_or_else(|| Descriptor::new(identity.platform.clone())))
            }
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("gateways", &self.secrets.keys().collect::<Vec<_>>())
            .field("settings", &self.settings)
            .field("tls", &self.tls.is_some())
            .field("enrolment", &self.enrolment)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves: CONN-3
    #[test]
    fn acknowledgements_are_presumed_of_those_alone_that_are_named() {
        let acks = |config: &Config, id: &str| config.settings_for(&GatewayId::unverified(id)).acks();
        let config = Config::new().presume_acks("old");
        assert_eq!((acks(&config, "old"), acks(&config, "new")), (AckPolicy::Assumed, AckPolicy::Required));
        let config = Config::new().settings(Settings::default().with_acks(AckPolicy::Assumed));
        assert_eq!(acks(&config, "new"), AckPolicy::Assumed);
    }
}
