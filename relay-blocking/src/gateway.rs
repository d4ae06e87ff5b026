//! The handle.

use std::fmt;
use std::future::Future;

use relay_proto::client;

use crate::system::sync::{Arc, Weak};
use crate::threads::{Threads, wait_for};
use crate::{
    Action, ActionResult, Asked, Capabilities, ChatInfo, Descriptor, IdleOutcome, MediaKind, MessageEvent, NotSent,
    Outcome, Prompt, RawJson, RequestError, RequestOptions, Sent, State, Stats, Thread,
};

/// The methods of the async handle, by the same names: those that wait there do so here, and the others do not wait.
macro_rules! methods {
    ($($(#[$doc:meta])* $how:ident fn $name:ident($($arg:ident: $type:ty),*) -> $output:ty;)+) => {
        impl Gateway {
            $($(#[$doc])* pub fn $name(&self, $($arg: $type),*) -> $output {
                self.$how(self.inner.$name($($arg),*))
            })+
        }
    };
}

/// The handle of a gateway. Clones are of the same gateway; every method may be called from any thread, and as many
/// threads as there are may wait in one at the same time.
///
/// Requests can be made while an event is being handled, and complete whether or not further events are read (REQ-7).
/// When every handle and the [`Events`](crate::Events) are dropped, the gateway shuts down.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) inner: client::Gateway,
    pub(crate) threads: Weak<Threads>,
}

impl Gateway {
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        wait_for(&self.threads, None, future).unwrap_or_else(|| unreachable!("it ends before never"))
    }

    fn at_once<T>(&self, answer: T) -> T {
        answer
    }

    /// The same gateway for async code, where every method here that waits is a future.
    ///
    /// The futures are driven by this crate's threads, and can be awaited on any executor, or with
    /// [`block_on`](crate::block_on). Awaiting one can be given up, by dropping it; a call of a method here cannot.
    pub fn as_async(&self) -> &client::Gateway {
        &self.inner
    }

    /// As [`as_async`](Self::as_async), and for good.
    pub fn into_async(self) -> client::Gateway {
        self.inner
    }
}

