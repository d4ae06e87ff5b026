//! What the chat layer adds to requests, for every host alike.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::sync::Arc;

use super::commands::RequestOptions;
use super::config::Identity;
use super::machine::Machine;
use super::output::{NotSent, RequestId};
use crate::action::Action;
use crate::chat::{Capabilities, Scope};
use crate::frame::{Descriptor, MessageEvent, RawJson};
use crate::time::Now;

impl Machine {
    /// Makes a [`request`](Self::request) of an action as the chat layer does: adds to its metadata what the chat's last
    /// messages said (CHAT-3), sets the platform to act on to the chat's, if this gateway fronts it and the options name no
    /// other (CHAT-8), and looks whether the connector supports the operation (CHAT-1).
    ///
    /// `source_platform` tells the chat from those of the same id on other platforms: the [platform](crate::chat::Scope::platform) of the
    /// message that the action answers, or an empty text when that named none. `None`: where the chat was used last.
    ///
    /// # Errors
    /// [`NotSent::Unsupported`]. Without a ready link nobody has said yet what is supported, and nothing is refused.
    pub fn prepare(
        &mut self,
        action: Action,
        source_platform: Option<&str>,
        options: &mut RequestOptions,
    ) -> Result<RawJson, NotSent> {
        Ok(self.direct(action, source_platform, options)?.to_json())
    }

    /// [`prepare`](Self::prepare) and [`request`](Self::request) in one, without the JSON in between.
    ///
    /// # Errors
    /// As either of them.
    pub fn perform(
        &mut self,
        action: Action,
        source_platform: Option<&str>,
        mut options: RequestOptions,
        now: Now,
    ) -> Result<RequestId, NotSent> {
        let action = self.direct(action, source_platform, &mut options)?;
        self.submit(action.size(), |out| action.write(out), &options, now)
    }

    /// Adds to an action and its options what is known of its chat.
    fn direct(
        &mut self,
        action: Action,
        source_platform: Option<&str>,
        options: &mut RequestOptions,
    ) -> Result<Action, NotSent> {
        let source_platform = source_platform.or(options.platform.as_deref());
        let scope =
            action.chat_id().and_then(|chat| self.inbound.get_mut()?.scopes.recall(chat, source_platform)).cloned();
        let platform = source_platform.or_else(|| scope.as_ref()?.platform.as_deref());
        if options.platform.is_none() {
            // A bot that is named decides, where it is on another platform than the chat.
            options.platform = self.fronted(platform).filter(|platform| {
                options.bot_id.is_none() || self.settings.actor(Some(platform), options.bot_id.as_deref()).is_ok()
            });
        }
        if options.bot_id.is_none() {
            let addressed = scope.as_ref().and_then(|scope| scope.bot_id.as_deref());
            options.bot_id = self.addressed(options.platform.as_deref(), addressed);
        }
        if let Some(descriptor) = self.described(options.platform.as_deref())
            && !Capabilities::new(descriptor.clone()).supports(action.op())
        {
            let (op, platform) = (action.op().to_owned(), descriptor.platform.clone());
            return Err(NotSent::Unsupported { op, platform });
        }
        Ok(match scope {
            Some(scope) => scope.attach(action),
            None => action,
        })
    }

    /// What can be done in a chat; `source_platform` as in [`prepare`](Self::prepare). `None` without a ready link.
    pub fn capabilities(&mut self, chat_id: &str, source_platform: Option<&str>) -> Option<Capabilities> {
        let platform = source_platform.map(ToOwned::to_owned).or_else(|| self.source_platform(chat_id));
        let platform = self.fronted(platform.as_deref());
        self.described(platform.as_deref()).cloned().map(Capabilities::new)
    }

    /// The platform that a chat was heard from last, whether this gateway fronts it or not.
    pub fn source_platform(&mut self, chat_id: &str) -> Option<String> {
        self.inbound.get_mut()?.scopes.recall(chat_id, None)?.platform.clone()
    }

    /// Learns of the chat of a message as if it had just come (CHAT-3), unless the chat is known: for one that was kept over a
    /// restart.
    pub fn learn(&mut self, event: &MessageEvent) {
        let platform = Scope::of(event).platform.unwrap_or_default();
        let scopes = &mut self.inbound_mut().scopes;
        if scopes.recall(event.chat_id(), Some(&platform)).is_none() {
            scopes.learn(event);
        }
    }

    /// The platform, if this gateway fronts it. A connector refuses one that was not in a hello, and takes the link's
    /// default where none is named; so the generic platform is not named where it is the default (HELLO-4).
    pub fn fronted(&self, platform: Option<&str>) -> Option<String> {
        let platform = platform?;
        let (at, own) =
            self.settings.identities().iter().enumerate().find(|(_, identity)| identity.platform == platform)?;
        if at == 0 && platform == Identity::GENERIC { None } else { Some(own.platform.clone()) }
    }

    /// Where a request about a chat goes: to the platform and, of several bots there, the bot that the chat's last message
    /// came to (CHAT-8).
    pub fn route(&mut self, chat_id: &str) -> RequestOptions {
        let scope = self.inbound.get_mut().and_then(|inbound| inbound.scopes.recall(chat_id, None)).cloned();
        let Some(scope) = scope else { return RequestOptions::default() };
        let platform = self.fronted(scope.platform.as_deref());
        let bot_id = self.addressed(platform.as_deref(), scope.bot_id.as_deref());
        RequestOptions { platform, bot_id, ..RequestOptions::default() }
    }

    /// The bot that a message was for, if a request that answers it has to name one: where this gateway fronts several on
    /// the message's platform, and the message says which (CHAT-8).
    pub fn bot_of(&self, event: &MessageEvent) -> Option<String> {
        let Scope { platform, bot_id, .. } = Scope::of(event);
        self.addressed(platform.as_deref(), bot_id.as_deref())
    }

    fn addressed(&self, platform: Option<&str>, bot_id: Option<&str>) -> Option<String> {
        let (platform, bot_id) = (platform?, bot_id?);
        self.settings.is_one_of_several(platform, bot_id).then(|| bot_id.to_owned())
    }

    /// Names the next prompt.
    pub fn mint_prompt(&mut self) -> String {
        self.prompts.mint()
    }

    /// Whether this gateway asked the prompt of that name. A press reaches every gateway of its owner.
    pub fn is_own_prompt(&self, prompt_id: &str) -> bool {
        self.prompts.is_own(prompt_id)
    }

    fn described(&self, platform: Option<&str>) -> Option<&Arc<Descriptor>> {
        platform.and_then(|platform| self.descriptor_for(platform)).or_else(|| self.descriptor())
    }
}
