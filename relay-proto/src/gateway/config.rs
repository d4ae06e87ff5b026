//! What a gateway is told before it starts, checked as a whole.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::output::NotSent;
use super::shared_default::{SharedDefault, Standard};
use crate::frame::encode;
use crate::json::{self, RawJson};
use crate::proxy::{Proxy, ProxyVars};
use crate::redact;
use crate::target::{Target, TargetError};
use crate::token::{Secret, Token};

/// One bot on one platform that the gateway fronts (HELLO-1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The platform: `discord`, `telegram`, …
    pub platform: String,
    /// The bot's id there. May be empty.
    pub bot_id: String,
    /// The commands that the platform should offer its users: JSON that is sent as it is.
    pub command_manifest: Option<RawJson>,
}

impl Identity {
    /// The generic platform: what a gateway fronts that is told of no other, because its connector knows by the gateway's id
    /// what it is for. Messages of platforms that this protocol does not know are of this one, too (EVENT-1).
    pub const GENERIC: &str = "relay";
}

/// How long things may take. Every default is the contract's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timing {
    /// From the request to dial to the accepted upgrade (DIAL-5). Default 10 s.
    pub dial: Duration,
    /// From the accepted upgrade to the first descriptor (DIAL-5). Default 30 s.
    pub handshake: Duration,
    /// A request's own deadline, when its caller names none (REQ-1). Default 30 s.
    pub request: Duration,
    /// How long to wait for `going_idle_ack` (IDLE-1). Default 10 s.
    pub idle: Duration,
    /// The first wait before dialling again (LINK-1). Default 1 s.
    pub backoff_initial: Duration,
    /// The longest (LINK-1). Default 30 s.
    pub backoff_max: Duration,
    /// How long a link has to be ready before the waits start over (LINK-1). Default 60 s.
    pub stable: Duration,
    /// Silence from the peer after which a ping goes out (LINK-3). Default 30 s.
    pub ping_after: Duration,
    /// Silence from the peer after which the link is lost (LINK-3). Above `ping_after` by at least what a ping and its
    /// answer take. Default 90 s.
    pub lost_after: Duration,
    /// How long the peer may stay silent once a suspended machine runs again (CLOCK-2). Default 10 s.
    pub resume: Duration,
    /// The wait before dialling again after going dormant (IDLE-2). Default 1 s.
    pub dormant_redial: Duration,
    /// How long a hold parks a dial that is due (IDLE-2). Default 60 s.
    pub hold_max: Duration,
    /// Shutting down: how long going idle may take (CLOSE-1). Default 2 s.
    pub shutdown_idle: Duration,
    /// Shutting down: how long requests under way may take (CLOSE-1). Default 5 s.
    pub shutdown_requests: Duration,
    /// How long the peer may take to answer our close frame before the connection is dropped. Default 2 s.
    pub close: Duration,
    /// The life of a token, in whole seconds; zero for one that never expires (DIAL-3). Default 300 s.
    pub token_ttl: Duration,
}

impl Timing {
    const STANDARD: Self = {
        const fn s(seconds: u64) -> Duration {
            Duration::from_secs(seconds)
        }
        Self {
            dial: s(10),
            handshake: s(30),
            request: s(30),
            idle: s(10),
            backoff_initial: s(1),
            backoff_max: s(30),
            stable: s(60),
            ping_after: s(30),
            lost_after: s(90),
            resume: s(10),
            dormant_redial: s(1),
            hold_max: s(60),
            shutdown_idle: s(2),
            shutdown_requests: s(5),
            close: s(2),
            token_ttl: s(300),
        }
    };
}

impl Standard for Timing {
    const STANDARD: &'static Self = &Self::STANDARD;
}

impl Default for Timing {
    fn default() -> Self {
        Self::STANDARD
    }
}

