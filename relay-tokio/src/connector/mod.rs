//! A connector on tokio: [`serve`] a listener, deliver through the [`Connector`] handle, read its [`Events`].
//!
//! ```
//! use relay_proto::frame::{Descriptor, RawJson};
//! use relay_tokio::connector::{self, Connector};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let config = connector::Config::new().gateway("my-gateway", "s3cret").descriptor(Descriptor::new("discord"));
//! let (connector, events) = connector::serve(listener, config)?;
//!
//! // It waits for the gateway in memory, and leaves on its acknowledgement.
//! let gateway = connector.gateway("my-gateway");
//! gateway.deliver(&RawJson::parse(r#"{"text":"hi","source":{"platform":"discord","chat_id":"c1"}}"#)?).await?;
//! assert_eq!(gateway.buffered(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! The rules are those of [`relay_proto::connector`]; this crate moves bytes. Entries are kept in memory, and end with
//! the process.

mod config;
mod hub;
mod link;

use std::sync::Arc;

use relay_proto::connector as proto;
use relay_proto::frame::RawJson;
use tokio::net::TcpListener;

pub use self::config::Config;
pub use relay_proto::connector::{
    Ended, EntryId, Event, GatewayId, Identity, LinkId, Outbound, OutboundId, Refused, Stats,
};

use self::hub::Hub;

/// Serves a listener until [`Connector::shutdown`], or until every handle and the [`Events`] are dropped. Returns at
/// once.
///
/// # Errors
/// When this is not called from within a tokio runtime, or the listener has no address.
pub fn serve(listener: TcpListener, config: Config) -> std::io::Result<(Connector, Events)> {
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Handle::try_current().map_err(std::io::Error::other)?;
    let hub = Arc::new(Hub::new(config));
    runtime.spawn(link::accept(listener, hub.clone()));
    let users = Arc::new(Users(hub.clone()));
    Ok((Connector { address, hub, users: users.clone() }, Events { _users: users }))
}

/// The handle of a connector. Clones are of the same connector.
#[derive(Clone, Debug)]
pub struct Connector {
    address: std::net::SocketAddr,
    hub: Arc<Hub>,
    users: Arc<Users>,
}

impl Connector {
    /// Where it listens.
    pub fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    /// One gateway, linked or not. A connector without authentication has one gateway alone, of this name or any other.
    pub fn gateway(&self, id: &str) -> Gateway {
        let id = if self.hub.authenticates() { GatewayId::unverified(id) } else { hub::anyone() };
        Gateway { id, hub: self.hub.clone(), _users: self.users.clone() }
    }

    /// Closes every link with 1001, and waits until they are gone.
    pub async fn shutdown(&self) {
        self.hub.shutdown().await;
    }
}

/// One gateway, as its connector sees it.
#[derive(Clone, Debug)]
pub struct Gateway {
    id: GatewayId,
    hub: Arc<Hub>,
    _users: Arc<Users>,
}

impl Gateway {
    /// Appends a message event, a JSON object, to the gateway's buffer. Ready once it is accepted: from then on it is
    /// delivered as soon as a link can carry it, and again until it is acknowledged.
    ///
    /// # Errors
    /// [`Refused`] when it is not taken up.
    pub async fn deliver(&self, event: &RawJson) -> Result<EntryId, Refused> {
        self.hub.with(&self.id, |peer, now| peer.deliver(event, now))
    }

    /// Appends a passthrough forward, a JSON object.
    ///
    /// # Errors
    /// As [`deliver`](Self::deliver).
    pub async fn forward(&self, forward: &RawJson) -> Result<EntryId, Refused> {
        self.hub.with(&self.id, |peer, now| peer.forward(forward, now))
    }

    /// Tells the gateway that a user stopped a session.
    ///
    /// # Errors
    /// [`Refused`] when there is no link that could carry it.
    pub fn interrupt(&self, session_key: &str, chat_id: &str) -> Result<(), Refused> {
        self.hub.with(&self.id, |peer, now| peer.interrupt(session_key, chat_id, now))
    }

    /// Answers an outbound with its result.
    ///
    /// # Errors
    /// [`Refused::NotWaiting`] when its link is gone or it was answered before.
    pub fn answer(&self, outbound: OutboundId, result: &RawJson) -> Result<(), Refused> {
        self.hub.with(&self.id, |peer, now| peer.answer(outbound, result, now))
    }

    /// Drops the link without a close frame, as a network would. Whether there was one.
    pub fn drop_link(&self) -> bool {
        self.hub.with(&self.id, |peer, now| peer.drop_link(now))
    }

    /// Revokes the gateway's secrets: closes its link with 4401 and refuses the next. Whether there was a link.
    pub fn revoke(&self) -> bool {
        self.hub.with(&self.id, |peer, now| peer.revoke(now))
    }

    /// Whether it has a link.
    pub fn is_linked(&self) -> bool {
        self.hub.view(&self.id, |peer| peer.current_link().is_some())
    }

    /// How many entries it has not acknowledged.
    pub fn buffered(&self) -> u64 {
        self.hub.view(&self.id, |peer| peer.buffered())
    }

    /// What has been counted.
    pub fn stats(&self) -> Stats {
        self.hub.view(&self.id, |peer| peer.stats().clone())
    }
}

/// What the gateways do, one reader for all of them.
#[derive(Debug)]
pub struct Events {
    _users: Arc<Users>,
}

impl Events {
    /// The next event, and whose it is; `None` once the connector is shut down and everything is read. Dropping the
    /// future loses nothing.
    pub async fn next(&mut self) -> Option<(GatewayId, proto::Event)> {
        self._users.0.next_event().await
    }
}

/// Handles and events together. The last one to go shuts the connector down.
#[derive(Debug)]
struct Users(Arc<Hub>);

impl Drop for Users {
    fn drop(&mut self) {
        self.0.begin_shutdown();
    }
}
