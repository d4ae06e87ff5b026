//! Counts what a core allocates for each delivery: `allocations CORE SIZE FRAMES` prints the allocations of so many frames,
//! and their bytes. A binary of its own, because counting costs time.

use std::alloc::System;

use relay_bench::{Result, core, frames::Block};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, size, frames] = &arguments[..] else { return Err("usage: allocations CORE SIZE FRAMES".into()) };
    let (size, frames) = (size.parse()?, frames.parse()?);
    let mut core = core::named(name)?;
    let mut block = Block::new(size, frames, true);
    // What grows once grows now.
    core::run(&mut *core, &block, frames)?;
    block.renumber();
    let region = Region::new(ALLOCATOR);
    core::run(&mut *core, &block, frames)?;
    let change = region.change();
    println!("{} {}", change.allocations + change.reallocations, change.bytes_allocated);
    Ok(())
}
