//! Clocks that stand still until they are moved.

use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::asleep::sleep;
use crate::switch;

/// Some time in 2023.
const EPOCH: Duration = Duration::from_secs(1_700_000_000);

#[derive(Default)]
struct Clock {
    since: Duration,
    sleepers: Vec<(Instant, Waker)>,
    /// Who lets short times pass, and how short.
    ticking: Option<(Duration, Waker)>,
    halted: bool,
}

thread_local! {
    /// Of the execution that this thread of the operating system has under way.
    static CLOCK: RefCell<Clock> = RefCell::default();
}

/// When every execution begins.
fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

pub(crate) fn reset() {
    CLOCK.take();
}

/// The monotonic clock.
pub fn now() -> Instant {
    origin() + CLOCK.with_borrow(|clock| clock.since)
}

/// The wall clock, since 1970.
pub fn unix() -> Duration {
    EPOCH + CLOCK.with_borrow(|clock| clock.since)
}

/// The seed of what is random: the same in every execution, so that a schedule is all there is to a failure.
pub fn seed() -> u64 {
    7
}

/// Lets time pass, and wakes whoever has waited for that.
pub fn advance(by: Duration) {
    switch();
    let due: Vec<_> = CLOCK.with_borrow_mut(|clock| {
        clock.since += by;
        let now = origin() + clock.since;
        clock.sleepers.extract_if(.., |(at, _)| *at <= now).collect()
    });
    for (_, sleeper) in due {
        sleeper.wake();
    }
}

/// Lets every short time pass in which somebody sleeps, however early, until it is [halted](halt). What sleeps for longer
/// sleeps on.
pub fn tick(short: Duration) {
    while let Some(by) = sleep(poll_fn(|context| poll_tick(short, context))) {
        // Others come first every now and then, or whoever looks again each time would keep them away for ever.
        shuttle::thread::yield_now();
        advance(by);
    }
}

fn poll_tick(short: Duration, context: &mut Context<'_>) -> Poll<Option<Duration>> {
    let now = now();
    CLOCK.with_borrow_mut(|clock| {
        if clock.halted {
            return Poll::Ready(None);
        }
        let next = clock.sleepers.iter().map(|(at, _)| at.saturating_duration_since(now)).min();
        if let Some(by) = next.filter(|by| *by <= short) {
            return Poll::Ready(Some(by));
        }
        clock.ticking = Some((short, context.waker().clone()));
        Poll::Pending
    })
}

/// From now on short times do not pass any more.
pub fn halt() {
    let ticking = CLOCK.with_borrow_mut(|clock| {
        clock.halted = true;
        clock.ticking.take()
    });
    if let Some((_, ticking)) = ticking {
        ticking.wake();
    }
}

/// Waits for a point in time no longer.
pub(crate) fn forget(waker: &Waker) {
    let asleep = CLOCK.with_borrow_mut(|clock| {
        clock.sleepers.extract_if(.., |(_, sleeper)| sleeper.will_wake(waker)).collect::<Vec<_>>()
    });
    drop(asleep);
}

/// Waits for a point in time.
pub fn poll_until(at: Instant, context: &mut Context<'_>) -> Poll<()> {
    let now = now();
    if at <= now {
        return Poll::Ready(());
    }
    let waker = context.waker();
    let (asleep, ticking) = CLOCK.with_borrow_mut(|clock| {
        // Whoever waits for several points in time waits for the last one that he named.
        let same = clock.sleepers.extract_if(.., |(_, sleeper)| sleeper.will_wake(waker)).collect::<Vec<_>>();
        clock.sleepers.push((at, waker.clone()));
        (same, clock.ticking.take_if(|(short, _)| at - now <= *short))
    });
    drop(asleep);
    if let Some((_, ticking)) = ticking {
        ticking.wake();
    }
    Poll::Pending
}
