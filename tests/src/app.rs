//! The application's end of a gateway.

use std::time::Duration;

use relay_connector as connector;
use relay_proto::client::{Delivery, Event, Events, Gateway};
use relay_proto::frame::{Descriptor, MessageEvent};
use relay_proto::gateway::{Config, Ended, Timing};
use relay_proto::wire::ClientTls;

use crate::host::Host;
use crate::peer::{Link, Peer};
use crate::{NEVER, guard};

/// A gateway as an application has it.
#[derive(Debug)]
pub struct App {
    /// The handle.
    pub gateway: Gateway,
    /// The events.
    pub events: Events,
}

/// Quick to dial again, and without any other deadline: no machine is too slow for a test. A test that is about a deadline
/// sets it to [`HOUR`](crate::HOUR), and lets that [pass](Gateway::advance).
pub fn quick() -> Timing {
    let mut timing = Timing::default();
    (timing.dial, timing.handshake, timing.request, timing.idle) = (NEVER, NEVER, NEVER, NEVER);
    (timing.ping_after, timing.lost_after, timing.resume, timing.stable) = (NEVER, 2 * NEVER, NEVER, NEVER);
    (timing.shutdown_idle, timing.shutdown_requests, timing.close, timing.hold_max) = (NEVER, NEVER, NEVER, NEVER);
    timing.backoff_initial = Duration::from_millis(4);
    timing.backoff_max = Duration::from_millis(16);
    timing.dormant_redial = Duration::from_millis(5);
    timing
}

/// A connector that waits for what its clients have to say as long as it takes.
pub fn patient(config: connector::Config) -> connector::Config {
    config.request_timeout(Duration::MAX)
}

/// A gateway's configuration for a scripted connector.
pub fn config(peer: &Peer) -> Config {
    Config::new(peer.url()).identity("discord", "bot-1").timing(quick())
}

impl App {
    /// Starts a gateway.
    pub fn start(host: Host, config: Config) -> Self {
        let (gateway, events) = host.connect(config);
        Self { gateway, events }
    }

    /// Starts a gateway with this TLS configuration.
    pub fn start_with_tls(host: Host, config: Config, tls: ClientTls) -> Self {
        let (gateway, events) = host.connect_with_tls(config, Some(tls));
        Self { gateway, events }
    }

    /// Starts a gateway, and takes it to the end of its handshake.
    pub async fn linked(host: Host, peer: &Peer, config: Config) -> (Self, Link) {
        let mut app = Self::start(host, config);
        let link = peer.handshake().await;
        app.ready().await;
        (app, link)
    }

    /// The next event.
    ///
    /// # Panics
    /// When there will be none.
    pub async fn event(&mut self) -> Event {
        guard("an event", self.events.next()).await.expect("an event, not the end of all events")
    }

    /// The next event, which is that a link is ready.
    ///
    /// # Panics
    /// When it is another.
    pub async fn ready(&mut self) -> std::sync::Arc<Descriptor> {
        match self.event().await {
            Event::Ready { descriptor } => descriptor,
            other => panic!("not ready: {other:?}"),
        }
    }

    /// The next event, which is a message.
    ///
    /// # Panics
    /// When it is another.
    pub async fn message(&mut self) -> Delivery {
        match self.event().await {
            Event::Delivery(delivery) if delivery.message().is_some() => delivery,
            other => panic!("not a message: {other:?}"),
        }
    }

    /// The next event, which is the end of a link or a dial, and when the next dial comes.
    ///
    /// # Panics
    /// When it is another.
    pub async fn disconnected(&mut self) -> (Ended, Option<Duration>) {
        match self.event().await {
            Event::Disconnected { ended, retry_in } => (ended, retry_in),
            other => panic!("not disconnected: {other:?}"),
        }
    }

    /// The last event, and after it none.
    ///
    /// # Panics
    /// When it is another, or not the last.
    pub async fn closed(&mut self) {
        match self.event().await {
            Event::Closed => {}
            other => panic!("not closed: {other:?}"),
        }
        assert!(guard("the end of events", self.events.next()).await.is_none(), "an event after the terminal one");
    }
}

/// What a test asks of a delivery that it knows to be a message.
pub trait IsMessage {
    /// The message.
    ///
    /// # Panics
    /// When it is something else.
    fn expected(&self) -> &MessageEvent;

    /// Its text.
    ///
    /// # Panics
    /// As [`expected`](Self::expected).
    fn text(&self) -> &str {
        self.expected().text()
    }
}

impl IsMessage for Delivery {
    fn expected(&self) -> &MessageEvent {
        self.message().unwrap_or_else(|| panic!("not a message: {self:?}"))
    }
}
