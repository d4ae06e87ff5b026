//! The file that is written.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};

use crate::server::{Does, Server, answer};
use crate::setup::{Place, run, said};

const GRANT: &str = r#"{"secret":"it's $ecret","gatewayId":"gw"}"#;

#[test]
fn what_is_in_the_way_is_found_before_the_token_is_redeemed() {
    let server = Server::answering(200, "", GRANT);
    let place = Place::new();
    fs::write(place.path("gateway.env"), "precious").unwrap();
    let refuses = |word: &str, arguments: &[&str]| {
        let said = run(place.enroll(&server.url(), arguments));
        assert!(said.code == 2 && said.lines.is_empty() && said.stderr.contains(word), "{word}: {}", said.stderr);
        assert!(said.stderr.contains("--env-file"), "{}", said.stderr);
    };
    refuses("--force", &[]);
    fs::rename(place.path("gateway.env"), place.path("real")).unwrap();
    symlink(place.path("real"), place.path("gateway.env")).unwrap();
    refuses("symbolic link", &["--force"]);
    fs::remove_file(place.path("gateway.env")).unwrap();
    symlink(place.path("nowhere"), place.path("gateway.env")).unwrap();
    refuses("symbolic link", &[]);
    fs::remove_file(place.path("gateway.env")).unwrap();
    fs::create_dir(place.path("gateway.env")).unwrap();
    refuses("no file", &["--force"]);
    fs::remove_dir(place.path("gateway.env")).unwrap();

    let elsewhere = |to: &str| {
        let mut command = crate::setup::relay("enroll");
        command.args(["--url", &server.url(), "--id", "gw", "--env-file", to]);
        command.env("GATEWAY_RELAY_ENROLL_TOKEN", "t").env("GATEWAY_RELAY_IDENTITY_TOKEN", "i");
        run(command)
    };
    let missing = place.path("missing").join("gateway.env");
    let said = elsewhere(missing.to_str().unwrap());
    assert!(said.code == 2 && said.stderr.contains("there is no directory"), "{}", said.stderr);
    if cfg!(target_os = "linux") {
        // Where nobody can write, whoever runs this.
        let said = elsewhere("/proc/gateway.env");
        assert!(said.code == 2 && said.stderr.contains("cannot write into `/proc`"), "{}", said.stderr);
    }
    assert_eq!((place.files(), place.text("real").as_str()), (vec!["real".into()], "precious"));
    assert!(server.requests().is_empty());
}

#[test]
fn a_file_is_replaced_when_that_is_asked_for() {
    let server = Server::answering(200, "", GRANT);
    let place = Place::new();
    fs::write(place.path("gateway.env"), "old").unwrap();
    fs::set_permissions(place.path("gateway.env"), fs::Permissions::from_mode(0o644)).unwrap();
    let said = run(place.enroll(&server.url(), &["--force"]));
    assert_eq!(said.code, 0);
    assert_eq!(said.lines[0]["tenant"], serde_json::Value::Null);
    assert_eq!((place.files(), place.mode("gateway.env")), (vec!["gateway.env".into()], 0o600));
    let dial = server.url().replace("http", "ws");
    let expected = format!(
        "# Written by `relay enroll`. It holds the secret of a gateway: keep it private.\n\
         GATEWAY_RELAY_URL={dial}/relay\nGATEWAY_RELAY_ID=gw\nGATEWAY_RELAY_SECRET=\"it's \\$ecret\"\n"
    );
    assert_eq!(place.text("gateway.env"), expected);
}

#[test]
fn credentials_that_cannot_be_moved_to_their_place_are_not_lost() {
    let place = Place::new();
    let taken = place.path("gateway.env");
    // Somebody makes a file of that name while the connector answers.
    let server = Server::start(|_| {
        Does::First(Box::new(move || fs::write(&taken, "somebody's").unwrap()), answer(200, "", GRANT))
    });
    let said = run(place.enroll(&server.url(), &[]));
    let (cause, used, error) = said.failure();
    assert_eq!((cause, used), ("not_written", "yes"));
    assert_eq!(place.text("gateway.env"), "somebody's");
    let draft = said.lines[0]["env_file"].as_str().unwrap();
    assert!(error.contains(draft) && error.contains("used up"), "{error}");
    let name = draft.rsplit('/').next().unwrap();
    assert_eq!((place.files().len(), place.mode(name)), (2, 0o600));
    assert!(place.text(name).contains("GATEWAY_RELAY_ID=gw\n"));
    assert!(!error.contains("ecret'") && !said.stderr.contains("ecret'"));
}

#[test]
fn a_signal_leaves_nothing_behind_and_says_what_became_of_the_token() {
    for signals in ["kill -INT $0", "kill -TERM $0", "kill -STOP $0 && kill -TERM $0 && kill -INT $0 && kill -CONT $0"]
    {
        let silent = Server::start(|_| Does::Hang);
        let place = Place::new();
        let mut waiting = place.enroll(&silent.url(), &["--timeout", "3600"]);
        waiting.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let waiting = waiting.spawn().unwrap();
        while silent.requests().is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(place.files().len(), 1, "the draft");
        assert!(Command::new("sh").args(["-c", signals, &waiting.id().to_string()]).status().unwrap().success());
        let output = waiting.wait_with_output().unwrap();
        let said = said(&output.stdout, &output.stderr, output.status.code().expect("no signal ended it"));
        let (cause, used, error) = said.failure();
        assert_eq!((cause, used, said.stderr.as_str()), ("interrupted", "perhaps", ""), "{error}");
        assert!(place.files().is_empty(), "{:?}", place.files());
    }
}
