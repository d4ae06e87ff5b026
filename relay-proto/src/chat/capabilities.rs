//! What a platform can do, as its connector described it.

use alloc::sync::Arc;

use super::{LenUnit, MessageLimit, Parts, split};
use crate::frame::Descriptor;

/// The op of chat info, which connectors answer without listing it (REQ-5).
const UNLISTED: &str = "get_chat_info";

/// What one platform can do on the link that there is. A new link may say otherwise: ask again after each
/// [`Event::Ready`](crate::gateway::Event::Ready).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    descriptor: Arc<Descriptor>,
}

impl Capabilities {
    /// What this descriptor says.
    pub fn new(descriptor: Arc<Descriptor>) -> Self {
        Self { descriptor }
    }

    /// All that the connector said.
    pub fn descriptor(&self) -> &Arc<Descriptor> {
        &self.descriptor
    }

    /// The platform.
    pub fn platform(&self) -> &str {
        &self.descriptor.platform
    }

    /// The longest message (DESC-1, DESC-2).
    pub fn limit(&self) -> MessageLimit {
        MessageLimit {
            max: usize::try_from(self.descriptor.max_message_length).unwrap_or(usize::MAX),
            unit: LenUnit::parse(&self.descriptor.len_unit),
        }
    }

    /// Whether the connector carries out this operation: one that it listed, or, if it listed none, one of the legacy set
    /// (DESC-1). Chat info is always asked for.
    pub fn supports(&self, op: &str) -> bool {
        op == UNLISTED || self.descriptor.supports_op(op)
    }

    /// Whether a message can be streamed as a draft. Drafts are newer than the list of operations, so the connector has to
    /// list them, too.
    pub fn drafts(&self) -> bool {
        self.descriptor.supports_draft_streaming && self.supports("draft")
    }

    /// Whether a message that was sent can be changed.
    pub fn edits(&self) -> bool {
        self.descriptor.supports_edit && self.supports("edit")
    }

    /// Whether the platform has threads. Making one also takes the operation `thread_create`.
    pub fn threads(&self) -> bool {
        self.descriptor.supports_threads
    }

    /// Whether code blocks are rendered (DESC-2).
    pub fn code_blocks(&self) -> bool {
        self.descriptor.supports_code_blocks()
    }

    /// Whether events come with the messages around them.
    pub fn context(&self) -> bool {
        self.descriptor.supports_context
    }

    /// Cuts a text into messages of this platform.
    pub fn split<'a>(&self, text: &'a str) -> Parts<'a> {
        split(text, self.limit(), self.code_blocks())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capabilities(json: &str) -> Capabilities {
        Capabilities::new(Arc::new(Descriptor::parse(json).unwrap()))
    }

    // proves: CHAT-1, DESC-1
    #[test]
    fn a_connector_without_a_list_has_the_legacy_set() {
        let legacy = capabilities(r#"{"platform":"discord","supports_edit":true,"supports_draft_streaming":true}"#);
        for op in ["send", "edit", "typing", "follow_up", "get_chat_info"] {
            assert!(legacy.supports(op), "{op}");
        }
        assert!(!legacy.supports("react") && legacy.edits() && !legacy.drafts());
        let listed = capabilities(r#"{"supported_ops":["send","react","draft"],"supports_draft_streaming":true}"#);
        assert!(listed.supports("react") && listed.drafts() && !listed.supports("edit") && !listed.edits());
    }

    // proves: CHAT-1, DESC-2
    #[test]
    fn limits_and_units_are_the_descriptors() {
        let slack = capabilities(r#"{"max_message_length":5,"len_unit":"utf16","markdown_dialect":"mrkdwn"}"#);
        assert_eq!(slack.limit(), MessageLimit { max: 5, unit: LenUnit::Utf16 });
        assert_eq!(slack.split("🔌🔌🔌").count(), 2);
        assert!(slack.code_blocks() && !capabilities("{}").code_blocks());
        assert_eq!(capabilities(r#"{"max_message_length":0}"#).limit().max, 4096);
    }
}
