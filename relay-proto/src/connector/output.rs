//! What the peer tells its host and its application.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use crate::end::LinkEnd;
use crate::frame::{RawJson, Skipped};

/// One link. Never used twice by one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub(crate) u64);

impl LinkId {
    /// Its number, for logs and for other processes. Links of different gateways may have the same.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// One hello that waits for its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HelloId(pub(crate) u64);

/// One outbound that waits for its result. Not the request id on the wire: a gateway could use that one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutboundId(pub(crate) u64);

/// One entry of the buffer. Displays as its `bufferId` on the wire. Ordered as entries are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId {
    seq: u64,
    epoch: u64,
}

impl EntryId {
    /// The id with these parts, as a store kept them.
    pub fn new(epoch: u64, seq: u64) -> Self {
        Self { seq, epoch }
    }

    /// The epoch of the peer that took the entry up.
    pub fn epoch(self) -> u64 {
        self.epoch
    }

    /// Its place in the order. Of the entries in one buffer no two have the same.
    pub fn seq(self) -> u64 {
        self.seq
    }

    /// Reads exactly what [`Display`](fmt::Display) writes; anything else names no entry of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, seq) = text.split_once('-')?;
        let plain = epoch.len() == 16
            && epoch.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            && seq.bytes().all(|b| b.is_ascii_digit())
            && (seq == "0" || !seq.starts_with('0'));
        if !plain {
            return None;
        }
        Some(Self { epoch: u64::from_str_radix(epoch, 16).ok()?, seq: seq.parse().ok()? })
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.epoch, self.seq)
    }
}

/// What the host has to do. After every input, take these until there are none.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// A gateway fronts an identity: answer with [`describe`](super::Peer::describe), or with
    /// [`refuse`](super::Peer::refuse) when the host's policy does not let it (CONN-2).
    Hello {
        /// Names the hello in the answer.
        hello: HelloId,
        /// The identity.
        identity: Identity,
    },
    /// An entry is accepted: from here on it is not lost as long as the store keeps what it keeps (CONN-7).
    Accepted(EntryId),
    /// Drop this link's connection now, without waiting for anything. No answer is expected.
    Drop(LinkId),
    /// Store an entry under its [`seq`](EntryId::seq), with its [`epoch`](EntryId::epoch) and its frame. Answer with
    /// [`handle_stored`](super::Peer::handle_stored) once it is durable, or with
    /// [`handle_not_stored`](super::Peer::handle_not_stored). Never for a buffer in memory.
    Append {
        /// The entry.
        entry: EntryId,
        /// Its frame, to be given back byte for byte.
        frame: Arc<str>,
    },
    /// Delete an entry from the store. Answer with [`handle_discarded`](super::Peer::handle_discarded) once that is
    /// durable: until then the entry has its place in the window, so that a crash repeats no more than a window. What is
    /// lost in one costs a replay, which gateways recognise (ACK-4). A host that tells others about acknowledgements
    /// tells them then as well. Never for a buffer in memory.
    Discard(EntryId),
    /// Read entries from the store. Answer with [`handle_fetched`](super::Peer::handle_fetched); there is one of these
    /// at a time. Never for a buffer in memory.
    Fetch(Fetch),
    /// Something worth a line in a log.
    Notice(Notice),
}

/// A range of the store: the first `count` entries, in order, of those with `from <= seq < until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetch {
    /// The first place.
    pub from: u64,
    /// The place behind the last.
    pub until: u64,
    /// How many at most. Fewer in the answer says that the range holds no more.
    pub count: usize,
}

/// An identity that a gateway fronts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// The platform.
    pub platform: String,
    /// The bot on that platform; may be empty.
    pub bot_id: String,
    /// The commands that the platform should offer its users.
    pub command_manifest: Option<RawJson>,
}

