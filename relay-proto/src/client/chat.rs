//! The handle's methods that are named after operations: what the chat layer makes of requests.

use std::ops::Deref;

use super::error::{RequestError, sort};
use super::handle::Gateway;
use crate::action::Action;
use crate::chat::{Capabilities, MediaKind, Part, Prompt, Scope};
use crate::frame::{ActionResult, ChatInfo, MessageEvent, Verdict};
use crate::gateway::{NotSent, Outcome, RequestOptions};

/// Where what shows that an answer is being written stays until it is taken back. Elsewhere it ends by itself, and what
/// takes it back would start it once more.
const PERSISTENT_TYPING: &str = "slack";

/// # Chats
/// Each of these goes to the chat's platform, carries what a connector has to know about the chat (CHAT-3), and fails
/// with [`NotSent::Unsupported`] before anything is sent, if the connector does not support the operation there (CHAT-1).
/// Ok means delivered.
impl Gateway {
    /// Sends a text into a chat: in several messages, one after the other, if it is too long for one (CHAT-2).
    ///
    /// # Errors
    /// As [`perform`](Self::perform). If the text takes several messages: [`RequestError::Partial`], which has what was
    /// sent before the one that failed.
    pub async fn send(&self, chat_id: &str, content: &str) -> Result<Sent, RequestError> {
        self.send_parts(chat_id, None, None, content, |text, _| Action::send(chat_id, text)).await
    }

