//! `relay token mint` and `relay token verify`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use serde_json::{Value, json};

use crate::{SECRET, relay, run, run_with_key, text, vectors};

// proves: TOKEN-1
#[test]
fn minted_tokens_are_the_golden_ones() {
    for case in vectors("token_mint") {
        let input = &case["input"];
        let (now, ttl) = (input["now_unix"].to_string(), input["ttl_seconds"].to_string());
        let id = input["gateway_id"].as_str().unwrap();
        let output = relay(&["token", "mint", "--id", id, "--secret-env", "K", "--now", &now, "--ttl", &ttl])
            .env("K", input["secret"].as_str().unwrap())
            .output()
            .unwrap();
        let expected = format!("{}\n", case["expect"]["token"].as_str().unwrap());
        assert_eq!(text(&output), (expected, String::new(), 0), "{}", case["name"]);
    }
}

// proves: TOKEN-2
#[test]
fn tokens_are_verified_as_the_golden_ones() {
    let mut verified = 0;
    for case in vectors("token_verify") {
        let input = &case["input"];
        let secrets = input["secrets"].as_array().unwrap();
        if secrets.is_empty() {
            // A list that the command line cannot express.
            continue;
        }
        let (token, now) = (input["token"].as_str().unwrap(), input["now_unix"].to_string());
        let mut command = relay(&["token", "verify", "--now", &now]);
        for (index, secret) in secrets.iter().enumerate() {
            let name = format!("K{index}");
            command.args(["--secret-env", &name]).env(name, secret.as_str().unwrap());
        }
        let (stdout, _, code) = text(&command.arg(token).output().unwrap());
        let answer: Value = serde_json::from_str(&stdout).unwrap();
        match case["expect"]["payload"].as_str() {
            Some(id) => assert_eq!((answer, code), (json!({"id": id}), 0), "{}", case["name"]),
            None => {
                let name = case["name"].as_str().unwrap();
                let refused = answer["refused"].as_str().unwrap();
                assert!(["malformed", "expired", "bad_signature"].contains(&refused), "{name}: {refused}");
                assert!(!name.starts_with("past-expiry") || refused == "expired", "{name}: {refused}");
                assert_eq!(code, 1, "{name}");
            }
        }
        verified += 1;
    }
    assert!(verified > 100);
}

#[test]
fn without_a_time_the_clock_counts() {
    let mint = |ttl: &str| {
        let output = relay(&["token", "mint", "--id", "g", "--secret-env", "K", "--ttl", ttl])
            .env("K", SECRET)
            .output()
            .unwrap();
        text(&output).0.trim_end().to_string()
    };
    let verify =
        |token: &str| text(&relay(&["token", "verify", "--secret-env", "K", token]).env("K", SECRET).output().unwrap());
    assert_eq!(verify(&mint("300")).0, "{\"id\":\"g\"}\n");
    let minted_long_ago =
        relay(&["token", "mint", "--id", "g", "--secret-env", "K", "--now", "1000"]).env("K", SECRET).output().unwrap();
    let expired = verify(text(&minted_long_ago).0.trim_end());
    assert_eq!((expired.0.as_str(), expired.2), ("{\"refused\":\"expired\"}\n", 1));
}

#[test]
fn a_token_may_start_with_a_dash() {
    for arguments in [&["-x"][..], &["--", "-x"], &["--", "--now"], &["--xyz"], &["-x", "--now", "7"]] {
        let output = relay(&[&["token", "verify", "--secret-env", "K"], arguments].concat()).env("K", "s").output();
        let (stdout, _, code) = text(&output.unwrap());
        assert_eq!((stdout.as_str(), code), ("{\"refused\":\"malformed\"}\n", 1), "{arguments:?}");
    }
}

// proves: TOKEN-2, TOKEN-3
#[test]
fn secrets_come_from_variables_that_hold_one() {
    for verb in [&["mint", "--id", "g"][..], &["verify", "x"]] {
        let token = |secret: Option<&OsStr>| {
            let mut command = relay(&[&["token"], verb, &["--secret-env", "THE_KEY"]].concat());
            match secret {
                Some(secret) => command.env("THE_KEY", secret),
                None => command.env_remove("THE_KEY"),
            };
            text(&command.output().unwrap())
        };
        let not_unicode: &OsStr = OsStrExt::from_bytes(b"hunter2\xff");
        for secret in [None, Some(OsStr::new("")), Some(OsStr::new(" \t")), Some(not_unicode)] {
            let (stdout, stderr, code) = token(secret);
            assert_eq!((stdout.as_str(), code), ("", 2), "{verb:?} {secret:?}");
            assert!(stderr.contains("`THE_KEY`") && !stderr.contains("hunter2"), "{stderr}");
        }
    }
    let (stdout, stderr, code) = run(&["token", "mint", "--id", " ", "--secret-env", "PATH"]);
    assert_eq!((stdout.as_str(), code), ("", 2));
    assert!(stderr.contains("--id"));
}

// proves: TOKEN-2
#[test]
fn a_blank_secret_in_a_rotation_is_skipped_and_said() {
    let token = run_with_key(&["token", "mint", "--id", "g", "--secret-env", "K"]).0;
    let mut verify = relay(&["token", "verify", "--secret-env", "EMPTY", "--secret-env", "K", token.trim_end()]);
    let (stdout, stderr, code) = text(&verify.env("EMPTY", " ").env("K", SECRET).output().unwrap());
    assert_eq!((stdout.as_str(), code), ("{\"id\":\"g\"}\n", 0));
    assert!(stderr.contains("`EMPTY`"), "{stderr}");
}
