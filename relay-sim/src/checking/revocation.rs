//! Refused credentials in a small world: one gateway, the tokens that it mints, and a connector that lets it in or not.
//!
//! The connector that answers in order is the real one, with the real check of tokens. Beside it, a dial or a link can
//! end in every way that matters to AUTH-1 to AUTH-4, at any moment and for no reason: the network, proxies and other
//! connectors do that. Who is revoked is decided a second time, by an oracle written from the contract.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use relay_proto::connector::{self, Peer, Refusal, Settings, authenticate};
use relay_proto::end::LinkEnd;
use relay_proto::frame::{Descriptor, RawJson};
use relay_proto::gateway::{
    Config, Event, LinkId, LinkRequest, Machine, Output, Reason, RequestId, RequestOptions, State, Transmit,
};
use relay_proto::time::Now;
use relay_proto::token::Token;

use super::checker::{Notes, World};
use super::fingerprint;
use super::ledger::rule;

/// How much may happen.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Dials.
    pub dials: u8,
    /// Changes of what the connector has stored.
    pub changes: u8,
    /// How often the machine is frozen for the life of a token.
    pub freezes: u8,
    /// Requests.
    pub requests: u8,
    /// Calls to dial at once.
    pub calls: u8,
    /// Whether every refusal is confirmed.
    pub strict: bool,
}

/// How a dial or a link ends without the connector's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Without a word.
    Lost,
    /// Refused with this HTTP status and this text.
    Http(u16, &'static str),
    /// Closed with this code and this reason.
    Closed(u16, &'static str),
}

const ON_DIALS: [Kind; 4] = [Kind::Lost, Kind::Http(401, ""), Kind::Http(401, "expired"), Kind::Http(403, "")];
const ON_LINKS: [Kind; 5] = [
    Kind::Lost,
    Kind::Closed(1000, ""),
    Kind::Closed(4401, "unauthorized"),
    Kind::Closed(4401, "expired"),
    Kind::Closed(4403, "forbidden"),
];

/// One thing that can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// The next dial is due, or a request ends.
    Deadline,
    /// The connector looks at the token of the dial, and answers.
    Answer,
    /// The oldest thing under way to the gateway arrives.
    Arrive,
    /// The dial or link ends.
    End(Kind),
    /// The stored secret is replaced: the gateway's is none any more.
    Rotate,
    /// The stored secret is revoked, and the link with it.
    Revoke,
    /// The gateway's secret is stored, again.
    Reinstate,
    /// The machine is frozen: so many seconds pass on the wall clock alone.
    Freeze(u64),
    /// The application makes a request, and waits for a link or not.
    Request(bool),
    /// The application wants another link.
    Reconnect,
    /// The application wants a link.
    Wake,
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What a refusal has to lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Revoked,
    DialsAtOnce,
    WaitsAndDials,
}

/// AUTH-1 to AUTH-4, read from the contract.
#[derive(Clone, Debug, Default)]
struct Oracle {
    /// Whether a handshake was ever completed.
    completed: bool,
    /// Whether a provisional refusal waits for the dial that decides.
    provisional: bool,
}

impl Oracle {
    fn ready(&mut self) {
        self.completed = true;
    }

    /// A link that was ready ends. No link of this world is as old as a stable one.
    fn ended(&mut self, refused: bool) {
        self.provisional &= refused; // AUTH-4
    }

    /// `expired`: the token of the refused dial had passed its expiry, and its link never became ready.
    fn refused(&mut self, says_expired: bool, expired: bool, strict: bool) -> Verdict {
        if !self.completed {
            return Verdict::WaitsAndDials; // AUTH-1
        }
        if says_expired {
            return Verdict::WaitsAndDials; // AUTH-2, its last sentence
        }
        if self.provisional {
            // The deciding dial. "Such a refusal decides nothing either; the next dial then comes with backoff."
            return if expired { Verdict::WaitsAndDials } else { Verdict::Revoked };
        }
        if expired || strict {
            self.provisional = true;
            return Verdict::DialsAtOnce; // AUTH-3
        }
        Verdict::Revoked // AUTH-2
    }
}

