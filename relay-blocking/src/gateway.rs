//! The handle.

use std::sync::Arc;

use relay_proto::host;

use crate::signal::block_on;
use crate::{
    Action, ActionResult, ChatInfo, Delivery, Descriptor, IdleOutcome, MessageEvent, NotSent, Outcome, RawJson,
    RequestError, RequestOptions, State, Stats,
};

/// The handle of a gateway. Clones are of the same gateway; every method may be called from any thread, and as many
/// threads as there are may wait in one at the same time.
///
/// Requests can be made while an event is being handled, and complete whether or not further events are read (REQ-7).
/// When every handle and the [`Events`](crate::Events) are dropped, the gateway shuts down.
#[derive(Clone, Debug)]
pub struct Gateway {
    gateway: host::Gateway,
}

impl Gateway {
    pub(crate) fn new(gateway: host::Gateway) -> Self {
        Self { gateway }
    }

    /// The same gateway for async code, where every method here that waits is a future.
    ///
    /// The futures are driven by this crate's threads, and can be awaited on any executor, or with
    /// [`block_on`](crate::block_on). Awaiting one can be given up, by dropping it; a call of a method here cannot.
    pub fn as_async(&self) -> &host::Gateway {
        &self.gateway
    }

    /// As [`as_async`](Self::as_async), and for good.
    pub fn into_async(self) -> host::Gateway {
        self.gateway
    }

    // ── requests ─────────────────────────────────────────────────────────

    /// Sends a message into a chat, and waits for the result. Ok means delivered.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn send(&self, chat_id: &str, content: &str) -> Result<ActionResult, RequestError> {
        block_on(self.gateway.send(chat_id, content))
    }

    /// Answers a message in its chat, on its platform, quoting it, and waits for the result. Ok means delivered.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn reply(&self, to: &Delivery<MessageEvent>, content: &str) -> Result<ActionResult, RequestError> {
        block_on(self.gateway.reply(to, content))
    }

    /// Changes a message that was sent, and waits for the result.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn edit(&self, chat_id: &str, message_id: &str, content: &str) -> Result<ActionResult, RequestError> {
        block_on(self.gateway.edit(chat_id, message_id, content))
    }

    /// Shows in a chat that an answer is being written, and waits for the result.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn typing(&self, chat_id: &str) -> Result<ActionResult, RequestError> {
        block_on(self.gateway.typing(chat_id))
    }

    /// Uses a capability that the connector holds for a session, and waits for the result. The platform is the kind's
    /// prefix, when that is one that this gateway fronts: `discord.interaction_token`.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn follow_up(&self, session_key: &str, kind: &str, content: &str) -> Result<ActionResult, RequestError> {
        block_on(self.gateway.follow_up(session_key, kind, content))
    }

    /// Asks the connector what it knows about a chat (REQ-5). Its name defaults to its id, its type to `dm`.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn chat_info(&self, chat_id: &str) -> Result<ChatInfo, RequestError> {
        block_on(self.gateway.chat_info(chat_id))
    }

    /// Any operation: waits for the result, at most as long as the options say. Ok means delivered.
    ///
    /// # Errors
    /// [`RequestError`] tells what was not sent (trying again cannot do it twice) from what may have been carried out,
    /// and both from what the connector refused.
    pub fn request(&self, action: Action, options: RequestOptions) -> Result<ActionResult, RequestError> {
        block_on(self.gateway.request(action, options))
    }

    /// Any operation, as JSON (see [`action::from_json`](relay_proto::action::from_json)): waits for its outcome, and
    /// returns it as it is.
    pub fn call(&self, action: &RawJson, options: &RequestOptions) -> Outcome {
        block_on(self.gateway.call(action, options))
    }

    /// Tells the connector that the agent stopped a session. Does not wait.
    ///
    /// # Errors
    /// [`NotSent`] when there is no ready link, or the frame is over the limit.
    pub fn interrupt(&self, session_key: &str, reason: Option<&str>) -> Result<(), NotSent> {
        self.gateway.interrupt(session_key, reason)
    }

    // ── sleeping and waking ──────────────────────────────────────────────

    /// Asks the connector to stop delivering on this link, and waits for its acknowledgement; what comes waits in its
    /// buffer (IDLE-1).
    pub fn go_idle(&self) -> IdleOutcome {
        block_on(self.gateway.go_idle())
    }

    /// Goes to sleep: idle, and on the acknowledgement, for which this waits, the link is closed. The next dial comes on
    /// [`wake`](Self::wake), or after the dormant cadence, a second by default; [`hold_redial`](Self::hold_redial) parks
    /// it. Without the acknowledgement the link stays up (IDLE-2).
    pub fn go_dormant(&self) -> IdleOutcome {
        block_on(self.gateway.go_dormant())
    }

    /// Dials now, if there is no link (IDLE-2). Does not wait.
    pub fn wake(&self) {
        self.gateway.wake();
    }

    /// Parks the next dial from when it is due, for 60 s at the longest (IDLE-2). Does not wait.
    pub fn hold_redial(&self) {
        self.gateway.hold_redial();
    }

    /// Ends a hold (IDLE-2). Does not wait.
    pub fn release_redial(&self) {
        self.gateway.release_redial();
    }

    /// Makes a new link: dials, or closes the link there is and then dials. Does not wait for it. A peer that does not
    /// answer the close frame delays that by 250 ms (LINK-1).
    pub fn reconnect(&self) {
        self.gateway.reconnect();
    }

    /// Shuts down in order (CLOSE-1), and waits until it is done: the terminal state. A second call is the same as the
    /// first. After a revocation there is nothing to shut down.
    pub fn close(&self) -> State {
        block_on(self.gateway.close())
    }

    /// Waits for the end, without bringing it about: the terminal state.
    pub fn ended(&self) -> State {
        block_on(self.gateway.ended())
    }

    // ── views ────────────────────────────────────────────────────────────

    /// Where the gateway is in its life. Does not wait.
    pub fn state(&self) -> State {
        self.gateway.state()
    }

    /// Waits for a state other than `since`, and returns it. States that come and go in between may be missed.
    pub fn state_changed(&self, since: State) -> State {
        block_on(self.gateway.state_changed(since))
    }

    /// The default descriptor; `None` until a link is ready (HELLO-2). Does not wait.
    pub fn descriptor(&self) -> Option<Arc<Descriptor>> {
        self.gateway.descriptor()
    }

    /// The descriptor of one platform. Does not wait.
    pub fn descriptor_for(&self, platform: &str) -> Option<Arc<Descriptor>> {
        self.gateway.descriptor_for(platform)
    }

    /// What has been counted. Does not wait.
    pub fn stats(&self) -> Stats {
        self.gateway.stats()
    }
}
