//! A connector on tokio: [`serve`] a listener, deliver through the [`Connector`] handle, read its [`Events`].
//!
//! ```
//! use relay_connector::{Config, Descriptor, RawJson};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let secret = "ab6c1ff3d89f0c5e"; // Take one of your own, of 16 random bytes or more.
//! let config = Config::new().gateway("my-gateway", secret).descriptor(Descriptor::new("discord"));
//! let (connector, events) = relay_connector::serve(listener, config)?;
//!
//! // It waits for the gateway in memory, and leaves on its acknowledgement.
//! let gateway = connector.gateway("my-gateway");
//! gateway.deliver(&RawJson::parse(r#"{"text":"hi","source":{"platform":"discord","chat_id":"c1"}}"#)?).await?;
//! assert_eq!(gateway.buffered(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! The rules are those of [`relay_proto::connector`]; this crate moves bytes.
//!
//! # What survives
//! [`serve`] keeps entries in memory: they end with the process. [`serve_with`] keeps them in a [`Store`], of which
//! [`Disk`] is one: what [`deliver`](Gateway::deliver) returned `Ok` for is delivered even if the process is killed at
//! that moment, and after a start the gateways get what they have not acknowledged, in order (CONN-7).
//!
//! ```
//! use relay_connector::{Config, Disk, RawJson};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("relay.store");
//! for waiting in [1, 2] {
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//!     let store = Disk::open(&path)?;
//!     let (connector, _events) = relay_connector::serve_with(listener, Config::new(), store)?;
//!     let gateway = connector.gateway("default");
//!     gateway.deliver(&RawJson::parse(r#"{"text":"hi"}"#)?).await?;
//!     assert_eq!(gateway.buffered(), waiting);
//!     connector.shutdown().await;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Gateways that mean harm
//! Whatever one does, it costs a bounded amount, and the others do not wait for it: links take turns, every gateway has a
//! lock of its own, what one may have unread, unanswered or unacknowledged is bounded by
//! [`Limits`], a socket that takes nothing ends its link after [`Config::write_timeout`],
//! refused tokens are counted by address and by id, and beyond a limit nothing is verified ([`Config::refusals`]), and
//! connections that are no links are bounded by [`Config::unlinked`].
//!
//! While nobody has to authenticate, what a web page sends (it has an `Origin`) is refused: any page in a browser on the same
//! machine could be the gateway otherwise (CONN-10).
//!
//! # HTTP
//! Gateways dial `/relay`. `GET /healthz`, or `HEAD`, is answered with 200 and `ok` as long as the process serves, whatever the
//! state of its store; any other path gets 400.
//!
//! Gateways without credentials enrol at `POST /relay/enroll`, if [`Config::enrolment`] lets them, and every gateway can
//! tell its policy at `POST /relay/policy` (ENROLL-5, POLICY-1): it is [held](Gateway::policies), and told through
//! [`Config::http_events`]. What to do with it is up to the host.

mod clock;
mod config;
mod disk;
mod enrolment;
mod gateway_entry;
mod http;
mod link;
mod listener;
mod pending_connections;
mod refusals;
mod server;
mod store;
mod store_worker;
mod thread;
mod throttle;

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use relay_proto::connector as proto;
use relay_proto::token::Secret;
use tokio::net::{TcpListener, TcpSocket};

pub use self::config::Config;
pub use self::disk::Disk;
pub use self::enrolment::{Enrolment, HttpEvent};
pub use self::store::{Change, Grant, Revocation, Store, StoreError, StoreProblem};
pub use relay_proto::connector::{
    AckPolicy, Backlog, Ended, EntryId, Event, Fetch, GatewayId, Identity, Limits, LinkId, Outbound, OutboundId,
    Refused, Stats,
};
pub use relay_proto::enroll::{Credential, Policy};
pub use relay_proto::frame::{Descriptor, RawJson};
pub use relay_proto::wire::ServerTls;

