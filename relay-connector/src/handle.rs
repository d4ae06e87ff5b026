//! The handles of a connector: the whole, one gateway, and the events of all.

use std::net::SocketAddr;
use std::sync::Arc;

use relay_proto::connector::{self as proto, EntryId, GatewayId, OutboundId, Refused, Stats};
use relay_proto::enroll::Policy;
use relay_proto::frame::RawJson;
use relay_proto::wire::ServerTls;

use super::admission;
use super::error::DeliverError;
use super::server::Server;
use super::store::StoreError;

/// The handle of a connector. Clones are of the same connector.
#[derive(Clone, Debug)]
pub struct Connector {
    address: SocketAddr,
    server: Arc<Server>,
    users: Arc<Users>,
}

impl Connector {
    /// The first handle of a connector, and its events.
    pub(super) fn new(address: SocketAddr, server: Arc<Server>) -> (Self, Events) {
        let users = Arc::new(Users(server.clone()));
        (Self { address, server, users: users.clone() }, Events { users })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// One gateway, linked or not. A connector without authentication has one gateway alone, of this name or any other.
    pub fn gateway(&self, id: &str) -> Gateway {
        let id = if self.server.admission.authenticates() { GatewayId::unverified(id) } else { admission::anyone() };
        Gateway { id, server: self.server.clone(), _users: self.users.clone() }
    }

    /// Whether gateways have to authenticate: some have a secret, can enrol, or once enrolled.
    pub fn authenticates(&self) -> bool {
        self.server.admission.authenticates()
    }

    /// The gateways that something was granted to by enrolment, and not taken back: sorted.
    pub fn enrolled(&self) -> Vec<GatewayId> {
        self.server.admission.enroller.enrolled().into_iter().map(GatewayId::unverified).collect()
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
    /// their futures are first polled, and share what a [`Store`](super::Store) does for them: to be fast, have
    /// many under way. With [`Config::unstored`](super::Config::unstored) bytes waiting for the store it waits for room first.
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
        self.server.admission.enroller.revoke(&self.id);
        self.server.with(&self.id, |peer, now| peer.revoke(now))
    }

    /// Takes back for good, with a [`Store`](super::Store) that keeps it, the secrets that the gateway has: what
    /// enrolment granted, and what the [configuration](super::Config::gateway) names. Also after a start no link is let in with them. What is being
    /// granted meanwhile is taken back as well: that enrolment is refused. A new secret in the configuration, or an
    /// enrolment token that is meant for this gateway, lets it in again.
    ///
    /// Links that there are stay, unless they are [revoked](Self::revoke). Without a store this ends with the process.
    /// Blocks while the store makes it durable.
    ///
    /// # Errors
    /// [`StoreError`]: after a start they are good again.
    pub fn take_back(&self) -> Result<(), StoreError> {
        self.server.admission.enroller.take_back(&self.id, self.server.admission.configured(self.id.as_str()))
    }

    /// The policies that the gateway told, sorted by platform (POLICY-1). They end with the process: a gateway tells them
    /// whenever it starts.
    pub fn policies(&self) -> Vec<Policy> {
        self.server.admission.enroller.policies(&self.id)
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
/// ([`Limits::queue`](super::Limits::queue)), nothing is read from it, and so its deliveries stop. Without
/// `Events` deliveries go on and nothing is told. An [outbound](proto::Event::Outbound) that was not seen yet is answered at once,
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
