//! Any sequence of commands, frames, faults and times.

use proptest::prelude::*;

use super::pair::*;
use crate::end::LinkEnd;
use crate::gateway::{DeliveryId, Event, Limits, RequestId, RequestOptions, State, Transmit};

/// One step: what to do, and with what.
type Step = (u8, u16);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec((0..KINDS, any::<u16>()), 0..80)
}

const KINDS: u8 = 32;

struct Run {
    world: World,
    requests: Vec<RequestId>,
    cancelled: usize,
    deliveries: Vec<DeliveryId>,
    seen: usize,
}

impl Run {
    fn new(seed: u64, shape: u8) -> Self {
        let limits = Limits { queue: 2048, queue_hard: 6000, replay_memory: 4, line: 1024, ..Limits::default() };
        let config = config().reconnect(shape & 1 == 0).confirm_refusals(shape & 2 != 0);
        let config = if shape & 4 == 0 { config.limits(limits) } else { config };
        let zero = timing(|t| {
            (t.hold_max, t.dormant_redial, t.stable) = Default::default();
            (t.shutdown_idle, t.shutdown_requests) = Default::default();
        });
        let config = if shape & 8 == 0 { config } else { config.timing(zero) };
        let world = World::seeded(config, seed);
        Self { world, requests: Vec::new(), cancelled: 0, deliveries: Vec::new(), seen: 0 }
    }

    fn on_link(&mut self, act: impl FnOnce(&mut World)) {
        if self.world.link.is_some() {
            act(&mut self.world);
        }
    }

    /// The host honours `wants_read` mostly; bytes that are on their way come even so.
    fn line(&mut self, line: &str) {
        self.on_link(|world| world.line(line));
    }

    fn ask(&mut self, options: &RequestOptions) {
        if let Ok(id) = self.world.ask("send", options) {
            self.requests.push(id);
        }
    }

    fn pick<T: Copy>(items: &[T], arg: u16) -> Option<T> {
        items.get(usize::from(arg).checked_rem(items.len())?).copied()
    }

