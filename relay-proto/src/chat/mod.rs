//! What a chat adapter adds on top of the link: how long a message is, which conversation it belongs to, and what a
//! forwarded Discord interaction says.

mod interaction;
mod length;
mod session_key;

pub use interaction::{Interaction, InteractionError, InteractionKind};
pub use length::LenUnit;
pub use session_key::{SessionKeys, SessionSource};
