//! What the machine tells its host and its application.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use super::ending::Ended;
use crate::chat::BadPrompt;
use crate::frame::{ActionResult, BufferId, Content, Descriptor, Interrupt, Skipped};
use crate::token::Token;

/// One link, or the dial that may become it. Never used twice by one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub(crate) u64);

/// One request, unique for the life of the process and across restarts (REQ-1). Displays as its id on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(crate) u128);

impl RequestId {
    /// Appends the id on the wire as a JSON string: what formatting it makes, without its price.
    pub(super) fn push_quoted(self, out: &mut String) {
        let mut text = [b'"'; 34];
        let pairs = text.get_mut(1..33).unwrap_or_default().chunks_exact_mut(2);
        for (pair, byte) in pairs.zip(self.0.to_be_bytes()) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
        }
        // Digits are ASCII.
        out.push_str(core::str::from_utf8(&text).unwrap_or_default());
    }

    /// Reads the id on the wire: exactly what it displays as.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits: &[u8; 32] = text.as_bytes().try_into().ok()?;
        digits
            .iter()
            .try_fold(0, |id, byte| {
                let digit = match byte {
                    b'0'..=b'9' => byte - b'0',
                    b'a'..=b'f' => byte - b'a' + 10,
                    _ => return None,
                };
                Some(id << 4 | u128::from(digit))
            })
            .map(Self)
    }
}

fn digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One delivery to the application. Later ones are greater.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId {
    /// Counts for ever.
    pub(crate) number: u64,
    /// Where its record is, as long as there is one of this number.
    pub(crate) place: u32,
}

impl fmt::Debug for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeliveryId").field(&self.number).finish()
    }
}

/// One call of [`go_idle`](super::Machine::go_idle) or [`go_dormant`](super::Machine::go_dormant).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdleId(pub(crate) u64);

/// What the host has to do, and what it has to pass on. After every input, take these until there are none.
///
/// `R` is what there is to do about the link: [`LinkRequest`] for the host of a [`Machine`](super::Machine), and
#[cfg_attr(feature = "wire", doc = "[`wire::IoRequest`](crate::wire::IoRequest)")]
#[cfg_attr(not(feature = "wire"), doc = "`wire::IoRequest`")]
/// for one that moves bytes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Output<R = LinkRequest> {
    /// Something to do about the link.
    Link(R),
    /// A request ended. Every request that was accepted ends exactly once (REQ-1).
    RequestEnded {
        /// The request.
        request: RequestId,
        /// How it ended.
        outcome: Outcome,
    },
    /// A call to go idle or dormant ended.
    IdleEnded {
        /// The call.
        idle: IdleId,
        /// How it ended.
        outcome: IdleOutcome,
    },
    /// Something worth a line in a log.
    Notice(Notice),
}

/// What the host of a [`Machine`](super::Machine) has to do about its link.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LinkRequest {
    /// Dial. Answer with [`handle_opened`](super::Machine::handle_opened) or
    /// [`handle_ended`](super::Machine::handle_ended). There is never another dial or link at the same time (DIAL-5).
    Dial(Dial),
    /// Drop this link's connection now, without waiting for anything; a close frame may be tried. No answer is expected.
    Drop(LinkId),
}

/// One dial.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Dial {
    /// The link that it may become.
    pub link: LinkId,
    /// The bearer token of the upgrade, minted for this dial alone (DIAL-3). `None`: no `Authorization` header.
    pub token: Option<Token>,
}

/// How a request ended (REQ-1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The connector answered.
    Result(ActionResult),
    /// It was never written to a link. Sending it again cannot do it twice.
    NotSent(NotSent),
    /// It was written, and what became of it is not known.
    Ambiguous(Ambiguous),
}

