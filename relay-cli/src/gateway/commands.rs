//! Commands, as lines of JSON.

use std::collections::BTreeSet;
use std::fmt;

use relay_proto::action;
use relay_tokio::RawJson;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::{compact, quoted};

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// A request.
    Request {
        action: RawJson,
        /// Which of the fronted identities it is for.
        platform: Option<String>,
        /// The chat that `get_chat_info` asks about.
        chat_info_of: Option<String>,
    },
    Ack(u64),
    GiveBack(u64),
    Interrupt {
        session_key: String,
        reason: Option<String>,
    },
    GoIdle,
    GoDormant,
    Wake,
    Reconnect,
    HoldRedial,
    ReleaseRedial,
    Close,
}

/// A line, as far as it makes sense.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    /// The `id` that the answer carries: JSON, as it came. `None`: there is none.
    pub(super) id: Option<String>,
    /// The command; or what is wrong, and what to do.
    pub(super) command: Result<Command, String>,
}

/// Reads a line.
pub(super) fn parse(line: &[u8]) -> Parsed {
    match members(line) {
        Ok(members) => Parsed { id: members.get("id").map(|id| compact(id.get())), command: members.command() },
        Err(problem) => Parsed { id: None, command: Err(problem) },
    }
}

fn members(line: &[u8]) -> Result<Members<'_>, String> {
    let text = std::str::from_utf8(line).map_err(|error| format!("not UTF-8: {error}"))?;
    serde_json::from_str(text).map_err(|error| match serde_json::from_str::<&RawValue>(text) {
        Ok(_) if !text.starts_with('{') => {
            "not a JSON object: a command looks like {\"op\":\"send\",…} or {\"do\":\"close\"}".into()
        }
        _ => format!("not JSON: {error}"),
    })
}

