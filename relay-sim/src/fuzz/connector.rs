//! A connector's peer, from the bytes of its wires: commands, faults, a store, time, and whatever a gateway says.

mod store;
mod wire;
mod world;

use std::time::Duration;

use super::input::{Input, STRANGE, unterminated};
use world::World;

/// How much of the input is looked at.
const MOST: usize = 1024;

const LINES: [&str; 10] = [
    r#"{"type":"hello","platform":"p","botId":"b"}"#,
    r#"{"type":"outbound","requestId":"r","action":{"op":"x"}}"#,
    r#"{"type":"outbound","requestId":"s","action":[]}"#,
    r#"{"type":"interrupt","session_key":"s"}"#,
    r#"{"type":"going_idle"}"#,
    r#"{"type":"inbound_ack","bufferId":"0000000000000001-0"}"#,
    r#"{"type":"inbound_ack","bufferId":7}"#,
    r#"{"type":"hello","#,
    r#"{"type":"ping"}"#,
    "x",
];

/// A byte for the configuration, up to seven for the cuts behind one for their number, and then steps.
pub fn run(data: &[u8]) {
    // A life of more steps is slower and no harder.
    let mut input = Input::new(data.get(..MOST).unwrap_or(data));
    let shape = input.byte();
    let cuts = input.byte() % 8;
    let mut world = World::new(shape, input.take(cuts.into()).to_vec());
    while !input.is_empty() {
        step(&mut world, &mut input);
        world.settle();
        world.check();
    }
    world.finish();
}

fn step(world: &mut World, input: &mut Input<'_>) {
    let kind = input.byte();
    // What most steps need: the latest link, seldom an older one.
    let back = usize::from(kind / 96);
    match kind % 24 {
        0 => world.open(),
        1 => {
            world.open();
            world.say_line(0, LINES[0]);
        }
        2 | 3 => world.deliver(kind >= 192),
        4 | 5 => world.say_ack(back, input.byte()),
        6 => match usize::from(input.byte()) {
            which @ ..200 => world.say_line(back, LINES[which % LINES.len()]),
            which @ 200..228 => world.say_frame(back, 0x81, STRANGE[which % STRANGE.len()]),
            which => {
                let frame = unterminated(input.byte(), LINES[which % LINES.len()]);
                world.say_frame(back, 0x81, &frame);
            }
        },
        7 => {
            let first = input.byte();
            world.say_frame(back, first, input.piece());
        }
        8 => world.say_bytes(back, input.piece()),
        9 => {
            let line = String::from_utf8_lossy(input.piece()).into_owned();
            world.say_line(back, &line);
        }
        10 => world.say_frame(back, 0x88, &[&1000_u16.to_be_bytes(), input.piece()].concat()),
        11 => world.break_wire(back, kind & 1 == 0),
        12 => world.fail_writing(back),
        13 => world.writes = !world.writes,
        14 => world.write(back, input.byte().into()),
        15 => world.store_steps(kind),
        16 => world.commit(input.byte().into()),
        17 => world.answer(input.byte()),
        18 => world.answer_hello(kind >= 192),
        19 => world.command(kind),
        20 => world.wait(Duration::from_millis(u64::from(input.short()))),
        21 => world.wait_for_deadline(),
        22 => world.reads = !world.reads,
        _ => world.restart(),
    }
}
