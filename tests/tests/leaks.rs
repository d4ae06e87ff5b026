//! What is left of connections that failed: no task, no thread, no socket. One test, so that nothing else of the process
//! is counted.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::future::Future;

use futures_util::future::join_all;
use relay_tests::faults::{FAULTS, STAGES, forsake, suffer};
use relay_tests::guard;
use relay_tests::host::{HOSTS, Host};

/// Tasks of the runtime, threads and open files of the process.
fn count() -> [usize; 3] {
    let entries = |path| fs::read_dir(path).unwrap().count();
    [
        tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        entries("/proc/self/task"),
        entries("/proc/self/fd"),
    ]
}

async fn everything(host: Host) {
    join_all(STAGES.map(|stage| forsake(host, stage))).await;
    for fault in FAULTS {
        join_all(STAGES.map(|stage| suffer(host, stage, fault))).await;
    }
}

/// Waits until there is no more of anything than there was.
async fn settled(host: Host, before: [usize; 3]) {
    let settled = async {
        while count().iter().zip(before).any(|(now, before)| *now > before) {
            tokio::task::yield_now().await;
        }
    };
    let all: &mut (dyn Future<Output = ()> + Unpin) = &mut std::pin::pin!(settled);
    guard(&format!("{host:?} to leave no more than {before:?}"), all).await;
}

#[test]
fn nothing_is_left_of_what_failed() {
    for host in HOSTS {
        host.run(async |host| {
            // What a host keeps for good, such as its threads, it has after the first round.
            everything(host).await;
            let before = count();
            everything(host).await;
            settled(host, before).await;
        });
    }
}
