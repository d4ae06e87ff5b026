//! TLS between the two: files in, and what is said when they do not fit.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use relay_proto::wire::Fingerprint;
use serde_json::{Value, json};

use crate::pair::{self, Connector, SECRET, gateway};
use crate::pipes::{bound, next_event};
use crate::process::{self, Relay};
use crate::setup::Files;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `name`, by this authority or by itself, and its key, in PEM. And its fingerprint.
fn certificate(name: &str, issuer: Option<&Authority>) -> (String, String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.into()]).unwrap();
    let made = match issuer {
        Some(issuer) => params.signed_by(&key, issuer),
        None => params.self_signed(&key),
    };
    let made = made.unwrap();
    (made.pem(), key.serialize_pem(), Fingerprint::of(made.der()).to_string())
}

/// A connector with this certificate, and the path of that.
fn connector(files: &Files, certificate: &str, key: &str) -> (Connector, String) {
    let (certificate, key) = (files.write("cert.pem", certificate), files.write("key.pem", key));
    let connector = Connector::start(&["--gateway-env", "gw=SECRET", "--tls-cert", &certificate, "--tls-key", &key]);
    assert!(connector.url.starts_with("wss://127.0.0.1:"));
    (connector, certificate)
}

/// A gateway with these flags gets a message and sends one.
fn talks(connector: &mut Connector, mut gateway: Relay) {
    gateway.event("ready");
    connector.event("hello");
    connector.deliver("hi");
    assert_eq!(pair::next_text(&gateway), "hi");
    connector.event("ack");
    gateway.say(json!({"op": "send", "chat_id": "7", "content": "you said hi", "id": 1}).to_string());
    assert_eq!(connector.event("outbound")["action"]["content"], "you said hi");
    assert_eq!(gateway.event("result")["outcome"], "delivered");
    drop(gateway);
    connector.event("link_closed");
}

/// How a dial with these flags fails.
fn fails(connector: &Connector, flags: &[&str]) -> Value {
    let gateway = gateway(&connector.url, &[&["--no-reconnect"], flags].concat());
    let event = gateway.event("disconnected");
    assert_eq!((&event["cause"], &event["code"]), (&json!("tls"), &json!(null)), "{event}");
    event
}

// proves: DIAL-7
#[test]
fn a_client_certificate_may_be_asked_for() {
    let files = Files::new("tls-client-ca");
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let (leaf, key, _) = certificate("127.0.0.1", Some(&ours));
    let write = |name: &str, text: &str| files.write(name, text);
    let (leaf, key, roots) = (write("cert.pem", &leaf), write("key.pem", &key), write("roots.pem", &ours.pem()));
    let flags = ["--gateway-env", "gw=SECRET", "--tls-cert", &leaf, "--tls-key", &key, "--tls-client-ca", &roots];
    let mut connector = Connector::start(&flags);
    let shown = |name: &str, issuer: &Authority| {
        let (certificate, key, _) = certificate("a-gateway", Some(issuer));
        (write(&format!("{name}.pem"), &certificate), write(&format!("{name}-key.pem"), &key))
    };
    let (known, stranger) = (shown("known", &ours), shown("stranger", &theirs));
    let flags = ["--tls-ca", &roots, "--tls-cert", &known.0, "--tls-key", &known.1];
    let known = gateway(&connector.url, &flags);
    talks(&mut connector, known);
    for flags in [&["--tls-ca", &roots][..], &["--tls-ca", &roots, "--tls-cert", &stranger.0, "--tls-key", &stranger.1]]
    {
        assert_eq!(fails(&connector, flags)["problem"], "client_certificate");
    }
}

#[test]
fn a_private_authority_is_trusted_by_its_file() {
    let files = Files::new("tls-ca");
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let (leaf, key, _) = certificate("127.0.0.1", Some(&ours));
    let (mut connector, certificate) = connector(&files, &format!("{leaf}{}", ours.pem()), &key);
    let (roots, others) = (files.write("roots.pem", &ours.pem()), files.write("others.pem", &theirs.pem()));
    for flags in [
        vec!["--tls-ca", &roots],
        vec!["--tls-ca", &others, "--tls-ca", &roots, "--tls-only-ca"],
        // The connector's own certificate will do as well.
        vec!["--tls-ca", &certificate],
    ] {
        let gateway = gateway(&connector.url, &flags);
        talks(&mut connector, gateway);
    }
    for flags in [vec![], vec!["--tls-ca", &others], vec!["--tls-ca", &others, "--tls-only-ca"]] {
        let event = fails(&connector, &flags);
        assert_eq!(event["problem"], "unknown_issuer", "{event}");
        assert!(event["reason"].as_str().unwrap().contains("--tls-ca"), "{event}");
    }
    // And the platform's store is what it was.
    let mut command = process::command(&["--url", &connector.url, "--platform", "discord", "--bot-id", "b"]);
    command.args(["--id", "gw", "--secret-env", "SECRET"]).env("SECRET", SECRET).env("SSL_CERT_FILE", &roots);
    talks(&mut connector, Relay::start_command(command));
}

