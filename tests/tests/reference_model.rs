//! The machine and its reference model, side by side.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use relay_proto::gateway::State;
use relay_proto::time::Now;
use relay_tests::model::gateway::{Gateway, Seen, Setup};
use relay_tests::model::real::Real;
use relay_tests::model::step::{End, Step};

const UNIX: u64 = 1_800_000_000;

fn end() -> impl Strategy<Value = End> {
    let closed = |codes: &'static [(u16, &'static str)]| select(codes).prop_map(|(code, why)| End::Closed(code, why));
    prop_oneof![
        3 => Just(End::Lost),
        1 => Just(End::Unreachable),
        1 => select(&[(401, ""), (401, "expired"), (403, ""), (503, "")][..]).prop_map(|(code, why)| End::Http(code, why)),
        1 => closed(&[(1000, ""), (1000, "replaced"), (1001, ""), (1011, ""), (4999, "")]),
        1 => closed(&[(1002, ""), (1008, ""), (1009, ""), (1013, ""), (4000, ""), (4409, ""), (4403, "")]),
        1 => closed(&[(4401, ""), (4401, "unauthorized"), (4401, "expired")]),
    ]
}

fn deliver() -> impl Strategy<Value = Step> {
    (0..3_u8, any::<bool>(), proptest::option::weighted(0.8, 1..4_u8))
        .prop_map(|(text, named, buffer_id)| Step::Deliver { text, named, buffer_id })
}

fn step() -> impl Strategy<Value = Step> {
    let number = || 0..8_usize;
    prop_oneof![
        5 => Just(Step::Deadline),
        3 => Just(Step::Open),
        3 => Just(Step::Descriptor),
        3 => select(&[1, 200, 999, 5_000, 40_000, 61_000][..]).prop_map(Step::Pass),
        1 => select(&[5, 9, 10, 60, 300, 301][..]).prop_map(Step::Freeze),
        1 => any::<bool>().prop_map(Step::Room),
        1 => Just(Step::Timeout),
        3 => end().prop_map(Step::End),
        1 => Just(Step::Traffic),
        8 => deliver(),
        3 => number().prop_map(Step::Result),
        1 => Just(Step::StrayResult),
        4 => Just(Step::IdleAck),
        1 => Just(Step::Stop),
        5 => number().prop_map(Step::Ack),
        2 => number().prop_map(Step::GiveBack),
        1 => number().prop_map(Step::Drop),
        5 => (any::<bool>(), 1..90_u64).prop_map(|(patient, timeout)| Step::Request { patient, timeout }),
        1 => number().prop_map(Step::Cancel),
        1 => Just(Step::Interrupt),
        3 => any::<bool>().prop_map(|dormant| Step::GoIdle { dormant }),
        1 => Just(Step::Hold),
        1 => Just(Step::Release),
        1 => Just(Step::Wake),
        1 => Just(Step::Reconnect),
    ]
}

/// One step, or all that it takes to be ready: left to chance, few sequences would get beyond a handshake.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let piece = prop_oneof![
        60 => step().prop_map(|step| vec![step]),
        10 => Just(vec![Step::Deadline, Step::Open, Step::Descriptor]),
        5 => (deliver(), any::<bool>()).prop_map(|(deliver, taken)| {
            vec![deliver, if taken { Step::Ack(0) } else { Step::GiveBack(0) }]
        }),
        1 => Just(Step::Close).prop_map(|step| vec![step]),
    ];
    proptest::collection::vec(piece, 1..60).prop_map(|pieces| pieces.concat())
}

fn setup() -> impl Strategy<Value = Setup> {
    (proptest::bool::weighted(0.8), proptest::bool::weighted(0.95), proptest::bool::weighted(0.3))
        .prop_map(|(credentials, reconnect, strict)| Setup { credentials, reconnect, strict })
}

type Surface = (Seen, State, Option<Duration>);

/// How often was seen what.
type Counts = RefCell<BTreeMap<String, u64>>;

fn side_by_side(setup: Setup, seed: u64, steps: &[Step], counts: &Counts) -> Result<(), TestCaseError> {
    let now = Now { monotonic: Duration::from_secs(1000), unix: UNIX };
    let mut real = Real::new(setup, seed, now);
    let mut model = Gateway::new(setup, now.monotonic, now.unix);
    for (number, step) in steps.iter().enumerate() {
        let Some(step) = real.resolve(*step) else { continue };
        let seen: Surface = (real.step(&step), real.state(), real.deadline());
        let specified = model.step(&step, real.now.monotonic, real.now.unix, real.told.clone());
        let specified: Surface = (specified, model.state(), model.deadline());
        prop_assert!(
            seen == specified,
            "step {number} of {setup:?}: {step:?}\nthe machine: {seen:#?}\nthe model: {specified:#?}\nbehind {:#?}",
            steps.iter().take(number).collect::<Vec<_>>()
        );
        count(&seen.0, counts);
    }
    Ok(())
}

fn count(seen: &Seen, counts: &Counts) {
    let mut counts = counts.borrow_mut();
    let words = seen.writes.iter().chain(&seen.events).chain(seen.ends.iter().map(|(how, _)| how));
    for word in words {
        let kind = word.trim_end_matches(|c: char| c.is_ascii_digit() || c == ':' || c == ' ');
        *counts.entry(kind.to_owned()).or_default() += 1;
    }
}

// proves: REQ-1, REQ-2, ACK-1, ACK-2, ACK-3, ACK-4, ACK-6, LINK-1, LINK-2, IDLE-1, IDLE-2, CLOSE-1, AUTH-2, AUTH-3
#[test]
fn the_machine_does_what_the_model_says() {
    let config = Config { max_shrink_iters: 20_000, failure_persistence: None, ..Config::default() };
    let cases = config.cases;
    let mut runner = TestRunner::new(config);
    let counts = Counts::default();
    let result = runner
        .run(&(setup(), any::<u64>(), steps()), |(setup, seed, steps)| side_by_side(setup, seed, &steps, &counts));
    if let Err(error) = result {
        panic!("{error}");
    }
    // Sequences that do not get that far show nothing.
    println!("{:#?}", counts.borrow());
    for often in OFTEN.iter().filter(|_| cases >= 256) {
        assert!(counts.borrow().contains_key(*often), "never: {often}");
    }
}

const OFTEN: &[&str] = &[
    "hello",
    "ready",
    "delivery",
    "ack",
    "request",
    "ping",
    "going_idle",
    "idle",
    "closed",
    "close 1000 reconnect",
    "disconnected: lost",
    "disconnected: timed_out",
    "request: result",
    "request: ambiguous: link lost",
    "request: ambiguous: timed out",
    "idle: acknowledged",
    "idle: timed out",
    "idle: no link",
];