    fn step(&mut self, (kind, arg): Step) {
        let number = arg % 7;
        match kind {
            0 | 1 => self.on_link(|world| world.open()),
            2 | 3 => self.line(DESCRIPTOR),
            4 => self.line(&inbound(&format!("{number}"), &format!("{}", arg % 3))),
            5 => {
                let event = format!(r#"{{"message_id":"{number}","source":{{"chat_id":"c"}}}}"#);
                let id = if arg & 256 == 0 { String::new() } else { format!(r#""bufferId":{},"#, arg % 5) };
                self.line(&format!(r#"{{"type":"inbound",{id}"event":{event}}}"#));
            }
            6 => self.line(&format!(r#"{{"type":"passthrough_forward","bufferId":{number},"forward":{{}}}}"#)),
            7 => self.line(&format!(r#"{{"type":"inbound","bufferId":{number},"event":{arg}}}"#)),
            8 | 9 => {
                if let Some(id) = Self::pick(&self.requests, arg) {
                    self.line(&result(id));
                }
            }
            10 => self.line(r#"{"type":"going_idle_ack"}"#),
            11 => self.line(r#"{"type":"interrupt_inbound","session_key":"k"}"#),
            12 => self.line("nonsense"),
            13 => self.on_link(|world| world.bytes(&vec![b'x'; usize::from(arg)])),
            14 => {
                let code = Self::pick(&[1000, 1001, 1002, 1008, 1009, 1013, 4000, 4401, 4403, 4409], arg);
                let reason = Self::pick(&["", "replaced", "expired", "unauthorized"], arg / 16).unwrap_or("");
                let end = LinkEnd::Closed { code: code.filter(|_| arg & 1 == 0), reason: reason.into() };
                self.on_link(|world| world.end(end));
            }
            15 => {
                let status = Self::pick(&[401, 403, 503], arg).unwrap_or(500);
                let end = if arg & 1 == 0 { lost() } else { LinkEnd::Refused { status, reason: String::new() } };
                self.on_link(|world| world.end(end));
            }
            16 | 17 => self.ask(&RequestOptions::default()),
            18 => {
                let timeout = Some(millis(u64::from(arg)));
                self.ask(&RequestOptions { timeout, wait_for_link: arg & 1 == 0, ..Default::default() });
            }
            19 => {
                if let Some(id) = Self::pick(&self.requests, arg) {
                    self.cancelled += usize::from(self.world.outcome(id).is_none());
                    self.requests.retain(|other| *other != id);
                    self.world.cancel(id);
                }
            }
            20 => drop(self.world.go_idle()),
            21 => drop(self.world.go_dormant()),
            22 => self.world.call(|machine, now| machine.wake(now)),
            23 => self.world.call(|machine, now| machine.hold_redial(now)),
            24 => self.world.call(|machine, now| machine.release_redial(now)),
            25 => self.world.call(|machine, now| machine.reconnect(now)),
            26 if arg % 4 == 0 => self.world.call(|machine, now| machine.close(now)),
            27 => {
                if let Some(id) = Self::pick(&self.deliveries, arg) {
                    self.world.call(|machine, now| match arg & 3 {
                        0 => drop(machine.nack(id, now)),
                        1 => machine.drop_delivery(id, now),
                        _ => drop(machine.ack(id, now)),
                    });
                }
            }
            28 => self.world.reads = !self.world.reads,
            29 => self.world.writes = !self.world.writes,
            30 => self.world.jump(secs(u64::from(arg))),
            _ => self.world.advance(millis(u64::from(arg))),
        }
        self.world.drain();
        self.check();
    }

    /// What must hold after every step, beyond what the host checks by itself.
    fn check(&mut self) {
        let world = &mut self.world;
        for event in world.events.iter().skip(self.seen) {
            self.deliveries.extend(match event {
                Event::Delivery(delivered) => Some(delivered.id),
                _ => None,
            });
        }
        self.seen = world.events.len();
        // Whatever is due gets done in a few calls; after that, calling changes nothing (CLOCK-1).
        for round in 0.. {
            let Some(deadline) = world.machine.poll_timeout() else { break };
            if deadline.at > world.now.monotonic {
                break;
            }
            assert!(round < 8, "a deadline that never passes: {deadline:?}");
            world.tick();
        }
        let (before, written) = (world.surface(), world.written.len());
        world.tick();
        world.tick();
        assert_eq!((world.surface(), world.written.len()), (before, written), "a spurious timeout had an effect");
    }

    /// With a peer that never says anything again, every request ends, and shutting down comes to its end.
    fn finish(mut self) -> Vec<String> {
        self.world.advance(secs(120));
        assert_eq!(self.world.unended(), 0, "REQ-1: a request that never ended");
        self.world.call(|machine, now| machine.close(now));
        self.world.advance(secs(9));
        assert!(self.world.state().is_terminal(), "CLOSE-1: {:?}", self.world.state());
        self.world.reads = true;
        self.world.drain();
        let last = self.world.events.last();
        assert!(matches!(last, Some(Event::Closed | Event::Revoked { .. })), "{last:?}");
        let ends = |event: &&Event| matches!(event, Event::Closed | Event::Revoked { .. });
        assert_eq!(self.world.events.iter().filter(ends).count(), 1);
        self.world.log
    }
}

fn run(seed: u64, shape: u8, steps: &[Step]) -> Vec<String> {
    let mut run = Run::new(seed, shape);
    run.world.tick();
    steps.iter().for_each(|step| run.step(*step));
    run.finish()
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 4000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(4000))]

    // proves: REQ-1, REQ-2, DIAL-5, CLOSE-1, CLOCK-1, LINK-1
    #[test]
    fn whatever_happens_it_is_never_stuck_and_every_request_ends_once(seed: u64, shape in 0u8..16, steps in steps()) {
        run(seed, shape, &steps);
    }
}

proptest! {
    #![proptest_config(cases(300))]

    // proves: CLOCK-1
    #[test]
    fn the_same_inputs_give_the_same_outputs(seed: u64, shape in 0u8..16, steps in steps()) {
        prop_assert_eq!(run(seed, shape, &steps), run(seed, shape, &steps));
    }
}

proptest! {
    #![proptest_config(cases(1500))]

    /// A connector that keeps a buffer, and a gateway that takes most deliveries and gives some back, over links that
    /// break: nothing is lost, nothing that was taken is shown again, acks come in order.
    // proves: ACK-1, ACK-2, ACK-3, ACK-4, ACK-6
    #[test]
    fn a_buffer_is_emptied_exactly_once_over_breaking_links(
        seed: u64,
        count in 1usize..12,
        choices in proptest::collection::vec(0u8..6, 0..60),
    ) {
        let mut world = World::seeded(config(), seed);
        world.tick();
        world.become_ready();
        let mut buffer: Vec<usize> = (0..count).collect();
        let mut sent = 0;
        let mut in_hand: Vec<(usize, DeliveryId)> = Vec::new();
        let mut taken = Vec::new();
        let calm = std::iter::repeat_n(1, 3 * count + 3).chain([5]).chain([0, 2].into_iter().cycle().take(8 * count));
        for choice in choices.into_iter().chain(calm) {
            match choice {
                // The next delivery of this link.
                0 | 1 if sent < buffer.len() => {
                    let number = buffer[sent];
                    sent += 1;
                    if let Some(id) = world.deliver(&format!("{number}"), &format!("text {number}")) {
                        prop_assert!(!taken.contains(&number), "{number} was taken and is shown again");
                        prop_assert!(in_hand.iter().all(|(held, _)| *held != number), "{number} is held and shown again");
                        in_hand.push((number, id));
                    }
                }
                // The oldest, or the newest, is taken.
                1..=3 if !in_hand.is_empty() => {
                    let (number, id) = if choice == 3 { in_hand.pop().unwrap() } else { in_hand.remove(0) };
                    world.ack(id);
                    taken.push(number);
                }
                4 if !in_hand.is_empty() => {
                    let (_, id) = in_hand.remove(0);
                    world.call(|machine, now| assert!(machine.nack(id, now)));
                }
                5 => {
                    // What was written and not read is lost with the link.
                    world.written.clear();
                    world.end(lost());
                    world.reconnect();
                    sent = 0;
                }
                _ => {}
            }
            if choice != 4 {
                for ack in world.acked() {
                    let number: usize = ack.parse().unwrap();
                    prop_assert_eq!(buffer[0], number, "acks in arrival order");
                    prop_assert!(taken.contains(&number), "an ack of what was not taken");
                    prop_assert!(sent > 0, "an ack on a link that did not carry it");
                    buffer.remove(0);
                    sent -= 1;
                }
            }
            world.events.clear();
        }
        prop_assert!(buffer.is_empty(), "left in the buffer: {:?}", buffer);
        taken.sort_unstable();
        prop_assert_eq!(taken, (0..count).collect::<Vec<_>>(), "each was taken exactly once");
    }
}

proptest! {
    #![proptest_config(cases(1000))]

    // proves: FRAME-2, FRAME-4
    #[test]
    fn no_bytes_end_the_reader(noise in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..20)) {
        let mut world = World::ready();
        for piece in noise {
            world.bytes(&piece);
        }
        world.bytes(b"\n");
        world.events.clear();
        prop_assert!(world.deliver("1", "next").is_some());
        prop_assert_eq!(world.state(), State::Ready);
        prop_assert!(world.written.iter().all(|transmit| matches!(transmit, Transmit::Text(_))));
    }
}
