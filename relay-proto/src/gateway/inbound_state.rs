//! What a gateway holds from its first delivery on: deliveries, chats, and the counters of both.
//!
//! Most gateways of a large host are idle, many of them since they were linked, and this state would be a fifth of what one
//! of those takes.

use alloc::boxed::Box;

use fastrand::Rng;

use super::config::Settings;
use super::deliveries::Deliveries;
use super::output::Stats;
use super::scopes::Scopes;

/// Deliveries, chats and counters.
#[derive(Clone, Debug)]
pub(super) struct InboundState {
    pub(super) deliveries: Deliveries,
    /// What is known of chats. The gateway's, not a link's (CHAT-3).
    pub(super) scopes: Scopes,
    /// All that is counted, but for what [`Counters`] has.
    pub(super) stats: Stats,
}

/// The state, once there is something to put into it.
#[derive(Clone, Debug, Default)]
pub(super) struct LazyInboundState(Option<Box<InboundState>>);

impl LazyInboundState {
    /// The state, if there ever was something to put into it.
    pub(super) fn get(&self) -> Option<&InboundState> {
        self.0.as_deref()
    }

    pub(super) fn get_mut(&mut self) -> Option<&mut InboundState> {
        self.0.as_deref_mut()
    }

    /// The link is gone, and with it what it owed (ACK-3).
    pub(super) fn end_link(&mut self) {
        if let Some(inbound) = self.get_mut() {
            inbound.deliveries.end_link();
        }
    }

    /// The state, made at the first call.
    pub(super) fn open(&mut self, rng: &mut Rng, settings: &Settings) -> &mut InboundState {
        self.0.get_or_insert_with(|| made(rng, settings))
    }
}

#[cold]
fn made(rng: &mut Rng, settings: &Settings) -> Box<InboundState> {
    Box::new(InboundState {
        deliveries: Deliveries::new(rng.u64(..), settings.limits.replay_memory),
        scopes: Scopes::new(rng.u64(..)),
        stats: Stats::default(),
    })
}

/// What is counted from the first dial on.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters {
    pub(super) dials: u64,
    pub(super) links: u64,
    pub(super) lines_received: u64,
    pub(super) frames_sent: u64,
}

impl Counters {
    /// All that was counted.
    pub(super) fn with(&self, inbound: &LazyInboundState) -> Stats {
        let Self { dials, links, lines_received, frames_sent } = *self;
        Stats {
            dials,
            links,
            lines_received,
            frames_sent,
            ..inbound.get().map(|inbound| inbound.stats.clone()).unwrap_or_default()
        }
    }
}
