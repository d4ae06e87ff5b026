//! Where threads sleep, for whoever looks into a schedule that failed.

use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;

use shuttle::future::block_on;
use shuttle::thread;

thread_local! {
    /// Of the execution that this thread of the operating system has under way.
    static ASLEEP: RefCell<BTreeMap<usize, (String, Backtrace)>> = const { RefCell::new(BTreeMap::new()) };
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// From now on it is remembered where threads sleep, which takes time.
pub fn watch() {
    WATCHED.set(true);
}

pub(crate) fn reset() {
    ASLEEP.take();
}

/// Runs a future to its end. This is what every simulated thread sleeps in.
pub(crate) fn sleep<F: Future>(future: F) -> F::Output {
    if !WATCHED.get() {
        return block_on(future);
    }
    let thread = thread::current();
    let id = usize::from(thread.id());
    let name = thread.name().unwrap_or("the scenario").to_owned();
    ASLEEP.with_borrow_mut(|asleep| asleep.insert(id, (name, Backtrace::force_capture())));
    let output = block_on(future);
    ASLEEP.with_borrow_mut(|asleep| asleep.remove(&id));
    output
}

/// Where threads sleep: the frames of this repository, the innermost first.
pub fn asleep() -> Vec<String> {
    ASLEEP.with_borrow(|asleep| asleep.values().map(|(name, trace)| format!("{name} sleeps{}", own(trace))).collect())
}

fn own(trace: &Backtrace) -> String {
    let text = trace.to_string();
    let mut frames = String::new();
    let mut symbol = "";
    for line in text.lines() {
        match line.trim_start().strip_prefix("at ") {
            None => symbol = line,
            // Below it is only what runs scenarios.
            Some(place) if place.contains("src/explore.rs") => break,
            Some(place) if place.starts_with("/rustc/") || place.contains(".cargo") => {}
            Some(place) if place.contains("simulated/src") => {}
            Some(place) => frames.push_str(&format!("\n{symbol}\n      at {place}")),
        }
    }
    frames
}
