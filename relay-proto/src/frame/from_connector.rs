//! What a gateway receives.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use serde_json::value::RawValue;

use super::places::EventPlaces;
use super::{
    ActionResult, BufferId, CONNECTOR_TYPES, Content, Descriptor, GATEWAY_TYPES, MessageEvent, PassthroughForward,
    Skipped, Undecodable, Verdict, frame_type, not_ours,
};
use crate::json::scan::{self, Place};
use crate::json::{self, NotObject, RawJson};

/// A frame from a connector.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FromConnector {
    /// The answer to a hello.
    Descriptor(Descriptor),
    /// A delivery.
    Delivery {
        /// What it carries.
        content: Content,
        /// Set when the delivery wants an acknowledgement.
        buffer_id: Option<BufferId>,
    },
    /// The end of a request.
    OutboundResult {
        /// The request.
        request_id: String,
        /// What became of it.
        result: ActionResult,
    },
    /// A user stopped a session.
    Interrupt(Interrupt),
    /// The connector has stopped delivering on this link.
    GoingIdleAck,
    /// The connector says that something went wrong (FRAME-5).
    Error(PeerError),
}

/// An `error` frame (FRAME-5).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerError {
    /// What the connector says, as it came; cut, when it is long.
    pub words: String,
    /// The request that it is about, and what a request takes for its answer. No such answer says that it was carried out,
    /// and it says that it was not only where the frame does (REQ-6): the connector may do the rest of it later.
    pub request: Option<(String, ActionResult)>,
}

impl PeerError {
    /// How many bytes of each text are kept. It is more than is shown, so that a credential is recognised before it is cut.
    const MOST: usize = 1024;

    fn read<'a>(text: &'a str, request_id: Option<String>) -> Self {
        let names = ["code", "error", "message", "reason", "detail"];
        let mut said: Vec<Cow<'a, str>> = Vec::new();
        let mut hear = |raw: &'a RawValue| {
            let words = json::text(raw).map(|words| cut(words, Self::MOST)).unwrap_or_default();
            if !words.is_empty() && !said.contains(&words) {
                said.push(words);
            }
        };
        for raw in json::members(text, &names).unwrap_or_default().into_iter().flatten() {
            match json::members(raw.get(), &["code", "message", "detail"]) {
                Ok(inner) => inner.into_iter().flatten().for_each(&mut hear),
                Err(_) => hear(raw),
            }
        }
        let words = said.join(": ");
        let request = request_id.map(|id| {
            let mut result = ActionResult::read(Some(text));
            let failed = matches!(json::members(text, &["success"]), Ok([Some(raw)]) if raw.get() == "false");
            if result.verdict == Verdict::Delivered || (result.verdict == Verdict::Rejected && !failed) {
                result.verdict = Verdict::Ambiguous;
            }
            result.error.get_or_insert_with(|| words.clone());
            (id, result)
        });
        Self { words, request }
    }
}

fn cut(text: Cow<'_, str>, most: usize) -> Cow<'_, str> {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    match text {
        text if end == text.len() => text,
        Cow::Borrowed(text) => text.get(..end).unwrap_or_default().into(),
        Cow::Owned(mut text) => {
            text.truncate(end);
            text.into()
        }
    }
}

/// A user asked to stop what a session is doing (STOP-1).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interrupt {
    /// The session.
    pub session_key: String,
    /// The chat that the stop came from.
    pub chat_id: Option<String>,
}

/// The members of a frame that are looked for.
#[derive(Clone, Copy)]
enum Member {
    Type,
    Event,
    BufferId,
    Descriptor,
    RequestId,
    Result,
    SessionKey,
    ChatId,
    Forward,
}

impl Member {
    const ALL: usize = 9;

    #[inline(always)]
    fn find(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"type" => Self::Type,
            b"event" => Self::Event,
            b"bufferId" => Self::BufferId,
            b"descriptor" => Self::Descriptor,
            b"requestId" => Self::RequestId,
            b"result" => Self::Result,
            b"session_key" => Self::SessionKey,
            b"chat_id" => Self::ChatId,
            b"forward" => Self::Forward,
            _ => return None,
        })
    }
}

/// A line, and where the parts of the frame stand in it.
struct Line<'a> {
    text: &'a str,
    members: [Place; Member::ALL],
    /// The parts of the event. All are absent unless it is an object.
    event: EventPlaces,
}

