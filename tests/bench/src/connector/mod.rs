//! The connector half. One connector, in a process of its own with two worker threads, and gateways that cost next to
//! nothing, in this one.

mod accept;
pub(crate) mod child;
mod client;
mod control;
mod drain;
mod harm;
mod hostile;
mod idle;
mod store;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::Result;
use crate::report::Report;

/// What is delivered: an event of this many bytes.
const EVENT: usize = 471;
/// Gateways are named by this and a number.
const NAME: &str = "gw-";
/// And the one that means harm.
const HOSTILE: &str = "hostile";
/// What all of them show.
const SECRET: &str = "a secret of the benchmark";

#[derive(Args)]
pub(crate) struct Options {
    /// What to measure. Default: all of it.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Part>,
    /// Gateways that are connected. [default: 2000, or 200 with --quick]
    #[arg(long)]
    gateways: Option<usize>,
    /// Of these, the ones with a backlog. [default: 100, or 20 with --quick]
    #[arg(long)]
    draining: Option<usize>,
    /// Entries in each backlog. [default: 10000, or 500 with --quick]
    #[arg(long)]
    backlog: Option<usize>,
    /// How often rates are measured. [default: 3, or 1 with --quick]
    #[arg(long)]
    rounds: Option<usize>,
    /// The directory of the stores. Its disk is what is measured. [default: that of temporary files]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Only these gateways that mean harm, by their names in the table.
    #[arg(long, value_delimiter = ',')]
    harm: Vec<String>,
    /// Store of the connector in the part `harm`: in memory, latencies are not those of the disk.
    #[arg(long, value_delimiter = ',', value_enum, default_values = ["memory", "disk"])]
    harm_store: Vec<Kind>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Memory for each idle link.
    Idle,
    /// Durable appends each second.
    Accept,
    /// Entries each second out of backlogs.
    Drain,
    /// What the others notice of one that means harm.
    Harm,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Memory,
    Disk,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
        }
    }
}

impl Options {
    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(std::env::temp_dir)
    }
}

/// The numbers of one run.
struct Plan {
    quick: bool,
    gateways: usize,
    draining: usize,
    backlog: usize,
    rounds: usize,
    dir: PathBuf,
}

pub(crate) fn run(options: &Options, quick: bool, report: &mut Report) -> Result<()> {
    let pick = |own: Option<usize>, full, small| own.unwrap_or(if quick { small } else { full }).max(1);
    let plan = Plan {
        quick,
        gateways: pick(options.gateways, 2000, 200),
        draining: pick(options.draining, 100, 20),
        backlog: pick(options.backlog, 10_000, 500),
        rounds: pick(options.rounds, 3, 1),
        dir: options.dir(),
    };
    if plan.draining > plan.gateways {
        return Err("more gateways would drain than there are".into());
    }
    // Both processes hold one end of each connection; the slow clients are thousands more.
    rlimit::increase_nofile_limit((plan.gateways + 8192) as u64)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let wants = |part| options.only.is_empty() || options.only.contains(&part);
    runtime.block_on(async {
        if wants(Part::Idle) {
            report.add(idle::run(&plan).await?);
        }
        if wants(Part::Accept) {
            report.add(accept::run(&plan).await?);
        }
        if wants(Part::Drain) {
            report.add(drain::run(&plan).await?);
        }
        if wants(Part::Harm) {
            for kind in &options.harm_store {
                report.add(harm::run(&plan, *kind, &options.harm).await?);
            }
        }
        Ok(())
    })
}

/// An event of [`EVENT`] bytes.
fn event() -> String {
    let (start, end) = (r#"{"text":""#, r#"","source":{"platform":"discord","chat_id":"c1"}}"#);
    format!("{start}{}{end}", "x".repeat(EVENT - start.len() - end.len()))
}

fn name(number: usize) -> String {
    format!("{NAME}{number}")
}
