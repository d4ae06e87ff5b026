//! Deliveries that the program has not ended yet.

use std::collections::{BTreeMap, VecDeque};

use relay_proto::chat::SessionKeys;
use relay_tokio::{Delivery, MessageEvent, PassthroughForward, Undecodable};

use super::answered::Question;
use crate::outbox::OnWritten;

/// A delivery, whatever it carries.
#[derive(Debug)]
pub(super) enum Held {
    Message(Delivery<MessageEvent>),
    Passthrough(Delivery<PassthroughForward>),
    Undecodable(Delivery<Undecodable>),
}

impl Held {
    pub(super) fn ack(self) {
        match self {
            Self::Message(delivery) => delivery.ack(),
            Self::Passthrough(delivery) => delivery.ack(),
            Self::Undecodable(delivery) => delivery.ack(),
        }
    }

    pub(super) fn nack(self) {
        match self {
            Self::Message(delivery) => delivery.nack(),
            Self::Passthrough(delivery) => delivery.nack(),
            Self::Undecodable(delivery) => delivery.nack(),
        }
    }

    /// What it takes to know its answer. `None`: nobody answers it, or the connector does not wait for that.
    pub(super) fn question(&self, keys: &SessionKeys) -> Option<Question> {
        let Self::Message(delivery) = self else { return None };
        let answerable = self.is_buffered() && !delivery.chat_id().is_empty();
        answerable.then(|| Question {
            key: delivery.key(),
            platform: delivery.platform().to_owned(),
            chat: delivery.chat_id().to_owned(),
            message_id: delivery.message_id().map(str::to_owned),
            session: delivery.session_key(keys),
        })
    }

    /// What names it in every run.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Message(delivery) => delivery.key(),
            Self::Passthrough(delivery) => delivery.key(),
            Self::Undecodable(delivery) => delivery.key(),
        }
    }

    /// Whether the connector waits for its acknowledgement.
    pub(super) fn is_buffered(&self) -> bool {
        match self {
            Self::Message(delivery) => delivery.buffer_id().is_some(),
            Self::Passthrough(delivery) => delivery.buffer_id().is_some(),
            Self::Undecodable(delivery) => delivery.buffer_id().is_some(),
        }
    }

    /// About how much memory it holds, in bytes.
    fn weight(&self) -> usize {
        const OVERHEAD: usize = 512;
        OVERHEAD
            + match self {
                Self::Message(delivery) => delivery.raw().len(),
                Self::Passthrough(delivery) => delivery.raw().len() + delivery.body.len(),
                Self::Undecodable(delivery) => delivery.raw().len(),
            }
    }
}

/// With `--ack auto` a delivery is acknowledged when its line is out, and given back when it cannot be.
#[derive(Debug)]
pub(super) struct Unseen(Option<Held>);

impl Unseen {
    pub(super) fn new(delivery: Held) -> Self {
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
    held: BTreeMap<u64, Held>,
    /// Those of them that the connector does not wait for, in order: numbers only grow.
    live: VecDeque<u64>,
    weight: usize,
}

impl Table {
    /// Adds a delivery. A program that only ends what has a buffer id must not pile up the rest: when there is too much,
    /// the oldest of the rest count as taken.
    pub(super) fn insert(&mut self, number: u64, delivery: Held) {
        self.weight += delivery.weight();
        if !delivery.is_buffered() {
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
    pub(super) fn remove(&mut self, number: u64) -> Option<Held> {
        let delivery = self.held.remove(&number)?;
        self.weight -= delivery.weight();
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