impl<'a> Line<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, members: Default::default(), event: EventPlaces::default() }
    }

    /// Goes over the whole line, once. Fills it in, since it is too large to be handed on.
    fn scan(&mut self) -> Result<(), NotObject> {
        scan::object(self.text, |scan, name| {
            let member = name.find(Member::find);
            let place = match member {
                Some(Member::Event) => {
                    if !self.event.whole.is_absent() {
                        self.event = EventPlaces::default();
                    }
                    if scan.is_at_object() { self.event.scan(scan)? } else { scan.value()? }
                }
                _ => scan.value()?,
            };
            if let Some(slot) = member.and_then(|member| self.members.get_mut(member as usize)) {
                *slot = place;
            }
            Ok(())
        })
    }

    fn place(&self, member: Member) -> Place {
        self.members.get(member as usize).copied().unwrap_or_default()
    }

    /// A member's JSON.
    fn raw(&self, member: Member) -> Option<&'a str> {
        self.place(member).raw(self.text)
    }

    /// A member as text (EVENT-2).
    fn read(&self, member: Member) -> Option<Cow<'a, str>> {
        self.place(member).text(self.text)
    }

    /// The `type`, or why there is none.
    fn kind(&self) -> Result<Cow<'a, str>, Skipped> {
        frame_type(self.text, self.place(Member::Type))
    }

    fn buffer_id(&self) -> Option<BufferId> {
        BufferId::read(self.text, self.place(Member::BufferId))
    }
}

/// Reads one line as a frame from a connector.
///
/// # Errors
/// [`Skipped`] says why the line is none; the link lives on (FRAME-4, FRAME-5).
pub fn from_connector(line: &[u8]) -> Result<FromConnector, Skipped> {
    let Ok(text) = core::str::from_utf8(line) else { return not_utf8(line) };
    let mut line = Line::new(text);
    line.scan()?;
    match &*line.kind()? {
        "inbound" => {
            let buffer_id = line.buffer_id();
            Ok(if line.event.whole.is_absent() {
                undecodable("inbound", "the event is not an object", line.raw(Member::Event), buffer_id)
            } else {
                FromConnector::Delivery { content: Content::Message(MessageEvent::read(text, &line.event)), buffer_id }
            })
        }
        "passthrough_forward" => {
            let (buffer_id, raw) = (line.buffer_id(), line.raw(Member::Forward));
            Ok(match raw.and_then(PassthroughForward::read) {
                Some(forward) => {
                    FromConnector::Delivery { content: Content::Passthrough(Box::new(forward)), buffer_id }
                }
                None => undecodable("passthrough_forward", "the forward is not an object", raw, buffer_id),
            })
        }
        "descriptor" => line
            .raw(Member::Descriptor)
            .and_then(Descriptor::read)
            .map(FromConnector::Descriptor)
            .ok_or(Skipped::MalformedDescriptor),
        "outbound_result" => Ok(FromConnector::OutboundResult {
            request_id: line.read(Member::RequestId).ok_or(Skipped::MissingField("requestId"))?.into_owned(),
            result: ActionResult::read(line.raw(Member::Result)),
        }),
        "interrupt_inbound" => Ok(FromConnector::Interrupt(Interrupt {
            session_key: line
                .read(Member::SessionKey)
                .filter(|key| !key.is_empty())
                .ok_or(Skipped::MissingField("session_key"))?
                .into_owned(),
            chat_id: line.read(Member::ChatId).map(|chat| chat.into_owned()),
        })),
        "going_idle_ack" => Ok(FromConnector::GoingIdleAck),
        "error" => {
            let request_id = line.read(Member::RequestId).map(Cow::into_owned);
            Ok(FromConnector::Error(PeerError::read(text, request_id)))
        }
        other => Err(not_ours(other, &GATEWAY_TYPES)),
    }
}

fn undecodable(
    frame_type: &'static str,
    reason: &'static str,
    raw: Option<&str>,
    buffer_id: Option<BufferId>,
) -> FromConnector {
    let content = Content::Undecodable(Undecodable { frame_type, reason, raw: raw.map(RawJson::trusted) });
    FromConnector::Delivery { content, buffer_id }
}