use self::enrolment::Enroller;
use self::server::Server;
use self::store_worker::StoreWorker;
use self::thread::on_a_thread;

/// Listens for [`serve`], or for [`serve_with`], on an address or on `HOST:PORT`: port 0 is one that the system picks.
///
/// Up to 4,096 connections wait to be accepted; [`TcpListener::bind`] lets 128 do so, and whoever comes while they do tries
/// again only after a second. Many gateways come at once after a restart.
///
/// # Errors
/// What the system says about the last address that the name stands for.
pub async fn listen(address: impl fmt::Display) -> std::io::Result<TcpListener> {
    let name = address.to_string();
    let addresses = match name.parse() {
        Ok(address) => vec![address],
        Err(_) => on_a_thread("relay-lookup", move || name.to_socket_addrs()).await??.collect(),
    };
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match listen_at(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn listen_at(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As `bind` has it: a port whose last connections are still being forgotten can be listened on.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4096)
}

/// Serves a listener until [`Connector::shutdown`], or until every handle and the [`Events`] are dropped. Returns at
/// once. What it accepts is kept in memory.
///
/// [`listen`] makes a listener.
///
/// # Errors
/// When this is not called from within a tokio runtime, the listener has no address, or an enrolment token is too short.
pub fn serve(listener: TcpListener, config: Config) -> std::io::Result<(Connector, Events)> {
    let (address, runtime) = ready(&listener, &config)?;
    let enroller = Enroller::new(config.enrolment.clone(), None, Vec::new(), Vec::new());
    Ok(start(listener, address, &runtime, Arc::new(Server::new(config, &runtime, None, Vec::new(), enroller))))
}

/// The same with a [`Store`], which keeps what is accepted. Blocks while the store says what it holds; entries of
/// gateways that the configuration does not know stay there, and wait for it to.
///
/// # Errors
/// [`ServeError`]: as for [`serve`], or because of the store.
pub fn serve_with(listener: TcpListener, config: Config, store: impl Store) -> Result<(Connector, Events), ServeError> {
    let (address, runtime) = ready(&listener, &config)?;
    let backlogs = store.backlogs()?;
    let store_worker = Arc::new(StoreWorker::new(config.unstored));
    let (grants, revocations) = (store.grants()?, store.revocations()?);
    let store: Arc<dyn Store> = Arc::new(store);
    let enroller = Enroller::new(config.enrolment.clone(), Some(Arc::downgrade(&store)), grants, revocations);
    enroller.report_revoked(&config.secrets);
    let server = Arc::new(Server::new(config, &runtime, Some(store_worker.clone()), backlogs, enroller));
    store_worker.start(&server, store)?;
    Ok(start(listener, address, &runtime, server))
}

fn ready(listener: &TcpListener, config: &Config) -> std::io::Result<(SocketAddr, tokio::runtime::Handle)> {
    if let Some(problem) = config.enrolment.as_ref().and_then(Enrolment::problem) {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, problem));
    }
    let weak: Vec<&str> =
        config.secrets.iter().filter(|(_, secrets)| secrets.iter().any(Secret::is_weak)).map(|(id, _)| &**id).collect();
    if let Some(first) = weak.first() {
        let others = weak.len() - 1;
        tracing::warn!(gateway = first, others, "the secret can be guessed: take 16 random bytes or more");
    }
    if config.enrolment.as_ref().is_some_and(Enrolment::is_weak) {
        tracing::warn!("an enrolment or identity token can be guessed: take 16 random bytes or more");
    }
    Ok((listener.local_addr()?, tokio::runtime::Handle::try_current().map_err(std::io::Error::other)?))
}

fn start(
    listener: TcpListener,
    address: std::net::SocketAddr,
    runtime: &tokio::runtime::Handle,
    server: Arc<Server>,
) -> (Connector, Events) {
    runtime.spawn(listener::accept(listener, server.clone()));
    let users = Arc::new(Users(server.clone()));
    (Connector { address, server, users: users.clone() }, Events { users })
}

