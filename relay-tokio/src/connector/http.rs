//! HTTP beside the upgrade: what gateways POST below `/relay/`, and what is answered.

use std::net::IpAddr;

use relay_proto::connector::GatewayId;
use relay_proto::enroll::asked::{BadRequest, Enrollment, Request, read_policy, refusal};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::enrolment::{HttpEvent, NotEnrolled};
use super::hub::Hub;
use super::strangers::Stranger;

/// An answer: a status, and a body that is JSON.
pub(super) struct Answer(pub(super) u16, pub(super) Zeroizing<String>);

fn refused(status: u16, detail: &str) -> Answer {
    Answer(status, refusal(detail).into())
}

/// Serves a request from this address. `None` when the connection had to go while it waited.
pub(super) async fn serve(
    hub: &Hub,
    address: IpAddr,
    stranger: Option<&Stranger>,
    asked: Result<Request, BadRequest>,
) -> Option<Answer> {
    let (path, answer) = match &asked {
        Ok(request) => (request.path(), route(hub, address, stranger, request).await?),
        Err(BadRequest { status, detail }) => ("", refused(*status, detail)),
    };
    hub.refusals.tell_post(address, path, answer.0, hub.now().monotonic);
    Some(match answer.0 {
        400..=499 if !hub.may_refuse(address) => refused(429, "too many refused requests"),
        _ => answer,
    })
}

async fn route(hub: &Hub, address: IpAddr, stranger: Option<&Stranger>, request: &Request) -> Option<Answer> {
    Some(match request.path() {
        "/relay/enroll" => return enroll(hub, address, stranger, request).await,
        "/relay/policy" => return policy(hub, stranger, request).await,
        "/relay/provision" => refused(404, "this connector provisions nobody: enrol with a token"),
        _ => refused(404, "there is nothing here"),
    })
}

async fn enroll(hub: &Hub, address: IpAddr, stranger: Option<&Stranger>, request: &Request) -> Option<Answer> {
    let enrolled = async {
        hub.desk.check_identity(request.bearer())?;
        let asked = match Enrollment::read(request.body()) {
            Ok(asked) => asked,
            Err(BadRequest { status, detail }) => return Ok(Some(refused(status, detail))),
        };
        let id = asked.gateway_id;
        // Before the token is: who has to go then has lost nothing.
        let Some(place) = hub.place(stranger).await else { return Ok(None) };
        let redeemed = hub.desk.redeem(&asked.token, &id, hub.knows(&id))?;
        let granted = hub.desk.keep(redeemed).await?;
        tracing::info!(%address, gateway = id, "a gateway enrolled");
        place.tell(GatewayId::unverified(id), HttpEvent::Enrolled);
        Ok(Some(Answer(200, granted.to_json())))
    };
    Some(match enrolled.await {
        Ok(answer) => return answer,
        Err(NotEnrolled::Closed) => refused(404, "this connector enrols nobody"),
        Err(NotEnrolled::Identity) => refused(401, "the identity token is missing or not known"),
        // One text for all: a stranger does not learn which tokens or gateways there are.
        Err(NotEnrolled::Token) => refused(403, "the enrolment token is not good for this gateway, or was redeemed"),
        Err(NotEnrolled::NotStored(error)) => {
            tracing::error!(%error, "a gateway could not be enrolled");
            refused(503, "the grant cannot be stored: try again later")
        }
    })
}

async fn policy(hub: &Hub, stranger: Option<&Stranger>, request: &Request) -> Option<Answer> {
    let bearer = request.bearer().map(relay_proto::enroll::Credential::expose);
    let gateway = match hub.identify(bearer) {
        Ok(gateway) if !hub.desk.is_revoked(&gateway) => gateway,
        Ok(_) => return Some(refused(401, "unauthorized")),
        Err(refusal) => return Some(refused(401, refusal.close_reason())),
    };
    let policy = match read_policy(request.body()) {
        Ok(policy) => policy,
        Err(BadRequest { status, detail }) => return Some(refused(status, detail)),
    };
    if !hub.desk.hold(&gateway, &policy) {
        return Some(refused(400, "there are policies for too many platforms"));
    }
    // It is held. Who has to go now tells it again.
    hub.place(stranger).await?.tell(gateway, HttpEvent::Policy(policy));
    Some(Answer(200, String::from("{\"ok\":true}").into()))
}

/// Whom to tell what gateways do over HTTP.
pub(super) type Listener = mpsc::Sender<(GatewayId, HttpEvent)>;
