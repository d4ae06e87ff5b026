//! What is wrong with the flags, the environment or an id, and how it is said.

use crate::{SECRET, relay, run, text};

#[test]
fn usage_errors_exit_with_2_and_print_nothing_on_stdout() {
    for arguments in [
        &["fly"][..],
        &["--fly"],
        &["url"],
        &["url", "a", "b"],
        &["url", "-x"],
        &["token"],
        &["token", "mint"],
        &["token", "mint", "--id", "g"],
        &["token", "mint", "--id", "g", "--secret-env", "PATH", "--ttl", "-1"],
        &["token", "mint", "--id", "g", "--secret-env", "PATH", "--now", "soon"],
        &["token", "verify", "x"],
        &["token", "verify", "--secret-env", "PATH"],
        &["decode", "file"],
        &["gateway"],
        &["gateway", "--platform", "p", "--bot-id", "b"],
        &["gateway", "--url", "http://h", "--bot-id", "b"],
        &["gateway", "--url", "http://h", "--platform", "p", "--platform", "q", "--bot-id", "b"],
        &["gateway", "--url", "http://h", "--platform", "p,q", "--bot-id", "b"],
        &["gateway", "--url", "ftp://h", "--platform", "p", "--bot-id", "b"],
        &["gateway", "--url", "http://h", "--platform", " ", "--bot-id", "b"],
        &["gateway", "--url", "http://h", "--platform", "p", "--bot-id", "b", "--ack", "never"],
        &["gateway", "--url", "http://h", "--platform", "p", "--bot-id", "b", "--secret-env", "NOT_SET_AT_ALL"],
        &["gateway", "--url", "http://h", "--platform", "p", "--bot-id", "b", "--exec"],
        &["gateway", "--env-file", "/nowhere/at/all"],
    ] {
        let (stdout, stderr, code) = run(arguments);
        assert_eq!((stdout.as_str(), code), ("", 2), "{arguments:?}: {stderr}");
        assert!(!stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_log_filter_has_levels_that_there_are() {
    let log = |filter: &str| text(&relay(&["decode"]).env("RELAY_LOG", filter).output().unwrap());
    for wrong in ["a=b=c", "verbose", "info,relay_tokio", "relay_tokio=loud"] {
        let (_, stderr, code) = log(wrong);
        assert!(code == 2 && stderr.contains("RELAY_LOG"), "{wrong}: {stderr}");
    }
    let (_, stderr, _) = log("verbose");
    for level in ["off", "error", "warn", "info", "debug", "trace"] {
        assert!(stderr.contains(level), "{stderr}");
    }
    for right in ["", "debug", "WARN", "off", "info, relay_tokio=trace", "relay_tokio=debug,"] {
        assert_eq!(log(right), (String::new(), String::new(), 0), "{right}");
    }
}

#[test]
fn a_file_of_variables_goes_with_no_flag_that_says_the_same() {
    let file = ["gateway", "--env-file", "/nowhere"];
    for flags in [
        &["--url", "http://h", "--platform", "p", "--bot-id", "b"][..],
        &["--platform", "p"],
        &["--bot-id", "b"],
        &["--id", "g"],
        &["--secret-env", "K"],
    ] {
        let (stdout, stderr, code) = run(&[&file[..], flags].concat());
        assert_eq!((stdout.as_str(), code), ("", 2), "{stderr}");
        assert!(stderr.contains("--env-file") && stderr.contains("cannot be used with"), "{flags:?}: {stderr}");
    }
}

#[test]
fn what_is_missing_is_asked_for_where_it_is_looked_for() {
    let said = |arguments: &[&str]| {
        let mut command = relay(arguments);
        for name in ["URL", "PLATFORMS", "BOT_IDS", "ID", "SECRET"] {
            command.env_remove(format!("GATEWAY_RELAY_{name}"));
        }
        let (stdout, stderr, code) = text(&command.output().unwrap());
        assert_eq!((stdout.as_str(), code), ("", 2), "{stderr}");
        stderr
    };
    let bare = said(&["gateway"]);
    assert!(bare.contains("GATEWAY_RELAY_URL") && bare.contains("--url") && bare.contains("--env-file"), "{bare}");
    // Flags that the file rules out are no advice.
    let file = said(&["gateway", "--env-file", "/dev/null"]);
    assert!(file.contains("GATEWAY_RELAY_URL") && file.contains("/dev/null") && !file.contains("--url"), "{file}");
}

#[test]
fn times_are_whole_seconds() {
    let mint = ["token", "mint", "--id", "g", "--secret-env", "K"];
    for (arguments, word) in [
        (&[&mint[..], &["--ttl", "5m"]].concat()[..], "in whole seconds"),
        (&[&mint[..], &["--ttl", "1.5"]].concat(), "in whole seconds"),
        (&[&mint[..], &["--now", "soon"]].concat(), "in whole seconds"),
        (&["enroll", "--env-file", "x", "--timeout", "5m"], "in whole seconds"),
        (&["enroll", "--env-file", "x", "--timeout", "3601"], "1 to 3600"),
        (&["connector", "--listen", "127.0.0.1:0", "--write-timeout", "5m"], "in whole seconds"),
        (&["connector", "--listen", "127.0.0.1:0", "--write-timeout", "0"], "1 to 86400"),
    ] {
        let (_, stderr, code) = run(arguments);
        assert!(code == 2 && stderr.contains(word), "{arguments:?}: {stderr}");
    }
}

#[test]
fn an_id_is_good_in_every_command_or_in_none() {
    let words = "the gateway's id cannot be used";
    let url = ["--url", "http://127.0.0.1:1", "--platform", "p", "--bot-id", "b"];
    for id in ["a\nb", "a\u{1}", "a\u{85}b", " a", &"x".repeat(1025)] {
        let in_env = format!("{id}=K");
        let in_open = format!("{id}=s");
        for arguments in [
            &["token", "mint", "--secret-env", "K", "--id", id][..],
            &[&["gateway", "--secret-env", "K", "--id", id], &url[..]].concat(),
            &[&["gateway", "--id", id], &url[..]].concat(),
            &["enroll", "--url", "http://127.0.0.1:1", "--env-file", "/nowhere/at/all", "--id", id],
            &["connector", "--listen", "127.0.0.1:0", "--gateway-env", &in_env],
            &["connector", "--listen", "127.0.0.1:0", "--gateway", &in_open],
        ] {
            // What stands in for flags, and files, is trimmed.
            if id.starts_with(' ') && arguments[0] == "enroll" {
                continue;
            }
            let tokens = ["GATEWAY_RELAY_ENROLL_TOKEN", "GATEWAY_RELAY_IDENTITY_TOKEN"].map(|name| (name, "t"));
            let output = relay(arguments).env("K", SECRET).envs(tokens).output().unwrap();
            let (stdout, stderr, code) = text(&output);
            assert_eq!((stdout.as_str(), code), ("", 2), "{arguments:?}: {stderr}");
            assert!(stderr.contains(words) && !stderr.contains(SECRET), "{arguments:?}: {stderr}");
        }
    }
    let mut gateway = relay(&["gateway"]);
    gateway.env("GATEWAY_RELAY_URL", "http://127.0.0.1:1").env("GATEWAY_RELAY_PLATFORMS", "p");
    gateway.env("GATEWAY_RELAY_BOT_IDS", r#"{"p":{"botId":"b"}}"#).env("GATEWAY_RELAY_ID", "a\nb");
    let (stdout, stderr, code) = text(&gateway.output().unwrap());
    assert!(stdout.is_empty() && code == 2 && stderr.contains(words), "{stderr}");
}
