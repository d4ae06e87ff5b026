//! Simulated lives: a few hundred here, a million with the program `lives`. See `docs/simulation.md`.

use relay_sim::sim::{Hard, Keep, Plan, crowd, explain, live, shrink};

/// As many as reach every hard state with some to spare.
const LIVES: u64 = 1500;

// proves: DIAL-3, DIAL-5, ACK-1, ACK-2, ACK-3, ACK-4, ACK-5, ACK-6, REQ-1, REQ-2, REQ-3, LINK-1, LINK-2, AUTH-1, AUTH-2
// proves: AUTH-3, CLOCK-1, IDLE-1, IDLE-2, CLOSE-1, CONN-1, CONN-3, CONN-4, CONN-5, CONN-6, CONN-7
#[test]
fn no_life_breaks_a_rule_and_together_they_reach_every_hard_state() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let crowd = crowd(&Plan::new(0), LIVES, threads, |_| {});
    assert_eq!(crowd.broken.as_ref().map(explain), None);
    assert_eq!(crowd.coverage.missing(), Vec::<&str>::new(), "never reached, in {LIVES} lives");
}

// proves: CLOCK-1
#[test]
fn a_life_is_the_same_every_time() {
    for seed in 0..60 {
        let (first, second) = (live(&Plan::new(seed), false), live(&Plan::new(seed), true));
        assert_eq!((first.hash, first.entries), (second.hash, second.entries), "seed {seed}");
        assert!(first.coverage == second.coverage, "seed {seed}");
    }
    assert_ne!(live(&Plan::new(1), false).hash, live(&Plan::new(2), false).hash);
}

/// What shrinks is what is looked for: here a state instead of a violation, since there is none of those.
#[test]
fn a_life_shrinks_to_what_matters() {
    let reaches = |plan: &Plan| live(plan, false).coverage.count(Hard::Revoked) > 0;
    let busy = |plan: &Plan| live(plan, false).entries > 400;
    let seed = (0..).find(|seed| reaches(&Plan::new(*seed)) && busy(&Plan::new(*seed))).unwrap();
    let small = shrink(&Plan::new(seed), reaches);
    let Keep::Only(faults) = &small.faults else { panic!("{small}") };
    assert!(faults.len() <= 2, "{small}");
    assert!(reaches(&small) && small.plain && small.calm, "{small}");
    assert_eq!(shrink(&Plan::new(seed), reaches), small);
    let printed = small.to_string();
    let list = |option: &str| printed.split_once(option).and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    assert_eq!((list("--ops "), list("--faults ")), (Some(small.ops), Some(small.faults)), "{printed}");
}
