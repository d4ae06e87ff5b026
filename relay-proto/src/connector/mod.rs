//! The connector half: one gateway, as its connector sees it, is one [`Peer`].
//!
//! A peer owns what the links of one gateway share, which is its buffer, and the one link that currently speaks for it.
//! It has the same shape as the [gateway half](crate::gateway): it never blocks, never reads a clock, never spawns; its
//! inputs are the `handle_*` methods and the commands, each with the time; its outputs are polled. **After any input,
//! drain every output, then wait for bytes, a command or the deadline, whichever comes first.**
//!
//! Who a link speaks for is decided before there is one: [`authenticate`] turns the token of an upgrade into a
//! [`GatewayId`] (CONN-1), and the host keeps one peer for each of those.
//!
//! ```
//! use relay_proto::connector::{Event, Output, Peer, Settings, Transmit};
//! use relay_proto::frame::{Descriptor, RawJson};
//! use relay_proto::time::Now;
//!
//! let now = Now::default();
//! let mut peer = Peer::in_memory(Settings::default(), 7, now);
//!
//! // An event may come before the gateway does: it waits.
//! let entry = peer.deliver(&RawJson::parse(r#"{"text":"hi"}"#)?, now)?;
//! assert_eq!(peer.poll_output(), Some(Output::Accepted(entry)));
//!
//! // A link: its hello is answered with a descriptor, and the event goes out behind that.
//! let link = peer.handle_opened(now);
//! peer.handle_message(link, br#"{"type":"hello","platform":"discord","botId":"1234"}"#, now);
//! let Some(Output::Hello { hello, identity }) = peer.poll_output() else { panic!() };
//! peer.describe(hello, &Descriptor::new(identity.platform), now)?;
//! assert!(matches!(peer.poll_transmit(link), Some(Transmit::Text(frame)) if frame.contains("\"descriptor\"")));
//! let Some(Transmit::Text(frame)) = peer.poll_transmit(link) else { panic!() };
//! assert_eq!(frame, format!("{{\"type\":\"inbound\",\"event\":{{\"text\":\"hi\"}},\"bufferId\":\"{entry}\"}}\n"));
//!
//! // It leaves the buffer with its acknowledgement.
//! peer.handle_message(link, format!("{{\"type\":\"inbound_ack\",\"bufferId\":\"{entry}\"}}\n").as_bytes(), now);
//! assert!(matches!(peer.poll_event(), Some(Event::Hello(_))));
//! assert_eq!(peer.poll_event(), Some(Event::Acked(entry)));
//! assert_eq!(peer.buffered(), 0);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # Where entries are kept
//! With [`Peer::in_memory`] they are kept in the peer, and [`Output::Accepted`] follows at once. With [`Peer::stored`]
//! the host keeps them: [`Output::Append`] says what to store, and only when
//! [`handle_stored`](Peer::handle_stored) says that it is durable is it accepted, and may go out. What was sent is
//! therefore always in the store, and after a crash the store is the whole truth (CONN-7). The peer holds about two
//! windows of entries, and reads the rest with [`Output::Fetch`] when their turn comes; [`Output::Discard`] deletes what
//! was acknowledged. The rules are the same in both.
//!
//! # Forwards that nobody acknowledges
//! The reference gateway, up to and including 0.19, never acknowledges a `passthrough_forward`. An entry leaves on its
//! ack and a window is bounded (CONN-3), so without an exception sixteen forwards would stop that gateway's deliveries
//! for ever. The exception is for gateways that have never acknowledged a forward, and for forwards only; from the first
//! ack of a forward on, a late one included, a gateway is held to the rule for as long as its peer lives.
//!
//! - A forward that a link has carried for [`Timing::forward_patience`] is *presumed taken* once the gateway answered a
//!   ping that was written behind it: [`Transmit::Probe`], whose pong [`Peer::handle_pong`] is told. The transport keeps
//!   the order, so the gateway has received it, and reads on. Nothing else that it says is proof: a gateway can say much
//!   while it reads nothing.
//! - When the link ends before that, the forward is replayed like everything else, but only over
//!   [`Limits::forward_attempts`] links: then it is *given up*, since a gateway that dies of it, or that reconnects
//!   faster than the patience, would be given the same request for ever.
//!
//! Both leave a [`Notice`] and an event ([`Event::AssumedAcked`], [`Event::GivenUp`]), and are counted. What is risked is a
//! forward that the gateway received and lost in a crash of its own, before it acknowledged any: exactly what its silence
//! gives no means to notice.
//!
//! A restart of the connector forgets which gateways acknowledge forwards, and how many links carried one. A gateway that
//! does not gets up to a window of them again, on up to as many links. One that does is unproven until its next ack of a
//! forward: if that takes it longer than the patience, the forward leaves before the ack, and a gateway that dies over
//! it loses it, as with a gateway that is new. This is not stored, because it takes a restart, a slow gateway and its
//! crash at once. Where that is too much, and every gateway acknowledges forwards, `forward_patience: None` with
//! `forward_attempts: u32::MAX` holds all of them to their acks from the start.
//!
//! # Gateways that acknowledge nothing
//! The reference gateway before 0.18 acknowledges no delivery at all. By the rule it gets one window on each link, then
//! nothing more on it, and the same window on the next. With [`AckPolicy::Assumed`], given to
//! [`Settings::with_acks`], an entry counts as acknowledged once it has been handed to the link: taken from
//! [`poll_transmit`](Peer::poll_transmit), it leaves the buffer with the next input, for which there is a
//! [deadline](Peer::poll_timeout) that is due at once. [`Event::AssumedAcked`] tells, and [`Output::Discard`] deletes it
//! from a store.
//!
//! - *The price.* Delivery is at most once across a cut: what was under way when the link broke, in this host's buffers,
//!   on the network or in the gateway's, is lost, and nobody is told. (A crash of the connector, in contrast, may repeat
//!   what the store had not deleted: a window at most.)
//! - *Why it has to be asked for.* A gateway that is slow to acknowledge cannot be told from one that never does. Only
//!   whoever runs them knows, and only they can accept the price.
//! - *Who it is for.* The policy belongs to a peer, so that a host can choose for each gateway. One that acknowledges
//!   anything is held to its acks from then on, for as long as its peer lives. That limits a wrong choice and does not
//!   make it a right one: until a slow gateway's first ack, all that waited for it may have gone out.
//! - *What remains.* The window bounds what is handed out between two inputs, and a host hands out no more than its
//!   connection has room for: a gateway that does not read makes nothing pile up but its buffer. Nothing is handed out
//!   while the application leaves its events unread, nor to a gateway that went idle.
//!
//! # What a gateway can cost
//! Everything that it can send is bounded by [`Limits`]: the line, the hellos, the outbounds that wait, the events that
//! the application has not read, the answers that it does not read itself. At the bounds in bytes the link is
//! [not read](Peer::wants_read), at the others it is answered or closed. Deliveries are written only when there is room
//! for them, so a gateway that does not read makes nothing pile up but its buffer.
//!
//! # How it is put together
//! Each part has one owner: what belongs to a link (`link`), entries and their order (`buffer`), unread events
//! (`queue`). The peer wires them. There is one place for the current link, so there cannot be two; timers are not
//! stored but computed from what is there. What is in flight is not stored either, but for how much it is: it is what the
//! buffer still has below the place that the current link has come to.

mod assumed_acks;
mod auth;
mod buffer;
mod commands;
mod config;
mod inbound;
mod link;
mod output;
mod peer;
mod queue;
mod store;
#[cfg(test)]
mod tests;
mod timers;

pub use crate::transmit::Transmit;
pub use auth::{GatewayId, Refusal, authenticate, without_credentials};
pub use config::{AckPolicy, Limits, Settings, SettingsError, Timing};
pub use output::{
    Deadline, Ended, EntryId, Event, Fetch, HelloId, Identity, LinkId, Notice, Outbound, OutboundId, Output, Reason,
    Refused, Stats,
};
pub use peer::{Backlog, Peer};