#[test]
fn a_self_signed_certificate_is_trusted_by_its_file_its_fingerprint_or_at_ones_own_risk() {
    let files = Files::new("tls-self");
    let (leaf, key, fingerprint) = certificate("127.0.0.1", None);
    let (mut connector, certificate) = connector(&files, &leaf, &key);
    let event = fails(&connector, &[]);
    assert_eq!(event["problem"], "unknown_issuer", "{event}");
    assert!(event["reason"].as_str().unwrap().contains(&fingerprint), "{event}");
    for flags in [vec!["--tls-ca", &certificate], vec!["--tls-pin", &fingerprint], vec!["--tls-allow-self-signed"]] {
        let gateway = gateway(&connector.url, &flags);
        talks(&mut connector, gateway);
    }
    let other = Fingerprint::of(b"another").to_string();
    assert_eq!(fails(&connector, &["--tls-pin", &other])["problem"], "bad_certificate");
    // It is for the address, not for the name.
    let url = connector.url.replace("127.0.0.1", "localhost");
    let named = gateway(&url, &["--no-reconnect", "--tls-ca", &certificate]);
    let event = named.event("disconnected");
    assert_eq!(event["problem"], "wrong_name", "{event}");
    assert!(event["reason"].as_str().unwrap().contains("is for 127.0.0.1, not for localhost"), "{event}");
}

#[test]
fn only_what_is_unsafe_is_warned_about() {
    let files = Files::new("tls-warns");
    let (leaf, key, _) = certificate("127.0.0.1", None);
    let (connector, certificate) = connector(&files, &leaf, &key);
    for (flags, warns) in [(vec!["--tls-ca", &certificate], false), (vec!["--tls-allow-self-signed"], true)] {
        let mut gateway = gateway(&connector.url, &flags);
        gateway.event("ready");
        connector.event("hello");
        gateway.end_input();
        let (_, stderr, code) = gateway.end();
        assert_eq!((stderr.contains("--tls-pin"), stderr.is_empty(), code), (warns, !warns, 0), "{stderr}");
        connector.event("idle");
        connector.event("link_closed");
    }
}