/// How much may be held.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest frame that is sent, in bytes without its newline (FRAME-1). Default 1 MiB. It has nothing to do with what
    /// is received: the connector has to take a line of this size.
    pub frame: usize,
    /// The longest line that is received, in bytes (FRAME-3). Default 1 MiB; at most 1 GiB.
    pub line: usize,
    /// The largest WebSocket message that is received, in bytes. Above `line`. Default 2 MiB.
    pub message: usize,
    /// Bytes of unread events from which on the link is no longer read, unless requests wait for results (REQ-7).
    /// Default 4 MiB.
    pub queue: usize,
    /// Bytes of unread events, or of acknowledgements that the application holds up, at which the link is closed; what
    /// had a `bufferId` comes again. One event alone may be larger. Default 16 MiB.
    pub queue_hard: usize,
    /// How many ended deliveries are remembered to recognise replays (ACK-4). Default 4096.
    pub replay_memory: usize,
}

impl Limits {
    const STANDARD: Self = Self {
        frame: 1 << 20,
        line: 1 << 20,
        message: 2 << 20,
        queue: 4 << 20,
        queue_hard: 16 << 20,
        replay_memory: 4096,
    };
}

impl Standard for Limits {
    const STANDARD: &'static Self = &Self::STANDARD;
}

impl Default for Limits {
    fn default() -> Self {
        Self::STANDARD
    }
}

/// A gateway's configuration: a builder, checked as a whole when the gateway is made.
///
/// What clones have in common they share, and so do the gateways that are made of them, for as long as they live. For
/// thousands of gateways, say what is the same for all of them once, and what is not, such as credentials, with a clone.
///
/// ```
/// use relay_proto::gateway::Config;
///
/// let settings = Config::new("https://connector.example")
///     .identity("discord", "1234")
///     .credentials("my-gateway", "s3cret")
///     .build()?;
/// assert_eq!(settings.target().url(), "wss://connector.example/relay");
/// # Ok::<(), relay_proto::gateway::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Config {
    /// What is wrong with it is told when the gateway is made.
    target: Result<Arc<Target>, TargetError>,
    identities: Arc<Vec<Identity>>,
    gateway_id: Option<String>,
    secret: Option<Secret>,
    allow_plaintext_credentials: bool,
    proxy: ProxyChoice,
    reconnect: bool,
    confirm_refusals: bool,
    timing: SharedDefault<Timing>,
    limits: SharedDefault<Limits>,
}

/// How the proxy is found.
#[derive(Clone)]
pub(crate) enum ProxyChoice {
    None,
    Named(Proxy),
    Variables(ProxyVars),
}

/// The URL is shown as its [`Target`] shows it, since it may hold a password (TOKEN-3).
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("url", &self.target)
            .field("identities", &self.identities)
            .field("gateway_id", &self.gateway_id)
            .field("secret", &self.secret)
            .field("allow_plaintext_credentials", &self.allow_plaintext_credentials)
            .field("proxy", &self.proxy)
            .field("reconnect", &self.reconnect)
            .field("confirm_refusals", &self.confirm_refusals)
            .field("timing", &self.timing)
            .field("limits", &self.limits)
            .finish()
    }
}

impl fmt::Debug for ProxyChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Named(proxy) => proxy.fmt(f),
            Self::Variables(_) => f.write_str("from the environment"),
        }
    }
}

