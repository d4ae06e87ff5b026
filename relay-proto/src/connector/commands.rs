//! What the host and the application ask of the peer.

use alloc::collections::BTreeMap;
use alloc::string::String;

use super::link::failure;
use super::output::{EntryId, Event, HelloId, OutboundId, Output, Refused};
use super::peer::{Life, Peer};
use crate::frame::{Descriptor, RawJson, encode};
use crate::json;
use crate::time::Now;
use crate::transmit::Transmit;

/// How much of a host's error text goes to the gateway, in characters.
const MAX_ERROR: usize = 1024;

impl Peer {
    // ── deliveries ───────────────────────────────────────────────────────

    /// Takes up an event, a JSON object, at the end of the buffer (CONN-3). It is accepted once
    /// [`Output::Accepted`] says so: at once in memory, when it is durable in a store.
    ///
    /// # Errors
    /// [`Refused`] when it is not taken up: not an object, too large, no room, shut down.
    pub fn deliver(&mut self, event: &RawJson, now: Now) -> Result<EntryId, Refused> {
        self.append(event, encode::inbound, now)
    }

    /// Takes up a passthrough forward, a JSON object, like [`deliver`](Self::deliver). Gateways that acknowledge no
    /// forwards exist: see [the module](super#forwards-that-nobody-acknowledges).
    ///
    /// # Errors
    /// As for [`deliver`](Self::deliver).
    pub fn forward(&mut self, forward: &RawJson, now: Now) -> Result<EntryId, Refused> {
        self.append(forward, encode::passthrough_forward, now)
    }

    fn append(
        &mut self,
        payload: &RawJson,
        encode: impl FnOnce(&str, Option<&str>) -> String,
        now: Now,
    ) -> Result<EntryId, Refused> {
        self.tick(now);
        if self.life == Life::ShutDown {
            return Err(Refused::ShutDown);
        }
        let payload = json::compact(payload.as_str());
        if !payload.starts_with('{') {
            return Err(Refused::NotAnObject);
        }
        let id = self.buffer.next_id();
        let frame = encode(&payload, Some(&alloc::format!("{id}")));
        self.check_size(&frame)?;
        let limit = self.settings.limits.buffer;
        if !self.buffer.is_stored() && self.buffer.held_bytes().saturating_add(frame.len()) > limit {
            return Err(Refused::BufferFull { limit });
        }
        match self.buffer.append(frame) {
            Some(frame) => self.outputs.push(Output::Append { entry: id, frame }),
            None => {
                self.stats.accepted += 1;
                self.outputs.push(Output::Accepted(id));
            }
        }
        Ok(id)
    }

    // ── answers ──────────────────────────────────────────────────────────

    /// Answers a hello with the descriptor of its platform (CONN-2). The first answer on a link starts deliveries.
    ///
    /// # Errors
    /// [`Refused::NotWaiting`] when the hello's link is gone or it was answered before, [`Refused::TooLarge`] when the
    /// descriptor cannot be sent; the hello still waits then.
    pub fn describe(&mut self, hello: HelloId, descriptor: &Descriptor, now: Now) -> Result<(), Refused> {
        self.tick(now);
        let frame = encode::descriptor(descriptor);
        self.check_size(&frame)?;
        let link = self.current.as_mut().ok_or(Refused::NotWaiting)?;
        let identity = link.unanswered.remove(&hello).ok_or(Refused::NotWaiting)?;
        free(&mut link.unanswered);
        link.unanswered_bytes -= super::queue::identity_weight(&identity);
        link.queue(Transmit::Text(frame));
        link.answered = true;
        self.push_event(Event::Hello(identity));
        self.refill();
        Ok(())
    }

    /// The host's policy does not let this gateway front that identity: closes the link with 4403 "forbidden", which
    /// gateways retry slowly.
    ///
    /// # Errors
    /// [`Refused::NotWaiting`] when the hello's link is gone or it was answered before.
    pub fn refuse(&mut self, hello: HelloId, now: Now) -> Result<(), Refused> {
        self.tick(now);
        let waits = self.current.as_ref().is_some_and(|link| link.unanswered.contains_key(&hello));
        if !waits {
            return Err(Refused::NotWaiting);
        }
        self.close_current(4403, "forbidden");
        Ok(())
    }

