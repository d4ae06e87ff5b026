//! The gateway half: one gateway is one [`Machine`].
//!
//! The machine never blocks, never reads a clock, never spawns. Its inputs are the `handle_*` methods, about links, and
//! the commands; each takes the time. Its outputs are polled. The rule for hosts is one sentence: **after any input,
//! drain every output, then wait for bytes, a command or the deadline, whichever comes first.**
//!
//! ```
//! use relay_proto::gateway::{Config, Event, LinkRequest, Machine, Output, Transmit};
//! use relay_proto::time::Now;
//!
//! let settings = Config::new("ws://127.0.0.1:8765").identity("discord", "1234").build()?;
//! let mut now = Now { monotonic: core::time::Duration::ZERO, unix: 1_800_000_000 };
//! let mut machine = Machine::new(settings, 7, now);
//!
//! // It wants to dial, at once.
//! machine.handle_timeout(now);
//! let Some(Output::Link(LinkRequest::Dial(dial))) = machine.poll_output() else { panic!() };
//!
//! // The upgrade is accepted: hello goes out.
//! machine.handle_opened(dial.link, now);
//! let Some(Transmit::Text(hello)) = machine.poll_transmit(dial.link) else { panic!() };
//! assert_eq!(hello, "{\"type\":\"hello\",\"platform\":\"discord\",\"botId\":\"1234\"}\n");
//!
//! // A descriptor makes the link ready; a message follows, and is acknowledged once it was taken.
//! machine.handle_message(dial.link, br#"{"type":"descriptor","descriptor":{"platform":"discord"}}"#, now);
//! machine.handle_message(dial.link, br#"{"type":"inbound","bufferId":"1","event":{"text":"hi"}}"#, now);
//! assert!(matches!(machine.poll_event(), Some(Event::Ready { .. })));
//! let Some(Event::Delivery(delivered)) = machine.poll_event() else { panic!() };
//! assert_eq!(delivered.content.message().map(|message| message.text()), Some("hi"));
//! machine.ack(delivered.id, now);
//! let Some(Transmit::Text(ack)) = machine.poll_transmit(dial.link) else { panic!() };
//! assert_eq!(ack, "{\"type\":\"inbound_ack\",\"bufferId\":\"1\"}\n");
//!
//! // Silence is noticed in time.
//! let deadline = machine.poll_timeout().ok_or("a link always has a deadline")?;
//! now.monotonic = deadline.at;
//! machine.handle_timeout(now);
//! assert_eq!(machine.poll_transmit(dial.link), Some(Transmit::Ping));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! The byte level on top of this, with TLS and the WebSocket, is in [`wire`](crate::wire).
//!
//! # How it is put together
//! Each part has one owner: what belongs to a link (`link`), requests under way (`requests`), deliveries and the memory
//! of replays (`deliveries`), unread events (`queue`), when to dial (`backoff`), what a refusal means (`revocation`).
//! The machine wires them. There is one place for a link, so there cannot be two; timers are not stored but computed
//! from what is there, so none can outlive its link.

mod backoff;
mod chat;
mod commands;
mod config;
mod deliveries;
mod ending;
mod env;
mod inbound;
mod inbound_state;
mod link;
mod machine;
mod output;
mod queue;
mod requests;
mod revocation;
mod scopes;
mod shared_default;
#[cfg(test)]
mod tests;
mod timers;

pub use crate::transmit::Transmit;
pub use commands::RequestOptions;
pub use config::{Config, ConfigError, ConfigWarning, Identity, Limits, Settings, Timing};
pub use ending::{Cause, Ended};
pub use machine::Machine;
#[cfg(feature = "wire")]
pub(crate) use machine::Written;
pub use output::{
    Ambiguous, Deadline, Delivered, DeliveryId, Dial, Event, IdleId, IdleOutcome, LinkId, LinkRequest, NotSent, Notice,
    Outcome, Output, Reason, RequestId, State, Stats,
};
