//! The Hermes relay protocol on threads: `std` and nothing else, no async runtime.
//!
//! ```no_run
//! use relay_blocking::{Config, Event};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::new("https://connector.example").identity("discord", "1234").credentials("my-gateway", "s3cret");
//! let (gateway, events) = relay_blocking::connect(config)?;
//! for event in events {
//!     let Event::Delivery(delivery) = event else {
//!         eprintln!("{event:?}");
//!         continue;
//!     };
//!     if let Some(message) = delivery.message()
//!         && let Err(error) = gateway.reply(message, &format!("you said: {}", message.text()))
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
//! # Waiting
//! [`Gateway`]'s methods and the [`Events`] iterator block the calling thread, and only that. A thread of an async
//! runtime that calls them is blocked as well: use [`Gateway::as_async`] there, or the crate of that runtime.
//!
//! # Threads
//! A gateway has one thread, `relay-driver`, and one more for its connection, `relay-link`. They sleep in the operating
//! system until there is something to do: an idle gateway uses no CPU. What is sent is written by the thread that sends
//! it, and what arrives is read by one that waits for it, as long as any does; so a row of requests wakes no other thread.
//! A waker of yours, given to a future of [`Gateway::as_async`], may be called on such a thread: like every waker, it must
//! not block, and so must not call this crate's methods that do.
//! When the connection takes no more, a third thread, `relay-writer`, waits for it.
//!
//! All of them are gone soon after the gateway has ended. Two system calls cannot be interrupted: a connection attempt
//! that nobody wants any more keeps its `relay-link` for up to 20 s, and a name lookup (`relay-lookup`, of which a gateway
//! has at most one) takes as long as the system's resolver does. Neither holds anything else up.
//!
//! # Features
//! - `enroll`: `relay_blocking::enroll`, which gets a gateway its credentials over HTTP. Off by default.
//!
//! Everything but sockets and threads is [`relay_proto::client`], and re-exported here.

#[cfg(feature = "enroll")]
pub mod enroll;
mod events;
mod gateway;
mod signal;
mod system;
mod threads;

#[doc(inline)]
pub use relay_proto::prelude::*;

pub use self::events::{Events, NotYet};
pub use self::gateway::Gateway;
pub use self::signal::block_on;

use relay_proto::client;

use crate::system::net::ToSocketAddrs;

/// Starts a gateway, and returns at once: the first dial is under way. What comes of it is an event, and so is everything
/// after it.
///
/// There is no link yet when this returns: what is sent right away ends as [`NotSent::NoLink`]. Send after
/// [`Event::Ready`], or let the request wait for the link, within its own deadline:
///
/// ```no_run
/// # fn greet(gateway: relay_blocking::Gateway) -> Result<(), relay_blocking::RequestError> {
/// use relay_blocking::{Action, RequestOptions};
///
/// let greeting = Action::send("c1", "Good morning.");
/// gateway.perform(greeting, RequestOptions::default().wait_for_link())?;
/// gateway.close();
/// # Ok(())
/// # }
/// ```
///
/// Before the process ends, close the gateway, and wait for it ([`Gateway::close`]): requests under way get their results,
/// acknowledgements leave, and the connector is told. A process that just ends cuts its link, and what it had taken may come
/// again.
///
/// # Errors
/// [`ConnectError`]: the configuration is wrong, or the system has no thread to spare.
pub fn connect(config: Config) -> Result<(Gateway, Events), ConnectError> {
    connect_with_tls(config, None)
}

/// The same with an own TLS configuration, for `wss`. `None`: the platform's trust store.
///
/// # Errors
/// As [`connect`].
pub fn connect_with_tls(config: Config, tls: Option<ClientTls>) -> Result<(Gateway, Events), ConnectError> {
    let settings = config.build()?;
    let (gateway, events, driver) = client::gateway(settings, tls);
    let resolver = |host: &str, port| Ok((host, port).to_socket_addrs()?.collect());
    let threads = threads::start(driver, resolver).map_err(ConnectError::Thread)?;
    Ok((Gateway { inner: gateway, threads: threads.clone() }, Events { inner: events, threads }))
}

/// Why no gateway was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The system started no thread. Later on, this is a dial that fails.
    #[error("no thread could be started: {0}")]
    Thread(std::io::Error),
}
