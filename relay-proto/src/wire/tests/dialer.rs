//! The whole gateway without sockets.

use std::time::Duration;

use super::*;
use crate::gateway::{Config, Event, Limits, LinkId, State};
use crate::time::Now;
use crate::wire::{Action, Dialer, Work};

fn now(seconds: u64) -> Now {
    Now { monotonic: Duration::from_secs(seconds), unix: 1_800_000_000 + seconds }
}

fn config() -> Config {
    Config::new("ws://127.0.0.1:1").identity("discord", "b")
}

/// A gateway whose socket is connected, and its link.
fn connected(config: Config) -> (Dialer, LinkId) {
    let mut dialer = Dialer::new(config.build().unwrap(), None, 7, now(1));
    let Some(Action::Work(Work::Connect { link, attempt, .. })) = dialer.poll_action(now(1)) else { panic!() };
    assert!(dialer.handle_connected(link, attempt, now(1)));
    (dialer, link)
}

fn carry(dialer: &mut Dialer, link: LinkId, server: &mut ServerLink) {
    for _ in 0..3 {
        let bytes = dialer.transmit().to_vec();
        dialer.consume(bytes.len(), now(1));
        server.receive(&bytes);
        if server_events(server).iter().any(|event| matches!(event, ServerEvent::Request(_))) {
            server.accept();
        }
        let bytes = server.transmit().to_vec();
        server.consume(bytes.len());
        dialer.handle_bytes(link, &bytes, now(1));
        while dialer.poll_action(now(1)).is_some() {}
    }
}

// proves: TOKEN-3
#[test]
fn a_dial_that_is_given_up_does_not_end_with_the_token() {
    let (mut dialer, _) = connected(config().credentials("gw", "a secret"));
    let request = String::from_utf8(dialer.transmit().to_vec()).unwrap();
    assert!(request.contains("Authorization: Bearer "));
    // The socket takes nothing until the dial has lasted too long.
    dialer.handle_timeout(now(12));
    let words: Vec<_> = std::iter::from_fn(|| dialer.poll_action(now(12)))
        .filter_map(|action| match action {
            Action::Work(Work::Disconnect { last_words, .. }) => Some(last_words),
            _ => None,
        })
        .collect();
    assert_eq!(words, [Vec::<u8>::new()]);
}

// proves: FRAME-2
#[test]
fn a_message_may_have_as_much_as_its_limit_says_in_one_frame() {
    let (mut dialer, link) = connected(config());
    let mut server = server();
    carry(&mut dialer, link, &mut server);
    server.send_text("{\"type\":\"descriptor\",\"descriptor\":{}}\n".into());
    carry(&mut dialer, link, &mut server);
    let text = "t".repeat(Limits::default().line - 100);
    let line = |id| format!("{{\"type\":\"inbound\",\"bufferId\":\"{id}\",\"event\":{{\"text\":\"{text}\"}}}}\n");
    server.send_text(line(1) + &line(2));
    carry(&mut dialer, link, &mut server);
    let read = std::iter::from_fn(|| dialer.machine_mut().next_event());
    assert_eq!(read.filter(|event| matches!(event, Event::Message(_))).count(), 2);
    assert_eq!(dialer.machine().state(), State::Ready);
}
