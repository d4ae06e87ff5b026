//! What the kernel knows of a process.

use std::fs;

/// A process that is measured.
#[derive(Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// Resident memory, in KiB.
    pub(crate) fn resident(self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(f64::NAN)
    }

    /// How many threads it has.
    pub(crate) fn threads(self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.0)).into_iter().flatten().count()
    }

    /// How often its threads have begun to wait so far: once for each wake-up.
    pub(crate) fn switches(self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0)).into_iter().flatten().flatten();
        let of_task = |status: String| {
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            line.trim().parse::<u64>().ok()
        };
        tasks.filter_map(|task| of_task(fs::read_to_string(task.path().join("status")).ok()?)).sum()
    }

    /// Seconds of CPU so far: all threads, and of these the threads whose name starts like this.
    pub(crate) fn cpu(self, prefix: &str) -> (f64, f64) {
        let (mut all, mut named) = (0.0, 0.0);
        for task in fs::read_dir(format!("/proc/{}/task", self.0)).into_iter().flatten().flatten() {
            let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let nanoseconds: f64 =
                read("schedstat").split(' ').next().and_then(|text| text.parse().ok()).unwrap_or_default();
            all += nanoseconds / 1e9;
            if read("comm").starts_with(prefix) {
                named += nanoseconds / 1e9;
            }
        }
        (all, named)
    }
}
