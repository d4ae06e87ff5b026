//! What the chat layer adds to requests.

use super::pair::*;
use crate::action::Action;
use crate::frame::MessageEvent;
use crate::gateway::{NotSent, RequestOptions};

const SLACK: &str = r#"{"type":"descriptor","descriptor":{"platform":"slack","supported_ops":["send","react"],"max_message_length":7}}"#;

/// A gateway of two platforms, of which the second supports reactions.
fn world() -> World {
    let mut world = World::ready_with(config().identity("slack", "b2"));
    world.line(SLACK);
    world
}

fn hear(world: &mut World, event: &str) {
    world.line(&format!(r#"{{"type":"inbound","event":{event}}}"#));
}

/// The frame of an action, but for its id.
fn performed(world: &mut World, action: Action, source_platform: Option<&str>) -> Result<String, NotSent> {
    let id = world.machine.perform(action, source_platform, RequestOptions::default(), world.now)?;
    world.write();
    world.machine.cancel(id, world.now);
    Ok(world.sent().remove(0).split_once(r#""action":"#).unwrap().1.to_owned())
}

// proves: CHAT-3, CHAT-8
#[test]
fn a_request_goes_where_the_chat_was_heard() {
    let mut world = world();
    assert_eq!((world.machine.source_platform("c"), world.machine.source_platform("x")), (None, None));
    hear(&mut world, r#"{"source":{"platform":"slack","chat_id":"c","scope_id":"T1"}}"#);
    hear(&mut world, r#"{"source":{"platform":"pager","chat_id":"p","scope_id":"P1"}}"#);
    assert_eq!(world.machine.source_platform("c").as_deref(), Some("slack"));
    assert_eq!(world.machine.source_platform("p").as_deref(), Some("pager"));
    let known =
        r#"{"op":"send","chat_id":"c","content":"hi","metadata":{"scope_id":"T1"}},"platform":"slack","botId":"b2"}"#;
    assert_eq!(performed(&mut world, Action::send("c", "hi"), None).unwrap(), known);
    let not_fronted = r#"{"op":"send","chat_id":"p","content":"hi","metadata":{"scope_id":"P1"}}}"#;
    assert_eq!(performed(&mut world, Action::send("p", "hi"), None).unwrap(), not_fronted);
    let unknown = r#"{"op":"send","chat_id":"x","content":"hi"}}"#;
    assert_eq!(performed(&mut world, Action::send("x", "hi"), None).unwrap(), unknown);
    let elsewhere = r#"{"op":"send","chat_id":"c","content":"hi"},"platform":"discord","botId":"b1"}"#;
    assert_eq!(performed(&mut world, Action::send("c", "hi"), Some("discord")).unwrap(), elsewhere);
}

// proves: CHAT-8
#[test]
fn an_answer_goes_out_as_the_bot_that_was_addressed() {
    let two = config().identity("slack", "a").identity("slack", "b");
    let mut world = World::ready_with(two);
    let hear_for = |world: &mut World, profile: &str| {
        hear(world, &format!(r#"{{"source":{{"platform":"slack","chat_id":"c","profile":"{profile}"}}}}"#));
    };
    let bot = |world: &mut World| {
        let sent = performed(world, Action::send("c", "hi"), None).unwrap();
        sent.split_once(r#""platform":"slack""#).unwrap().1.to_owned()
    };
    hear_for(&mut world, "b");
    assert_eq!(bot(&mut world), r#","botId":"b"}"#);
    hear_for(&mut world, "a");
    assert_eq!(bot(&mut world), r#","botId":"a"}"#);
    assert_eq!(world.machine.route("c").bot_id.as_deref(), Some("a"));
    hear(&mut world, r#"{"source":{"platform":"slack","chat_id":"c"}}"#);
    assert_eq!(bot(&mut world), r#","botId":"a"}"#, "nothing else was said");
    hear_for(&mut world, "ops");
    assert_eq!(bot(&mut world), "}", "a profile that is no bot says nothing");
    // The message that is answered says more than the chat's last one; of one bot there is nothing to tell.
    let parse = |json: &str| MessageEvent::parse(json).unwrap();
    let event = parse(r#"{"source":{"platform":"slack","chat_id":"c","profile":"b"}}"#);
    assert_eq!(world.machine.bot_of(&event).as_deref(), Some("b"));
    assert!(Action::answer(&event, "hi").to_json().as_str().contains(r#""profile":"b""#));
    let event = parse(r#"{"source":{"platform":"discord","chat_id":"c","profile":"b1"}}"#);
    assert_eq!(world.machine.bot_of(&event), None);
    // A bot that is named is on its own platform.
    let options = RequestOptions::default().bot_id("b1");
    world.machine.perform(Action::send("c", "hi"), None, options, world.now).unwrap();
    world.write();
    assert!(world.sent()[0].ends_with(r#","platform":"discord","botId":"b1"}"#));
}

// proves: CHAT-3, CHAT-7
#[test]
fn an_interaction_tells_of_its_chat_as_well() {
    use base64::Engine as _;
    let mut world = world();
    let body =
        r#"{"id":"1","type":3,"channel_id":"c","guild_id":"G1","member":{"user":{"id":"u"}},"data":{"custom_id":"x"}}"#;
    let body = base64::engine::general_purpose::STANDARD.encode(body);
    world.line(&format!(r#"{{"type":"passthrough_forward","forward":{{"platform":"discord","bodyB64":"{body}"}}}}"#));
    let sent = performed(&mut world, Action::send("c", "hi"), None).unwrap();
    assert!(sent.contains(r#""metadata":{"scope_id":"G1"}"#), "{sent}");
}

// proves: CHAT-8
#[test]
fn only_what_is_fronted_is_named() {
    let world = world();
    let fronted = |platform| world.machine.fronted(platform);
    assert_eq!(fronted(Some("slack")).as_deref(), Some("slack"));
    assert_eq!(fronted(Some("discord")).as_deref(), Some("discord"));
    assert_eq!((fronted(Some("pager")), fronted(Some("")), fronted(None)), (None, None, None));
}

// proves: CHAT-1, CHAT-8
#[test]
fn what_is_supported_is_the_platforms_affair() {
    let mut world = world();
    let react = || Action::react("c", "m", "👍");
    let refused = performed(&mut world, react(), None);
    assert!(
        matches!(refused, Err(NotSent::Unsupported { op, platform }) if (&*op, &*platform) == ("react", "discord"))
    );
    assert!(performed(&mut world, react(), Some("slack")).is_ok());
    let limit = |world: &mut World, chat: &str, on: Option<&str>| {
        world.machine.capabilities(chat, on).map(|capabilities| capabilities.descriptor().max_message_length)
    };
    assert_eq!(limit(&mut world, "c", None), Some(4096), "of the default");
    assert_eq!(limit(&mut world, "c", Some("slack")), Some(7));
    hear(&mut world, r#"{"source":{"platform":"slack","chat_id":"c"}}"#);
    assert_eq!(limit(&mut world, "c", None), Some(7));
    assert_eq!(limit(&mut world, "c", Some("discord")), Some(4096));
    world.end(lost());
    assert_eq!(limit(&mut world, "c", None), None);
}

// proves: CHAT-3
#[test]
fn a_message_that_was_kept_over_a_restart_tells_of_its_chat_unless_it_is_known() {
    let mut world = world();
    let event = |author: &str| {
        let json = format!(r#"{{"source":{{"platform":"discord","chat_id":"c","user_id":"{author}"}}}}"#);
        MessageEvent::parse(&json).unwrap()
    };
    world.machine.learn(&event("ann"));
    world.machine.learn(&event("bob"));
    let sent = performed(&mut world, Action::send("c", "hi"), None).unwrap();
    assert!(sent.contains(r#""metadata":{"user_id":"ann"}"#), "{sent}");
}

// proves: CHAT-4
#[test]
fn a_gateway_knows_its_prompts_also_after_a_restart() {
    let mut before = World::seeded(config(), 1);
    let prompt = before.machine.mint_prompt();
    let mut after = World::seeded(config(), 2);
    assert!(after.machine.is_own_prompt(&prompt) && after.machine.mint_prompt() != prompt);
    let other = World::seeded(config().credentials("gw-2", SECRET), 1);
    assert!(!other.machine.is_own_prompt(&prompt));
    let nameless = || crate::gateway::Config::new("wss://connector.example").identity("discord", "b1");
    let mut one = World::seeded(nameless(), 1);
    let prompt = one.machine.mint_prompt();
    assert!(one.machine.is_own_prompt(&prompt) && !World::seeded(nameless(), 2).machine.is_own_prompt(&prompt));
}
