//! Commands, as lines of JSON.

use relay_proto::action;
use relay_tokio::{Action, RawJson};

use super::answered::Aim;
use crate::json::compact;
use crate::members::{Members, excerpt};

/// What commands look like.
const LIKE: &str = "{\"op\":\"send\",…} or {\"do\":\"close\"}";

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// A request.
    Request {
        action: Action,
        /// Which of the fronted identities it is for.
        platform: Option<String>,
        /// Which of the bots there it is for.
        bot_id: Option<String>,
        /// What it says about the message that it may answer.
        aim: Box<Aim>,
        /// The chat that `get_chat_info` asks about.
        chat_info_of: Option<String>,
        /// It asks a prompt, and leaves it to the gateway to name it.
        unnamed_prompt: bool,
    },
    Ack(u64),
    Nack(u64),
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
    match Members::read(line, LIKE) {
        Ok(members) => Parsed { id: members.id(), command: command(&members) },
        Err(problem) => Parsed { id: None, command: Err(problem) },
    }
}

fn command(members: &Members<'_>) -> Result<Command, String> {
    match (members.get("op"), members.text("do")?) {
        (Some(_), None) => request(members),
        (None, Some(what)) => order(members, &what),
        (Some(_), Some(_)) => Err("both `op`, which makes it an action, and `do`: use one".into()),
        (None, None) => Err("neither `op`, as in {\"op\":\"send\",…}, nor `do`, as in {\"do\":\"close\"}".into()),
    }
}

fn request(members: &Members<'_>) -> Result<Command, String> {
    let (platform, bot_id) = (members.text("platform")?, members.text("bot_id")?);
    // Says what is wrong with the `op`.
    let op = members.get("op").map_or("null", |op| op.get());
    action::from_json(&format!("{{\"op\":{op}}}")).map_err(|error| error.to_string())?;
    let op = members.text("op")?.unwrap_or_default();
    let unnamed_prompt =
        op == "prompt" && members.get("prompt_id").is_none_or(|id| matches!(id.get(), "null" | "\"\""));
    let mut action = Action::new(&op);
    let ours =
        |name: &str| matches!(name, "op" | "id" | "platform" | "bot_id") || unnamed_prompt && name == "prompt_id";
    for (name, value) in members.iter().filter(|(name, _)| !ours(name)) {
        action = match name {
            // A text on the wire (CHAT-4), and what the chat's scope is found by.
            "chat_id" if !chat(members).is_empty() => action.field(name, &chat(members)),
            "metadata" if value.get() != "null" && !value.get().starts_with('{') => {
                return Err("`metadata` is not an object".into());
            }
            _ => action.json_field(name, &json(value.get())?),
        };
    }
    let chat_info_of = (op == "get_chat_info").then(|| chat(members));
    // Of another type it answers nothing.
    let text = |name| members.text(name).ok().flatten().filter(|text| !text.is_empty());
    let aim = Box::new(Aim {
        chat: Some(chat(members)).filter(|chat| !chat.is_empty()),
        reply_to: text("reply_to"),
        session: text("session_key"),
        platform: platform.clone(),
        op,
    });
    Ok(Command::Request { action, platform, bot_id, aim, chat_info_of, unnamed_prompt })
}

/// A value on one line.
fn json(text: &str) -> Result<RawJson, String> {
    RawJson::parse(&compact(text)).map_err(|error| format!("not JSON: {error}"))
}

/// The chat of an action: a text, or a number that is read as one. Empty when there is none.
fn chat(members: &Members<'_>) -> String {
    let Some(raw) = members.get("chat_id") else { return String::new() };
    match serde_json::from_str(raw.get()) {
        Ok(text) => text,
        Err(_) if serde_json::from_str::<serde_json::Number>(raw.get()).is_ok() => raw.get().into(),
        Err(_) => String::new(),
    }
}

fn order(members: &Members<'_>, what: &str) -> Result<Command, String> {
    Ok(match what {
        "ack" => Command::Ack(delivery(members)?),
        "give_back" => Command::Nack(delivery(members)?),
        "interrupt" => Command::Interrupt {
            session_key: members
                .text("session_key")?
                .filter(|key| !key.is_empty())
                .ok_or("`interrupt` needs a `session_key`: the one that came with the message")?,
            reason: members.text("reason")?,
        },
        "go_idle" => Command::GoIdle,
        "go_dormant" => Command::GoDormant,
        "wake" => Command::Wake,
        "reconnect" => Command::Reconnect,
        "hold_redial" => Command::HoldRedial,
        "release_redial" => Command::ReleaseRedial,
        "close" => Command::Close,
        _ => {
            return Err(format!(
                "no such command: {}; there are ack, give_back, interrupt, go_idle, go_dormant, wake, reconnect, \
                 hold_redial, release_redial and close",
                excerpt(what)
            ));
        }
    })
}

