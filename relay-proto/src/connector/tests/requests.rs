//! Hellos, outbounds and interrupts (CONN-2, CONN-6).

use super::*;
use crate::connector::{Outbound, OutboundId, Refused};
use crate::end::LinkEnd;
use crate::frame::{ActionResult, FromConnector, Verdict, from_connector};

fn outbound(rig: &mut Rig, link: LinkId, request_id: &str) -> OutboundId {
    rig.say(link, &format!("{{\"type\":\"outbound\",\"requestId\":\"{request_id}\",\"action\":{{\"op\":\"send\"}}}}"));
    match rig.events().pop() {
        Some(Event::Outbound(Outbound { id, request_id: read, action, .. })) => {
            assert_eq!((&*read, action.as_str()), (request_id, "{\"op\":\"send\"}"));
            id
        }
        other => panic!("{other:?}"),
    }
}

/// The results among the frames that the link may be written.
fn results(rig: &mut Rig, link: LinkId) -> Vec<(String, ActionResult)> {
    let result = |transmit: Transmit| match transmit {
        Transmit::Text(frame) => match from_connector(frame.trim_end().as_bytes()).unwrap() {
            FromConnector::OutboundResult { request_id, result } => Some((request_id, result)),
            _ => None,
        },
        _ => None,
    };
    rig.transmits(link).into_iter().filter_map(result).collect()
}

fn verdicts(rig: &mut Rig, link: LinkId) -> Vec<(String, Verdict)> {
    results(rig, link).into_iter().map(|(id, result)| (id, result.verdict)).collect()
}

