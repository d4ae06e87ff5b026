//! Help, the demonstration, and pipes and programs that are not there.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::{relay, run, text};

#[test]
fn a_program_that_cannot_be_run_is_a_failure() {
    let gateway = ["gateway", "--url", "http://127.0.0.1:1", "--platform", "p", "--bot-id", "b"];
    let (stdout, stderr, code) = run(&[&gateway[..], &["--exec", "/no/such/program"]].concat());
    assert_eq!((stdout.as_str(), code), ("", 1));
    assert!(stderr.contains("/no/such/program"), "{stderr}");
}

#[test]
fn the_demonstration_says_what_happens_and_nothing_else() {
    let (stdout, stderr, code) = run(&["demo", "--once"]);
    assert_eq!((stderr.as_str(), code), ("", 0), "{stdout}");
    assert!(stdout.lines().count() > 10, "{stdout}");
}

#[test]
fn help_and_version_are_there() {
    assert_eq!(run(&["--version"]).0, format!("relay {}\n", env!("CARGO_PKG_VERSION")));
    for command in
        [&[][..], &["demo"], &["gateway"], &["decode"], &["url"], &["token"], &["token", "mint"], &["token", "verify"]]
    {
        let (stdout, stderr, code) = run(&[command, &["--help"]].concat());
        assert_eq!((stderr.as_str(), code), ("", 0));
        assert!(command.is_empty() || stdout.contains("$ "), "{command:?} has no example");
    }
    assert!(run(&["--help"]).0.contains("Exit codes"));
}

#[test]
fn the_examples_in_the_help_work() {
    for command in [&["decode"][..], &["url"], &["token"], &["token", "mint"], &["token", "verify"]] {
        let help = run(&[command, &["--help"]].concat()).0;
        let example: String =
            help.lines().filter_map(|line| line.trim().strip_prefix("$ ")).flat_map(|l| [l, "\n"]).collect();
        let directory = std::path::Path::new(env!("CARGO_BIN_EXE_relay")).parent().unwrap();
        let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh").args(["-e", "-c", &example]).env("PATH", path).output().unwrap();
        let (stdout, stderr, code) = text(&output);
        assert!(code == 0 && !stdout.is_empty() && stderr.is_empty(), "{example}: {stdout}{stderr}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let mut child =
        relay(&["decode"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    // It may go away while this is being written.
    let _ = stdin.write_all(&b"{}\n".repeat(100_000));
    drop(stdin);
    let (_, stderr, code) = text(&child.wait_with_output().unwrap());
    assert_eq!((stderr.as_str(), code), ("", 0));
    for arguments in [&["url", "http://h"][..], &["--help"], &["--version"]] {
        let mut child = relay(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let (_, stderr, code) = text(&child.wait_with_output().unwrap());
        assert_eq!((stderr.as_str(), code), ("", 0), "{arguments:?}");
    }
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (_, stderr, code) = text(&relay(&["url", "http://h"]).stdout(full).output().unwrap());
    assert!(code == 1 && stderr.contains("standard output"), "{stderr}");
}

/// What stands behind the flags is wrapped already, for the narrowest terminal, and never once more.
#[test]
fn help_is_wrapped_once_at_every_width() {
    for (command, begin) in [
        (&[][..], "Exit codes:"),
        (&["demo"], "Example:"),
        (&["gateway"], "Events, on standard output"),
        (&["connector"], "Commands, on standard input"),
        (&["enroll"], "The one line on standard output"),
        (&["decode"], "Example:"),
        (&["url"], "Example:"),
        (&["token"], "Example:"),
        (&["token", "mint"], "Example:"),
        (&["token", "verify"], "Example:"),
    ] {
        let help = |columns: usize| {
            let output = relay(&[command, &["--help"]].concat()).env("COLUMNS", columns.to_string()).output().unwrap();
            let text = text(&output).0;
            let longest = text.lines().max_by_key(|line| line.chars().count()).unwrap().to_owned();
            assert!(longest.chars().count() <= columns, "{command:?} at {columns}: {longest}");
            text.split_once(begin).unwrap_or_else(|| panic!("{command:?} has no {begin}")).1.to_owned()
        };
        let narrow = help(80);
        assert_eq!(narrow, help(100), "{command:?}");
        assert_eq!(narrow, help(120), "{command:?}");
    }
}
