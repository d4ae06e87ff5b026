//! HTTP beside the upgrade: what gateways POST below `/relay/`, and what is answered.

use std::mem;
use std::net::IpAddr;

use relay_proto::connector::GatewayId;
use relay_proto::enroll::asked::{self, BadRequest, Enrollment, Request, RequestReader, read_policy, refusal};
use tokio::sync::mpsc;

use super::enrolment::{HttpEvent, NotEnrolled};
use super::hub::Hub;

/// What such a request begins with. Everything else is the wire's.
const START: &[u8] = b"POST /relay/";

/// The bytes of a connection until it is known what it is for.
pub(super) enum Front {
    /// The start of the request, as far as it is not known yet.
    Undecided(Vec<u8>),
    /// A POST.
    Post(Box<Post>),
    /// A link, or what the wire answers by itself.
    Wire,
}

#[derive(Default)]
pub(super) struct Post {
    reader: RequestReader,
    asked: Option<Result<Request, BadRequest>>,
    /// What waits for the socket.
    out: zeroize::Zeroizing<Vec<u8>>,
    sent: usize,
    /// The request has been taken: what follows is ignored.
    complete: bool,
}

impl Front {
    pub(super) fn new() -> Self {
        Self::Undecided(Vec::new())
    }

    /// Takes what the client sent; `wire` gets what is its own.
    pub(super) fn receive(&mut self, bytes: &[u8], wire: &mut impl FnMut(&[u8])) {
        if let Self::Undecided(start) = self {
            start.extend_from_slice(bytes);
            let start = match START.starts_with(start) && start.len() < START.len() {
                true => return,
                false => mem::take(start),
            };
            if !start.starts_with(START) {
                *self = Self::Wire;
                return wire(&start);
            }
            let mut post = Box::<Post>::default();
            post.receive(&start);
            *self = Self::Post(post);
            return;
        }
        match self {
            Self::Post(post) => post.receive(bytes),
            _ => wire(bytes),
        }
    }

    /// The request, once.
    pub(super) fn asked(&mut self) -> Option<Result<Request, BadRequest>> {
        match self {
            Self::Post(post) => post.asked.take(),
            _ => None,
        }
    }

    /// Answers. Nothing follows.
    pub(super) fn answer(&mut self, response: zeroize::Zeroizing<Vec<u8>>) {
        if let Self::Post(post) = self {
            (post.out, post.sent, post.complete) = (response, 0, true);
        }
    }

    /// Whether a POST is not complete.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self, Self::Post(post) if !post.complete)
    }

    /// What waits for the socket; `None` when the wire is to be asked.
    pub(super) fn transmit(&self) -> Option<&[u8]> {
        match self {
            Self::Post(post) => Some(post.out.get(post.sent..).unwrap_or(&[])),
            _ => None,
        }
    }

    /// The socket took this many bytes of it.
    pub(super) fn consume(&mut self, n: usize) {
        if let Self::Post(post) = self {
            post.sent = post.sent.saturating_add(n);
        }
    }
}

impl Post {
    fn receive(&mut self, bytes: &[u8]) {
        if self.complete {
            return;
        }
        self.asked = self.reader.read(bytes).transpose();
        self.complete = self.asked.is_some();
        if self.reader.wants_to_continue() {
            self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    }
}

/// An answer: a status, and a body that is JSON.
struct Answer(u16, zeroize::Zeroizing<String>);

fn refused(status: u16, detail: &str) -> Answer {
    Answer(status, refusal(detail).into())
}

/// Serves a request from this address. The whole response.
pub(super) async fn serve(
    hub: &Hub,
    address: IpAddr,
    asked: Result<Request, BadRequest>,
) -> zeroize::Zeroizing<Vec<u8>> {
    let answer = match asked {
        Ok(request) => route(hub, address, &request).await,
        Err(BadRequest { status, detail }) => refused(status, detail),
    };
    let Answer(status, body) = match answer.0 {
        400..=499 if !hub.may_refuse(address) => refused(429, "too many refused requests"),
        _ => answer,
    };
    asked::response(status, &body)
}

async fn route(hub: &Hub, address: IpAddr, request: &Request) -> Answer {
    match request.path() {
        "/relay/enroll" => enroll(hub, address, request).await,
        "/relay/policy" => policy(hub, request).await,
        "/relay/provision" => refused(404, "this connector provisions nobody: enrol with a token"),
        _ => refused(404, "there is nothing here"),
    }
}

async fn enroll(hub: &Hub, address: IpAddr, request: &Request) -> Answer {
    let enrolled = async {
        hub.desk.check_identity(request.bearer())?;
        let asked = match Enrollment::read(request.body()) {
            Ok(asked) => asked,
            Err(BadRequest { status, detail }) => return Ok(refused(status, detail)),
        };
        let id = asked.gateway_id;
        let redeemed = hub.desk.redeem(&asked.token, &id, hub.config.secrets.contains_key(&id))?;
        let granted = hub.desk.keep(redeemed).await?;
        tracing::info!(%address, gateway = id, "a gateway enrolled");
        hub.tell(GatewayId::unverified(id), HttpEvent::Enrolled).await;
        Ok(Answer(200, granted.to_json()))
    };
    let refused = match enrolled.await {
        Ok(answer) => return answer,
        Err(NotEnrolled::Closed) => refused(404, "this connector enrols nobody"),
        Err(NotEnrolled::Identity) => refused(401, "the identity token is missing or not known"),
        // One text for all: a stranger does not learn which tokens or gateways there are.
        Err(NotEnrolled::Token) => refused(403, "the enrolment token is not good for this gateway, or was redeemed"),
        Err(NotEnrolled::NotStored(error)) => {
            tracing::error!(%error, "a gateway could not be enrolled");
            refused(503, "the grant cannot be stored: try again later")
        }
    };
    tracing::info!(%address, status = refused.0, "an enrolment was refused");
    refused
}

async fn policy(hub: &Hub, request: &Request) -> Answer {
    let bearer = request.bearer().map(relay_proto::enroll::Credential::expose);
    let gateway = match hub.identify(bearer) {
        Ok(gateway) if !hub.desk.is_revoked(&gateway) => gateway,
        Ok(_) => return refused(401, "unauthorized"),
        Err(refusal) => return refused(401, refusal.close_reason()),
    };
    let policy = match read_policy(request.body()) {
        Ok(policy) => policy,
        Err(BadRequest { status, detail }) => return refused(status, detail),
    };
    if !hub.desk.hold(&gateway, &policy) {
        return refused(400, "there are policies for too many platforms");
    }
    hub.tell(gateway, HttpEvent::Policy(policy)).await;
    Answer(200, String::from("{\"ok\":true}").into())
}

/// Whom to tell what gateways do over HTTP.
pub(super) type Listener = mpsc::Sender<(GatewayId, HttpEvent)>;
