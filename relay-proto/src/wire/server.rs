//! The end that accepts.

use core::{fmt, mem, time::Duration};
use std::{boxed::Box, string::String, vec::Vec};

use super::{
    codec::Role,
    http::{HeadReader, MAX_HEAD},
    link::{Link, Upgrade},
    options::{LinkOptions, ServerTls},
    payload::Payload,
    post::{self, Start},
    request::{BadRequest, UpgradeRequest, parse_get},
    response::{acceptance, head_of, plain_response, rejection},
    session::{Received, Session},
};
use crate::{
    end::LinkEnd,
    enroll::server::{self, Request, RequestReader},
};

/// What happened on a [`ServerLink`].
///
/// A request whose client has gone before it is asked for is not told. Over TLS a client that ended its half of the session
/// (close_notify) has not gone: what it asked for is answered, unless that is an upgrade, which would be a link on which
/// it can say nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerEvent {
    /// A client asks for an upgrade: answer with [`accept`](ServerLink::accept) or [`refuse`](ServerLink::refuse). At
    /// most once, and first. A request that is no WebSocket upgrade never gets here: it is refused at once.
    Request(UpgradeRequest),
    /// A client asks for this path, starting with `/` and without the query, and for no upgrade, with GET or HEAD: answer
    /// with [`respond`](ServerLink::respond). At most once, first, and only with
    /// [`LinkOptions::plain_get`](super::LinkOptions::plain_get).
    Get(String),
    /// A client has posted something below `/relay/` ([`enroll`](crate::enroll)), or, as an error, something that cannot
    /// be served, and that the host may count: answer with [`respond_json`](ServerLink::respond_json). At most once,
    /// first, and only with [`LinkOptions::plain_post`](super::LinkOptions::plain_post). The request is complete, and head
    /// and body are within their bounds (ENROLL-5).
    Post(Result<Request, server::BadRequest>),
    /// A WebSocket message arrived, text or binary. Also after [`ServerLink::close`], until the peer closed too.
    Message(Payload),
    /// The latest [`probe`](ServerLink::probe) was answered. Told in its place among the messages, and once. Other pongs
    /// are not told: they answer nothing.
    Pong([u8; 8]),
    /// The link is over: exactly once, and last. What was written is still to be sent, if
    /// [`is_finished`](ServerLink::is_finished) says so.
    Ended(LinkEnd),
}

/// The end of a link that accepts: a connector's.
///
/// It exists from the moment at which the socket was accepted. See the [module](super) for how to drive it. `Debug` shows
/// no bytes of either direction.
pub struct ServerLink(Link<ServerUpgrade>);

/// Whether a GET that asks for no upgrade is the host's.
#[derive(Clone, Copy)]
struct PlainGet(bool);

enum ServerUpgrade {
    /// It may be a POST of the host's.
    Starting(Start, PlainGet),
    Posting(Box<RequestReader>),
    /// Until the host has seen it.
    Posted(Option<Box<Result<Request, server::BadRequest>>>),
    Reading(HeadReader, PlainGet),
    /// For something that is no upgrade.
    Got {
        /// Until the host has seen it.
        path: Option<String>,
        /// Asked with HEAD: the answer has no body.
        head: bool,
    },
    Asked {
        /// Until the host has seen it.
        request: Option<UpgradeRequest>,
        accept: String,
        /// What came before the answer. A client should wait for that, but some do not.
        early: Vec<u8>,
    },
    Answered,
}

impl ServerUpgrade {
    fn ask(head: &[u8], plain: PlainGet) -> Result<Self, BadRequest> {
        let get = parse_get(head)?;
        if plain.0 && !get.is_upgrade() {
            return Ok(Self::Got { path: Some(get.path().into()), head: get.is_head() });
        }
        let (request, accept) = get.upgrade()?;
        Ok(Self::Asked { request: Some(request), accept, early: Vec::new() })
    }

    /// Finds out what the connection is for.
    fn begin(&mut self, input: &mut &[u8]) {
        let Self::Starting(start, plain) = self else { return };
        let Some(is_post) = start.read(input) else { return };
        if is_post {
            *self = Self::Posting(post::reader().into());
        } else {
            let mut head = HeadReader::default();
            // Too short for anything to be wrong with it.
            let _ = head.read(&mut start.taken());
            *self = Self::Reading(head, *plain);
        }
    }

    /// The request that waits for an answer, unless the host has seen it.
    fn take_asked(&mut self) -> Option<ServerEvent> {
        match self {
            Self::Asked { request, .. } => request.take().map(ServerEvent::Request),
            Self::Got { path, .. } => path.take().map(ServerEvent::Get),
            Self::Posted(asked) => asked.take().map(|asked| ServerEvent::Post(*asked)),
            Self::Starting(..) | Self::Posting(_) | Self::Reading(..) | Self::Answered => None,
        }
    }