#[derive(Clone, Debug)]
enum Item {
    Opened,
    Text(String),
    Close(u16, &'static str),
    CloseEcho,
}

/// The dial or link that there is.
#[derive(Clone, Debug)]
struct Link {
    id: LinkId,
    token: Token,
    answered: bool,
    opened: bool,
    /// Whether its descriptor arrived, before the gateway closed it.
    ready: bool,
    closed: bool,
    connector: Option<connector::LinkId>,
    to_gateway: VecDeque<Item>,
}

/// The world.
#[derive(Clone, Debug)]
pub struct Revocation {
    bounds: Bounds,
    now: Now,
    gateway: Machine,
    connector: Peer,
    /// What the connector has stored.
    secrets: Vec<&'static str>,
    link: Option<Link>,
    oracle: Oracle,
    revoked: bool,
    open: BTreeSet<RequestId>,
}

const TTL: u64 = 300;
const OWN: &str = "own";
const OTHER: &str = "other";

impl Revocation {
    /// A world in which the gateway has just started, and its secret is good.
    pub fn new(bounds: Bounds) -> Self {
        let now = Now { monotonic: Duration::ZERO, unix: 1_800_000_000 };
        let config = Config::new("ws://127.0.0.1:1")
            .identity("discord", "b")
            .credentials("gw", OWN)
            .confirm_refusals(bounds.strict);
        Self {
            bounds,
            now,
            gateway: Machine::new(config.build().unwrap(), 7, now),
            connector: Peer::in_memory(Settings::default(), 1, now),
            secrets: vec![OWN],
            link: None,
            oracle: Oracle::default(),
            revoked: false,
            open: BTreeSet::new(),
        }
    }

    /// Both hosts do what their machines say.
    fn settle(&mut self, notes: &mut Notes) -> Result<(), String> {
        while let Some(output) = self.gateway.poll_output() {
            match output {
                Output::Link(LinkRequest::Dial(dial)) => {
                    rule(self.link.is_none(), "DIAL-5: a second dial or link")?;
                    rule(!self.revoked, "AUTH-2: a dial after the credentials were revoked")?;
                    let token = dial.token.ok_or("DIAL-2: a dial without a token")?;
                    rule(token.expires_at() == Some(self.now.unix + TTL), "DIAL-3: a token that is not fresh")?;
                    rule(self.bounds.dials > 0, "a dial too many")?;
                    self.bounds.dials -= 1;
                    notes.tell(|| "     gateway dials".to_owned());
                    self.link = Some(Link {
                        id: dial.link,
                        token,
                        answered: false,
                        opened: false,
                        ready: false,
                        closed: false,
                        connector: None,
                        to_gateway: VecDeque::new(),
                    });
                }
                Output::Link(LinkRequest::Drop(_)) => {
                    let link = self.link.take().ok_or("a drop of no link")?;
                    self.connector_loses(&link);
                    if link.ready {
                        self.oracle.ended(false);
                    }
                }
                Output::RequestEnded { request, .. } => {
                    rule(self.open.remove(&request), "REQ-1: a request ended twice")?;
                }
                _ => {}
            }
        }
        while let Some(event) = self.gateway.poll_event() {
            if let Event::Revoked { .. } = event {
                rule(!self.revoked, "AUTH-2: revoked twice")?;
                self.revoked = true;
                notes.mark("revoked");
            }
        }
        rule(self.revoked == (self.gateway.state() == State::Revoked), "AUTH-2: no event of its own, or no end")?;
        self.write();
        if self.revoked { self.check_end() } else { Ok(()) }
    }

    /// What either side writes: the gateway's arrives at once, the connector's is under way.
    fn write(&mut self) {
        let Some(link) = &mut self.link else { return };
        while let Some(transmit) = self.gateway.poll_transmit(link.id) {
            match (transmit, link.connector) {
                (Transmit::Text(frame), Some(id)) => self.connector.handle_message(id, frame.as_bytes(), self.now),
                (Transmit::Close { .. }, id) => {
                    link.closed = true;
                    if let Some(id) = id {
                        self.connector.handle_ended(id, LinkEnd::Lost { detail: String::new() }, self.now);
                    }
                    link.to_gateway.push_back(Item::CloseEcho);
                }
                _ => {}
            }
        }
        while let Some(output) = self.connector.poll_output() {
            if let connector::Output::Hello { hello, identity } = output {
                let _ = self.connector.describe(hello, &Descriptor::new(identity.platform), self.now);
            }
        }
        while self.connector.poll_event().is_some() {}
        let Some(id) = link.connector else { return };
        while let Some(transmit) = self.connector.poll_transmit(id) {
            match transmit {
                Transmit::Text(frame) => link.to_gateway.push_back(Item::Text(frame)),
                Transmit::Close { code, reason } => link.to_gateway.push_back(Item::Close(code, reason)),
                _ => {}
            }
        }
    }

