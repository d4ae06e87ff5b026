//! What arrives, and what is lost.

use relay_proto::end::LinkEnd;

use super::{Delivery, Item, Side, named, short};
use crate::checking::checker::Notes;

impl Delivery {
    pub(super) fn arrive_at_gateway(&mut self, at: usize, notes: &mut Notes) {
        let now = self.now;
        let link = &mut self.links[at];
        let (Some(item), Some(gateway)) = (link.to_gateway.pop_front(), &mut self.gateway) else { return };
        let Some(id) = link.gateway else { return };
        match item {
            Item::Opened => gateway.handle_opened(id, now),
            Item::Text(frame) => {
                if let Some(number) = named(&frame) {
                    link.arrived.push(number);
                }
                notes.tell(|| format!("     arrives: {}", short(&frame)));
                gateway.handle_message(id, frame.as_bytes(), now);
            }
            Item::Ping(payload) => {
                gateway.handle_traffic(id, now);
                link.to_connector.push_back(Item::Pong(payload));
            }
            Item::Pong(_) => gateway.handle_traffic(id, now),
            Item::Close(code, reason) => {
                link.gateway = None;
                link.to_connector.push_back(Item::CloseEcho);
                gateway.handle_ended(id, LinkEnd::Closed { code: Some(code), reason: reason.into() }, now);
            }
            Item::CloseEcho => {
                link.gateway = None;
                gateway.handle_ended(id, LinkEnd::Closed { code: Some(1000), reason: String::new() }, now);
            }
        }
    }

    pub(super) fn arrive_at_connector(&mut self, at: usize, notes: &mut Notes) {
        let now = self.now;
        let link = &mut self.links[at];
        let (Some(item), Some(connector)) = (link.to_connector.pop_front(), &mut self.connector) else { return };
        let Some(id) = link.connector else { return };
        match item {
            Item::Opened => {}
            Item::Text(frame) => {
                notes.tell(|| format!("     arrives: {}", short(&frame)));
                connector.handle_message(id, frame.as_bytes(), now);
            }
            Item::Ping(payload) => {
                connector.handle_traffic(id, now);
                link.to_gateway.push_back(Item::Pong(payload));
            }
            Item::Pong(payload) => connector.handle_pong(id, payload.as_ref().map_or(&[], |payload| payload), now),
            Item::Close(code, reason) => {
                link.connector = None;
                link.to_gateway.push_back(Item::CloseEcho);
                connector.handle_ended(id, LinkEnd::Closed { code: Some(code), reason: reason.into() }, now);
            }
            Item::CloseEcho => {
                link.connector = None;
                connector.handle_ended(id, LinkEnd::Closed { code: Some(1000), reason: String::new() }, now);
            }
        }
    }

    pub(super) fn lose(&mut self, at: usize, side: Side) {
        let now = self.now;
        let lost = || LinkEnd::Lost { detail: String::new() };
        let link = &mut self.links[at];
        match side {
            Side::Gateway => {
                if let (Some(id), Some(gateway)) = (link.gateway.take(), &mut self.gateway) {
                    gateway.handle_ended(id, lost(), now);
                }
            }
            Side::Connector => {
                if let (Some(id), Some(connector)) = (link.connector.take(), &mut self.connector) {
                    connector.handle_ended(id, lost(), now);
                }
            }
        }
    }
}