fn delivery(members: &Members<'_>) -> Result<u64, String> {
    members
        .get("delivery")
        .and_then(|raw| raw.get().parse().ok())
        .ok_or_else(|| "`delivery` should be the number that came with the delivery".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: impl AsRef<[u8]>) -> String {
        parse(line.as_ref()).command.unwrap_err()
    }

    fn request(line: &str) -> (String, Option<String>, Option<String>) {
        match parse(line.as_bytes()).command.unwrap() {
            Command::Request { action, platform, chat_info_of, .. } => {
                (action.to_json().as_str().to_owned(), platform, chat_info_of)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_action_is_passed_on_without_what_is_ours() {
        let line =
            r#"{ "id": [1, {"a": "b c"}], "op": "send", "platform": "slack", "x\n": 1e2, "content": "a \"b\" " }"#;
        let parsed = parse(line.as_bytes());
        assert_eq!(parsed.id.as_deref(), Some(r#"[1,{"a":"b c"}]"#));
        let action = r#"{"op":"send","x\n":1e2,"content":"a \"b\" "}"#;
        assert_eq!(request(line), (action.into(), Some("slack".into()), None));
    }

    #[test]
    fn the_chat_of_an_action_is_a_text_and_its_metadata_an_object() {
        let line = "{\"op\":\"send\",\"metadata\":{ \"k\" : [1, 2] },\"chat_id\":-1001,\"later\":{\r\"a\" : null}}";
        let action = r#"{"op":"send","chat_id":"-1001","later":{"a":null},"metadata":{"k":[1,2]}}"#;
        assert_eq!(request(line).0, action);
        assert_eq!(request(r#"{"op":"send","metadata":null,"chat_id":[7]}"#).0, r#"{"op":"send","chat_id":[7]}"#);
        assert!(problem(r#"{"op":"send","metadata":"x"}"#).contains("`metadata`"));
    }

    #[test]
    fn a_bot_is_named_beside_the_action() {
        let parsed = parse(br#"{"op":"typing","chat_id":"7","bot_id":"b"}"#).command.unwrap();
        let Command::Request { action, bot_id, .. } = parsed else { panic!("{parsed:?}") };
        assert_eq!(action.to_json().as_str(), r#"{"op":"typing","chat_id":"7"}"#);
        assert_eq!(bot_id.as_deref(), Some("b"));
        assert!(problem(r#"{"op":"typing","bot_id":[]}"#).contains("`bot_id`"));
    }

    #[test]
    fn a_question_about_a_chat_is_known_as_one() {
        let line = r#"{"op":"get_chat_info","chat_id":"7","platform":null}"#;
        assert_eq!(parse(line.as_bytes()).id, None);
        assert_eq!(request(line), (r#"{"op":"get_chat_info","chat_id":"7"}"#.into(), None, Some("7".into())));
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
    fn a_prompt_may_be_left_unnamed() {
        for (line, action, unnamed) in [
            (r#"{"op":"prompt","content":"?"}"#, r#"{"op":"prompt","content":"?"}"#, true),
            (r#"{"op":"prompt","prompt_id":null,"content":"?"}"#, r#"{"op":"prompt","content":"?"}"#, true),
            (r#"{"op":"prompt","prompt_id":""}"#, r#"{"op":"prompt"}"#, true),
            (r#"{"op":"prompt","prompt_id":"p.1"}"#, r#"{"op":"prompt","prompt_id":"p.1"}"#, false),
            (r#"{"op":"prompt","prompt_id":7}"#, r#"{"op":"prompt","prompt_id":7}"#, false),
            (r#"{"op":"send","prompt_id":null}"#, r#"{"op":"send","prompt_id":null}"#, false),
        ] {
            let Ok(Command::Request { action: made, unnamed_prompt, .. }) = parse(line.as_bytes()).command else {
                panic!("{line}")
            };
            assert_eq!((made.to_json().as_str(), unnamed_prompt), (action, unnamed), "{line}");
        }
    }

    #[test]
    fn orders() {
        let order = |line: &str| parse(line.as_bytes()).command.unwrap();
        assert_eq!(order(r#"{"do":"ack","delivery":7}"#), Command::Ack(7));
        assert_eq!(order(r#"{"do":"give_back","delivery":7,"more":[]}"#), Command::Nack(7));
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
