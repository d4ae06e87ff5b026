//! The Hermes relay protocol on async-std and smol.
//!
//! ```no_run
//! use relay_async_std::{Config, Event};
//!
//! # #[async_std::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::new("https://connector.example").identity("discord", "1234").credentials("my-gateway", "s3cret");
//! let (gateway, mut events) = relay_async_std::connect(config)?;
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
//! The sockets and timers are async-io's, which async-std and smol share, and which work under every executor: with smol,
//! or another one, spawn the future that [`gateway`] returns. Without the feature `async-std` that runtime is no
//! dependency, and `connect` is not there.
//!
//! Everything but the sockets and the timer is [`relay_proto::client`], and re-exported here.

mod net;

use std::future::Future;

#[doc(inline)]
pub use relay_proto::prelude::*;

use relay_proto::client;

/// Starts a gateway on async-std's executor, and returns at once: the first dial is under way. What comes of it is an
/// event, and so is everything after it.
///
/// There is no link yet when this returns: what is sent right away ends as [`NotSent::NoLink`]. Send after
/// [`Event::Ready`], or let the request wait for the link, within its own deadline:
///
/// ```no_run
/// # async fn greet(gateway: relay_async_std::Gateway) -> Result<(), relay_async_std::RequestError> {
/// use relay_async_std::{Action, RequestOptions};
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
/// [`ConfigError`]: the configuration is wrong.
#[cfg(feature = "async-std")]
pub fn connect(config: Config) -> Result<(Gateway, Events), ConfigError> {
    connect_with_tls(config, None)
}

/// The same with an own TLS configuration, for `wss`. `None`: the platform's trust store.
///
/// # Errors
/// As [`connect`].
#[cfg(feature = "async-std")]
pub fn connect_with_tls(config: Config, tls: Option<ClientTls>) -> Result<(Gateway, Events), ConfigError> {
    let (gateway, events, driving) = gateway(config, tls)?;
    async_std::task::spawn(driving);
    Ok((gateway, events))
}

/// A gateway for any executor: spawn the future, which ends when the gateway has. Until it is polled, nothing happens; if
/// it is dropped, the gateway ends.
///
/// ```no_run
/// # let config = relay_async_std::Config::new("https://connector.example").identity("discord", "1234");
/// let (gateway, events, driving) = relay_async_std::gateway(config, None)?;
/// smol::spawn(driving).detach();
/// # Ok::<(), relay_async_std::ConfigError>(())
/// ```
///
/// # Errors
/// [`ConfigError`]: the configuration is wrong.
pub fn gateway(
    config: Config,
    tls: Option<ClientTls>,
) -> Result<(Gateway, Events, impl Future<Output = ()> + Send + 'static), ConfigError> {
    let (gateway, events, driver) = client::gateway(config.build()?, tls);
    Ok((gateway, events, client::drive(driver, net::AsyncIo::default())))
}
