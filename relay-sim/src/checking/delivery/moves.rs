//! What can happen next, and what comes of it.

use relay_proto::gateway::{Machine, State};

use super::{Delivery, Item, Move, Side, Task};
use crate::checking::checker::{Notes, World};
use crate::checking::fingerprint;
use crate::checking::ledger::{DeliveryState, rule};

/// What stays as it is, or only counts; and what decides when a peer that reads nothing is lost, which no peer is here.
const WITHOUT: [&str; 4] = ["settings", "stats", "descriptors", "moved"];

fn take_one(budget: &mut u8) {
    *budget -= 1;
}

impl World for Delivery {
    type Move = Move;

    fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        let mut add = |possible: bool, step: Move| {
            if possible {
                moves.push(step);
            }
        };
        let bounds = &self.bounds;
        let gateway = self.gateway.as_ref().map(Machine::state);
        add(self.connector.is_some() && self.ledger.lines.len() < bounds.events, Move::Give);
        add(!self.tasks.is_empty(), Move::Store);
        add(bounds.refusals > 0 && matches!(self.tasks.front(), Some(Task::Append(..))), Move::RefuseEntry);
        for (at, link) in self.links.iter().enumerate() {
            let dialled = !link.accepted && link.gateway.is_some();
            add(dialled && self.connector.is_some(), Move::Accept(at));
            add(link.gateway.is_some() && !link.to_gateway.is_empty(), Move::Arrive(at, Side::Gateway));
            add(link.connector.is_some() && !link.to_connector.is_empty(), Move::Arrive(at, Side::Connector));
            let whole = link.gateway.is_some() && (link.connector.is_some() || dialled);
            add(link.gateway.is_some() && (!whole || bounds.cuts > 0), Move::Lose(at, Side::Gateway));
            add(link.connector.is_some() && (!whole || bounds.cuts > 0), Move::Lose(at, Side::Connector));
        }
        for at in 0..self.held.len() {
            add(true, Move::Take(at));
            add(bounds.returns > 0, Move::Nack(at));
            add(bounds.returns > 0, Move::Drop(at));
        }
        add(self.needs_another_link(), Move::Reconnect);
        add(bounds.idles > 0 && self.is_ready(), Move::GoIdle);
        add(bounds.idles > 0 && self.is_ready(), Move::GoDormant);
        add(bounds.closes > 0 && gateway.is_some(), Move::Close);
        add(self.deadline(Side::Gateway).is_some(), Move::Deadline(Side::Gateway));
        add(self.deadline(Side::Connector).is_some(), Move::Deadline(Side::Connector));
        add(bounds.gateway_crashes > 0 && gateway.is_some(), Move::Crash(Side::Gateway));
        add(bounds.connector_crashes > 0 && self.connector.is_some(), Move::Crash(Side::Connector));
        let storing = self.connector.is_some() && !self.tasks.is_empty();
        add(bounds.connector_crashes > 0 && storing, Move::CrashBehindStore);
        add(gateway.is_none_or(State::is_terminal), Move::Start(Side::Gateway));
        add(self.connector.is_none(), Move::Start(Side::Connector));
        moves
    }

    fn apply(&mut self, step: Move, notes: &mut Notes) -> Result<(), String> {
        let now = self.now;
        match step {
            Move::Give => self.give()?,
            Move::Store => self.store(),
            Move::RefuseEntry => {
                take_one(&mut self.bounds.refusals);
                self.refuse_entry()?;
            }
            Move::Accept(at) => {
                let link = &mut self.links[at];
                link.accepted = true;
                link.connector = self.connector.as_mut().map(|connector| connector.handle_opened(now));
                link.to_gateway.push_back(Item::Opened);
            }
            Move::Arrive(at, Side::Gateway) => self.arrive_at_gateway(at, notes),
            Move::Arrive(at, Side::Connector) => self.arrive_at_connector(at, notes),
            Move::Lose(at, side) => {
                if self.is_fault(step) {
                    take_one(&mut self.bounds.cuts);
                }
                self.lose(at, side);
            }
            Move::Take(at) | Move::Nack(at) | Move::Drop(at) => {
                let (delivery, number) = self.held.remove(at);
                let Some(gateway) = &mut self.gateway else { return Ok(()) };
                let held = match step {
                    Move::Take(_) => {
                        self.ledger.take(number);
                        gateway.ack(delivery, now)
                    }
                    Move::Nack(_) => gateway.nack(delivery, now),
                    _ => {
                        gateway.drop_delivery(delivery, now);
                        true
                    }
                };
                rule(held, "ACK-6: the machine does not know what the application holds")?;
                if !matches!(step, Move::Take(_)) {
                    take_one(&mut self.bounds.returns);
                    self.ledger.lines[number].state = DeliveryState::Nacked;
                }
            }
            Move::Reconnect => self.gateway.iter_mut().for_each(|gateway| gateway.reconnect(now)),
            Move::GoIdle | Move::GoDormant => {
                take_one(&mut self.bounds.idles);
                if let Some(gateway) = &mut self.gateway {
                    let _ = if step == Move::GoIdle { gateway.go_idle(now) } else { gateway.go_dormant(now) };
                }
            }
            Move::Close => {
                take_one(&mut self.bounds.closes);
                self.gateway.iter_mut().for_each(|gateway| gateway.close(now));
            }
            Move::Deadline(side) => self.fire(side),
            Move::Crash(Side::Gateway) => {
                take_one(&mut self.bounds.gateway_crashes);
                self.end_gateway();
            }
            Move::Crash(Side::Connector) => {
                take_one(&mut self.bounds.connector_crashes);
                self.end_connector();
            }
            Move::CrashBehindStore => {
                take_one(&mut self.bounds.connector_crashes);
                self.do_task();
                self.end_connector();
            }
            Move::Start(Side::Gateway) => {
                self.end_gateway();
                self.start_gateway();
            }
            Move::Start(Side::Connector) => self.start_connector(),
        }
        self.settle(notes)
    }

    fn fingerprint(&self) -> u128 {
        fingerprint::of(self, &WITHOUT)
    }

    fn is_fault(&self, step: Move) -> bool {
        match step {
            Move::Lose(at, _) => {
                let link = &self.links[at];
                link.gateway.is_some() && (link.connector.is_some() || !link.accepted)
            }
            Move::RefuseEntry
            | Move::Nack(_)
            | Move::Drop(_)
            | Move::GoIdle
            | Move::GoDormant
            | Move::Close
            | Move::Crash(_)
            | Move::CrashBehindStore => true,
            _ => false,
        }
    }

    fn is_settled(&self) -> bool {
        let given = self.ledger.lines.len() == self.bounds.events;
        let empty = self.durable.is_empty() && self.tasks.is_empty() && self.held.is_empty();
        let buffered = self.connector.as_ref().is_none_or(|connector| connector.buffered() > 0);
        given && empty && !buffered && self.ledger.is_kept() && self.is_ready()
    }
}
