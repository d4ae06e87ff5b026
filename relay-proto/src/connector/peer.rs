//! The peer itself: the life of its links, and what goes out on them.

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::String;
use core::time::Duration;

use super::buffer::{Buffer, Entry};
use super::config::Settings;
use super::link::{Link, Pending, failure};
use super::output::{Ended, EntryId, Event, LinkId, Notice, Output, Stats};
use crate::end::LinkEnd;
use crate::frame::encode;
use crate::outbox::Outbox;
use crate::queue::Queue;
use crate::time::Now;
use crate::transmit::Transmit;

/// Closed links whose gateway has not answered the close frame. A gateway that keeps linking gets no more than these.
const MAX_CLOSING: usize = 4;

/// One gateway, as a connector sees it. See the [module](super) for how to drive it.
///
/// A clone is for looking at what could happen next. It is no second peer: its buffer ids would be the same (ACK-4).
#[derive(Clone, Debug)]
pub struct Peer {
    pub(super) settings: Settings,
    /// The latest monotonic time seen. Never goes back (CLOCK-1).
    pub(super) now: Duration,
    pub(super) life: Life,
    pub(super) buffer: Buffer,
    /// The highest cursor that a link ever had: no link carried anything from here on.
    pub(super) carried_until: u64,
    /// Whether this gateway ever acknowledged anything.
    pub(super) acknowledges: bool,
    /// Whether this gateway ever acknowledged a forward.
    pub(super) acks_forwards: bool,
    /// The last forwards that left without an ack: one of these may still come, and shows that this gateway does
    /// acknowledge.
    pub(super) assumed_acked: VecDeque<EntryId>,
    /// The one link that speaks for the gateway. Boxed, because most gateways of a connector have none.
    pub(super) current: Option<Box<Link>>,
    /// Links that this side has closed and that are not over, oldest first.
    pub(super) closing: VecDeque<Box<Link>>,
    /// Acknowledged entries that the store has not durably deleted.
    pub(super) discarding: BTreeSet<EntryId>,
    /// How many links in a row ended because of something too long that the gateway sent (FRAME-3).
    pub(super) too_long: u8,
    /// The largest entry that was in flight when the gateway last closed a link with 1009, and how many it closed so.
    pub(super) refused: Option<(EntryId, u32)>,
    pub(super) next_link: u64,
    pub(super) next_hello: u64,
    pub(super) next_outbound: u64,
    pub(super) queue: Queue<Event>,
    pub(super) outputs: Outbox<Output>,
    pub(super) stats: Stats,
}

/// Whether links are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Open,
    /// The gateway's secret is revoked (CONN-6).
    Revoked,
    /// Terminal.
    ShutDown,
}

/// What a store holds for a gateway when its peer is made. Default: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// The place of the first entry.
    pub first: u64,
    /// The place behind the last: the next entry's.
    pub next: u64,
    /// How many entries there are: places may be missing in between.
    pub entries: u64,
}

impl Backlog {
    /// The backlog of a store whose entries lie in this range.
    pub fn new(range: core::ops::Range<u64>, entries: u64) -> Self {
        Self { first: range.start, next: range.end, entries }
    }
}

impl Peer {
    /// A gateway whose entries are kept in this value, and end with the process.
    ///
    /// `epoch` is part of every buffer id. Take it from the operating system's randomness, and never twice for one
    /// gateway: a buffer id that is used again could make a gateway swallow a fresh message (ACK-4).
    pub fn in_memory(settings: Settings, epoch: u64, now: Now) -> Self {
        Self::new(settings, Buffer::in_memory(epoch), now)
    }

    /// A gateway whose entries are kept in a store of the host's, which holds `backlog` of it. For `epoch` see
    /// [`in_memory`](Self::in_memory): it belongs to this value, not to the store, whose entries bring their own.
    pub fn stored(settings: Settings, epoch: u64, backlog: Backlog, now: Now) -> Self {
        let buffer = Buffer::stored(epoch, backlog.first, backlog.next, backlog.entries, settings.limits.window);
        Self::new(settings, buffer, now)
    }

