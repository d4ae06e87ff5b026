//! Where it ran.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// What of the machine decides about the figures.
pub(crate) struct Machine {
    cores: usize,
    processor: String,
    memory_gib: f64,
    kernel: String,
    disk: String,
    /// Load averages before the run: 1, 5 and 15 minutes.
    load: String,
}

impl Machine {
    pub(crate) fn new(dir: &Path) -> Self {
        let field = |file: &str, name: &str| {
            let line = read(file).lines().find(|line| line.starts_with(name)).map(ToOwned::to_owned);
            line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned())).unwrap_or_default()
        };
        let kib: f64 = field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(f64::NAN);
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: field("/proc/cpuinfo", "model name"),
            memory_gib: kib / f64::from(1 << 20),
            kernel: read("/proc/sys/kernel/osrelease"),
            disk: disk(dir),
            load: read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "cores": self.cores, "processor": self.processor, "memory_gib": self.memory_gib, "kernel": self.kernel,
            "disk": self.disk, "load_before": self.load, "load_after": Self::new(Path::new("/")).load,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, processor, memory_gib, kernel, disk, load } = self;
        write!(f, "{cores} cores ({processor}), {memory_gib:.0} GiB, Linux {kernel}, {disk}; load {load}")
    }
}

fn read(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_default().trim().to_owned()
}

/// The file system and the device that a directory is on.
fn disk(dir: &Path) -> String {
    let dir = fs::canonicalize(dir).unwrap_or_else(|_| PathBuf::from("/"));
    let mounts = read("/proc/self/mountinfo");
    // Device numbers are third, the mount point fifth, and the file system follows a dash.
    let best = mounts
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let fields: Vec<&str> = left.split(' ').collect();
            let (point, mut right) = (*fields.get(4)?, right.split(' '));
            dir.starts_with(point).then_some((point.len(), *fields.get(2)?, right.next()?, right.next()?))
        })
        .max_by_key(|(length, ..)| *length);
    let Some((_, number, kind, device)) = best else { return "an unknown disk".into() };
    let queue = fs::canonicalize(format!("/sys/dev/block/{number}")).unwrap_or_default();
    let rotational = queue.ancestors().take(2).map(|at| at.join("queue/rotational")).find(|file| file.exists());
    let rotates = match rotational.map(|file| read(&file.display().to_string())).as_deref() {
        Some("1") => ", says that it rotates",
        Some(_) => ", does not rotate",
        None => "",
    };
    format!("{kind} on {device}{rotates}")
}
