//! The process whose instructions are counted: builds the same deliveries whatever it then reads of them.

use clap::Args;
use relay_bench::core;
use relay_bench::frames::Block;

use crate::Result;

#[derive(Args)]
pub(crate) struct Options {
    /// `ours` or `floor`.
    #[arg(long)]
    core: String,
    /// Bytes of an event.
    #[arg(long)]
    size: usize,
    /// Deliveries that are built.
    #[arg(long)]
    built: usize,
    /// Deliveries that are read.
    #[arg(long)]
    read: usize,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut core = core::named(&options.core)?;
    let block = Block::new(options.size, options.built, true);
    core::run(&mut *core, &block, options.read)
}
