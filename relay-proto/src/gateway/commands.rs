//! What the application asks of the machine.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::time::Duration;

use super::config::Settings;
use super::ending::{Cause, Ended};
use super::link::{Closing, Link, Phase};
use super::machine::{Life, Machine, RECONNECT};
use super::output::{DeliveryId, Event, IdleId, IdleOutcome, NotSent, Notice, Output, RequestId, State};
use crate::frame::{RawJson, encode};
use crate::json;
use crate::time::Now;

/// How to send a request.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RequestOptions {
    /// The platform to act on, with its bot id when that identity is fronted (REQ-4). Default: none, and the connector
    /// takes the link's default identity.
    pub platform: Option<String>,
    /// The bot to act as, one of those that the gateway fronts. Default: the one that it fronts on the platform; of several
    /// the one that the chat's last message was for (CHAT-8).
    pub bot_id: Option<String>,
    /// The request's deadline. Default: [`Timing::request`](super::Timing::request).
    pub timeout: Option<Duration>,
    /// Whether to wait for a ready link, within the deadline. Default: without one the request fails at once (REQ-2).
    pub wait_for_link: bool,
}

impl RequestOptions {
    /// Acts on this platform.
    #[must_use]
    pub fn platform(mut self, platform: impl Into<String>) -> Self {
        self.platform = Some(platform.into());
        self
    }

    /// Acts as this bot.
    #[must_use]
    pub fn bot_id(mut self, bot_id: impl Into<String>) -> Self {
        self.bot_id = Some(bot_id.into());
        self
    }

    /// Ends the request after this time at the latest.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Waits for a ready link, within the deadline.
    #[must_use]
    pub fn wait_for_link(mut self) -> Self {
        self.wait_for_link = true;
        self
    }
}

/// A call of [`Machine::go_idle`] or [`Machine::go_dormant`] that has not ended.
#[derive(Clone, Debug)]
pub(super) struct IdleCall {
    pub(super) id: IdleId,
    pub(super) until: Duration,
    pub(super) dormant: bool,
    /// Somebody asked for a wake-up since.
    pub(super) woken: bool,
}

/// How far shutting down has come (CLOSE-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shutdown {
    /// Waits for `going_idle_ack`.
    Idling { until: Duration },
    /// Waits for requests under way.
    Finishing { until: Duration },
    /// Has closed the link and waits for its end.
    Closing,
}

impl Machine {
    // ── requests ─────────────────────────────────────────────────────────

    /// Sends a request: an action object with an `op` (REQ-1). Its end is an [`Output::RequestEnded`].
    ///
    /// # Errors
    /// [`NotSent`] when it cannot even be queued. It has ended then: no output follows.
    pub fn request(&mut self, action: &RawJson, options: &RequestOptions, now: Now) -> Result<RequestId, NotSent> {
        let action = json::compact(action.as_str());
        self.submit(action.len(), |out| out.push_str(&action), options, now)
    }

    /// Sends a request whose action, a compact object of about `size` bytes, `write` appends to its frame.
    pub(super) fn submit(
        &mut self,
        size: usize,
        write: impl FnOnce(&mut String),
        options: &RequestOptions,
        now: Now,
    ) -> Result<RequestId, NotSent> {
        self.tick(now);
        let ready = self.accepts_requests(options.wait_for_link)?;
        let id = RequestId(self.next_request);
        let actor = self.settings.actor(options.platform.as_deref(), options.bot_id.as_deref())?;
        let frame = encode::outbound_of(size, actor.platform, actor.bot_id, |out| id.push_quoted(out), write);
        check_size(&frame, &self.settings)?;
        let unclear = actor.platform.filter(|_| actor.is_unclear).map(ToOwned::to_owned);
        if let Some(platform) = unclear {
            self.notice(Notice::NoBot { platform });
        }
        self.next_request += 1;
        let deadline = self.now.saturating_add(options.timeout.unwrap_or(self.settings.timing.request));
        self.requests.insert(id, frame, deadline, options.wait_for_link, ready);
        if let Life::Linked(link) = &mut self.life
            && ready
        {
            link.queue_request(id);
        }
        Ok(id)
    }

