//! What follows by itself: both hosts do what their machines say.

use std::collections::VecDeque;

use relay_proto::connector::{self, EntryId, Fetch};
use relay_proto::frame::Descriptor;
use relay_proto::gateway;

use super::{Delivery, Item, Link, Task, named, short};
use crate::checking::checker::Notes;
use crate::checking::ledger::{DeliveryState, rule};

impl Delivery {
    /// Both hosts do what their machines say, until neither says anything.
    pub(super) fn settle(&mut self, notes: &mut Notes) -> Result<(), String> {
        while self.run_gateway(notes)? || self.run_connector(notes)? {}
        self.links.retain(|link| link.gateway.is_some() || link.connector.is_some());
        for link in &mut self.links {
            if link.gateway.is_none() {
                link.to_gateway.clear();
            }
            if link.connector.is_none() && (link.accepted || link.gateway.is_none()) {
                link.to_connector.clear();
            }
        }
        self.check_window()
    }

    /// CONN-3, counted from outside: what a crash would repeat.
    fn check_window(&self) -> Result<(), String> {
        let carried = self.ledger.lines.iter().filter(|line| line.carried && self.is_durable(line.entry)).count();
        rule(carried <= self.bounds.window, "CONN-3: more than a window is unacknowledged")
    }

    fn is_durable(&self, entry: EntryId) -> bool {
        self.durable.iter().any(|(id, _)| *id == entry)
    }

    fn run_gateway(&mut self, notes: &mut Notes) -> Result<bool, String> {
        let Some(gateway) = &mut self.gateway else { return Ok(false) };
        let mut busy = false;
        while let Some(output) = gateway.poll_output() {
            busy = true;
            match output {
                gateway::Output::Link(gateway::LinkRequest::Dial(dial)) => {
                    notes.tell(|| "     gateway dials".to_owned());
                    rule(self.links.iter().all(|link| link.gateway.is_none()), "DIAL-5: a second link or dial")?;
                    self.links.push(Link {
                        gateway: Some(dial.link),
                        connector: None,
                        accepted: false,
                        to_gateway: VecDeque::new(),
                        to_connector: VecDeque::new(),
                        sent: Vec::new(),
                        arrived: Vec::new(),
                        acked: 0,
                        idle: false,
                        stopped: false,
                    });
                }
                gateway::Output::Link(gateway::LinkRequest::Drop(id)) => {
                    notes.tell(|| "     gateway drops the link".to_owned());
                    self.links.iter_mut().filter(|l| l.gateway == Some(id)).for_each(|l| l.gateway = None);
                }
                _ => {}
            }
        }
        while let Some(event) = gateway.poll_event() {
            busy = true;
            let (delivery, raw) = match &event {
                gateway::Event::Delivery(delivered) => (delivered.id, delivered.content.raw()),
                gateway::Event::Idle => {
                    self.links.iter_mut().filter(|link| link.gateway.is_some()).for_each(|link| link.idle = true);
                    continue;
                }
                _ => continue,
            };
            let number = named(raw).ok_or("a delivery out of nowhere")?;
            let first = self.ledger.show(number)?;
            notes.tell(|| format!("     application is shown event {number}"));
            notes.mark(if first { "event shown" } else { "event shown again, after it was given back" });
            self.held.push((delivery, number));
        }
        let Some(link) = self.links.iter_mut().find(|link| link.gateway.is_some()) else { return Ok(busy) };
        while let Some(id) = link.gateway
            && let Some(transmit) = gateway.poll_transmit(id)
        {
            busy = true;
            let item = match transmit {
                gateway::Transmit::Text(frame) => {
                    if let Some(entry) = acked(&frame) {
                        let number = self.ledger.number(entry)?;
                        let due = link.arrived.get(link.acked) == Some(&number);
                        rule(due, "ACK-1 to ACK-3: an ack that is not the next that this link owes")?;
                        rule(
                            self.ledger.lines[number].state == DeliveryState::Taken,
                            "ACK-1: an ack of what was not taken",
                        )?;
                        link.acked += 1;
                    }
                    notes.tell(|| format!("     gateway writes {}", short(&frame)));
                    Item::Text(frame)
                }
                gateway::Transmit::Ping => Item::Ping(None),
                gateway::Transmit::Close { code, reason } => {
                    notes.tell(|| format!("     gateway closes with {code} {reason}"));
                    Item::Close(code, reason)
                }
                other => return Err(format!("unknown: {other:?}")),
            };
            if link.connector.is_some() {
                link.to_connector.push_back(item);
            }
        }
        Ok(busy)
    }

