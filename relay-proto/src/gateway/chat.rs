//! What the chat layer adds to requests, for every host alike.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::sync::Arc;

use super::commands::RequestOptions;
use super::machine::Machine;
use super::output::NotSent;
use crate::action::Action;
use crate::chat::{self, Capabilities, Scope};
use crate::frame::{Descriptor, MessageEvent, RawJson};

impl Machine {
    /// Makes a [`request`](Self::request) of an action as the chat layer does: adds to its metadata what the chat's last
    /// messages said (CHAT-3), sets the platform to act on to the chat's, if this gateway fronts it and the options name no
    /// other (CHAT-8), and looks whether the connector supports the operation (CHAT-1).
    ///
    /// # Errors
    /// [`NotSent::Unsupported`]. Without a ready link nobody has said yet what is supported, and nothing is refused.
    pub fn prepare(&mut self, action: Action, options: &mut RequestOptions) -> Result<RawJson, NotSent> {
        let scope = self.recall(action.chat_id(), options.platform.as_deref());
        options.platform = options.platform.take().or_else(|| self.fronted(scope.as_ref()?.platform.as_deref()));
        if let Some(descriptor) = self.described(options.platform.as_deref())
            && !Capabilities::new(descriptor.clone()).supports(action.op())
        {
            return Err(NotSent::Unsupported { op: action.op().to_owned(), platform: descriptor.platform.clone() });
        }
        let action = scope.map_or(action.clone(), |scope| scope.attach(action));
        Ok(action.to_json())
    }

    /// What can be done in a chat, on this platform or on the chat's own. `None` without a ready link.
    pub fn capabilities(&mut self, chat_id: &str, platform: Option<&str>) -> Option<Capabilities> {
        let scope = self.recall(Some(chat_id), platform);
        let own = || self.fronted(scope.as_ref()?.platform.as_deref());
        let platform = platform.map(ToOwned::to_owned).or_else(own);
        self.described(platform.as_deref()).cloned().map(Capabilities::new)
    }

    /// The platform that a chat was heard from last, whether this gateway fronts it or not.
    pub fn heard_on(&mut self, chat_id: &str) -> Option<String> {
        self.recall(Some(chat_id), None)?.platform
    }

    /// The platform that a message came from, if this gateway fronts it.
    pub fn platform_of(&self, event: &MessageEvent) -> Option<String> {
        self.fronted(chat::route_name(event.platform(), event.platform_name()).as_deref())
    }

    /// The platform, if this gateway fronts it. A connector refuses one that was not in a hello, and takes the link's
    /// default where none is named.
    pub fn fronted(&self, platform: Option<&str>) -> Option<String> {
        let platform = platform?;
        let own = self.settings.identities().iter().find(|identity| identity.platform == platform);
        own.map(|identity| identity.platform.clone())
    }

    /// Names the next prompt.
    pub fn mint_prompt(&mut self) -> String {
        self.prompts.mint()
    }

    /// Whether this gateway asked the prompt of that name. A press reaches every gateway of its owner.
    pub fn is_own_prompt(&self, prompt_id: &str) -> bool {
        self.prompts.is_own(prompt_id)
    }

    fn recall(&mut self, chat_id: Option<&str>, platform: Option<&str>) -> Option<Scope> {
        self.scopes.recall(chat_id?, platform).cloned()
    }

    fn described(&self, platform: Option<&str>) -> Option<&Arc<Descriptor>> {
        platform.and_then(|platform| self.descriptor_for(platform)).or_else(|| self.descriptor())
    }
}
