//! The application of a gateway, and its deliveries.

use fastrand::Rng;
use relay_proto::frame::Content;
use relay_proto::gateway::{DeliveryId, Event, Machine};

use super::coverage::Hard;
use super::ledger::{DeliveryState, Kind};
use super::plan::mix;
use super::world::{Ev, World};
use super::{Check, SECOND, violated};

use super::gateway::{Held, Manner};

/// The application: deliveries.
impl World {
    /// Takes events, when the application reads. Whether there were any.
    pub(super) fn read_events(&mut self, index: usize) -> Result<bool, super::Violation> {
        let mut any = false;
        while self.gateways[index].reading
            && let Some(event) = self.gateways[index].machine.as_mut().and_then(Machine::poll_event)
        {
            any = true;
            let gateway = &mut self.gateways[index];
            gateway.silence.event_taken(gateway.clock.monotonic(self.now));
            self.gateway_event(index, event)?;
            if self.gateways[index].machine.is_none() {
                return Ok(false);
            }
        }
        Ok(any)
    }

    pub(super) fn gateway_event(&mut self, index: usize, event: Event) -> Check {
        let (id, kind, buffered, number) = match &event {
            Event::Delivery(delivered) => {
                let kind = match delivered.content {
                    Content::Message(_) => Kind::Message,
                    Content::Passthrough(_) => Kind::Forward,
                    _ => Kind::Poison,
                };
                (delivered.id, kind, delivered.buffer_id.is_some(), number(index, delivered.content.raw()))
            }
            Event::Revoked { .. } | Event::Closed => {
                self.note("event", index, 0, || format!("{event:?}"));
                return self.gateway_finished(index, matches!(event, Event::Revoked { .. }));
            }
            _ => {
                self.note("event", index, 0, || format!("{event:?}"));
                return Ok(());
            }
        };
        self.gateways[index].popped += 1;
        self.shown(index, id, kind, buffered, number?)
    }

    pub(super) fn shown(&mut self, index: usize, id: DeliveryId, kind: Kind, buffered: bool, number: usize) -> Check {
        let gateway = &mut self.gateways[index];
        let process = gateway.process;
        let before = self.ledgers[index].show(number, process, kind)?;
        let hard = match before {
            Some(same) if same == process => Some(Hard::ShownAgain),
            Some(_) => Some(Hard::ShownToSuccessor),
            None => None,
        };
        if let Some(hard) = hard {
            self.coverage.hit(hard);
        }
        if kind == Kind::Poison {
            self.coverage.hit(Hard::Undecodable);
        }
        // What was processed before needs no thinking about.
        let known = gateway.app.stored.contains(&number);
        if known && before != Some(process) {
            self.coverage.hit(Hard::AppRecognised);
        }
        let times = self.ledgers[index].entries[number].links;
        let mut rng = Rng::with_seed(mix(&[gateway.seed, 6, index as u64, number as u64, u64::from(times)]));
        let odd = !self.healed && !known && rng.u64(..16) < gateway.shape.oddness;
        let manner = match rng.u32(..4) {
            _ if !odd => Manner::Take,
            0 => Manner::Nack,
            1 => Manner::Drop,
            _ => Manner::TakeTwice,
        };
        let most = if self.healed || known { 2 } else { gateway.shape.patience };
        let delay = match rng.u32(..6) {
            0 => 0,
            // Never, which is until all is well.
            1 if odd => 100_000,
            _ => rng.u64(..=most),
        };
        gateway.app.held.insert(id, Held { event: number, buffered, conn: gateway.conn, manner });
        self.note("shown", index, number as u64, || {
            format!("{id:?} {kind:?} buffered {buffered}, {manner:?} in {delay} ms")
        });
        if delay == 0 {
            return self.decide_now(index, id);
        }
        self.after(delay * (SECOND / 1000), Ev::Decide { gateway: index, process, delivery: id });
        Ok(())
    }

    pub(super) fn decide(&mut self, index: usize, process: u32, delivery: DeliveryId) -> Check {
        let gateway = &self.gateways[index];
        if gateway.process != process || !gateway.app.held.contains_key(&delivery) {
            return Ok(());
        }
        if gateway.suspended.is_some() {
            self.after(SECOND, Ev::Decide { gateway: index, process, delivery });
            return Ok(());
        }
        self.decide_now(index, delivery)?;
        self.run_gateway(index)
    }