/// What the application is told, in order.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A gateway fronts an identity, and was answered with a descriptor.
    Hello(Identity),
    /// A gateway wants something done. Answer with [`answer`](super::Peer::answer) or [`fail`](super::Peer::fail), or with
    /// the methods of the same names that a host's handle has.
    Outbound(Outbound),
    /// The agent stopped a session.
    Interrupt {
        /// The session.
        session_key: String,
        /// Why.
        reason: Option<String>,
    },
    /// A gateway took an entry, which has left the buffer.
    Acked(EntryId),
    /// An entry left the buffer without an acknowledgement: it counts as taken, by
    /// [`AckPolicy::Assumed`](super::AckPolicy::Assumed) or as one of the
    /// [forwards that nobody acknowledges](super#forwards-that-nobody-acknowledges). It will not go out again, unless
    /// the connector crashes before its store has deleted it.
    AssumedAcked(EntryId),
    /// A forward left the buffer and will not go out again: [enough links](super::Limits::forward_attempts) carried it,
    /// and none acknowledged it. Whether the gateway took it is not known.
    GivenUp(EntryId),
    /// The gateway is about to sleep: nothing more is delivered on this link (CONN-4).
    Idle,
    /// The current link is none any more. What was unacknowledged on it waits for the next.
    LinkEnded {
        /// The link.
        link: LinkId,
        /// How it ended.
        ended: Ended,
    },
}

/// A request of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outbound {
    /// Names it in the answer.
    pub id: OutboundId,
    /// The link that it came on.
    pub link: LinkId,
    /// Its id on the wire.
    pub request_id: String,
    /// What to do: an object with an `op`.
    pub action: RawJson,
    /// The platform to do it on, when the gateway named one.
    pub platform: Option<String>,
    /// The bot on that platform.
    pub bot_id: Option<String>,
}

/// How a link ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// By the gateway, or by the network.
    Remote(LinkEnd),
    /// By this side, with a close frame.
    Closed {
        /// The code.
        code: u16,
        /// The reason.
        reason: &'static str,
    },
    /// By this side, without one: why.
    Dropped(&'static str),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote(end) => end.fmt(f),
            Self::Closed { code, reason } => write!(f, "closed by this side with {code}: {reason}"),
            Self::Dropped(why) => write!(f, "dropped by this side: {why}"),
        }
    }
}

impl core::error::Error for Ended {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        if let Self::Remote(end) = self { core::error::Error::source(end) } else { None }
    }
}

/// Why a command did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// An event and a forward are JSON objects.
    #[error("not a JSON object")]
    NotAnObject,
    /// The frame is over the limit (FRAME-1).
    #[error("the frame has {size} bytes, over the limit of {limit}")]
    TooLarge {
        /// The frame's size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The buffer in memory is full.
    #[error("the buffer holds {limit} bytes, its limit, that the gateway has not acknowledged")]
    BufferFull {
        /// The limit in bytes.
        limit: usize,
    },
    /// There is no link whose hello was answered.
    #[error("the gateway is not linked")]
    NoLink,
    /// The gateway does not read what it was sent.
    #[error("the gateway does not read what it was sent")]
    Congested,
    /// What it is about has ended: its link is gone, or it was answered before.
    #[error("nothing waits for this answer")]
    NotWaiting,
    /// The peer is shut down.
    #[error("the connector is shut down")]
    ShutDown,
}

/// Something worth a line in a log. None carries message content or secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A line was skipped (FRAME-4).
    Skipped(Skipped),
    /// An acknowledgement came for an entry that is not in flight (CONN-3).
    StrayAck,
    /// A forward was taken as delivered without an acknowledgement.
    ForwardAssumedAcked(EntryId),
    /// A forward was given up after enough links had carried it.
    ForwardGivenUp(EntryId),
    /// The application did not answer an outbound in time.
    OutboundExpired(OutboundId),
    /// The second link in a row ended because the gateway sent something that is too long (FRAME-3).
    TooLong {
        /// What was too long, by the name of its limit: `line` or `message`.
        what: &'static str,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The gateway closed several links with 1009 (too large) while this entry was the largest in flight: it takes no line of
    /// this size, and nothing behind the entry is delivered (CONN-11). Told at the second such end, and whenever their number
    /// has doubled since.
    EntryTooLarge {
        /// The entry.
        entry: EntryId,
        /// The size of its frame, in bytes.
        size: usize,
        /// How many links have ended so.
        links: u32,
    },
}

