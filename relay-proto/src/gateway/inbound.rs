//! What comes in on a link.

use alloc::sync::Arc;

use super::deliveries::Admission;
use super::ending::{Cause, Ended, shown};
use super::link::{Closing, Phase};
use super::machine::{Life, Machine, current};
use super::output::{Delivered, Event, IdleOutcome, LinkId, Notice, Outcome, Output, RequestId};
use crate::frame::{self, ActionResult, BufferId, Content, FromConnector, PeerError, Skipped};
use crate::ndjson::LineTooLong;
use crate::time::Now;

impl Machine {
    /// The payload of one WebSocket message, text or binary (FRAME-2).
    pub fn handle_message(&mut self, link: LinkId, payload: &[u8], now: Now) {
        self.handle_traffic(link, now);
        let limit = self.settings.limits.line;
        let Some(open) = current(&mut self.life, link) else { return };
        if open.deaf || matches!(open.phase, Phase::Dialing { .. }) {
            return;
        }
        // The line buffer is set aside while its lines are handled, since each of them may end the link.
        let mut lines = core::mem::take(&mut open.lines);
        let fed = lines.feed(payload, limit, frame::from_connector, |line| self.handle_line(link, line));
        if let Some(open) = current(&mut self.life, link) {
            match fed {
                Ok(()) => open.lines = lines,
                // Nobody knows where its next line begins: pieces of several would make one that was never sent.
                Err(LineTooLong { limit }) => {
                    open.deaf = true;
                    if open.is_open() {
                        open.too_long = Some(("line", limit));
                    }
                }
            }
        }
        if let Err(LineTooLong { limit }) = fed {
            let reason = alloc::format!("a line is over the limit of {limit} bytes");
            let ended = Ended { cause: Cause::TooLarge, code: Some(1009), reason };
            self.close_link(1009, "line too long", Closing::End(ended));
        }
        self.flush_acks();
        self.advance_shutdown();
    }

    /// One line. Whether to go on with the next.
    fn handle_line(&mut self, link: LinkId, line: Result<FromConnector, Skipped>) -> bool {
        self.stats.lines_received += 1;
        let frame = match line {
            Ok(frame) => frame,
            Err(skipped) => {
                self.count_skipped(&skipped);
                let token = current(&mut self.life, link).and_then(|link| link.token.as_ref());
                let skipped = skipped.with_shown(|name| self.settings.without_secrets(name, token));
                self.notice(Notice::Skipped(skipped));
                return true;
            }
        };
        if let FromConnector::Error(error) = frame {
            self.handle_error(link, error);
            return true;
        }
        let Some(current) = current(&mut self.life, link) else { return false };
        if !current.is_open() {
            // This side has closed: nothing can be acknowledged any more, and what is buffered comes again. A result
            // still tells the truth about its request.
            if let FromConnector::OutboundResult { request_id, result } = frame {
                self.handle_result(&request_id, result);
            }
            return true;
        }
        let unread = self.queue.bytes();
        match frame {
            FromConnector::Delivery { mut content, buffer_id } => {
                let inbound = self.inbound_mut();
                match &mut content {
                    Content::Message(message) => {
                        message.stamp_upstream();
                        inbound.scopes.learn(message);
                    }
                    Content::Passthrough(forward) => inbound.scopes.learn_forward(forward),
                    Content::Undecodable(_) => {}
                }
                self.handle_delivery(content, buffer_id);
            }
            FromConnector::Descriptor(descriptor) => self.handle_descriptor(frame::share(descriptor)),
            FromConnector::OutboundResult { request_id, result } => self.handle_result(&request_id, result),
            FromConnector::Interrupt(interrupt) => self.queue.push_interrupt(interrupt),
            FromConnector::GoingIdleAck => self.handle_idle_ack(),
            // Handled above, since it is heard while closing too.
            FromConnector::Error(_) => {}
        }
        let limit = self.settings.limits.queue_hard;
        if self.owed() > limit {
            // What may leave does not count.
            self.flush_acks();
        }
        if self.owed() > limit {
            let reason = alloc::format!("more than {limit} bytes of acknowledgements wait for the application");
            let ended = Ended::local(Cause::QueueFull, reason);
            self.close_link(1013, "too many unacknowledged deliveries", Closing::End(ended));
            return true;
        }
        // What was left unread before is no fault of this link. One event alone is taken whatever its size: it would come
        // again on each link, and never be read.
        if unread > 0 && self.queue.bytes() > limit.max(unread) {
            let reason = alloc::format!("the application left more than {limit} bytes of events unread");
            self.close_link(1013, "too many unread events", Closing::End(Ended::local(Cause::QueueFull, reason)));
        }
        true
    }