// proves: TOKEN-3
#[test]
fn a_file_that_is_no_use_is_named() {
    let files = Files::new("tls-wrong");
    let (leaf, key, _) = certificate("127.0.0.1", None);
    let (_, other_key, _) = certificate("127.0.0.1", None);
    let text = files.write("text", "nothing useful");
    let [cert, key_file, other] =
        [("c.pem", &leaf), ("k.pem", &key), ("o.pem", &other_key)].map(|(name, pem)| files.write(name, pem));
    let https = "https://127.0.0.1:1";
    for (url, flags, words) in [
        (https, vec!["--tls-ca", "/nowhere/at/all"], vec!["--tls-ca", "/nowhere/at/all"]),
        (https, vec!["--tls-ca", &cert, "--tls-ca", &text], vec!["--tls-ca", &text, "no certificate"]),
        (https, vec!["--tls-ca", &key_file], vec!["--tls-ca", &key_file, "no certificate"]),
        (https, vec!["--tls-only-ca"], vec!["--tls-ca"]),
        (https, vec!["--tls-pin", "12:34"], vec!["--tls-pin", "12:34", "64 hexadecimal digits"]),
        (https, vec!["--tls-cert", &cert], vec!["--tls-key"]),
        (https, vec!["--tls-key", &key_file], vec!["--tls-cert"]),
        (https, vec!["--tls-cert", &text, "--tls-key", &key_file], vec!["--tls-cert", &text]),
        (https, vec!["--tls-cert", &cert, "--tls-key", &text], vec!["--tls-key", &text, "private key"]),
        (https, vec!["--tls-cert", &cert, "--tls-key", &other], vec!["--tls-key", "not that of"]),
        (https, vec!["--tls-allow-self-signed", "--tls-pin", "12"], vec!["--tls-allow-self-signed", "--tls-pin"]),
        ("http://127.0.0.1:1", vec!["--tls-ca", &cert], vec!["https"]),
    ] {
        let mut command: Command = process::command(&["--url", url, "--platform", "discord", "--bot-id", "b1"]);
        let output = command.args(&flags).stdin(Stdio::null()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {stderr}");
        for word in words {
            assert!(stderr.contains(word), "{flags:?}: {word}: {stderr}");
        }
        assert!(key.lines().chain(other_key.lines()).all(|line| !stderr.contains(line)), "{stderr}");
    }
}

#[test]
fn pem_files_may_begin_with_a_byte_order_mark() {
    let files = Files::new("tls-mark");
    let (certificate, key, _) = certificate("127.0.0.1", None);
    let (mut connector, path) = connector(&files, &format!("\u{feff}{certificate}"), &format!("\u{feff}{key}"));
    let dialled = gateway(&connector.url, &["--tls-ca", &path]);
    talks(&mut connector, dialled);
}

#[test]
fn a_renewed_certificate_is_read_again_and_one_that_is_no_use_is_not() {
    let files = Files::new("tls-renewed");
    let (first, first_key, first_pin) = certificate("127.0.0.1", None);
    let (second, second_key, second_pin) = certificate("127.0.0.1", None);
    let (cert, key) = (files.write("cert.pem", &first), files.write("key.pem", &first_key));
    let mut command = pair::command(&["--gateway-env", "gw=SECRET", "--tls-cert", &cert, "--tls-key", &key]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut connector = command.spawn().unwrap();
    let _bound = bound(&connector);
    let mut events = BufReader::new(connector.stdout.take().unwrap());
    let mut errors = BufReader::new(connector.stderr.take().unwrap());
    let url = next_event(&mut events)["url"].as_str().unwrap().to_owned();
    let pid = connector.id().to_string();
    // What a supervisor does after a renewal.
    let mut hang_up = || {
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
        // Refusals are told of as well.
        let said = errors.by_ref().lines().map(Result::unwrap).find(|line| line.contains("SIGHUP"));
        said.expect("it has ended")
    };
    let link = |pin: &str| gateway(&url, &["--no-reconnect", "--tls-pin", pin]);
    let linked = link(&first_pin);
    linked.event("ready");
    assert_eq!(next_event(&mut events)["event"], "hello");

    // Half of a renewal: the key is not there yet.
    files.write("cert.pem", &second);
    let said = hang_up();
    assert!(said.contains("--tls-key") && said.contains("stays what it was"), "{said}");
    assert_eq!(link(&second_pin).event("disconnected")["problem"], "bad_certificate");

    files.write("key.pem", &second_key);
    let said = hang_up();
    assert!(said.contains("read again"), "{said}");
    let mut stdin = connector.stdin.take().unwrap();
    writeln!(stdin, "{}", json!({"deliver": pair::message("hi")})).unwrap();
    assert_eq!(pair::next_text(&linked), "hi", "the link goes on");
    let renewed = link(&second_pin);
    renewed.event("ready");
    assert_eq!(linked.event("disconnected")["cause"], "replaced");
    drop(stdin);
    assert_eq!(renewed.event("disconnected")["code"], 1001);
    assert_eq!(connector.wait().unwrap().code(), Some(0));
}

#[test]
fn a_renewal_that_is_slow_to_read_holds_up_nothing() {
    let files = Files::new("tls-slow");
    let (first, key, pin) = certificate("127.0.0.1", None);
    let (mut connector, path) = connector(&files, &first, &key);
    // A pipe in the place of the certificate: nobody can read it until somebody writes.
    std::fs::remove_file(&path).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let pid = connector.relay.id().to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    // It is opened when the connector reads it.
    let slow = std::fs::File::options().write(true).open(&path).unwrap();
    let dialled = gateway(&connector.url, &["--tls-pin", &pin]);
    talks(&mut connector, dialled);
    connector.relay.end_input();
    assert_eq!(connector.relay.end().2, 0, "and it is not waited for at the end");
    drop(slow);
}
