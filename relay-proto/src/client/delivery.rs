//! A delivery in the application's hands.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::shared::Shared;
use crate::frame::{BufferId, Content};
use crate::gateway::{Delivered, DeliveryId};

/// A delivery: its content, and the right to say what became of it (ACK-6).
///
/// [`ack`](Self::ack) it once the application has taken it, that is, once a crash would no longer lose it. Until then
/// the connector keeps it, and sends it again on the next link. Dropping it without a word is the same as
/// [`nack`](Self::nack), and is counted.
///
/// **Ack or nack every delivery**, even those that you ignore. Acknowledgements leave in the order in which their
/// deliveries arrived (ACK-2), so one that was nacked or dropped holds up the acknowledgements of everything behind it
/// until the next link, however healthy this one is; and a connector that waits for them soon delivers nothing more. Nack
/// only what a reconnect can fix:
///
/// ```no_run
/// # use relay_proto::client::{Event, Events, Gateway};
/// # async fn repeat(gateway: Gateway, mut events: Events) {
/// while let Some(event) = events.next().await {
///     let Event::Delivery(delivery) = event else { continue };
///     if let Some(message) = delivery.message()
///         && let Err(error) = gateway.reply(message, message.text()).await
///         && error.may_succeed_later()
///     {
///         delivery.nack(); // The next link brings it again.
///         continue;
///     }
///     delivery.ack();
/// }
/// # }
/// ```
///
/// It derefs to its [`Content`]. It may be kept for as long as needed, also over reconnects: it is shown once, and
/// acknowledged on whichever link carries it next.
#[must_use = "a delivery that is dropped without `ack` comes again on the next link, and holds up the acks behind it"]
pub struct Delivery {
    shared: Arc<Shared>,
    delivered: Delivered,
    open: bool,
}

impl Delivery {
    pub(super) fn new(shared: Arc<Shared>, delivered: Delivered) -> Self {
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

    /// What it carries.
    pub fn content(&self) -> &Content {
        &self.delivered.content
    }

    /// Names the delivery within this process.
    pub fn id(&self) -> DeliveryId {
        self.delivered.id
    }

    /// Its id in the connector's buffer; `None` when the connector expects no acknowledgement.
    pub fn buffer_id(&self) -> Option<&BufferId> {
        self.delivered.buffer_id.as_ref()
    }

    /// A key for the application's own idempotency: the same for the same delivery in every process, so also for the
    /// copy that comes again after a crash. 32 hex digits. Messages are keyed by platform, chat, message id and content,
    /// and so whether they came live or buffered; everything else by buffer id and content.
    pub fn key(&self) -> String {
        let mut hash = Sha256::new();
        let buffer_id = self.delivered.buffer_id.as_ref().map_or("", BufferId::as_str);
        let content = &self.delivered.content;
        let parts = match content.message_key() {
            Some([platform, chat, id]) => ["message", platform, chat, id, content.raw()],
            None => ["buffer", buffer_id, "", "", content.raw()],
        };
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Deref for Delivery {
    type Target = Content;

    fn deref(&self) -> &Content {
        &self.delivered.content
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("id", &self.delivered.id)
            .field("buffer_id", &self.delivered.buffer_id)
            .field("content", &self.delivered.content)
            .finish()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.open {
            self.shared.with(|inner, now| inner.gateway.machine_mut().drop_delivery(self.delivered.id, now));
        }
    }
}