    pub(super) fn decide_now(&mut self, index: usize, id: DeliveryId) -> Check {
        let gateway = &mut self.gateways[index];
        let process = gateway.process;
        let Some(held) = gateway.app.held.remove(&id) else { return Ok(()) };
        let manner = if self.healed { Manner::Take } else { held.manner };
        let state = match manner {
            Manner::Take | Manner::TakeTwice => DeliveryState::Taken,
            Manner::Nack | Manner::Drop => DeliveryState::Nacked,
        };
        if held.buffered && held.conn != gateway.conn && state == DeliveryState::Taken {
            self.coverage.hit(Hard::TakenAfterLink);
        }
        if gateway.app.held.values().any(|other| other.event < held.event) && state == DeliveryState::Taken {
            self.coverage.hit(Hard::OutOfOrder);
        }
        if state == DeliveryState::Taken {
            gateway.app.stored.insert(held.event);
        }
        // Before the call: the acknowledgement may leave within it.
        self.ledgers[index].end(held.event, process, state);
        self.note("decide", index, held.event as u64, || format!("{id:?} {manner:?}"));
        let counted = self.command(index, |machine, now| match manner {
            Manner::Take => machine.ack(id, now),
            Manner::TakeTwice => machine.ack(id, now) && !machine.ack(id, now) && !machine.nack(id, now),
            Manner::Nack => machine.nack(id, now) && !machine.ack(id, now),
            Manner::Drop => {
                machine.drop_delivery(id, now);
                !machine.ack(id, now)
            }
        })?;
        match manner {
            Manner::Take => {}
            Manner::TakeTwice => self.coverage.hit(Hard::TakenTwice),
            Manner::Nack => self.coverage.hit(Hard::Nacked),
            Manner::Drop => self.coverage.hit(Hard::Dropped),
        }
        if counted {
            Ok(())
        } else {
            violated("ACK-6", format!("{manner:?} of {id:?} did not count, or counted twice"))
        }
    }

    pub(super) fn replay_suppressed(&mut self, index: usize, id: &str) {
        let Some(number) = relay_proto::connector::EntryId::parse(id).and_then(|id| self.ledgers[index].find(id))
        else {
            return;
        };
        let held = self.ledgers[index].entries[number].shown.is_some_and(|(_, state)| state == DeliveryState::Held);
        self.coverage.hit(if held { Hard::ReplayHeld } else { Hard::ReplayTaken });
    }

    /// An acknowledgement leaves. Whether it may: some gateways do not acknowledge forwards.
    pub(super) fn ack_leaves(&mut self, index: usize, conn: usize, id: &str) -> Result<bool, super::Violation> {
        let number = relay_proto::connector::EntryId::parse(id).and_then(|id| self.ledgers[index].find(id));
        let Some(number) = number else {
            return violated("ACK-1", format!("an acknowledgement of {id}, which nobody sent")).map(|()| false);
        };
        let process = self.gateways[index].process;
        let entry = &self.ledgers[index].entries[number];
        if entry.shown != Some((process, DeliveryState::Taken)) {
            return violated("ACK-1", format!("event {number} is acknowledged, and was not taken: {entry:?}"))
                .map(|()| false);
        }
        let kind = entry.kind;
        let link = &mut self.conns[conn];
        let Some(place) = link.carried.iter().position(|carried| carried.event == number) else {
            return violated("ACK-3", format!("event {number} is acknowledged on a link that did not carry it"))
                .map(|()| false);
        };
        if link.carried[place].end > link.down.read {
            return violated("ACK-3", format!("event {number} is acknowledged before it arrived")).map(|()| false);
        }
        if place < link.acked {
            return violated("ACK-2", format!("event {number} is acknowledged out of order, or twice")).map(|()| false);
        }
        link.acked = place + 1;
        let leaves = !(kind == Kind::Forward && self.gateways[index].shape.legacy);
        self.ledgers[index].entries[number].ack_sent |= leaves;
        Ok(leaves)
    }
}

/// Which event a payload is.
fn number(gateway: usize, raw: &str) -> Result<usize, super::Violation> {
    let mut numbers = raw.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let number = numbers.next().and_then(|digits| digits.parse().ok());
    let whose = numbers.next().and_then(|digits| digits.parse::<usize>().ok());
    match (number, whose) {
        (Some(number), Some(whose)) if gateway == whose => Ok(number),
        _ => Err(super::Violation { rule: "CONN-2", what: format!("gateway {gateway} is shown {raw}") }),
    }
}