    fn run_connector(&mut self, notes: &mut Notes) -> Result<bool, String> {
        let Some(connector) = &mut self.connector else { return Ok(false) };
        let mut busy = false;
        let now = self.now;
        while let Some(output) = connector.poll_output() {
            busy = true;
            match output {
                connector::Output::Hello { hello, identity } => {
                    // Refused only when the link went meanwhile.
                    let _ = connector.describe(hello, &Descriptor::new(identity.platform), now);
                }
                connector::Output::Accepted(entry) => {
                    let durable = self.durable.iter().any(|(id, _)| *id == entry);
                    self.ledger.accept(entry, durable)?;
                }
                connector::Output::Drop(id) => {
                    notes.tell(|| "     connector drops the link".to_owned());
                    self.links.iter_mut().filter(|l| l.connector == Some(id)).for_each(|l| l.connector = None);
                }
                connector::Output::Append { entry, frame } => {
                    self.tasks.push_back(Task::Append(entry, frame.to_string()));
                }
                connector::Output::Discard(entry) => self.tasks.push_back(Task::Discard(entry)),
                connector::Output::Fetch(fetch) => {
                    notes.mark("entries fetched from the store");
                    connector.handle_fetched(read(&self.durable, fetch), now);
                }
                _ => {}
            }
        }
        while let Some(event) = connector.poll_event() {
            busy = true;
            match event {
                connector::Event::Acked(entry) => {
                    self.ledger.leave(entry)?;
                    notes.mark("entry acknowledged");
                }
                connector::Event::AssumedAcked(entry) | connector::Event::GivenUp(entry) => {
                    self.ledger.assume_acked(entry)?;
                    notes.mark("forward presumed taken, or given up");
                }
                _ => {}
            }
        }
        for link in &mut self.links {
            let Some(id) = link.connector else { continue };
            while let Some(transmit) = connector.poll_transmit(id) {
                busy = true;
                let item = match transmit {
                    connector::Transmit::Text(frame) => {
                        link.stopped |= frame.contains(r#""type":"going_idle_ack""#);
                        if let Some(number) = named(&frame) {
                            rule(!link.stopped, "CONN-4: a delivery behind the ack of going idle")?;
                            let durable = self.durable.iter().any(|(_, stored)| *stored == frame);
                            if self.ledger.lines[number].taken {
                                notes.mark("taken event sent again");
                            }
                            self.ledger.carry(number, durable)?;
                            rule(link.sent.last().is_none_or(|last| *last < number), "CONN-3: sent out of order")?;
                            link.sent.push(number);
                        }
                        notes.tell(|| format!("     connector writes {}", short(&frame)));
                        Item::Text(frame)
                    }
                    connector::Transmit::Ping => Item::Ping(None),
                    connector::Transmit::Probe(payload) => Item::Ping(Some(payload)),
                    connector::Transmit::Close { code, reason } => {
                        notes.tell(|| format!("     connector closes with {code} {reason}"));
                        Item::Close(code, reason)
                    }
                    other => return Err(format!("unknown: {other:?}")),
                };
                if link.gateway.is_some() {
                    link.to_gateway.push_back(item);
                }
            }
        }
        Ok(busy)
    }
}

/// The entry that a frame acknowledges.
fn acked(frame: &str) -> Option<EntryId> {
    let id = frame.trim().strip_prefix(r#"{"type":"inbound_ack","bufferId":""#)?.strip_suffix("\"}")?;
    EntryId::parse(id)
}

/// What a store answers.
fn read(durable: &[(EntryId, String)], fetch: Fetch) -> Vec<(EntryId, String)> {
    let range = fetch.from..fetch.until;
    durable.iter().filter(|(id, _)| range.contains(&id.seq())).take(fetch.count).cloned().collect()
}
