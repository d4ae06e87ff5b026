//! What the delivery protocol has promised so far, kept by an observer between the two machines and beside both.

use relay_proto::connector::EntryId;

/// An event, by its place in the order in which the connector's application gave them.
pub type Number = usize;

/// What the application of the gateway's present process knows of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeliveryState {
    /// Nothing.
    #[default]
    Unseen,
    /// It was shown, and is held.
    Held,
    /// It was taken.
    Taken,
    /// It was given back, or dropped.
    Nacked,
}

/// One event.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its entry.
    pub entry: EntryId,
    /// Whether the connector said that it is accepted.
    pub accepted: bool,
    /// Whether the store refused it, or a crash came before it was stored.
    pub void: bool,
    /// Whether any process of the gateway's application took it.
    pub taken: bool,
    /// Whether it left the buffer of the connector's present process.
    pub left: bool,
    /// Whether it left on the presumption that it was taken.
    pub assumed_acked: bool,
    /// Whether a link of the connector's present process carried it.
    pub carried: bool,
    /// In the gateway's present process.
    pub state: DeliveryState,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// In order.
    pub lines: Vec<Line>,
    /// The last event that the gateway's present process was shown for the first time.
    newest: Option<Number>,
    /// Whether a process of the gateway's ended with what it had received and not acknowledged.
    lost_process: bool,
}

/// An invariant: an error when it does not hold.
pub fn rule(holds: bool, rule: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(rule.to_owned()) }
}

impl Ledger {
    /// The connector took an event up.
    pub fn given(&mut self, entry: EntryId) {
        self.lines.push(Line {
            entry,
            accepted: false,
            void: false,
            taken: false,
            left: false,
            assumed_acked: false,
            carried: false,
            state: DeliveryState::Unseen,
        });
    }

    /// The event of an entry.
    pub fn number(&self, entry: EntryId) -> Result<Number, String> {
        let found = self.lines.iter().position(|line| line.entry == entry);
        found.ok_or_else(|| format!("an entry out of nowhere: {entry}"))
    }

    /// The connector accepted it.
    pub fn accept(&mut self, entry: EntryId, durable: bool) -> Result<(), String> {
        let number = self.number(entry)?;
        rule(durable, "CONN-7: accepted before it was durable")?;
        rule(!self.lines[number].accepted, "accepted twice")?;
        self.lines[number].accepted = true;
        Ok(())
    }

    /// The connector wrote it to a link.
    pub fn carry(&mut self, number: Number, durable: bool) -> Result<(), String> {
        let line = &mut self.lines[number];
        rule(durable, "CONN-7: sent what a crash would lose, or what is long gone")?;
        rule(!line.left, "CONN-3: what was acknowledged comes back")?;
        line.carried = true;
        Ok(())
    }

    /// It left the connector's buffer.
    pub fn leave(&mut self, entry: EntryId) -> Result<(), String> {
        let number = self.number(entry)?;
        let line = &mut self.lines[number];
        rule(!line.left, "left the buffer twice")?;
        rule(line.taken, "CONN-7: left the buffer, and no application took it")?;
        line.left = true;
        Ok(())
    }

    /// A forward left the connector's buffer without an ack.
    pub fn assume_acked(&mut self, entry: EntryId) -> Result<(), String> {
        let number = self.number(entry)?;
        self.lines[number].left = true;
        self.lines[number].assumed_acked = true;
        Ok(())
    }

    /// The gateway's application was shown it. Whether for the first time in this process.
    pub fn show(&mut self, number: Number) -> Result<bool, String> {
        let line = &mut self.lines[number];
        let first = line.state == DeliveryState::Unseen;
        rule(first || line.state == DeliveryState::Nacked, "ACK-4: shown again, though it was not given back")?;
        line.state = DeliveryState::Held;
        if first {
            rule(self.newest.is_none_or(|newest| newest < number), "CONN-7: out of order")?;
            self.newest = Some(number);
        }
        Ok(first)
    }

    /// The gateway's application took it.
    pub fn take(&mut self, number: Number) {
        self.lines[number].state = DeliveryState::Taken;
        self.lines[number].taken = true;
    }

    /// The gateway's process ended, and its application with it.
    pub fn gateway_ended(&mut self) {
        self.newest = None;
        self.lost_process = true;
        self.lines.iter_mut().for_each(|line| line.state = DeliveryState::Unseen);
    }

    /// The connector's process ended. `stored`: whether the store has an entry.
    pub fn connector_ended(&mut self, stored: impl Fn(EntryId) -> bool) {
        for line in &mut self.lines {
            line.void |= !line.accepted && !stored(line.entry);
            line.left &= !stored(line.entry);
            line.carried = false;
        }
    }

    /// Whether every event that was accepted was taken. A forward that was presumed taken may have gone with a process of
    /// the gateway's: that is the documented price.
    pub fn is_kept(&self) -> bool {
        self.lines.iter().all(|line| line.taken || line.void || (line.assumed_acked && self.lost_process))
    }
}
