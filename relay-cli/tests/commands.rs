//! `relay url`, `token` and `decode`, and the command line as such: the real binary, run as a program runs it.

// Pipes and a shell: what is tested here is as the system has it.
#![cfg(unix)]
// A test that cannot go on fails.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};
use std::thread;

use serde_json::{Value, json};

/// A secret that has no business in any output.
const SECRET: &str = "hunter2-correct-horse";

fn relay(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
    command.args(arguments).stdin(Stdio::null()).env_remove("RELAY_LOG");
    for name in ["URL", "ID", "SECRET", "PLATFORMS", "BOT_IDS"] {
        command.env_remove(format!("GATEWAY_RELAY_{name}"));
    }
    command
}

/// Standard output, standard error, exit code.
fn text(output: &Output) -> (String, String, i32) {
    let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (utf8(&output.stdout), utf8(&output.stderr), output.status.code().unwrap())
}

fn run(arguments: &[&str]) -> (String, String, i32) {
    text(&relay(arguments).output().unwrap())
}

fn vectors(name: &str) -> Vec<Value> {
    let path = format!("{}/../tests/conformance/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let vectors: Vec<Value> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert!(!vectors.is_empty());
    vectors
}

/// Runs `relay decode` over this input; its lines.
fn decode_with(arguments: &[&str], input: &[u8]) -> Vec<Value> {
    let mut child =
        relay(&[&["decode"], arguments].concat()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let (stdout, _, code) = text(&output);
    assert_eq!(code, 0);
    assert!(stdout.is_empty() || stdout.ends_with('\n'));
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn decode(input: impl AsRef<[u8]>) -> Vec<Value> {
    decode_with(&[], input.as_ref())
}

/// One frame of this type for each vector, one line each.
fn frames(vectors: &[Value], kind: &str, field: &str) -> String {
    vectors.iter().map(|case| format!("{}\n", json!({"type": kind, field: case["input"][field]}))).collect()
}

// ── url ──────────────────────────────────────────────────────────────────

// proves: DIAL-1
#[test]
fn dial_urls_are_the_golden_ones() {
    for case in vectors("dial_url") {
        let url = case["input"]["url"].as_str().unwrap();
        let (stdout, stderr, code) = run(&["url", url]);
        let expected = format!("{}\n", case["expect"]["dial_url"].as_str().unwrap());
        assert_eq!((stdout, code), (expected, 0), "{}", case["name"]);
        assert_eq!(stderr.is_empty(), !url.contains('@'), "{stderr}");
    }
}

// proves: TOKEN-3
#[test]
fn a_user_in_a_url_is_warned_about_and_its_password_not_shown() {
    let url = format!("https://user:{SECRET}:x@h/base?a=b:c");
    let (stdout, stderr, code) = run(&["url", &url]);
    assert_eq!((stdout.as_str(), code), ("wss://user@h/base/relay?a=b:c\n", 0));
    assert!(stderr.contains("not used") && !stderr.contains(SECRET), "{stderr}");
    let url = format!("http://user:{SECRET}@127.0.0.1:1");
    let gateway = ["gateway", "--url", &url, "--platform", "p", "--bot-id", "b", "--no-reconnect"];
    let (stdout, stderr, _) = run(&gateway);
    assert!(stderr.contains("not used") && !stderr.contains(SECRET) && !stdout.contains(SECRET), "{stderr}{stdout}");
}

// proves: DIAL-1
#[test]
fn an_address_that_cannot_be_dialled_is_explained() {
    for bad in ["ftp://h", "connector.example", "https://", "", " ", "https://h:99999", "https://h/#f"] {
        let (stdout, stderr, code) = run(&["url", bad]);
        assert_eq!((stdout.as_str(), code), ("", 1), "{bad}");
        assert!(stderr.starts_with("relay: ") && stderr.contains("URL"), "{bad}: {stderr}");
    }
    assert!(!run(&["url", &format!("https://u:{SECRET}#x@h")]).1.contains(SECRET));
}

// ── token ────────────────────────────────────────────────────────────────

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

fn run_with_key(arguments: &[&str]) -> (String, String, i32) {
    text(&relay(arguments).env("K", SECRET).env("RELAY_LOG", "trace").output().unwrap())
}

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

// ── decode ───────────────────────────────────────────────────────────────

// proves: EVENT-1
#[test]
fn events_are_normalised_as_the_golden_ones() {
    let cases = vectors("inbound_event");
    let lines = decode(frames(&cases, "inbound", "event"));
    assert_eq!(lines.len(), cases.len());
    for (case, line) in cases.iter().zip(&lines) {
        assert_eq!(line["frame"], "inbound");
        assert_eq!(line["event"], case["expect"]["event"], "{}", case["name"]);
        assert!(line["session_key"].as_str().unwrap().starts_with("agent:main:"));
        assert_eq!(line["buffer_id"], Value::Null);
    }
}

// proves: PASS-1
#[test]
fn forwards_are_decoded_as_the_golden_ones() {
    let cases = vectors("passthrough");
    let lines = decode(frames(&cases, "passthrough_forward", "forward"));
    assert_eq!(lines.len(), cases.len());
    for (case, line) in cases.iter().zip(lines) {
        let mut forward = line["forward"].clone();
        let body = forward.as_object_mut().unwrap().remove("body_b64").unwrap();
        let undecodable = forward.as_object_mut().unwrap().remove("body_undecodable");
        assert_eq!(undecodable, (case["name"] == "bad-base64").then_some(Value::Bool(true)));
        let mut expected = case["expect"].clone();
        let hex = expected.as_object_mut().unwrap().remove("body_hex").unwrap();
        assert_eq!(forward, expected, "{}", case["name"]);
        assert_eq!(unbase64(body.as_str().unwrap()), hex.as_str().unwrap(), "{}", case["name"]);
    }
}

/// Base64 to hexadecimal, by hand: this is what the code under test is checked against.
fn unbase64(text: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: String =
        text.trim_end_matches('=').chars().map(|c| format!("{:06b}", ALPHABET.find(c).unwrap())).collect();
    let bytes = bits.as_bytes().chunks_exact(8).map(|byte| std::str::from_utf8(byte).unwrap());
    bytes.map(|byte| format!("{:02x}", u8::from_str_radix(byte, 2).unwrap())).collect()
}

// proves: DESC-1
#[test]
fn descriptors_are_normalised_as_the_golden_ones() {
    let cases = vectors("descriptor");
    let lines = decode(frames(&cases, "descriptor", "descriptor"));
    assert_eq!(lines.len(), cases.len());
    for (case, line) in cases.iter().zip(lines) {
        for (name, value) in case["expect"]["descriptor"].as_object().unwrap() {
            assert_eq!(&line["descriptor"][name], value, "{}: {name}", case["name"]);
        }
        assert_eq!(line["descriptor"]["supported_ops"], json!(["send", "edit", "typing", "follow_up"]));
        assert_eq!(line["descriptor"]["supports_inchannel_continuable"], false);
        assert_eq!(line["descriptor"]["supports_block_formatting"], false);
    }
}

// proves: ACK-1, REQ-6
#[test]
fn every_frame_has_its_form() {
    for (frame, expected) in [
        (r#"{"type":"going_idle_ack","x":1}"#, json!({"frame": "going_idle_ack"})),
        (
            r#"{"type":"interrupt_inbound","session_key":"s","chat_id":7}"#,
            json!({"frame": "interrupt_inbound", "session_key": "s", "chat_id": "7"}),
        ),
        (
            r#"{"type":"outbound_result","requestId":"r","result":{"success":true,"more":[1]}}"#,
            json!({"frame": "outbound_result", "request_id": "r", "outcome": "delivered",
                "result": {"success": true, "more": [1]}}),
        ),
        (
            r#"{"type":"outbound_result","requestId":"r","result":{"code":"egress_declined"}}"#,
            json!({"frame": "outbound_result", "request_id": "r", "outcome": "declined",
                "result": {"code": "egress_declined"}}),
        ),
        (
            r#"{"type":"outbound_result","requestId":"r","result":{"ambiguous":true}}"#,
            json!({"frame": "outbound_result", "request_id": "r", "outcome": "ambiguous", "result": {"ambiguous": true}}),
        ),
        (
            r#"{"type":"outbound_result","requestId":"r"}"#,
            json!({"frame": "outbound_result", "request_id": "r", "outcome": "rejected", "result": null}),
        ),
        (
            r#"{"type":"inbound","event":[1],"bufferId":8}"#,
            json!({"frame": "undecodable", "buffer_id": "8", "frame_type": "inbound",
                "reason": "the event is not an object", "raw": [1]}),
        ),
    ] {
        assert_eq!(decode(frame), [expected]);
    }
}

// proves: EVENT-1, FRAME-6
#[test]
fn names_and_fields_that_are_not_known_stay_readable() {
    let frame = r#"{"type":"inbound","bufferId":"b","event":{"source":{"platform":"Zulip"},"new":[1, 2]}}"#;
    let line = &decode_with(&["--raw"], frame.as_bytes())[0];
    assert_eq!((&line["event"]["source"]["platform"], &line["platform_name"]), (&json!("relay"), &json!("Zulip")));
    assert_eq!(line["raw"]["new"], json!([1, 2]));
    assert_eq!(decode(frame)[0].get("raw"), None);
}

// proves: FRAME-2, FRAME-4, FRAME-5
#[test]
fn what_is_no_frame_is_skipped_with_its_reason_and_nothing_else_is_lost() {
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let skipped: Vec<Vec<u8>> = [
        "garbage",
        "[]",
        "17",
        "null",
        "\"x\"",
        "{}",
        "{\"type\":[]}",
        "{\"type\":\"unknown\"}",
        "{\"type\":\"hello\",\"platform\":\"p\",\"botId\":\"b\"}",
        "{\"type\":\"ping\"}",
        "{\"type\":\"descriptor\",\"descriptor\":null}",
        "{\"type\":\"outbound_result\",\"requestId\":[]}",
        "{\"type\":\"going_idle_ack\"} {}",
        "\0",
        deep.as_str(),
    ]
    .into_iter()
    .map(|line| line.as_bytes().to_vec())
    .chain([b"{\"type\":\"\xff\"}".to_vec(), vec![b'x'; (1 << 20) + 1], vec![b' '; 3 << 20]])
    .collect();
    let good = b"{\"type\":\"going_idle_ack\"}";
    let mut input = b"\r\n\n".to_vec();
    for line in &skipped {
        input.extend_from_slice(&[line.as_slice(), b"\r\n", good, b"\n \n"].concat());
    }
    input.extend_from_slice(good);
    let lines = decode(&input);
    assert_eq!(lines.len(), 2 * skipped.len() + 1);
    for (index, line) in lines.iter().enumerate() {
        if index % 2 == 0 && index < 2 * skipped.len() {
            let why = line["skipped"].as_str().unwrap();
            assert!(!why.is_empty() && line.as_object().unwrap().len() == 1, "{line}");
        } else {
            assert_eq!(line, &json!({"frame": "going_idle_ack"}));
        }
    }
    assert_eq!(lines[2 * 16]["skipped"], "a line is over the limit of 1048576 bytes");
}

// proves: FRAME-6
#[test]
fn a_result_that_would_break_a_reader_is_handed_over_as_text() {
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    for result in [r#"{"x":"\ud800"}"#, "1e999", &deep] {
        let frame = format!("{{\"type\":\"outbound_result\",\"requestId\":\"r\",\"result\":{result}}}");
        let line = &decode(frame)[0];
        assert_eq!((&line["result"], &line["result_json"]), (&Value::Null, &json!(result)));
    }
}

#[test]
fn decoding_nothing_is_fine() {
    assert_eq!(decode(""), Vec::<Value>::new());
    assert_eq!(decode("\n\r\n  \n"), Vec::<Value>::new());
}

// ── the command line ─────────────────────────────────────────────────────

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
        &["gateway", "--url", "http://h"],
        &["gateway", "--url", "http://h", "--platform", "p"],
        &["gateway", "--url", "http://h", "--platform", "p", "--platform", "q", "--bot-id", "b"],
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
