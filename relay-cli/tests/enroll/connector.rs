//! The whole path: a connector, an enrolment, a gateway.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::process::Relay;
use crate::setup::{Place, TOKEN, relay, run, start};

const FRONTS: [&str; 4] = ["--platform", "discord", "--bot-id", "b1"];

fn enrolled(place: &Place, url: &str) {
    let said = run(place.enroll(url, &FRONTS));
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{:?}", said.lines);
    let variables = ["URL", "ID", "SECRET", "DELIVERY_KEY", "PLATFORMS", "BOT_IDS"];
    let expected = json!([{
        "event": "enrolled",
        "gateway": "gw",
        "tenant": "default",
        "env_file": place.path("gateway.env").to_str().unwrap(),
        "variables": variables.map(|name| format!("GATEWAY_RELAY_{name}")),
    }]);
    assert_eq!(Value::from(said.lines), expected);
}

fn gateway(place: &Place) -> Relay {
    let mut command = relay("gateway");
    command.arg("--env-file").arg(place.path("gateway.env"));
    Relay::start_command(command)
}

// proves: ENROLL-1, ENROLL-5
#[test]
fn a_gateway_enrols_and_links_with_the_file() {
    let place = Place::new();
    let (mut connector, url) = place.connector(&[]);
    enrolled(&place, &url);
    assert_eq!((place.files(), place.mode("gateway.env")), (vec!["gateway.env".into()], 0o600));
    assert_eq!(connector.event("enrolled")["gateway"], "gw");
    let mut linked = gateway(&place);
    linked.event("ready");
    let hello = connector.event("hello");
    assert_eq!((&hello["gateway"], &hello["bot_id"]), (&json!("gw"), &json!("b1")));
    connector.say(r#"{"deliver":{"text":"hi","source":{"platform":"discord","chat_id":"7"}},"gateway":"gw"}"#);
    assert_eq!(linked.event("message")["message"]["text"], "hi");
    linked.end_input();
    assert_eq!(linked.end().2, 0);

    // A shell reads the file as well.
    let mut shell = std::process::Command::new("sh");
    let script = "set -a; . \"$1\"; exec \"$2\" gateway --no-reconnect";
    shell.args(["-c", script, "sh"]).arg(place.path("gateway.env")).arg(env!("CARGO_BIN_EXE_relay"));
    let sourced = Relay::start_command(shell);
    sourced.event("ready");
}

// proves: ENROLL-5
#[test]
fn a_token_is_good_once_and_nobody_is_let_in_without() {
    let place = Place::new();
    let (connector, url) = place.connector(&[]);
    let mut stranger = relay("gateway");
    stranger.args(["--url", &url, "--no-reconnect"]).args(FRONTS);
    let stranger = Relay::start_command(stranger);
    assert_eq!(stranger.event("disconnected")["code"], 4401);
    enrolled(&place, &url);
    connector.event("enrolled");
    let again = run(place.enroll(&url, &["--force"]));
    let (cause, used, error) = again.failure();
    assert_eq!((cause, used), ("forbidden", "perhaps"), "{error}");
    assert_eq!(place.files(), ["gateway.env"], "what was there is still there");
    gateway(&place).event("ready");
    let mut stranger = place.enroll(&url, &["--force"]);
    stranger.env("GATEWAY_RELAY_IDENTITY_TOKEN", "somebody-else");
    assert_eq!(run(stranger).failure().0, "unauthorized");
}

// proves: ENROLL-5
#[test]
fn with_a_store_a_restart_forgets_no_gateway_and_no_revocation() {
    let place = Place::new();
    let store = place.path("relay.store");
    let store = ["--store", store.to_str().unwrap()];
    let (connector, url) = place.connector(&store);
    enrolled(&place, &url);
    drop(connector);
    let moved = |url: &str| {
        let text = place.text("gateway.env");
        let rest: String =
            text.lines().filter(|line| !line.contains("_URL=")).map(|line| format!("{line}\n")).collect();
        fs::write(place.path("gateway.env"), format!("{rest}GATEWAY_RELAY_URL={url}\n")).unwrap();
    };

    // It crashed; and nobody can enrol any more.
    let mut command = relay("connector");
    command.args(["--listen", "127.0.0.1:0"]).args(store);
    let (mut connector, url) = start(command);
    moved(&url);
    let linked = gateway(&place);
    linked.event("ready");
    connector.event("hello");
    connector.say(r#"{"revoke":null,"id":1}"#);
    assert_eq!(connector.event("done")["id"], 1);
    connector.event("link_closed");
    linked.event("disconnected");
    linked.event("revoked");
    drop(connector);

    let (_connector, url) = place.connector(&store);
    moved(&url);
    let turned_away = gateway(&place);
    assert_eq!(turned_away.event("disconnected")["code"], 4401);
    assert_eq!(run(place.enroll(&url, &["--force"])).failure().0, "forbidden", "the token stays used up");
}

// proves: ENROLL-5
#[cfg(target_os = "linux")]
#[allow(clippy::disallowed_methods, reason = "the deadline of a guard")]
#[test]
fn an_enrolment_at_the_limit_of_threads_is_refused_and_keeps_the_token() {
    use std::path::PathBuf;
    use std::time::Instant;

    use rustix::process::{Pid, Resource, Rlimit, prlimit};

    use crate::PATIENCE;

    let place = Place::new();
    let store = place.path("relay.store");
    let mut command = place.connector_command(&["--store", store.to_str().unwrap()]);
    // A stack takes far more than everything else that the process asks for from here on. And without arenas: one that
    // does not fit makes each allocation of its thread take a page, and the process may die of that.
    command.env("RUST_MIN_STACK", (256 << 20).to_string()).env("MALLOC_ARENA_MAX", "1");
    let (connector, url) = start(command);
    let proc = PathBuf::from(format!("/proc/{}", connector.id()));
    // One that has not begun would find no room, and the stack of one that ends would be room for another.
    let needed = ["relay-input", "relay-output", "relay-store-rea", "relay-store-wri"];
    let begun = Instant::now();
    loop {
        let tasks = fs::read_dir(proc.join("task")).unwrap();
        let names = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok());
        let names: Vec<_> = names.map(|name| name.trim_end().to_owned()).collect();
        let known = |name: &String| ["relay", "relay-log"].contains(&&**name) || needed.contains(&&**name);
        if needed.iter().all(|needed| names.iter().any(|name| name == needed)) && names.iter().all(known) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{names:?}");
        std::thread::yield_now();
    }
    // The limit is on the address space, which binds root's processes as well.
    let process = Pid::from_raw(i32::try_from(connector.id()).unwrap());
    let status = fs::read_to_string(proc.join("status")).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")?.trim().strip_suffix(" kB"));
    let size = size.unwrap().trim().parse::<u64>().unwrap() << 10;
    let limit = |most: Option<u64>| {
        prlimit(process, Resource::As, Rlimit { current: most, maximum: None }).unwrap();
    };
    limit(Some(size + (128 << 20)));
    let said = run(place.enroll(&url, &[]));
    let (cause, used, error) = said.failure();
    assert_eq!(used, "no", "{cause}: {error}");
    assert!(error.contains("503") || error.contains("try again later"), "{cause}: {error}");
    limit(None);
    enrolled(&place, &url);
    assert_eq!(connector.event("enrolled")["gateway"], "gw");
}

// proves: ENROLL-3
#[cfg(target_pointer_width = "64")]
#[test]
fn without_a_thread_nothing_is_asked_and_the_token_is_not_used() {
    let place = Place::new();
    let (_connector, url) = place.connector(&[]);
    let mut command = place.enroll(&url, &[]);
    // A stack of half the address space is one that no thread can have.
    command.env("RUST_MIN_STACK", (1_u64 << 47).to_string());
    let said = run(command);
    let (cause, used, error) = said.failure();
    assert_eq!((cause, used), ("unreachable", "no"));
    assert!(error.contains("no thread can be made"), "{error}");
    enrolled(&place, &url);
}

// proves: ENROLL-5
#[test]
fn tokens_of_a_file_may_be_for_one_gateway() {
    let place = Place::new();
    fs::write(place.path("tokens"), format!("\u{feff}{TOKEN} gw\n# of today\n\n a-token-of-another  gw-2 \n")).unwrap();
    let mut command = relay("connector");
    command.args(["--listen", "127.0.0.1:0", "--enroll-file"]).arg(place.path("tokens"));
    let (connector, url) = start(command);
    let mut other = place.enroll(&url, &[]);
    other.env("GATEWAY_RELAY_ENROLL_TOKEN", "a-token-of-another");
    assert_eq!(run(other).failure().0, "forbidden");
    // Any identity will do here.
    let mut own = place.enroll(&url, &[]);
    own.env("GATEWAY_RELAY_IDENTITY_TOKEN", "whoever");
    assert_eq!(run(own).code, 0);
    assert_eq!(connector.event("enrolled")["gateway"], "gw");
}

// proves: POLICY-1
#[test]
fn a_policy_is_told() {
    let mut command = relay("connector");
    command.args(["--listen", "127.0.0.1:0", "--gateway-env", "gw=SECRET"]).env("SECRET", "s3cret");
    let (connector, url) = start(command);
    let mut mint = relay("token");
    mint.args(["mint", "--id", "gw", "--secret-env", "SECRET"]).env("SECRET", "s3cret");
    let token = String::from_utf8(mint.stdin(Stdio::null()).output().unwrap().stdout).unwrap();
    let body = r#"{"platform":"discord","freeResponseScopes":["c1"],"requireAddress":true}"#;
    let address = url.strip_prefix("ws://").unwrap().strip_suffix("/relay").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let (token, length) = (token.trim(), body.len());
    write!(
        stream,
        "POST /relay/policy HTTP/1.1\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let expected = json!({"platform": "discord", "requireAddress": true, "freeResponseScopes": ["c1"],
        "allowOtherBots": false});
    let policy = connector.event("policy");
    assert_eq!((&policy["gateway"], &policy["policy"]), (&json!("gw"), &expected));
}