impl Config {
    /// A configuration that dials this connector: its base URL (DIAL-1).
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            target: Target::parse(&url.into()).map(Arc::new),
            identities: Arc::default(),
            gateway_id: None,
            secret: None,
            allow_plaintext_credentials: false,
            proxy: ProxyChoice::None,
            reconnect: true,
            confirm_refusals: false,
            timing: SharedDefault::default(),
            limits: SharedDefault::default(),
        }
    }

    /// Fronts a bot on a platform. Call it once for each; the first is the default (HELLO-1).
    #[must_use]
    pub fn identity(self, platform: impl Into<String>, bot_id: impl Into<String>) -> Self {
        self.full_identity(Identity { platform: platform.into(), bot_id: bot_id.into(), command_manifest: None })
    }

    /// The same, with everything an identity can have.
    #[must_use]
    pub fn full_identity(mut self, mut identity: Identity) -> Self {
        identity.command_manifest =
            identity.command_manifest.map(|manifest| RawJson::trusted(json::compact(manifest.as_str()).into_owned()));
        Arc::make_mut(&mut self.identities).push(identity);
        self
    }

    /// Authenticates as `gateway_id` with its secret (DIAL-2). A blank id or secret counts as missing, and is one of
    /// the [`Settings::warnings`].
    #[must_use]
    pub fn credentials(mut self, gateway_id: impl Into<String>, secret: impl Into<Secret>) -> Self {
        self.gateway_id = Some(gateway_id.into());
        self.secret = Some(secret.into());
        self
    }

    /// Sets the gateway's id alone.
    #[must_use]
    pub fn gateway_id(mut self, gateway_id: impl Into<String>) -> Self {
        self.gateway_id = Some(gateway_id.into());
        self
    }

    /// Allows credentials over plaintext `ws` to an address that is not loopback (DIAL-4). Default false: whoever can
    /// see the connection can take the token.
    #[must_use]
    pub fn allow_plaintext_credentials(mut self, allow: bool) -> Self {
        self.allow_plaintext_credentials = allow;
        self
    }

    /// Reaches the connector through an HTTP proxy (DIAL-6). Default: none, and the environment is not asked; for that
    /// see [`proxy_from_env`](Self::proxy_from_env).
    #[must_use]
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = ProxyChoice::Named(proxy);
        self
    }

    /// Reaches the connector without a proxy, whatever was said before.
    #[must_use]
    pub fn no_proxy(mut self) -> Self {
        self.proxy = ProxyChoice::None;
        self
    }

    pub(crate) fn proxy_choice(mut self, choice: ProxyChoice) -> Self {
        self.proxy = choice;
        self
    }

    /// Whether to dial again when a link or a dial ends (LINK-4). Default true. When off, the first end is the last.
    #[must_use]
    pub fn reconnect(mut self, reconnect: bool) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// Whether every refusal of once good credentials is confirmed by one more dial before it revokes (AUTH-3).
    /// Default false: only a refusal whose token had expired is.
    #[must_use]
    pub fn confirm_refusals(mut self, confirm: bool) -> Self {
        self.confirm_refusals = confirm;
        self
    }

    /// Replaces the time limits.
    #[must_use]
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = SharedDefault::new(timing);
        self
    }

    /// Replaces the size limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = SharedDefault::new(limits);
        self
    }

    /// Checks the whole.
    ///
    /// # Errors
    /// [`ConfigError`] names what is wrong and what to do.
    pub fn build(self) -> Result<Settings, ConfigError> {
        let target = self.target.as_ref().map_err(Clone::clone)?.clone();
        if self.identities.is_empty() {
            return Err(ConfigError::NoIdentity);
        }
        for identity in self.identities.iter() {
            if identity.platform.trim().is_empty() {
                return Err(ConfigError::BlankPlatform);
            }
            let hello = encode::hello(&identity.platform, &identity.bot_id, identity.command_manifest.as_ref());
            if hello.len() - 1 > self.limits.frame {
                let platform = identity.platform.clone();
                return Err(ConfigError::HelloTooLarge { platform, size: hello.len() - 1, limit: self.limits.frame });
            }
        }
        self.check_limits()?;
        let mut warnings = Vec::new();
        if target.has_user() {
            warnings.push(ConfigWarning::UserInUrl);
        }
        let credentials = match (self.gateway_id, self.secret) {
            (Some(id), Some(secret)) if !id.trim().is_empty() && !secret.is_blank() => {
                Some(Box::new(Credentials { id, secret }))
            }
            (id, secret) => {
                if secret.as_ref().is_some_and(Secret::is_blank) {
                    warnings.push(ConfigWarning::BlankSecret);
                } else if secret.is_some() {
                    warnings.push(ConfigWarning::SecretWithoutId);
                } else if id.is_some_and(|id| !id.trim().is_empty()) {
                    warnings.push(ConfigWarning::IdWithoutSecret);
                }
                None
            }
        };
        let proxy = match self.proxy {
            ProxyChoice::None => None,
            ProxyChoice::Named(proxy) => Some(proxy),
            ProxyChoice::Variables(vars) => vars.proxy_for(&target)?,
        };
        // A proxy's loopback is not ours, and the way to it is readable.
        let stays_here = target.is_loopback() && proxy.as_ref().is_none_or(Proxy::is_loopback);
        if credentials.is_some() && !target.is_tls() && !stays_here && !self.allow_plaintext_credentials {
            return Err(ConfigError::PlaintextCredentials { host: target.host().into() });
        }
        Ok(Settings {
            target,
            proxy: proxy.map(Box::new),
            identities: self.identities,
            credentials,
            reconnect: self.reconnect,
            confirm_refusals: self.confirm_refusals,
            timing: self.timing,
            limits: self.limits,
            warnings: warnings.into(),
        })
    }

    fn check_limits(&self) -> Result<(), ConfigError> {
        let Timing { dial, handshake, request, idle, backoff_initial, ping_after, close, .. } = *self.timing;
        for (name, value) in [
            ("dial", dial),
            ("handshake", handshake),
            ("request", request),
            ("idle", idle),
            ("backoff_initial", backoff_initial),
            ("ping_after", ping_after),
            ("close", close),
        ] {
            if value.is_zero() {
                return Err(ConfigError::ZeroTiming(name));
            }
        }
        let order = |what: &'static str, low: Duration, high: Duration| {
            if low > high { Err(ConfigError::Order(what)) } else { Ok(()) }
        };
        order("timing.backoff_initial must not be above timing.backoff_max", backoff_initial, self.timing.backoff_max)?;
        // Otherwise every silent link is lost before its peer could answer a ping (LINK-3).
        if ping_after >= self.timing.lost_after {
            return Err(ConfigError::Order("timing.ping_after must be below timing.lost_after"));
        }
        let limits = &*self.limits;
        if limits.frame < MIN_SIZE || limits.line < MIN_SIZE || limits.message < MIN_SIZE || limits.queue < MIN_SIZE {
            return Err(ConfigError::Order("limits.frame, .line, .message and .queue must be at least 1024 bytes"));
        }
        if limits.line > MAX_LINE {
            return Err(ConfigError::Order("limits.line must not be above 1 GiB"));
        }
        // A frame travels whole in one message (FRAME-1), with its newline: a longer line could not come.
        if limits.message <= limits.line {
            return Err(ConfigError::Order("limits.message must be above limits.line: a line comes in one message"));
        }
        if limits.queue_hard <= limits.queue {
            return Err(ConfigError::Order("limits.queue_hard must be above limits.queue"));
        }
        if limits.replay_memory == 0 {
            return Err(ConfigError::Order("limits.replay_memory must be at least 1"));
        }
        Ok(())
    }
}

