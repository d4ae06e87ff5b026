//! What comes in on a link.

use super::link::failure;
use super::output::{EntryId, Event, HelloId, Identity, LinkId, Notice, Outbound, OutboundId, Output};
use super::peer::Peer;
use super::queue::identity_weight;
use crate::frame::{self, FromGateway, RawJson, Skipped, encode};
use crate::ndjson::LineTooLong;
use crate::time::Now;
use crate::transmit::Transmit;

/// The longest request id that is kept for an answer. Gateways write 32 digits (REQ-1).
const MAX_REQUEST_ID: usize = 1024;

impl Peer {
    /// The payload of one WebSocket message, text or binary (FRAME-2).
    pub fn handle_message(&mut self, link: LinkId, payload: &[u8], now: Now) {
        self.tick(now);
        self.hear(link);
        let limit = self.settings.limits.line;
        let Some(open) = self.find(link).filter(|link| !link.deaf) else { return };
        // The line buffer is set aside while its lines are handled, since each of them may end the link.
        let mut lines = core::mem::take(&mut open.lines);
        let fed = lines.feed(payload, limit, frame::from_gateway, |line| self.handle_line(link, line));
        let Some(open) = self.find(link) else { return };
        match fed {
            Ok(()) => open.lines = lines,
            Err(LineTooLong { limit }) => {
                open.deaf = true;
                if open.closing_until.is_none() {
                    self.count_too_long("line", limit);
                    self.close_current(1009, "line too long");
                }
            }
        }
    }

    /// A WebSocket pong came, with this payload. The host passes on all of them, or those alone that answer a
    /// [`Transmit::Probe`], each in its place among the messages. A host whose WebSocket hides pongs calls
    /// [`handle_traffic`](Self::handle_traffic) alone: then no forward is [presumed
    /// taken](super#forwards-that-nobody-acknowledges).
    pub fn handle_pong(&mut self, link: LinkId, payload: &[u8], now: Now) {
        self.tick(now);
        self.hear(link);
        self.assume_forwards_acked(link, payload);
    }

    /// One line. Whether to go on with the next.
    fn handle_line(&mut self, link: LinkId, line: Result<FromGateway, Skipped>) -> bool {
        self.stats.lines_received += 1;
        let frame = match line {
            Ok(frame) => frame,
            Err(skipped) => {
                if let Some(count) = self.stats.skipped.get_mut(skipped.kind()) {
                    *count += 1;
                }
                self.notice(Notice::Skipped(skipped));
                return true;
            }
        };
        if let FromGateway::InboundAck { buffer_id } = frame {
            // Also on a link that this side has closed: the gateway did take it.
            self.handle_ack(link, &buffer_id);
            return true;
        }
        if self.current_link() != Some(link) {
            return true;
        }
        match frame {
            FromGateway::Hello { platform, bot_id, command_manifest } => {
                return self.handle_hello(Identity { platform, bot_id, command_manifest });
            }
            FromGateway::Outbound { request_id, action, platform, bot_id } => {
                self.handle_outbound(request_id, action, platform, bot_id);
            }
            FromGateway::Interrupt { session_key, reason } => {
                self.push_event(Event::Interrupt { session_key, reason });
            }
            FromGateway::GoingIdle => self.handle_going_idle(),
            FromGateway::InboundAck { .. } => {}
        }
        true
    }

    /// CONN-2: the hello says what the gateway fronts, never who it is.
    fn handle_hello(&mut self, identity: Identity) -> bool {
        let most = self.settings.limits.hellos;
        let Some(link) = &mut self.current else { return false };
        if link.hellos >= most {
            self.close_current(1008, "too many hellos");
            return false;
        }
        link.hellos += 1;
        let hello = HelloId(self.next_hello);
        self.next_hello += 1;
        link.unanswered_bytes += identity_weight(&identity);
        link.unanswered.insert(hello, identity.clone());
        self.outputs.push(Output::Hello { hello, identity });
        true
    }

    /// CONN-6: from here on exactly one result is owed.
    fn handle_outbound(
        &mut self,
        request_id: alloc::string::String,
        action: Option<RawJson>,
        platform: Option<alloc::string::String>,
        bot_id: Option<alloc::string::String>,
    ) {
        self.stats.outbounds += 1;
        let (now, most) = (self.now, self.settings.limits.outbounds);
        let Some(link) = &mut self.current else { return };
        let (action, error) = match action {
            None => (None, "the action is not an object"),
            Some(_) if request_id.len() > MAX_REQUEST_ID => (None, "the request id is too long"),
            Some(_) if link.outbounds.len() >= most => (None, "too many requests are waiting"),
            Some(action) => (Some(action), ""),
        };
        let Some(action) = action else {
            self.stats.outbounds_failed += 1;
            link.queue(Transmit::Text(encode::outbound_result(&request_id, &failure(error, false))));
            return;
        };
        let (id, link_id) = (OutboundId(self.next_outbound), link.id);
        self.next_outbound += 1;
        let deadline = now.saturating_add(self.settings.timing.outbound);
        let pending = super::link::Pending { request_id: request_id.clone(), deadline, shown: false };
        link.outbounds.insert(id, pending);
        self.push_event(Event::Outbound(Outbound { id, link: link_id, request_id, action, platform, bot_id }));
    }

    /// CONN-4: stops before it says so, and stops once however often it is asked.
    fn handle_going_idle(&mut self) {
        let Some(link) = &mut self.current else { return };
        link.queue(Transmit::Text(encode::going_idle_ack()));
        if !core::mem::replace(&mut link.idle, true) {
            self.push_event(Event::Idle);
        }
    }

    /// CONN-3: an entry leaves on its own ack, on a link that carried it last.
    fn handle_ack(&mut self, link: LinkId, buffer_id: &str) {
        let id = EntryId::parse(buffer_id);
        // Of whatever entry: none of them comes from a gateway that acknowledges nothing.
        self.acknowledges |= id.is_some();
        let Some(entry) = id.and_then(|id| self.buffer.ack(id, link)) else {
            self.acks_forwards |= id.is_some_and(|id| self.assumed_acked.contains(&id));
            self.stats.stray_acks += 1;
            self.notice(Notice::StrayAck);
            return;
        };
        self.acks_forwards |= entry.is_forward;
        self.stats.acked += 1;
        self.discard(entry.id);
        self.push_event(Event::Acked(entry.id));
        self.refill();
    }
}
