//! Outbounds, and who answers them.

use std::collections::VecDeque;

use relay_proto::connector::{Limits, LinkId, Outbound, OutboundId};
use relay_tokio::{Descriptor, RawJson};

use super::actions;
use super::fronts::Fronts;
use crate::args::AnswerMode;
use crate::json::Object;
use crate::members::{Members, excerpt};

/// Request ids of links that are gone, which are remembered to recognise an answer that comes late.
const MOST_GONE: usize = 1024;

/// The outbounds of all gateways.
pub(super) enum Answers {
    /// What could be carried out succeeds.
    Auto(MadeUp),
    /// They wait for their results.
    Manual(Waiting),
}

impl Answers {
    pub(super) fn new(mode: AnswerMode, descriptors: Vec<Descriptor>) -> Result<Self, String> {
        Ok(match mode {
            AnswerMode::Auto => {
                let run = getrandom::u32().map_err(|error| format!("no randomness for message ids: {error}"))?;
                Self::Auto(MadeUp { run, made: 0, descriptors })
            }
            AnswerMode::Manual => Self::Manual(Waiting { most: Limits::default().outbounds, of: Vec::new() }),
        })
    }
}

/// Results that say that all went well, unless the platform would have refused it.
pub(super) struct MadeUp {
    /// Tells the ids of this run from those of another.
    run: u32,
    made: u64,
    /// What gateways were told of the platforms. Of others they were told every default.
    descriptors: Vec<Descriptor>,
}

impl MadeUp {
    fn id(&mut self) -> String {
        self.made += 1;
        format!("{:08x}-{}", self.run, self.made)
    }

    /// What the gateway was told of a platform. The last of two descriptors counts.
    fn descriptor(&self, platform: &str) -> Descriptor {
        let known = self.descriptors.iter().rev().find(|descriptor| descriptor.platform == platform);
        known.cloned().unwrap_or_else(|| Descriptor::new(platform))
    }

    /// The answer to an outbound of a gateway, which names its platform or means the gateway's default one.
    pub(super) fn answer(&mut self, gateway: &str, outbound: &Outbound, fronts: &Fronts) -> Option<RawJson> {
        let result = match self.result(gateway, outbound, fronts) {
            Ok(result) => result,
            Err(problem) => Object::new().json("success", "false").text("error", &problem),
        };
        RawJson::parse(&result.end()).ok()
    }

    fn result(&mut self, gateway: &str, outbound: &Outbound, fronts: &Fronts) -> Result<Object, String> {
        let platform = match &outbound.platform {
            // Elsewhere it would not arrive: that it went well here would hide a mistake.
            Some(platform) if !fronts.may_front(gateway, platform) => {
                return Err(format!("no hello of this gateway names the platform {}", excerpt(platform)));
            }
            Some(platform) => platform.as_str(),
            None => fronts.default_of(gateway).unwrap_or_default(),
        };
        let action = Members::read(outbound.action.as_str().as_bytes(), "")?;
        let op = actions::check(&action, &self.descriptor(platform))?;
        let field = |name| action.text(name).ok().flatten().unwrap_or_default();
        let success = Object::new().json("success", "true");
        Ok(match op.as_str() {
            "typing" | "react" | "thread_rename" => success,
            "get_chat_info" => {
                success.json("chat_info", &Object::new().text("name", &field("chat_id")).text("type", "dm").end())
            }
            "edit" => success.text("message_id", &field("message_id")),
            "thread_create" => success.text("thread_id", &self.id()),
            _ => success.text("message_id", &self.id()),
        })
    }
}

/// Outbounds that nobody answered yet, by gateway, oldest first.
pub(super) struct Waiting {
    /// How many of one gateway can wait: those before them have been answered by the connector, since it answers what
    /// waits for too long, in order.
    most: usize,
    /// Sorted by gateway. A map would be more code, and few gateways are answered by hand.
    of: Vec<(String, Own)>,
}

/// Those of one gateway.
#[derive(Default)]
struct Own {
    waiting: VecDeque<(String, LinkId, OutboundId)>,
    /// Request ids that waited when their link ended, with it: answers to them come late.
    gone: VecDeque<(String, LinkId)>,
}

