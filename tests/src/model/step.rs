//! What can happen to a gateway, as the machine and its [reference model](super::gateway) both understand it.

/// One step. Requests, deliveries and calls are named by their number in the order in which they came about; a number
/// that there is not names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many milliseconds pass, and nobody looks.
    Pass(u64),
    /// So many seconds pass on the wall clock alone.
    Freeze(u64),
    /// The connection has room, or has none.
    Room(bool),
    /// The host says that time has passed.
    Timeout,
    /// Time passes up to the next deadline, and the host says so.
    Deadline,
    /// The upgrade is accepted.
    Open,
    /// The link, or the dial, ends.
    End(End),
    /// Something is heard from the peer.
    Traffic,
    /// A descriptor arrives.
    Descriptor,
    /// A message arrives.
    Deliver {
        /// Its content.
        text: u8,
        /// Whether it has a platform, a chat and a message id.
        named: bool,
        /// Its place in the connector's buffer.
        buffer_id: Option<u8>,
    },
    /// A result arrives.
    Result(usize),
    /// A result of nothing arrives.
    StrayResult,
    /// A `going_idle_ack` arrives.
    IdleAck,
    /// An `interrupt_inbound` arrives.
    Stop,
    /// The application takes a delivery.
    Ack(usize),
    /// It gives one back.
    GiveBack(usize),
    /// It drops one.
    Drop(usize),
    /// It asks for something.
    Request {
        /// Whether it waits for a link.
        patient: bool,
        /// Its deadline, in seconds.
        timeout: u64,
    },
    /// It no longer waits for a request.
    Cancel(usize),
    /// It tells that it stopped a session.
    Interrupt,
    /// It goes idle, or dormant.
    GoIdle {
        /// Dormant.
        dormant: bool,
    },
    /// It parks the next dial.
    Hold,
    /// It parks it no more.
    Release,
    /// It wants a link.
    Wake,
    /// It wants another link.
    Reconnect,
    /// It shuts down.
    Close,
    /// Its host goes away.
    Abandon,
}

impl Step {
    /// Whether this is no call of the machine.
    pub fn is_of_the_host(&self) -> bool {
        matches!(self, Self::Pass(_) | Self::Freeze(_) | Self::Room(_))
    }

    /// Whether this is about a link or a dial.
    pub fn is_of_a_link(&self) -> bool {
        matches!(
            self,
            Self::Open | Self::End(_) | Self::Traffic | Self::Descriptor | Self::Deliver { .. } | Self::Result(_)
        ) || matches!(self, Self::StrayResult | Self::IdleAck | Self::Stop)
    }
}

/// How a link, or a dial, ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Without a close frame.
    Lost,
    /// There is nobody.
    Unreachable,
    /// The upgrade is refused with this status and this text.
    Http(u16, &'static str),
    /// It is closed with this code and this reason.
    Closed(u16, &'static str),
}

impl End {
    /// Whether the peer said a number.
    pub fn has_code(self) -> bool {
        matches!(self, Self::Http(..) | Self::Closed(..))
    }
}