    /// Answers a message, which may be a delivery, in its chat and thread, on its platform and as the bot that it was for,
    /// quoting it. As [`send`](Self::send) otherwise; of several messages the first quotes.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn reply(&self, to: &MessageEvent, content: &str) -> Result<Sent, RequestError> {
        // It may be one that was kept over a restart.
        let bot_id = {
            let mut shared = self.shared.lock();
            let machine = shared.gateway.machine_mut();
            machine.learn(to);
            machine.bot_of(to)
        };
        // Empty when the message names none: then it is not the chat of the same id on some platform.
        let source_platform = Scope::of(to).platform.unwrap_or_default();
        let answer = |text: &str, is_first| if is_first { Action::answer(to, text) } else { Action::go_on(to, text) };
        self.send_parts(to.chat_id(), Some(&source_platform), bot_id, content, answer).await
    }

    async fn send_parts(
        &self,
        chat_id: &str,
        source_platform: Option<&str>,
        bot_id: Option<String>,
        content: &str,
        action: impl Fn(&str, bool) -> Action,
    ) -> Result<Sent, RequestError> {
        let capabilities = {
            let mut shared = self.shared.lock();
            let machine = shared.gateway.machine_mut();
            // What there may be a moment later was not asked how long a text may be.
            machine.capabilities(chat_id, source_platform).ok_or_else(|| machine.unsent())?
        };
        let parts: Vec<Part<'_>> = capabilities.split(content).collect();
        let options = || RequestOptions { bot_id: bot_id.clone(), ..RequestOptions::default() };
        let content = parts.first().map_or(content.into(), Part::to_string);
        let first = self.perform_in(action(&content, true), source_platform, options()).await;
        let of = parts.len();
        let partial = |sent, error| RequestError::Partial { sent, of, error: Box::new(error) };
        let mut sent = match first {
            Ok(first) => Sent { first, rest: Vec::new() },
            Err(error) => return Err(if of > 1 { partial(Vec::new(), error) } else { error }),
        };
        for part in parts.iter().skip(1) {
            match self.perform_in(action(&part.to_string(), false), source_platform, options()).await {
                Ok(result) => sent.rest.push(result),
                Err(error) => return Err(partial(sent.into_results(), error)),
            }
        }
        Ok(sent)
    }

    /// Changes a message that was sent. A text that is too long for one message is for the connector to refuse.
    ///
    /// # Errors
    /// As [`perform`](Self::perform).
    pub async fn edit(&self, chat_id: &str, message_id: &str, content: &str) -> Result<ActionResult, RequestError> {
        self.perform(Action::edit(chat_id, message_id, content), RequestOptions::default()).await
    }

    /// Shows in a chat that an answer is being written. It ends by itself after some seconds, or with
    /// [`clear_typing`](Self::clear_typing).
    ///
    /// # Errors
    /// As [`perform`](Self::perform).
    pub async fn typing(&self, chat_id: &str) -> Result<ActionResult, RequestError> {
        self.perform(Action::typing(chat_id), RequestOptions::default()).await
    }

    /// Takes back that an answer is being written. `None`: nothing was sent, because it ends by itself on this platform.
    ///
    /// # Errors
    /// As [`perform`](Self::perform).
    pub async fn clear_typing(&self, chat_id: &str) -> Result<Option<ActionResult>, RequestError> {
        let source_platform = self.shared.lock().gateway.machine_mut().source_platform(chat_id);
        let described = || self.capabilities(chat_id).map(|known| known.platform().to_owned());
        if source_platform.or_else(described).is_some_and(|platform| platform != PERSISTENT_TYPING) {
            return Ok(None);
        }
        self.perform(Action::clear_typing(chat_id), RequestOptions::default()).await.map(Some)
    }

    /// Adds a reaction to a message.
    ///
    /// # Errors
    /// As [`perform`](Self::perform).
    pub async fn react(&self, chat_id: &str, message_id: &str, emoji: &str) -> Result<ActionResult, RequestError> {
        self.perform(Action::react(chat_id, message_id, emoji), RequestOptions::default()).await
    }

    /// Takes an own reaction back.
    ///
    /// # Errors
    /// As [`perform`](Self::perform).
    pub async fn unreact(&self, chat_id: &str, message_id: &str, emoji: &str) -> Result<ActionResult, RequestError> {
        self.perform(Action::unreact(chat_id, message_id, emoji), RequestOptions::default()).await
    }

    /// Sends media that the connector fetches from an address. The caption may be empty.
    ///
    /// # Errors
    /// As [`perform`](Self::perform).
    pub async fn send_media(
        &self,
        chat_id: &str,
        kind: MediaKind,
        source_url: &str,
        caption: &str,
    ) -> Result<ActionResult, RequestError> {
        self.perform(Action::send_media(chat_id, kind, source_url, caption), RequestOptions::default()).await
    }

    /// Asks a question with buttons. The answer is a message with a
    /// [`prompt_response`](MessageEvent::prompt_response), on Discord an interaction with
    /// [one](crate::chat::Interaction::prompt_response), that has the id in what this returns.
    ///
    /// # Errors
    /// As [`perform`](Self::perform); [`NotSent::BadPrompt`] when no platform could show it.
    pub async fn prompt(&self, chat_id: &str, prompt: &Prompt) -> Result<Asked, RequestError> {
        prompt.check().map_err(NotSent::BadPrompt)?;
        let prompt_id = self.new_prompt_id();
        let result = self.perform(prompt.to_action(chat_id, &prompt_id), RequestOptions::default()).await?;
        Ok(Asked { prompt_id, result })
    }

    /// A new id for a prompt, for one that is asked with an [`Action`] of your own: [`prompt`](Self::prompt) makes its own.
    pub fn new_prompt_id(&self) -> String {
        self.shared.lock().gateway.machine_mut().mint_prompt()
    }

    /// Whether this gateway asked a prompt. A press on a button reaches every gateway of its owner; all but the one that
    /// asked should acknowledge it and do nothing.
    pub fn is_own_prompt(&self, prompt_id: &str) -> bool {
        self.shared.lock().gateway.machine().is_own_prompt(prompt_id)
    }

    /// Makes a thread in a chat.
    ///
    /// # Errors
    /// As [`perform`](Self::perform).
    pub async fn thread_create(&self, chat_id: &str, name: &str) -> Result<Thread, RequestError> {
        let result = self.perform(Action::thread_create(chat_id, name), RequestOptions::default()).await?;
        Ok(Thread { id: result.thread_id(), result })
    }

    /// Renames a thread of a chat.
    ///
    /// # Errors
    /// As [`perform`](Self::perform).
    pub async fn thread_rename(
        &self,
        chat_id: &str,
        thread_id: &str,
        name: &str,
    ) -> Result<ActionResult, RequestError> {
        self.perform(Action::thread_rename(chat_id, thread_id, name), RequestOptions::default()).await
    }

    /// Uses a capability that the connector holds for a session. The platform is the kind's prefix, when that is one
    /// that this gateway fronts: `discord.interaction_token`. A long text is not cut, since a capability may be good for a
    /// single use.
    ///
    /// # Errors
    /// As [`perform`](Self::perform).
    pub async fn follow_up(&self, session_key: &str, kind: &str, content: &str) -> Result<ActionResult, RequestError> {
        let prefix = kind.split_once('.').map(|(prefix, _)| prefix);
        let platform = self.shared.lock().gateway.machine().fronted(prefix);
        let options = RequestOptions { platform, ..Default::default() };
        self.perform(Action::follow_up(session_key, kind, content), options).await
    }

    /// What the connector knows about a chat (REQ-5). Its name defaults to its id, its type to `dm`.
    ///
    /// # Errors
    /// As [`perform`](Self::perform).
    pub async fn chat_info(&self, chat_id: &str) -> Result<ChatInfo, RequestError> {
        // Connectors look the chat up by its id and platform alone.
        let options = self.shared.lock().gateway.machine_mut().route(chat_id);
        match self.call(&Action::chat_info(chat_id).to_json(), &options).await {
            // Connectors answer this one also without a `success`.
            Outcome::Result(result) if result.verdict == Verdict::Rejected && !result.says_failed() => {
                Ok(result.chat_info(chat_id))
            }
            outcome => sort(outcome).map(|result| result.chat_info(chat_id)),
        }
    }

    /// Any operation in a chat, with what the methods above add to theirs. What the action and the options say themselves
    /// stays as it is. [`request`](Self::request) adds nothing at all.
    ///
    /// # Errors
    /// As [`request`](Self::request), and [`NotSent::Unsupported`] when the connector does not support the operation. That
    /// is known once there is a link: a request that waits for one is not checked.
    pub async fn perform(&self, action: Action, options: RequestOptions) -> Result<ActionResult, RequestError> {
        self.perform_in(action, None, options).await
    }

    async fn perform_in(
        &self,
        action: Action,
        source_platform: Option<&str>,
        options: RequestOptions,
    ) -> Result<ActionResult, RequestError> {
        sort(self.call_in(action, source_platform, options).await)
    }

    /// What can be done in a chat, on the platform where it was heard from last. `None` without a ready link.
    pub fn capabilities(&self, chat_id: &str) -> Option<Capabilities> {
        self.shared.lock().gateway.machine_mut().capabilities(chat_id, None)
    }
}

