//! Whether a message event could be of use to its gateway.

use relay_tokio::RawJson;
use serde_json::value::RawValue;

use crate::members::{Members, excerpt};

/// What a message can consist of.
const CONTENT: [&str; 4] = ["text", "media_urls", "media", "prompt_response"];
/// A gateway that fronts this takes the messages of every platform.
const ANY: &str = "relay";

/// Checks an event for a gateway that fronts these platforms; `None`: that is not known.
///
/// # Errors
/// What is wrong with it. The contract lets it through (EVENT-1, EVENT-2), and the gateway would make little of it: in a
/// connector for development that is a mistake, as a rule a misspelt member.
pub(super) fn check(event: &RawJson, platforms: Option<&[String]>) -> Result<(), String> {
    // What is hard to read is left to the gateway.
    let Ok(event) = Members::read(event.as_str().as_bytes(), "") else { return Ok(()) };
    let says = |value: &RawValue| !matches!(value.get(), "null" | "[]" | "{}" | "true" | "false");
    if !CONTENT.iter().any(|name| event.get(name).is_some_and(says)) {
        let [text, rest @ ..] = CONTENT;
        return Err(format!("the message has no `{text}`, and none of {}", rest.join(", ")));
    }
    let source = event.get("source").map(|source| Members::read(source.get().as_bytes(), ""));
    let named = source.and_then(Result::ok).and_then(|source| source.text("platform").ok().flatten());
    match (named, platforms) {
        (Some(named), Some(own)) if !named.is_empty() && !own.iter().any(|known| *known == named || known == ANY) => {
            Err(format!("the platform {} is in no hello of the gateway: it fronts {}", excerpt(&named), own.join(", ")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_something_on_a_platform_of_its_gateway() {
        let checked = |event: &str, own: Option<&[&str]>| {
            let own = own.map(|own| own.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
            check(&RawJson::parse(event).unwrap(), own.as_deref()).err().unwrap_or_default()
        };
        for event in [r#"{"txt":"hi"}"#, r#"{"text":null}"#, r#"{"text":[]}"#, r#"{"media_urls":[]}"#, "{}"] {
            assert!(checked(event, None).contains("no `text`"), "{event}");
        }
        for event in [
            r#"{"text":"hi"}"#,
            r#"{"text":""}"#,
            r#"{"text":7}"#,
            r#"{"media_urls":["u"]}"#,
            r#"{"prompt_response":{"prompt_id":"p","option_id":"o"}}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"text":"hi","source":7}"#,
            r#"{"text":"hi","source":{"platform":""}}"#,
        ] {
            assert_eq!(checked(event, Some(&["discord"])), "", "{event}");
        }
        let slack = r#"{"text":"hi","source":{"platform":"slack"}}"#;
        assert!(
            checked(slack, Some(&["discord", "x"]))
                .contains("\"slack\" is in no hello of the gateway: it fronts discord, x")
        );
        for own in [None, Some(&["discord", "slack"][..]), Some(&["relay"])] {
            assert_eq!(checked(slack, own), "", "{own:?}");
        }
    }
}
