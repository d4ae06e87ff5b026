//! Outbounds, and who answers them.

use std::collections::{BTreeSet, VecDeque};

use relay_proto::connector::{Limits, Outbound, OutboundId};
use relay_tokio::RawJson;

use crate::args::AnswerMode;
use crate::json::Object;
use crate::members::{Members, excerpt};

/// More platforms than these are not remembered: then any could be a gateway's.
const MOST_PLATFORMS: usize = 4096;

/// The outbounds of all gateways.
pub(super) enum Answers {
    /// Everything succeeds.
    Auto(MadeUp),
    /// They wait for their results.
    Manual(Waiting),
}

impl Answers {
    pub(super) fn new(mode: AnswerMode) -> Result<Self, String> {
        Ok(match mode {
            AnswerMode::Auto => {
                let run = getrandom::u32().map_err(|error| format!("no randomness for message ids: {error}"))?;
                Self::Auto(MadeUp { run, made: 0, fronted: BTreeSet::new() })
            }
            AnswerMode::Manual => Self::Manual(Waiting { most: Limits::default().outbounds, of: Vec::new() }),
        })
    }
}

/// Results that say that all went well, unless the platform is none of the gateway's.
pub(super) struct MadeUp {
    /// Tells the ids of this run from those of another.
    run: u32,
    made: u64,
    /// The platforms of each gateway's hellos, as [`fronting`] has them.
    fronted: BTreeSet<String>,
}

impl MadeUp {
    fn id(&mut self) -> String {
        self.made += 1;
        format!("{:08x}-{}", self.run, self.made)
    }

    /// A gateway fronts a platform. It stays so when its link ends: the next one's hellos may come before that is told.
    pub(super) fn fronts(&mut self, gateway: &str, platform: &str) {
        if self.fronted.len() < MOST_PLATFORMS {
            self.fronted.insert(fronting(gateway, platform));
        }
    }

    /// The answer to an outbound of a gateway for a platform, if it names one.
    pub(super) fn answer(&mut self, gateway: &str, platform: Option<&str>, action: &RawJson) -> Option<RawJson> {
        let all_known = self.fronted.len() < MOST_PLATFORMS;
        match platform {
            // Elsewhere it would not arrive: that it went well here would hide a mistake.
            Some(platform) if all_known && !self.fronted.contains(&fronting(gateway, platform)) => {
                let error = format!("no hello of this gateway names the platform {}", excerpt(platform));
                RawJson::parse(&Object::new().json("success", "false").text("error", &error).end()).ok()
            }
            _ => self.result(action),
        }
    }

    fn result(&mut self, action: &RawJson) -> Option<RawJson> {
        // An action that is hard to read is one that sends something, like any.
        let action = Members::read(action.as_str().as_bytes(), "").ok();
        let field = |name| action.as_ref().and_then(|action| action.text(name).ok().flatten());
        let success = Object::new().json("success", "true");
        let result = match (field("op").as_deref(), field("message_id")) {
            (Some("typing" | "react" | "thread_rename"), _) => success,
            (Some("get_chat_info"), _) => {
                let name = field("chat_id").unwrap_or_default();
                success.json("chat_info", &Object::new().text("name", &name).text("type", "dm").end())
            }
            (Some("edit"), Some(edited)) => success.text("message_id", &edited),
            (Some("thread_create"), _) => success.text("thread_id", &self.id()),
            _ => success.text("message_id", &self.id()),
        };
        RawJson::parse(&result.end()).ok()
    }
}

/// A gateway's platform, in one text: no id has a line break.
fn fronting(gateway: &str, platform: &str) -> String {
    [gateway, "\n", platform].concat()
}

/// Outbounds that nobody answered yet, by gateway, oldest first.
pub(super) struct Waiting {
    /// How many of one gateway can wait: those before them have been answered by the connector, since it answers what
    /// waits for too long, in order.
    most: usize,
    /// Sorted by gateway. A map would be more code, and few gateways are answered by hand.
    of: Vec<(String, VecDeque<(String, OutboundId)>)>,
}

