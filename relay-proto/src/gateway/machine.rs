//! The machine itself: the life of links.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use fastrand::Rng;

use super::backoff::{Backoff, RetryDelay};
use super::commands::{IdleCall, Shutdown};
use super::config::{Settings, Timing};
use super::ending::Ended;
use super::inbound_state::{Counters, InboundState, LazyInboundState};
use super::link::{Closing, Link, Phase, Queued, ack_weight};
use super::output::{Ambiguous, Dial, Event, IdleOutcome, LinkId, LinkRequest, NotSent, Notice, Output, State, Stats};
use super::queue::Queue;
use super::requests::Requests;
use super::revocation::{RefusalVerdict, Revocation};
use crate::chat::PromptIds;
use crate::end::LinkEnd;
use crate::frame::{BufferId, Descriptor, encode};
use crate::outbox::Outbox;
use crate::time::Now;
use crate::token;
use crate::transmit::Transmit;

/// Bytes of unwritten frames of our own (acks, mostly) from which on the link is not read: a peer that does not read
/// must not make us hold its answers.
const MAX_TRANSMIT: usize = 256 << 10;

/// Frames that a link without any keeps room for: as many as the acknowledgements of one read.
const FEW_FRAMES: usize = 64;

/// How much further the wall clock has to go than the monotonic clock for that to be a suspended machine, and not a clock
/// that was corrected.
const SUSPENDED: Duration = Duration::from_secs(10);

/// How long a peer may take to answer the close frame when the application wants another link.
pub(super) const RECONNECT: Duration = Duration::from_millis(250);

/// One gateway. See the [module](super) for how to drive it.
///
/// A clone is for looking at what could happen next. It is no second gateway: its request ids would be the same (REQ-1).
#[derive(Clone, Debug)]
pub struct Machine {
    pub(super) settings: Settings,
    pub(super) rng: Rng,
    /// The latest monotonic time seen. Never goes back (CLOCK-1).
    pub(super) now: Duration,
    pub(super) unix: u64,
    pub(super) life: Life,
    pub(super) next_link: u64,
    pub(super) next_idle: u64,
    /// The upper half is random, the lower half counts (REQ-1).
    pub(super) next_request: u128,
    /// The next dial is parked (IDLE-2).
    pub(super) hold: bool,
    pub(super) shutdown: Option<Shutdown>,
    pub(super) backoff: Backoff,
    pub(super) revocation: Revocation,
    /// How many ready links in a row were replaced by another one (LINK-2).
    pub(super) replaced: u8,
    /// How many links in a row ended because of something too long that the connector sent (FRAME-3).
    pub(super) too_long: u8,
    pub(super) requests: Requests,
    pub(super) inbound: LazyInboundState,
    pub(super) prompts: PromptIds,
    pub(super) idle_calls: Vec<IdleCall>,
    pub(super) queue: Queue,
    pub(super) outputs: Outbox<Output>,
    pub(super) stats: Counters,
}

/// What is next to be written.
pub(crate) enum Written {
    /// The acknowledgement of a delivery.
    Ack(BufferId),
    /// Everything else.
    Other(Transmit),
}

/// There is no link, or there is one, or there will never be one again.
#[derive(Clone, Debug)]
pub(super) enum Life {
    /// No link. `due`: when to dial; `None`: on a command only.
    Waiting { due: Option<Duration>, dormant: bool },
    /// One link, in whatever phase.
    Linked(Box<Link>),
    /// Terminal.
    Over(State),
}