    /// AUTH-2: nothing dials any more, whatever is asked, and nobody waits.
    fn check_end(&self) -> Result<(), String> {
        rule(self.open.is_empty(), "AUTH-2: revoked, and a request has not ended")?;
        let mut gateway = self.gateway.clone();
        let mut later = self.now;
        for seconds in [0, 1, 100, 100_000] {
            later.monotonic += Duration::from_secs(seconds);
            later.unix += seconds;
            gateway.handle_timeout(later);
            gateway.wake(later);
            gateway.reconnect(later);
            gateway.release_redial(later);
            gateway.go_dormant(later);
        }
        let dials = std::iter::from_fn(|| gateway.poll_output())
            .any(|output| matches!(output, Output::Link(LinkRequest::Dial(_))));
        rule(!dials && gateway.poll_timeout().is_none(), "AUTH-2: dials again after it was revoked")
    }

    fn connector_loses(&mut self, link: &Link) {
        if let Some(id) = link.connector {
            self.connector.handle_ended(id, LinkEnd::Lost { detail: String::new() }, self.now);
        }
    }

    /// The dial or link ends for the gateway, which has to do what the oracle says.
    fn end(&mut self, kind: Kind, notes: &mut Notes) -> Result<(), String> {
        let link = self.link.take().ok_or("no link to end")?;
        self.connector_loses(&link);
        let (end, refusal) = match kind {
            Kind::Lost => (LinkEnd::Lost { detail: String::new() }, None),
            Kind::Http(status, reason) => {
                (LinkEnd::Refused { status, reason: reason.into() }, (status == 401).then_some(reason))
            }
            Kind::Closed(code, reason) => {
                (LinkEnd::Closed { code: Some(code), reason: reason.into() }, (code == 4401).then_some(reason))
            }
        };
        let expiry = link.token.expires_at().ok_or("a token that never expires")?;
        let expired = !link.ready && self.now.unix > expiry;
        if link.ready {
            self.oracle.ended(refusal.is_some());
        }
        let verdict = refusal.map(|reason| self.oracle.refused(reason == "expired", expired, self.bounds.strict));
        let was_revoked = self.revoked;
        self.gateway.handle_ended(link.id, end, self.now);
        self.settle(notes)?;
        let got = match self.gateway.state() {
            State::Revoked => Verdict::Revoked,
            State::Dialing => Verdict::DialsAtOnce,
            _ => Verdict::WaitsAndDials,
        };
        notes.tell(|| format!("     gateway: {got:?}"));
        let Some(verdict) = verdict else {
            return rule(was_revoked || got != Verdict::Revoked, "AUTH-2: revoked without a refusal");
        };
        notes.mark(match verdict {
            Verdict::Revoked => "refused: revoked",
            Verdict::DialsAtOnce => "refused: one dial decides",
            Verdict::WaitsAndDials => "refused: dials again later",
        });
        rule(got == verdict, &format!("AUTH-1 to AUTH-4: {got:?}, and the contract says {verdict:?}"))
    }

    fn answer(&mut self) {
        let secrets = self.secrets.iter().map(|secret| (*secret).into()).collect();
        let Some(link) = &mut self.link else { return };
        link.answered = true;
        link.to_gateway.push_back(Item::Opened);
        match authenticate(Some(link.token.as_str()), |_| Some(secrets), self.now) {
            Ok(_) => link.connector = Some(self.connector.handle_opened(self.now)),
            Err(refusal) => link.to_gateway.push_back(Item::Close(Refusal::CLOSE_CODE, refusal.close_reason())),
        }
    }

    fn arrive(&mut self, notes: &mut Notes) -> Result<(), String> {
        let Some(link) = &mut self.link else { return Ok(()) };
        match link.to_gateway.pop_front() {
            Some(Item::Opened) => {
                link.opened = true;
                self.gateway.handle_opened(link.id, self.now);
            }
            Some(Item::Text(frame)) => {
                if !link.closed {
                    link.ready = true;
                    self.oracle.ready();
                    notes.mark("ready");
                }
                self.gateway.handle_message(link.id, frame.as_bytes(), self.now);
            }
            Some(Item::Close(code, reason)) => return self.end(Kind::Closed(code, reason), notes),
            Some(Item::CloseEcho) => return self.end(Kind::Closed(1000, ""), notes),
            None => {}
        }
        Ok(())
    }