    /// Answers an outbound with its result, any JSON (CONN-6).
    ///
    /// # Errors
    /// [`Refused::NotWaiting`] when its link is gone or it was answered before; the gateway knows what that means.
    /// [`Refused::TooLarge`] when the result cannot be sent: the gateway was told that the outcome is ambiguous.
    pub fn answer(&mut self, outbound: OutboundId, result: &RawJson, now: Now) -> Result<(), Refused> {
        self.tick(now);
        let limit = self.settings.limits.frame;
        let link = self.current.as_mut().ok_or(Refused::NotWaiting)?;
        let pending = link.outbounds.remove(&outbound).ok_or(Refused::NotWaiting)?;
        free(&mut link.outbounds);
        let mut frame = encode::outbound_result(&pending.request_id, &json::compact(result.as_str()));
        let size = frame.len() - 1;
        if size > limit {
            frame = encode::outbound_result(&pending.request_id, &failure("the result is too large", true));
        }
        link.queue(Transmit::Text(frame));
        if size > limit { Err(Refused::TooLarge { size, limit }) } else { Ok(()) }
    }

    /// Answers an outbound that failed, with a text that says why (CONN-6). `ambiguous`: it may have been carried out
    /// nevertheless.
    ///
    /// # Errors
    /// [`Refused::NotWaiting`] as for [`answer`](Self::answer).
    pub fn fail(&mut self, outbound: OutboundId, error: &str, ambiguous: bool, now: Now) -> Result<(), Refused> {
        let error: String = error.chars().take(MAX_ERROR).collect();
        self.answer(outbound, &RawJson::trusted(failure(&error, ambiguous)), now)
    }

    /// Tells the gateway that a user stopped a session. It goes ahead of what is buffered, and is not kept for a later
    /// link: what it would stop has ended by then.
    ///
    /// # Errors
    /// [`Refused`] when there is no link whose hello was answered, when the gateway does not read, or when the frame is
    /// too large.
    pub fn interrupt(&mut self, session_key: &str, chat_id: &str, now: Now) -> Result<(), Refused> {
        self.tick(now);
        let frame = encode::interrupt_inbound(session_key, chat_id);
        self.check_size(&frame)?;
        let limit = self.settings.limits.transmit;
        let link = self.current.as_mut().filter(|link| link.answered).ok_or(Refused::NoLink)?;
        if link.transmit_bytes >= limit {
            return Err(Refused::Congested);
        }
        link.queue(Transmit::Text(frame));
        Ok(())
    }

    fn check_size(&self, frame: &str) -> Result<(), Refused> {
        let (size, limit) = (frame.len() - 1, self.settings.limits.frame);
        if size > limit { Err(Refused::TooLarge { size, limit }) } else { Ok(()) }
    }

    // ── ends ─────────────────────────────────────────────────────────────

    /// Drops the current link without a close frame, as a network would. What was unacknowledged waits for the next.
    /// Whether there was one.
    pub fn drop_link(&mut self, now: Now) -> bool {
        self.tick(now);
        self.drop_current("dropped on request")
    }

    /// The gateway's secret is revoked: closes its link with 4401 and lets none in until
    /// [`reinstate`](Self::reinstate) (CONN-6). The buffer stays. Whether there was a link.
    pub fn revoke(&mut self, now: Now) -> bool {
        self.tick(now);
        if self.life == Life::Open {
            self.life = Life::Revoked;
        }
        self.close_current(4401, "unauthorized")
    }

    /// Lets links in again: the gateway has a new secret.
    pub fn reinstate(&mut self, now: Now) {
        self.tick(now);
        if self.life == Life::Revoked {
            self.life = Life::Open;
        }
    }

    /// Shuts down: answers every outbound, closes the link with 1001, and lets nothing in any more. What is buffered in
    /// a store stays there. A second call is the same as the first. See [`is_finished`](Self::is_finished).
    pub fn shutdown(&mut self, now: Now) {
        self.tick(now);
        self.life = Life::ShutDown;
        self.close_current(1001, "going away");
    }
}

/// A map that is empty keeps a node, which is much for an idle link.
fn free<K, V>(map: &mut BTreeMap<K, V>) {
    if map.is_empty() {
        *map = BTreeMap::new();
    }
}
