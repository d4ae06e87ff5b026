//! No secret is shown, nor sent in plain text by mistake.

use crate::{SECRET, run, run_with_key};

// proves: TOKEN-3
#[test]
fn no_command_prints_a_secret() {
    for arguments in [
        &["token", "mint", "--id", "g", "--secret-env", "K"][..],
        &["token", "mint", "--id", "g", "--secret-env", "K", "--ttl", "x"],
        &["token", "verify", "--secret-env", "K", "x"],
        &["token", "verify", "--secret-env", "K", "--now", "-1", "x"],
        &["gateway", "--secret-env", "K"],
        &[
            "gateway",
            "--url",
            "http://connector.example",
            "--platform",
            "p",
            "--bot-id",
            "b",
            "--id",
            "g",
            "--secret-env",
            "K",
        ],
    ] {
        let (stdout, stderr, _) = run_with_key(arguments);
        assert!(!stdout.contains(SECRET) && !stderr.contains(SECRET), "{arguments:?}: {stdout}{stderr}");
    }
}

// proves: TOKEN-3
#[test]
fn a_secret_in_the_place_of_its_variables_name_is_not_shown() {
    let url = ["--url", "http://127.0.0.1:1", "--platform", "p", "--bot-id", "b", "--id", "g"];
    let enroll = ["enroll", "--url", "http://127.0.0.1:1", "--id", "g", "--env-file", "/nowhere/at/all"];
    let pair = |name: &str| format!("gw={name}");
    let long = "A".repeat(41);
    for name in ["s3cret", SECRET, "s3cret=", "1A", "", "NAME\u{e4}", &long] {
        for arguments in [
            &["token", "mint", "--id", "g", "--secret-env", name][..],
            &["token", "verify", "x", "--secret-env", name],
            &[&["gateway", "--secret-env", name], &url[..]].concat(),
            &["connector", "--listen", "127.0.0.1:0", "--gateway-env", &pair(name)],
            &["connector", "--listen", "127.0.0.1:0", "--enroll-env", name],
            &[&enroll[..], &["--token-env", name]].concat(),
        ] {
            let (_, stderr, code) = run(arguments);
            assert!(code == 2 && stderr.contains("NAME of one"), "{arguments:?}: {stderr}");
            assert!(name.len() < 3 || !stderr.contains(name), "{arguments:?}: {stderr}");
        }
    }
    let (_, stderr, code) = run(&["connector", "--listen", "127.0.0.1:0", "--gateway-env", SECRET]);
    assert!(code == 2 && !stderr.contains(SECRET), "{stderr}");
    let (_, stderr, _) = run(&["token", "mint", "--id", "g", "--secret-env", "NOT_SET_AT_ALL"]);
    assert!(stderr.contains("`NOT_SET_AT_ALL` is not set"), "{stderr}");
}

// proves: DIAL-4
#[test]
fn credentials_over_plaintext_are_refused_and_the_option_is_named() {
    let url = ["gateway", "--url", "http://connector.example", "--platform", "p", "--bot-id", "b"];
    let (stdout, stderr, code) = run_with_key(&[&url[..], &["--id", "g", "--secret-env", "K"]].concat());
    assert_eq!((stdout.as_str(), code), ("", 2));
    assert!(stderr.contains("--allow-plaintext-credentials"), "{stderr}");
}
