//! What belongs to one link and dies with it.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::ending::Ended;
use super::output::{LinkId, RequestId};
use super::requests::Requests;
use crate::frame::{BufferId, Descriptor};
use crate::ndjson::LineBuffer;
use crate::token::Token;

/// How many platforms a peer can describe on one link before the rest is ignored.
const MAX_DESCRIPTORS: usize = 64;
/// How many bytes the descriptors after the first may have together (FRAME-3).
const MAX_DESCRIPTOR_BYTES: usize = 1 << 20;

/// How far a link has come.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// The upgrade is not accepted yet.
    Dialing { until: Duration },
    /// The upgrade is accepted; no descriptor yet.
    Handshaking { until: Duration },
    /// The first descriptor is here.
    Ready { since: Duration },
    /// This side sent a close frame and waits for the peer's.
    Closing { until: Duration, why: Closing, ready_for: Option<Duration> },
}

/// Why this side closes a link.
#[derive(Clone, Debug)]
pub(crate) enum Closing {
    /// To report this end.
    End(Ended),
    /// Because the gateway shuts down.
    Shutdown,
}

/// Something that waits to be written.
#[derive(Clone, Debug)]
pub(crate) enum Queued {
    Frame(String),
    /// The acknowledgement of a delivery. Most of what is written, and a frame only when it is.
    Ack(BufferId),
    Request(RequestId),
    Ping,
    Close {
        code: u16,
        reason: &'static str,
    },
}

/// One link. Its timers, its line buffer, its descriptors and its unwritten frames are in here, so none of them can
/// outlive it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) phase: Phase,
    /// The token of its dial.
    pub(crate) token: Option<Token>,
    pub(crate) lines: LineBuffer,
    /// Where its lines begin and end is lost (FRAME-3): nothing that it says is read any more.
    pub(crate) deaf: bool,
    pub(crate) transmit: VecDeque<Queued>,
    /// Bytes of the frames in `transmit`, of acknowledgements those of their ids; requests left out: those are their callers'
    /// affair.
    pub(crate) transmit_bytes: usize,
    /// How many requests are in `transmit`, those that have ended meanwhile included.
    pub(crate) requests: u32,
    /// When the peer was last heard.
    pub(crate) heard: Duration,
    /// When to ping next, unless the peer is heard before.
    pub(crate) ping_at: Duration,
    /// When the link is lost, unless the peer is heard before.
    pub(crate) lost_at: Duration,
    /// While the ping is not out that is due because the machine was suspended: when the link is lost without a sign.
    /// What is heard before may have come long before (CLOCK-2).
    pub(crate) check: Option<Duration>,
    /// When the socket took something, or there was nothing for it to take; if `moved`, since then at a time that the next
    /// input will tell.
    pub(crate) moved_at: Duration,
    pub(crate) moved: bool,
    /// Whether the transport has frames of this link which the socket has not taken.
    pub(crate) unwritten: bool,
    /// Descriptors by platform, the first of the link in front.
    pub(crate) descriptors: Vec<Arc<Descriptor>>,
    /// Whether reading was taken up again after a pause, at a time that the next input will tell.
    pub(crate) resumed: bool,
    /// Whether the application wants another link as soon as this one, which is closing, has ended.
    pub(crate) again: bool,
    /// How long the peer that refused it wants the next dial to wait.
    pub(crate) retry_after: Duration,
    /// What the peer sent that was too long: the name of the limit, and the limit.
    pub(crate) too_long: Option<(&'static str, usize)>,
    /// Whether a `going_idle` waits for its ack.
    pub(crate) idling: bool,
    /// Whether the connector has acknowledged that this link is idle.
    pub(crate) idle: bool,
}

/// What an acknowledgement that waits to be written is taken to weigh.
pub(crate) fn ack_weight(buffer_id: &BufferId) -> usize {
    size_of::<Queued>() + buffer_id.len()
}

