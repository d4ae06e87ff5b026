//! Deliveries that the program has not ended yet.

use std::collections::{BTreeMap, VecDeque};

use relay_proto::chat::SessionKeys;
use relay_tokio::Delivery;

use super::answered::Question;
use crate::outbox::OnWritten;

/// What it takes to know a delivery's answer. `None`: no answer is expected, or the connector does not wait for it.
pub(super) fn question(delivery: &Delivery, keys: &SessionKeys) -> Option<Question> {
    let message = delivery.message().filter(|message| !message.chat_id().is_empty())?;
    delivery.buffer_id().is_some().then(|| Question {
        key: delivery.key(),
        platform: message.platform().to_owned(),
        chat: message.chat_id().to_owned(),
        message_id: message.message_id().map(str::to_owned),
        session: message.session_key(keys),
    })
}

/// About how much memory a delivery holds, in bytes.
fn weight(delivery: &Delivery) -> usize {
    const OVERHEAD: usize = 512;
    OVERHEAD + delivery.raw().len() + delivery.passthrough().map_or(0, |forward| forward.body.len())
}

/// With `--ack auto` a delivery is acknowledged when its line is out, and given back when it cannot be.
#[derive(Debug)]
pub(super) struct Unseen(Option<Delivery>);

impl Unseen {
    pub(super) fn new(delivery: Delivery) -> Self {
        Self(Some(delivery))
    }
}

impl OnWritten for Unseen {
    fn written(mut self) {
        if let Some(delivery) = self.0.take() {
            delivery.ack();
        }
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        if let Some(delivery) = self.0.take() {
            delivery.nack();
        }
    }
}

/// How much memory deliveries may hold that the program does not end, in bytes.
const ENOUGH: usize = 64 << 20;

/// The deliveries in the program's hands, by their number (`--ack manual` and `--ack answered`).
#[derive(Debug, Default)]
pub(super) struct Table {
    held: BTreeMap<u64, Delivery>,
    /// Those of them that the connector does not wait for, in order: numbers only grow.
    live: VecDeque<u64>,
    weight: usize,
}

impl Table {
    /// Adds a delivery. A program that only ends what has a buffer id must not pile up the rest: when there is too much,
    /// the oldest of the rest count as taken.
    pub(super) fn insert(&mut self, number: u64, delivery: Delivery) {
        self.weight += weight(&delivery);
        if delivery.buffer_id().is_none() {
            self.live.push_back(number);
        }
        self.held.insert(number, delivery);
        while self.is_full()
            && let Some(oldest) = self.live.front().copied()
        {
            if let Some(delivery) = self.remove(oldest) {
                delivery.ack();
            }
        }
    }

    /// Takes a delivery out; `None` when the program does not have it, or has it no more.
    pub(super) fn remove(&mut self, number: u64) -> Option<Delivery> {
        let delivery = self.held.remove(&number)?;
        self.weight -= weight(&delivery);
        if let Ok(at) = self.live.binary_search(&number) {
            self.live.remove(at);
        }
        Some(delivery)
    }

    /// Whether no more should be added until the program ends some.
    pub(super) fn is_full(&self) -> bool {
        self.weight > ENOUGH
    }
}
