//! What the program is told, as lines of JSON.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use relay_connector::{Ended, EntryId, Identity, Outbound, Policy, Refused};
use relay_proto::end::LinkEnd;

use crate::json::Object;

fn event(name: &str) -> Object {
    Object::new().text("event", name)
}

fn of(name: &str, gateway: &str) -> Object {
    event(name).text("gateway", gateway)
}

// ── the connector ────────────────────────────────────────────────────────

/// `asked`: what it was told to listen on, `HOST:PORT`.
pub(super) fn listening(asked: &str, address: SocketAddr, tls: bool) -> String {
    let local = match address.ip() {
        // Nobody can dial these two.
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    let scheme = if tls { "wss" } else { "ws" };
    let authority = match asked.rsplit_once(':') {
        // A name stays one: it is what a certificate is for.
        Some((name, _)) if asked.parse::<SocketAddr>().is_err() => format!("{name}:{}", address.port()),
        _ => SocketAddr::new(local, address.port()).to_string(),
    };
    let url = format!("{scheme}://{authority}/relay");
    event("listening").text("addr", &address.to_string()).text("url", &url).end()
}

pub(super) fn closed() -> String {
    event("closed").end()
}

// ── links ────────────────────────────────────────────────────────────────

pub(super) fn hello(gateway: &str, identity: &Identity) -> String {
    let object = of("hello", gateway).text("platform", &identity.platform).text("bot_id", &identity.bot_id);
    match &identity.command_manifest {
        Some(manifest) => object.peer_json("command_manifest", manifest.as_str()).end(),
        None => object.json("command_manifest", "null").end(),
    }
}

pub(super) fn outbound(gateway: &str, outbound: &Outbound) -> String {
    of("outbound", gateway)
        .text("request_id", &outbound.request_id)
        .number("link", Some(outbound.link.number()))
        .peer_json("action", outbound.action.as_str())
        .optional("platform", outbound.platform.as_deref())
        .optional("bot_id", outbound.bot_id.as_deref())
        .end()
}

pub(super) fn interrupt(gateway: &str, session_key: &str, reason: Option<&str>) -> String {
    of("interrupt", gateway).text("session_key", session_key).optional("reason", reason).end()
}

pub(super) fn ack(gateway: &str, entry: EntryId) -> String {
    of("ack", gateway).text("buffer_id", &entry.to_string()).end()
}

pub(super) fn assumed_acked(gateway: &str, entry: EntryId) -> String {
    of("presumed", gateway).text("buffer_id", &entry.to_string()).end()
}

pub(super) fn given_up(gateway: &str, entry: EntryId) -> String {
    of("given_up", gateway).text("buffer_id", &entry.to_string()).end()
}

pub(super) fn idle(gateway: &str) -> String {
    of("idle", gateway).end()
}

pub(super) fn link_closed(gateway: &str, ended: &Ended) -> String {
    let too_large;
    let (cause, code, reason) = match ended {
        Ended::Closed { code, reason } => ("connector", Some(*code), *reason),
        Ended::Dropped(why) => ("dropped", None, *why),
        Ended::Remote(LinkEnd::Closed { code, reason }) => ("gateway", *code, reason.as_str()),
        Ended::Remote(LinkEnd::Protocol { detail }) => ("protocol", None, detail.as_str()),
        Ended::Remote(LinkEnd::MessageTooLarge { limit }) => {
            too_large = format!("a message over the limit of {limit} bytes");
            ("too_large", None, too_large.as_str())
        }
        Ended::Remote(LinkEnd::Lost { detail } | LinkEnd::Tls { detail, .. }) => ("lost", None, detail.as_str()),
        _ => ("lost", None, ""),
    };
    of("link_closed", gateway).text("cause", cause).number("code", code.map(u64::from)).text("reason", reason).end()
}

// ── HTTP ─────────────────────────────────────────────────────────────────

pub(super) fn enrolled(gateway: &str) -> String {
    of("enrolled", gateway).end()
}

pub(super) fn policy(gateway: &str, policy: &Policy) -> String {
    of("policy", gateway).json("policy", &policy.to_json()).end()
}

// ── answers ──────────────────────────────────────────────────────────────

pub(super) fn accepted(gateway: &str, entry: EntryId, id: Option<&str>) -> String {
    with_id(of("accepted", gateway).text("buffer_id", &entry.to_string()), id)
}

pub(super) fn done(id: &str) -> String {
    with_id(event("done"), Some(id))
}

/// A line of the input that made no sense.
pub(super) fn error(line: u64, id: Option<&str>, problem: &str) -> String {
    with_id(event("error").text("error", problem).number("line", Some(line)), id)
}

/// A line of the input that made sense, and could not be carried out.
pub(super) fn refused(line: u64, id: Option<&str>, why: &Refused) -> String {
    let object = event("error").text("error", &why.to_string()).text("cause", refused_cause(*why));
    with_id(object.number("line", Some(line)), id)
}

/// The help has these words, which a test compares.
fn refused_cause(why: Refused) -> &'static str {
    match why {
        Refused::NotAnObject => "not_an_object",
        Refused::TooLarge { .. } => "too_large",
        Refused::BufferFull { .. } => "buffer_full",
        Refused::NoLink => "no_link",
        Refused::Congested => "congested",
        Refused::NotWaiting => "not_waiting",
        Refused::ShutDown => "shut_down",
        _ => "other",
    }
}

/// A delivery that the store did not take.
pub(super) fn not_stored(line: u64, id: Option<&str>, problem: &str) -> String {
    with_id(event("error").text("error", problem).text("cause", "not_stored").number("line", Some(line)), id)
}

fn with_id(object: Object, id: Option<&str>) -> String {
    match id {
        Some(id) => object.json("id", id).end(),
        None => object.end(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_can_be_dialled() {
        let url = |address: &str, tls| listening(address, address.parse().unwrap(), tls);
        assert_eq!(
            url("127.0.0.1:80", false),
            r#"{"event":"listening","addr":"127.0.0.1:80","url":"ws://127.0.0.1:80/relay"}"#
        );
        assert!(url("0.0.0.0:81", true).contains(r#""addr":"0.0.0.0:81","url":"wss://127.0.0.1:81/relay""#));
        assert!(url("[::]:82", false).contains(r#""url":"ws://[::1]:82/relay""#));
        let named = listening("localhost:0", "127.0.0.1:83".parse().unwrap(), true);
        assert!(named.contains(r#""addr":"127.0.0.1:83","url":"wss://localhost:83/relay""#), "{named}");
    }
}