/// Why there is nothing to answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotFound {
    /// Nothing waits.
    NotWaiting,
    /// An earlier link asked under the same id, and the answer does not say which one it is for.
    Ambiguous,
}

impl Waiting {
    /// Where a gateway is, or belongs.
    fn place(&self, gateway: &str) -> Result<usize, usize> {
        self.of.binary_search_by(|(known, _)| known.as_str().cmp(gateway))
    }

    pub(super) fn add(&mut self, gateway: &str, outbound: &Outbound) {
        let at = self.place(gateway).unwrap_or_else(|at| {
            self.of.insert(at, (gateway.to_owned(), Own::default()));
            at
        });
        let Some((_, own)) = self.of.get_mut(at) else { return };
        if own.waiting.len() >= self.most {
            own.waiting.pop_front();
        }
        own.waiting.push_back((outbound.request_id.clone(), outbound.link, outbound.id));
    }

    /// The oldest one with this request id on this link, or on any as long as that leaves no doubt. It waits no more.
    ///
    /// Gateways exist that count their requests from 1 in each process, so that a request id names nothing for good.
    pub(super) fn take(&mut self, gateway: &str, request_id: &str, link: Option<u64>) -> Result<OutboundId, NotFound> {
        let at = self.place(gateway).map_err(|_| NotFound::NotWaiting)?;
        let (_, own) = self.of.get_mut(at).ok_or(NotFound::NotWaiting)?;
        let is = |id: &str, its: &LinkId| id == request_id && link.is_none_or(|link| its.number() == link);
        let index = own.waiting.iter().position(|(id, its, _)| is(id, its)).ok_or(NotFound::NotWaiting)?;
        if link.is_none() && own.gone.iter().any(|(id, _)| id == request_id) {
            return Err(NotFound::Ambiguous);
        }
        own.waiting.remove(index).map(|(.., id)| id).ok_or(NotFound::NotWaiting)
    }

