//! What a program with a gateway names. Every runtime crate re-exports all of it, so that a program names only that crate.

#[doc(no_inline)]
pub use crate::action::Action;
#[doc(no_inline)]
pub use crate::chat::{
    ButtonStyle, Capabilities, Interaction, MediaKind, Prompt, PromptKind, PromptResponse, SessionKeys,
};
#[doc(no_inline)]
pub use crate::client::{Asked, Delivery, Event, Events, Gateway, RequestError, Sent, Thread};
#[doc(no_inline)]
pub use crate::end::TlsProblem;
#[doc(no_inline)]
pub use crate::frame::{
    ActionResult, BufferId, ChatInfo, Content, ContextMessage, Descriptor, Interrupt, MessageEvent, MessageType,
    PassthroughForward, RawJson, Undecodable, Verdict,
};
#[doc(no_inline)]
pub use crate::gateway::{
    Ambiguous, Cause, Config, ConfigError, ConfigWarning, Ended, Identity, IdleOutcome, Limits, NotSent, Outcome,
    RequestOptions, Settings, State, Stats, Timing,
};
#[doc(no_inline)]
pub use crate::proxy::{Proxy, ProxyError};
#[doc(no_inline)]
pub use crate::wire::ClientTls;
#[cfg(feature = "tls")]
#[doc(no_inline)]
pub use crate::wire::{ClientTlsBuilder, ClientTlsError, Fingerprint};