impl Machine {
    /// A gateway that wants to dial at once. `seed` decides jitter and request ids: take it from the operating system's
    /// randomness, and never twice (REQ-1); a simulation takes it from its own.
    pub fn new(settings: Settings, seed: u64, now: Now) -> Self {
        let mut rng = Rng::with_seed(seed);
        let next_request = u128::from(rng.u64(..)) << 64;
        // As random as the request ids, and as public.
        let (mark, first) = ((next_request >> 64) as u32, (next_request >> 96) as u32);
        let prompts = match &settings.credentials {
            Some(own) => PromptIds::of_gateway(&own.id, first),
            None => PromptIds::new(mark, first),
        };
        Self {
            settings,
            rng,
            now: now.monotonic,
            unix: now.unix,
            life: Life::Waiting { due: Some(now.monotonic), dormant: false },
            next_link: 0,
            next_idle: 0,
            next_request,
            hold: false,
            shutdown: None,
            backoff: Backoff::default(),
            revocation: Revocation::default(),
            replaced: 0,
            too_long: 0,
            requests: Requests::default(),
            inbound: LazyInboundState::default(),
            prompts,
            idle_calls: Vec::new(),
            queue: Queue::default(),
            outputs: Outbox::default(),
            stats: Counters::default(),
        }
    }

    // ── outputs ──────────────────────────────────────────────────────────

