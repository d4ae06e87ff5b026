//! Schedulers: which orders are tried.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::time::Instant;

use shuttle::scheduler::{
    DfsScheduler, PctScheduler, RandomScheduler, ReplayScheduler, Scheduler, UncontrolledNondeterminismCheckScheduler,
};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

/// Every run tries the same orders, unless `SHUTTLE_RANDOM_SEED` says otherwise.
const SEED: u64 = 0x5eed;
/// How often one thread gets in another's way in a schedule by priorities. Few bugs need more.
const DEPTH: usize = 3;
/// More steps than any scenario takes: one that goes on for ever has failed.
const STEPS: usize = 100_000;
/// The read buffer of a blocking link is on its stack.
const STACK: usize = 256 << 10;

/// Runs a scenario so many times: half with a thread chosen at random at every step, half with threads that have
/// priorities and change them at a few random steps (PCT), which finds what needs a thread to stand still for long.
///
/// `RELAY_SCHEDULES` multiplies the number, and `RELAY_SCHEDULE` names a file with one schedule to run alone.
///
/// # Panics
/// When the scenario does, and on a deadlock.
pub fn explore(schedules: usize, scenario: fn()) {
    if replay(scenario) {
        return;
    }
    let times: usize = match std::env::var("RELAY_SCHEDULES") {
        Ok(times) => times.parse().expect("RELAY_SCHEDULES is a number"),
        Err(_) => 1,
    };
    let half = schedules * times / 2;
    run("at random", RandomScheduler::new_from_seed(SEED, half), scenario);
    run("by priorities", PctScheduler::new_from_seed(SEED, DEPTH, half), scenario);
}

/// Runs a scenario in every order that there is. `orders` is how many these are at least: fewer mean that the scenario
/// does not get to what it is about. How many exactly depends on how often the code under test takes its lock.
///
/// # Panics
/// When the scenario does, on a deadlock, and when there are fewer orders.
pub fn exhaust(orders: usize, scenario: fn()) {
    if !replay(scenario) {
        let all = run("in every order", DfsScheduler::new(None, false), scenario);
        assert!(all >= orders, "only {all} orders");
    }
}

/// Runs a scenario so many times, each time once more in the same order, and looks whether all is the same again. If it
/// were not, no failure could be replayed.
///
/// # Panics
/// When the scenario does, on a deadlock, and when the two differ.
pub fn repeat(schedules: usize, scenario: fn()) {
    let scheduler = RandomScheduler::new_from_seed(SEED, schedules);
    run("twice", UncontrolledNondeterminismCheckScheduler::new(scheduler), scenario);
}

fn replay(scenario: fn()) -> bool {
    let file = std::env::var_os("RELAY_SCHEDULE");
    if let Some(file) = &file {
        simulated::watch();
        let schedule = ReplayScheduler::new_from_file(file).expect("a file with a schedule");
        run("replayed", schedule, scenario);
    }
    file.is_some()
}

fn run(how: &str, scheduler: impl Scheduler + 'static, scenario: fn()) -> usize {
    let mut config = Config::new();
    config.stack_size = STACK;
    config.max_steps = MaxSteps::FailAfter(STEPS);
    config.failure_persistence = FailurePersistence::File(Some(directory()));
    config.silence_warnings = true;
    let begun = Instant::now();
    let name = std::thread::current().name().unwrap_or("a scenario").to_owned();
    let runner = Runner::new(scheduler, config);
    let result = catch_unwind(AssertUnwindSafe(|| {
        runner.run(move || {
            simulated::reset();
            scenario();
        })
    }));
    match result {
        Ok(schedules) => {
            eprintln!("{name}: {schedules} schedules {how}, {:.1} s", begun.elapsed().as_secs_f64());
            schedules
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            let what = if text.starts_with("deadlock") { "DEADLOCK" } else { "BROKEN" };
            eprintln!("{what}: {name}, {how}: {text}");
            simulated::asleep().iter().for_each(|thread| eprintln!("{thread}"));
            eprintln!("replay it with RELAY_SCHEDULE=<the file named above>, and this scenario alone");
            resume_unwind(panic)
        }
    }
}

/// Where failed schedules are kept: beside the executable, below the target directory.
fn directory() -> PathBuf {
    let executable = std::env::current_exe().expect("the path of this test");
    let directory = executable.with_file_name("schedules");
    std::fs::create_dir_all(&directory).expect("a directory below the target directory");
    directory
}
