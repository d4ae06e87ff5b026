//! The Hermes relay protocol on tokio.
//!
//! ```no_run
//! use relay_tokio::{Config, Event};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::new("https://connector.example").identity("discord", "1234").credentials("my-gateway", "s3cret");
//! let (gateway, mut events) = relay_tokio::connect(config)?;
//! while let Some(event) = events.next().await {
//!     let Event::Delivery(delivery) = event else {
//!         eprintln!("{event:?}");
//!         continue;
//!     };
//!     if let Some(message) = delivery.message()
//!         && let Err(error) = gateway.reply(message, &format!("you said: {}", message.text())).await
//!     {
//!         eprintln!("{error}");
//!         if error.may_succeed_later() {
//!             delivery.nack(); // The next link brings it again.
//!             continue;
//!         }
//!     }
//!     delivery.ack();
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Everything but the sockets and the timer is [`relay_proto::client`], and re-exported here.
//!
//! # Paused time in tests
//!
//! Gateways and connectors go by tokio's clock, so a test that pauses it (`tokio::time::pause`) makes hours pass at once. But
//! a paused clock that is left to itself jumps to the next timer as soon as every task waits, even while bytes are on their
//! way from one socket to another: a dial ends at its deadline then, before the connector could answer. Keep the clock from
//! jumping, as the documentation of `tokio::time::pause` says, and move it with `tokio::time::advance`.

mod clock;
mod net;

#[doc(inline)]
pub use relay_proto::prelude::*;

use relay_proto::client;

/// The bots of the README, which have to compile as they stand.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// Starts a gateway on the current tokio runtime, and returns at once: the first dial is under way. What comes of it is
/// an event, and so is everything after it.
///
/// There is no link yet when this returns: what is sent right away ends as [`NotSent::NoLink`]. Send after
/// [`Event::Ready`], or let the request wait for the link, within its own deadline:
///
/// ```no_run
/// # async fn greet(gateway: relay_tokio::Gateway) -> Result<(), relay_tokio::RequestError> {
/// use relay_tokio::{Action, RequestOptions};
///
/// let greeting = Action::send("c1", "Good morning.");
/// gateway.perform(greeting, RequestOptions::default().wait_for_link()).await?;
/// gateway.close().await;
/// # Ok(())
/// # }
/// ```
///
/// Before the process ends, close the gateway, and wait for it ([`Gateway::close`]): requests under way get their results,
/// acknowledgements leave, and the connector is told. A process that just ends cuts its link, and what it had taken may come
/// again.
///
/// # Errors
/// [`ConnectError`]: the configuration is wrong, or this is not called from within a tokio runtime.
pub fn connect(config: Config) -> Result<(Gateway, Events), ConnectError> {
    connect_with_tls(config, None)
}

/// The same with an own TLS configuration, for `wss`: what a [`ClientTlsBuilder`] makes, or any `rustls::ClientConfig`.
/// `None`: the platform's trust store.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use relay_tokio::{ClientTlsBuilder, Config};
///
/// let config = Config::new("https://connector.internal").identity("discord", "1234");
/// let tls = ClientTlsBuilder::new().roots(std::fs::read("our-authority.pem")?).build()?;
/// let (gateway, events) = relay_tokio::connect_with_tls(config, Some(tls))?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`connect`].
pub fn connect_with_tls(config: Config, tls: Option<ClientTls>) -> Result<(Gateway, Events), ConnectError> {
    let settings = config.build()?;
    let runtime = tokio::runtime::Handle::try_current().map_err(|_| ConnectError::NoRuntime)?;
    let (gateway, events, driver) = client::gateway_with_clock(settings, tls, clock::Clock::new(&runtime));
    runtime.spawn(client::drive(driver, net::Tokio::default()));
    Ok((gateway, events))
}

/// Why no gateway was started.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// The configuration is wrong.
    Config(ConfigError),
    /// The caller is not within a tokio runtime.
    NoRuntime,
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::NoRuntime => f.write_str("not within a tokio runtime: call this from async code, or enter a runtime"),
        }
    }
}

impl std::error::Error for ConnectError {}

impl From<ConfigError> for ConnectError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}
