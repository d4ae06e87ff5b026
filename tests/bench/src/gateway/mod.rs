//! The gateway half: every client in a process of its own, against a connector that costs next to nothing in another one,
//! and beside the floor: the same work without this library.

mod build;
mod child;
pub(crate) mod client;
mod command;
mod core;
pub(crate) mod core_process;
mod cores;
mod idle;
mod in_flight;
mod inbound;
mod pair;
pub(crate) mod peer;
mod reference;
mod round_trip;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::Result;
use crate::report::Report;

#[derive(Args, Default)]
pub(crate) struct Options {
    /// What to measure. Default: all of it.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Part>,
    /// How often rates are measured. [default: 5, or 1 with --quick]
    #[arg(long)]
    rounds: Option<usize>,
    /// Links of the largest idle process. [default: 10000, or 200 with --quick]
    #[arg(long)]
    links: Option<usize>,
    /// A Python that has `hermes-agent`, to compare with.
    #[arg(long)]
    python: Option<PathBuf>,
    /// The command `relay`. [default: built from this source, as a release]
    #[arg(long)]
    relay: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Instructions and allocations for each delivery, without sockets.
    Core,
    /// Deliveries each second.
    Inbound,
    /// Requests each second, one under way.
    RoundTrip,
    /// Requests each second, many under way.
    InFlight,
    /// Memory and CPU for each idle link.
    Idle,
    /// The command's size, and how fast it starts.
    Command,
}

/// The numbers of one run.
struct Plan<'a> {
    quick: bool,
    rounds: usize,
    links: usize,
    python: Option<&'a PathBuf>,
    relay: Option<&'a PathBuf>,
}

impl Plan<'_> {
    /// How many of something: fewer when it is to be quick.
    fn count(&self, full: usize) -> usize {
        if self.quick { full.div_ceil(20) } else { full }
    }
}

pub(crate) fn run(options: &Options, quick: bool, report: &mut Report) -> Result<()> {
    let pick = |own: Option<usize>, full, small| own.unwrap_or(if quick { small } else { full }).max(1);
    let plan = Plan {
        quick,
        rounds: pick(options.rounds, 5, 1),
        links: pick(options.links, 10_000, 200),
        python: options.python.as_ref(),
        relay: options.relay.as_ref(),
    };
    let wants = |part| options.only.is_empty() || options.only.contains(&part);
    if wants(Part::Core) {
        report.add(core::counts(&plan)?);
        report.add(core::rates(&plan)?);
    }
    if wants(Part::Inbound) {
        report.add(inbound::clients(&plan)?);
        report.add(inbound::sizes(&plan)?);
    }
    if wants(Part::RoundTrip) {
        report.add(round_trip::run(&plan)?);
    }
    if wants(Part::InFlight) {
        report.add(in_flight::run(&plan)?);
    }
    if wants(Part::Idle) {
        report.add(idle::run(&plan)?);
    }
    if wants(Part::Command) {
        report.add(command::run(&plan)?);
    }
    Ok(())
}
