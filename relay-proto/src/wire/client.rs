//! The end that dials.

use core::fmt;
use std::boxed::Box;
use std::string::String;
use std::vec::Vec;

use super::{
    codec::Role,
    link::{Link, Upgrade},
    options::{ClientTls, LinkOptions},
    payload::Payload,
    request::write_request,
    response::ResponseReader,
    session::{Received, Session},
};
use crate::{
    end::{LinkEnd, TlsProblem},
    target::Target,
};

/// What happened on a [`ClientLink`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkEvent {
    /// The upgrade was accepted: from here on text can be sent. At most once, and before every message.
    Opened,
    /// A WebSocket message arrived, text or binary. Also after [`ClientLink::close`], until the peer closed too.
    Message(Payload),
    /// The link is over: exactly once, and last. What was written is still to be sent, if
    /// [`is_finished`](ClientLink::is_finished) says so.
    Ended(LinkEnd),
}

/// The end of a link that dials: a gateway's.
///
/// It exists from the moment at which the socket is connected: TLS comes first for a `wss` target, then the upgrade, then
/// the WebSocket. See the [module](super) for how to drive it. `Debug` shows no bytes of either direction.
pub struct ClientLink(Link<ClientUpgrade>);

struct ClientUpgrade {
    /// `None` once the upgrade is through.
    response: Option<Box<ResponseReader>>,
    opened: bool,
}

impl Upgrade for ClientUpgrade {
    fn receive(&mut self, input: &mut &[u8], session: &mut Session) {
        let Some(response) = &mut self.response else { return };
        match response.read(input) {
            Ok(false) => {}
            Ok(true) => {
                self.response = None;
                self.opened = true;
                session.open();
            }
            Err(end) => session.finish(end),
        }
    }

    fn end(&self, detail: &str) -> LinkEnd {
        match &self.response {
            Some(response) => response.end(detail),
            None => LinkEnd::Lost { detail: detail.into() },
        }
    }

    fn buffered(&self) -> usize {
        self.response.as_ref().map_or(0, |response| response.capacity())
    }
}

impl ClientLink {
    /// A link to `target`, whose first bytes wait in [`transmit`](Self::transmit).
    ///
    /// `authorization` is the bearer token, without the word `Bearer` (DIAL-2). `tls` is needed for a `wss` target
    /// (`default_tls_config` and `ClientTlsBuilder` make one) and ignored for a `ws` target; the name in the certificate is the target's host.
    /// Whether a token may travel over plain `ws` is decided before this is called (DIAL-4).
    ///
    /// # Errors
    ///
    /// Nothing was sent then. [`LinkEnd::Tls`] for a `wss` target without a configuration, with a host that no certificate
    /// can name, or with a configuration that rustls refuses. [`LinkEnd::Unreachable`] if the target or the token cannot
    /// be written into an HTTP request, such as a token with a line break; the detail never holds the token.
    pub fn new(
        target: &Target,
        authorization: Option<&str>,
        options: &LinkOptions,
        tls: Option<ClientTls>,
    ) -> Result<Self, LinkEnd> {
        let (request, accept) =
            write_request(target, authorization).map_err(|detail| LinkEnd::Unreachable { detail })?;
        let upgrade = ClientUpgrade { response: Some(Box::new(ResponseReader::new(accept))), opened: false };
        let mut link = Link::new(upgrade, Session::new(Role::Client, options));
        match (target.is_tls(), tls) {
            (false, _) => {}
            #[cfg(feature = "tls")]
            (true, Some(config)) => link = link.with_tls(super::tls::TlsLayer::client(config, target.host())?),
            (true, _) => {
                return Err(LinkEnd::Tls {
                    problem: TlsProblem::Configuration,
                    detail: "a wss address needs a TLS configuration".into(),
                });
            }
        }
        link.session.out.push(request.as_bytes());
        link.settle();
        Ok(Self(link))
    }

    /// As [`handle_bytes`](Self::handle_bytes), but hands messages over at once, where nothing else is left to be told before them.
    pub(super) fn receive_with(&mut self, bytes: &[u8], each: &mut dyn FnMut(&[u8])) {
        let is_told = self.is_open() && !self.0.upgrade.opened;
        self.0.receive(bytes, is_told.then_some(each));
    }

    /// As [`send_text`](Self::send_text).
    pub(super) fn send(&mut self, text: &str) {
        self.0.session.send_text(text);
        self.0.settle();
    }

    /// What goes out before the connection is closed. Without an upgrade that is through there is nothing to say; what is
    /// still to be sent then has the token in it (TOKEN-3), which inside TLS nobody reads.
    pub(super) fn final_bytes(&self) -> Vec<u8> {
        if self.0.upgrade.response.is_some() && !self.0.is_tls() { Vec::new() } else { self.0.transmit().to_vec() }
    }

    /// What happened next, if anything did. To be called until it returns `None`, after every call that changes the link.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<LinkEvent> {
        if core::mem::take(&mut self.0.upgrade.opened) {
            return Some(LinkEvent::Opened);
        }
        let session = &mut self.0.session;
        while let Some(received) = session.poll_received() {
            if let Received::Message(payload) = received {
                return Some(LinkEvent::Message(payload));
            }
        }
        session.poll_end().map(LinkEvent::Ended)
    }
}

super::link::link_methods!(ClientLink);
