//! What a chat adapter adds on top of the link. Pure logic; the handle of [`client`](crate::client) uses it.
//!
//! | question | answer |
//! |---|---|
//! | what can the platform do? | [`Capabilities`] |
//! | how long may a message be, and where is a longer one cut? | [`LenUnit`], [`split`] |
//! | what has to go with what is sent into a chat? | [`ScopeMemory`], [`Scope`] |
//! | which conversation is it? | [`SessionKeys`], and `session_key` of messages |
//! | what was quoted, attached, said around it? | `reply_quote`, `media`, `text_in_context` of messages |
//! | what did the user press or type? | [`Prompt`], [`PromptResponse`], [`Interaction`] |
//!
//! What is said "of messages" are methods of [`MessageEvent`](crate::frame::MessageEvent).

mod capabilities;
mod event;
mod fence;
mod forward;
mod interaction;
mod length;
mod media;
mod origin;
mod prompt;
mod resolved;
mod scope;
mod session_key;
mod span;
mod split;

pub use capabilities::Capabilities;
pub use event::ReplyQuote;
pub use interaction::{Input, Interaction, InteractionError, InteractionKind};
pub use length::LenUnit;
pub use media::{Media, MediaKind};
pub use prompt::{BadPrompt, ButtonStyle, Prompt, PromptIds, PromptKind, PromptResponse};
pub use scope::{Scope, ScopeMemory};
pub use session_key::{SessionKeys, SessionSource};
pub use split::{MessageLimit, Part, Parts, split};
