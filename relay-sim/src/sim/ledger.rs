//! What became of every event: written by the world as it sees it happen, and asked whether that may be.

use std::collections::BTreeMap;

use relay_proto::connector::EntryId;

use super::network::Carried;
use super::{Check, violated};

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Message,
    Forward,
    /// Arrives as something that is no event at all.
    Poison,
}

/// What the application did with what it was shown last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    Held,
    Taken,
    Nacked,
}

/// Where the connector is with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Given to the store, which has not answered.
    Storing,
    /// Accepted, or found in the store.
    Kept,
    /// The store did not take it, or it went down with its process before it was accepted.
    Refused,
    /// Accepted, and lost by a store that forgets.
    Lost,
    /// Acknowledged, or taken as if. `durably`: the store will not bring it back.
    Gone { durably: bool },
}

/// One event of one gateway.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: EntryId,
    pub kind: Kind,
    pub stage: Stage,
    /// It left without an acknowledgement.
    pub assumed_acked: bool,
    pub live_copy: bool,
    /// The process of the gateway that it was last shown to, and what became of that.
    pub shown: Option<(u32, DeliveryState)>,
    /// The last process to which a link carried it.
    pub carried_to: Option<u32>,
    /// How many links carried it in this life of the connector.
    pub links: u32,
    /// An application took it that has not forgotten that: it still runs, or keeps what it took.
    pub taken: bool,
    /// An acknowledgement of it has left a gateway.
    pub ack_sent: bool,
    /// It was refused or had left, and was found in the store after a crash. Events behind it may have been shown before.
    pub came_back: bool,
}

/// Every event of one gateway, in the order in which they were delivered.
#[derive(Debug, Default)]
pub struct Ledger {
    pub entries: Vec<Entry>,
    by_id: BTreeMap<EntryId, usize>,
    /// The process that is shown events, and the last one that it had not been shown before.
    newest: Option<(u32, usize)>,
    /// No event before this one is still with the connector.
    first_kept: usize,
}

impl Ledger {
    /// The connector took an event up.
    pub fn add(&mut self, id: EntryId, kind: Kind, stage: Stage) -> usize {
        let number = self.entries.len();
        let entry = Entry {
            id,
            kind,
            stage,
            assumed_acked: false,
            live_copy: false,
            shown: None,
            carried_to: None,
            links: 0,
            taken: false,
            ack_sent: false,
            came_back: false,
        };
        self.entries.push(entry);
        self.by_id.insert(id, number);
        number
    }

