//! A gateway, from the bytes of its wire: commands, faults, time, and whatever a peer says.

mod world;

use std::time::Duration;

use relay_proto::frame::RawJson;
use relay_proto::gateway::RequestOptions;

use super::input::{Input, STRANGE, unterminated};
use world::World;

/// How much of the input is looked at.
const MOST: usize = 2048;

/// A byte for the configuration, up to seven for the cuts behind one for their number, and then steps.
///
/// Everything is done twice, with what the peer says cut up and in one piece: the application must not notice.
pub fn run(data: &[u8]) {
    // A life of more steps is slower and no harder.
    let mut input = Input::new(data.get(..MOST).unwrap_or(data));
    let shape = input.byte();
    let cuts = input.byte() % 8;
    let cuts = input.take(cuts.into());
    let whole = live(shape, &[], input.clone());
    let cut = live(shape, if cuts.is_empty() { &[1] } else { cuts }, input);
    assert_eq!(cut, whole, "cut by {cuts:?}");
}

/// One life. What the application saw of it.
fn live(shape: u8, cuts: &[u8], mut input: Input<'_>) -> Vec<String> {
    let mut world = World::new(shape, cuts.to_vec());
    world.settle();
    while !input.is_empty() {
        step(&mut world, &mut input);
        world.settle();
        world.check();
    }
    world.finish()
}

fn step(world: &mut World, input: &mut Input<'_>) {
    let kind = input.byte();
    match kind % 32 {
        0 => world.establish(),
        1 => world.resolve(input.byte()),
        2 => world.connect(input.byte()),
        3 => world.fail_to_connect(input.byte()),
        4 => world.answer(),
        5 => world.say_line(r#"{"type":"descriptor","descriptor":{"platform":"p","len_unit":"utf16"}}"#),
        6 => {
            let (id, text) = (input.byte() % 8, input.byte() % 8);
            world.say_line(&format!(
                r#"{{"type":"inbound","bufferId":"{id}","event":{{"text":"{text}","message_id":"{text}","source":{{"chat_id":"c"}}}}}}"#
            ));
        }
        7 => {
            let number = input.byte() % 8;
            let event = format!(r#"{{"text":"{number}","message_id":"{number}","source":{{"chat_id":"c"}}}}"#);
            world.say_line(&match kind / 32 {
                0 | 1 => format!(r#"{{"type":"inbound","event":{event}}}"#),
                2 | 3 => format!(r#"{{"type":"passthrough_forward","bufferId":{number},"forward":{event}}}"#),
                4 | 5 => format!(r#"{{"type":"inbound","bufferId":"u{number}","event":[{number}]}}"#),
                _ => format!(r#"{{"type":"interrupt_inbound","session_key":"{number}"}}"#),
            });
        }
        8 => world.say_result(input.byte()),
        9 if kind >= 224 => world.say_frame(0x81, STRANGE[usize::from(input.byte()) % STRANGE.len()]),
        9 if kind >= 128 => {
            let (how, id) = (input.byte(), input.byte() % 8);
            let frame = format!(r#"{{"type":"inbound","bufferId":"{id}","event":{{"text":"{id}"}}}}"#);
            world.say_frame(0x81, &unterminated(how, &frame));
        }
        9 => world.say_line(r#"{"type":"going_idle_ack"}"#),
        10 => {
            let first = input.byte();
            world.say_frame(first, input.piece());
        }
        11 => world.say_bytes(input.piece()),
        12 => {
            let line = String::from_utf8_lossy(input.piece()).into_owned();
            world.say_line(&line);
        }
        13 => world.say_frame(0x82, input.piece()),
        14 => {
            let code = [1000, 1001, 1002, 1008, 1009, 1012, 1013, 4401, 4403, 4409][usize::from(input.byte() % 10)];
            let reason = ["", "expired", "unauthorized", "replaced"][usize::from(kind / 64)];
            world.say_close(code, reason);
        }
        15 => world.on_wire(|gateway, link, now| gateway.handle_eof(link, now)),
        16 => world.on_wire(|gateway, link, now| gateway.handle_read_error(link, "reset", now)),
        17 => world.on_wire(|gateway, link, now| gateway.handle_write_error(link, now)),
        18 => world.write(input.byte().into()),
        19 => world.writes = !world.writes,
        20 => world.read(usize::MAX),
        21 => world.read(1),
        22 => world.take(input.byte()),
        23 => world.nack(input.byte(), kind >= 128),
        24 | 25 => {
            let mut options = RequestOptions::default();
            let flags = input.byte();
            if flags & 1 != 0 {
                options = options.wait_for_link();
            }
            if flags & 2 != 0 {
                options = options.timeout(Duration::from_millis(u64::from(input.short())));
            }
            if flags & 4 != 0 {
                options = options.platform("p");
            }
            let text = "x".repeat(usize::from(flags) * 8);
            world.request(&RawJson::parse(&format!(r#"{{"op":"send", "text":"{text}"}}"#)).unwrap(), &options);
        }
        26 => world.cancel(input.byte()),
        27 => world.command(|machine, now| match kind / 32 {
            0 | 1 => drop(machine.go_idle(now)),
            2 => drop(machine.go_dormant(now)),
            3 => machine.wake(now),
            4 => machine.hold_redial(now),
            5 => machine.release_redial(now),
            6 => machine.reconnect(now),
            _ => drop(machine.interrupt("key", None, now)),
        }),
        28 if kind >= 224 => world.command(|machine, now| machine.close(now)),
        28 => world.shrink(),
        29 => world.wait(Duration::from_millis(input.short().into())),
        30 => world.wait_for_deadline(),
        _ => world.sleep(input.short().into()),
    }
}
