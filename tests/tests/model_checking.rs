//! Every state that small worlds can reach. What is checked in each, and the figures, are in `docs/model.md`.
#![allow(clippy::panic, reason = "tests")]

use relay_sim::checking::checker::{Report, World, explore};
use relay_sim::checking::delivery::{Bounds, Delivery};
use relay_sim::checking::revocation::{self, Revocation};

/// Searches a world. A search that has shrunk below `least` states, or that never did what is in `marks`, shows nothing.
fn search(world: &impl World, least: usize, marks: &[&str]) -> Report {
    let report = explore(world, 3 * least).unwrap_or_else(|violation| panic!("{violation}"));
    println!("{report}");
    assert!(report.states >= least, "no more than {} states", report.states);
    assert!(report.settled > 0);
    for mark in marks {
        assert!(report.marked(mark) > 0, "never: {mark}");
    }
    report
}

fn delivery(bounds: Bounds, least: usize, marks: &[&str]) -> Report {
    search(&Delivery::new(bounds), least, &[marks, &["event shown", "entry acknowledged"]].concat())
}

const AGAIN: &str = "taken event sent again";
const RETURNED: &str = "event shown again, after it was given back";

// proves: CONN-3, CONN-7
#[test]
fn without_faults() {
    for window in 1..=3 {
        delivery(Bounds::peaceful(3, window), 80, &[]);
    }
}

// proves: ACK-3, ACK-4, CONN-3, CONN-7
#[test]
fn a_link_is_cut() {
    delivery(Bounds { cuts: 1, ..Bounds::peaceful(2, 1) }, 1_500, &[AGAIN]);
    delivery(Bounds { cuts: 1, ..Bounds::peaceful(2, 2) }, 3_000, &[AGAIN]);
}

// proves: ACK-1, CONN-7
#[test]
fn a_gateway_crashes() {
    delivery(Bounds { gateway_crashes: 1, ..Bounds::peaceful(2, 1) }, 1_000, &[AGAIN]);
    delivery(Bounds { gateway_crashes: 1, ..Bounds::peaceful(2, 2) }, 1_500, &[AGAIN]);
}

// proves: ACK-4, CONN-7
#[test]
fn a_connector_crashes_and_its_store_refuses() {
    let bounds = Bounds { connector_crashes: 1, refusals: 1, ..Bounds::peaceful(2, 1) };
    delivery(bounds, 1_200, &[AGAIN, "entries fetched from the store"]);
}

// proves: ACK-2, ACK-6
#[test]
fn an_application_gives_back() {
    delivery(Bounds { returns: 1, ..Bounds::peaceful(2, 2) }, 800, &[RETURNED]);
    delivery(Bounds { returns: 2, ..Bounds::peaceful(2, 2) }, 5_000, &[RETURNED]);
}

// proves: CONN-4, IDLE-2
#[test]
fn a_gateway_goes_idle_or_dormant() {
    delivery(Bounds { idles: 1, ..Bounds::peaceful(2, 1) }, 2_000, &[]);
}

// proves: CLOSE-1, CONN-7
#[test]
fn a_gateway_shuts_down_in_order() {
    delivery(Bounds { closes: 1, ..Bounds::peaceful(2, 1) }, 4_000, &[AGAIN]);
}

// The default: a forward that is not acknowledged for long counts as taken, which may lose it in a crash of the gateway's
// and in nothing else.
#[test]
fn a_forward_is_presumed_taken() {
    let presumed = "forward presumed taken, or given up";
    let bounds = Bounds { assumes_forwards_acked: true, ..Bounds::peaceful(2, 1) };
    delivery(bounds, 50, &[presumed]);
    delivery(Bounds { gateway_crashes: 1, ..bounds }, 1_500, &[presumed]);
}

fn refusals(bounds: revocation::Bounds, least: usize) {
    let marks = ["ready", "revoked", "refused: revoked", "refused: dials again later"];
    let decides = (bounds.strict || bounds.freezes > 0).then_some("refused: one dial decides");
    search(&Revocation::new(bounds), least, &[&marks[..], decides.as_slice()].concat());
}

// proves: AUTH-1, AUTH-2, AUTH-3
#[test]
fn a_gateway_is_refused() {
    let bounds = revocation::Bounds { dials: 3, changes: 1, freezes: 1, requests: 0, calls: 0, strict: false };
    refusals(bounds, 3_000);
    refusals(revocation::Bounds { strict: true, ..bounds }, 3_000);
}

// proves: AUTH-2
#[test]
fn a_gateway_is_refused_while_its_application_wants_something() {
    let bounds = revocation::Bounds { dials: 3, changes: 0, freezes: 0, requests: 1, calls: 1, strict: false };
    refusals(bounds, 2_500);
}

/// Whether to search the worlds that take minutes in a release build, too (docs/model.md).
fn all_worlds() -> bool {
    std::env::var_os("RELAY_LARGE_WORLDS").is_some()
}

// proves: ACK-4, CONN-3, CONN-7
#[test]
fn several_faults_in_one_world() {
    let none = Bounds::peaceful(2, 1);
    delivery(Bounds { cuts: 1, connector_crashes: 1, events: 1, ..none }, 2_000, &[AGAIN]);
    let large = [
        (Bounds { cuts: 1, connector_crashes: 1, ..none }, 25_000),
        (Bounds { cuts: 1, gateway_crashes: 1, events: 3, window: 2, ..none }, 700_000),
        (Bounds { cuts: 1, gateway_crashes: 1, ..none }, 60_000),
        (Bounds { cuts: 2, connector_crashes: 1, ..none }, 300_000),
        (Bounds { cuts: 1, returns: 1, window: 2, ..none }, 70_000),
        (Bounds { cuts: 1, gateway_crashes: 1, connector_crashes: 1, events: 1, ..none }, 100_000),
        (Bounds { cuts: 1, closes: 1, events: 1, ..none }, 50_000),
    ];
    for (bounds, least) in large.into_iter().filter(|_| all_worlds()) {
        delivery(bounds, least, &[AGAIN]);
    }
}

// proves: AUTH-1, AUTH-2, AUTH-3
#[test]
fn many_refusals_in_one_world() {
    for strict in [false, true] {
        let bounds = revocation::Bounds { dials: 3, changes: 1, freezes: 0, requests: 1, calls: 0, strict };
        refusals(bounds, 3_000);
        if all_worlds() {
            refusals(revocation::Bounds { dials: 4, freezes: 2, ..bounds }, 600_000);
            refusals(revocation::Bounds { dials: 4, freezes: 1, calls: 1, ..bounds }, 700_000);
        }
    }
}
