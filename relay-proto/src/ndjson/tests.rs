use super::*;
use alloc::string::String;
use alloc::{format, vec};
use proptest::prelude::*;

/// What a line is to the tests: the text of an object, or why there is none.
fn object(text: &[u8]) -> Result<String, Skipped> {
    assert_eq!(trim(text), text, "nothing is around it");
    let text = core::str::from_utf8(text).map_err(|_| Skipped::NotJson)?;
    match serde_json::from_str::<&serde_json::value::RawValue>(text) {
        Ok(_) if text.starts_with('{') => Ok(text.into()),
        Ok(_) => Err(Skipped::NotAnObject),
        Err(_) => Err(Skipped::NotJson),
    }
}

/// The objects in `messages`; `-` for a line that is skipped.
fn lines(messages: &[&[u8]], limit: usize) -> Result<Vec<String>, LineTooLong> {
    let mut buffer = LineBuffer::new();
    let mut out = Vec::new();
    for message in messages {
        buffer.feed(message, limit, object, |line| {
            out.push(line.unwrap_or_else(|_| "-".into()));
            true
        })?;
    }
    Ok(out)
}

fn of(messages: &[&str]) -> Vec<String> {
    lines(&messages.iter().map(|message| message.as_bytes()).collect::<Vec<_>>(), 1000).unwrap()
}

// proves: FRAME-2
#[test]
fn a_line_may_be_cut_at_any_byte_also_inside_a_character() {
    let stream = "{\"a\":\"日本🔌\"}\r\n\n  \n{\"b\":\"\\\"}{\"}\n".as_bytes();
    let whole = lines(&[stream], 100).unwrap();
    assert_eq!(whole, ["{\"a\":\"日本🔌\"}", "{\"b\":\"\\\"}{\"}"]);
    for cut in 0..stream.len() {
        let (a, b) = stream.split_at(cut);
        assert_eq!(lines(&[a, b], 100).unwrap(), whole, "cut at {cut}");
    }
    let single: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(lines(&single, 100).unwrap(), whole);
}

// proves: FRAME-2
#[test]
fn an_object_without_a_newline_is_a_line_when_its_message_ends() {
    assert_eq!(of(&["{\"a\":{}}", "{\"b\":[]}"]), ["{\"a\":{}}", "{\"b\":[]}"]);
    assert_eq!(of(&["{\"a\"", ":1}", "\n{}"]), ["{\"a\":1}", "{}"]);
    assert_eq!(of(&[" {\"a\":\"}", "\"} ", "\n"]), ["{\"a\":\"}\"}"]);
}

// proves: FRAME-2, FRAME-4
#[test]
fn what_can_never_be_an_object_ends_with_its_message() {
    for garbage in [
        "ping",
        "[1,2]",
        "[",
        "\"",
        "<html>",
        "null",
        "17",
        "{bad",
        "{\"a\":\"\u{1}",
        "{\"a\":tru ",
        "}",
        "\u{feff}x",
        "{\"a\"}",
    ] {
        assert_eq!(of(&[garbage, "{\"b\":1}"]), ["-", "{\"b\":1}"], "{garbage}");
        assert_eq!(of(&[garbage, "{\"b\":1}\n"]), ["-", "{\"b\":1}"], "{garbage}");
        assert_eq!(of(&[garbage, "\n{\"b\":1}"]), ["-", "{\"b\":1}"], "{garbage}, and its newline afterwards");
        assert_eq!(of(&[&format!("{garbage}\n{{\"b\":1}}")]), ["-", "{\"b\":1}"], "{garbage}");
    }
    assert_eq!(of(&["pi", "ng\n", "{}"]), ["-", "-", "{}"], "the rest is no better");
    assert_eq!(of(&["{\"a\":", "}", "{}"]), ["-", "{}"], "as soon as it is clear");
}

// proves: FRAME-2
#[test]
fn objects_that_are_glued_together_come_singly() {
    assert_eq!(of(&["{\"a\":1}{\"b\":2}"]), ["{\"a\":1}", "{\"b\":2}"]);
    assert_eq!(of(&["{\"a\":1} {\"b\":2}\n{}"]), ["{\"a\":1}", "{\"b\":2}", "{}"]);
    assert_eq!(of(&["{}{\"a\":", "1}{\"b\"", ":2}\n{}"]), ["{}", "{\"a\":1}", "{\"b\":2}", "{}"]);
    assert_eq!(of(&["{}{\"a\":\n{}"]), ["{}", "-", "{}"], "a newline ends a beginning");
}