/// Why a request was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotSent {
    /// There is no ready link.
    #[error("not sent: there is no ready link")]
    NoLink,
    /// Its deadline passed before a link could take it.
    #[error("not sent: no link took it in time")]
    TimedOut,
    /// Its frame is over the limit (FRAME-1).
    #[error("not sent: the frame has {size} bytes, over the limit of {limit}")]
    TooLarge {
        /// The frame's size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The connector does not support the operation on this platform (CHAT-1).
    #[error("not sent: the connector does not support `{op}` on {platform}")]
    Unsupported {
        /// The operation.
        op: String,
        /// The platform.
        platform: String,
    },
    /// This gateway does not front the bot that the request names (REQ-4).
    #[error("not sent: this gateway does not front the bot `{bot_id}`{}", on(.platform.as_deref()))]
    NotFronted {
        /// The bot that was named.
        bot_id: String,
        /// The platform, if that was named too.
        platform: Option<String>,
    },
    /// The prompt cannot be asked as it is (CHAT-4).
    #[error("not sent: {0}")]
    BadPrompt(BadPrompt),
    /// The gateway is shut down, or shutting down.
    #[error("not sent: the gateway is shut down")]
    ShutDown,
    /// The gateway's secret was revoked.
    #[error("not sent: the gateway's credentials are revoked")]
    Revoked,
}

fn on(platform: Option<&str>) -> String {
    platform.map_or_else(String::new, |platform| alloc::format!(" on `{platform}`"))
}

/// Why it is not known what became of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Ambiguous {
    /// No result came in time.
    #[error("ambiguous: no result in time")]
    TimedOut,
    /// No result came in time, and since it was sent the connector said in an `error` frame that something went wrong
    /// (FRAME-5): with this request, or with something else.
    #[error("ambiguous: no result in time; the connector said: {said}")]
    Unanswered {
        /// What it said last.
        said: Arc<str>,
    },
    /// Its link ended first.
    #[error("ambiguous: the link ended before the result came")]
    LinkLost,
    /// The gateway was shut down first.
    #[error("ambiguous: the gateway was shut down before the result came")]
    ShutDown,
}

/// How going idle ended (IDLE-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdleOutcome {
    /// The connector has stopped delivering on this link.
    Acknowledged,
    /// No acknowledgement in time. The link stays as it is.
    TimedOut,
    /// There is no ready link, or it ended first.
    NoLink,
}

/// What the application is told, in order, except that interrupts overtake what waits before them (STOP-1).
///
/// `D` is a delivery: [`Delivered`] for the host of a [`Machine`](super::Machine), and
#[cfg_attr(feature = "client", doc = "[`client::Delivery`](crate::client::Delivery)")]
#[cfg_attr(not(feature = "client"), doc = "`client::Delivery`")]
/// for an application.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event<D = Delivered> {
    /// A link is ready (HELLO-2).
    Ready {
        /// The link's first, and therefore default, descriptor.
        descriptor: Arc<Descriptor>,
    },
    /// A message, or something else that the connector delivers: see [`Content`]. Ack or nack every delivery, even those
    /// that you ignore (ACK-6).
    Delivery(D),
    /// A user stopped a session (STOP-1).
    Interrupt(Interrupt),
    /// A link or a dial ended (LINK-2).
    Disconnected {
        /// How.
        ended: Ended,
        /// When the next dial comes; `None` when none will come by itself.
        retry_in: Option<Duration>,
    },
    /// The connector acknowledged that this gateway went idle: it delivers nothing more on this link (IDLE-1). Also when the
    /// acknowledgement came too late for the call that asked for it; a new link brings deliveries back.
    Idle,
    /// The credentials are revoked. Terminal: no dial will follow (AUTH-2).
    Revoked {
        /// How the connector said so.
        ended: Ended,
    },
    /// The gateway is shut down. Terminal (CLOSE-1).
    Closed,
}

impl<D> Event<D> {
    /// The same event with another kind of delivery.
    pub fn map_delivery<E>(self, change: impl FnOnce(D) -> E) -> Event<E> {
        match self {
            Self::Delivery(delivery) => Event::Delivery(change(delivery)),
            Self::Ready { descriptor } => Event::Ready { descriptor },
            Self::Interrupt(interrupt) => Event::Interrupt(interrupt),
            Self::Disconnected { ended, retry_in } => Event::Disconnected { ended, retry_in },
            Self::Idle => Event::Idle,
            Self::Revoked { ended } => Event::Revoked { ended },
            Self::Closed => Event::Closed,
        }
    }
}

