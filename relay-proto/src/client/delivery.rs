//! A delivery in the application's hands.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::shared::Shared;
use crate::frame::{BufferId, MessageEvent, PassthroughForward, Undecodable};
use crate::gateway::{Delivered, DeliveryId};

/// A delivery: its content, and the right to say what became of it (ACK-6).
///
/// [`ack`](Self::ack) it once the application has taken it, that is, once a crash would no longer lose it. Until then
/// the connector keeps it, and sends it again on the next link. Dropping it without a word is the same as
/// [`nack`](Self::nack), and is counted.
///
/// **Say something about every delivery**, also about those that are of no use. Acknowledgements leave in the order in
/// which their deliveries arrived (ACK-2), so one that was given back or dropped holds up the acknowledgements of
/// everything behind it until the next link, however healthy this one is; and a connector that waits for them soon
/// delivers nothing more. Give back what another link can mend, and acknowledge the rest:
///
/// ```no_run
/// # use relay_proto::client::{Event, Events, Gateway};
/// # async fn repeat(gateway: Gateway, mut events: Events) {
/// while let Some(event) = events.next().await {
///     match event {
///         Event::Message(message) => match gateway.reply(&message, message.text()).await {
///             Err(error) if error.may_succeed_later() => message.nack(), // The next link brings it again.
///             _ => message.ack(),
///         },
///         Event::Passthrough(other) => other.ack(),
///         Event::Undecodable(other) => other.ack(),
///         _ => {}
///     }
/// }
/// # }
/// ```
///
/// It derefs to its content. It may be kept for as long as needed, also over reconnects: it is shown once, and
/// acknowledged on whichever link carries it next.
#[must_use = "a delivery that is dropped without `ack` comes again on the next link, and holds up the acks behind it"]
pub struct Delivery<T> {
    shared: Arc<Shared>,
    delivered: Delivered<T>,
    open: bool,
}

impl<T> Delivery<T> {
    pub(super) fn new(shared: Arc<Shared>, delivered: Delivered<T>) -> Self {
        Self { shared, delivered, open: true }
    }

    /// The application has taken it. The acknowledgement leaves in arrival order (ACK-2); where the connector expects
    /// none, nothing does.
    pub fn ack(mut self) {
        self.open = false;
        self.shared.take(self.delivered.id);
    }

    /// The application cannot take it now. It comes again on the next link, if the connector buffers it.
    ///
    /// Until then it holds up the acknowledgements of everything behind it (ACK-2). So this is for what a new link mends;
    /// where the link is well, keep the delivery until it can be taken, or [`ack`](Self::ack) it and give up on it, or ask
    /// for the new link: [`Gateway::reconnect`](super::Gateway::reconnect).
    pub fn nack(mut self) {
        self.open = false;
        self.shared.with(|inner, now| inner.gateway.machine_mut().nack(self.delivered.id, now));
    }

    /// The content.
    pub fn payload(&self) -> &T {
        &self.delivered.payload
    }

    /// Names the delivery within this process.
    pub fn id(&self) -> DeliveryId {
        self.delivered.id
    }

    /// Its id in the connector's buffer; `None` when the connector expects no acknowledgement.
    pub fn buffer_id(&self) -> Option<&BufferId> {
        self.delivered.buffer_id.as_ref()
    }
}

impl<T: Content> Delivery<T> {
    /// A key for the application's own idempotency: the same for the same delivery in every process, so also for the
    /// copy that comes again after a crash. 32 hex digits. Messages are keyed by platform, chat, message id and content,
    /// and so whether they came live or buffered; everything else by buffer id and content.
    pub fn key(&self) -> String {
        let mut hash = Sha256::new();
        let buffer_id = self.delivered.buffer_id.as_ref().map_or("", BufferId::as_str);
        let payload = &self.delivered.payload;
        let parts = match payload.ids() {
            Some([platform, chat, id]) => ["message", platform, chat, id, payload.raw_json()],
            None => ["buffer", buffer_id, "", "", payload.raw_json()],
        };
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The content's JSON as it came; empty when there is none.
    pub fn raw(&self) -> &str {
        self.delivered.payload.raw_json()
    }
}

/// What a delivery can carry.
pub trait Content: sealed::Sealed {
    /// The content's JSON.
    #[doc(hidden)]
    fn raw_json(&self) -> &str;
    /// What names it on its platform.
    #[doc(hidden)]
    fn ids(&self) -> Option<[&str; 3]> {
        None
    }
}

impl Content for MessageEvent {
    fn raw_json(&self) -> &str {
        self.raw()
    }

    fn ids(&self) -> Option<[&str; 3]> {
        self.message_key()
    }
}

impl Content for PassthroughForward {
    fn raw_json(&self) -> &str {
        self.raw.as_str()
    }
}

impl Content for Undecodable {
    fn raw_json(&self) -> &str {
        self.raw.as_ref().map_or("", |raw| raw.as_str())
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::MessageEvent {}
    impl Sealed for super::PassthroughForward {}
    impl Sealed for super::Undecodable {}
}

impl<T> Deref for Delivery<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.delivered.payload
    }
}

impl<T: fmt::Debug> fmt::Debug for Delivery<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("id", &self.delivered.id)
            .field("buffer_id", &self.delivered.buffer_id)
            .field("payload", &self.delivered.payload)
            .finish()
    }
}

impl<T> Drop for Delivery<T> {
    fn drop(&mut self) {
        if self.open {
            self.shared.with(|inner, now| inner.gateway.machine_mut().drop_delivery(self.delivered.id, now));
        }
    }
}
