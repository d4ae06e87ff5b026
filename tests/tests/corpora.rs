//! The bodies of the fuzz targets, over their committed corpora.
#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use relay_sim::fuzz::{
    Body, TARGETS, address, client_link, config, connector, enroll_answer, enroll_request, frames, gateway, lines,
    model, server_link, token,
};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

/// The names of what is in a folder, without an extension.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// Runs a body over its corpus. What fails is named, so that it can be replayed.
fn each(target: &str, body: Body) {
    struct Named(PathBuf);
    impl Drop for Named {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("failed on {}", self.0.display());
            }
        }
    }

    let folder = fuzz().join("corpus").join(target);
    let files = names(&folder);
    assert!(!files.is_empty(), "an empty corpus shows nothing");
    for file in files {
        let named = Named(folder.join(file));
        let input = fs::read(&named.0).unwrap();
        body(&input);
        // However it ends, and whatever is missing from it.
        body(&input[..input.len() / 2]);
    }
    body(&[]);
}

#[test]
fn every_target_has_a_file_and_a_corpus() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&fuzz().join("fuzz_targets")), targets);
    assert_eq!(names(&fuzz().join("corpus")), targets);
}

// proves: DIAL-1, TOKEN-3
#[test]
fn an_address_is_stable_and_hides_its_password() {
    each("address", address::run);
}

// proves: FRAME-3
#[test]
fn a_dialling_link_does_not_depend_on_how_bytes_are_cut() {
    each("client_link", client_link::run);
}

// proves: DIAL-4, TOKEN-3
#[test]
fn a_configuration_hides_its_secrets() {
    each("config", config::run);
}

// proves: CONN-3, CONN-4, CONN-6, CONN-7
#[test]
fn a_connector_keeps_its_rules_whatever_its_wires_say() {
    each("connector", connector::run);
}

// proves: ENROLL-3, ENROLL-4, TOKEN-3
#[test]
fn an_answer_to_an_enrolment_does_not_depend_on_how_bytes_are_cut() {
    each("enroll_answer", enroll_answer::run);
}

// proves: ENROLL-1, ENROLL-5, POLICY-1, TOKEN-3
#[test]
fn a_request_to_enrol_does_not_depend_on_how_bytes_are_cut() {
    each("enroll_request", enroll_request::run);
}

// proves: FRAME-4, FRAME-6, EVENT-3
#[test]
fn a_line_says_what_its_json_says() {
    each("frames", frames::run);
}

// proves: ACK-1, ACK-4, CLOSE-1, DIAL-5, REQ-1
#[test]
fn a_gateway_keeps_its_rules_whatever_its_wire_says() {
    each("gateway", gateway::run);
}

// proves: FRAME-2, FRAME-3
#[test]
fn lines_do_not_depend_on_how_bytes_are_cut() {
    each("lines", lines::run);
}

// proves: ACK-1, ACK-4, LINK-1, LINK-2, AUTH-1
#[test]
fn the_machine_does_what_the_model_does() {
    each("model", model::run);
}

// proves: FRAME-3
#[test]
fn an_accepting_link_does_not_depend_on_how_bytes_are_cut() {
    each("server_link", server_link::run);
}

// proves: TOKEN-1, TOKEN-2, TOKEN-3
#[test]
fn a_token_verifies_if_it_was_minted() {
    each("token", token::run);
}