// proves: FRAME-2
#[test]
fn a_mark_in_front_and_a_nul_behind_do_no_harm() {
    assert_eq!(of(&["\u{feff}{}"]), ["{}"]);
    assert_eq!(of(&["\u{feff}", "{}\0", "\0{}\u{feff}{}\0\0\n\0\n", " \u{feff} {}"]), ["{}", "{}", "{}", "{}"]);
    let stream = "\u{feff}{}\0\u{feff} {\"a\":\"\u{feff}\"}\0\n\u{feff}\n{}\0".as_bytes();
    for cut in 0..stream.len() {
        let (a, b) = stream.split_at(cut);
        assert_eq!(lines(&[a, b], 100).unwrap(), ["{}", "{\"a\":\"\u{feff}\"}", "{}"], "cut at {cut}");
    }
    let single: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(lines(&single, 100).unwrap().len(), 3);
    // What only looked like one.
    assert_eq!(lines(&[b"\xef", b"{}"], 100).unwrap(), ["-", "{}"]);
    assert_eq!(lines(&[b"\xef", b"", b"\xbb", b"\n{}"], 100).unwrap(), ["-", "{}"]);
    assert_eq!(lines(&[b"\xef\n{}"], 100).unwrap(), ["-", "{}"]);
}

// proves: FRAME-2, FRAME-4
#[test]
fn nothing_behind_garbage_is_an_object_before_its_line_has_ended() {
    for (line, expected) in [
        ("x {\"a\":1}", vec!["-"]),
        ("[{\"a\":1}]", vec!["-"]),
        ("\"{\\\"a\\\":1}\"", vec!["-"]),
        ("{\"a\":1} x {\"b\":1}", vec!["{\"a\":1}", "-"]),
        ("{\"a\":1},{\"b\":1}", vec!["{\"a\":1}", "-"]),
        // A quote that its sender forgot to escape: what follows is text of a user.
        ("{\"t\":\"said \"}{\"b\":1}{\"\"}", vec!["{\"t\":\"said \"}", "{\"b\":1}", "-"]),
        ("{\"t\":\"said \" ok {\"b\":1}\"}", vec!["-"]),
        ("{\"t\":\"tab\t{\"}{\"b\":1}", vec!["-"]),
        ("{bad}{\"b\":1}", vec!["-"]),
    ] {
        assert_eq!(of(&[line, "{}"]), [&expected[..], &["{}"]].concat(), "{line}");
        assert_eq!(of(&[&format!("{line}\n"), "{}"]), [&expected[..], &["{}"]].concat(), "{line}, with a newline");
    }
}

// proves: FRAME-3
#[test]
fn a_line_over_the_limit_is_an_error_and_is_not_kept() {
    assert_eq!(lines(&[b"1234\n", b"{\"a\"\n"], 4).unwrap(), ["-", "-"]);
    assert_eq!(lines(&[b"{\"a\"", b":1}", b"\n"], 7).unwrap(), ["{\"a\":1}"]);
    assert_eq!(lines(&[b"12345\n"], 4), Err(LineTooLong { limit: 4 }));
    assert_eq!(lines(&[b"12345"], 4), Err(LineTooLong { limit: 4 }));
    assert_eq!(lines(&[b"{\"a\"", b":12}"], 7), Err(LineTooLong { limit: 7 }));
    assert_eq!(lines(&[b"{\"a\"", b":12}\n"], 7), Err(LineTooLong { limit: 7 }));
    let mut buffer = LineBuffer::new();
    buffer.feed(b"{\"a", 4, object, |_| true).unwrap();
    assert_eq!(buffer.feed(b"bc", 4, object, |_| true), Err(LineTooLong { limit: 4 }));
    assert_eq!(buffer.held(), 3, "never more than the limit");
}

// proves: FRAME-3
#[test]
fn what_is_around_an_object_does_not_count() {
    for line in ["  \u{feff}{\"a\":1}\0\0\r\n", "{\"a\":1}      ", "{\"a\":1}{\"b\":2}\r\n", "{}{}{}{}{}{}{}{\"a\":1}"]
    {
        assert!(lines(&[line.as_bytes()], 7).is_ok(), "{line:?}");
        assert!(lines(&[line.as_bytes()], 6).is_err(), "{line:?}");
    }
    assert_eq!(lines(&[b"{\"a\":", b"1}\r\0\r\r\n{}"], 7).unwrap(), ["{\"a\":1}", "{}"]);
    assert_eq!(lines(&[b"{\"a\":", b"1}{\"b\":2}\n{}"], 7).unwrap(), ["{\"a\":1}", "{\"b\":2}", "{}"]);
}

// proves: FRAME-3
#[test]
fn a_large_line_gives_its_memory_back_and_white_space_takes_none() {
    let mut buffer = LineBuffer::new();
    buffer.feed(&[b' '; 100_000], 10, object, |_| true).unwrap();
    assert_eq!((buffer.held(), buffer.capacity()), (0, 0));
    for end in [&b"\""[..], b"\"}", b"\"}\n", b"\"\x01"] {
        let large = [b"{\"a\":\"".as_slice(), &[b'x'; 100_000]].concat();
        buffer.feed(&large, 1 << 20, object, |_| true).unwrap();
        assert!(buffer.capacity() >= 100_000);
        buffer.feed(end, 1 << 20, object, |_| true).unwrap();
        buffer.feed(b"\n", 1 << 20, object, |_| true).unwrap();
        assert_eq!((buffer.held(), buffer.capacity()), (0, 0));
    }
}