    /// Whether there is a ready link for a new request; an error when it has to end at once.
    fn accepts_requests(&self, wait: bool) -> Result<bool, NotSent> {
        match &self.life {
            Life::Over(State::Revoked) => Err(NotSent::Revoked),
            Life::Over(_) => Err(NotSent::ShutDown),
            _ if self.shutdown.is_some() => Err(NotSent::ShutDown),
            Life::Linked(link) if link.is_ready() => Ok(true),
            _ if wait => Ok(false),
            _ => Err(NotSent::NoLink),
        }
    }

    /// Why a request that does not wait for a link would not be sent now.
    #[cfg(feature = "client")]
    pub(crate) fn unsent(&self) -> NotSent {
        self.accepts_requests(false).err().unwrap_or(NotSent::NoLink)
    }

    /// The caller of a request no longer waits. Nothing of it remains; a late result is ignored (REQ-3).
    pub fn cancel(&mut self, request: RequestId, now: Now) {
        self.tick(now);
        self.requests.remove(request);
        self.forget_ended_requests();
        self.advance_shutdown();
    }

    /// Tells the connector that the agent stopped a session.
    ///
    /// # Errors
    /// [`NotSent`] when there is no ready link, or the frame is over the limit.
    pub fn interrupt(&mut self, session_key: &str, reason: Option<&str>, now: Now) -> Result<(), NotSent> {
        self.tick(now);
        self.accepts_requests(false)?;
        let frame = encode::interrupt(session_key, reason);
        check_size(&frame, &self.settings)?;
        if let Life::Linked(link) = &mut self.life {
            link.queue_frame(frame);
        }
        Ok(())
    }

    // ── deliveries ───────────────────────────────────────────────────────

    /// The application has taken a delivery (ACK-1). Whether it held it: of several calls only the first counts.
    pub fn ack(&mut self, delivery: DeliveryId, now: Now) -> bool {
        self.tick(now);
        self.take(delivery)
    }

    /// The same for a host that would ask for the time for this alone, since nothing of it depends on the time.
    pub(crate) fn take(&mut self, delivery: DeliveryId) -> bool {
        let taken = self.inbound.get_mut().is_some_and(|inbound| inbound.deliveries.take(delivery));
        if let Life::Linked(link) = &mut self.life
            && !link.has_unwritten()
        {
            // What waits for the socket from now on has not waited since the last input (LINK-3). Since when it has, the next
            // one tells.
            link.moved = true;
        }
        self.flush_acks();
        taken
    }

    /// The application gives a delivery back: it will be replayed on the next link (ACK-6). Whether it held it.
    pub fn nack(&mut self, delivery: DeliveryId, now: Now) -> bool {
        self.tick(now);
        let Some(inbound) = self.inbound.get_mut() else { return false };
        let held = inbound.deliveries.nack(delivery);
        inbound.stats.nacked += u64::from(held);
        held
    }

    /// The application dropped a delivery without a word: the same as giving it back, and counted (ACK-6).
    pub fn drop_delivery(&mut self, delivery: DeliveryId, now: Now) {
        self.tick(now);
        let Some(inbound) = self.inbound.get_mut() else { return };
        let owed = inbound.deliveries.is_owed(delivery);
        if inbound.deliveries.nack(delivery) {
            inbound.stats.dropped += 1;
            // Otherwise there is no acknowledgement to hold up.
            if owed && self.shutdown.is_none() && matches!(&self.life, Life::Linked(link) if link.is_open()) {
                self.notice(Notice::Dropped);
            }
        }
    }

    // ── sleeping and waking ──────────────────────────────────────────────