impl Waiting {
    /// Where a gateway is, or belongs.
    fn place(&self, gateway: &str) -> Result<usize, usize> {
        self.of.binary_search_by(|(known, _)| known.as_str().cmp(gateway))
    }

    pub(super) fn add(&mut self, gateway: &str, outbound: &Outbound) {
        let at = self.place(gateway).unwrap_or_else(|at| {
            self.of.insert(at, (gateway.to_owned(), VecDeque::new()));
            at
        });
        let Some((_, waiting)) = self.of.get_mut(at) else { return };
        if waiting.len() >= self.most {
            waiting.pop_front();
        }
        waiting.push_back((outbound.request_id.clone(), outbound.id));
    }

    /// The oldest one with this request id, which waits no more.
    pub(super) fn take(&mut self, gateway: &str, request_id: &str) -> Option<OutboundId> {
        let at = self.place(gateway).ok()?;
        let (_, waiting) = self.of.get_mut(at)?;
        let index = waiting.iter().position(|(known, _)| known == request_id)?;
        waiting.remove(index).map(|(_, id)| id)
    }

    /// The gateway's link is gone, and with it whoever waited.
    pub(super) fn forget(&mut self, gateway: &str) {
        if let Ok(at) = self.place(gateway) {
            self.of.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_succeeds_under_an_id_of_its_own() {
        let mut made_up = MadeUp { run: 0xab, made: 0, fronted: BTreeSet::new() };
        let mut result = |action: &str| made_up.result(&RawJson::parse(action).unwrap()).unwrap().to_string();
        assert_eq!(result(r#"{"op":"send"}"#), r#"{"success":true,"message_id":"000000ab-1"}"#);
        assert_eq!(result(r#"{"op":"follow_up","chat_id":7}"#), r#"{"success":true,"message_id":"000000ab-2"}"#);
        assert_eq!(result(r#"{"op":"typing"}"#), r#"{"success":true}"#);
        assert_eq!(result(r#"{"op":"edit","message_id":"m"}"#), r#"{"success":true,"message_id":"m"}"#);
        for op in ["react", "thread_rename"] {
            assert_eq!(result(&format!(r#"{{"op":"{op}","message_id":"m"}}"#)), r#"{"success":true}"#);
        }
        assert_eq!(result(r#"{"op":"thread_create"}"#), r#"{"success":true,"thread_id":"000000ab-3"}"#);
        assert_eq!(result(r#"{"op":"prompt"}"#), r#"{"success":true,"message_id":"000000ab-4"}"#);
        assert_eq!(
            result(r#"{"op":"get_chat_info","chat_id":"7"}"#),
            r#"{"success":true,"chat_info":{"name":"7","type":"dm"}}"#
        );
    }

    // proves: CONN-6
    #[test]
    fn what_is_for_a_platform_of_no_hello_fails() {
        let mut made_up = MadeUp { run: 0, made: 0, fronted: BTreeSet::new() };
        let succeeds = |made_up: &mut MadeUp, gateway, platform| {
            let action = RawJson::parse(r#"{"op":"typing"}"#).unwrap();
            let result = made_up.answer(gateway, platform, &action).unwrap().to_string();
            assert!(result.contains("true") || result.contains("platform \\\"slack\\\""), "{result}");
            result == r#"{"success":true}"#
        };
        made_up.fronts("gw", "discord");
        made_up.fronts("other", "slack");
        assert!(!succeeds(&mut made_up, "gw", Some("slack")));
        for (gateway, platform) in [("gw", Some("discord")), ("gw", None), ("other", Some("slack"))] {
            assert!(succeeds(&mut made_up, gateway, platform), "{gateway} {platform:?}");
        }
        for number in 0..MOST_PLATFORMS {
            made_up.fronts("gw", &number.to_string());
        }
        assert!(succeeds(&mut made_up, "gw", Some("slack")), "it may be one of those that are not remembered");
    }
}
