//! On which core a process runs.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::Result;

/// Keeps this process, and every thread that it will start, on the last of the cores that it may use.
pub(super) fn stay_on_one() -> Result<()> {
    let own = Pid::from_raw(0);
    let all = sched_getaffinity(own)?;
    let last = (0..CpuSet::count()).rev().find(|core| all.is_set(*core).unwrap_or(false)).ok_or("no core")?;
    let mut one = CpuSet::new();
    one.set(last)?;
    Ok(sched_setaffinity(own, &one)?)
}