    fn count_skipped(&mut self, skipped: &Skipped) {
        if let Some(count) = self.inbound_mut().stats.skipped.get_mut(skipped.kind()) {
            *count += 1;
        }
    }

    /// The connector says that something went wrong (FRAME-5). That ends nothing but the request that it names, and is told
    /// as the cause of what fails without another.
    fn handle_error(&mut self, link: LinkId, error: PeerError) {
        self.count_skipped(&Skipped::Ignored("error".into()));
        let Some(open) = current(&mut self.life, link) else { return };
        // Last, since what is left out in between could have cut a secret into pieces that are too short.
        let words = self.settings.without_secrets(&shown(&error.words), open.token.as_ref());
        let words = if words.is_empty() { "an error, without a word about it".into() } else { words };
        self.requests.hear(words.clone());
        if let Some((request_id, mut result)) = error.request
            && let Some(request) = RequestId::parse(&request_id).filter(|id| self.requests.remove_written(*id))
        {
            result.error = Some(words.clone());
            self.outputs.push(Output::RequestEnded { request, outcome: Outcome::Result(result) });
        }
        self.notice(Notice::PeerError(words));
    }

    /// About how many bytes the acknowledgements that this link owes take.
    fn owed(&self) -> usize {
        self.inbound.get().map_or(0, |inbound| inbound.deliveries.owed())
    }

    /// Shows a delivery to the application, unless it is a replay of one that has been shown (ACK-4).
    fn handle_delivery(&mut self, content: Content, buffer_id: Option<BufferId>) {
        let inbound = self.inbound_mut();
        let admission = inbound.deliveries.admit(buffer_id.as_ref(), content.raw(), content.message_key());
        match (admission, buffer_id) {
            (Admission::Show(id), buffer_id) => {
                inbound.stats.deliveries += 1;
                self.push_event(Event::Delivery(Delivered { id, buffer_id, content }));
            }
            (Admission::Suppress, Some(buffer_id)) => {
                inbound.stats.replays_suppressed += 1;
                self.notice(Notice::ReplaySuppressed(buffer_id));
            }
            (Admission::Suppress, None) => {}
        }
    }

    fn handle_descriptor(&mut self, descriptor: Arc<frame::Descriptor>) {
        let now = self.now;
        let Life::Linked(link) = &mut self.life else { return };
        link.keep_descriptor(descriptor.clone());
        if !matches!(link.phase, Phase::Handshaking { .. }) {
            return;
        }
        link.phase = Phase::Ready { since: now };
        for id in self.requests.queue_waiting() {
            link.queue_request(id);
        }
        self.revocation.on_ready();
        self.stats.links += 1;
        self.push_event(Event::Ready { descriptor });
    }

    fn handle_result(&mut self, request_id: &str, mut result: ActionResult) {
        // They end up in errors and logs (TOKEN-3). The JSON as it came is the application's.
        let token = if let Life::Linked(link) = &self.life { link.token.as_ref() } else { None };
        for text in [&mut result.error, &mut result.code].into_iter().flatten() {
            *text = self.settings.without_secrets(text, token);
        }
        match RequestId::parse(request_id).filter(|id| self.requests.remove_written(*id)) {
            Some(request) => self.outputs.push(Output::RequestEnded { request, outcome: Outcome::Result(result) }),
            None => {
                self.inbound_mut().stats.unmatched_results += 1;
                self.notice(Notice::UnmatchedResult);
            }
        }
    }

    fn handle_idle_ack(&mut self) {
        let Life::Linked(link) = &mut self.life else { return };
        if !core::mem::take(&mut link.idling) {
            self.inbound_mut().stats.unasked_idle_acks += 1;
            self.notice(Notice::UnaskedIdleAck);
            return;
        }
        link.idle = true;
        let dormant = self.idle_calls.iter().any(|call| call.dormant);
        let sleeps = self.idle_calls.iter().any(|call| call.dormant && !call.woken);
        link.again = dormant && !sleeps;
        self.end_idle_calls(|_| true, IdleOutcome::Acknowledged);
        self.push_event(Event::Idle);
        if dormant && self.shutdown.is_none() {
            self.flush_acks();
            self.close_link(1000, "dormant", Closing::End(Ended::local(Cause::Dormant, "")));
        }
    }

    /// Queues every acknowledgement that may leave (ACK-2).
    pub(super) fn flush_acks(&mut self) {
        let Life::Linked(link) = &mut self.life else { return };
        if !link.is_open() {
            return;
        }
        let Some(inbound) = self.inbound.get_mut() else { return };
        while let Some(buffer_id) = inbound.deliveries.pop_ack() {
            link.queue_ack(buffer_id);
            inbound.stats.acks_sent += 1;
        }
    }
}
