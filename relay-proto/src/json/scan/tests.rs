//! The scanner beside `serde_json`: it accepts the same texts and finds the same values.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;

/// Where a text's only value stands.
fn whole(text: &str) -> Option<Place> {
    let mut scan = Scan::new(text).ok()?;
    let place = scan.value().ok()?;
    scan.end().ok()?;
    Some(place)
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

const NAMES: [&str; 3] = ["a", "bc", "long enough for more than one word, and then for a whole vector of them"];

fn known(name: &[u8]) -> Option<usize> {
    NAMES.iter().position(|known| known.as_bytes() == name)
}

/// Everything that is found in a text, both ways.
fn check(text: &str) {
    let expected = serde_json::from_str::<&RawValue>(text).ok();
    let found = whole(text);
    assert_eq!(found.and_then(|place| place.raw(text)), expected.map(RawValue::get), "{text:?}");
    let Some((place, raw)) = found.zip(expected) else {
        assert_eq!(members::<3>(text, known), Err(NotObject::Json), "{text:?}");
        return;
    };
    assert_eq!(place.text(text), super::super::text(raw), "{text:?}");
    assert_eq!(place.string(text), super::super::string(raw.get()).filter(|_| raw.get().starts_with('"')), "{text:?}");
    let ours = members(text, known).map(|found| found.map(|place: Place| place.raw(text)));
    let theirs = super::super::members(text, &NAMES).map(|found| found.map(|raw| raw.map(RawValue::get)));
    assert_eq!(ours, theirs, "{text:?}");
    let elements = super::super::elements(raw).map(|all| all.into_iter().map(RawValue::get).collect::<Vec<_>>());
    let scan = Scan::from(text, place).filter(Scan::is_at_array);
    let own = scan.map(|mut scan| {
        let mut all = Vec::new();
        scan.array(|scan| {
            all.push(scan.value()?.raw(text).unwrap());
            Ok(())
        })
        .unwrap();
        all
    });
    assert_eq!(own, elements, "{text:?}");
}

/// A text, and every text that one byte makes of it: cut there, left out, or another.
fn check_around(text: &str) {
    check(text);
    for at in 0..text.len() {
        let (Some(before), Some(after)) = (text.get(..at), text.get(at + 1..)) else { continue };
        check(before);
        check(&format!("{before}{after}"));
        for other in ['"', '\\', '{', '}', '[', ']', ',', ':', '0', '9', '-', '.', 'e', 'u', ' ', '\n', '\u{1}', '\0'] {
            check(&format!("{before}{other}{after}"));
        }
    }
}

// proves: FRAME-4
#[test]
fn texts_of_every_shape_and_their_neighbours_are_read_as_serde_json_reads_them() {
    for text in [
        "",
        "null",
        "true",
        " false ",
        "-0.10e+5",
        "[1,-2.5,3E-7,0]",
        "\"\"",
        r#""a\"\\\/\b\f\n\r\tb\u00e9\ud83d\udd0c\ud800\uDC00""#,
        "\"日本🔌 and more than eight bytes\"",
        "[]",
        "{}",
        "[[],{},[{}],{\"a\":[]}]",
        "{\"a\":1,\"bc\":\"x\",\"\\u0061\":[2],\"z\":{\"a\":3}}",
        "\t{ \"bc\" : [ 1 , 2 ] ,\r\n \"a\" : null }  ",
        "{\"bc\":true,\"bc\":{\"a\":\"\\n\"},\"\\ud800\":0,\"\":1}",
        "{\"a\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}",
    ] {
        check_around(text);
    }
    let name = NAMES[2];
    check_around(&format!("{{\"{name}\":1,\"{name}\" : \"{name}\"}}"));
}

// proves: FRAME-4
#[test]
fn numbers_are_those_of_json() {
    let parts = ["", "-", "0", "1", "00", "12", ".", "5", "e", "E", "+", "-", "0"];
    for a in parts {
        for b in parts {
            for c in parts {
                for d in parts {
                    let text = format!("{a}{b}{c}{d}");
                    assert_eq!(whole(&text).is_some(), is_json(&text), "{text}");
                }
            }
        }
    }
}

// proves: FRAME-4
#[test]
fn nesting_is_followed_however_deep_and_closed_as_it_was_opened() {
    for depth in [1, 63, 64, 65, 127, 128, 129, 200, 100_000] {
        let open: String = (0..depth).map(|level| if level % 3 == 0 { "{\"x\":" } else { "[" }).collect();
        let close: String = (0..depth).rev().map(|level| if level % 3 == 0 { '}' } else { ']' }).collect();
        let text = format!("{open}0{close}");
        assert!(whole(&text).is_some(), "{depth} levels");
        assert!(whole(&text[..text.len() - 1]).is_none(), "one level is open, of {depth}");
        assert!(whole(&format!("{text}]")).is_none(), "one level too many is closed, of {depth}");
        // Each closing bracket alone, around where the levels are kept in another word.
        for wrong in (0..depth.min(200)).map(|level| open.len() + 1 + level) {
            let other = if &text[wrong..=wrong] == "]" { "}" } else { "]" };
            let mut text = text.clone();
            text.replace_range(wrong..=wrong, other);
            assert!(whole(&text).is_none(), "{depth} levels, the bracket at {wrong} is another");
        }
    }
}

/// JSON as nobody would write it, but may.
fn json() -> impl Strategy<Value = String> {
    let space = "[ \n\t\r]{0,2}";
    let string = prop_oneof![
        3 => "[a-c ]{0,3}",
        1 => "[a-z]{0,80}",
        1 => "([a-z日🔌]|\\\\[\"\\\\/bfnrt]|\\\\u[0-9a-fA-F]{4}|\\\\u[dD][89a-fA-F][0-9a-f]{2}){0,12}",
    ];
    let name = prop_oneof![4 => Just("a".to_string()), 2 => Just("bc".into()), 1 => Just("\\u0061".into()), 2 => string.clone()];
    let leaf = prop_oneof![
        Just("null".to_string()),
        Just("true".into()),
        Just("false".into()),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?",
        string.clone().prop_map(|text| format!("\"{text}\"")),
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        let padded = (space, inner, space).prop_map(|(before, value, after)| format!("{before}{value}{after}"));
        let member = (space, name.clone(), space, padded.clone())
            .prop_map(|(before, name, after, value)| format!("{before}\"{name}\"{after}:{value}"));
        prop_oneof![
            proptest::collection::vec(padded, 0..5).prop_map(|all| format!("[{}]", all.join(","))),
            proptest::collection::vec(member, 0..5).prop_map(|all| format!("{{{}}}", all.join(","))),
        ]
    })
}

proptest! {
    // proves: FRAME-4
    #[test]
    fn json_is_read_as_serde_json_reads_it(text in json()) {
        check(&text);
    }

    // proves: FRAME-4
    #[test]
    fn what_is_nearly_json_is_refused_as_serde_json_refuses_it(
        text in json(),
        at: prop::sample::Index,
        length in 0usize..3,
        other in "[\"\\\\{}\\[\\]:,0-9a-fu. \n\u{0}\u{1f}\u{7f}é-]{0,3}",
    ) {
        let mut text = text;
        let start = text.floor_char_boundary(at.index(text.len() + 1));
        let end = text.floor_char_boundary(start + length).max(start);
        text.replace_range(start..end, &other);
        check(&text);
    }

    // proves: FRAME-4
    #[test]
    fn what_looks_like_json_is_read_as_serde_json_reads_it(text in "[\"\\\\{}\\[\\]:,01.eEu+ \n\tntrualsefb-]{0,12}") {
        check(&text);
    }
}