const MIN_SIZE: usize = 1024;
const MAX_LINE: usize = 1 << 30;

/// A configuration that has been checked. It is small: what gateways of clones of one [`Config`] have in common, they share.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(crate) target: Arc<Target>,
    proxy: Option<Box<Proxy>>,
    pub(crate) identities: Arc<Vec<Identity>>,
    pub(crate) credentials: Option<Box<Credentials>>,
    pub(crate) reconnect: bool,
    pub(crate) confirm_refusals: bool,
    pub(crate) timing: SharedDefault<Timing>,
    pub(crate) limits: SharedDefault<Limits>,
    warnings: Box<[ConfigWarning]>,
}

impl Settings {
    /// Where it dials.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The proxy on the way there.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_deref()
    }

    /// The identities it fronts, the default first.
    pub fn identities(&self) -> &[Identity] {
        &self.identities
    }

    /// A text that a peer wrote, without pieces of the gateway's secret, of this token, and of the proxy's password: texts
    /// end up in logs (TOKEN-3).
    pub(crate) fn without_secrets(&self, text: &str, token: Option<&Token>) -> String {
        if text.is_empty() {
            return String::new();
        }
        let signature = token.map(Token::signature);
        let proxy = self.proxy.as_ref().map(|proxy| proxy.secrets()).unwrap_or_default();
        let own = self.credentials.iter().map(|own| own.secret.text());
        let of_token = token.map(Token::as_str).into_iter().chain(signature.as_ref().map(|text| text.as_str()));
        redact::without(text, own.chain(of_token).chain(proxy.iter().map(|text| text.as_str())))
    }

    /// Whether upgrades carry a token.
    pub fn is_authenticated(&self) -> bool {
        self.credentials.is_some()
    }

    /// The size limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What is allowed and probably not meant.
    pub fn warnings(&self) -> &[ConfigWarning] {
        &self.warnings
    }

    /// What a request names: the platform, and the bot that the gateway fronts there, unless its id is empty (REQ-4). Of
    /// several bots none is taken for the one that is meant.
    pub(crate) fn actor<'a>(
        &'a self,
        platform: Option<&'a str>,
        bot_id: Option<&'a str>,
    ) -> Result<Actor<'a>, NotSent> {
        let mut fronted = self.identities.iter().filter(|identity| {
            let is_one_of = |own: &str, asked: Option<&str>| asked.is_none_or(|asked| asked == own);
            is_one_of(&identity.platform, platform) && is_one_of(&identity.bot_id, bot_id)
        });
        let first = fronted.next();
        match (bot_id, first) {
            (Some(_), Some(identity)) => Ok(Actor::new(&identity.platform, &identity.bot_id)),
            (Some(bot_id), None) => {
                Err(NotSent::NotFronted { bot_id: bot_id.into(), platform: platform.map(Into::into) })
            }
            (None, first) => Ok(match (platform, first) {
                (None, _) => Actor::default(),
                (Some(platform), None) => Actor::new(platform, ""),
                // An identity that was configured twice is one.
                (Some(platform), Some(identity)) => match fronted.find(|other| other.bot_id != identity.bot_id) {
                    None => Actor::new(platform, &identity.bot_id),
                    Some(_) => Actor { is_unclear: true, ..Actor::new(platform, "") },
                },
            }),
        }
    }

    /// Whether this gateway fronts that bot on the platform beside others, so that a request has to name it.
    pub(crate) fn is_one_of_several(&self, platform: &str, bot_id: &str) -> bool {
        let mut there = self.identities.iter().filter(|identity| identity.platform == platform);
        there.clone().any(|identity| identity.bot_id != bot_id) && there.any(|identity| identity.bot_id == bot_id)
    }
}