    /// Asks the connector to stop delivering on this link (IDLE-1). The end is an [`Output::IdleEnded`].
    pub fn go_idle(&mut self, now: Now) -> IdleId {
        self.tick(now);
        self.start_idle(false)
    }

    /// Goes to sleep: idle, and on the acknowledgement the link is closed, with the right to dial kept (IDLE-2). Without
    /// it the link stays up. The end is an [`Output::IdleEnded`].
    pub fn go_dormant(&mut self, now: Now) -> IdleId {
        self.tick(now);
        self.start_idle(true)
    }

    fn start_idle(&mut self, dormant: bool) -> IdleId {
        let id = IdleId(self.next_idle);
        self.next_idle += 1;
        match &mut self.life {
            Life::Linked(link) if link.is_ready() && self.shutdown.is_none() => {
                send_going_idle(link, !self.idle_calls.is_empty());
                self.idle_calls.push(IdleCall {
                    id,
                    until: self.now.saturating_add(self.settings.timing.idle),
                    dormant,
                    woken: false,
                });
            }
            _ => self.outputs.push(Output::IdleEnded { idle: id, outcome: IdleOutcome::NoLink }),
        }
        id
    }

    pub(super) fn end_idle_calls(&mut self, which: impl Fn(&IdleCall) -> bool, outcome: IdleOutcome) {
        let outputs = &mut self.outputs;
        self.idle_calls.retain(|call| {
            let ends = which(call);
            if ends {
                outputs.push(Output::IdleEnded { idle: call.id, outcome });
            }
            !ends
        });
    }

    /// Parks the next dial from when it is due, until [`release_redial`](Self::release_redial),
    /// [`wake`](Self::wake) or [`reconnect`](Self::reconnect), or 60 s have passed (IDLE-2).
    pub fn hold_redial(&mut self, now: Now) {
        self.tick(now);
        self.hold = true;
    }

    /// Ends a hold. A dial that was due by now goes out at once.
    pub fn release_redial(&mut self, now: Now) {
        self.tick(now);
        self.hold = false;
        self.dial_if_due();
    }

    /// Dials now, if there is no link and none on its way, or as soon as the one that is being closed has ended, or will
    /// be because of an earlier [`go_dormant`](Self::go_dormant) (IDLE-2).
    pub fn wake(&mut self, now: Now) {
        self.tick(now);
        self.hold = false;
        if self.shutdown.is_some() {
            return;
        }
        match &mut self.life {
            Life::Waiting { .. } => self.dial(),
            // Too late to stay, too early to dial.
            Life::Linked(link) if matches!(link.phase, Phase::Closing { .. }) => link.again = true,
            // It may be about to fall asleep: the connector has to say so first (IDLE-2).
            Life::Linked(_) => self.idle_calls.iter_mut().for_each(|call| call.woken = true),
            Life::Over(_) => {}
        }
    }

    /// Makes a new link without waiting for the backoff, which is left as it is (LINK-1): dials, or closes the link there is
    /// and then dials. Closing takes a round trip, since the peer may have a reason not to dial again; a peer that says
    /// nothing is given 250 ms.
    pub fn reconnect(&mut self, now: Now) {
        self.tick(now);
        if self.shutdown.is_some() {
            return;
        }
        self.hold = false;
        match &mut self.life {
            Life::Waiting { .. } => self.dial(),
            // The dial under way is what is asked for.
            Life::Linked(link) if matches!(link.phase, Phase::Dialing { .. }) => {}
            Life::Linked(link) => {
                link.again = true;
                if let Phase::Closing { until, .. } = &mut link.phase {
                    *until = (*until).min(self.now.saturating_add(RECONNECT));
                }
                let ended = Ended::local(Cause::Requested, "a new link was asked for");
                self.close_link(1000, "reconnect", Closing::End(ended));
            }
            Life::Over(_) => {}
        }
    }

    // ── the end ──────────────────────────────────────────────────────────

