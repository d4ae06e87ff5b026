//! Simulated lives in great numbers, or one of them with a trace. See `docs/simulation.md`.
//!
//! ```sh
//! cargo run --release -p relay-sim --bin lives -- --count 1000000
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use relay_sim::sim::{Keep, Plan, crowd, explain, live};

const USAGE: &str = "\
lives --count N [--from SEED] [--threads N]    live N lives, the first with this seed (default 0)
lives --seed SEED [--ops LIST] [--faults LIST] [--plain] [--calm]    live one, and show it

LIST is `all`, `none`, or numbers and ranges, such as 0-3,7.";

struct Options {
    plan: Plan,
    one: bool,
    count: u64,
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
    let mut options = Options { plan: Plan::new(0), one: false, count: 1000, threads };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
            text.parse().map_err(|_| format!("not a number: {text}"))
        }
        let list = |text: String| text.parse::<Keep>().map_err(|_| format!("not a list: {text}"));
        match arg.as_str() {
            "--count" => options.count = number(&value()?)?,
            "--from" => options.plan.seed = number(&value()?)?,
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
    // The rate is for people: no life sees this clock.
    #[allow(clippy::disallowed_methods)]
    let begun = Instant::now();
    #[allow(clippy::disallowed_methods)]
    let elapsed = || begun.elapsed().as_secs_f64();
    let told = AtomicU64::new(0);
    let crowd = crowd(&options.plan, options.count, options.threads, |lives| {
        let ten_seconds = (elapsed() / 10.0) as u64;
        if told.fetch_max(ten_seconds, Ordering::Relaxed) < ten_seconds {
            eprintln!("{lives} lives, {:.0} a second", lives as f64 / elapsed());
        }
    });
    let (lives, time) = (crowd.lives, elapsed());
    print!("{}", crowd.coverage);
    println!("{lives} lives in {time:.0} s, {:.0} a second", lives as f64 / time);
    println!("{} entries a life on average", crowd.entries / lives.max(1));
    match &crowd.broken {
        None => {
            println!("no rule was broken");
            ExitCode::SUCCESS
        }
        Some(plan) => {
            println!("the life of {plan} broke a rule; making it smaller …");
            print!("{}", explain(plan));
            ExitCode::FAILURE
        }
    }
}
