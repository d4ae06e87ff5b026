//! Many lives, on every core, up to the first that breaks a rule.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Coverage, Plan, live, shrink};

/// What many lives were like.
pub struct Crowd {
    /// How many there were.
    pub lives: u64,
    /// How many things happened in them.
    pub entries: u64,
    /// The hard states that they reached.
    pub coverage: Coverage,
    /// The first that broke a rule.
    pub broken: Option<Plan>,
}

/// Lives `count` lives, whose plans differ from `plan` in their seeds alone, which count up. `progress` is called after
/// each, with how many there were.
pub fn crowd(plan: &Plan, count: u64, threads: usize, progress: impl Fn(u64) + Sync) -> Crowd {
    let (next, lives, entries) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let stop = AtomicBool::new(false);
    let shared = Mutex::new((Coverage::default(), None::<Plan>));
    let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut coverage = Coverage::default();
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    let plan = Plan { seed: plan.seed.wrapping_add(number), ..plan.clone() };
                    let life = live(&plan, false);
                    coverage.add(&life.coverage);
                    entries.fetch_add(life.entries, Ordering::Relaxed);
                    if life.end.is_err() {
                        stop.store(true, Ordering::Relaxed);
                        // Of several at once the first, so that every run says the same.
                        let broken = &mut lock().1;
                        if broken.as_ref().is_none_or(|other| other.seed > plan.seed) {
                            *broken = Some(plan);
                        }
                    }
                    progress(lives.fetch_add(1, Ordering::Relaxed) + 1);
                }
                lock().0.add(&coverage);
            });
        }
    });
    let (coverage, broken) = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    Crowd { lives: lives.into_inner(), entries: entries.into_inner(), coverage, broken }
}

/// Says which rule a life broke, and by which command to see the smallest one that breaks it.
pub fn explain(plan: &Plan) -> String {
    let end = |plan: &Plan| live(plan, false).end.err();
    let Some(first) = end(plan) else { return format!("the life of {plan} breaks no rule") };
    let small = shrink(plan, |plan| end(plan).is_some_and(|violation| violation.rule == first.rule));
    let violation = end(&small).unwrap_or(first);
    format!("{violation}\n\n    cargo run --release -p relay-sim --bin lives -- {small}\n")
}
