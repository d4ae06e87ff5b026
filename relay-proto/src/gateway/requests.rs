//! Requests under way (REQ-1 to REQ-3).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use core::time::Duration;

use super::output::{Ambiguous, NotSent, Outcome, RequestId};

/// How far a request has come.
#[derive(Clone, Debug)]
enum Stage {
    /// Its caller waits for a link.
    Waiting(String),
    /// Queued on the link, not written.
    Queued(String),
    /// Written.
    Written,
}

#[derive(Clone, Debug)]
struct Pending {
    stage: Stage,
    deadline: Duration,
    /// Whether it may wait for another link as long as it was not written.
    patient: bool,
    /// How many `error` frames the link had brought when this was written.
    heard: u32,
}

/// Every request that has not ended. Each ends exactly once: by leaving this table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests {
    pending: BTreeMap<RequestId, Pending>,
    deadlines: BTreeSet<(Duration, RequestId)>,
    /// What the connector said last in an `error` frame on this link, and how many of them there were (FRAME-5).
    said: Option<Arc<str>>,
    heard: u32,
}

impl Requests {
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn contains(&self, id: RequestId) -> bool {
        self.pending.contains_key(&id)
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Takes a request up. `on_link`: there is a ready link, onto which the caller queues its id.
    pub(crate) fn insert(&mut self, id: RequestId, frame: String, deadline: Duration, patient: bool, on_link: bool) {
        let stage = if on_link { Stage::Queued(frame) } else { Stage::Waiting(frame) };
        self.pending.insert(id, Pending { stage, deadline, patient, heard: self.heard });
        self.deadlines.insert((deadline, id));
    }

    /// The frame of a queued request, which is now written. `None` when the request has ended meanwhile.
    pub(crate) fn write(&mut self, id: RequestId) -> Option<String> {
        let pending = self.pending.get_mut(&id)?;
        pending.heard = self.heard;
        match core::mem::replace(&mut pending.stage, Stage::Written) {
            Stage::Queued(frame) | Stage::Waiting(frame) => Some(frame),
            Stage::Written => None,
        }
    }

    /// The requests that wait for a link, oldest first, which are now queued on one.
    pub(crate) fn queue_waiting(&mut self) -> impl Iterator<Item = RequestId> {
        self.pending.iter_mut().filter_map(|(id, pending)| {
            match core::mem::replace(&mut pending.stage, Stage::Written) {
                Stage::Waiting(frame) => {
                    pending.stage = Stage::Queued(frame);
                    Some(*id)
                }
                stage => {
                    pending.stage = stage;
                    None
                }
            }
        })
    }

    /// Ends a request without an outcome: a result came, or its caller is gone. Whether it was there.
    pub(crate) fn remove(&mut self, id: RequestId) -> bool {
        let Some(pending) = self.pending.remove(&id) else { return false };
        self.deadlines.remove(&(pending.deadline, id));
        true
    }

    /// Ends a request that was written, because its result is here. Whether it was there: a result for one that was not
    /// even sent is none of its business.
    pub(crate) fn remove_written(&mut self, id: RequestId) -> bool {
        self.pending.get(&id).is_some_and(|pending| matches!(pending.stage, Stage::Written)) && self.remove(id)
    }

    /// The connector says on this link that something went wrong.
    pub(crate) fn hear(&mut self, said: String) {
        self.said = Some(said.into());
        self.heard = self.heard.wrapping_add(1);
    }

    /// What the connector said last on this link.
    pub(crate) fn last_error(&self) -> Option<&str> {
        self.said.as_deref()
    }

    /// Ends one request whose deadline has passed.
    pub(crate) fn pop_expired(&mut self, now: Duration) -> Option<(RequestId, Outcome)> {
        let (at, id) = *self.deadlines.first()?;
        if at > now {
            return None;
        }
        self.deadlines.pop_first();
        let pending = self.pending.remove(&id)?;
        let said = self.said.as_ref().filter(|_| pending.heard != self.heard);
        let ambiguous = said.map_or(Ambiguous::TimedOut, |said| Ambiguous::Unanswered { said: said.clone() });
        Some((id, outcome(matches!(pending.stage, Stage::Written), NotSent::TimedOut, ambiguous)))
    }

    /// The link is gone: ends every request on it. What was not written, and may wait, waits on.
    pub(crate) fn end_link(&mut self, mut ended: impl FnMut(RequestId, Outcome)) {
        self.said = None;
        let deadlines = &mut self.deadlines;
        self.pending.retain(|id, pending| {
            let written = match core::mem::replace(&mut pending.stage, Stage::Written) {
                Stage::Written => true,
                Stage::Waiting(frame) | Stage::Queued(frame) => {
                    if pending.patient {
                        pending.stage = Stage::Waiting(frame);
                        return true;
                    }
                    false
                }
            };
            deadlines.remove(&(pending.deadline, *id));
            ended(*id, outcome(written, NotSent::NoLink, Ambiguous::LinkLost));
            false
        });
    }

    /// Ends the requests that wait for a link, because none will come.
    pub(crate) fn end_waiting(&mut self, why: &NotSent, mut ended: impl FnMut(RequestId, Outcome)) {
        let deadlines = &mut self.deadlines;
        self.pending.retain(|id, pending| {
            if !matches!(pending.stage, Stage::Waiting(_)) {
                return true;
            }
            deadlines.remove(&(pending.deadline, *id));
            ended(*id, Outcome::NotSent(why.clone()));
            false
        });
    }

    /// Ends everything, because the gateway is at its end.
    pub(crate) fn end_all(
        &mut self,
        not_sent: &NotSent,
        ambiguous: Ambiguous,
        mut ended: impl FnMut(RequestId, Outcome),
    ) {
        self.deadlines.clear();
        while let Some((id, pending)) = self.pending.pop_first() {
            ended(id, outcome(matches!(pending.stage, Stage::Written), not_sent.clone(), ambiguous.clone()));
        }
    }
}

fn outcome(written: bool, not_sent: NotSent, ambiguous: Ambiguous) -> Outcome {
    if written { Outcome::Ambiguous(ambiguous) } else { Outcome::NotSent(not_sent) }
}
