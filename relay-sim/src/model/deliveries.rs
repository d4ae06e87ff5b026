//! Deliveries and their acknowledgement (ACK-1 to ACK-6).

use super::{Delivery, DeliveryState, Model, Owed};

impl Model {
    /// A delivery arrives. The number of the one that is shown, if one is.
    pub fn delivered(&mut self, buffer: Option<&str>, message: Option<&str>, payload: &str) -> Option<usize> {
        self.hear_if_open();
        if !self.is_open() {
            return None;
        }
        let buffer = buffer.map(String::from);
        let message = message.map(String::from);
        let same = |delivery: &&Delivery| delivery.payload == payload && !delivery.forgotten;
        let by_buffer = |delivery: &&Delivery| delivery.buffer == buffer;
        let by_message = |delivery: &&Delivery| message.is_some() && delivery.message == message;
        let find = |which: &dyn Fn(&&Delivery) -> bool| {
            self.deliveries
                .iter()
                .enumerate()
                .rev()
                .find(|(_, delivery)| same(delivery) && which(delivery))
                .map(|(n, _)| n)
        };
        let seen = buffer.as_ref().and_then(|_| find(&by_buffer).or_else(|| find(&by_message)));
        if let (Some(seen), Some(buffer)) = (seen, &buffer) {
            let delivery = &mut self.deliveries[seen];
            if delivery.state != DeliveryState::Nacked {
                delivery.buffer.get_or_insert_with(|| buffer.clone());
                self.owe(buffer, seen);
                self.flush_acks();
                return None;
            }
            delivery.forgotten = true;
        }
        let number = self.deliveries.len();
        self.deliveries.push(Delivery {
            buffer: buffer.clone(),
            message,
            payload: payload.into(),
            state: DeliveryState::Held,
            forgotten: false,
        });
        self.seen.told.push(format!("shown {number}"));
        if let Some(buffer) = buffer {
            // Given back and repeated on one link, it keeps its place.
            match self.owed.iter_mut().find(|owed| Some(owed.delivery) == seen && owed.buffer == buffer) {
                Some(owed) => owed.delivery = number,
                None => self.owe(&buffer, number),
            }
        }
        self.flush_acks();
        Some(number)
    }

    /// Whatever a frame said, shutting down goes on if it can.
    pub fn frame_handled(&mut self) {
        self.advance_shutdown();
    }

    pub(super) fn hear_if_open(&mut self) {
        if self.is_open() {
            self.hear();
        }
    }

    pub(super) fn owe(&mut self, buffer: &str, delivery: usize) {
        if !self.owed.iter().any(|owed| owed.delivery == delivery && owed.buffer == buffer) {
            self.owed.push(Owed { buffer: buffer.into(), delivery });
        }
    }

    pub(super) fn flush_acks(&mut self) {
        while self.is_open()
            && self.owed.first().is_some_and(|owed| self.deliveries[owed.delivery].state == DeliveryState::Taken)
        {
            let owed = self.owed.remove(0);
            self.seen.written.push(format!("ack {}", owed.buffer));
        }
    }

    /// The application takes a delivery, or gives it back. Whether it held it.
    pub fn decide(&mut self, number: usize, take: bool) -> bool {
        let delivery = &mut self.deliveries[number];
        let held = delivery.state == DeliveryState::Held;
        if held {
            delivery.state = if take { DeliveryState::Taken } else { DeliveryState::Nacked };
            self.flush_acks();
        }
        held
    }
}
