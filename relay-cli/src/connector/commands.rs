//! Commands, as lines of JSON.

use relay_tokio::RawJson;
use serde_json::value::RawValue;

use crate::members::Members;

/// What commands look like.
const LIKE: &str = "{\"deliver\":{…}}";

/// What makes a line a command.
const VERBS: [&str; 6] = ["deliver", "forward", "interrupt", "result", "drop", "revoke"];

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command {
    /// The gateway it is about, when the line names one.
    pub(super) gateway: Option<String>,
    pub(super) order: Order,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    Deliver(RawJson),
    Forward(RawJson),
    Interrupt { session_key: String, chat_id: String },
    Result { request_id: String, link: Option<u64>, result: RawJson },
    Drop,
    Revoke,
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
    let mut verbs = VERBS.iter().filter_map(|verb| Some((*verb, members.get(verb)?)));
    let (verb, value) = verbs.next().ok_or_else(|| format!("no command: it has none of {}", VERBS.join(", ")))?;
    if let Some((second, _)) = verbs.next() {
        return Err(format!("both `{verb}` and `{second}`: one line, one command"));
    }
    let gateway = members.text("gateway")?;
    let order = match verb {
        "deliver" => Order::Deliver(object(verb, value)?),
        "forward" => Order::Forward(object(verb, value)?),
        "interrupt" => interrupt(members, value)?,
        "result" => Order::Result {
            request_id: members.text("request_id")?.ok_or("`result` needs the `request_id` of the outbound")?,
            link: match members.get("link") {
                None => None,
                Some(link) => serde_json::from_str(link.get()).map_err(|_| "`link` is not the number of a link")?,
            },
            result: object(verb, value)?,
        },
        _ => {
            let order = if verb == "drop" { Order::Drop } else { Order::Revoke };
            return Ok(Command { gateway: named(verb, members.text(verb)?, gateway)?, order });
        }
    };
    Ok(Command { gateway, order })
}

/// The gateway of a command whose value is its name.
fn named(verb: &str, name: Option<String>, gateway: Option<String>) -> Result<Option<String>, String> {
    match (name, gateway) {
        (Some(name), Some(gateway)) if name != gateway => Err(format!("`{verb}` and `gateway` name two gateways")),
        (name, gateway) => Ok(name.or(gateway)),
    }
}

fn interrupt(members: &Members<'_>, value: &RawValue) -> Result<Order, String> {
    let inner;
    // The session and its chat, in an object of their own or side by side.
    let (session_key, chat_id) = if value.get().starts_with('{') {
        inner = Members::read(value.get().as_bytes(), "{\"session_key\":…,\"chat_id\":…}")?;
        (inner.text("session_key")?, inner.text("chat_id")?)
    } else {
        (members.text("interrupt")?, members.text("chat_id")?)
    };
    let session_key = session_key
        .filter(|key| !key.is_empty())
        .ok_or("`interrupt` needs a `session_key`, as in {\"interrupt\":{\"session_key\":…,\"chat_id\":…}}")?;
    Ok(Order::Interrupt { session_key, chat_id: chat_id.unwrap_or_default() })
}

fn object(verb: &str, value: &RawValue) -> Result<RawJson, String> {
    match RawJson::parse(value.get()) {
        Ok(json) if value.get().starts_with('{') => Ok(json),
        _ => Err(format!("`{verb}` is not an object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> RawJson {
        RawJson::parse(text).unwrap()
    }

    fn good(line: &str) -> (Option<String>, Order) {
        let Command { gateway, order } = parse(line.as_bytes()).command.unwrap();
        (gateway, order)
    }

    #[test]
    fn every_command_is_read() {
        let gw = || Some("gw".to_owned());
        assert_eq!(
            good(r#"{"deliver":{ "text" : "hi" },"gateway":"gw","more":1}"#),
            (gw(), Order::Deliver(json(r#"{ "text" : "hi" }"#)))
        );
        assert_eq!(good(r#"{"forward":{},"gateway":null}"#), (None, Order::Forward(json("{}"))));
        let interrupt = |chat: &str| Order::Interrupt { session_key: "s".into(), chat_id: chat.into() };
        assert_eq!(good(r#"{"interrupt":{"session_key":"s","chat_id":"7"}}"#), (None, interrupt("7")));
        assert_eq!(good(r#"{"interrupt":{"session_key":"s"},"gateway":"gw"}"#), (gw(), interrupt("")));
        assert_eq!(good(r#"{"interrupt":"s","chat_id":"7"}"#), (None, interrupt("7")));
        assert_eq!(
            good(r#"{"result":{"success":true},"request_id":"r"}"#),
            (None, Order::Result { request_id: "r".into(), link: None, result: json(r#"{"success":true}"#) })
        );
        assert_eq!(
            good(r#"{"result":{},"request_id":"r","link":3}"#),
            (None, Order::Result { request_id: "r".into(), link: Some(3), result: json("{}") })
        );
        for (verb, order) in [("drop", Order::Drop), ("revoke", Order::Revoke)] {
            assert_eq!(good(&format!(r#"{{"{verb}":"gw"}}"#)).0, gw());
            assert_eq!(good(&format!(r#"{{"{verb}":null,"gateway":"gw"}}"#)).0, gw());
            assert_eq!(good(&format!(r#"{{"{verb}":"gw","gateway":"gw"}}"#)).0, gw());
            assert_eq!(good(&format!(r#"{{"{verb}":null}}"#)), (None, order));
        }
    }

    #[test]
    fn what_makes_no_sense_is_explained() {
        for (line, word) in [
            ("hello", "not JSON"),
            ("[]", "not a JSON object"),
            ("{}", "no command"),
            (r#"{"do":"close"}"#, "no command"),
            (r#"{"deliver":{},"drop":"gw"}"#, "both `deliver` and `drop`"),
            (r#"{"deliver":{},"deliver":{}}"#, "twice"),
            (r#"{"deliver":"hi"}"#, "`deliver`"),
            (r#"{"deliver":null}"#, "`deliver`"),
            (r#"{"forward":[]}"#, "`forward`"),
            (r#"{"deliver":{},"gateway":7}"#, "`gateway`"),
            (r#"{"interrupt":{}}"#, "`session_key`"),
            (r#"{"interrupt":{"session_key":7}}"#, "`session_key`"),
            (r#"{"interrupt":{"session_key":"s","chat_id":7}}"#, "`chat_id`"),
            (r#"{"interrupt":""}"#, "`session_key`"),
            (r#"{"interrupt":7}"#, "`interrupt`"),
            (r#"{"result":{}}"#, "`request_id`"),
            (r#"{"result":7,"request_id":"r"}"#, "`result`"),
            (r#"{"result":{},"request_id":"r","link":"1"}"#, "`link`"),
            (r#"{"drop":7}"#, "`drop`"),
            (r#"{"revoke":"a","gateway":"b"}"#, "two gateways"),
        ] {
            let problem = parse(line.as_bytes()).command.unwrap_err();
            assert!(problem.contains(word), "{line}: {problem}");
        }
    }

    #[test]
    fn a_line_that_makes_no_sense_keeps_its_id() {
        assert_eq!(parse(br#"{"id":[1, 2]}"#).id.as_deref(), Some("[1,2]"));
    }
}
