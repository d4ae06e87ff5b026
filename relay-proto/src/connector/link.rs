//! What belongs to one link and dies with it.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use core::time::Duration;

use super::output::{HelloId, Identity, LinkId, OutboundId};
use crate::json::push_field;
use crate::ndjson::LineBuffer;
use crate::transmit::Transmit;

/// An outbound whose result is owed.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) request_id: String,
    pub(crate) deadline: Duration,
    /// Whether the application has seen it: until then, nothing was done about it.
    pub(crate) shown: bool,
}

/// Whether the gateway has read as far as a forward whose acknowledgement is overdue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Not asked.
    None,
    /// Since this time a ping is queued behind the forward.
    Queued(Duration),
    /// That ping is written, with this payload: whoever answers it has received the forward.
    Written { asked: Duration, payload: [u8; 8] },
}

/// One link. Its timers, its line buffer, its unanswered hellos and outbounds and its unwritten frames are in here, so
/// none of them can outlive it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) lines: LineBuffer,
    /// Where its lines begin and end is lost (FRAME-3): nothing that it says is read any more.
    pub(crate) deaf: bool,
    transmit: VecDeque<Transmit>,
    /// Whether there is a ping in `transmit`: a second one would ask nothing new.
    has_ping: bool,
    /// Bytes of the frames in `transmit`.
    pub(crate) transmit_bytes: usize,
    /// When the socket took something, or nothing waited to be written.
    pub(crate) moved_at: Duration,
    /// When the handshake began.
    pub(crate) since: Duration,
    /// When the gateway was last heard.
    pub(crate) heard: Duration,
    /// When to ping next, unless the gateway is heard before.
    pub(crate) ping_at: Duration,
    /// Whether reading was taken up again after a pause, at a time that the next input will tell.
    pub(crate) resumed: bool,
    /// Whether a hello was answered: deliveries may start.
    pub(crate) answered: bool,
    /// Whether the gateway went idle: deliveries have stopped (CONN-4).
    pub(crate) idle: bool,
    /// Everything in the buffer below this place was given to this link. Starts at the front: what no earlier link
    /// got acknowledged is replayed first.
    pub(crate) cursor: u64,
    pub(crate) probe: Probe,
    /// How many hellos came.
    pub(crate) hellos: usize,
    /// Those that wait for an answer.
    pub(crate) unanswered: BTreeMap<HelloId, Identity>,
    /// Bytes of the identities in there.
    pub(crate) unanswered_bytes: usize,
    /// In order of arrival, which is the order of their deadlines.
    pub(crate) outbounds: BTreeMap<OutboundId, Pending>,
    /// Set once this side has closed: until when to wait for the gateway's close.
    pub(crate) closing_until: Option<Duration>,
}

impl Link {
    pub(crate) fn new(id: LinkId, now: Duration, ping_after: Duration) -> Self {
        Self {
            id,
            lines: LineBuffer::new(),
            deaf: false,
            transmit: VecDeque::new(),
            has_ping: false,
            transmit_bytes: 0,
            moved_at: now,
            since: now,
            heard: now,
            ping_at: now.saturating_add(ping_after),
            resumed: false,
            answered: false,
            idle: false,
            cursor: 0,
            probe: Probe::None,
            hellos: 0,
            unanswered: BTreeMap::new(),
            unanswered_bytes: 0,
            outbounds: BTreeMap::new(),
            closing_until: None,
        }
    }

    pub(crate) fn hear(&mut self, now: Duration, ping_after: Duration) {
        self.heard = now;
        self.ping_at = now.saturating_add(ping_after);
    }

    /// This time does not count as silence.
    pub(crate) fn pass_over(&mut self, time: Duration) {
        for at in [&mut self.since, &mut self.heard, &mut self.ping_at] {
            *at = at.saturating_add(time);
        }
    }

    /// Whether entries may go out.
    pub(crate) fn delivers(&self) -> bool {
        self.answered && !self.idle && self.closing_until.is_none()
    }

    pub(crate) fn has_queued(&self) -> bool {
        !self.transmit.is_empty()
    }

    pub(crate) fn queue(&mut self, transmit: Transmit) {
        self.transmit_bytes += weight(&transmit);
        self.transmit.push_back(transmit);
    }

    pub(crate) fn queue_ping(&mut self) {
        if !core::mem::replace(&mut self.has_ping, true) {
            self.queue(Transmit::Ping);
        }
    }

    /// `epoch` is that of the buffer.
    pub(crate) fn pop_transmit(&mut self, epoch: u64, now: Duration) -> Option<Transmit> {
        let transmit = self.transmit.pop_front()?;
        self.transmit_bytes -= weight(&transmit);
        self.moved_at = now;
        if self.transmit.is_empty() {
            self.transmit = VecDeque::new();
        }
        Some(if transmit == Transmit::Ping { self.write_ping(epoch) } else { transmit })
    }

    /// As long as a probe is not answered every ping is that probe: a peer may answer the latest ping alone (RFC 6455,
    /// 5.5.3).
    fn write_ping(&mut self, epoch: u64) -> Transmit {
        self.has_ping = false;
        let payload = match self.probe {
            Probe::None => return Transmit::Ping,
            Probe::Queued(asked) => {
                // How far the link has come, so that an answer that comes twice proves nothing wrong; and the epoch, so
                // that it is no number which a gateway sends unasked.
                let payload = epoch.wrapping_add(self.cursor).to_be_bytes();
                self.probe = Probe::Written { asked, payload };
                payload
            }
            Probe::Written { payload, .. } => payload,
        };
        Transmit::Probe(payload)
    }
}

fn weight(transmit: &Transmit) -> usize {
    /// Small frames cost memory beyond their text, too.
    const OVERHEAD: usize = 32;
    match transmit {
        Transmit::Text(frame) => OVERHEAD + frame.len(),
        Transmit::Ping | Transmit::Probe(_) | Transmit::Close { .. } => 0,
    }
}

/// An unsuccessful result (CONN-6). `ambiguous`: something may have been done nevertheless (REQ-6).
pub(crate) fn failure(error: &str, ambiguous: bool) -> String {
    let mut out = String::from("{\"success\":false");
    push_field(&mut out, "error", error);
    if ambiguous {
        out.push_str(",\"ambiguous\":true");
    }
    out.push('}');
    out
}
