//! What the program is told, as lines of JSON.

use std::sync::Arc;

use relay_proto::chat::SessionKeys;
use relay_tokio::{
    ActionResult, Ambiguous, Cause, Content, Delivery, Descriptor, Ended, IdleOutcome, Interrupt, NotSent, Outcome,
    RequestError, Verdict,
};

use super::tls;
use crate::json::Object;
use crate::render;

fn event(name: &str) -> Object {
    Object::new().text("event", name)
}

// ── links ────────────────────────────────────────────────────────────────

pub(super) fn ready(descriptor: &Arc<Descriptor>) -> String {
    event("ready").json("descriptor", descriptor.to_json().as_str()).end()
}

/// `plaintext`: the link is without TLS.
pub(super) fn disconnected(ended: &Ended, retry_in: Option<std::time::Duration>, plaintext: bool) -> String {
    let retry_in = retry_in.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    end_of_link(event("disconnected"), ended, plaintext).number("retry_in_ms", retry_in).end()
}

pub(super) fn revoked(ended: &Ended) -> String {
    end_of_link(event("revoked"), ended, false).end()
}

fn end_of_link(object: Object, ended: &Ended, plaintext: bool) -> Object {
    let object = object.text("cause", ended.cause.as_str()).number("code", ended.code.map(u64::from));
    match ended.cause {
        Cause::Tls(problem) => {
            object.text("reason", &tls::advised(problem, &ended.reason)).text("problem", problem.as_str())
        }
        // Servers of TLS answer plaintext with an alert of theirs.
        Cause::Protocol if plaintext && ended.reason.ends_with("is not HTTP/1") => {
            object.text("reason", &format!("{} (if it speaks TLS there, use https)", ended.reason))
        }
        _ => object.text("reason", &ended.reason),
    }
}

pub(super) fn idle() -> String {
    event("idle").end()
}

pub(super) fn closed() -> String {
    event("closed").end()
}

pub(super) fn interrupt(interrupt: &Interrupt) -> String {
    event("interrupt")
        .text("session_key", &interrupt.session_key)
        .optional("chat_id", interrupt.chat_id.as_deref())
        .end()
}

// ── deliveries ───────────────────────────────────────────────────────────

pub(super) fn delivery(number: u64, delivery: &Delivery, raw: bool, keys: &SessionKeys) -> String {
    let object = |name| {
        event(name).number("delivery", Some(number)).optional("buffer_id", render::buffer_id(delivery.buffer_id()))
    };
    let key = delivery.key();
    let object = match delivery.content() {
        Content::Message(message) => {
            let object = object("message")
                .text("session_key", &message.session_key(keys))
                .text("key", &key)
                .json("message", &render::message(message));
            let object = render::conversation(object, message);
            with_raw(render::platform_name(object, message), message.raw(), raw)
        }
        Content::Passthrough(forward) => {
            let object = object("passthrough").text("key", &key).json("forward", &render::forward(forward));
            let pressed =
                forward.interaction().and_then(Result::ok).and_then(|interaction| interaction.prompt_response());
            with_raw(render::prompt_response(object, pressed.as_ref()), delivery.raw(), raw)
        }
        Content::Undecodable(content) => render::undecodable(object("undecodable").text("key", &key), content),
        // Content that this version does not know: the program can still acknowledge it.
        _ => with_raw(object("undecodable").text("key", &key), delivery.raw(), true),
    };
    object.end()
}

fn with_raw(object: Object, json: &str, raw: bool) -> Object {
    if raw { object.peer_json("raw", json) } else { object }
}

// ── answers ──────────────────────────────────────────────────────────────

/// A line of the input that made no sense.
pub(super) fn error(line: u64, id: Option<&str>, problem: &str) -> String {
    let object = event("error").text("error", problem).number("line", Some(line));
    match id {
        Some(id) => object.json("id", id).end(),
        None => object.end(),
    }
}

fn result(id: Option<&str>, outcome: &str) -> Object {
    event("result").json("id", id.unwrap_or("null")).text("outcome", outcome)
}

