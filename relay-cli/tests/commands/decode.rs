//! `relay decode`.

use std::io::Write;
use std::process::Stdio;
use std::thread;

use serde_json::{Value, json};

use crate::{relay, text, vectors};

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
        "x {\"type\":\"going_idle_ack\"}",
        "{type:\"going_idle_ack\"}{\"type\":\"going_idle_ack\"}",
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

// proves: FRAME-2
#[test]
fn objects_that_share_a_line_are_frames_each_and_marks_and_nuls_do_no_harm() {
    let ack = json!({"frame": "going_idle_ack"});
    let object = "{\"type\":\"going_idle_ack\"}";
    assert_eq!(decode(format!("\u{feff}{object}\0\n\0\n{object} {object}\0{object}\n")), vec![ack.clone(); 4]);
    let lines = decode(format!("{object} x {object}\n{object}"));
    assert_eq!((lines.len(), &lines[0], &lines[2]), (3, &ack, &ack));
    assert_eq!(lines[1]["skipped"], "not JSON");
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

#[test]
fn a_byte_order_mark_at_the_start_is_passed_over() {
    let lines = decode("\u{feff}{\"type\":\"going_idle_ack\"}\n{\"type\":\"going_idle_ack\"}\n");
    assert_eq!(lines, [json!({"frame": "going_idle_ack"}), json!({"frame": "going_idle_ack"})]);
}

/// The example of the README, with the file that it names.
#[test]
fn the_capture_that_the_readme_names_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let line = readme.lines().find_map(|line| line.strip_prefix("relay decode < ")).unwrap();
    let captured = std::fs::read(root.join(line.split(' ').next().unwrap())).unwrap();
    let lines = decode(&captured);
    let frames: Vec<_> = lines.iter().map(|line| line["frame"].as_str().unwrap_or("skipped")).collect();
    let each = [
        "descriptor",
        "inbound",
        "outbound_result",
        "inbound",
        "passthrough_forward",
        "interrupt_inbound",
        "going_idle_ack",
    ];
    assert_eq!(frames, each);
}
