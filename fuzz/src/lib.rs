//! The bodies of the fuzz targets, taken from the crate `relay-tests` by path: as a dependency it would bring the runtimes
//! along, and every one of their crates would be built with the fuzzer's instrumentation.

#[path = "../../tests/src/fuzz/mod.rs"]
pub mod bodies;

#[path = "../../tests/src/model/mod.rs"]
pub mod model;