/// How a request ended, before it was sorted into results and errors.
pub(super) fn unsorted(sorted: Result<ActionResult, RequestError>) -> Outcome {
    match sorted {
        Ok(result)
        | Err(RequestError::Unknown(result) | RequestError::Declined(result) | RequestError::Rejected(result)) => {
            Outcome::Result(result)
        }
        Err(RequestError::NotSent(why)) => Outcome::NotSent(why),
        Err(RequestError::Ambiguous(why)) => Outcome::Ambiguous(why),
        // Several messages, or an error that this version does not know: what became of it is not known.
        Err(_) => Outcome::Ambiguous(Ambiguous::LinkLost),
    }
}

/// What a result says beside how the request ended.
#[derive(Default)]
pub(super) struct Asked {
    /// The chat, when that is what it asked about (REQ-5).
    pub(super) chat_info_of: Option<String>,
    /// The id that was made for a prompt which came without.
    pub(super) prompt_id: Option<String>,
}

/// The end of a request.
pub(super) fn outcome(id: Option<&str>, outcome: &Outcome, asked: &Asked) -> String {
    let object = match outcome {
        Outcome::Result(answer) => connector_result(id, answer, asked.chat_info_of.as_deref()),
        Outcome::NotSent(why) => no_request(id, why),
        Outcome::Ambiguous(why) => without_result(result(id, "ambiguous"), &why.to_string(), ambiguous_cause(why)),
    };
    match &asked.prompt_id {
        Some(prompt_id) => object.text("prompt_id", prompt_id).end(),
        None => object.end(),
    }
}

/// Whether a request was not sent because there was no link for it, so that another link may mend that.
pub(super) fn found_no_link(outcome: &Outcome) -> bool {
    use NotSent::{NoLink, Revoked, ShutDown, TimedOut};
    matches!(outcome, Outcome::NotSent(NoLink | TimedOut | ShutDown | Revoked))
}

// The words of these two are in the help, which a test compares.

fn ambiguous_cause(why: &Ambiguous) -> &'static str {
    match why {
        Ambiguous::TimedOut | Ambiguous::Unanswered { .. } => "timed_out",
        Ambiguous::LinkLost => "link_lost",
        Ambiguous::ShutDown => "shut_down",
        _ => "other",
    }
}

fn not_sent_cause(why: &NotSent) -> &'static str {
    match why {
        NotSent::NoLink => "no_link",
        NotSent::TimedOut => "timed_out",
        NotSent::TooLarge { .. } => "too_large",
        NotSent::ShutDown => "shut_down",
        NotSent::Revoked => "revoked",
        NotSent::Unsupported { .. } => "unsupported",
        NotSent::NotFronted { .. } => "not_fronted",
        _ => "other",
    }
}

fn connector_result(id: Option<&str>, answer: &ActionResult, chat_info_of: Option<&str>) -> Object {
    // Connectors answer a question about a chat also without a `success`.
    let informs = answer.verdict == Verdict::Delivered || answer.verdict == Verdict::Rejected && !answer.says_failed();
    if let Some(chat) = chat_info_of.filter(|_| informs) {
        let info = answer.chat_info(chat);
        return result(id, "delivered")
            .peer_json("result", answer.raw.as_str())
            .json("chat_info", &Object::new().text("name", &info.name).text("type", &info.kind).end());
    }
    let object = result(id, render::verdict(answer)).peer_json("result", answer.raw.as_str());
    if answer.verdict == Verdict::Ambiguous {
        object
            .text("error", "ambiguous: the connector does not say whether it was carried out")
            .text("cause", "connector")
    } else {
        object
    }
}

pub(super) fn not_sent(id: Option<&str>, why: &NotSent) -> String {
    no_request(id, why).end()
}

fn no_request(id: Option<&str>, why: &NotSent) -> Object {
    without_result(result(id, "not_sent"), &why.to_string(), not_sent_cause(why))
}

fn without_result(object: Object, error: &str, cause: &str) -> Object {
    object.json("result", "null").text("error", error).text("cause", cause)
}

/// The end of going idle or dormant (IDLE-1).
pub(super) fn idle_outcome(id: Option<&str>, outcome: IdleOutcome) -> String {
    let outcome = match outcome {
        IdleOutcome::Acknowledged => "acknowledged",
        IdleOutcome::TimedOut => "timed_out",
        _ => "no_link",
    };
    result(id, outcome).json("result", "null").end()
}
