//! Simulated lives in great numbers, or one of them with a trace. See `docs/simulation.md`.
//!
//! ```sh
//! cargo run --release -p relay-tests --bin lives -- --count 1000000
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use relay_tests::sim::{Coverage, Keep, Plan, live, shrink};

const USAGE: &str = "\
lives --count N [--from SEED] [--threads N]    live N lives, the first with this seed (default 0)
lives --seed SEED [--ops LIST] [--faults LIST] [--plain] [--calm]    live one, and show it

LIST is `all`, `none`, or numbers and ranges, such as 0-3,7.";

struct Options {
    plan: Plan,
    one: bool,
    count: u64,
    from: u64,
    threads: usize,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // A panic of the code under test is reported with its life, not by itself.
    std::panic::set_hook(Box::new(|_| {}));
    if options.one { show(&options.plan) } else { many(&options) }
}

fn options() -> Result<Options, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut options = Options { plan: Plan::new(0), one: false, count: 1000, from: 0, threads };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
            text.parse().map_err(|_| format!("not a number: {text}"))
        }
        let list = |text: String| text.parse::<Keep>().map_err(|_| format!("not a list: {text}"));
        match arg.as_str() {
            "--count" => options.count = number(&value()?)?,
            "--from" => options.from = number(&value()?)?,
            "--threads" => options.threads = number::<usize>(&value()?)?.max(1),
            "--seed" => {
                options.plan.seed = number(&value()?)?;
                options.one = true;
            }
            "--ops" => options.plan.ops = list(value()?)?,
            "--faults" => options.plan.faults = list(value()?)?,
            "--plain" => options.plan.plain = true,
            "--calm" => options.plan.calm = true,
            _ => return Err(format!("what is {arg}?")),
        }
    }
    Ok(options)
}

fn show(plan: &Plan) -> ExitCode {
    let life = live(plan, true);
    print!("{}", life.text.unwrap_or_default());
    match life.end {
        Ok(()) => {
            println!("no rule was broken: {} entries, hash {:016x}", life.entries, life.hash);
            ExitCode::SUCCESS
        }
        Err(violation) => {
            println!("{violation}");
            ExitCode::FAILURE
        }
    }
}

fn many(options: &Options) -> ExitCode {
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let (stop, entries) = (AtomicBool::new(false), AtomicU64::new(0));
    let (coverage, broken) = (Mutex::new(Coverage::default()), Mutex::new(None::<Plan>));
    // The rate is for people: no life sees this clock.
    #[allow(clippy::disallowed_methods)]
    let begun = Instant::now();
    let last = Mutex::new(Duration::ZERO);
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                let mut own = Coverage::default();
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= options.count {
                        break;
                    }
                    let plan = Plan { seed: options.from + number, ..options.plan.clone() };
                    let life = live(&plan, false);
                    own.add(&life.coverage);
                    entries.fetch_add(life.entries, Ordering::Relaxed);
                    if life.end.is_err() {
                        stop.store(true, Ordering::Relaxed);
                        broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(plan);
                    }
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if done % 1000 == 0 {
                        #[allow(clippy::disallowed_methods)]
                        let time = begun.elapsed();
                        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                        if time > *last + Duration::from_secs(5) {
                            *last = time;
                            eprintln!("{done} lives, {:.0} a second", done as f64 / time.as_secs_f64());
                        }
                    }
                }
                coverage.lock().unwrap_or_else(PoisonError::into_inner).add(&own);
            });
        }
    });
    #[allow(clippy::disallowed_methods)]
    let time = begun.elapsed();
    let (done, entries) = (done.into_inner(), entries.into_inner());
    print!("{}", coverage.into_inner().unwrap_or_else(PoisonError::into_inner));
    println!("{done} lives in {:.0} s, {:.0} a second", time.as_secs_f64(), done as f64 / time.as_secs_f64());
    println!("{} entries a life on average", entries / done.max(1));
    let Some(plan) = broken.into_inner().unwrap_or_else(PoisonError::into_inner) else {
        println!("no rule was broken");
        return ExitCode::SUCCESS;
    };
    report(&plan);
    ExitCode::FAILURE
}

/// Says which life broke a rule, and how to see the smallest one like it.
fn report(plan: &Plan) {
    let rule = |plan: &Plan| live(plan, false).end.err().map(|violation| violation.rule);
    let broken = rule(plan);
    println!("the life of {plan} broke a rule; making it smaller …");
    let small = shrink(plan, |plan| rule(plan) == broken);
    if let Err(violation) = live(&small, false).end {
        println!("{violation}");
    }
    println!("\n    cargo run --release -p relay-tests --bin lives -- {small}");
}
