//! The command line.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;

use crate::server::Server;
use crate::setup::{IDENTITY, Place, TOKEN, relay, run, said};

const GRANT: &str = r#"{"secret":"granted-s3cret"}"#;

#[test]
fn tokens_come_from_files_and_standard_input() {
    let server = Server::answering(200, "", GRANT);
    let place = Place::new();
    fs::write(place.path("identity"), format!("\u{feff}\n {IDENTITY} \n")).unwrap();
    let mut command = relay("enroll");
    command.args(["--url", &server.url(), "--id", "gw", "--env-file"]).arg(place.path("gateway.env"));
    command.args(["--token-file", "-", "--identity-file"]).arg(place.path("identity"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{TOKEN}").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    let request = server.requests().remove(0);
    assert!(request.contains(&format!("Authorization: Bearer {IDENTITY}\r\n")), "{request}");
    assert!(request.ends_with(&format!(r#"{{"enrollmentToken":"{TOKEN}","gatewayId":"gw"}}"#)), "{request}");
}

#[test]
fn a_token_on_the_command_line_is_warned_about_and_not_shown() {
    let server = Server::answering(403, "", "{}");
    let place = Place::new();
    let said = run(place.enroll(&server.url(), &["--token", "in-the-open"]));
    assert_eq!(said.failure().0, "forbidden");
    assert!(said.stderr.contains("warning") && !said.stderr.contains("in-the-open"), "{}", said.stderr);
    assert!(server.requests()[0].contains("in-the-open"));
}

#[test]
fn the_environment_stands_in_for_flags() {
    let server = Server::answering(200, "", GRANT);
    let place = Place::new();
    let mut command = relay("enroll");
    command.arg("--env-file").arg(place.path("gateway.env"));
    command.env("GATEWAY_RELAY_URL", server.url()).env("GATEWAY_RELAY_ID", "from-env");
    command.env("GATEWAY_RELAY_ENROLL_TOKEN", TOKEN).env("GATEWAY_RELAY_IDENTITY_TOKEN", IDENTITY);
    assert_eq!(run(command).code, 0);
    assert_eq!(place.variable("GATEWAY_RELAY_ID"), "from-env");
}

// proves: ENROLL-2
#[test]
fn what_is_missing_or_wrong_is_a_matter_of_usage() {
    let place = Place::new();
    let wrong = |word: &str, change: &dyn Fn(&mut std::process::Command), url: &str, arguments: &[&str]| {
        let mut command = place.enroll(url, arguments);
        change(&mut command);
        let said = run(command);
        assert!(said.code == 2 && said.lines.is_empty() && said.stderr.contains(word), "{word}: {}", said.stderr);
        assert!(!said.stderr.contains(TOKEN) && !said.stderr.contains(IDENTITY), "{}", said.stderr);
    };
    let same = |_: &mut std::process::Command| {};
    wrong("--allow-plaintext-credentials", &same, "http://192.0.2.1", &[]);
    wrong("--allow-plaintext-credentials", &same, "http://127.0.0.1:9", &["--proxy", "http://192.0.2.1:3128"]);
    wrong("scheme", &same, "connector.example", &[]);
    wrong("GATEWAY_RELAY_ENROLL_TOKEN", &|c| _ = c.env_remove("GATEWAY_RELAY_ENROLL_TOKEN"), "https://h", &[]);
    wrong("GATEWAY_RELAY_IDENTITY_TOKEN", &|c| _ = c.env("GATEWAY_RELAY_IDENTITY_TOKEN", " "), "https://h", &[]);
    wrong("identity token", &|c| _ = c.env("GATEWAY_RELAY_IDENTITY_TOKEN", "two words"), "https://h", &[]);
    wrong("OTHER", &same, "https://h", &["--token-env", "OTHER"]);
    wrong("standard input", &same, "https://h", &["--token-file", "-", "--identity-file", "-"]);
    let two = place.path("two");
    fs::write(&two, "one\nanother\n").unwrap();
    wrong("more than one line", &same, "https://h", &["--token-file", two.to_str().unwrap()]);
    fs::remove_file(two).unwrap();
    wrong("--bot-id", &same, "https://h", &["--platform", "discord", "--platform", "slack", "--bot-id", "1"]);
    wrong("--platform is blank", &same, "https://h", &["--platform", ""]);
    wrong("--platform is blank", &same, "https://h", &["--platform", "discord", "--platform", " "]);
    wrong("repeat it", &same, "https://h", &["--platform", "discord,slack"]);
    wrong("cannot be used with", &same, "https://h", &["--token", "x", "--token-file", "y"]);
    wrong("--tls-ca", &same, "https://h", &["--tls-ca", "/nowhere"]);
    wrong("neither", &same, "http://127.0.0.1:9", &["--tls-allow-self-signed"]);
    wrong("--proxy", &same, "https://h", &["--proxy", "socks5://p"]);
    assert!(place.files().is_empty());
}

// proves: ENROLL-2
#[test]
fn what_the_gateway_would_not_read_again_is_a_matter_of_usage() {
    let server = Server::answering(200, "", GRANT);
    let place = Place::new();
    let long = "x".repeat(40_000);
    for (fronts, word) in [
        (&[("discord", "1"), ("discord", "2")][..], "`discord` is there twice"),
        (&[(" a", "1")], "` a` is not one of"),
        (&[("a b", "1")], "white space"),
        (&[("a #1", "1")], "comment"),
        (&[("a\nb", "1")], "line break"),
        (&[("a\nGATEWAY_RELAY_URL=wss://evil.example/relay\nB=", "1")], "line break"),
        (&[("discord", &long)], "too long"),
    ] {
        let flags = fronts.iter().flat_map(|(platform, bot)| ["--platform", platform, "--bot-id", bot]);
        let said = run(place.enroll(&server.url(), &flags.collect::<Vec<_>>()));
        assert!(said.code == 2 && said.lines.is_empty(), "{fronts:?}: {:?}", said.lines);
        assert!(said.stderr.contains("--platform and --bot-id") && said.stderr.contains(word), "{}", said.stderr);
    }
    // What else is wrong is not laid at their door.
    let mut command = relay("enroll");
    command.args(["--url", &server.url(), "--id", "a\nb", "--platform", "discord", "--bot-id", "1", "--env-file"]);
    command.arg(place.path("gateway.env"));
    command.env("GATEWAY_RELAY_ENROLL_TOKEN", TOKEN).env("GATEWAY_RELAY_IDENTITY_TOKEN", IDENTITY);
    let said = run(command);
    assert_eq!(said.code, 2);
    assert!(said.stderr.contains("the gateway's id cannot be used"), "{}", said.stderr);
    assert!(place.files().is_empty() && server.requests().is_empty());
}

#[test]
fn whatever_the_gateway_reads_again_is_taken() {
    let server = Server::answering(200, "", GRANT);
    let place = Place::new();
    let fronts = ["--platform", "it$x\\y", "--bot-id", "a\nb'\t\"`$x", "--platform", "b", "--bot-id", ""];
    assert_eq!(run(place.enroll(&server.url(), &fronts)).code, 0);
    let mut gateway = relay("gateway");
    gateway.arg("--env-file").arg(place.path("gateway.env"));
    // Without input it ends as soon as it has begun.
    let said = run(gateway);
    let last = said.lines.last().unwrap();
    assert_eq!((said.code, &last["event"]), (0, &"closed".into()), "{}", said.stderr);
}

#[test]
fn a_flag_and_what_stands_in_for_it_are_told_apart() {
    let place = Place::new();
    for (flag, variable, good) in
        [("--url", "GATEWAY_RELAY_URL", "https://connector.example"), ("--id", "GATEWAY_RELAY_ID", "gw")]
    {
        let says = |given: Option<&str>, value: Option<&OsStr>| {
            let mut command = relay("enroll");
            command.arg("--env-file").arg(place.path("gateway.env"));
            command.env("GATEWAY_RELAY_URL", "https://connector.example").env("GATEWAY_RELAY_ID", "gw");
            match value {
                Some(value) => command.env(variable, value),
                None => command.env_remove(variable),
            };
            command.args(given.map(|given| format!("{flag}={given}")));
            let said = run(command);
            assert!(said.code == 2 && said.lines.is_empty(), "{:?}", said.lines);
            said.stderr
        };
        for blank in ["", " "] {
            assert_eq!(says(Some(blank), Some(OsStr::new(good))), format!("relay: {flag} is blank\n"));
        }
        for (value, how) in [
            (None, "not set"),
            (Some(OsStr::new(" ")), "blank"),
            (Some(OsStr::from_bytes(b"https://\xff")), "not Unicode"),
        ] {
            let expected = format!("relay: {flag} is missing, and the environment variable `{variable}` is {how}\n");
            assert_eq!(says(None, value), expected);
        }
    }
}

// proves: CONN-8
#[test]
fn a_connector_that_could_enrol_nobody_says_why() {
    let place = Place::new();
    fs::write(place.path("tokens"), "a b c secret-word\n").unwrap();
    let file = place.path("tokens");
    fs::write(place.path("twice"), "# mine\n\nsecret-word-of-mine\nsecret-word-of-mine gw\n").unwrap();
    fs::write(place.path("long"), "secret-word".repeat(1000)).unwrap();
    fs::write(place.path("short"), "# mine\n15-characters.. gw\n").unwrap();
    let (twice, long, short) = (place.path("twice"), place.path("long"), place.path("short"));
    for (arguments, word) in [
        (&["--enroll-file", file.to_str().unwrap()][..], "line 1"),
        (&["--enroll-file", twice.to_str().unwrap()], "line 4 has the token of line 3"),
        (&["--enroll-file", long.to_str().unwrap()], "over 8192 bytes"),
        (&["--enroll-file", short.to_str().unwrap()], "the token of line 2 has under 16 characters"),
        (&["--enroll-file", "/nowhere/tokens"], "/nowhere/tokens"),
        (&["--enroll-env", "NOT_SET"], "NOT_SET"),
        (&["--identity-env", "BLANK", "--enroll-env", "TOKENS"], "BLANK"),
        (&["--identity-env", "TOKENS"], "--enroll-env"),
    ] {
        let mut command = relay("connector");
        command.args(["--listen", "127.0.0.1:0"]).args(arguments).env("TOKENS", TOKEN).env("BLANK", " \n");
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = said(&output.stdout, &output.stderr, output.status.code().unwrap());
        assert!(said.code == 2 && said.stderr.contains(word), "{word}: {}", said.stderr);
        assert!(!said.stderr.contains("secret-word") && !said.stderr.contains("15-char"), "{}", said.stderr);
        assert!(!said.stderr.contains(TOKEN), "{}", said.stderr);
    }
}

#[test]
fn a_connector_without_tokens_warns() {
    let mut command = relay("connector");
    command.args(["--listen", "127.0.0.1:0", "--enroll-env", "TOKENS"]).env("TOKENS", "# none yet\n");
    let mut connector = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(connector.stderr.take().unwrap()).read_line(&mut line).unwrap();
    connector.kill().unwrap();
    connector.wait().unwrap();
    assert!(line.contains("no further gateway can enrol"), "{line}");
}

#[test]
fn a_file_of_variables_that_makes_no_sense_is_a_matter_of_usage() {
    let place = Place::new();
    for (text, word) in [
        ("GATEWAY_RELAY_SECRET=a b-secret", "line 1"),
        ("GATEWAY_RELAY_ID=gw\n", "GATEWAY_RELAY_URL"),
        ("GATEWAY_RELAY_URL='", "no end"),
    ] {
        fs::write(place.path("gateway.env"), text).unwrap();
        let mut command = relay("gateway");
        command.arg("--env-file").arg(place.path("gateway.env"));
        let said = run(command);
        assert!(said.code == 2 && said.stderr.contains(word), "{word}: {}", said.stderr);
        assert!(!said.stderr.contains("b-secret"), "{}", said.stderr);
    }
    let mut command = relay("gateway");
    command.args(["--env-file", "/nowhere/gateway.env"]);
    let said = run(command);
    assert!(said.code == 2 && said.stderr.contains("/nowhere/gateway.env"), "{}", said.stderr);
}
