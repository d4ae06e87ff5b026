//! What can be done to a gateway, in words that machine and model share.

use relay_proto::end::LinkEnd;

/// One thing that is done to both.
#[derive(Clone, Debug)]
pub enum Step {
    /// Milliseconds pass, and every deadline on the way is kept.
    Pass(u64),
    /// Milliseconds pass while nobody looks.
    Jump(u64),
    /// The wall clock alone jumps, by seconds.
    Wall(u64),
    /// The upgrade is accepted.
    Open,
    /// A descriptor arrives.
    Descriptor,
    /// A message arrives.
    Deliver {
        /// Its `bufferId`, of few.
        buffer: Option<u8>,
        /// Its `message_id`, of few.
        message: Option<u8>,
        /// What tells it from others.
        text: u8,
    },
    /// A line that is no frame arrives.
    Junk,
    /// The result of one of all requests, counted round and round.
    Result(usize),
    /// A `going_idle_ack` arrives.
    IdleAck,
    /// An `interrupt_inbound` arrives.
    Interrupted,
    /// The link ends in one of [`ENDS`] ways.
    End(usize),
    /// The application makes a request.
    Request {
        /// Its timeout.
        seconds: u64,
        /// Whether it waits for a link.
        patient: bool,
    },
    /// One of all requests is cancelled, counted round and round.
    Cancel(usize),
    /// The gateway goes idle; dormant, if true.
    GoIdle(bool),
    /// The command of this name.
    Wake,
    /// The redial is held.
    Hold,
    /// The redial is held no more.
    Release,
    /// The command of this name.
    Reconnect,
    /// The gateway is shut down.
    Close,
    /// The application decides on one of all deliveries, counted round and round.
    Decide {
        /// The number of the delivery.
        which: usize,
        /// Taken, or given back.
        take: bool,
    },
    /// The same for one of the latest deliveries.
    Recent {
        /// How many came later.
        which: usize,
        /// Taken, or given back.
        take: bool,
    },
}

/// How many ways to end a link there are.
pub const ENDS: usize = 16;

/// One of the [`ENDS`] ways to end a link; beyond them, the last one.
pub(super) fn end(which: usize) -> LinkEnd {
    let closed = |code, reason: &str| LinkEnd::Closed { code: Some(code), reason: reason.into() };
    let refused = |status| LinkEnd::Refused { status, reason: "no".into() };
    match which {
        0 => closed(1000, ""),
        1 => closed(1000, "replaced"),
        2 => closed(1001, "going away"),
        3 => closed(1008, "no hello"),
        4 => closed(1008, "duplicate session"),
        5 => closed(4401, "unauthorized"),
        6 => closed(4401, "expired"),
        7 => closed(4403, "forbidden"),
        8 => closed(4000, ""),
        9 => refused(401),
        10 => refused(403),
        11 => refused(503),
        12 => LinkEnd::Unreachable { detail: "refused".into() },
        13 => closed(1009, ""),
        _ => LinkEnd::Lost { detail: "eof".into() },
    }
}