    /// A gateway's link is gone, and with it whoever waited on it.
    pub(super) fn forget(&mut self, gateway: &str, link: LinkId) {
        let Some((_, own)) = self.place(gateway).ok().and_then(|at| self.of.get_mut(at)) else { return };
        let (ended, waiting) = std::mem::take(&mut own.waiting).into_iter().partition(|(_, its, _)| *its == link);
        own.waiting = waiting;
        let ended: VecDeque<(String, LinkId, OutboundId)> = ended;
        for (id, link, _) in ended {
            if own.gone.len() >= MOST_GONE {
                own.gone.pop_front();
            }
            own.gone.push_back((id, link));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::descriptors::built_in;
    use super::*;

    /// Outbounds as gateways make them, with links and requests of a real peer.
    fn outbounds(frames: &[&[&str]]) -> Vec<Outbound> {
        let now = relay_proto::time::Now::default();
        let mut peer = relay_proto::connector::Peer::in_memory(relay_proto::connector::Settings::default(), 1, now);
        let mut seen = Vec::new();
        for link in frames {
            let id = peer.handle_opened(now);
            for frame in *link {
                peer.handle_message(id, frame.as_bytes(), now);
            }
            while let Some(event) = peer.poll_event() {
                if let relay_proto::connector::Event::Outbound(outbound) = event {
                    seen.push(outbound);
                }
            }
        }
        seen
    }

    fn auto() -> MadeUp {
        MadeUp { run: 0xab, made: 0, descriptors: built_in().to_vec() }
    }

    fn answer(made_up: &mut MadeUp, fronts: &Fronts, frame: &str) -> String {
        made_up.answer("gw", &outbounds(&[&[frame]])[0], fronts).unwrap().to_string()
    }

    // proves: CHAT-4, CONN-6
    #[test]
    fn what_can_be_carried_out_succeeds_under_an_id_of_its_own() {
        let (mut made_up, mut fronts) = (auto(), Fronts::default());
        fronts.add("gw", "discord");
        let mut result = |action: &str| {
            answer(&mut made_up, &fronts, &format!(r#"{{"type":"outbound","requestId":"r","action":{action}}}"#))
        };
        let send = r#"{"op":"send","chat_id":"7","content":"hi"}"#;
        assert_eq!(result(send), r#"{"success":true,"message_id":"000000ab-1"}"#);
        let follow_up = r#"{"op":"follow_up","session_key":"s","kind":"k","content":"x"}"#;
        assert_eq!(result(follow_up), r#"{"success":true,"message_id":"000000ab-2"}"#);
        assert_eq!(result(r#"{"op":"typing","chat_id":"7"}"#), r#"{"success":true}"#);
        let edit = r#"{"op":"edit","chat_id":"7","message_id":"m","content":"x"}"#;
        assert_eq!(result(edit), r#"{"success":true,"message_id":"m"}"#);
        let thread = r#"{"op":"thread_create","chat_id":"7","thread_name":"t"}"#;
        assert_eq!(result(thread), r#"{"success":true,"thread_id":"000000ab-3"}"#);
        let info = r#"{"op":"get_chat_info","chat_id":"7"}"#;
        assert_eq!(result(info), r#"{"success":true,"chat_info":{"name":"7","type":"dm"}}"#);
        assert_eq!(result(r#"{"op":"send","chat_id":"7"}"#), r#"{"success":false,"error":"`content` is missing"}"#);
        assert_eq!(result(send), r#"{"success":true,"message_id":"000000ab-4"}"#);
    }

    // proves: CONN-6, CHAT-8
    #[test]
    fn the_platform_of_a_request_decides_and_has_to_be_the_gateways() {
        let (mut made_up, mut fronts) = (auto(), Fronts::default());
        let thread = |platform: &str| {
            format!(
                r#"{{"type":"outbound","requestId":"r"{platform},"action":{{"op":"thread_create","chat_id":"7","thread_name":"t"}}}}"#
            )
        };
        let (telegram, discord) = (thread(r#","platform":"telegram""#), thread(r#","platform":"discord""#));
        assert!(answer(&mut made_up, &fronts, &telegram).contains("no hello of this gateway names"));
        fronts.add("gw", "telegram");
        fronts.add("gw", "discord");
        assert!(answer(&mut made_up, &fronts, &telegram).contains("telegram does not support"));
        assert!(answer(&mut made_up, &fronts, &thread("")).contains("telegram does not support"));
        assert!(answer(&mut made_up, &fronts, &discord).contains("true"));
    }

    // proves: CONN-6
    #[test]
    fn an_answer_is_for_the_link_that_it_names() {
        let frame = r#"{"type":"outbound","requestId":"req-1","action":{"op":"send"}}"#;
        let own = r#"{"type":"outbound","requestId":"req-2","action":{"op":"send"}}"#;
        let seen = outbounds(&[&[frame], &[&format!("{frame}\n{own}")]]);
        let [one, two, other] = &seen[..] else { panic!("{seen:?}") };
        let mut waiting = Waiting { most: 8, of: Vec::new() };
        waiting.add("gw", one);
        assert_eq!(waiting.take("gw", "req-1", Some(two.link.number())), Err(NotFound::NotWaiting));
        waiting.forget("gw", one.link);
        assert_eq!(waiting.take("gw", "req-1", None), Err(NotFound::NotWaiting));
        waiting.add("gw", two);
        waiting.add("gw", other);
        assert_eq!(waiting.take("gw", "req-1", Some(one.link.number())), Err(NotFound::NotWaiting));
        assert_eq!(waiting.take("gw", "req-1", None), Err(NotFound::Ambiguous));
        assert_eq!(waiting.take("gw", "req-1", Some(two.link.number())), Ok(two.id));
        assert_eq!(waiting.take("gw", "req-1", Some(two.link.number())), Err(NotFound::NotWaiting));
        assert_eq!(waiting.take("gw", "req-2", None), Ok(other.id), "nobody else asked under it");
        // Those that were answered are not late.
        waiting.add("gw", two);
        assert_eq!(waiting.take("gw", "req-1", Some(two.link.number())), Ok(two.id));
        waiting.forget("gw", two.link);
        assert_eq!(waiting.of[0].1.gone.len(), 1);
    }
}
