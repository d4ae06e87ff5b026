//! The vocabulary of the wire: what each frame says (FRAME-4, FRAME-5, FRAME-6).
//!
//! [`from_connector`] reads what a gateway receives, [`from_gateway`] what a connector receives; [`encode`] writes both.
//! Reading is lenient where the contract asks for it: unknown fields never matter, a field of the wrong type costs that
//! field, and what cannot be used at all is a [`Skipped`] with its reason. Nothing here can fail in any other way.

mod buffer_id;
mod content;
mod descriptor;
pub mod encode;
mod event;
mod from_connector;
mod from_gateway;
mod passthrough;
mod places;
mod result;
#[cfg(feature = "std")]
mod shared;
mod span;

pub use buffer_id::BufferId;
pub use content::{Content, Undecodable};
pub use descriptor::{DEFAULT_MESSAGE_LENGTH, Descriptor, LEGACY_OPS};
pub use event::{ContextMessage, MessageEvent, MessageType, platform};
pub use from_connector::{FromConnector, Interrupt, PeerError, from_connector};
pub use from_gateway::{FromGateway, from_gateway};
pub use passthrough::PassthroughForward;
pub use result::{ActionResult, ChatInfo, Verdict};

pub use crate::json::RawJson;

#[cfg(feature = "std")]
pub(crate) use shared::share;
/// The descriptor as it is: sharing takes a lock, which is the standard library's.
#[cfg(not(feature = "std"))]
pub(crate) fn share(descriptor: Descriptor) -> alloc::sync::Arc<Descriptor> {
    alloc::sync::Arc::new(descriptor)
}

use alloc::borrow::Cow;
use alloc::string::String;

use crate::json::NotObject;
use crate::json::scan::Place;

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
    /// `ping` frames, and `error` frames of gateways, which some peers send and nobody has to answer.
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

    /// The same with this instead of a type's name, which the peer chose.
    pub(crate) fn with_shown(self, shown: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::UnknownType(name) => Self::UnknownType(shown(&name)),
            other => other,
        }
    }

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