    /// Shuts down in order: goes idle, lets requests under way finish, closes with 1000, ends what is left, and reports
    /// [`Event::Closed`](super::Event::Closed) (CLOSE-1). Every step is bounded. A second call is the same as the first.
    pub fn close(&mut self, now: Now) {
        self.tick(now);
        if self.shutdown.is_some() || matches!(self.life, Life::Over(_)) {
            return;
        }
        let until = self.now.saturating_add(self.settings.timing.shutdown_idle);
        let waiting = !self.idle_calls.is_empty();
        self.end_idle_calls(|_| true, IdleOutcome::NoLink);
        match &mut self.life {
            Life::Linked(link) if link.is_ready() && !link.idle => {
                send_going_idle(link, waiting);
                self.shutdown = Some(Shutdown::Idling { until });
            }
            Life::Linked(link) if link.is_ready() => {
                let until = self.now.saturating_add(self.settings.timing.shutdown_requests);
                self.shutdown = Some(Shutdown::Finishing { until });
            }
            Life::Linked(link) => {
                self.shutdown = Some(Shutdown::Closing);
                if let Phase::Closing { why, .. } = &mut link.phase {
                    *why = Closing::Shutdown;
                } else {
                    self.close_link(1000, "", Closing::Shutdown);
                }
            }
            Life::Waiting { .. } => {
                self.shutdown = Some(Shutdown::Closing);
                self.finish(State::Closed);
            }
            Life::Over(_) => {}
        }
        let outputs = &mut self.outputs;
        self.requests.end_waiting(&NotSent::ShutDown, |request, outcome| {
            outputs.push(Output::RequestEnded { request, outcome });
        });
        self.advance_shutdown();
    }

    /// Ends at once, because the host is going away: no goodbye, but every request ends, and so do the events.
    pub fn abandon(&mut self, now: Now) {
        self.tick(now);
        if matches!(self.life, Life::Over(_)) {
            return;
        }
        self.shutdown = Some(Shutdown::Closing);
        self.end_idle_calls(|_| true, IdleOutcome::NoLink);
        match &self.life {
            Life::Linked(_) => self.drop_link(Closing::Shutdown),
            Life::Waiting { .. } | Life::Over(_) => self.finish(State::Closed),
        }
    }

    /// The same because what drives it panicked: an event says so before the last one.
    pub fn crash(&mut self, reason: &str, now: Now) {
        self.tick(now);
        if !matches!(self.life, Life::Over(_)) {
            self.push_event(Event::Disconnected { ended: Ended::local(Cause::Panicked, reason), retry_in: None });
            self.abandon(now);
        }
    }

    /// Takes the steps of shutting down that are due.
    pub(super) fn advance_shutdown(&mut self) {
        let Some(shutdown) = self.shutdown else { return };
        let Life::Linked(link) = &mut self.life else { return };
        if let Shutdown::Idling { until } = shutdown
            && (link.idle || until <= self.now)
        {
            let until = self.now.saturating_add(self.settings.timing.shutdown_requests);
            self.shutdown = Some(Shutdown::Finishing { until });
        }
        if let Some(Shutdown::Finishing { until }) = self.shutdown
            && (self.requests.is_empty() || until <= self.now)
        {
            self.shutdown = Some(Shutdown::Closing);
            self.close_link(1000, "", Closing::Shutdown);
        }
    }
}

/// One `going_idle` serves every caller that waits for its ack. `waiting`: somebody does; when the last one has given up,
/// the next asks anew.
fn send_going_idle(link: &mut Link, waiting: bool) {
    if !core::mem::replace(&mut link.idling, true) || !waiting {
        link.queue_frame(encode::going_idle());
    }
}

fn check_size(frame: &str, settings: &Settings) -> Result<(), NotSent> {
    let (size, limit) = (frame.len() - 1, settings.limits.frame);
    if size > limit { Err(NotSent::TooLarge { size, limit }) } else { Ok(()) }
}
