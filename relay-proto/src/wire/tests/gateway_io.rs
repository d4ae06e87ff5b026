//! The whole gateway without sockets.

use std::time::Duration;

use super::*;
use crate::frame::RawJson;
use crate::gateway::{Config, Event, Limits, LinkId, Output, RequestOptions, State};
use crate::time::Now;
use crate::wire::{GatewayIo, IoRequest};

fn now(seconds: u64) -> Now {
    Now { monotonic: Duration::from_secs(seconds), unix: 1_800_000_000 + seconds }
}

fn config() -> Config {
    Config::new("ws://127.0.0.1:1").identity("discord", "b")
}

/// A gateway whose socket is connected, and its link.
fn connected(config: Config) -> (GatewayIo, LinkId) {
    let mut gateway = GatewayIo::new(config.build().unwrap(), None, 7, now(1));
    let Some(Output::Link(IoRequest::Connect { link, attempt, .. })) = gateway.poll_output(now(1)) else { panic!() };
    assert!(gateway.handle_connected(link, attempt, now(1)));
    (gateway, link)
}

fn carry(gateway: &mut GatewayIo, link: LinkId, server: &mut ServerLink) {
    for _ in 0..3 {
        let bytes = gateway.transmit().to_vec();
        gateway.consume(bytes.len(), now(1));
        server.handle_bytes(&bytes);
        if server_events(server).iter().any(|event| matches!(event, ServerEvent::Request(_))) {
            server.accept();
        }
        let bytes = server.transmit().to_vec();
        server.consume(bytes.len());
        gateway.handle_bytes(link, &bytes, now(1));
        while gateway.poll_output(now(1)).is_some() {}
    }
}

// proves: TOKEN-3
#[test]
fn a_dial_that_is_given_up_does_not_end_with_the_token() {
    let (mut gateway, _) = connected(config().credentials("gw", "a secret"));
    let request = String::from_utf8(gateway.transmit().to_vec()).unwrap();
    assert!(request.contains("Authorization: Bearer "));
    // The socket takes nothing until the dial has lasted too long.
    gateway.handle_timeout(now(12));
    let words: Vec<_> = std::iter::from_fn(|| gateway.poll_output(now(12)))
        .filter_map(|action| match action {
            Output::Link(IoRequest::Disconnect { final_bytes, .. }) => Some(final_bytes),
            _ => None,
        })
        .collect();
    assert_eq!(words, [Vec::<u8>::new()]);
}

// proves: FRAME-2
#[test]
fn a_message_may_have_as_much_as_its_limit_says_in_one_frame() {
    let (mut gateway, link) = connected(config());
    let mut server = server();
    carry(&mut gateway, link, &mut server);
    server.send_text("{\"type\":\"descriptor\",\"descriptor\":{}}\n".into());
    carry(&mut gateway, link, &mut server);
    let text = "t".repeat(Limits::default().line - 100);
    let line = |id| format!("{{\"type\":\"inbound\",\"bufferId\":\"{id}\",\"event\":{{\"text\":\"{text}\"}}}}\n");
    server.send_text(line(1) + &line(2));
    carry(&mut gateway, link, &mut server);
    let read = std::iter::from_fn(|| gateway.machine_mut().poll_event());
    assert_eq!(read.filter(|event| matches!(event, Event::Delivery(_))).count(), 2);
    assert_eq!(gateway.machine().state(), State::Ready);
}

/// A link to a peer that says something every second, and whose socket takes so many bytes in each. `ahead`: the host keeps
/// them in a buffer of its own until the socket does.
struct Talk {
    gateway: GatewayIo,
    link: LinkId,
    server: ServerLink,
    ahead: Option<Vec<u8>>,
    at: u64,
}

impl Talk {
    fn new(ahead: bool) -> Self {
        let (gateway, link) = connected(config());
        let mut talk = Self {
            gateway,
            link,
            server: ServerLink::new(&LinkOptions::default(), None).unwrap(),
            ahead: ahead.then(Vec::new),
            at: 1,
        };
        carry(&mut talk.gateway, link, &mut talk.server);
        talk.server.send_text("{\"type\":\"descriptor\",\"descriptor\":{\"platform\":\"discord\"}}\n".to_owned());
        carry(&mut talk.gateway, link, &mut talk.server);
        assert_eq!(talk.state(), State::Ready);
        talk
    }

    fn state(&self) -> State {
        self.gateway.machine().state()
    }

    fn request(&mut self, size: usize) {
        let action = format!(r#"{{"op":"send","content":"{}"}}"#, "x".repeat(size));
        let options = RequestOptions::default().timeout(Duration::from_secs(3600));
        let action = RawJson::parse(&action).unwrap();
        self.gateway.machine_mut().request(&action, &options, now(self.at)).unwrap();
        while self.gateway.poll_output(now(self.at)).is_some() {}
    }

    fn second(&mut self, room: usize) {
        self.at += 1;
        let now = now(self.at);
        if self.gateway.poll_timeout().is_some_and(|deadline| deadline.at <= now.monotonic) {
            self.gateway.handle_timeout(now);
        }
        while self.gateway.poll_output(now).is_some() {}
        if self.state() != State::Ready {
            return;
        }
        self.server.send_text("\n".to_owned());
        let bytes = self.server.transmit().to_vec();
        self.server.consume(bytes.len());
        self.gateway.handle_bytes(self.link, &bytes, now);
        let waits = self.gateway.transmit().len();
        match &mut self.ahead {
            Some(ahead) => {
                ahead.drain(..room.min(ahead.len()));
                self.gateway.written(ahead.len());
                if ahead.is_empty() && waits > 0 {
                    ahead.resize(waits, b'x');
                    self.gateway.take(waits, waits, now);
                }
            }
            None => self.gateway.consume(room.min(waits), now),
        }
    }
}

// proves: LINK-3
#[test]
fn a_slow_link_that_takes_some_all_the_time_is_not_lost() {
    for ahead in [false, true] {
        let mut talk = Talk::new(ahead);
        for size in [1_000_000, 10, 500_000, 10] {
            talk.request(size);
        }
        for second in 0..400 {
            talk.second(if second % 60 < 30 { 8_000 } else { 0 });
            assert_eq!(talk.state(), State::Ready, "{second} {ahead}");
        }
        let sent = talk.gateway.transmit().is_empty() && talk.ahead.as_ref().is_none_or(Vec::is_empty);
        assert!(sent, "{ahead}: it has taken everything");
        (0..200).for_each(|_| talk.second(0));
        assert_eq!(talk.state(), State::Ready, "nothing waits");
    }
}

// proves: LINK-3
#[test]
fn a_link_that_takes_nothing_is_lost_wherever_its_bytes_wait() {
    for (size, taken) in [(100, 0), (60_000, 100), (200_000, 0)] {
        for (ahead, goes_on) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut talk = Talk::new(ahead);
            talk.request(size);
            talk.second(0);
            talk.second(taken);
            for _ in 0..87 {
                if goes_on {
                    talk.request(10);
                }
                talk.second(0);
            }
            assert_eq!(talk.state(), State::Ready, "{size} {ahead} {goes_on}");
            (0..4).for_each(|_| talk.second(0));
            assert_ne!(talk.state(), State::Ready, "{size} {ahead} {goes_on}");
        }
    }
}