/// Why no connector was started.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The caller is not within a tokio runtime, the listener has no address, an enrolment token is too short, or no thread
    /// could be started.
    Io(std::io::Error),
    /// The store does not say what it holds.
    Store(StoreError),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ServeError {}

impl From<std::io::Error> for ServeError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<StoreError> for ServeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Why an event or a forward was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeliverError {
    /// It was not taken up.
    Refused(Refused),
    /// The store failed. The entry will not be delivered, unless the process ends before the store works again: what the
    /// store has of it is deleted then. Later deliveries may succeed.
    NotStored(StoreError),
}

impl fmt::Display for DeliverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::NotStored(error) => write!(f, "not stored: {error}"),
        }
    }
}

impl std::error::Error for DeliverError {}

impl From<Refused> for DeliverError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// The handle of a connector. Clones are of the same connector.
#[derive(Clone, Debug)]
pub struct Connector {
    address: std::net::SocketAddr,
    server: Arc<Server>,
    users: Arc<Users>,
}

impl Connector {
    /// Where it listens.
    pub fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    /// One gateway, linked or not. A connector without authentication has one gateway alone, of this name or any other.
    pub fn gateway(&self, id: &str) -> Gateway {
        let id = if self.server.authenticates() { GatewayId::unverified(id) } else { server::anyone() };
        Gateway { id, server: self.server.clone(), _users: self.users.clone() }
    }

    /// Whether gateways have to authenticate: some have a secret, can enrol, or once enrolled.
    pub fn authenticates(&self) -> bool {
        self.server.authenticates()
    }

    /// The gateways that something was granted to by enrolment, and not taken back: sorted.
    pub fn enrolled(&self) -> Vec<GatewayId> {
        self.server.enroller.enrolled().into_iter().map(GatewayId::unverified).collect()
    }

    /// Another certificate, as after a renewal: connections that come from now on are served with it, and those that there
    /// are go on as they were. `false`: this connector was started without TLS, and stays without.
    pub fn set_tls(&self, tls: ServerTls) -> bool {
        self.server.set_tls(tls)
    }

    /// Closes every link with 1001, and waits until they are gone, with their last acknowledgements, and until the store
    /// has committed everything and is closed: it may be opened again then.
    pub async fn shutdown(&self) {
        self.server.shutdown().await;
    }
}

/// One gateway, as its connector sees it.
#[derive(Clone, Debug)]
pub struct Gateway {
    id: GatewayId,
    server: Arc<Server>,
    _users: Arc<Users>,
}

impl Gateway {
    /// Appends a message event, a JSON object, to the gateway's buffer. Ready once it is accepted: from then on it is
    /// delivered as soon as a link can carry it, and again until it is acknowledged. Concurrent deliveries are ordered as
    /// their futures are first polled, and share what a [`Store`] does for them: to be fast, have many under way. With
    /// [`Config::unstored`] bytes waiting for the store it waits for room first.
    ///
    /// Dropping the future before it is ready does not take the entry back: it may or may not be delivered.
    ///
    /// # Errors
    /// [`DeliverError`] when it is not accepted.
    pub async fn deliver(&self, event: &RawJson) -> Result<EntryId, DeliverError> {
        self.server.deliver(&self.id, event.as_str().len(), |peer, now| peer.deliver(event, now)).await
    }

    /// Appends a passthrough forward, a JSON object.
    ///
    /// # Errors
    /// As [`deliver`](Self::deliver).
    pub async fn forward(&self, forward: &RawJson) -> Result<EntryId, DeliverError> {
        self.server.deliver(&self.id, forward.as_str().len(), |peer, now| peer.forward(forward, now)).await
    }

    /// Tells the gateway that a user stopped a session.
    ///
    /// # Errors
    /// [`Refused`] when there is no link that could carry it.
    pub fn interrupt(&self, session_key: &str, chat_id: &str) -> Result<(), Refused> {
        self.server.with(&self.id, |peer, now| peer.interrupt(session_key, chat_id, now))
    }