methods! {
    // ── requests ─────────────────────────────────────────────────────────

    /// Any operation, exactly as it is: nothing is added to it, and nobody looks whether the connector supports it, as
    /// [`perform`](Self::perform) and the methods named after operations do. Waits for the result, at most as long as the options say. Ok means delivered.
    ///
    /// # Errors
    /// [`RequestError`] tells what was not sent (trying again cannot do it twice) from what may have been carried out,
    /// and both from what the connector refused.
    block_on fn request(action: Action, options: RequestOptions) -> Result<ActionResult, RequestError>;

    /// Any operation, as JSON (see [`action::from_json`](relay_proto::action::from_json)): waits for its outcome, and
    /// returns it as it is.
    block_on fn call(action: &RawJson, options: &RequestOptions) -> Outcome;

    /// Tells the connector that the agent stopped a session. Does not wait.
    ///
    /// # Errors
    /// [`NotSent`] when there is no ready link, or the frame is over the limit.
    at_once fn interrupt(session_key: &str, reason: Option<&str>) -> Result<(), NotSent>;

    // ── chats ────────────────────────────────────────────────────────────
    //
    // Each of these goes to the chat's platform, carries what a connector has to know about the chat (CHAT-3), and fails
    // before anything is sent, if the connector does not support the operation there (CHAT-1).

    /// Sends a text into a chat, and waits for the result. A text that is too long for one message takes several, one after
    /// the other (CHAT-2). Ok means delivered.
    ///
    /// # Errors
    /// As [`perform`](Self::perform). If the text takes several messages: [`RequestError::Partial`], which has what was
    /// sent before the one that failed.
    block_on fn send(chat_id: &str, content: &str) -> Result<Sent, RequestError>;

    /// Answers a message, which may be a delivery, in its chat and thread, on its platform, quoting it, and waits for the result. As
    /// [`send`](Self::send) otherwise; of several messages the first quotes.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    block_on fn reply(to: &MessageEvent, content: &str) -> Result<Sent, RequestError>;

    /// Changes a message that was sent, and waits for the result. A text that is too long for one message is for the
    /// connector to refuse.
    ///
    /// # Errors
    /// As [`perform`](Self::perform).
    block_on fn edit(chat_id: &str, message_id: &str, content: &str) -> Result<ActionResult, RequestError>;

    /// Shows in a chat that an answer is being written, and waits for the result. It ends by itself after some seconds, or
    /// with [`clear_typing`](Self::clear_typing).
    ///
    /// # Errors
    /// As [`perform`](Self::perform).
    block_on fn typing(chat_id: &str) -> Result<ActionResult, RequestError>;

    /// Takes back that an answer is being written, and waits for the result. `None`: nothing was sent, because it ends by
    /// itself on this platform.
    ///
    /// # Errors
    /// As [`perform`](Self::perform).
    block_on fn clear_typing(chat_id: &str) -> Result<Option<ActionResult>, RequestError>;

    /// Adds a reaction to a message, and waits for the result.
    ///
    /// # Errors
    /// As [`perform`](Self::perform).
    block_on fn react(chat_id: &str, message_id: &str, emoji: &str) -> Result<ActionResult, RequestError>;

    /// Takes an own reaction back, and waits for the result.
    ///
    /// # Errors
    /// As [`perform`](Self::perform).
    block_on fn unreact(chat_id: &str, message_id: &str, emoji: &str) -> Result<ActionResult, RequestError>;

    /// Sends media that the connector fetches from an address, and waits for the result. The caption may be empty.
    ///
    /// # Errors
    /// As [`perform`](Self::perform).
    block_on fn send_media(
        chat_id: &str, kind: MediaKind, source_url: &str, caption: &str
    ) -> Result<ActionResult, RequestError>;

    /// Asks a question with buttons, and waits until it is asked. The answer is a message with a
    /// [`prompt_response`](MessageEvent::prompt_response), on Discord an interaction with one, that has the id in what this
    /// returns.
    ///
    /// # Errors
    /// As [`perform`](Self::perform); [`NotSent::BadPrompt`] when no platform could show it.
    block_on fn prompt(chat_id: &str, prompt: &Prompt) -> Result<Asked, RequestError>;

    /// A new id for a prompt, for one that is asked with an [`Action`] of your own: [`prompt`](Self::prompt) makes its own. Does
    /// not wait.
    at_once fn new_prompt_id() -> String;

    /// Whether this gateway asked a prompt. A press on a button reaches every gateway of its owner; all but the one that
    /// asked should acknowledge it and do nothing. Does not wait.
    at_once fn is_own_prompt(prompt_id: &str) -> bool;

    /// Makes a thread in a chat, and waits for the result.
    ///
    /// # Errors
    /// As [`perform`](Self::perform).
    block_on fn thread_create(chat_id: &str, name: &str) -> Result<Thread, RequestError>;

    /// Renames a thread of a chat, and waits for the result.
    ///
    /// # Errors
    /// As [`perform`](Self::perform).
    block_on fn thread_rename(chat_id: &str, thread_id: &str, name: &str) -> Result<ActionResult, RequestError>;

    /// Uses a capability that the connector holds for a session, and waits for the result. The platform is the kind's
    /// prefix, when that is one that this gateway fronts: `discord.interaction_token`. A long text is not cut, since a
    /// capability may be good for a single use.
    ///
    /// # Errors
    /// As [`perform`](Self::perform).
    block_on fn follow_up(session_key: &str, kind: &str, content: &str) -> Result<ActionResult, RequestError>;

    /// Asks the connector what it knows about a chat (REQ-5). Its name defaults to its id, its type to `dm`.
    ///
    /// # Errors
    /// As [`perform`](Self::perform).
    block_on fn chat_info(chat_id: &str) -> Result<ChatInfo, RequestError>;

    /// Any operation in a chat, with what the methods above add to theirs: waits for the result. What the action and the
    /// options say themselves stays as it is. [`request`](Self::request) adds nothing at all.
    ///
    /// # Errors
    /// As [`request`](Self::request), and [`NotSent::Unsupported`] when the connector does not support the operation. That
    /// is known once there is a link: a request that waits for one is not checked.
    block_on fn perform(action: Action, options: RequestOptions) -> Result<ActionResult, RequestError>;

    /// What can be done in a chat, on the platform where it was heard from last. `None` without a ready link. Does not wait.
    at_once fn capabilities(chat_id: &str) -> Option<Capabilities>;

    // ── time ─────────────────────────────────────────────────────────────

    /// Sets this gateway's clocks ahead, for tests: see the method of the async handle. Does not wait.
    #[cfg(feature = "test-util")]
    at_once fn advance(by: std::time::Duration) -> ();

    // ── sleeping and waking ──────────────────────────────────────────────

    /// Asks the connector to stop delivering on this link, and waits for its acknowledgement; what comes waits in its
    /// buffer (IDLE-1).
    block_on fn go_idle() -> IdleOutcome;

    /// Goes to sleep: idle, and on the acknowledgement, for which this waits, the link is closed. The next dial comes on
    /// [`wake`](Self::wake), or after the dormant cadence, a second by default; [`hold_redial`](Self::hold_redial) parks
    /// it. Without the acknowledgement the link stays up (IDLE-2).
    block_on fn go_dormant() -> IdleOutcome;

    /// Dials now, if there is no link (IDLE-2). Does not wait.
    at_once fn wake() -> ();

    /// Parks the next dial from when it is due, for 60 s at the longest (IDLE-2). Does not wait.
    at_once fn hold_redial() -> ();

    /// Ends a hold (IDLE-2). Does not wait.
    at_once fn release_redial() -> ();

    /// Makes a new link: dials, or closes the link there is and then dials. Does not wait for it. A peer that does not
    /// answer the close frame delays that by 250 ms (LINK-1).
    at_once fn reconnect() -> ();

    /// Shuts down in order (CLOSE-1), and waits until it is done: the terminal state. A second call is the same as the
    /// first. After a revocation there is nothing to shut down.
    block_on fn close() -> State;

    /// Waits for the end, without bringing it about: the terminal state.
    block_on fn ended() -> State;

    // ── views ────────────────────────────────────────────────────────────

    /// Where the gateway is in its life. Does not wait.
    at_once fn state() -> State;

    /// Waits for a state other than `since`, and returns it. States that come and go in between may be missed.
    block_on fn state_changed(since: State) -> State;

    /// The default descriptor; `None` until a link is ready (HELLO-2). Does not wait.
    at_once fn descriptor() -> Option<Arc<Descriptor>>;

    /// The descriptor of one platform. Does not wait.
    at_once fn descriptor_for(platform: &str) -> Option<Arc<Descriptor>>;

    /// What has been counted. Does not wait.
    at_once fn stats() -> Stats;
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
