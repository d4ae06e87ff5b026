//! What both ends of a link share: the socket's side, TLS if there is any, and below it the upgrade and the WebSocket.

use super::session::{Each, Session};
#[cfg(feature = "tls")]
use super::tls::{TlsLayer, TlsState};
use crate::end::LinkEnd;

/// One end's part in the HTTP upgrade.
pub(super) trait Upgrade {
    /// Takes what belongs to the upgrade off the input, and moves the session on when the upgrade is through or over.
    fn receive(&mut self, input: &mut &[u8], session: &mut Session);

    /// Whether the peer has said all that it has to say, and is to be answered with something that is no link: then it
    /// need not be able to say any more.
    #[cfg(feature = "tls")]
    fn answers_last(&self) -> bool {
        false
    }

    /// The end of a link that went before the upgrade was through.
    fn end(&self, detail: &str) -> LinkEnd;

    /// Memory held on the heap, in bytes.
    fn buffered(&self) -> usize;
}

pub(super) struct Link<U> {
    pub(super) upgrade: U,
    pub(super) session: Session,
    #[cfg(feature = "tls")]
    tls: Option<std::boxed::Box<TlsLayer>>,
}

impl<U: Upgrade> Link<U> {
    pub(super) fn new(upgrade: U, session: Session) -> Self {
        Self {
            upgrade,
            session,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    #[cfg(feature = "tls")]
    pub(super) fn with_tls(mut self, tls: TlsLayer) -> Self {
        self.tls = Some(tls.into());
        self
    }

    pub(super) fn receive(&mut self, bytes: &[u8], each: Option<Each<'_>>) {
        if self.session.is_over() {
            return;
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            let mut each = each;
            let state = tls.receive(bytes, |plaintext| {
                receive_plaintext(
                    &mut self.upgrade,
                    &mut self.session,
                    plaintext,
                    each.as_mut().map(|each| &mut **each as Each<'_>),
                );
            });
            match state {
                Ok(TlsState::Open) => {}
                // It ended its half of the session, as a socket can be half closed: the answer is still to be written.
                Ok(TlsState::Closed) if self.session.is_upgrading() && self.upgrade.answers_last() => {}
                Ok(TlsState::Closed) => self.lose("the peer ended the TLS session"),
                Err(end) => self.session.finish(end),
            }
            return self.settle();
        }
        receive_plaintext(&mut self.upgrade, &mut self.session, bytes, each);
    }

    /// Nothing comes from the socket any more.
    pub(super) fn lose(&mut self, detail: &str) {
        if self.session.is_upgrading() {
            self.session.finish(self.upgrade.end(detail));
        } else {
            self.session.lose(detail);
        }
        self.settle();
    }

    /// Moves what the session wants to send through TLS. To be called after everything that lets it send.
    pub(super) fn settle(&mut self) {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            tls.send(&mut self.session.out);
            if self.session.is_over() {
                tls.close();
            }
            self.session.backlog = tls.out.len();
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    pub(super) fn transmit(&self) -> &[u8] {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.out.bytes();
        }
        self.session.out.bytes()
    }

    pub(super) fn consume(&mut self, n: usize) {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            tls.out.consume(n);
            self.session.backlog = tls.out.len();
            self.session.drained();
            return self.settle();
        }
        self.session.out.consume(n);
        self.session.drained();
    }

    pub(super) fn handle_write_error(&mut self) {
        self.session.out.mute();
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            tls.out.mute();
            self.session.backlog = 0;
        }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.session.is_over() && self.transmit().is_empty()
    }

    pub(super) fn shrink(&mut self) {
        self.session.shrink();
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            tls.out.shrink();
        }
    }

    pub(super) fn buffered(&self) -> usize {
        let plain = self.session.buffered().saturating_add(self.upgrade.buffered());
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return plain.saturating_add(tls.out.capacity());
        }
        plain
    }
}

fn receive_plaintext<U: Upgrade>(upgrade: &mut U, session: &mut Session, mut input: &[u8], each: Option<Each<'_>>) {
    if session.is_upgrading() {
        upgrade.receive(&mut input, session);
    }
    session.receive(input, each);
}

