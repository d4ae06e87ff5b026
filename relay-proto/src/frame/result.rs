//! Results of requests (REQ-3, REQ-6).

use alloc::borrow::Cow;
use alloc::string::String;

use serde_json::value::RawValue;

use crate::json::scan::{self, Kind, Place};
use crate::json::{self, RawJson};

/// What a connector made of a request (REQ-6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// It was carried out.
    Delivered,
    /// The connector's policy does not allow it. Trying again does not help.
    Declined,
    /// It failed.
    Rejected,
    /// The connector does not say whether it was carried out.
    Ambiguous,
}

/// The result of a request, as the connector sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ActionResult {
    /// What the connector made of the request.
    pub verdict: Verdict,
    /// The id of the message that was made or changed.
    pub message_id: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// A machine-readable reason.
    pub code: Option<String>,
    /// The result's JSON as it came, also when it is no object. `null` when there was none.
    pub raw: RawJson,
}

impl ActionResult {
    /// Reads a result from its JSON text. What is not JSON reads as `null`.
    pub fn parse(json: &str) -> Self {
        Self::read(serde_json::from_str::<&RawValue>(json).ok().map(RawValue::get))
    }

    pub(crate) fn read(raw: Option<&str>) -> Self {
        let text = raw.unwrap_or("null");
        let json = RawJson::trusted(text);
        let Ok(fields) = scan::members::<FIELDS>(text, Field::find) else {
            return Self { verdict: Verdict::Rejected, message_id: None, error: None, code: None, raw: json };
        };
        let place = |field: Field| fields.get(field as usize).copied().unwrap_or_default();
        let read = |field| place(field).text(text);
        let is = |field, word: &str| read(field).is_some_and(|text| text == word);
        let (success, ambiguous) = (is_true(place(Field::Success), text), is_true(place(Field::Ambiguous), text));
        let verdict = if success {
            Verdict::Delivered
        } else if is(Field::Code, "egress_declined")
            || [Field::Error, Field::Reason, Field::Message, Field::Detail]
                .into_iter()
                .filter_map(read)
                .any(says_declined)
        {
            Verdict::Declined
        } else if ambiguous || is(Field::Code, "ambiguous") || is(Field::Delivery, "ambiguous") {
            Verdict::Ambiguous
        } else {
            Verdict::Rejected
        };
        let own = |field| read(field).map(Cow::into_owned);
        Self { verdict, message_id: own(Field::MessageId), error: own(Field::Error), code: own(Field::Code), raw: json }
    }

    /// Whether the result says that it failed, rather than nothing about it.
    pub fn says_failed(&self) -> bool {
        let fields = json::members(self.raw.as_str(), &["success", "error"]);
        fields.is_ok_and(|fields| fields.into_iter().flatten().any(|raw| raw.get() != "null"))
    }

    /// The chat that a `get_chat_info` asked for (REQ-5): its name, by default the chat's id, and its type, by default
    /// `dm`.
    pub fn chat_info(&self, chat_id: &str) -> ChatInfo {
        let inner = json::members(self.raw.as_str(), &["chat_info"]).ok().and_then(|[info]| info);
        let info = inner.filter(|info| json::is_object(info)).map_or(self.raw.as_str(), RawValue::get);
        let [name, kind] = json::members(info, &["name", "type"]).unwrap_or([None, None]);
        let text = |raw: Option<&RawValue>, default: &str| {
            raw.and_then(json::text).map_or_else(|| default.into(), |text| text.into_owned())
        };
        ChatInfo { name: text(name, chat_id), kind: text(kind, "dm") }
    }
}

/// What a connector knows about a chat (REQ-5).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChatInfo {
    /// The chat's display name.
    pub name: String,
    /// `dm`, `group`, `channel`, …
    pub kind: String,
}

/// What is read of a result.
#[derive(Clone, Copy)]
enum Field {
    Success,
    MessageId,
    Error,
    Code,
    Reason,
    Message,
    Detail,
    Ambiguous,
    Delivery,
}

/// How many [`Field`]s there are.
const FIELDS: usize = 9;

impl Field {
    fn find(name: &[u8]) -> Option<usize> {
        let field = match name {
            b"success" => Self::Success,
            b"message_id" => Self::MessageId,
            b"error" => Self::Error,
            b"code" => Self::Code,
            b"reason" => Self::Reason,
            b"message" => Self::Message,
            b"detail" => Self::Detail,
            b"ambiguous" => Self::Ambiguous,
            b"delivery" => Self::Delivery,
            _ => return None,
        };
        Some(field as usize)
    }
}

