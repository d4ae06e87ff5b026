//! A system that gives no thread: a dial that fails, and is tried again.
//!
//! What has no address space left for a stack gets no thread, and that binds root as well. So each test runs itself once
//! more, in a process with a limit, and takes all of it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use relay_proto::client::{Event, Events};
use relay_proto::gateway::{Cause, Config};
use relay_tests::app::quick;
use relay_tests::guard;

const CHILD: &str = "RELAY_TESTS_WITHOUT_THREADS";
/// Kibibytes of address space.
const LIMIT: usize = 4_000_000;
const DONE: &str = "the child is done";

/// Whether this is the process with the limit. Otherwise, runs it to its end.
fn is_limited(test: &str) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let mut child = Command::new("sh");
    child.args(["-c", &format!("ulimit -v {LIMIT} && exec \"$0\" \"$@\"")]);
    child.arg(std::env::current_exe().unwrap()).args([test, "--exact", "--nocapture", "--test-threads=1"]);
    // One arena: another would not fit, and each allocation of its thread would take a page.
    let output = child.env(CHILD, "1").env("MALLOC_ARENA_MAX", "1").output().unwrap();
    let (out, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && log.contains(DONE), "{}\n{out}\n{log}", output.status);
    assert!(!log.contains("panicked"), "{log}");
    false
}

/// Bytes of address space that are left.
fn room() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")?.trim().strip_suffix(" kB")).unwrap();
    LIMIT.saturating_sub(size.trim().parse().unwrap()) << 10
}

/// All the threads that the system gives.
struct All(Vec<(Sender<()>, JoinHandle<()>)>);

impl All {
    fn take() -> Self {
        let mut all = Self(Vec::new());
        all.take_more();
        all
    }

    /// Takes what has become free since, such as the stack of a thread that ended.
    fn take_more(&mut self) {
        let Self(all) = self;
        // Half of a usual stack is left for what the threads allocate: without it, the standard library ends a process
        // whose thread has just begun. A dial that has its thread meanwhile finds either plenty or no room for it.
        let left = 1 << 20;
        for _ in 0..1000 {
            let room = room().saturating_sub(left);
            if room < 64 << 10 {
                break;
            }
            Self::add(all, if room > 512 << 20 { 256 << 20 } else { room - (32 << 10) });
        }
        // And stacks of threads that have ended, which the system's library keeps.
        while Self::add(all, 2 << 20) {}
    }

    /// One more, unless there is none.
    fn add(all: &mut Vec<(Sender<()>, JoinHandle<()>)>, stack: usize) -> bool {
        let (end, ended) = channel::<()>();
        let body = move || {
            let _ = ended.recv();
        };
        thread::Builder::new().stack_size(stack).spawn(body).map(|thread| all.push((end, thread))).is_ok()
    }

    fn give_back(self) {
        for (end, thread) in self.0 {
            drop(end);
            thread.join().unwrap();
        }
    }
}

fn config(host: &str) -> Config {
    // Port 1 refuses.
    Config::new(format!("ws://{host}:1")).identity("discord", "b").timing(quick())
}

async fn why(events: &mut Events) -> String {
    match guard("an event", events.next()).await {
        Some(Event::Disconnected { ended, retry_in: Some(_) }) => {
            assert_eq!(ended.cause, Cause::Unreachable, "{ended}");
            ended.reason.clone()
        }
        other => panic!("{other:?}"),
    }
}

async fn fails_and_tries_again(mut events: Events, all: All) {
    for _ in 0..3 {
        let why = why(&mut events).await;
        assert!(why.contains("thread"), "{why}");
    }
    all.give_back();
    while why(&mut events).await.contains("thread") {}
    eprintln!("{DONE}");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

// proves: DIAL-8
#[test]
fn on_tokio() {
    if is_limited("on_tokio") {
        runtime().block_on(async {
            let all = All::take();
            let (_gateway, events) = relay_tokio::connect(config("localhost")).unwrap();
            fails_and_tries_again(events, all).await;
        });
    }
}

// proves: DIAL-8
#[test]
fn on_async_io() {
    if is_limited("on_async_io") {
        // Its own thread is there from the first timer on.
        smol::block_on(smol::Timer::after(Duration::ZERO));
        let all = All::take();
        let (_gateway, events, driving) = relay_async_std::gateway(config("localhost"), None).unwrap();
        runtime().block_on(async {
            tokio::join!(driving, async {
                fails_and_tries_again(events, all).await;
                drop(_gateway);
            });
        });
    }
}

// proves: DIAL-8
#[test]
fn a_gateway_without_its_own_thread_is_an_error() {
    if is_limited("a_gateway_without_its_own_thread_is_an_error") {
        let all = All::take();
        let refused = relay_blocking::connect(config("127.0.0.1"));
        assert!(matches!(refused, Err(relay_blocking::ConnectError::Thread(_))));
        all.give_back();
        relay_blocking::connect(config("127.0.0.1")).unwrap();
        eprintln!("{DONE}");
    }
}

// proves: DIAL-8
#[test]
fn on_threads() {
    if is_limited("on_threads") {
        // An address, and a name: with the latter it is the lookup that has no thread.
        for host in ["127.0.0.1", "localhost"] {
            let (gateway, events) = relay_blocking::connect(config(host)).unwrap();
            let mut all = All::take();
            let mut events = events.into_async();
            runtime().block_on(async {
                let mut failed = 0;
                while failed < 3 {
                    if why(&mut events).await.contains("(os error 11)") {
                        failed += 1;
                    } else {
                        // A dial that had its threads before has left their stacks.
                        all.take_more();
                    }
                }
                all.give_back();
                while why(&mut events).await.contains("(os error 11)") {}
            });
            drop(gateway);
        }
        eprintln!("{DONE}");
    }
}