    /// Answers an outbound with its result.
    ///
    /// # Errors
    /// [`Refused::NotWaiting`] when its link is gone or it was answered before.
    pub fn answer(&self, outbound: OutboundId, result: &RawJson) -> Result<(), Refused> {
        self.server.with(&self.id, |peer, now| peer.answer(outbound, result, now))
    }

    /// Answers an outbound that failed, with a text that says why. `ambiguous`: it may have been carried out nevertheless.
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
    pub fn fail(&self, outbound: OutboundId, error: &str, ambiguous: bool) -> Result<(), Refused> {
        self.server.with(&self.id, |peer, now| peer.fail(outbound, error, ambiguous, now))
    }

    /// Drops the link without a close frame, as a network would. Whether there was one.
    pub fn drop_link(&self) -> bool {
        self.server.with(&self.id, |peer, now| peer.drop_link(now))
    }

    /// Revokes the gateway's secrets until the connector ends: closes its link with 4401 and refuses the next (CONN-6).
    /// Whether there was a link. After a restart the secrets are good again, unless they are
    /// [taken back](Self::take_back) as well.
    pub fn revoke(&self) -> bool {
        self.server.enroller.revoke(&self.id);
        self.server.with(&self.id, |peer, now| peer.revoke(now))
    }

    /// Takes back for good, with a [`Store`] that keeps it, the secrets that the gateway has: what enrolment granted, and
    /// what the [configuration](Config::gateway) names. Also after a start no link is let in with them. What is being
    /// granted meanwhile is taken back as well: that enrolment is refused. A new secret in the configuration, or an
    /// enrolment token that is meant for this gateway, lets it in again.
    ///
    /// Links that there are stay, unless they are [revoked](Self::revoke). Without a store this ends with the process.
    /// Blocks while the store makes it durable.
    ///
    /// # Errors
    /// [`StoreError`]: after a start they are good again.
    pub fn take_back(&self) -> Result<(), StoreError> {
        self.server.enroller.take_back(&self.id, self.server.configured(self.id.as_str()))
    }

    /// The policies that the gateway told, sorted by platform (POLICY-1). They end with the process: a gateway tells them
    /// whenever it starts.
    pub fn policies(&self) -> Vec<Policy> {
        self.server.enroller.policies(&self.id)
    }

    /// Whether it has a link.
    pub fn is_linked(&self) -> bool {
        self.server.view(&self.id, |peer| peer.current_link().is_some()).unwrap_or_default()
    }

    /// How many entries it has not acknowledged.
    pub fn buffered(&self) -> u64 {
        self.server.view(&self.id, proto::Peer::buffered).unwrap_or_default()
    }

    /// What has been counted.
    pub fn stats(&self) -> Stats {
        self.server.view(&self.id, |peer| peer.stats().clone()).unwrap_or_default()
    }
}

/// What the gateways do, one reader for all of them.
///
/// Read them, or drop this: while a gateway has too many that are not read
/// ([`Limits::queue`]), nothing is read from it, and so its deliveries stop. Without
/// `Events` deliveries go on and nothing is told. An [outbound](Event::Outbound) that nobody has seen is answered at once,
/// as one that failed and was not carried out; interrupts are dropped.
#[derive(Debug)]
pub struct Events {
    users: Arc<Users>,
}

impl Events {
    /// The next event, and whose it is; `None` once the connector is shut down and everything is read. Dropping the
    /// future loses nothing.
    pub async fn next(&mut self) -> Option<(GatewayId, proto::Event)> {
        self.users.0.next_event().await
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.users.0.discard_events();
    }
}

/// Handles and events together. The last one to go shuts the connector down.
#[derive(Debug)]
struct Users(Arc<Server>);

impl Drop for Users {
    fn drop(&mut self) {
        self.0.begin_shutdown();
    }
}
