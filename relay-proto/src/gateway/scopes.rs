//! What is known of chats, without learning over again what has just been learned.

use core::hash::{BuildHasher, Hasher};

use foldhash::quality::FixedState;

use crate::chat::{Scope, ScopeMemory};
use crate::frame::{MessageEvent, PassthroughForward};

/// The gateway's [`ScopeMemory`] (CHAT-3).
///
/// A conversation is many messages that say the same of their chat, and learning from one that says what the last one said
/// changes nothing: not what is known, and not the order in which chats were used.
#[derive(Clone, Debug)]
pub(super) struct Scopes {
    memory: ScopeMemory,
    /// Keyed, so that nobody outside can make a message that looks like the one before.
    hasher: FixedState,
    /// What the last message said, if nothing was learned or asked for since.
    last: Option<u64>,
}

impl Scopes {
    pub(super) fn new(seed: u64) -> Self {
        Self { memory: ScopeMemory::default(), hasher: FixedState::with_seed(seed), last: None }
    }

    /// Learns from a message.
    pub(super) fn learn(&mut self, event: &MessageEvent) {
        let said = Some(self.hash(event));
        if self.last != said {
            self.memory.learn(event);
            self.last = said;
        }
    }

    /// Learns from a forward, if it is a Discord interaction.
    pub(super) fn learn_forward(&mut self, forward: &PassthroughForward) {
        self.last = None;
        self.memory.learn_forward(forward);
    }

    /// What is known of a chat, as [`ScopeMemory::recall`] tells.
    pub(super) fn recall(&mut self, chat_id: &str, platform: Option<&str>) -> Option<&Scope> {
        self.last = None;
        self.memory.recall(chat_id, platform)
    }

    /// All that [`Scope::of`] reads. An empty identifier says as much as none.
    fn hash(&self, event: &MessageEvent) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        for part in [Some(event.chat_id()), event.platform_name(), event.scope_id(), event.user_id(), event.profile()] {
            let part = part.unwrap_or_default().as_bytes();
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use proptest::prelude::*;

    fn message(chat: u8, words: [u8; 4]) -> MessageEvent {
        let [platform, scope, user, profile] = words.map(|word| match word {
            0 => "null".into(),
            1 => "\"\"".into(),
            word => format!("\"{word}\""),
        });
        MessageEvent::parse(&format!(
            "{{\"source\":{{\"chat_id\":\"{chat}\",\"platform\":{platform},\"scope_id\":{scope},\"user_id\":{user},\"profile\":{profile}}}}}"
        ))
        .unwrap()
    }

    proptest! {
        // proves: CHAT-3
        #[test]
        fn it_knows_what_it_would_know_without_leaving_anything_out(
            steps in proptest::collection::vec((0u8..3, [0u8..3, 0u8..3, 0u8..3, 0u8..3], 0u8..4), 0..60),
        ) {
            let (mut own, mut plain) = (Scopes::new(7), ScopeMemory::default());
            for (chat, words, kind) in steps {
                let (chat_id, message) = (format!("{chat}"), message(chat, words));
                if kind == 0 {
                    prop_assert_eq!(own.recall(&chat_id, None), plain.recall(&chat_id, None));
                } else {
                    own.learn(&message);
                    plain.learn(&message);
                }
                prop_assert_eq!(format!("{:?}", own.memory), format!("{plain:?}"));
            }
        }
    }
}
