//! Which hard states a life reached: a simulation that never gets there proves nothing.

use std::fmt;

macro_rules! states {
    ($($name:ident: $text:literal,)*) => {
        /// A state that is hard to reach on purpose.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Hard { $(#[doc = $text] $name,)* }

        /// Every state, with its name for people.
        pub const ALL: &[(Hard, &str)] = &[$((Hard::$name, $text),)*];
    };
}

states! {
    // The world.
    OverWebSocket: "lives over a real WebSocket",
    Several: "lives with several gateways",
    // The network.
    CutInFrameDown: "links cut in the middle of a frame to the gateway",
    CutInFrameUp: "links cut in the middle of a frame to the connector",
    CutUnacked: "links cut with unacknowledged deliveries",
    CutRequests: "links cut with requests under way",
    CutUnnoticed: "cuts that one end did not notice",
    HalfClosed: "links closed in one direction",
    Stalled: "links stalled in one direction",
    WriteFailed: "writes that failed while the peer's bytes could still be read",
    InFrame: "reads that ended within a frame to the gateway",
    Blocked: "writes that found no room",
    // Processes and machines.
    GatewayCrash: "gateway crashes",
    GatewayCrashHolding: "gateway crashes while the application held deliveries",
    ConnectorCrash: "connector crashes",
    CrashInAppend: "connector crashes between an append and its confirmation",
    CrashUnconfirmed: "entries that survived a crash unconfirmed",
    CrashInDiscard: "connector crashes before a discard was durable",
    RolledBack: "connector crashes that rolled a commit back",
    Amnesia: "accepted events lost by an amnesic store",
    ConnectorShutdown: "connectors shut down in order",
    Suspended: "machines suspended",
    SuspendedOverDeadline: "machines suspended over a deadline",
    FrozenDial: "machines frozen during a dial",
    WallJump: "wall clocks that jumped",
    // Deliveries.
    Redelivered: "entries that a second link carried",
    ReplayHeld: "replays of deliveries still held",
    ReplayTaken: "replays of deliveries already taken",
    ShownAgain: "deliveries shown again after they were given back",
    ShownToSuccessor: "deliveries shown again to the next process",
    AppRecognised: "deliveries that the application itself recognised",
    LiveCopy: "messages that came live before their buffered copy",
    TakenAfterLink: "deliveries taken after their link was gone",
    OutOfOrder: "deliveries taken out of order",
    TakenTwice: "deliveries taken twice",
    Nacked: "deliveries given back",
    Dropped: "deliveries dropped without a word",
    Undecodable: "undecodable deliveries",
    Junk: "lines that are no frames",
    WindowFull: "windows that were full",
    ReadingPaused: "links that were not read, for unread events",
    QueueFull: "links closed for too many unread events",
    AppendFailed: "entries that the store refused",
    RefusedInDoubt: "entries that were refused while the store had them",
    RefusedAndKept: "refused entries that were found in the store after a crash",
    Fetched: "entries read back from the store",
    AssumedAcked: "forwards presumed taken",
    GivenUp: "forwards given up",
    StrayAck: "acknowledgements of nothing in flight",
    // Requests.
    Result: "requests that got their result",
    ConnectorFailed: "requests that the connector answered by itself",
    NotSentNoLink: "requests not sent for want of a link",
    NotSentTimedOut: "requests not sent in time",
    NotSentRevoked: "requests not sent because of a revocation",
    NotSentShutDown: "requests not sent because of a shutdown",
    AmbiguousLost: "requests ambiguous because their link was lost",
    AmbiguousTimedOut: "requests ambiguous because no result came in time",
    AmbiguousShutDown: "requests ambiguous because of a shutdown",
    Patient: "requests that waited for another link and got their result",
    CancelUnwritten: "requests cancelled before they were written",
    CancelWritten: "requests cancelled after they were written",
    LateResult: "results that nobody waited for",
    ReadUnanswered: "requests that the connector read and whose end was ambiguous",
    // Links.
    Unreachable: "dials that reached nobody",
    DialTimedOut: "dials that took too long",
    HandshakeTimedOut: "handshakes that took too long",
    Silent: "links lost to silence",
    Pinged: "pings",
    Http: "upgrades refused with an HTTP status",
    Forbidden: "links refused by policy",
    Replaced: "links replaced by a later one",
    AtCap: "waits at the longest backoff",
    SlowPace: "waits at the slow pace",
    LadderReset: "ladders that started over",
    Reconnected: "links made anew on request",
    // Refusals.
    RefusedCold: "refusals before the first handshake",
    RefusedExpired: "refusals because a token had expired",
    Provisional: "provisional refusals",
    ProvisionalRevoked: "provisional refusals that were confirmed",
    ProvisionalReady: "provisional refusals that were not",
    ProvisionalExpired: "deciding dials that were refused with an expired token",
    Revoked: "revocations latched",
    RevokedOpenLink: "links closed because their secret was revoked",
    // Sleeping and the end.
    Idle: "going idle, acknowledged",
    IdleInFlight: "going idle with deliveries in flight",
    IdleTimedOut: "going idle, not acknowledged in time",
    IdleNoLink: "going idle without a link, or with one that went",
    Dormant: "going dormant",
    WokenFallingAsleep: "wake calls before the ack of going dormant",
    WokenWhileClosing: "wake calls while a link was closing",
    HoldExpired: "holds that lasted their 60 seconds",
    Closed: "gateways shut down in order",
    ClosedBusy: "gateways shut down with requests under way",
    NoReconnect: "gateways that ended with their link",
}

/// How often each state was reached.
#[derive(Clone, PartialEq, Eq)]
pub struct Coverage(Vec<u64>);

impl Default for Coverage {
    fn default() -> Self {
        Self(vec![0; ALL.len()])
    }
}

impl Coverage {
    /// It was reached.
    pub fn hit(&mut self, state: Hard) {
        self.0[state as usize] += 1;
    }

    /// How often it was reached.
    pub fn count(&self, state: Hard) -> u64 {
        self.0[state as usize]
    }

    /// Adds another life's.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs;
        }
    }

    /// The states that were not reached.
    pub fn missing(&self) -> Vec<&'static str> {
        ALL.iter().filter(|(state, _)| self.count(*state) == 0).map(|(_, name)| *name).collect()
    }
}

/// One state a line: how often, and its name.
impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ALL.iter().try_for_each(|(state, name)| writeln!(f, "{:>12}  {name}", self.count(*state)))
    }
}