/// The methods that both ends have, written once so that they read the same on both.
macro_rules! link_methods {
    ($link:ident) => {
        impl $link {
            /// Bytes that the socket yielded, in chunks of any size: the events are the same however they are cut.
            /// Answers to pings and to the peer's close frame are in [`transmit`](Self::transmit) when this returns
            /// (LINK-3). Bytes after the end of the link are ignored.
            pub fn handle_bytes(&mut self, bytes: &[u8]) {
                self.0.receive(bytes, None);
            }

            /// The socket reached its end. Ends the link, unless a close frame did so before (LINK-2).
            pub fn handle_eof(&mut self) {
                self.0.lose("the connection ended without a close frame");
            }

            /// Nothing more will come from the socket, for a reason that the host knows: an error while reading, or a
            /// deadline that passed. Ends the link as [`handle_eof`](Self::handle_eof) does, with `detail` in the
            /// place of its own words. An HTTP refusal whose body had not come yet is still reported as one.
            pub fn handle_read_error(&mut self, detail: &str) {
                self.0.lose(detail);
            }

            /// Sends a text message. Ignored unless [`is_open`](Self::is_open).
            ///
            /// This is not limited here: what the socket does not take piles up in [`transmit`](Self::transmit), whose
            /// length says how much that is.
            pub fn send_text(&mut self, text: String) {
                self.0.session.send_text(&text);
                self.0.settle();
            }

            /// Sends a ping (LINK-3), and [gives memory back](Self::shrink), since a link that needs one is idle. Ignored
            /// unless [`is_open`](Self::is_open). The answer is not reported: that bytes came at all is what shows that
            /// the peer is alive.
            pub fn ping(&mut self) {
                self.0.session.ping(None);
                self.0.settle();
                self.0.shrink();
            }

            /// Starts to close: a close frame goes out after everything sent so far, nothing can be sent after it, and
            /// messages that the peer still sends are reported. The link ends with the peer's close frame, or with the
            /// connection; how long to wait for that is up to the host. Before the upgrade is through there is nobody to
            /// say goodbye to, and the link ends at once.
            ///
            /// A reason over 123 bytes is cut at a character. A code that must not travel (below 1000, 1004 to 1006,
            /// 1015 to 2999, from 5000) is left out, and the reason with it.
            pub fn close(&mut self, code: u16, reason: &str) {
                if self.0.session.is_upgrading() {
                    self.0.lose("closed by this end");
                }
                self.0.session.close(code, reason);
                self.0.settle();
            }

            /// What waits to be written to the socket, all of it: several messages leave with one write.
            #[must_use]
            pub fn transmit(&self) -> &[u8] {
                self.0.transmit()
            }

            /// The socket took the first `n` bytes of [`transmit`](Self::transmit); fewer than all of them is fine.
            pub fn consume(&mut self, n: usize) {
                self.0.consume(n);
            }

            /// The socket takes nothing any more. Whatever waits to be written is dropped, now and later, and the link
            /// lives on until the host has read to the socket's end: a close frame that says why may have arrived
            /// already (LINK-2).
            pub fn handle_write_error(&mut self) {
                self.0.handle_write_error();
            }

            /// Whether text can be sent: the upgrade is through, and neither end has closed.
            #[must_use]
            pub fn is_open(&self) -> bool {
                self.0.session.is_open()
            }

            /// Whether the link is over and all it had to say is written: the host closes the socket. Best by shutting
            /// down its writing half and reading to its end for a moment: closing a socket with unread input makes many
            /// systems reset the connection, and a reset can overtake the close frame.
            #[must_use]
            pub fn is_finished(&self) -> bool {
                self.0.is_finished()
            }

            /// Gives back all memory that holds nothing, at the price of an allocation or two with the next message. A
            /// link does this by itself with each ping it sends, and gives a large buffer back once a row of small
            /// messages showed that it is not needed any more; so this is for hosts that know better.
            pub fn shrink(&mut self) {
                self.0.shrink();
            }

            /// About how much memory this link holds on the heap, in bytes, without what TLS keeps for itself: buffers
            /// in both directions and events not taken yet.
            #[must_use]
            pub fn buffered(&self) -> usize {
                self.0.buffered()
            }
        }

        impl fmt::Debug for $link {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($link))
                    .field("open", &self.is_open())
                    .field("finished", &self.is_finished())
                    .field("to_transmit", &self.transmit().len())
                    .finish_non_exhaustive()
            }
        }
    };
}
pub(super) use link_methods;