// proves: DIAL-7, ENROLL-3
#[test]
fn what_is_wrong_with_tls_is_said() {
    let place = Place::new();
    let made = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    fs::write(place.path("cert.pem"), made.cert.pem()).unwrap();
    fs::write(place.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (place.path("cert.pem"), place.path("key.pem"));
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let (_secure, secure) = place.connector(&["--tls-cert", certificate, "--tls-key", key]);
    let (_plain, plain) = place.connector(&[]);
    for (url, flags, cause, word) in [
        (secure.clone(), &[][..], "tls", "--tls-ca"),
        (secure.clone(), &["--tls-ca", certificate], "tls", "the certificate is for localhost, not for 127.0.0.1"),
        (plain.replace("ws://", "wss://"), &[], "tls", "http://"),
        (secure.replace("wss://", "ws://"), &[], "not_http", "https://"),
    ] {
        let said = run(place.enroll(&url, flags));
        let (is, _, error) = said.failure();
        assert!(is == cause && error.contains(word), "{word}: {:?}", said.lines);
    }
}

// proves: ENROLL-2, DIAL-7
#[test]
fn the_flags_about_tls_are_heeded() {
    let place = Place::new();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".into()]).unwrap();
    fs::write(place.path("cert.pem"), made.cert.pem()).unwrap();
    fs::write(place.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (place.path("cert.pem"), place.path("key.pem"));
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let (connector, url) = place.connector(&["--tls-cert", certificate, "--tls-key", key]);
    assert!(url.starts_with("wss://"));
    let pin = "00".repeat(32);
    for flags in [&["--tls-only-ca", "--tls-ca", certificate, "--tls-pin", &pin][..], &["--tls-pin", &pin]] {
        let refused = run(place.enroll(&url, flags));
        assert_eq!((refused.failure().0, refused.failure().1), ("tls", "no"), "{:?}", refused.lines);
    }
    let said = run(place.enroll(&url, &[&FRONTS[..], &["--tls-ca", certificate]].concat()));
    assert_eq!(said.code, 0, "{:?}", said.lines);
    connector.event("enrolled");
    let mut command = relay("gateway");
    command.arg("--env-file").arg(place.path("gateway.env")).args(["--tls-ca", certificate]);
    Relay::start_command(command).event("ready");
}

// proves: DIAL-7, ENROLL-3
#[test]
fn a_connector_that_wants_a_certificate_says_so_and_keeps_the_token() {
    let place = Place::new();
    let own = |name: &str| {
        let mut params = rcgen::CertificateParams::new([name.into()]).unwrap();
        // Issuers are told apart by this.
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().unwrap();
        let path = |kind: &str| place.path(&format!("{name}.{kind}")).to_str().unwrap().to_owned();
        fs::write(path("pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(path("key"), key.serialize_pem()).unwrap();
        (path("pem"), path("key"))
    };
    let (server, known, stranger) = (own("127.0.0.1"), own("known"), own("stranger"));
    let (connector, url) =
        place.connector(&["--tls-cert", &server.0, "--tls-key", &server.1, "--tls-client-ca", &known.0]);
    let shows = |shown: &[&str]| run(place.enroll(&url, &[&["--tls-ca", &server.0], shown].concat()));
    for shown in [&[][..], &["--tls-cert", &stranger.0, "--tls-key", &stranger.1]] {
        let said = shows(shown);
        let (cause, used, error) = said.failure();
        assert_eq!((cause, used), ("tls", "no"), "{error}");
        assert!(error.contains("(here: --tls-cert and --tls-key)"), "{error}");
    }
    let said = shows(&["--tls-cert", &known.0, "--tls-key", &known.1]);
    assert_eq!(said.code, 0, "{:?}", said.lines);
    connector.event("enrolled");
}
