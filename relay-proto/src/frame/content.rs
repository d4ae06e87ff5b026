//! What a delivery carries.

use alloc::boxed::Box;

use super::{MessageEvent, PassthroughForward};
use crate::json::RawJson;

/// What a delivery carries. Whatever it is, the delivery is acknowledged in the same way (ACK-6).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// A message.
    Message(MessageEvent),
    /// A forwarded HTTP request (PASS-1); on Discord, buttons and commands come so:
    /// [`interaction`](PassthroughForward::interaction). Boxed, so that messages, which are most deliveries, are cheap to
    /// move.
    Passthrough(Box<PassthroughForward>),
    /// Content that cannot be decoded (ACK-5).
    Undecodable(Undecodable),
}

/// The content of a delivery that cannot be decoded (ACK-5).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Undecodable {
    /// The frame's type: `inbound` or `passthrough_forward`.
    pub frame_type: &'static str,
    /// What is wrong with it.
    pub reason: &'static str,
    /// The content as it came; `None` when the frame has none. In a line that was not UTF-8 the bad bytes are U+FFFD.
    pub raw: Option<RawJson>,
}

impl Content {
    /// The message, if it is one.
    pub fn message(&self) -> Option<&MessageEvent> {
        if let Self::Message(message) = self { Some(message) } else { None }
    }

    /// The forwarded HTTP request, if it is one.
    pub fn passthrough(&self) -> Option<&PassthroughForward> {
        if let Self::Passthrough(forward) = self { Some(forward) } else { None }
    }

    /// What cannot be decoded, if it is that.
    pub fn undecodable(&self) -> Option<&Undecodable> {
        if let Self::Undecodable(content) = self { Some(content) } else { None }
    }

    /// Its JSON as it came; empty when there is none.
    pub fn raw(&self) -> &str {
        match self {
            Self::Message(message) => message.raw(),
            Self::Passthrough(forward) => forward.raw.as_str(),
            Self::Undecodable(content) => content.raw.as_ref().map_or("", RawJson::as_str),
        }
    }

    /// Platform, chat and message id, when it is a message that has all three (ACK-4).
    pub fn message_key(&self) -> Option<[&str; 3]> {
        self.message().and_then(MessageEvent::message_key)
    }
}