/// A delivery: its content, and what is needed to acknowledge it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Delivered {
    /// Names the delivery in [`ack`](super::Machine::ack) and [`nack`](super::Machine::nack).
    pub id: DeliveryId,
    /// The id in the connector's buffer. `None`: the connector expects no acknowledgement.
    pub buffer_id: Option<BufferId>,
    /// What it carries.
    pub content: Content,
}

/// Something worth a line in a log. None carries message content or secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A line was skipped (FRAME-4).
    Skipped(Skipped),
    /// The connector says in an `error` frame that something went wrong (FRAME-5). The words are cut, and safe to show.
    PeerError(String),
    /// A link or a dial ended, as [`Event::Disconnected`] tells the application.
    Disconnected {
        /// How.
        ended: Ended,
        /// Whether the link had been ready. Otherwise the dial failed.
        was_ready: bool,
        /// When the next dial comes; `None` when none will come by itself.
        retry_in: Option<Duration>,
    },
    /// Other processes have taken this gateway's place for the third time in a row (LINK-2).
    TakingTurns,
    /// The second link in a row ended because the connector sent something that is too long (FRAME-3). It is likely to send it
    /// again on each link.
    TooLong {
        /// What was too long, by the name of its limit: `line` or `message`.
        what: &'static str,
        /// The limit, in bytes.
        limit: usize,
    },
    /// A request names none of the several bots that this gateway fronts on a platform, and nothing says which of them is
    /// meant: the connector chooses (CHAT-8).
    NoBot {
        /// The platform.
        platform: String,
    },
    /// A result came for a request that is not waiting: unknown, late or repeated (REQ-3).
    UnmatchedResult,
    /// A `going_idle_ack` came that nobody asked for (IDLE-1).
    UnaskedIdleAck,
    /// A replay was recognised and not shown again (ACK-4).
    ReplaySuppressed(BufferId),
    /// The application dropped a delivery without a word, and with it holds up every acknowledgement behind it until the next
    /// link (ACK-2, ACK-6).
    Dropped,
    /// A refusal may be due to a token that expired on its way; one more dial decides (AUTH-3).
    RefusalProvisional,
    /// The machine was suspended, or its clock set forward: the link is checked, or the next dial brought forward
    /// (CLOCK-2).
    Resumed {
        /// For how long, to the second.
        slept: Duration,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped(why) => write!(f, "skipped a line: {why}"),
            Self::PeerError(words) => write!(f, "the connector says: {words}"),
            Self::Disconnected { ended, was_ready: false, .. } => write!(f, "the dial failed: {ended}"),
            Self::Disconnected { ended, .. } => write!(f, "the link ended: {ended}"),
            Self::TakingTurns => f.write_str(
                "this gateway was replaced three times in a row: another process uses the same gateway id, and the two \
                 take turns. Stop one of them, or enrol it under an id of its own",
            ),
            Self::TooLong { what, limit } => write!(
                f,
                "the connector sent a {what} over the limit of {limit} bytes twice in a row, and is likely to send it again \
                 on each link. Raise the limit: `Limits::{what}`, or `relay gateway --max-line`"
            ),
            Self::NoBot { platform } => write!(
                f,
                "a request names no bot, and this gateway fronts several on {platform}: the connector chooses one. Name \
                 the bot with `bot_id`"
            ),
            Self::UnmatchedResult => f.write_str("a result for no waiting request"),
            Self::UnaskedIdleAck => f.write_str("a going_idle_ack that nobody asked for"),
            Self::ReplaySuppressed(id) => write!(f, "a replay of {id} was not shown again"),
            Self::Dropped => f.write_str(
                "a delivery was dropped unacknowledged: until the next link nothing behind it is acknowledged either",
            ),
            Self::RefusalProvisional => f.write_str("the credentials were refused; one more dial decides"),
            Self::Resumed { slept } => write!(f, "the machine was suspended for {} s", slept.as_secs()),
        }
    }
}