    pub fn find(&self, id: EntryId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// The events that are with the connector.
    pub fn kept(&self) -> impl Iterator<Item = (usize, &Entry)> {
        let entries = self.entries.iter().enumerate().skip(self.first_kept);
        entries.filter(|(_, entry)| matches!(entry.stage, Stage::Kept | Stage::Storing))
    }

    /// A link is about to carry an event. `carried`: what it has carried so far.
    pub fn carry(&mut self, number: usize, process: u32, carried: &[Carried]) -> Check {
        let entry = &self.entries[number];
        if entry.stage != Stage::Kept {
            return violated("CONN-3", format!("event {number} goes out, and is {:?}", entry.stage));
        }
        if carried.last().is_some_and(|last| last.event >= number) {
            return violated("CONN-3", format!("event {number} goes out behind {:?}", carried.last()));
        }
        for (ahead, entry) in self.kept().take_while(|(ahead, _)| *ahead < number) {
            if !carried.iter().any(|carried| carried.event == ahead) {
                return violated("CONN-3", format!("event {number} passes over {ahead}, which is {:?}", entry.stage));
            }
        }
        let entry = &mut self.entries[number];
        entry.carried_to = Some(process);
        entry.links += 1;
        Ok(())
    }

    /// The application of this process is shown an event. Whether it was shown it before, and when.
    pub fn show(&mut self, number: usize, process: u32, kind: Kind) -> Result<Option<u32>, super::Violation> {
        let Some(entry) = self.entries.get_mut(number) else {
            return violated("ACK-4", format!("event {number} was never delivered")).map(|()| None);
        };
        if entry.kind != kind {
            return violated("EVENT-1", format!("event {number} is {:?} and shown as {kind:?}", entry.kind))
                .map(|()| None);
        }
        if entry.carried_to != Some(process) {
            return violated("ACK-3", format!("no link carried event {number} to this process")).map(|()| None);
        }
        let before = entry.shown;
        match before {
            Some((shown_to, state @ (DeliveryState::Held | DeliveryState::Taken))) if shown_to == process => {
                return violated("ACK-4", format!("event {number} is {state:?} and shown again")).map(|()| None);
            }
            Some((shown_to, DeliveryState::Nacked)) if shown_to == process => {}
            _ => {
                let behind = self.newest.is_some_and(|(shown_to, newest)| shown_to == process && newest >= number);
                if behind && !entry.came_back {
                    return violated("CONN-3", format!("event {number} is shown behind {:?}", self.newest))
                        .map(|()| None);
                }
                if !behind {
                    self.newest = Some((process, number));
                }
            }
        }
        entry.shown = Some((process, DeliveryState::Held));
        Ok(before.map(|(shown_to, _)| shown_to))
    }

    /// The application did something with what it holds.
    pub fn end(&mut self, number: usize, process: u32, state: DeliveryState) {
        let entry = &mut self.entries[number];
        entry.taken |= state == DeliveryState::Taken;
        if entry.shown == Some((process, DeliveryState::Held)) {
            entry.shown = Some((process, state));
        }
    }

    /// The process of the gateway is gone, and its application forgets what it took. What it acknowledged it need not know
    /// any more.
    pub fn forget(&mut self) {
        for entry in self.entries.iter_mut().filter(|entry| !entry.ack_sent) {
            entry.taken = false;
        }
    }

    /// The connector got an acknowledgement, or presumes one.
    pub fn go(&mut self, number: usize, acknowledged: bool, durably: bool) -> Check {
        let entry = &mut self.entries[number];
        if acknowledged && !entry.ack_sent {
            return violated(
                "ACK-1",
                format!("event {number} counts as acknowledged, and no acknowledgement was sent"),
            );
        }
        entry.assumed_acked |= !acknowledged;
        if let Stage::Kept = entry.stage {
            entry.stage = Stage::Gone { durably };
        }
        self.skip_what_left();
        Ok(())
    }

    fn skip_what_left(&mut self) {
        while self
            .entries
            .get(self.first_kept)
            .is_some_and(|entry| matches!(entry.stage, Stage::Gone { durably: true } | Stage::Refused | Stage::Lost))
        {
            self.first_kept += 1;
        }
    }

    /// The store will not bring it back.
    pub fn discarded(&mut self, number: usize) {
        if let Stage::Gone { durably } = &mut self.entries[number].stage {
            *durably = true;
        }
    }

    /// The connector is gone. `survives`: which entries the store still has.
    pub fn crash(&mut self, survives: impl Fn(EntryId) -> bool) -> Crash {
        let mut crash = Crash::default();
        for entry in &mut self.entries {
            let there = survives(entry.id);
            entry.links = 0;
            entry.stage = match entry.stage {
                Stage::Storing if there => {
                    crash.unconfirmed += 1;
                    Stage::Kept
                }
                Stage::Storing => {
                    crash.storing += 1;
                    Stage::Refused
                }
                Stage::Kept if !there => {
                    crash.lost += 1;
                    Stage::Lost
                }
                Stage::Gone { durably: false } if there => {
                    crash.back += 1;
                    entry.came_back = true;
                    Stage::Kept
                }
                Stage::Refused if there => {
                    crash.unrefused += 1;
                    entry.came_back = true;
                    Stage::Kept
                }
                Stage::Gone { .. } => Stage::Gone { durably: true },
                other => other,
            };
        }
        // What was refused may have come back.
        self.first_kept = 0;
        self.skip_what_left();
        crash
    }

    /// After everything: whatever was accepted has been taken.
    pub fn is_settled(&self) -> Check {
        for (number, entry) in self.entries.iter().enumerate() {
            let settled = match entry.stage {
                Stage::Refused | Stage::Lost => true,
                Stage::Gone { .. } => entry.taken || entry.assumed_acked,
                Stage::Kept | Stage::Storing => false,
            };
            if !settled {
                return violated("CONN-7", format!("event {number} did not get through: {entry:?}"));
            }
        }
        Ok(())
    }
}

/// What a crash of the connector did.
#[derive(Debug, Default)]
pub struct Crash {
    /// Entries that the store has, though it had not said so.
    pub unconfirmed: usize,
    /// Entries that it had not got.
    pub storing: usize,
    /// Accepted entries that it lost.
    pub lost: usize,
    /// Acknowledged entries that it still has.
    pub back: usize,
    /// Entries that it has, though they were refused: nobody knew.
    pub unrefused: usize,
}
