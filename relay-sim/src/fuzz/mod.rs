//! The bodies of the fuzz targets in `fuzz/fuzz_targets`: ordinary functions of some bytes, which panic when something is
//! not as it should be. `cargo test` runs each over its committed corpus; see `tests/tests/corpora.rs`.

pub mod address;
pub mod client_link;
pub mod config;
pub mod connector;
pub mod enroll_answer;
pub mod enroll_request;
pub mod frames;
pub mod gateway;
pub mod lines;
pub mod model;
pub mod server_link;
pub mod token;

mod input;

/// What a target does with its input.
pub type Body = fn(&[u8]);

/// Every target by name: that of its corpus, of its file in `fuzz/fuzz_targets`, and of its module here.
pub const TARGETS: [(&str, Body); 12] = [
    ("address", address::run),
    ("client_link", client_link::run),
    ("config", config::run),
    ("connector", connector::run),
    ("enroll_answer", enroll_answer::run),
    ("enroll_request", enroll_request::run),
    ("frames", frames::run),
    ("gateway", gateway::run),
    ("lines", lines::run),
    ("model", model::run),
    ("server_link", server_link::run),
    ("token", token::run),
];
