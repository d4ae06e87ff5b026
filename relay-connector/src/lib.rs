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
//! While no token is required, what a web page sends (it has an `Origin`) is refused: any page in a browser on the same
//! machine could be the gateway otherwise (CONN-10).
//!
//! # HTTP
//! Gateways dial `/relay`. `GET /healthz`, or `HEAD`, is answered with 200 and `ok` as long as the process serves, whatever the
//! state of its store; any other path gets 400.
//!
//! Gateways without credentials enrol at `POST /relay/enroll`, if [`Config::enrolment`] lets them, and every gateway can
//! tell its policy at `POST /relay/policy` (ENROLL-5, POLICY-1): it is [held](Gateway::policies), and told through
//! [`Config::http_events`]. What to do with it is up to the host.

mod admission;
mod clock;
mod config;
mod disk;
mod enrolment;
mod error;
mod gateway_entry;
mod handle;
mod http;
mod lifecycle;
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

use relay_proto::token::Secret;
use tokio::net::{TcpListener, TcpSocket};

pub use self::config::Config;
pub use self::disk::Disk;
pub use self::enrolment::{Enrolment, HttpEvent};
pub use self::error::{DeliverError, ServeError};
pub use self::handle::{Connector, Events, Gateway};
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
    Ok(start(listener, address, &runtime, Arc::new(Server::new(config.into(), &runtime, None, Vec::new(), enroller))))
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
    let server = Arc::new(Server::new(config.into(), &runtime, Some(store_worker.clone()), backlogs, enroller));
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
    Connector::new(address, server)
}
