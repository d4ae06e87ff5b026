//! HTTP beside the upgrade: what gateways POST below `/relay/`, and what is answered.

use std::net::IpAddr;
use std::time::Duration;

use relay_proto::connector::GatewayId;
use relay_proto::enroll::server::{BadRequest, Enrollment, Request, read_policy, refusal};
use zeroize::Zeroizing;

use super::admission::NotAdmitted;
use super::enrolment::{HttpEvent, NotEnrolled};
use super::pending_connections::PendingConnection;
use super::server::Server;

/// After how long to try again what a store refused.
const STORE_AGAIN: Duration = Duration::from_secs(5);

/// The answer to web pages while no token is required (CONN-10).
pub(super) const WEB_PAGE: &str = "this connector asks for no credentials, and so refuses web pages (Origin): a gateway sends \
                                   none; to let pages in, give the gateways secrets";
/// Where policies are told.
const POLICY: &str = "/relay/policy";

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    /// JSON.
    pub(super) body: Zeroizing<String>,
    /// After how long to try again, for a refusal whose reason passes.
    pub(super) retry_after: Option<Duration>,
}

fn good(body: impl Into<Zeroizing<String>>) -> Answer {
    Answer { status: 200, body: body.into(), retry_after: None }
}

fn refused(status: u16, detail: &str) -> Answer {
    Answer { status, body: refusal(detail).into(), retry_after: None }
}

fn refused_for_now(status: u16, detail: &str, wait: Duration) -> Answer {
    Answer { retry_after: Some(wait), ..refused(status, detail) }
}

fn too_many(wait: Duration) -> Answer {
    refused_for_now(429, "too many refused requests", wait)
}

/// Serves a request from this address. `None` when the connection had to go while it waited.
pub(super) async fn serve(
    server: &Server,
    address: IpAddr,
    pending: Option<&PendingConnection>,
    asked: Result<Request, BadRequest>,
) -> Option<Answer> {
    let path = asked.as_ref().map_or("", Request::path);
    let answer = match &asked {
        Ok(request) if request.is_from_web_page() && !server.admission.authenticates() => refused(403, WEB_PAGE),
        // It has a token like that of an upgrade, and is counted like one.
        Ok(request) if path == POLICY => policy(server, address, pending, request).await?,
        // Before anything is verified (CONN-8).
        asked => match (server.admission.has_to_wait(address, server.now()), asked) {
            (Some(wait), _) => too_many(wait),
            (None, asked) => {
                let answer = match asked {
                    Ok(request) => route(server, address, pending, request).await?,
                    Err(BadRequest { status, detail }) => refused(*status, detail),
                };
                if (400..=499).contains(&answer.status) {
                    server.admission.count_failure(address, server.now());
                }
                answer
            }
        },
    };
    server.admission.refusals.tell_post(address, path, answer.status, server.now().monotonic);
    Some(answer)
}

async fn route(
    server: &Server,
    address: IpAddr,
    pending: Option<&PendingConnection>,
    request: &Request,
) -> Option<Answer> {
    Some(match request.path() {
        "/relay/enroll" => return enroll(server, address, pending, request).await,
        "/relay/provision" => refused(404, "this connector provisions nobody: enrol with a token"),
        _ => refused(404, "there is nothing here"),
    })
}

async fn enroll(
    server: &Server,
    address: IpAddr,
    pending: Option<&PendingConnection>,
    request: &Request,
) -> Option<Answer> {
    let enrolled = async {
        server.admission.enroller.check_identity(request.bearer())?;
        let asked = match Enrollment::read(request.body()) {
            Ok(asked) => asked,
            Err(BadRequest { status, detail }) => return Ok(Some(refused(status, detail))),
        };
        let id = asked.gateway_id;
        // Before the token is: who has to go then has lost nothing.
        let Some(permit) = server.event_permit(pending).await else { return Ok(None) };
        let redeemed = server.admission.enroller.redeem(&asked.token, &id, server.knows(&id))?;
        let granted = server.admission.enroller.keep(redeemed).await?;
        tracing::info!(%address, gateway = id, "a gateway enrolled");
        permit.tell(GatewayId::unverified(id), HttpEvent::Enrolled);
        Ok(Some(good(granted.to_json())))
    };
    Some(match enrolled.await {
        Ok(answer) => return answer,
        Err(NotEnrolled::Closed) => refused(404, "this connector enrols nobody"),
        Err(NotEnrolled::Identity) => refused(401, "the identity token is missing or not known"),
        // One text for all: a stranger does not learn which tokens or gateways there are.
        Err(NotEnrolled::Token) => refused(403, "the enrolment token is not good for this gateway, or was redeemed"),
        Err(NotEnrolled::NotStored(error)) => {
            tracing::error!(%error, "a gateway could not be enrolled");
            refused_for_now(503, "the grant cannot be stored: try again later", STORE_AGAIN)
        }
    })
}

async fn policy(
    server: &Server,
    address: IpAddr,
    pending: Option<&PendingConnection>,
    request: &Request,
) -> Option<Answer> {
    let bearer = request.bearer().map(relay_proto::enroll::Credential::expose);
    let gateway = match server.admission.admit(address, bearer, server.now()) {
        Ok(gateway) => gateway,
        Err(NotAdmitted::Later(wait)) => return Some(too_many(wait)),
        Err(NotAdmitted::Refused { refusal, .. }) => return Some(refused(401, refusal.close_reason())),
    };
    let policy = match read_policy(request.body()) {
        Ok(policy) => policy,
        Err(BadRequest { status, detail }) => return Some(refused(status, detail)),
    };
    if !server.admission.enroller.hold(&gateway, &policy) {
        return Some(refused(400, "there are policies for too many platforms"));
    }
    // It is held. Who has to go now tells it again.
    server.event_permit(pending).await?.tell(gateway, HttpEvent::Policy(policy));
    Some(good(String::from("{\"ok\":true}")))
}
