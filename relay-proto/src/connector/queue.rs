//! What the application's unread events weigh.

use super::output::{Event, Identity};
use crate::frame::RawJson;
use crate::queue::Unread;

/// What an event is taken to weigh beyond its text.
const OVERHEAD: usize = 128;

impl Unread for Event {
    /// A gateway that opens and closes in a loop must not pile them up.
    const REPORTS: usize = 64;
    const ROOM: usize = 0;

    /// Reports weigh nothing: they are bounded by number.
    fn weight(&self) -> usize {
        let len = |text: &Option<alloc::string::String>| text.as_ref().map_or(0, |text| text.len());
        match self {
            Event::Idle | Event::LinkEnded { .. } => 0,
            Event::Acked(_) | Event::AssumedAcked(_) | Event::GivenUp(_) => OVERHEAD,
            Event::Hello(identity) => OVERHEAD + identity_weight(identity),
            Event::Interrupt { session_key, reason } => OVERHEAD + session_key.len() + len(reason),
            Event::Outbound(outbound) => {
                let ids = outbound.request_id.len() + len(&outbound.platform) + len(&outbound.bot_id);
                OVERHEAD + ids + outbound.action.as_str().len()
            }
        }
    }

    fn is_report(&self) -> bool {
        matches!(self, Self::Idle | Self::LinkEnded { .. })
    }
}

pub(crate) fn identity_weight(identity: &Identity) -> usize {
    let manifest = identity.command_manifest.as_ref().map_or(0, |manifest: &RawJson| manifest.as_str().len());
    identity.platform.len() + identity.bot_id.len() + manifest
}