/// A line that is not UTF-8 is not JSON and is skipped, except for a buffered delivery: skipping that one would let it
/// block its buffer for ever, so it is handed over as undecodable (ACK-5).
#[cold]
fn not_utf8(line: &[u8]) -> Result<FromConnector, Skipped> {
    let text = String::from_utf8_lossy(line);
    let mut line = Line::new(&text);
    line.scan().map_err(|_| Skipped::NotJson)?;
    let buffer_id = line.buffer_id().ok_or(Skipped::NotJson)?;
    let (name, raw) = match &*line.kind().map_err(|_| Skipped::NotJson)? {
        "inbound" => ("inbound", Member::Event),
        "passthrough_forward" => ("passthrough_forward", Member::Forward),
        _ => return Err(Skipped::NotJson),
    };
    debug_assert!(CONNECTOR_TYPES.contains(&name));
    Ok(undecodable(name, "the line is not UTF-8", line.raw(raw), Some(buffer_id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn skip(line: &str) -> Skipped {
        from_connector(line.as_bytes()).unwrap_err()
    }

    fn delivery(line: &[u8]) -> (Content, Option<BufferId>) {
        match from_connector(line) {
            Ok(FromConnector::Delivery { content, buffer_id }) => (content, buffer_id),
            other => panic!("{other:?}"),
        }
    }

    // proves: FRAME-4
    #[test]
    fn what_is_no_frame_is_skipped_with_its_reason() {
        assert_eq!(skip("{\"type\":\"inbound\""), Skipped::NotJson);
        assert_eq!(skip("nonsense"), Skipped::NotJson);
        assert_eq!(skip("{\"type\":\"going_idle_ack\",\"a\tb\":1}"), Skipped::NotJson, "JSON writes a tab as \\t");
        for value in ["[]", "5", "null", "\"inbound\"", "true"] {
            assert_eq!(skip(value), Skipped::NotAnObject, "{value}");
        }
        assert_eq!(skip("{}"), Skipped::NoType);
        assert_eq!(skip(r#"{"type":["inbound"]}"#), Skipped::TypeNotAString);
        assert_eq!(skip(r#"{"type":null}"#), Skipped::TypeNotAString);
        assert_eq!(skip(r#"{"type":"telepathy"}"#), Skipped::UnknownType("telepathy".into()));
        assert_eq!(skip(r#"{"type":"descriptor","descriptor":[]}"#), Skipped::MalformedDescriptor);
        assert_eq!(skip(r#"{"type":"outbound_result","requestId":[1]}"#), Skipped::MissingField("requestId"));
        assert_eq!(skip(r#"{"type":"interrupt_inbound","session_key":""}"#), Skipped::MissingField("session_key"));
    }

    // proves: FRAME-5
    #[test]
    fn frames_of_the_gateway_and_ping_are_ignored() {
        for name in GATEWAY_TYPES {
            assert_eq!(skip(&format!("{{\"type\":\"{name}\"}}")), Skipped::WrongDirection(name.into()));
        }
        assert_eq!(skip(r#"{"type":"ping"}"#), Skipped::Ignored("ping".into()));
    }

    // proves: FRAME-5
    #[test]
    fn an_error_frame_says_what_it_says_in_whatever_member() {
        let read = |rest: &str| match from_connector(format!(r#"{{"type":"error"{rest}}}"#).as_bytes()) {
            Ok(FromConnector::Error(error)) => error,
            other => panic!("{other:?}"),
        };
        for (rest, words) in [
            ("", ""),
            (r#","error":null,"message":[1]"#, ""),
            (r#","error":"no such bot""#, "no such bot"),
            (r#","message":"no such bot","error":"no such bot""#, "no such bot"),
            (r#","code":404,"message":"no such bot""#, "404: no such bot"),
            (r#","error":{"code":"unknown_bot","message":"no such bot","more":{}}"#, "unknown_bot: no such bot"),
            (r#","reason":"a","detail":"b""#, "a: b"),
        ] {
            assert_eq!(read(rest).words, words, "{rest}");
            assert_eq!(read(rest).request, None);
        }
        let long = "é".repeat(600);
        assert_eq!(read(&format!(r#","error":"{long}""#)).words, "é".repeat(512));
        let (id, result) = read(r#","requestId":7,"success":true,"message":"half of it""#).request.unwrap();
        assert_eq!((&*id, result.verdict, result.error.as_deref()), ("7", Verdict::Ambiguous, Some("half of it")));
        let (_, result) = read(r#","requestId":"7","error":"egress declined""#).request.unwrap();
        assert_eq!(result.verdict, Verdict::Declined);
    }

    // proves: REQ-6, FRAME-5
    #[test]
    fn an_error_frame_rejects_a_request_only_if_it_says_so() {
        let verdict =
            |rest: &str| match from_connector(format!(r#"{{"type":"error","requestId":"7"{rest}}}"#).as_bytes()) {
                Ok(FromConnector::Error(PeerError { request: Some((_, result)), .. })) => result.verdict,
                other => panic!("{other:?}"),
            };
        for (rest, expected) in [
            ("", Verdict::Ambiguous),
            (r#","error":"upstream timed out""#, Verdict::Ambiguous),
            (r#","success":null,"error":"no such chat""#, Verdict::Ambiguous),
            (r#","success":true"#, Verdict::Ambiguous),
            (r#","success":false,"error":"no such chat""#, Verdict::Rejected),
            (r#","success":false,"ambiguous":true"#, Verdict::Ambiguous),
            (r#","code":"egress_declined""#, Verdict::Declined),
        ] {
            assert_eq!(verdict(rest), expected, "{rest}");
        }
    }

    // proves: ACK-5
    #[test]
    fn a_delivery_without_content_is_handed_over_as_undecodable() {
        for (event, raw) in [("", None), (",\"event\":null", Some("null")), (",\"event\":[1]", Some("[1]"))] {
            let line = format!("{{\"type\":\"inbound\",\"bufferId\":\"b\"{event}}}");
            let (content, buffer_id) = delivery(line.as_bytes());
            let Content::Undecodable(content) = content else { panic!("{line}") };
            assert_eq!(content.raw.as_ref().map(RawJson::as_str), raw);
            assert_eq!(buffer_id, Some("b".into()));
        }
    }

    // proves: ACK-5
    #[test]
    fn a_buffered_delivery_that_is_not_utf8_cannot_block_its_buffer() {
        let line = b"{\"type\":\"inbound\",\"bufferId\":\"b\",\"event\":{\"text\":\"\xff\"}}";
        let (Content::Undecodable(content), _) = delivery(line) else { panic!() };
        assert_eq!(content.raw.unwrap().as_str(), "{\"text\":\"\u{FFFD}\"}");
        let live = b"{\"type\":\"inbound\",\"event\":{\"text\":\"\xff\"}}";
        assert_eq!(from_connector(live), Err(Skipped::NotJson));
        assert_eq!(from_connector(b"\xff\xfe"), Err(Skipped::NotJson));
    }

    // proves: FRAME-4, EVENT-2
    #[test]
    fn of_repeated_members_the_last_counts_at_every_level_and_however_its_name_is_written() {
        let line = concat!(
            r#"{"event":{"text":"no"},"bufferId":"no","type":"descriptor","event":{"source":{"chat_id":"no","user_id":"no"},"#,
            r#""text":"no","source":{"chat_id":"no","chat\u005fid":"a\u0062","\udc00":1},"te\u0078t":"yes"},"#,
            r#""type":"inbound","buffer\u0049d":7}"#
        );
        let (Content::Message(event), buffer_id) = delivery(line.as_bytes()) else { panic!() };
        assert_eq!((event.text(), event.chat_id(), event.user_id()), ("yes", "ab", None));
        assert_eq!(buffer_id, Some("7".into()));
        assert!(event.raw().starts_with(r#"{"source":{"chat_id":"no","user_id""#), "{}", event.raw());
        for (last, chat) in [("[]", ""), ("{}", ""), (r#"{"chat_id":"x"}"#, "x")] {
            let line = format!(r#"{{"type":"inbound","event":{{"source":{{"chat_id":"c"}},"source":{last}}}}}"#);
            let (Content::Message(event), _) = delivery(line.as_bytes()) else { panic!() };
            assert_eq!(event.chat_id(), chat, "{last}");
        }
        let line = br#"{"type":"inbound","event":{"text":"no"},"event":[1]}"#;
        assert!(matches!(delivery(line), (Content::Undecodable(_), None)));
    }

    // proves: FRAME-6
    #[test]
    fn unknown_fields_do_not_matter() {
        let line = format!(
            "{{\"v\":9,\"type\":\"inbound\",\"x\":{}{},\"event\":{{\"text\":\"hi\",\"y\":{{}}}}}}",
            "[".repeat(5000),
            "]".repeat(5000)
        );
        let (Content::Message(event), None) = delivery(line.as_bytes()) else { panic!() };
        assert_eq!((event.text(), event.raw()), ("hi", "{\"text\":\"hi\",\"y\":{}}"));
    }

    // proves: ACK-5
    #[test]
    fn a_buffered_forward_that_is_not_utf8_cannot_block_its_buffer() {
        let line = b"{\"type\":\"passthrough_forward\",\"bufferId\":\"b\",\"forward\":{\"platform\":\"\xff\"}}";
        let (Content::Undecodable(content), _) = delivery(line) else { panic!() };
        assert_eq!(content.raw.unwrap().as_str(), "{\"platform\":\"\u{FFFD}\"}");
        assert_eq!(
            from_connector(b"{\"type\":\"going_idle_ack\",\"bufferId\":\"b\",\"x\":\"\xff\"}"),
            Err(Skipped::NotJson)
        );
    }
}