    fn new(settings: Settings, buffer: Buffer, now: Now) -> Self {
        Self {
            settings,
            now: now.monotonic,
            life: Life::Open,
            buffer,
            carried_until: 0,
            acknowledges: false,
            acks_forwards: false,
            assumed_acked: VecDeque::new(),
            current: None,
            closing: VecDeque::new(),
            discarding: BTreeSet::new(),
            too_long: 0,
            refused: None,
            next_link: 0,
            next_hello: 0,
            next_outbound: 0,
            queue: Queue::default(),
            outputs: Outbox::default(),
            stats: Stats::default(),
        }
    }

    // ── outputs ──────────────────────────────────────────────────────────

    /// The next thing for the host to do. Drain this after every input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop()
    }

    /// The next thing to write to this link. Take these while the connection has room for them, in this order: an entry
    /// counts as in flight once it was taken from here, and what is not taken costs no memory.
    pub fn poll_transmit(&mut self, link: LinkId) -> Option<Transmit> {
        let (now, epoch) = (self.now, self.buffer.epoch());
        let transmit = match self.find(link)?.pop_transmit(epoch, now) {
            Some(transmit) => transmit,
            None => Transmit::Text(self.next_delivery(link)?),
        };
        self.stats.frames_sent += u64::from(matches!(transmit, Transmit::Text(_)));
        Some(transmit)
    }

    /// The next entry of the buffer, if the window has room for one (CONN-3).
    fn next_delivery(&mut self, link: LinkId) -> Option<String> {
        let entry = self.current.as_ref().filter(|current| current.id == link).and_then(|link| self.upcoming(link))?;
        let (id, frame) = (entry.id, String::from(&*entry.frame));
        let current = self.current.as_mut()?;
        current.cursor = id.seq().saturating_add(1);
        self.carried_until = self.carried_until.max(current.cursor);
        self.stats.delivered += 1;
        current.moved_at = self.now;
        self.stats.redelivered += u64::from(self.buffer.carry(id, link, self.now));
        Some(frame)
    }

    fn upcoming(&self, link: &Link) -> Option<&Entry> {
        // Elsewhere it is the acks that are not read while nobody reads their events.
        if !link.delivers() || (self.assumes_acks() && self.is_queue_full()) {
            return None;
        }
        // What a crash would repeat: what is not acknowledged, and what is, as long as the store may forget that.
        if self.buffer.count_in_flight(link.id) + self.discarding.len() >= self.settings.limits.window {
            return None;
        }
        self.buffer.next_for(link.cursor)
    }

    /// Whether anything waits to be written to this link.
    pub(super) fn has_unwritten(&self, link: &Link) -> bool {
        link.has_queued() || self.upcoming(link).is_some()
    }

    /// The next event for the application. Take one when the application wants one: what is not taken is what holds the
    /// link back. An outbound whose link is gone before it was taken is not shown: nobody waits for it.
    pub fn poll_event(&mut self) -> Option<Event> {
        let full = self.is_queue_full();
        let event = loop {
            match self.queue.pop() {
                Some(Event::Outbound(outbound)) => {
                    let pending = self.current.as_mut().and_then(|link| link.outbounds.get_mut(&outbound.id));
                    if let Some(pending) = pending {
                        pending.shown = true;
                        break Some(Event::Outbound(outbound));
                    }
                }
                other => break other,
            }
        };
        if full
            && !self.is_queue_full()
            && let Some(link) = &mut self.current
        {
            link.resumed = true;
        }
        event
    }

    /// Whether the host should read from this link. When false, it should leave the bytes where they are: the gateway's
    /// sending stops by itself.
    pub fn wants_read(&self, link: LinkId) -> bool {
        match &self.current {
            Some(current) if current.id == link => {
                !self.is_queue_full()
                    && current.transmit_bytes < self.settings.limits.transmit
                    && current.unanswered_bytes < self.settings.limits.queue
            }
            // A closed link is read for what was under way, up to the gateway's own close.
            _ => self.closing.iter().any(|closing| closing.id == link),
        }
    }

    pub(super) fn is_queue_full(&self) -> bool {
        self.queue.bytes() >= self.settings.limits.queue
    }

    // ── views ────────────────────────────────────────────────────────────

    /// The link that speaks for the gateway.
    pub fn current_link(&self) -> Option<LinkId> {
        self.current.as_ref().map(|link| link.id)
    }

    /// Whether deliveries go out: there is a link, its hello was answered, and the gateway is not idle.
    pub fn is_delivering(&self) -> bool {
        self.current.as_ref().is_some_and(|link| link.delivers())
    }

    /// Whether [`poll_event`](Self::poll_event) has one.
    pub fn has_event(&self) -> bool {
        !self.queue.is_empty()
    }

    /// How many entries are in flight on the current link. Never more than the window.
    pub fn in_flight(&self) -> usize {
        self.current.as_ref().map_or(0, |link| self.buffer.count_in_flight(link.id))
    }

    /// How many entries were taken up and have not left, in flight or not, stored or not.
    pub fn buffered(&self) -> u64 {
        self.buffer.waiting()
    }

    /// Whether nothing is left to do: shut down, every link over, and the store has answered for every entry.
    pub fn is_finished(&self) -> bool {
        self.life == Life::ShutDown
            && self.current.is_none()
            && self.closing.is_empty()
            && !self.buffer.is_storing()
            && self.outputs.is_empty()
    }

    /// What has been counted.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// What it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    // ── the life of links ────────────────────────────────────────────────

    /// The upgrade of a link of this gateway was accepted. The link that there was is replaced (CONN-5). A link that is
    /// not let in is one, too: write out what it wants to say, and it ends.
    pub fn handle_opened(&mut self, now: Now) -> LinkId {
        self.tick(now);
        let id = LinkId(self.next_link);
        self.next_link += 1;
        self.stats.links += 1;
        let link = Box::new(Link::new(id, self.now, self.settings.timing.ping_after));
        match self.life {
            Life::Open => {
                self.stats.replaced += u64::from(self.close_current(1000, "replaced"));
                self.current = Some(link);
                self.give_up_forwards();
            }
            Life::Revoked => self.start_closing(link, 4401, "unauthorized"),
            Life::ShutDown => self.start_closing(link, 1001, "going away"),
        }
        id
    }

    /// Bytes came from the gateway, of whatever kind: it is alive (LINK-3). Messages and pongs say so by themselves.
    pub fn handle_traffic(&mut self, link: LinkId, now: Now) {
        self.tick(now);
        self.hear(link);
    }

    /// The link's socket took some bytes of what was [polled](Self::poll_transmit) before: the gateway reads, however slowly
    /// (LINK-3). To be called by a host that polls more than the socket takes at once.
    pub fn handle_progress(&mut self, link: LinkId, now: Now) {
        self.tick(now);
        if let Some(current) = self.current.as_mut().filter(|current| current.id == link) {
            current.moved_at = self.now;
        }
    }

    pub(super) fn hear(&mut self, link: LinkId) {
        if let Some(current) = self.current.as_mut().filter(|current| current.id == link) {
            current.hear(self.now, self.settings.timing.ping_after);
        }
    }

    /// The link ended. Not called after [`Output::Drop`].
    pub fn handle_ended(&mut self, link: LinkId, end: LinkEnd, now: Now) {
        self.tick(now);
        if let Some(current) = self.current.take_if(|current| current.id == link) {
            match &end {
                LinkEnd::MessageTooLarge { limit } => self.count_too_long("message", *limit),
                LinkEnd::Closed { code: Some(1009), .. } => self.count_refused(current.cursor),
                _ if current.answered => self.too_long = 0,
                _ => {}
            }
            self.push_event(Event::LinkEnded { link, ended: Ended::Remote(end) });
        } else {
            self.closing.retain(|closing| closing.id != link);
        }
    }

    /// A gateway that sends the same again on each link does not get far: somebody has to raise the limit.
    pub(super) fn count_too_long(&mut self, what: &'static str, limit: usize) {
        self.too_long += 1;
        if self.too_long == 2 {
            self.too_long = 0;
            self.notice(Notice::TooLong { what, limit });
        }
    }

    /// The gateway closed a link with 1009 that was given everything below `cursor`: if an entry is too large for it, the
    /// largest is. It will go out again, on each link, and hold up all that wait (CONN-11).
    fn count_refused(&mut self, cursor: u64) {
        self.too_long = 0;
        let largest = self.buffer.in_flight(cursor).max_by_key(|entry| entry.frame.len());
        let Some((entry, size)) = largest.map(|entry| (entry.id, entry.frame.trim_end().len())) else { return };
        let links = match self.refused {
            Some((refused, links)) if refused == entry => links.saturating_add(1),
            _ => 1,
        };
        self.refused = Some((entry, links));
        if links >= 2 && links.is_power_of_two() {
            self.notice(Notice::EntryTooLarge { entry, size, links });
        }
    }

    /// Every input begins with this. Time never goes back (CLOCK-1).
    pub(super) fn tick(&mut self, now: Now) {
        let passed = now.monotonic.saturating_sub(self.now);
        self.now = self.now.max(now.monotonic);
        // Silence while we did not read says nothing about the gateway: its clock stands still.
        let full = self.is_queue_full();
        if let Some(link) = &mut self.current
            && (core::mem::take(&mut link.resumed) || full)
        {
            link.pass_over(passed);
        }
        if self.current.as_ref().is_some_and(|link| !self.has_unwritten(link))
            && let Some(link) = &mut self.current
        {
            link.moved_at = self.now;
        }
        self.assume_handed_acked();
    }

    /// The link of this id, closed or not. Inputs for any other are of the dead, and ignored.
    pub(super) fn find(&mut self, id: LinkId) -> Option<&mut Link> {
        match &mut self.current {
            Some(link) if link.id == id => Some(link),
            _ => self.closing.iter_mut().find(|link| link.id == id).map(|link| &mut **link),
        }
    }

    /// Closes the current link in order: results for every outbound, a close frame, then some time for the gateway's.
    /// Whether there was one.
    pub(super) fn close_current(&mut self, code: u16, reason: &'static str) -> bool {
        let Some(mut link) = self.current.take() else { return false };
        while let Some((_, pending)) = link.outbounds.pop_first() {
            self.fail_pending(&mut link, &pending, "the connector closed the link");
        }
        self.push_event(Event::LinkEnded { link: link.id, ended: Ended::Closed { code, reason } });
        self.start_closing(link, code, reason);
        true
    }

    fn start_closing(&mut self, mut link: Box<Link>, code: u16, reason: &'static str) {
        link.closing_until = Some(self.now.saturating_add(self.settings.timing.close));
        link.queue(Transmit::Close { code, reason });
        if self.closing.len() >= MAX_CLOSING
            && let Some(oldest) = self.closing.pop_front()
        {
            self.outputs.push(Output::Drop(oldest.id));
        }
        self.closing.push_back(link);
    }

    /// Drops the current link's connection at once. Whether there was one.
    pub(super) fn drop_current(&mut self, why: &'static str) -> bool {
        let Some(link) = self.current.take() else { return false };
        self.outputs.push(Output::Drop(link.id));
        self.push_event(Event::LinkEnded { link: link.id, ended: Ended::Dropped(why) });
        true
    }

    // ── what the parts share ─────────────────────────────────────────────

    /// Answers an outbound that the application did not (CONN-6). What it has not even seen was certainly not done.
    pub(super) fn fail_pending(&mut self, link: &mut Link, pending: &Pending, error: &str) {
        self.stats.outbounds_failed += 1;
        let result = failure(error, pending.shown);
        link.queue(Transmit::Text(encode::outbound_result(&pending.request_id, &result)));
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.outputs.push_notice(Output::Notice(notice));
    }

    pub(super) fn push_event(&mut self, event: Event) {
        self.stats.reports_dropped += u64::from(self.queue.push(event));
    }
}
