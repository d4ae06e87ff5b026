//! Requests, from their acceptance to their one end.

use super::pair::*;
use crate::frame::{RawJson, Verdict};
use crate::gateway::{
    Ambiguous, Event, Limits, Machine, NotSent, Notice, Outcome, Reason, RequestOptions, State, Transmit,
};

fn not_sent(why: NotSent) -> Option<Outcome> {
    Some(Outcome::NotSent(why))
}

fn ambiguous(why: Ambiguous) -> Option<Outcome> {
    Some(Outcome::Ambiguous(why))
}

// proves: REQ-1, FRAME-1
#[test]
fn a_request_is_one_frame_and_ends_with_its_result() {
    let mut world = World::ready();
    let id = world.request();
    let wire = id.to_string();
    assert!(wire.len() == 32 && wire.bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(world.sent(), [format!(r#"{{"type":"outbound","requestId":"{id}","action":{{"op":"send"}}}}"#)]);
    assert_eq!(world.outcome(id), None);
    world.answer(id);
    let Some(Outcome::Result(result)) = world.outcome(id) else { panic!() };
    assert_eq!(result.verdict, Verdict::Delivered);
}

// proves: FRAME-1
#[test]
fn an_action_written_over_several_lines_goes_out_on_one() {
    let mut world = World::ready();
    let pretty = RawJson::parse("{\n  \"op\": \"send\",\r\n\t\"content\": \"a \\\\\\\" : b\" }").unwrap();
    world.machine.request(&pretty, &RequestOptions::default(), world.now).unwrap();
    world.write();
    let frame = world.sent().remove(0);
    assert!(frame.ends_with(r#""action":{"op":"send","content":"a \\\" : b"}}"#), "{frame}");
}

// proves: REQ-1
#[test]
fn ids_differ_between_requests_machines_and_restarts() {
    let mut ids = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let mut world = World::seeded(config(), seed);
        world.tick();
        world.become_ready();
        for _ in 0..20 {
            assert!(ids.insert(world.request()));
        }
    }
}

// proves: REQ-1, REQ-3
#[test]
fn a_request_times_out_on_its_own_deadline_and_a_late_result_is_counted() {
    let mut world = World::ready();
    let slow = world.request();
    let quick = world.ask("send", &RequestOptions { timeout: Some(secs(3)), ..Default::default() }).unwrap();
    assert_eq!(world.machine.poll_timeout().map(|d| d.reason), Some(Reason::Request));
    world.advance(secs(3));
    assert_eq!(world.outcome(quick).cloned(), ambiguous(Ambiguous::TimedOut));
    world.advance(secs(26));
    assert_eq!(world.outcome(slow), None);
    world.advance(secs(1));
    assert_eq!(world.outcome(slow).cloned(), ambiguous(Ambiguous::TimedOut), "30 s by default");
    world.answer(quick);
    assert_eq!(world.machine.stats().unmatched_results, 1);
    assert_eq!(world.notices, [Notice::UnmatchedResult]);
    assert_eq!(world.state(), State::Ready, "and nothing else happens");
}

// proves: REQ-1, FRAME-1
#[test]
fn a_frame_over_the_limit_is_refused_and_nothing_is_written() {
    let limits = Limits { frame: 1024, ..Limits::default() };
    let mut world = World::ready_with(config().limits(limits));
    let fits = |world: &mut World, fill: usize| {
        let action = RawJson::parse(&format!("{{\"op\":\"{}\"}}", "x".repeat(fill))).unwrap();
        world.machine.request(&action, &RequestOptions::default(), world.now)
    };
    let room = 1024 - r#"{"type":"outbound","requestId":"","action":{"op":""}}"#.len() - 32;
    let Err(refused) = fits(&mut world, room + 1) else { panic!() };
    assert_eq!(refused, NotSent::TooLarge { size: 1025, limit: 1024 });
    assert!(refused.to_string().contains("1025") && refused.to_string().contains("1024"), "names both sizes");
    let error = world.machine.interrupt(&"k".repeat(2000), None, world.now).unwrap_err();
    assert!(matches!(error, NotSent::TooLarge { limit: 1024, .. }));
    world.write();
    assert!(world.sent().is_empty());
    assert!(fits(&mut world, room).is_ok(), "exactly the limit");
    world.write();
    assert_eq!(world.sent()[0].len(), 1024, "the newline is not counted");
}

// proves: REQ-2
#[test]
fn every_request_on_a_link_ends_with_it_at_once() {
    let mut world = World::ready();
    let written: Vec<_> = (0..50).map(|_| world.request()).collect();
    world.writes = false;
    let unwritten = world.request();
    let patient = world.patient_request(None);
    world.end(lost());
    for id in written {
        assert_eq!(world.outcome(id).cloned(), ambiguous(Ambiguous::LinkLost));
    }
    assert_eq!(world.outcome(unwritten).cloned(), not_sent(NotSent::NoLink), "it was never written: safe to repeat");
    assert_eq!(world.outcome(patient), None, "not written, and willing to wait");
    world.writes = true;
    world.await_dial();
    world.open();
    world.written.clear();
    world.line(DESCRIPTOR);
    assert!(world.sent()[0].contains(&patient.to_string()));
    world.end(lost());
    assert_eq!(world.outcome(patient).cloned(), ambiguous(Ambiguous::LinkLost), "written now: it waits no more");
}

// proves: REQ-2, LINK-3
#[test]
fn no_deadline_of_a_request_outlives_it() {
    let mut world = World::ready();
    let quick = RequestOptions { timeout: Some(millis(10)), ..Default::default() };
    let answered = world.ask("send", &quick).unwrap();
    world.answer(answered);
    assert_eq!(world.machine.poll_timeout().map(|d| d.reason), Some(Reason::Keepalive));
    world.ask("send", &quick).unwrap();
    world.end(lost());
    assert_eq!(world.machine.poll_timeout().map(|d| d.reason), Some(Reason::Redial));
}

// proves: REQ-2
#[test]
fn without_a_ready_link_a_request_fails_at_once_unless_it_waits() {
    let mut world = World::new();
    for _ in 0..3 {
        let refused = world.ask("send", &RequestOptions::default());
        assert_eq!(refused, Err(NotSent::NoLink), "{:?}", world.state());
        match world.state() {
            State::Disconnected => world.tick(),
            State::Dialing => world.open(),
            _ => {}
        }
    }
    let first = world.patient_request(Some(secs(20)));
    let second = world.patient_request(None);
    let hasty = world.patient_request(Some(millis(1)));
    world.advance(millis(1));
    assert_eq!(world.outcome(hasty).cloned(), not_sent(NotSent::TimedOut), "within its own deadline");
    world.written.clear();
    world.line(DESCRIPTOR);
    let sent = world.sent();
    assert_eq!(sent.len(), 2);
    assert!(sent[0].contains(&first.to_string()) && sent[1].contains(&second.to_string()), "oldest first");
    world.advance(secs(20));
    assert_eq!(world.outcome(first).cloned(), ambiguous(Ambiguous::TimedOut));
}

// proves: REQ-3
#[test]
fn strange_results_are_counted_and_do_no_harm() {
    let mut world = World::ready();
    let id = world.request();
    world.writes = false;
    let unwritten = world.request();
    let strange = [
        r#""nonsense""#.to_owned(),
        format!("\"{}\"", "0".repeat(32)),
        format!("\"{}\"", id.to_string().to_uppercase()),
        format!("\"+{}\"", &id.to_string()[1..]),
        "17".to_owned(),
        format!("\"{unwritten}\""),
    ];
    for name in &strange {
        world.line(&format!(r#"{{"type":"outbound_result","requestId":{name},"result":{{"success":true}}}}"#));
    }
    let upper_is_same = u64::from(id.to_string().bytes().all(|b| b.is_ascii_digit()));
    assert_eq!(world.machine.stats().unmatched_results, strange.len() as u64 - upper_is_same);
    assert_eq!(world.outcome(unwritten), None, "it was not even sent");
    world.line(r#"{"type":"outbound_result","requestId":["x"],"result":{}}"#);
    world.line(&format!(r#"{{"type":"outbound_result","requestId":"{id}","result":"fine"}}"#));
    let Some(Outcome::Result(result)) = world.outcome(id) else { panic!() };
    assert_eq!((result.verdict, result.raw.as_str()), (Verdict::Rejected, "\"fine\""));
    world.answer(id);
    assert_eq!(world.machine.stats().unmatched_results, strange.len() as u64 + 1, "a repeated one, too");
}

// proves: REQ-3
#[test]
fn a_cancelled_request_leaves_nothing_behind() {
    let mut world = World::ready();
    world.writes = false;
    let before = world.surface();
    let quick = RequestOptions { timeout: Some(secs(5)), ..Default::default() };
    let id = world.ask("send", &quick).unwrap();
    world.cancel(id);
    assert_eq!(world.surface(), before, "not even a deadline");
    world.writes = true;
    world.drain();
    assert!(world.sent().is_empty(), "not written any more");
    let id = world.request();
    world.cancel(id);
    world.cancel(id);
    world.answer(id);
    world.end(lost());
    world.reconnect();
    assert!(world.outcome(id).is_none());
    assert_eq!(world.machine.stats().unmatched_results, 1);
}

// proves: REQ-4
#[test]
fn platform_and_bot_id_are_added_only_when_resolved_and_fronted() {
    let mut world = World::ready_with(config().identity("irc", ""));
    let mut tail = |platform: Option<&str>| {
        let options = platform.map_or_else(RequestOptions::default, |name| RequestOptions::default().platform(name));
        world.ask("send", &options).unwrap();
        world.sent()[0].split_once(r#""action":{"op":"send"}"#).unwrap().1.to_owned()
    };
    assert_eq!(tail(None), "}");
    assert_eq!(tail(Some("discord")), r#","platform":"discord","botId":"b1"}"#);
    assert_eq!(tail(Some("irc")), r#","platform":"irc"}"#, "an empty bot id is none");
    assert_eq!(tail(Some("slack")), r#","platform":"slack"}"#, "not fronted");
}

// proves: REQ-4, CHAT-8
#[test]
fn of_several_bots_the_one_that_is_named_acts_and_never_another() {
    let bots = config().identity("slack", "a").identity("slack", "b");
    let mut world = World::ready_with(bots);
    let mut tail = |options: &RequestOptions| {
        let asked = world.ask("send", options);
        let frame = asked.map(|_| world.sent()[0].split_once(r#""action":{"op":"send"}"#).unwrap().1.to_owned());
        (frame, std::mem::take(&mut world.notices))
    };
    let options = RequestOptions::default;
    let named = r#","platform":"slack","botId":"b"}"#;
    assert_eq!(tail(&options().platform("slack").bot_id("b")), (Ok(named.into()), vec![]));
    assert_eq!(tail(&options().bot_id("b")), (Ok(named.into()), vec![]), "the bot says where");
    let unclear = vec![Notice::NoBot { platform: "slack".into() }];
    assert_eq!(tail(&options().platform("slack")), (Ok(r#","platform":"slack"}"#.into()), unclear));
    assert_eq!(tail(&options()), (Ok("}".into()), vec![]), "the link's default identity");
    for (platform, bot) in [(Some("slack"), "b1"), (None, "c"), (Some("irc"), "a")] {
        let asked = RequestOptions { platform: platform.map(Into::into), bot_id: Some(bot.into()), ..options() };
        let refused = NotSent::NotFronted { bot_id: bot.into(), platform: platform.map(Into::into) };
        assert_eq!(tail(&asked), (Err(refused), vec![]));
    }
}

// proves: FRAME-5, REQ-1
#[test]
fn an_error_frame_that_names_its_request_answers_it_and_any_other_ends_none() {
    let mut world = World::ready();
    let (first, second, held) = (world.request(), world.request(), {
        world.writes = false;
        world.request()
    });
    for id in ["nobody", &held.to_string()] {
        world.line(&format!(r#"{{"type":"error","requestId":"{id}","error":"no"}}"#));
    }
    world.line(r#"{"type":"error","error":"slow down"}"#);
    assert_eq!(world.unended(), 3);
    world.line(&format!(r#"{{"type":"error","requestId":"{first}","error":"no such\tchat"}}"#));
    let Some(Outcome::Result(result)) = world.outcome(first) else { panic!() };
    // It may have been carried out all the same: nothing says that it was not.
    assert_eq!((result.verdict, result.error.as_deref()), (Verdict::Ambiguous, Some("no such chat")));
    // What it says later is late.
    world.answer(first);
    assert_eq!(world.machine.stats().unmatched_results, 1);
    world.answer(second);
    assert!(matches!(world.outcome(second), Some(Outcome::Result(result)) if result.verdict == Verdict::Delivered));
}

// proves: FRAME-5
#[test]
fn a_request_that_times_out_has_what_the_connector_said_since_it_was_written() {
    let mut world = World::ready();
    world.line(r#"{"type":"error","error":"of old"}"#);
    let quiet = world.ask("send", &RequestOptions::default().timeout(secs(1))).unwrap();
    world.advance(secs(1));
    assert_eq!(world.outcome(quiet), Some(&Outcome::Ambiguous(Ambiguous::TimedOut)));
    let told = world.request();
    world.line(r#"{"type":"error","error":"a"}"#);
    world.line(r#"{"type":"error","error":"channel not found"}"#);
    world.advance(secs(30));
    let said = "channel not found".into();
    assert_eq!(world.outcome(told), Some(&Outcome::Ambiguous(Ambiguous::Unanswered { said })));
}

// proves: REQ-5
#[test]
fn chat_info_comes_with_the_result() {
    let mut world = World::ready();
    let id = world.ask("get_chat_info", &RequestOptions::default()).unwrap();
    assert!(world.sent()[0].contains(r#"{"op":"get_chat_info"}"#));
    let result = r#"{"success":true,"chat_info":{"name":"ops"}}"#;
    world.line(&format!(r#"{{"type":"outbound_result","requestId":"{id}","result":{result}}}"#));
    let Some(Outcome::Result(result)) = world.outcome(id) else { panic!() };
    let info = result.chat_info("c9");
    assert_eq!((info.name.as_str(), info.kind.as_str()), ("ops", "dm"));
}

// proves: REQ-6
#[test]
fn a_result_says_what_became_of_the_request() {
    let mut world = World::ready();
    for (result, verdict) in [
        (r#"{"success":true}"#, Verdict::Delivered),
        (r#"{"success":false,"error":"Egress Declined"}"#, Verdict::Declined),
        (r#"{"success":false,"code":"egress_declined"}"#, Verdict::Declined),
        (r#"{"success":false,"ambiguous":true}"#, Verdict::Ambiguous),
        (r#"{"success":false}"#, Verdict::Rejected),
    ] {
        let id = world.request();
        world.line(&format!(r#"{{"type":"outbound_result","requestId":"{id}","result":{result}}}"#));
        let Some(Outcome::Result(got)) = world.outcome(id) else { panic!() };
        assert_eq!((got.verdict, got.raw.as_str()), (verdict, result));
    }
}

// proves: REQ-1
#[test]
fn a_timeout_without_end_is_no_overflow() {
    let mut world = World::ready();
    let for_ever = Some(std::time::Duration::MAX);
    let id = world.ask("send", &RequestOptions { timeout: for_ever, ..Default::default() }).unwrap();
    world.advance(secs(20));
    assert_eq!(world.outcome(id), None);
    world.answer(id);
    assert!(matches!(world.outcome(id), Some(Outcome::Result(_))));
}

// proves: REQ-1, REQ-2
#[test]
fn a_request_that_waits_for_a_link_ends_even_if_none_ever_comes() {
    let mut world = World::with(config().reconnect(false));
    world.tick();
    let id = world.patient_request(None);
    world.end(lost());
    assert_eq!(world.outcome(id).cloned(), not_sent(NotSent::NoLink));
    assert_eq!(world.state(), State::Closed);
    assert!(matches!(world.take_events()[..], [Event::Disconnected { retry_in: None, .. }, Event::Closed]));
}

// proves: REQ-1, REQ-3 (linear time: n² would take minutes here)
#[test]
fn many_requests_cost_little_each() {
    let mut world = World::ready();
    let ids: Vec<_> = (0..20_000).map(|_| world.request()).collect();
    let answers: String = ids.iter().rev().skip(5_000).map(|id| result(*id) + "\n").collect();
    world.bytes(answers.as_bytes());
    assert_eq!(world.unended(), 5_000);
    world.end(lost());
    assert_eq!(world.unended(), 0);
}

// proves: REQ-3, FRAME-3
#[test]
fn requests_that_ended_do_not_pile_up_on_a_link_that_takes_nothing() {
    let mut world = World::ready();
    let link = world.link.unwrap();
    let action = RawJson::parse(r#"{"op":"typing"}"#).unwrap();
    let size = |machine: &Machine| format!("{machine:?}").len();
    let before = size(&world.machine);
    let kept = world.machine.request(&action, &RequestOptions::default().timeout(secs(9000)), world.now).unwrap();
    for n in 0..2000 {
        // The peer pings, and never reads.
        world.now.monotonic += millis(30);
        world.machine.handle_traffic(link, world.now);
        let options = RequestOptions::default().timeout(millis(if n % 2 == 0 { 30 } else { 3000 }));
        let id = world.machine.request(&action, &options, world.now).unwrap();
        if n % 2 == 1 {
            world.machine.cancel(id, world.now);
        }
        world.machine.handle_timeout(world.now);
        while world.machine.poll_output().is_some() {}
    }
    assert!(size(&world.machine) < before + 10_000, "{}", size(&world.machine));
    let written = core::iter::from_fn(|| world.machine.poll_transmit(link));
    let texts: Vec<_> =
        written.filter_map(|transmit| if let Transmit::Text(text) = transmit { Some(text) } else { None }).collect();
    assert_eq!(texts.len(), 1);
    assert!(texts[0].contains(&format!("{kept}")), "{texts:?}");
}

// proves: REQ-4
#[test]
fn an_identity_that_is_configured_twice_is_not_several_bots() {
    let mut world = World::ready_with(config().identity("irc", "b9").identity("irc", "b9"));
    let action = RawJson::parse(r#"{"op":"send"}"#).unwrap();
    world.machine.request(&action, &RequestOptions::default().platform("irc"), world.now).unwrap();
    world.write();
    assert!(world.sent()[0].contains(r#""botId":"b9""#));
}