    /// The next thing for the host to do. Drain this after every input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop()
    }

    /// The next thing to write to this link. Take these while the connection has room for them, in this order; a
    /// request counts as written once it was taken from here.
    pub fn poll_transmit(&mut self, link: LinkId) -> Option<Transmit> {
        let written = self.poll_written(link)?;
        self.note_transport(link, true, false);
        Some(match written {
            Written::Ack(buffer_id) => Transmit::Text(encode::inbound_ack(buffer_id.as_str())),
            Written::Other(transmit) => transmit,
        })
    }

    /// The same for a transport that [tells](Self::note_transport) what becomes of it, with acknowledgements that are yet
    /// to be written out.
    pub(crate) fn poll_written(&mut self, link: LinkId) -> Option<Written> {
        let paused = self.is_reading_paused();
        let written = self.take_written(link);
        self.note_resumed(paused);
        written
    }

    fn take_written(&mut self, link: LinkId) -> Option<Written> {
        let Life::Linked(current) = &mut self.life else { return None };
        if current.id != link {
            return None;
        }
        loop {
            let Some(queued) = current.transmit.pop_front() else {
                // What a few frames need stays until the link is idle: each request would pay for it again.
                current.transmit.shrink_to(FEW_FRAMES);
                return None;
            };
            let transmit = match queued {
                Queued::Ack(buffer_id) => {
                    current.transmit_bytes -= ack_weight(&buffer_id);
                    self.stats.frames_sent += 1;
                    return Some(Written::Ack(buffer_id));
                }
                Queued::Frame(frame) => {
                    current.transmit_bytes -= frame.len();
                    Transmit::Text(frame)
                }
                Queued::Request(id) => {
                    current.requests = current.requests.saturating_sub(1);
                    match self.requests.write(id) {
                        Some(frame) => Transmit::Text(frame),
                        // It was cancelled, or its deadline passed.
                        None => continue,
                    }
                }
                Queued::Ping => {
                    current.check = None;
                    Transmit::Ping
                }
                Queued::Close { code, reason } => Transmit::Close { code, reason },
            };
            self.stats.frames_sent += u64::from(matches!(transmit, Transmit::Text(_)));
            return Some(Written::Other(transmit));
        }
    }

    /// What became of the link's frames: whether its socket took any since the last call, and whether some of what was
    /// [polled](Self::poll_written) still waits for it (LINK-3).
    pub(crate) fn note_transport(&mut self, link: LinkId, moved: bool, unwritten: bool) {
        if let Some(link) = current(&mut self.life, link) {
            link.moved |= moved;
            link.unwritten = unwritten;
        }
    }

    /// The next event for the application. Take one when the application wants one: what is not taken is what holds the
    /// link back (REQ-7).
    pub fn poll_event(&mut self) -> Option<Event> {
        let paused = self.is_reading_paused();
        let event = self.queue.pop();
        self.note_resumed(paused);
        event
    }

    /// Gives back memory that holds nothing. A host calls it when a link has nothing to do; `wire::GatewayIo` does
    /// so by itself.
    pub fn shrink(&mut self) {
        self.queue.shrink();
        if let Life::Linked(link) = &mut self.life {
            link.transmit.shrink_to_fit();
        }
    }

    /// Whether the host should read from the link. When false, it should leave the bytes where they are: the peer's
    /// sending stops by itself.
    pub fn wants_read(&self) -> bool {
        match &self.life {
            Life::Linked(link) => {
                link.transmit_bytes < MAX_TRANSMIT
                    && (!link.is_ready() || !self.is_queue_full() || self.awaits_answer())
            }
            Life::Waiting { .. } | Life::Over(_) => false,
        }
    }

    /// Whether somebody waits for a result or for `going_idle_ack`, neither of which deliveries may hold up (REQ-7).
    fn awaits_answer(&self) -> bool {
        !self.requests.is_empty()
            || !self.idle_calls.is_empty()
            || matches!(self.shutdown, Some(Shutdown::Idling { .. }))
    }

    /// What there is from the first delivery on.
    pub(super) fn inbound_mut(&mut self) -> &mut InboundState {
        self.inbound.open(&mut self.rng, &self.settings)
    }

    pub(super) fn is_queue_full(&self) -> bool {
        self.queue.bytes() >= self.settings.limits.queue
    }

    // ── views ────────────────────────────────────────────────────────────

    /// Where the gateway is in its life.
    pub fn state(&self) -> State {
        match &self.life {
            Life::Waiting { dormant: true, .. } => State::Dormant,
            Life::Waiting { .. } => State::Disconnected,
            Life::Linked(link) => match link.phase {
                Phase::Dialing { .. } => State::Dialing,
                Phase::Handshaking { .. } => State::Handshaking,
                Phase::Ready { .. } => State::Ready,
                Phase::Closing { .. } => State::Closing,
            },
            Life::Over(state) => *state,
        }
    }

    /// The link's default descriptor: its first. `None` until the link is ready (HELLO-2).
    pub fn descriptor(&self) -> Option<&Arc<Descriptor>> {
        self.link()?.descriptors.first()
    }

    /// The descriptor of one platform on this link.
    pub fn descriptor_for(&self, platform: &str) -> Option<&Arc<Descriptor>> {
        self.link()?.descriptor_for(platform)
    }

    /// What has been counted.
    pub fn stats(&self) -> Stats {
        self.stats.with(&self.inbound)
    }

    /// What it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether the application has read every event.
    pub fn is_drained(&self) -> bool {
        self.queue.is_empty()
    }

    fn link(&self) -> Option<&Link> {
        match &self.life {
            Life::Linked(link) => Some(link),
            Life::Waiting { .. } | Life::Over(_) => None,
        }
    }

    // ── inputs about links ───────────────────────────────────────────────

    /// The upgrade of this link was accepted.
    pub fn handle_opened(&mut self, link: LinkId, now: Now) {
        self.tick(now);
        let (at, timing) = (self.now, &self.settings.timing);
        let Some(link) = current(&mut self.life, link) else { return };
        if !matches!(link.phase, Phase::Dialing { .. }) {
            return;
        }
        link.phase = Phase::Handshaking { until: at.saturating_add(timing.handshake) };
        link.hear(at, timing);
        for identity in self.settings.identities.iter() {
            link.queue_frame(encode::hello(&identity.platform, &identity.bot_id, identity.command_manifest.as_ref()));
        }
    }

    /// Bytes came from the peer, of whatever kind: it is alive (LINK-3). Messages say so by themselves.
    pub fn handle_traffic(&mut self, link: LinkId, now: Now) {
        self.tick(now);
        let at = self.now;
        if let Some(link) = current(&mut self.life, link) {
            link.hear(at, &self.settings.timing);
        }
    }

    /// The link, or the dial, ended. Not called after [`LinkRequest::Drop`].
    pub fn handle_ended(&mut self, link: LinkId, end: LinkEnd, now: Now) {
        self.tick(now);
        let Some(link) = current(&mut self.life, link) else { return };
        if let LinkEnd::RefusedForNow { retry_after, .. } = end {
            link.retry_after = retry_after;
        }
        if let LinkEnd::MessageTooLarge { limit } = end {
            link.too_long = Some(("message", limit));
        }
        let mut ended = Ended::from(end);
        ended.reason = self.settings.without_secrets(&ended.reason, link.token.as_ref());
        // After our own close, only what must slow or stop the next dial is news; the rest would hide why we closed.
        let news = ended.code.is_some() && (ended.is_refusal() || ended.retry_delay() == RetryDelay::Slow);
        let closing = matches!(link.phase, Phase::Closing { .. });
        self.end_link(Some(ended).filter(|_| news || !closing));
    }

    // ── the life of links ────────────────────────────────────────────────

    /// Takes the time. It never goes back (CLOCK-1).
    pub(super) fn tick(&mut self, now: Now) {
        let wall = Duration::from_secs(now.unix.saturating_sub(self.unix));
        let passed = now.monotonic.saturating_sub(self.now);
        let slept = wall.saturating_sub(passed);
        self.now = self.now.max(now.monotonic);
        self.unix = now.unix;
        // Silence while we did not read says nothing about the peer: its clock stands still.
        let paused = self.is_reading_paused();
        if let Life::Linked(link) = &mut self.life {
            if core::mem::take(&mut link.resumed) || paused {
                link.pass_over(passed);
            }
            if core::mem::take(&mut link.moved) || !link.has_unwritten() {
                link.moved_at = self.now;
            }
        }
        if slept >= SUSPENDED {
            self.resume(slept);
        }
    }

    /// The machine was suspended for so long, as far as the clocks show (CLOCK-2).
    fn resume(&mut self, slept: Duration) {
        let (now, timing) = (self.now, &self.settings.timing);
        match &mut self.life {
            Life::Waiting { due: Some(due), .. } => *due = due.saturating_sub(slept),
            Life::Linked(link) if link.is_open() => {
                let until = now.saturating_add(timing.resume);
                link.check = Some(until);
                link.ping_at = now;
                link.lost_at = link.lost_at.min(until);
            }
            Life::Waiting { due: None, .. } | Life::Linked(_) | Life::Over(_) => return,
        }
        self.notice(Notice::Resumed { slept });
    }

    /// Whether the link is not read because the application does not read.
    pub(super) fn is_reading_paused(&self) -> bool {
        self.is_queue_full() && !self.wants_read()
    }

    /// Notes that the pause is over. When is not known before the next input brings the time.
    fn note_resumed(&mut self, was_paused: bool) {
        if was_paused
            && !self.is_reading_paused()
            && let Life::Linked(link) = &mut self.life
        {
            link.resumed = true;
        }
    }

    /// Nothing of a request that has ended stays where frames wait to be written (REQ-3).
    pub(super) fn forget_ended_requests(&mut self) {
        if let Life::Linked(link) = &mut self.life {
            link.forget_ended(&self.requests);
        }
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.outputs.push_notice(Output::Notice(notice));
    }

    pub(super) fn push_event(&mut self, event: Event) {
        if self.queue.push(event) {
            self.inbound_mut().stats.reports_dropped += 1;
        }
    }

    /// Dials. Only from [`Life::Waiting`], so that there is never a second link.
    pub(super) fn dial(&mut self) {
        let id = LinkId(self.next_link);
        self.next_link += 1;
        let ttl = self.settings.timing.token_ttl;
        // Rounded up: zero would make a token that never expires.
        let ttl = ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0));
        let token = self.settings.credentials.as_ref().map(|own| token::mint(&own.id, &own.secret, ttl, self.unix));
        let until = self.now.saturating_add(self.settings.timing.dial);
        self.life = Life::Linked(Box::new(Link::new(id, until, token.clone())));
        self.hold = false;
        self.stats.dials += 1;
        self.outputs.push(Output::Link(LinkRequest::Dial(Dial { link: id, token })));
    }

    /// Closes the link in order: a close frame, then up to [`Timing::close`](super::Timing::close) for the peer's.
    pub(super) fn close_link(&mut self, code: u16, reason: &'static str, why: Closing) {
        let now = self.now;
        let until = now.saturating_add(self.close_patience(&why));
        let Life::Linked(link) = &mut self.life else { return };
        match link.phase {
            Phase::Closing { .. } => {}
            // There is nothing to close yet.
            Phase::Dialing { .. } => self.drop_link(why),
            Phase::Handshaking { .. } | Phase::Ready { .. } => {
                let ready_for = link.ready_for(now);
                link.phase = Phase::Closing { until, why, ready_for };
                link.transmit.push_back(Queued::Close { code, reason });
            }
        }
    }

    /// How long to wait for the peer's close frame. Whoever asked for another link has reason to think that this one is
    /// dead: it is given a round trip.
    fn close_patience(&self, why: &Closing) -> Duration {
        match why {
            Closing::End(ended) if ended.cause == super::Cause::Requested => RECONNECT.min(self.settings.timing.close),
            _ => self.settings.timing.close,
        }
    }

    /// Drops the connection at once.
    pub(super) fn drop_link(&mut self, why: Closing) {
        let Life::Linked(link) = &mut self.life else { return };
        self.outputs.push(Output::Link(LinkRequest::Drop(link.id)));
        let ended = match why {
            Closing::End(ended) => Some(ended),
            Closing::Shutdown => None,
        };
        self.end_link(ended);
    }

    /// The link is gone. `ended`: how; `None`: as this side's close meant it.
    pub(super) fn end_link(&mut self, ended: Option<Ended>) {
        let life = core::mem::replace(&mut self.life, Life::Waiting { due: None, dormant: false });
        let Life::Linked(link) = life else {
            self.life = life;
            return;
        };
        let ready_for = link.ready_for(self.now);
        // A call for another link is overruled by what the peer said, and by nothing else.
        let again = link.again && ended.is_none();
        let in_handshake = matches!(link.phase, Phase::Handshaking { .. });
        let ended = ended.or(match link.phase {
            Phase::Closing { why: Closing::End(ended), .. } => Some(ended),
            _ => None,
        });
        self.inbound.end_link();
        let refused = ended.as_ref().is_some_and(Ended::is_refusal);
        let says_expired = ended.as_ref().is_some_and(Ended::says_expired);
        let ended =
            if in_handshake { ended.map(|ended| ended.in_handshake(self.requests.last_error())) } else { ended };
        let outputs = &mut self.outputs;
        if self.shutdown.is_none() {
            self.requests.end_link(|request, outcome| outputs.push(Output::RequestEnded { request, outcome }));
        }
        self.end_idle_calls(|_| true, IdleOutcome::NoLink);

        let Some(ended) = ended else { return self.finish(State::Closed) };
        let mut delay = if again { RetryDelay::Now } else { ended.retry_delay() };
        self.count_replaced(&ended, ready_for);
        self.count_too_long(link.too_long, ready_for);
        self.revocation.on_end(ready_for, refused, self.settings.timing.stable);
        if refused {
            let token_expired =
                ready_for.is_none() && link.token.as_ref().is_some_and(|token| token.is_expired(self.unix));
            match self.revocation.judge(says_expired, token_expired, self.settings.confirm_refusals) {
                RefusalVerdict::Retry(retry) => delay = retry,
                RefusalVerdict::Confirm => {
                    delay = RetryDelay::Now;
                    if self.settings.reconnect {
                        self.notice(Notice::RefusalProvisional);
                    }
                }
                RefusalVerdict::Revoke => {
                    self.report_end(ended.clone(), ready_for, None);
                    self.push_event(Event::Revoked { ended });
                    return self.finish(State::Revoked);
                }
            }
        }
        if self.shutdown.is_some() {
            return self.finish(State::Closed);
        }
        let dormant = delay == RetryDelay::Dormant;
        let commanded = again || matches!(delay, RetryDelay::Dormant) || ended.cause == super::Cause::Requested;
        if !self.settings.reconnect && !commanded {
            self.report_end(ended, ready_for, None);
            return self.finish(State::Closed);
        }
        let wait = self.backoff.wait(delay, ready_for, &self.settings.timing, &mut self.rng);
        // The peer's wish counts, within reason: a mistake of its must not keep this gateway away for a day.
        let wait = wait.max(link.retry_after.min(self.settings.timing.backoff_max));
        self.life = Life::Waiting { due: Some(self.now.saturating_add(wait)), dormant };
        let retry_in = self.redial_at().map(|at| at.saturating_sub(self.now));
        self.report_end(ended, ready_for, retry_in);
        self.dial_if_due();
    }

    /// Tells the application and the log of an end.
    fn report_end(&mut self, ended: Ended, ready_for: Option<Duration>, retry_in: Option<Duration>) {
        let was_ready = ready_for.is_some();
        self.outputs.push(Output::Notice(Notice::Disconnected { ended: ended.clone(), was_ready, retry_in }));
        self.push_event(Event::Disconnected { ended, retry_in });
    }

    /// Two processes with one gateway id replace each other without end: somebody has to know.
    fn count_replaced(&mut self, ended: &Ended, ready_for: Option<Duration>) {
        if ready_for.is_none() {
            return;
        }
        self.replaced = if ended.cause == super::Cause::Replaced { self.replaced + 1 } else { 0 };
        if self.replaced == 3 {
            self.replaced = 0;
            self.notice(Notice::TakingTurns);
        }
    }

    /// What is too long for this gateway comes again on each link, since the connector has to have it acknowledged: somebody
    /// has to raise the limit. Dials that fail in between tell nothing about it.
    fn count_too_long(&mut self, too_long: Option<(&'static str, usize)>, ready_for: Option<Duration>) {
        let Some((what, limit)) = too_long else {
            if ready_for.is_some() {
                self.too_long = 0;
            }
            return;
        };
        self.too_long += 1;
        if self.too_long == 2 {
            self.too_long = 0;
            self.notice(Notice::TooLong { what, limit });
        }
    }

    /// The end of the machine: nothing dials again, every request ends.
    pub(super) fn finish(&mut self, state: State) {
        let (not_sent, ambiguous) = match (state, &self.shutdown) {
            (State::Revoked, None) => (NotSent::Revoked, Ambiguous::LinkLost),
            (_, None) => (NotSent::NoLink, Ambiguous::LinkLost),
            (_, Some(_)) => (NotSent::ShutDown, Ambiguous::ShutDown),
        };
        self.life = Life::Over(state);
        let outputs = &mut self.outputs;
        self.requests
            .end_all(&not_sent, ambiguous, |request, outcome| outputs.push(Output::RequestEnded { request, outcome }));
        if state == State::Closed {
            self.push_event(Event::Closed);
        }
    }

    /// When the next dial is due, a hold included.
    pub(super) fn redial_at(&self) -> Option<Duration> {
        match self.life {
            Life::Waiting { due: Some(due), .. } => {
                Some(if self.hold { due.saturating_add(self.settings.timing.hold_max) } else { due })
            }
            _ => None,
        }
    }

    pub(super) fn dial_if_due(&mut self) {
        if self.redial_at().is_some_and(|at| at <= self.now) {
            self.dial();
        }
    }
}

impl Link {
    /// This time does not count as silence.
    fn pass_over(&mut self, time: Duration) {
        for at in [&mut self.heard, &mut self.ping_at, &mut self.lost_at] {
            *at = at.saturating_add(time);
        }
    }

    pub(super) fn hear(&mut self, now: Duration, timing: &Timing) {
        self.heard = now;
        if let Some(until) = self.check {
            // It may have waited here through the sleep. But that is no reason to end the link before it was asked.
            self.lost_at = self.lost_at.max(until);
            return;
        }
        self.ping_at = now.saturating_add(timing.ping_after);
        self.lost_at = now.saturating_add(timing.lost_after);
    }
}

/// The link of this id, if it is the one there is. Inputs for any other are of the dead, and ignored.
pub(super) fn current(life: &mut Life, id: LinkId) -> Option<&mut Link> {
    match life {
        Life::Linked(link) if link.id == id => Some(link),
        _ => None,
    }
}