impl Link {
    pub(crate) fn new(id: LinkId, until: Duration, token: Option<Token>) -> Self {
        Self {
            id,
            phase: Phase::Dialing { until },
            token,
            lines: LineBuffer::new(),
            deaf: false,
            transmit: VecDeque::new(),
            transmit_bytes: 0,
            requests: 0,
            heard: Duration::ZERO,
            ping_at: Duration::ZERO,
            lost_at: Duration::ZERO,
            check: None,
            moved_at: Duration::ZERO,
            moved: false,
            unwritten: false,
            descriptors: Vec::new(),
            resumed: false,
            again: false,
            retry_after: Duration::ZERO,
            too_long: None,
            idling: false,
            idle: false,
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready { .. })
    }

    /// Whether deliveries of this link are taken, and may still be acknowledged on it.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Handshaking { .. } | Phase::Ready { .. })
    }

    /// How long the link was ready; `None` when it never was.
    pub(crate) fn ready_for(&self, now: Duration) -> Option<Duration> {
        match self.phase {
            Phase::Ready { since } => Some(now.saturating_sub(since)),
            Phase::Closing { ready_for, .. } => ready_for,
            Phase::Dialing { .. } | Phase::Handshaking { .. } => None,
        }
    }

    /// Whether anything waits for the socket.
    pub(crate) fn has_unwritten(&self) -> bool {
        self.unwritten || !self.transmit.is_empty()
    }

    pub(crate) fn queue_frame(&mut self, frame: String) {
        self.transmit_bytes += frame.len();
        self.transmit.push_back(Queued::Frame(frame));
    }

    /// One is enough while none can be written.
    pub(crate) fn queue_ping(&mut self) {
        if !self.transmit.iter().any(|queued| matches!(queued, Queued::Ping)) {
            self.transmit.push_back(Queued::Ping);
        }
    }

    pub(crate) fn queue_request(&mut self, id: RequestId) {
        self.requests = self.requests.saturating_add(1);
        self.transmit.push_back(Queued::Request(id));
    }

    /// Forgets requests that have ended once they are most of what waits: a peer may read nothing for as long as it likes.
    pub(crate) fn forget_ended(&mut self, requests: &Requests) {
        const FEW: usize = 16;
        let ended = (self.requests as usize).saturating_sub(requests.len());
        if ended > FEW && ended > self.transmit.len() / 2 {
            self.transmit.retain(|queued| !matches!(queued, Queued::Request(id) if !requests.contains(*id)));
            self.transmit.shrink_to(FEW);
            self.requests = self.transmit.iter().filter(|queued| matches!(queued, Queued::Request(_))).count() as u32;
        }
    }

    pub(crate) fn queue_ack(&mut self, buffer_id: BufferId) {
        self.transmit_bytes += ack_weight(&buffer_id);
        self.transmit.push_back(Queued::Ack(buffer_id));
    }

    /// Keeps a descriptor. The first is the default and stays it; a later one of a platform replaces that platform's
    /// earlier one (HELLO-2).
    pub(crate) fn keep_descriptor(&mut self, descriptor: Arc<Descriptor>) {
        let later = self.descriptors.iter().skip(1);
        let others =
            later.filter(|known| known.platform != descriptor.platform).map(|known| known.size()).sum::<usize>();
        if !self.descriptors.is_empty() && others + descriptor.size() > MAX_DESCRIPTOR_BYTES {
            return;
        }
        let room = self.descriptors.len() < MAX_DESCRIPTORS;
        match self.descriptors.iter_mut().skip(1).find(|known| known.platform == descriptor.platform) {
            Some(known) => *known = descriptor,
            None if room => self.descriptors.push(descriptor),
            None => {}
        }
    }

    pub(crate) fn descriptor_for(&self, platform: &str) -> Option<&Arc<Descriptor>> {
        self.descriptors.iter().rev().find(|known| known.platform == platform)
    }
}