    fn read_post(&mut self, input: &mut &[u8], session: &mut Session) {
        let Self::Posting(reader) = self else { return };
        let asked = reader.read(mem::take(input)).transpose();
        if reader.wants_to_continue() {
            session.out.push(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        if let Some(asked) = asked {
            *self = Self::Posted(Some(asked.into()));
        }
    }
}

impl Upgrade for ServerUpgrade {
    fn receive(&mut self, input: &mut &[u8], session: &mut Session) {
        self.begin(input);
        self.read_post(input, session);
        let (mut outcome, mut is_head) = (Ok(()), false);
        if let Self::Reading(reader, plain) = self {
            let asked = match reader.read(input) {
                // A method is capitals. Anything else, a TLS handshake say, would wait for an end that never comes.
                _ if !reader.head().first().is_none_or(u8::is_ascii_uppercase) => {
                    Err(BadRequest::new(400, "the client does not speak HTTP"))
                }
                Ok(false) => return,
                Ok(true) => Self::ask(reader.head(), *plain),
                Err(detail) => Err(BadRequest::new(431, detail)),
            };
            is_head = reader.head().starts_with(b"HEAD ");
            outcome = asked.map(|asked| *self = asked);
        }
        if let Self::Got { .. } | Self::Posted(_) = self {
            // A body that nobody asked for, or a second request: this one is the last.
            *input = &[];
        }
        if let Self::Asked { early, .. } = self {
            if early.len().saturating_add(input.len()) > MAX_HEAD {
                outcome = Err(BadRequest::new(400, "the client sent too much before the upgrade was answered"));
            } else {
                early.extend_from_slice(mem::take(input));
            }
        }
        if let Err(BadRequest { status, detail }) = outcome {
            *self = Self::Answered;
            let response = rejection(status, &detail, None).1;
            let response = if is_head { head_of(response, &detail) } else { response };
            session.out.push(response.as_bytes());
            session.finish(LinkEnd::Protocol { detail });
        }
    }

    #[cfg(feature = "tls")]
    fn answers_last(&self) -> bool {
        matches!(self, Self::Got { .. } | Self::Posted(_))
    }

    fn end(&self, detail: &str) -> LinkEnd {
        LinkEnd::Lost { detail: std::format!("{detail}, before the upgrade") }
    }

    fn buffered(&self) -> usize {
        match self {
            Self::Reading(reader, _) => reader.capacity(),
            Self::Got { path, .. } => path.as_ref().map_or(0, String::capacity),
            Self::Asked { early, .. } => early.capacity(),
            Self::Posting(reader) => reader.capacity(),
            Self::Posted(asked) => {
                asked.as_ref().map_or(0, |asked| asked.as_ref().as_ref().map_or(0, Request::capacity))
            }
            Self::Starting(..) | Self::Answered => 0,
        }
    }
}

impl ServerLink {
    /// A link on a socket that was just accepted; with `tls` it starts with a TLS handshake.
    ///
    /// # Errors
    ///
    /// [`LinkEnd::Tls`] if rustls refuses the configuration.
    pub fn new(options: &LinkOptions, tls: Option<ServerTls>) -> Result<Self, LinkEnd> {
        let plain = PlainGet(options.plain_get);
        let upgrade = match options.plain_post {
            true => ServerUpgrade::Starting(Start::default(), plain),
            false => ServerUpgrade::Reading(HeadReader::default(), plain),
        };
        let link = Link::new(upgrade, Session::new(Role::Server, options));
        match tls {
            None => Ok(Self(link)),
            #[cfg(feature = "tls")]
            Some(config) => Ok(Self(link.with_tls(super::tls::TlsLayer::server(config)?))),
            #[cfg(not(feature = "tls"))]
            Some(never) => match never {},
        }
    }

    /// What happened next, if anything did. To be called until it returns `None`, after every call that changes the link.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<ServerEvent> {
        // One that cannot be answered is not told: it would be taken for a link, or use up what is good only once.
        if self.0.session.is_upgrading()
            && let Some(asked) = self.0.upgrade.take_asked()
        {
            return Some(asked);
        }
        let session = &mut self.0.session;
        let received = session.poll_received().map(|received| match received {
            Received::Message(payload) => ServerEvent::Message(payload),
            Received::Pong(payload) => ServerEvent::Pong(payload),
        });
        received.or_else(|| session.poll_end().map(ServerEvent::Ended))
    }

    /// Sends a ping with this payload, as [`ping`](Self::ping) sends one without, and
    /// [tells](ServerEvent::Pong) when it is answered: the client has then received all that was sent before.
    pub fn probe(&mut self, payload: [u8; 8]) {
        self.0.session.ping(Some(payload));
        self.0.settle();
        self.0.shrink();
    }

    /// Accepts the upgrade: from here on text can be sent. Without a request that waits for an answer, nothing happens.
    ///
    /// A client that is not let in because of its token is accepted too, and then [closed](Self::close) with 4401
    /// (CONN-1): that is what gateways understand.
    pub fn accept(&mut self) {
        let Link { upgrade, session, .. } = &mut self.0;
        if !session.is_upgrading() || !matches!(upgrade, ServerUpgrade::Asked { .. }) {
            return;
        }
        if let ServerUpgrade::Asked { accept, early, .. } = mem::replace(upgrade, ServerUpgrade::Answered) {
            session.out.push(acceptance(&accept).as_bytes());
            session.open();
            session.receive(&early, None);
        }
        self.0.settle();
    }

    /// Refuses the upgrade with an HTTP status and a short text for its body, which ends the link with
    /// [`LinkEnd::Refused`]. A status that is no refusal (below 300) is sent as 400. Without a request that waits for an
    /// answer, nothing happens.
    pub fn refuse(&mut self, status: u16, reason: &str) {
        self.refuse_with(status, reason, None);
    }

    /// The same for a reason that passes: the answer says after how long to try again (`Retry-After`, in whole seconds).
    pub fn refuse_for_now(&mut self, status: u16, reason: &str, retry_after: Duration) {
        self.refuse_with(status, reason, Some(retry_after));
    }

    fn refuse_with(&mut self, status: u16, reason: &str, retry_after: Option<Duration>) {
        let Link { upgrade, session, .. } = &mut self.0;
        if !session.is_upgrading() || !matches!(upgrade, ServerUpgrade::Asked { .. }) {
            return;
        }
        *upgrade = ServerUpgrade::Answered;
        let (status, response) = rejection(status, reason, retry_after);
        session.out.push(response.as_bytes());
        session.finish(LinkEnd::Refused { status, reason: reason.into() });
        self.0.settle();
    }

    /// Answers a [`ServerEvent::Get`] with an HTTP status and a text, which ends the link with [`LinkEnd::Refused`]: no
    /// link came of it. A status below 200 is sent as 500. Without a request that waits for this, nothing happens.
    /// The answer to a HEAD is that without the text.
    pub fn respond(&mut self, status: u16, body: &str) {
        let Link { upgrade, session, .. } = &mut self.0;
        let ServerUpgrade::Got { head, .. } = *upgrade else { return };
        if !session.is_upgrading() {
            return;
        }
        *upgrade = ServerUpgrade::Answered;
        let (status, response) = plain_response(status, body);
        let response = if head { head_of(response, body) } else { response };
        session.out.push(response.as_bytes());
        session.finish(LinkEnd::Refused { status, reason: body.into() });
        self.0.settle();
    }

    /// Answers a [`ServerEvent::Post`] with an HTTP status and a body that is JSON, which ends the link with
    /// [`LinkEnd::Refused`]: no link came of it. Its reason is empty, because the body may hold a secret. A status below
    /// 200 is sent as 500. Without a request that waits for this, nothing happens.
    pub fn respond_json(&mut self, status: u16, body: &str) {
        self.respond_json_with(status, body, None);
    }

    /// The same for a refusal whose reason passes, as in [`refuse_for_now`](Self::refuse_for_now).
    pub fn respond_json_for_now(&mut self, status: u16, body: &str, retry_after: Duration) {
        self.respond_json_with(status, body, Some(retry_after));
    }

    fn respond_json_with(&mut self, status: u16, body: &str, retry_after: Option<Duration>) {
        let Link { upgrade, session, .. } = &mut self.0;
        if !session.is_upgrading() || !matches!(upgrade, ServerUpgrade::Posted(_)) {
            return;
        }
        *upgrade = ServerUpgrade::Answered;
        let status = if (200..=999).contains(&status) { status } else { 500 };
        let response = match retry_after {
            Some(wait) => server::response_for_now(status, body, wait),
            None => server::response(status, body),
        };
        session.out.push(&response);
        session.finish(LinkEnd::Refused { status, reason: String::new() });
        self.0.settle();
    }

    /// The client took too long to ask for anything: a deadline of the host's passed. A POST that is not complete becomes
    /// a [`ServerEvent::Post`] that says so, with 408, for the host to answer. Anything else ends the link, as
    /// [`handle_read_error`](Self::handle_read_error) does.
    pub fn request_timed_out(&mut self) {
        let Link { upgrade, session, .. } = &mut self.0;
        if session.is_upgrading() && matches!(upgrade, ServerUpgrade::Posting(_)) {
            let late = server::BadRequest { status: 408, detail: "the request did not come in time" };
            *upgrade = ServerUpgrade::Posted(Some(Err(late).into()));
        } else {
            self.0.lose("no upgrade in time");
        }
    }
}

super::link::link_methods!(ServerLink);