/// The members of an object, in order, each name once.
#[derive(Debug)]
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// A text. Null counts as absent.
    fn text(&self, name: &str) -> Result<Option<String>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(raw) => serde_json::from_str(raw.get()).map_err(|_| format!("`{name}` is not a text")),
        }
    }

    fn command(&self) -> Result<Command, String> {
        match (self.get("op"), self.text("do")?) {
            (Some(_), None) => self.request(),
            (None, Some(what)) => self.order(&what),
            (Some(_), Some(_)) => Err("both `op`, which makes it an action, and `do`: use one".into()),
            (None, None) => Err("neither `op`, as in {\"op\":\"send\",…}, nor `do`, as in {\"do\":\"close\"}".into()),
        }
    }

    fn request(&self) -> Result<Command, String> {
        let platform = self.text("platform")?;
        let fields = self.0.iter().filter(|(name, _)| name != "id" && name != "platform");
        let fields: Vec<String> = fields.map(|(name, value)| format!("{}:{}", quoted(name), value.get())).collect();
        let action = action::from_json(&format!("{{{}}}", fields.join(","))).map_err(|error| error.to_string())?;
        let asks_for_chat = self.text("op").is_ok_and(|op| op.as_deref() == Some("get_chat_info"));
        let chat_info_of = asks_for_chat.then(|| self.chat());
        Ok(Command::Request { action, platform, chat_info_of })
    }

    /// The chat of an action: a text, or a number that is read as one. Empty when there is none.
    fn chat(&self) -> String {
        let Some(raw) = self.get("chat_id") else { return String::new() };
        match serde_json::from_str(raw.get()) {
            Ok(text) => text,
            Err(_) if serde_json::from_str::<serde_json::Number>(raw.get()).is_ok() => raw.get().into(),
            Err(_) => String::new(),
        }
    }

    fn order(&self, what: &str) -> Result<Command, String> {
        Ok(match what {
            "ack" => Command::Ack(self.delivery()?),
            "give_back" => Command::GiveBack(self.delivery()?),
            "interrupt" => Command::Interrupt {
                session_key: self
                    .text("session_key")?
                    .filter(|key| !key.is_empty())
                    .ok_or("`interrupt` needs a `session_key`: the one that came with the message")?,
                reason: self.text("reason")?,
            },
            "go_idle" => Command::GoIdle,
            "go_dormant" => Command::GoDormant,
            "wake" => Command::Wake,
            "reconnect" => Command::Reconnect,
            "hold_redial" => Command::HoldRedial,
            "release_redial" => Command::ReleaseRedial,
            "close" => Command::Close,
            _ => {
                let what: String = what.chars().take(64).collect();
                return Err(format!(
                    "no such command: {}; there are ack, give_back, interrupt, go_idle, go_dormant, wake, reconnect, \
                     hold_redial, release_redial and close",
                    quoted(&what)
                ));
            }
        })
    }

    fn delivery(&self) -> Result<u64, String> {
        self.get("delivery")
            .and_then(|raw| raw.get().parse().ok())
            .ok_or_else(|| "`delivery` should be the number that came with the delivery".into())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut members, mut names) = (Vec::new(), BTreeSet::new());
                while let Some(name) = map.next_key::<String>()? {
                    let value: &RawValue = map.next_value()?;
                    // Which of the two is meant? Readers do not agree, so that no answer would be right.
                    if !names.insert(name.clone()) {
                        let name: String = name.chars().take(64).collect();
                        return Err(serde::de::Error::custom(format!("the name {} is there twice", quoted(&name))));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: impl AsRef<[u8]>) -> String {
        parse(line.as_ref()).command.unwrap_err()
    }

    fn action(json: &str) -> RawJson {
        RawJson::parse(json).unwrap()
    }

    #[test]
    fn an_action_is_passed_on_without_what_is_ours() {
        let line =
            r#"{ "id": [1, {"a": "b c"}], "op": "send", "platform": "slack", "x\n": 1e2, "content": "a \"b\" " }"#;
        let parsed = parse(line.as_bytes());
        assert_eq!(parsed.id.as_deref(), Some(r#"[1,{"a":"b c"}]"#));
        let expected = Command::Request {
            action: action(r#"{"op":"send","x\n":1e2,"content":"a \"b\" "}"#),
            platform: Some("slack".into()),
            chat_info_of: None,
        };
        assert_eq!(parsed.command, Ok(expected));
    }

    #[test]
    fn a_question_about_a_chat_is_known_as_one() {
        let parsed = parse(br#"{"op":"get_chat_info","chat_id":"7","platform":null}"#);
        assert_eq!(parsed.id, None);
        let action = action(r#"{"op":"get_chat_info","chat_id":"7"}"#);
        let expected = Command::Request { action, platform: None, chat_info_of: Some("7".into()) };
        assert_eq!(parsed.command, Ok(expected));
    }

    #[test]
    fn a_question_about_a_chat_is_one_whatever_names_the_chat() {
        for (chat, expected) in [(r#","chat_id":-1001"#, "-1001"), (r#","chat_id":[7]"#, ""), ("", "")] {
            let parsed = parse(format!(r#"{{"op":"get_chat_info"{chat}}}"#).as_bytes());
            let Ok(Command::Request { chat_info_of, .. }) = parsed.command else { panic!("{chat}") };
            assert_eq!(chat_info_of.as_deref(), Some(expected), "{chat}");
        }
    }

    #[test]
    fn orders() {
        let order = |line: &str| parse(line.as_bytes()).command.unwrap();
        assert_eq!(order(r#"{"do":"ack","delivery":7}"#), Command::Ack(7));
        assert_eq!(order(r#"{"do":"give_back","delivery":7,"more":[]}"#), Command::GiveBack(7));
        let interrupt =
            |reason: Option<&str>| Command::Interrupt { session_key: "s".into(), reason: reason.map(Into::into) };
        assert_eq!(order(r#"{"do":"interrupt","session_key":"s"}"#), interrupt(None));
        assert_eq!(order(r#"{"do":"interrupt","session_key":"s","reason":null}"#), interrupt(None));
        assert_eq!(order(r#"{"do":"interrupt","session_key":"s","reason":"r"}"#), interrupt(Some("r")));
        for (name, command) in [
            ("go_idle", Command::GoIdle),
            ("go_dormant", Command::GoDormant),
            ("wake", Command::Wake),
            ("reconnect", Command::Reconnect),
            ("hold_redial", Command::HoldRedial),
            ("release_redial", Command::ReleaseRedial),
            ("close", Command::Close),
        ] {
            assert_eq!(order(&format!("{{\"do\":\"{name}\"}}")), command);
        }
    }

    #[test]
    fn what_makes_no_sense_is_explained() {
        for (line, word) in [
            ("hello", "not JSON"),
            ("{\"op\":\"send\"", "not JSON"),
            ("{\"op\":\"send\"} {}", "not JSON"),
            ("{\"op\":\"a\0b\"}", "not JSON"),
            ("\0", "not JSON"),
            ("[]", "not a JSON object"),
            ("null", "not a JSON object"),
            ("\"op\"", "not a JSON object"),
            ("17", "not a JSON object"),
            ("{}", "neither"),
            ("{\"op\":\"send\",\"do\":\"ack\"}", "both"),
            ("{\"op\":7}", "`op`"),
            ("{\"op\":\"\"}", "`op`"),
            ("{\"op\":null}", "`op`"),
            ("{\"op\":\"send\",\"op\":\"edit\"}", "twice"),
            ("{\"op\":\"send\",\"platform\":7}", "`platform`"),
            ("{\"do\":7}", "`do`"),
            ("{\"do\":\"fly\"}", "\"fly\""),
            ("{\"do\":\"ack\"}", "`delivery`"),
            ("{\"do\":\"ack\",\"delivery\":\"1\"}", "`delivery`"),
            ("{\"do\":\"ack\",\"delivery\":-1}", "`delivery`"),
            ("{\"do\":\"ack\",\"delivery\":1.5}", "`delivery`"),
            ("{\"do\":\"interrupt\"}", "`session_key`"),
            ("{\"do\":\"interrupt\",\"session_key\":\"\"}", "`session_key`"),
            ("{\"do\":\"interrupt\",\"session_key\":\"s\",\"reason\":1}", "`reason`"),
        ] {
            assert!(problem(line).contains(word), "{line}: {}", problem(line));
        }
        assert!(problem(b"{\"op\":\"\xff\"}").contains("not UTF-8"));
        let deep = format!("{{\"op\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
        assert!(problem(deep).contains("`op`"));
    }

    #[test]
    fn a_line_that_makes_no_sense_keeps_its_id() {
        assert_eq!(parse(br#"{"do":"fly","id":{"n":1}}"#).id.as_deref(), Some(r#"{"n":1}"#));
    }
}