/// What a request names (REQ-4).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Actor<'a> {
    pub(crate) platform: Option<&'a str>,
    pub(crate) bot_id: Option<&'a str>,
    /// The gateway fronts several bots there, and none was named.
    pub(crate) is_unclear: bool,
}

impl<'a> Actor<'a> {
    fn new(platform: &'a str, bot_id: &'a str) -> Self {
        Self { platform: Some(platform), bot_id: Some(bot_id).filter(|bot_id| !bot_id.is_empty()), is_unclear: false }
    }
}

/// Who the gateway is, and how it proves it.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(crate) id: String,
    pub(crate) secret: Secret,
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The URL cannot be dialled.
    #[error("the connector's URL: {0}")]
    Url(#[from] TargetError),
    /// There is nothing to front.
    #[error("no identity: name at least one platform and bot id")]
    NoIdentity,
    /// An identity without a platform.
    #[error("an identity has a blank platform: name one, for example `discord`")]
    BlankPlatform,
    /// An identity's hello could never be sent.
    #[error(
        "the hello of `{platform}` has {size} bytes, over the frame limit of {limit}: shorten its command manifest"
    )]
    HelloTooLarge {
        /// The identity's platform.
        platform: String,
        /// The hello's size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Credentials would cross the network readable (DIAL-4).
    #[error(
        "refusing to send credentials to `{host}` over plaintext ws: use https or wss, \
         or allow it with `allow_plaintext_credentials`"
    )]
    PlaintextCredentials {
        /// The host that would be dialled.
        host: String,
    },
    /// A time limit that must not be zero is.
    #[error("timing.{0} must be above zero")]
    ZeroTiming(&'static str),
    /// Limits that contradict each other.
    #[error("{0}")]
    Order(&'static str),
    /// An environment variable that cannot be used.
    #[error("{name}: {problem}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// What is wrong with it, and what to do.
        problem: String,
    },
}

/// What is allowed and probably not meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigWarning {
    /// The secret is empty or white space, so upgrades are not authenticated (DIAL-2).
    #[error("the secret is blank: dialling without credentials")]
    BlankSecret,
    /// There is a secret and no gateway id.
    #[error("there is a secret but no gateway id: dialling without credentials")]
    SecretWithoutId,
    /// There is a gateway id and no secret.
    #[error("there is a gateway id but no secret: dialling without credentials")]
    IdWithoutSecret,
    /// The URL has a user name or password, which nothing asks for: a gateway shows a token (DIAL-2).
    #[error("the user name and password in the relay URL are not used")]
    UserInUrl,
}