/// Where a gateway is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// No link. A dial may follow.
    Disconnected,
    /// Asleep on purpose, with the right to dial (IDLE-2).
    Dormant,
    /// A dial is under way.
    Dialing,
    /// The upgrade was accepted; no descriptor yet.
    Handshaking,
    /// There is a ready link.
    Ready,
    /// The link is being closed by this side.
    Closing,
    /// Terminal: the credentials are revoked.
    Revoked,
    /// Terminal: shut down.
    Closed,
}

impl State {
    /// Whether no link will ever follow.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Revoked | Self::Closed)
    }
}

/// The next point in time at which the machine wants [`handle_timeout`](super::Machine::handle_timeout).
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
    /// The next dial is due.
    Redial,
    /// The dial takes too long.
    Dial,
    /// The next of the connector's addresses is tried beside those that have not answered yet.
    NextAddress,
    /// The handshake takes too long.
    Handshake,
    /// The peer has been silent; ping it, or give the link up.
    Keepalive,
    /// The peer reads nothing; give the link up.
    Stalled,
    /// A request's own deadline.
    Request,
    /// Going idle takes too long.
    Idle,
    /// The peer does not answer a close frame.
    Close,
    /// A step of shutting down takes too long.
    Shutdown,
}

/// What has been counted since the machine was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Dials begun.
    pub dials: u64,
    /// Links that became ready.
    pub links: u64,
    /// Lines received, skipped ones included.
    pub lines_received: u64,
    /// Frames sent.
    pub frames_sent: u64,
    /// Lines skipped, by [`Skipped::kind`].
    pub skipped: [u64; Skipped::KINDS],
    /// Deliveries shown to the application.
    pub deliveries: u64,
    /// Replays recognised and not shown again (ACK-4).
    pub replays_suppressed: u64,
    /// Acknowledgements sent.
    pub acks_sent: u64,
    /// Deliveries given back.
    pub nacked: u64,
    /// Deliveries dropped without a word, which counts as given back (ACK-6).
    pub dropped: u64,
    /// Results for no waiting request (REQ-3).
    pub unmatched_results: u64,
    /// `going_idle_ack` frames that nobody asked for (IDLE-1).
    pub unasked_idle_acks: u64,
    /// Reports of links and dials that were left unread for so long that the oldest were dropped.
    pub reports_dropped: u64,
}

impl Stats {
    /// Lines skipped, for all reasons together.
    pub fn skipped_total(&self) -> u64 {
        self.skipped.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::{String, ToString as _};

    // proves: REQ-1
    #[test]
    fn a_request_id_reads_back_from_what_it_shows() {
        for id in [0, 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210, u128::MAX].map(RequestId) {
            let mut quoted = String::new();
            id.push_quoted(&mut quoted);
            assert_eq!((quoted, format!("{id:?}")), (format!("\"{id}\""), id.to_string()));
            assert_eq!(RequestId::parse(&id.to_string()), Some(id));
        }
        assert_eq!(RequestId(0x9a).to_string(), format!("{}9a", "0".repeat(30)));
    }

    #[test]
    fn what_is_noticed_is_told_in_words() {
        let shown = [
            (Notice::UnmatchedResult, "no waiting request"),
            (Notice::UnaskedIdleAck, "nobody asked"),
            (Notice::ReplaySuppressed(BufferId::from("b-7")), "b-7"),
            (Notice::RefusalProvisional, "one more dial"),
            (Notice::Resumed { slept: Duration::from_secs(12) }, "12 s"),
            (Notice::Dropped, "until the next link"),
            (Notice::TakingTurns, "same gateway id"),
            (Notice::TooLong { what: "line", limit: 9 }, "over the limit of 9 bytes twice in a row"),
            (Notice::NoBot { platform: "slack".into() }, "several on slack"),
            (Notice::PeerError("no such bot".into()), "no such bot"),
        ];
        for (notice, words) in shown {
            assert!(notice.to_string().contains(words), "{notice}");
        }
        assert_eq!(format!("{:?}", DeliveryId { number: 7, place: 3 }), "DeliveryId(7)");
    }
}