    fn request(&mut self, patient: bool) -> Result<(), String> {
        let mut options = RequestOptions::default();
        options.wait_for_link = patient;
        let action = RawJson::parse(r#"{"op":"send"}"#).map_err(|error| error.to_string())?;
        if let Ok(id) = self.gateway.request(&action, &options, self.now) {
            rule(self.open.insert(id), "REQ-1: an id twice")?;
        }
        Ok(())
    }

    /// The next deadline, unless it is one of a link: links end by moves of their own.
    fn deadline(&self) -> Option<Duration> {
        let fires = [Reason::Redial, Reason::Request, Reason::Close];
        self.gateway.poll_timeout().filter(|deadline| fires.contains(&deadline.reason)).map(|deadline| deadline.at)
    }
}

impl World for Revocation {
    type Move = Move;

    fn moves(&self) -> Vec<Move> {
        // An end may be followed by a dial at once: what needs one more than there are ends the search.
        if self.bounds.dials == 0 || self.revoked {
            return Vec::new();
        }
        let bounds = &self.bounds;
        let mut moves = Vec::new();
        moves.extend(self.deadline().map(|_| Move::Deadline));
        if let Some(link) = &self.link {
            moves.extend((!link.answered).then_some(Move::Answer));
            moves.extend((!link.to_gateway.is_empty()).then_some(Move::Arrive));
            let ends = if link.opened { &ON_LINKS[..] } else { &ON_DIALS[..] };
            moves.extend(ends.iter().map(|kind| Move::End(*kind)));
        }
        if bounds.changes > 0 {
            moves.extend([Move::Rotate, Move::Revoke, Move::Reinstate]);
        }
        if bounds.freezes > 0 {
            moves.extend([Move::Freeze(TTL), Move::Freeze(TTL + 1)]);
        }
        if bounds.requests > 0 {
            moves.extend([Move::Request(true), Move::Request(false)]);
        }
        if bounds.calls > 0 {
            moves.extend([Move::Reconnect, Move::Wake]);
        }
        moves
    }

    fn apply(&mut self, step: Move, notes: &mut Notes) -> Result<(), String> {
        match step {
            Move::Deadline => {
                let due = self.deadline().ok_or("nothing is due")?;
                let passed = due.saturating_sub(self.now.monotonic);
                self.now.monotonic += passed;
                self.now.unix += passed.as_secs();
                self.gateway.handle_timeout(self.now);
            }
            Move::Answer => self.answer(),
            Move::Arrive => self.arrive(notes)?,
            Move::End(kind) => self.end(kind, notes)?,
            Move::Rotate => {
                self.bounds.changes -= 1;
                self.secrets = vec![OTHER];
            }
            Move::Revoke => {
                self.bounds.changes -= 1;
                self.secrets = Vec::new();
                self.connector.revoke(self.now);
            }
            Move::Reinstate => {
                self.bounds.changes -= 1;
                self.secrets = vec![OTHER, OWN];
                self.connector.reinstate(self.now);
            }
            Move::Freeze(seconds) => {
                self.bounds.freezes -= 1;
                self.now.unix += seconds;
            }
            Move::Request(patient) => {
                self.bounds.requests -= 1;
                self.request(patient)?;
            }
            Move::Reconnect => {
                self.bounds.calls -= 1;
                self.gateway.reconnect(self.now);
            }
            Move::Wake => {
                self.bounds.calls -= 1;
                self.gateway.wake(self.now);
            }
        }
        self.settle(notes)
    }

    fn fingerprint(&self) -> u128 {
        // The last decides when a peer that reads nothing is lost, which none is here.
        fingerprint::of(self, &["settings", "stats", "descriptors", "moved"])
    }

    fn is_fault(&self, step: Move) -> bool {
        !matches!(step, Move::Deadline | Move::Answer | Move::Arrive)
    }

    /// At its end, out of dials, or linked.
    fn is_settled(&self) -> bool {
        self.revoked || self.bounds.dials == 0 || self.gateway.state() == State::Ready
    }
}