// proves: FRAME-2
#[test]
fn each_byte_is_looked_at_once() {
    // A scan that started over with every message would look at 20,000² bytes here.
    let mut buffer = LineBuffer::new();
    let mut seen = 0;
    let mut feed = |message: &[u8]| {
        let count = |text: &[u8]| Ok(text.len());
        let each = |line: Result<usize, Skipped>| {
            seen += line.unwrap();
            true
        };
        buffer.feed(message, 1 << 20, count, each).unwrap();
    };
    for _ in 0..20_000 {
        feed(b"{\"a\":");
    }
    feed(b"{}");
    for _ in 0..20_000 {
        feed(b"}");
    }
    assert_eq!(seen, 120_002);
}

// proves: FRAME-2
#[test]
fn the_cost_is_linear_whatever_stands_in_a_line() {
    // How many bytes are read as frames, for lines of twice as many bytes each.
    let glued = |count: usize| "{\"a\":[]}".repeat(count) + "\n";
    let broken = |count: usize| format!("{}{{\"a\":\"{}\u{1}\n", "{}".repeat(count), "x".repeat(6 * count));
    let braces = |count: usize| "{\"a\":".repeat(count) + "\n";
    for make in [&glued as &dyn Fn(usize) -> String, &broken, &braces] {
        let cost = |count: usize| {
            let read = core::cell::Cell::new(0);
            let text = make(count);
            let count_bytes = |text: &[u8]| {
                read.set(read.get() + text.len());
                object(text)
            };
            LineBuffer::new().feed(text.as_bytes(), 1 << 20, count_bytes, |_| true).unwrap();
            assert!(read.get() <= 2 * text.len(), "{} bytes read of {}", read.get(), text.len());
        };
        cost(10);
        cost(10_000);
    }
}

proptest! {
    // proves: FRAME-2
    #[test]
    fn cutting_changes_nothing(
        objects in proptest::collection::vec(
            ("(\u{feff}|[ \t\0]){0,2}", r#"[a-z\[\]{}\\"日🔌,: ]{0,12}"#, "(\u{feff}|[ \r\n\0]){0,3}"),
            0..8,
        ),
        cuts in proptest::collection::vec(0usize..400, 0..12),
    ) {
        // Objects, with newlines or without, and with whatever may stand around them.
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for (before, text, behind) in &objects {
            let object = format!("{{\"t\":{}}}", serde_json::to_string(text).unwrap());
            stream.extend_from_slice(before.as_bytes());
            stream.extend_from_slice(object.as_bytes());
            stream.extend_from_slice(behind.as_bytes());
            expected.push(object);
        }
        let mut at: Vec<usize> = cuts.into_iter().filter(|c| *c < stream.len()).collect();
        at.sort_unstable();
        let mut pieces: Vec<&[u8]> = Vec::new();
        let mut from = 0;
        for cut in at { pieces.push(&stream[from..cut]); from = cut; }
        pieces.push(&stream[from..]);
        prop_assert_eq!(lines(&pieces, 1000).unwrap(), expected);
    }

    // proves: FRAME-2, FRAME-4
    #[test]
    fn garbage_costs_its_message_at_most(
        garbage in proptest::collection::vec(any::<u8>(), 0..20),
        // What the object is told by: no other can be in so few bytes.
        mark in 0u32..10,
    ) {
        let object = format!("{{\"mark\":\"this one, number {mark}\"}}");
        // A beginning of an object takes what follows for the rest of it: that is the only excuse.
        let found = lines(&[&garbage, object.as_bytes(), object.as_bytes()], 1000).unwrap();
        let mut scan = ObjectScan::default();
        let last = garbage.rsplit(|byte| *byte == b'\n').next().unwrap();
        let begins = last.iter().rposition(|byte| *byte == b'{').is_some_and(|at| scan.read(&last[at..]) == Step::Partial);
        prop_assert!(begins || found.iter().filter(|line| **line == object).count() == 2, "{:?}", found);
    }

    // proves: FRAME-2
    #[test]
    fn no_text_of_a_user_is_a_frame(
        text in r#"[a-z{}\[\]",:\\ \n]{0,30}"#,
        before in r"[x\[,:0]",
        cut in 0usize..100,
    ) {
        // The text is in a string, as everybody writes it, of a line that is no object, and is cut in the middle. An object
        // has quotes, which have a backslash in front of them there.
        let text = format!("{text}{{\"type\":\"going_idle\"}}{{}}");
        let line = format!("{before}{{\"text\":{}}}\n", serde_json::to_string(&text).unwrap());
        prop_assert_eq!(lines(&[line.as_bytes()], 1000).unwrap(), ["-"]);
        let (a, b) = line.as_bytes().split_at((10 + cut).min(line.len()));
        let found = lines(&[a, b], 1000).unwrap();
        prop_assert!(found.iter().all(|line| line == "-" || line == "{}"), "{:?}", found);
    }
}