/// What became of a text that was sent: a result for each message that it took. Derefs to the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    first: ActionResult,
    rest: Vec<ActionResult>,
}

impl Sent {
    /// The results, in the order of the text.
    pub fn results(&self) -> impl ExactSizeIterator<Item = &ActionResult> + DoubleEndedIterator {
        let all: Vec<&ActionResult> = [&self.first].into_iter().chain(&self.rest).collect();
        all.into_iter()
    }

    /// The last message's result: that of the only one, if it took one.
    pub fn last(&self) -> &ActionResult {
        self.rest.last().unwrap_or(&self.first)
    }

    /// The results themselves.
    pub fn into_results(self) -> Vec<ActionResult> {
        let mut all = vec![self.first];
        all.extend(self.rest);
        all
    }
}

impl Deref for Sent {
    type Target = ActionResult;

    fn deref(&self) -> &ActionResult {
        &self.first
    }
}

/// A question that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Asked {
    /// What the answer calls it.
    pub prompt_id: String,
    /// The connector's result, with the id of the message that has the buttons.
    pub result: ActionResult,
}

/// A thread that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Thread {
    /// The thread: what to put into `metadata.thread_id`, and where the platform's threads are chats, the chat to send to.
    /// `None` when the connector did not say.
    pub id: Option<String>,
    /// The connector's result.
    pub result: ActionResult,
}