/// `true`, or a number other than zero.
fn is_true(place: Place, text: &str) -> bool {
    match place.raw(text) {
        Some("true") => true,
        Some(number) => place.kind() == Kind::Number && !json::is_zero(number),
        None => false,
    }
}

fn says_declined(text: Cow<'_, str>) -> bool {
    text.to_lowercase().contains("egress declined")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(json: &str) -> Verdict {
        ActionResult::parse(json).verdict
    }

    // proves: REQ-6
    #[test]
    fn results_are_classified() {
        assert_eq!(verdict(r#"{"success":true,"message_id":7}"#), Verdict::Delivered);
        assert_eq!(verdict(r#"{"success":false,"code":"egress_declined"}"#), Verdict::Declined);
        assert_eq!(verdict(r#"{"success":false,"error":"Egress DECLINED: no route"}"#), Verdict::Declined);
        assert_eq!(verdict(r#"{"success":false,"ambiguous":true}"#), Verdict::Ambiguous);
        assert_eq!(verdict(r#"{"success":false,"code":"ambiguous"}"#), Verdict::Ambiguous);
        assert_eq!(verdict(r#"{"success":false,"error":"no such chat"}"#), Verdict::Rejected);
        assert_eq!(verdict(r#"{"success":"true"}"#), Verdict::Rejected, "a text is no success");
        assert_eq!(verdict("{}"), Verdict::Rejected);
    }

    // proves: REQ-3
    #[test]
    fn a_result_that_is_no_object_is_unsuccessful_and_kept() {
        for raw in ["null", "[1,2]", "\"ok\"", "true"] {
            let result = ActionResult::parse(raw);
            assert_eq!((result.verdict, result.raw.as_str()), (Verdict::Rejected, raw));
        }
    }

    // proves: REQ-6
    #[test]
    fn unknown_fields_stay_readable() {
        let result = ActionResult::parse(r#"{"success":true,"message_id":7,"extra":[1]}"#);
        assert_eq!(result.message_id.as_deref(), Some("7"));
        assert_eq!(result.raw.as_str(), r#"{"success":true,"message_id":7,"extra":[1]}"#);
    }

    // proves: REQ-5
    #[test]
    fn chat_info_is_in_the_result_or_is_the_result() {
        let info = |json: &str| {
            let info = ActionResult::parse(json).chat_info("c1");
            (info.name, info.kind)
        };
        let pair = |name: &str, kind: &str| (String::from(name), String::from(kind));
        assert_eq!(info(r#"{"success":true,"chat_info":{"name":"ops","type":"channel"}}"#), pair("ops", "channel"));
        assert_eq!(info(r#"{"success":true,"name":"ops"}"#), pair("ops", "dm"));
        assert_eq!(info(r#"{"chat_info":null,"type":"group"}"#), pair("c1", "group"));
        assert_eq!(info("null"), pair("c1", "dm"));
    }

    // proves: REQ-6
    #[test]
    fn a_refusal_may_stand_in_any_of_the_texts() {
        for field in ["error", "reason", "message", "detail"] {
            let said = alloc::format!("{{\"success\":false,\"{field}\":\"egress declined\"}}");
            assert_eq!(verdict(&said), Verdict::Declined, "{field}");
        }
    }

    // proves: REQ-6
    #[test]
    fn numbers_other_than_zero_are_true() {
        for (value, ambiguous) in
            [("1", true), ("-0.5", true), ("0", false), ("-0.0", false), ("\"1\"", false), ("[1]", false)]
        {
            let verdict = verdict(&alloc::format!("{{\"ambiguous\":{value}}}"));
            assert_eq!(verdict == Verdict::Ambiguous, ambiguous, "{value}");
        }
        assert_eq!(verdict(r#"{"delivery":"ambiguous"}"#), Verdict::Ambiguous);
    }

    #[test]
    fn a_result_says_that_it_failed_or_says_nothing() {
        for (json, says) in [
            (r#"{"success":false}"#, true),
            (r#"{"error":"no"}"#, true),
            (r#"{"error":null,"success":null}"#, false),
            (r#"{"name":"ops"}"#, false),
            ("null", false),
        ] {
            assert_eq!(ActionResult::parse(json).says_failed(), says, "{json}");
        }
    }
}
