//! The vocabulary of the wire: what each frame says (FRAME-4, FRAME-5, FRAME-6).
//!
//! [`from_connector`] reads what a gateway receives, [`from_gateway`] what a connector receives; [`encode`] writes both.
//! Reading is lenient where the contract asks for it: unknown fields never matter, a field of the wrong type costs that
//! field, and what cannot be used at all is a [`Skipped`] with its reason. Nothing here can fail in any other way.

mod descriptor;
pub mod encode;
mod event;
mod from_connector;
mod from_gateway;
mod passthrough;
mod places;
mod result;
mod span;

pub use descriptor::{DEFAULT_MESSAGE_LENGTH, Descriptor, LEGACY_OPS};
pub use event::{ContextMessage, MessageEvent, MessageType, platform};
pub use from_connector::{FromConnector, Interrupt, Undecodable, from_connector};
pub use from_gateway::{FromGateway, from_gateway};
pub use passthrough::PassthroughForward;
pub use result::{ActionResult, ChatInfo, Verdict};

pub use crate::json::RawJson;

use alloc::borrow::{Cow, ToOwned};
use alloc::string::String;
use core::fmt;

use crate::json::scan::{Kind, Place};
use crate::json::{self, NotObject};

/// A delivery's id in the connector's buffer, as it is echoed in the acknowledgement (ACK-1).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(String);

impl BufferId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads `bufferId`: a non-empty string, or a number other than zero as its decimal text. Everything else is none.
    fn read(text: &str, place: Place) -> Option<Self> {
        let id = place.text(text)?;
        let none = if place.kind() == Kind::Number { json::is_zero(&id) } else { id.is_empty() };
        if none { None } else { Some(Self::from(&*id)) }
    }
}

impl From<&str> for BufferId {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

impl fmt::Debug for BufferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for BufferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a line was skipped (FRAME-4, FRAME-5). The link lives on; the skip is counted and observable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Skipped {
    /// The line is not JSON, or not UTF-8.
    #[error("not JSON")]
    NotJson,
    /// The line is JSON, but no object.
    #[error("not a JSON object")]
    NotAnObject,
    /// The object has no `type`.
    #[error("no `type`")]
    NoType,
    /// `type` is there and is not a string.
    #[error("`type` is not a string")]
    TypeNotAString,
    /// A type this version of the contract does not know.
    #[error("unknown type `{0}`")]
    UnknownType(String),
    /// A type that only the receiving side sends.
    #[error("`{0}` goes the other way")]
    WrongDirection(String),
    /// `ping` and `error` frames, which some peers send and nobody has to answer.
    #[error("`{0}` is ignored")]
    Ignored(String),
    /// A `descriptor` frame whose descriptor is no object (DESC-1).
    #[error("the descriptor is not an object")]
    MalformedDescriptor,
    /// A field without which the frame has no meaning is absent or has the wrong type.
    #[error("`{0}` is missing or has the wrong type")]
    MissingField(&'static str),
}

impl Skipped {
    /// How many kinds of reason there are.
    pub const KINDS: usize = 9;

    /// The kind of reason as an index below [`Self::KINDS`], for counters.
    pub fn kind(&self) -> usize {
        match self {
            Self::NotJson => 0,
            Self::NotAnObject => 1,
            Self::NoType => 2,
            Self::TypeNotAString => 3,
            Self::UnknownType(_) => 4,
            Self::WrongDirection(_) => 5,
            Self::Ignored(_) => 6,
            Self::MalformedDescriptor => 7,
            Self::MissingField(_) => 8,
        }
    }
}

impl From<NotObject> for Skipped {
    fn from(error: NotObject) -> Self {
        match error {
            NotObject::Json => Self::NotJson,
            NotObject::Type => Self::NotAnObject,
        }
    }
}

/// The types a gateway sends and a connector receives.
const GATEWAY_TYPES: [&str; 5] = ["hello", "outbound", "interrupt", "going_idle", "inbound_ack"];
/// The types a connector sends and a gateway receives.
const CONNECTOR_TYPES: [&str; 6] =
    ["descriptor", "inbound", "outbound_result", "interrupt_inbound", "going_idle_ack", "passthrough_forward"];

/// The `type` of a frame, or why there is none.
fn frame_type(text: &str, place: Place) -> Result<Cow<'_, str>, Skipped> {
    place.string(text).ok_or(if place.is_absent() { Skipped::NoType } else { Skipped::TypeNotAString })
}

/// The reason to skip a frame of a type that is not for the receiver. `other` are the types of the receiver's own side.
fn not_ours(name: &str, other: &[&str]) -> Skipped {
    // A hostile peer must not make logs and counters hold a megabyte of type name.
    let short: String = name.chars().take(64).collect();
    match name {
        "ping" | "error" => Skipped::Ignored(short),
        _ if other.contains(&name) => Skipped::WrongDirection(short),
        _ => Skipped::UnknownType(short),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::scan::Scan;

    fn id(json: &str) -> Option<String> {
        let place = Scan::new(json).and_then(|mut scan| scan.value()).unwrap_or_default();
        BufferId::read(json, place).map(|id| id.as_str().into())
    }

    // proves: ACK-1
    #[test]
    fn a_buffer_id_is_a_string_or_a_number_that_is_not_zero() {
        assert_eq!(id("\"b-1\"").as_deref(), Some("b-1"));
        assert_eq!(id("17").as_deref(), Some("17"));
        assert_eq!(id("12345678901234567890123").as_deref(), Some("12345678901234567890123"));
        assert_eq!(id("\"0\"").as_deref(), Some("0"), "the text 0 is an id like any other");
        for none in ["\"\"", "0", "-0", "0.0", "null", "true", "[]", "{}"] {
            assert_eq!(id(none), None, "{none}");
        }
        assert_eq!(BufferId::read("", Place::default()), None);
    }
}