impl Notice {
    /// Whether somebody has to do something about it: a line in the log that is seen by default.
    pub fn is_warning(&self) -> bool {
        matches!(self, Self::TooLong { .. } | Self::EntryTooLarge { .. })
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped(why) => write!(f, "skipped a line: {why}"),
            Self::StrayAck => f.write_str("an acknowledgement of nothing in flight"),
            Self::ForwardAssumedAcked(id) => write!(f, "forward {id} counts as taken: this gateway acknowledges none"),
            Self::ForwardGivenUp(id) => write!(f, "forward {id} was given up: no link acknowledged it"),
            Self::OutboundExpired(id) => write!(f, "outbound {} was not answered in time", id.0),
            Self::TooLong { what, limit } => write!(
                f,
                "the gateway sent a {what} over the limit of {limit} bytes twice in a row. Raise the limit: \
                 `Limits::{what}`, or `relay connector --max-line`"
            ),
            Self::EntryTooLarge { entry, size, links } => write!(
                f,
                "the gateway closed {links} links with 1009 (too large) while delivery {entry} of {size} bytes was in \
                 flight: nothing behind it is delivered. Raise the gateway's limit above that size (`relay gateway \
                 --max-line`); lower `Limits::frame` here (`relay connector --max-frame`) to have such deliveries refused"
            ),
        }
    }
}

/// The next point in time at which the peer wants [`handle_timeout`](super::Peer::handle_timeout).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// On the scale of [`Now::monotonic`](crate::time::Now::monotonic).
    pub at: Duration,
    /// What it is for.
    pub reason: Reason,
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The handshake takes too long.
    Handshake,
    /// The gateway has been silent; ping it, or give the link up.
    Keepalive,
    /// The gateway does not read.
    Stalled,
    /// An outbound has to be answered.
    Outbound,
    /// A forward was not acknowledged.
    Forward,
    /// Entries were handed to the link, and count as acknowledged. Due at once.
    AssumedAcked,
    /// The gateway does not answer a close frame.
    Close,
}

/// What has been counted since the peer was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Links opened, refused ones included.
    pub links: u64,
    /// Links that a later one replaced (CONN-5).
    pub replaced: u64,
    /// Lines received, skipped ones included.
    pub lines_received: u64,
    /// Frames sent.
    pub frames_sent: u64,
    /// Lines skipped, by [`Skipped::kind`].
    pub skipped: [u64; Skipped::KINDS],
    /// Entries accepted.
    pub accepted: u64,
    /// Entries written to a link, each time counted.
    pub delivered: u64,
    /// Of these, the ones that an earlier link had carried.
    pub redelivered: u64,
    /// Entries acknowledged.
    pub acked: u64,
    /// Entries that left the buffer as they were handed to a link ([`AckPolicy::Assumed`](super::AckPolicy::Assumed)).
    pub assumed_acked: u64,
    /// Acknowledgements of nothing in flight (CONN-3).
    pub stray_acks: u64,
    /// Forwards that left the buffer without an acknowledgement.
    pub forwards_unacknowledged: u64,
    /// Outbounds received.
    pub outbounds: u64,
    /// Of these, the ones that were answered by the peer itself, as unsuccessful.
    pub outbounds_failed: u64,
    /// Reports that were left unread for so long that the oldest were dropped.
    pub reports_dropped: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    // proves: CONN-3
    #[test]
    fn a_buffer_id_reads_back_and_nothing_else_does() {
        for id in [EntryId::new(0, 0), EntryId::new(u64::MAX, u64::MAX), EntryId::new(7, 1200)] {
            assert_eq!(EntryId::parse(&format!("{id}")), Some(id));
        }
        let ok = "00000000000000ff-12";
        assert_eq!(EntryId::parse(ok), Some(EntryId::new(255, 12)));
        for other in ["", "-", "12", "ff-12", "00000000000000FF-12", "00000000000000ff-+12", "00000000000000ff-012"] {
            assert_eq!(EntryId::parse(other), None, "{other}");
        }
        assert_eq!(EntryId::parse("00000000000000ff-99999999999999999999"), None);
        assert_eq!(EntryId::parse("00000000000000ff-"), None);
    }
}
