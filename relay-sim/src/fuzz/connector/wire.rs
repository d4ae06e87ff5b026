//! One connection of a gateway: the end that accepts, and the far end, which reads what was written.

use std::collections::VecDeque;

use relay_proto::connector::{EntryId, LinkId};
use relay_proto::end::LinkEnd;
use relay_proto::target::Target;
use relay_proto::wire::{ClientLink, LinkEvent, LinkOptions, ServerEvent, ServerLink};

/// The longest message that is received, and the longest frame that is sent.
pub(super) const MESSAGE: usize = 2048;
/// Bytes that wait to be written, from which on nothing is put on the wire.
pub(super) const ROOM: usize = 4096;

pub(super) struct Wire {
    pub(super) link: LinkId,
    pub(super) near: ServerLink,
    far: ClientLink,
    /// Bytes from the gateway that were not read yet.
    pub(super) unread: VecDeque<u8>,
    /// Frames that were put on the wire and have not come out at the far end.
    sent: VecDeque<String>,
    /// Writing failed.
    pub(super) broken: bool,
    /// Deliveries that came out of the peer for this link.
    pub(super) carried: Vec<EntryId>,
    /// Outbounds that came in, less the results that went out.
    pub(super) owed: i64,
    pub(super) idle: bool,
    pub(super) closed: bool,
}

impl Wire {
    /// The two ends of an accepted upgrade.
    pub(super) fn upgraded() -> (ServerLink, ClientLink) {
        let target = Target::parse("ws://connector.example").unwrap();
        let mut far = ClientLink::new(&target, None, &LinkOptions::default(), None).unwrap();
        let mut options = LinkOptions::default();
        (options.max_message, options.max_frame) = (MESSAGE, MESSAGE);
        let mut near = ServerLink::new(&options, None).unwrap();
        near.handle_bytes(far.transmit());
        far.consume(usize::MAX);
        assert!(matches!(near.poll_event(), Some(ServerEvent::Request(_))));
        near.accept();
        far.handle_bytes(near.transmit());
        near.consume(usize::MAX);
        assert_eq!(far.poll_event(), Some(LinkEvent::Opened));
        (near, far)
    }

    pub(super) fn new(link: LinkId, near: ServerLink, far: ClientLink) -> Self {
        Self {
            link,
            near,
            far,
            unread: VecDeque::new(),
            sent: VecDeque::new(),
            broken: false,
            carried: Vec::new(),
            owed: 0,
            idle: false,
            closed: false,
        }
    }

    pub(super) fn send(&mut self, frame: String) {
        // A link that the gateway has closed sends nothing any more.
        if self.near.is_open() && !self.broken {
            self.sent.push_back(frame.clone());
        }
        self.near.send_text(frame);
        assert!(self.near.transmit().len() <= ROOM + 2 * MESSAGE + (16 << 10));
    }

    /// The socket takes up to so many bytes, and the far end reads them.
    pub(super) fn write(&mut self, n: usize) {
        let bytes: Vec<u8> = self.near.transmit().iter().copied().take(n).collect();
        self.near.consume(bytes.len());
        self.far.handle_bytes(&bytes);
        while let Some(event) = self.far.poll_event() {
            match event {
                LinkEvent::Message(message) => {
                    let sent = self.sent.pop_front().expect("somebody sent it");
                    assert_eq!(sent.as_bytes(), &*message, "a frame is a message");
                }
                LinkEvent::Ended(LinkEnd::Closed { .. }) => {}
                other => panic!("the connector broke the protocol: {other:?}"),
            }
        }
    }

    /// The far end's answers to pings and to a close frame.
    pub(super) fn answers(&mut self) {
        self.unread.extend(self.far.transmit());
        self.far.consume(usize::MAX);
    }
}
