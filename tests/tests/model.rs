//! The machine and the reference model, side by side, over whatever is done to them. With `PROPTEST_CASES=100000` it goes
//! on for longer.

use proptest::prelude::*;
use relay_sim::model::{ENDS, Step, run};

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let some = |most: u8| proptest::option::weighted(0.7, 0..most);
    let step = prop_oneof![
        6 => (0..3000u64).prop_map(Step::Pass),
        5 => (0..130_000u64).prop_map(Step::Pass),
        2 => (0..400_000u64).prop_map(Step::Jump),
        1 => (0..900u64).prop_map(Step::Wall),
        9 => Just(Step::Open),
        9 => Just(Step::Descriptor),
        14 => (some(4), some(3), 0..2u8).prop_map(|(buffer, message, text)| Step::Deliver { buffer, message, text }),
        1 => Just(Step::Junk),
        4 => any::<usize>().prop_map(Step::Result),
        3 => Just(Step::IdleAck),
        1 => Just(Step::Interrupted),
        6 => (0..ENDS).prop_map(Step::End),
        6 => (1..60u64, any::<bool>()).prop_map(|(seconds, patient)| Step::Request { seconds, patient }),
        2 => any::<usize>().prop_map(Step::Cancel),
        3 => any::<bool>().prop_map(Step::GoIdle),
        2 => Just(Step::Wake),
        2 => Just(Step::Hold),
        1 => Just(Step::Release),
        2 => Just(Step::Reconnect),
        1 => Just(Step::Close),
        12 => (any::<usize>(), proptest::bool::weighted(0.7)).prop_map(|(which, take)| Step::Decide { which, take }),
    ];
    proptest::collection::vec(step, 0..70)
}

/// Deliveries alone, with few ids, over links that break: what replays, repeats and holds up what.
fn deliveries() -> impl Strategy<Value = Vec<Step>> {
    let some = |most: u8| proptest::option::weighted(0.85, 0..most);
    let step = prop_oneof![
        10 => (some(3), some(2), 0..2u8).prop_map(|(buffer, message, text)| {
            vec![Step::Deliver { buffer, message, text: text / 2 + text * u8::from(message.is_none()) }]
        }),
        8 => (0..6usize, proptest::bool::weighted(0.8)).prop_map(|(which, take)| vec![Step::Recent { which, take }]),
        1 => Just(vec![Step::End(ENDS - 1), Step::Pass(40_000), Step::Open, Step::Descriptor]),
    ];
    proptest::collection::vec(step, 0..40)
        .prop_map(|steps| [vec![Step::Open, Step::Descriptor], steps.concat()].concat())
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    // proves: DIAL-5, HELLO-2, ACK-1, ACK-2, ACK-3, ACK-4, ACK-6, REQ-1, REQ-2, REQ-3, LINK-1, LINK-2, LINK-3, LINK-4
    // proves: AUTH-1, AUTH-2, AUTH-3, IDLE-1, IDLE-2, CLOSE-1
    #[test]
    fn the_machine_does_what_the_model_does(seed: u64, reconnects in proptest::bool::weighted(0.9), strict: bool, steps in steps()) {
        run(seed, reconnects, strict, &steps);
    }

    // proves: ACK-1, ACK-2, ACK-3, ACK-4, ACK-6
    #[test]
    fn deliveries_are_shown_and_acknowledged_as_by_the_model(seed: u64, steps in deliveries()) {
        run(seed, true, false, &steps);
    }
}