// proves: CONN-2
#[test]
fn each_hello_is_answered_with_the_hosts_descriptor_of_its_platform() {
    let mut rig = Rig::new();
    let link = rig.peer.handle_opened(rig.now);
    let hellos = [
        r#"{"type":"hello","platform":"discord","botId":"1","gatewayId":"someone-else"}"#,
        r#"{"type":"hello","platform":"telegram","botId":"2","command_manifest":[1]}"#,
    ];
    rig.say(link, &hellos.join("\n"));
    let platforms: Vec<String> = rig
        .frames(link)
        .iter()
        .map(|frame| match from_connector(frame.trim_end().as_bytes()) {
            Ok(FromConnector::Descriptor(descriptor)) => descriptor.platform,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(platforms, ["discord", "telegram"]);
    let events = rig.events();
    let [Event::Hello(first), Event::Hello(second)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&*first.platform, &*first.bot_id), ("discord", "1"));
    assert_eq!(second.command_manifest.as_ref().unwrap().as_str(), "[1]");
}

// proves: CONN-2
#[test]
fn the_hosts_policy_may_refuse_an_identity() {
    let mut rig = Rig::new();
    rig.describe = false;
    let link = rig.peer.handle_opened(rig.now);
    rig.say(link, r#"{"type":"hello","platform":"discord"}"#);
    let hello = rig.hellos[0];
    assert_eq!(rig.peer.refuse(hello, rig.now), Ok(()));
    assert_eq!(rig.transmits(link), [Transmit::Close { code: 4403, reason: "forbidden" }]);
    assert_eq!(rig.peer.refuse(hello, rig.now), Err(Refused::NotWaiting));
    assert_eq!(rig.peer.describe(hello, &Descriptor::new("discord"), rig.now), Err(Refused::NotWaiting));
    assert!(!rig.events().iter().any(|event| matches!(event, Event::Hello(_))), "only what was answered is told");
}

// proves: CONN-6
#[test]
fn an_outbound_gets_exactly_one_result() {
    let mut rig = Rig::new();
    let link = rig.link();
    let id = outbound(&mut rig, link, "r1");
    let result = RawJson::parse("{\n\"success\": true}").unwrap();
    assert_eq!(rig.peer.answer(id, &result, rig.now), Ok(()));
    assert_eq!(rig.peer.answer(id, &result, rig.now), Err(Refused::NotWaiting));
    assert_eq!(rig.peer.fail(id, "x", true, rig.now), Err(Refused::NotWaiting));
    let line = "{\"type\":\"outbound_result\",\"requestId\":\"r1\",\"result\":{\"success\":true}}\n";
    assert_eq!(rig.frames(link), [line]);
    rig.wait_secs(29);
    assert_eq!(rig.transmits(link), []);
}

// proves: CONN-6
#[test]
fn outbounds_that_share_a_request_id_get_a_result_each() {
    let mut rig = Rig::new();
    let link = rig.link();
    let ids = [outbound(&mut rig, link, "same"), outbound(&mut rig, link, "same")];
    for id in ids {
        rig.peer.fail(id, "no", false, rig.now).unwrap();
    }
    assert_eq!(verdicts(&mut rig, link), [("same".into(), Verdict::Rejected), ("same".into(), Verdict::Rejected)]);
}

// proves: CONN-6
#[test]
fn an_action_that_is_no_object_is_answered_at_once() {
    let mut rig = Rig::new();
    let link = rig.link();
    rig.events();
    for action in ["", ",\"action\":null", ",\"action\":[1]", ",\"action\":\"send\""] {
        rig.say(link, &format!("{{\"type\":\"outbound\",\"requestId\":7{action}}}"));
        assert_eq!(verdicts(&mut rig, link), [("7".into(), Verdict::Rejected)], "{action}");
    }
    assert_eq!(rig.events(), []);
}

// proves: CONN-6
#[test]
fn an_outbound_that_the_host_leaves_unanswered_is_answered_in_time() {
    let mut rig = Rig::new();
    let link = rig.link();
    let id = outbound(&mut rig, link, "shown");
    rig.say(link, r#"{"type":"outbound","requestId":"unshown","action":{}}"#);
    rig.wait_secs(29);
    rig.peer.handle_traffic(link, rig.now);
    assert_eq!(results(&mut rig, link), []);
    rig.wait_secs(1);
    let expected = [("shown".into(), Verdict::Ambiguous), ("unshown".into(), Verdict::Rejected)];
    assert_eq!(verdicts(&mut rig, link), expected, "what the application has not seen was not done");
    assert_eq!(rig.events(), [], "and is not shown to it any more");
    assert_eq!(rig.peer.answer(id, &RawJson::parse("{}").unwrap(), rig.now), Err(Refused::NotWaiting));
}

// proves: CONN-6
#[test]
fn a_link_that_this_side_closes_gets_its_results_first() {
    let ways: [fn(&mut Peer, Now); 3] =
        [Peer::shutdown, |peer, now| _ = peer.revoke(now), |peer, now| _ = peer.handle_opened(now)];
    for close in ways {
        let mut rig = Rig::new();
        let link = rig.link();
        let id = outbound(&mut rig, link, "r1");
        rig.say(link, r#"{"type":"outbound","requestId":"r2","action":{}}"#);
        close(&mut rig.peer, rig.now);
        let transmits = rig.transmits(link);
        assert!(
            matches!(&transmits[..], [Transmit::Text(a), Transmit::Text(b), Transmit::Close { .. }]
            if a.contains("\"r1\"") && a.contains("\"ambiguous\":true")
            && b.contains("\"r2\"") && !b.contains("ambiguous")),
            "{transmits:?}"
        );
        assert_eq!(rig.peer.answer(id, &RawJson::parse("{}").unwrap(), rig.now), Err(Refused::NotWaiting));
        assert!(!rig.events().iter().any(|event| matches!(event, Event::Outbound(_))));
    }
}

// proves: CONN-6
#[test]
fn an_outbound_of_a_lost_link_is_not_answered_on_the_next() {
    let mut rig = Rig::new();
    let link = rig.link();
    let id = outbound(&mut rig, link, "r1");
    rig.peer.handle_ended(link, LinkEnd::Lost { detail: String::new() }, rig.now);
    let next = rig.link();
    assert_eq!(rig.peer.answer(id, &RawJson::parse("{}").unwrap(), rig.now), Err(Refused::NotWaiting));
    assert_eq!(rig.transmits(next), []);
}

// proves: CONN-6, FRAME-1
#[test]
fn a_result_that_is_too_large_is_an_ambiguous_one() {
    let mut rig = Rig::new();
    let link = rig.link();
    let id = outbound(&mut rig, link, "r1");
    let large = RawJson::parse(&format!("\"{}\"", "x".repeat(1 << 20))).unwrap();
    assert!(matches!(rig.peer.answer(id, &large, rig.now), Err(Refused::TooLarge { .. })));
    assert_eq!(verdicts(&mut rig, link), [("r1".into(), Verdict::Ambiguous)]);
}

// proves: CONN-6
#[test]
fn an_interrupt_goes_to_the_current_link_ahead_of_deliveries() {
    let mut rig = Rig::new();
    assert_eq!(rig.peer.interrupt("agent:main", "c1", rig.now), Err(Refused::NoLink));
    let link = rig.link();
    rig.deliver(0);
    assert_eq!(rig.peer.interrupt("agent:main", "c1", rig.now), Ok(()));
    let frames = rig.frames(link);
    assert_eq!(frames[0], "{\"type\":\"interrupt_inbound\",\"session_key\":\"agent:main\",\"chat_id\":\"c1\"}\n");
    assert!(entry_of(&frames[1]).is_some());
    rig.say(link, r#"{"type":"interrupt","session_key":"agent:main","reason":null}"#);
    assert_eq!(rig.events().pop(), Some(Event::Interrupt { session_key: "agent:main".into(), reason: None }));
}
