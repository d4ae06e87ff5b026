//! The gateway machine and the reference model, side by side, over any sequence of commands, frames, faults and times.

use super::input::Input;
use crate::model::{Step, run as run_both};

/// How many steps are taken: more of them are slower and no harder.
const MOST: usize = 200;

/// A byte of flags, one for the seed of what is drawn, and then steps.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.byte();
    let seed = input.byte().into();
    let mut steps = Vec::new();
    while !input.is_empty() && steps.len() < MOST {
        steps.push(step(&mut input));
    }
    run_both(seed, flags & 1 == 0, flags & 2 != 0, &steps);
}

/// A byte whose lower half says what, and the upper one which; more bytes for times and for what was long ago.
fn step(input: &mut Input<'_>) -> Step {
    let kind = input.byte();
    let which = usize::from(kind / 16);
    let odd = which % 2 == 1;
    match kind % 16 {
        0 => Step::Open,
        1 => Step::Descriptor,
        2 => Step::Deliver { buffer: some(which, 3), message: some(which / 4, 3), text: 0 },
        3 => {
            let other = input.byte();
            let [buffer, message] = [other % 8, other / 8 % 8].map(|id| some(id.into(), 7));
            Step::Deliver { buffer, message, text: other / 64 % 2 }
        }
        4 => Step::Recent { which: which / 2, take: !odd },
        5 => Step::Decide { which: input.byte().into(), take: !odd },
        6 => Step::End(which),
        7 => Step::Pass(u64::from(input.short()) * 2),
        8 => Step::Pass(1000 << (which / 2)),
        9 => Step::Jump(u64::from(input.short()) * 8),
        10 => Step::Wall(input.byte().into()),
        11 => Step::Request { seconds: 1 + (which as u64 / 2) * 8, patient: odd },
        12 => Step::Result(which),
        13 => Step::Cancel(which),
        14 => match which {
            0..8 => Step::IdleAck,
            8..12 => Step::Junk,
            _ => Step::Interrupted,
        },
        _ => match which {
            0..4 => Step::GoIdle(odd),
            4..6 => Step::Wake,
            6..8 => Step::Hold,
            8..10 => Step::Release,
            10..13 => Step::Reconnect,
            _ => Step::Close,
        },
    }
}

/// One of `most` ids, or none.
fn some(which: usize, most: usize) -> Option<u8> {
    let which = which % (most + 1);
    (which < most).then_some(which as u8)
}
