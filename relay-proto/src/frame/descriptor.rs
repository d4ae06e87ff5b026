//! Capability descriptors (DESC-1, DESC-2).

use alloc::borrow::{Cow, ToOwned};
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::Deserializer as _;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::chat::LenUnit;
use crate::json::{self, RawJson, push_field};

/// The message length that stands in for one that is absent, zero, negative or no number.
pub const DEFAULT_MESSAGE_LENGTH: u64 = 4096;

/// What the name of an operation is taken to hold beyond its text: the `String`, and the least that is allocated.
const OP_OVERHEAD: usize = size_of::<String>() + 32;

/// The operations that every connector supports, listed or not.
pub const LEGACY_OPS: [&str; 4] = ["send", "edit", "typing", "follow_up"];

/// What a connector says about one platform that it fronts.
///
/// A gateway reads descriptors; a connector makes them from [`Descriptor::new`] and the public fields.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Descriptor {
    /// The version of the contract. Default 1.
    pub contract_version: u64,
    /// The platform. Default `relay`.
    pub platform: String,
    /// The platform's display name. Default empty.
    pub label: String,
    /// The longest message the platform takes, in [`len_unit`](Self::len_unit)s; always positive.
    /// Default [`DEFAULT_MESSAGE_LENGTH`].
    pub max_message_length: u64,
    /// Whether a message can be streamed as a draft. Default false.
    pub supports_draft_streaming: bool,
    /// Whether a message can be edited. Default false.
    pub supports_edit: bool,
    /// Whether threads can be made. Default false.
    pub supports_threads: bool,
    /// The platform's markup: `discord`, `markdown_v2`, `plain`, … Default `plain`.
    pub markdown_dialect: String,
    /// The unit of lengths as the connector named it. Default `chars`.
    pub len_unit: String,
    /// A sign for the platform. Default 🔌.
    pub emoji: String,
    /// A hint for the agent on how to write there. Default empty.
    pub platform_hint: String,
    /// Whether the platform may see personal data. Default false.
    pub pii_safe: bool,
    /// Whether events come with the messages around them. Default false.
    pub supports_context: bool,
    /// Whether a session may go on in the channel it started in. Default false.
    pub supports_inchannel_continuable: bool,
    /// Whether structured blocks are rendered. Default false.
    pub supports_block_formatting: bool,
    /// The operations the connector takes. Default [`LEGACY_OPS`]. Read from JSON, each is here once, and a list of more
    /// than [`MAX_OPS`](Self::MAX_OPS) is taken for none.
    pub supported_ops: Vec<String>,
    /// The descriptor's JSON as it came, with fields this version does not know; `None` for one made here.
    pub raw: Option<RawJson>,
}

impl Descriptor {
    /// How many different operations a descriptor may list. The contract has ten; a longer list is malformed (DESC-1).
    pub const MAX_OPS: usize = 256;

    /// A descriptor of `platform` with every default.
    pub fn new(platform: impl Into<String>) -> Self {
        Self {
            contract_version: 1,
            platform: platform.into(),
            label: String::new(),
            max_message_length: DEFAULT_MESSAGE_LENGTH,
            supports_draft_streaming: false,
            supports_edit: false,
            supports_threads: false,
            markdown_dialect: "plain".to_owned(),
            len_unit: "chars".to_owned(),
            emoji: "🔌".to_owned(),
            platform_hint: String::new(),
            pii_safe: false,
            supports_context: false,
            supports_inchannel_continuable: false,
            supports_block_formatting: false,
            supported_ops: LEGACY_OPS.map(str::to_owned).to_vec(),
            raw: None,
        }
    }

    /// Reads a descriptor from its JSON text. `None` when it is not an object.
    pub fn parse(json: &str) -> Option<Self> {
        Self::read(serde_json::from_str::<&RawValue>(json).ok()?.get())
    }

    pub(crate) fn read(raw: &str) -> Option<Self> {
        let [version, max_length, ops] =
            json::members(raw, &["contract_version", "max_message_length", "supported_ops"]).ok()?;
        let [platform, label, dialect, unit, emoji, hint] =
            json::members(raw, &["platform", "label", "markdown_dialect", "len_unit", "emoji", "platform_hint"])
                .ok()?
                .map(|value| value.and_then(json::text).map(|text| text.into_owned()));
        let [draft, edit, threads, pii, context, continuable, blocks] = json::members(
            raw,
            &[
                "supports_draft_streaming",
                "supports_edit",
                "supports_threads",
                "pii_safe",
                "supports_context",
                "supports_inchannel_continuable",
                "supports_block_formatting",
            ],
        )
        .ok()?
        .map(|value| value.and_then(json::boolean).unwrap_or(false));
        let default = Self::new("relay");
        Some(Self {
            contract_version: version.and_then(|v| v.get().parse().ok()).unwrap_or(default.contract_version),
            platform: platform.unwrap_or(default.platform),
            label: label.unwrap_or_default(),
            max_message_length: max_length.and_then(positive).unwrap_or(DEFAULT_MESSAGE_LENGTH),
            supports_draft_streaming: draft,
            supports_edit: edit,
            supports_threads: threads,
            markdown_dialect: dialect.unwrap_or(default.markdown_dialect),
            len_unit: unit.unwrap_or(default.len_unit),
            emoji: emoji.unwrap_or(default.emoji),
            platform_hint: hint.unwrap_or_default(),
            pii_safe: pii,
            supports_context: context,
            supports_inchannel_continuable: continuable,
            supports_block_formatting: blocks,
            supported_ops: ops.and_then(op_names).unwrap_or(default.supported_ops),
            raw: Some(RawJson::trusted(raw)),
        })
    }

    /// The length of `text` in the platform's own unit (DESC-2).
    pub fn length_of(&self, text: &str) -> usize {
        LenUnit::parse(&self.len_unit).len(text)
    }

    /// Whether code blocks are rendered: every dialect but `""` and `plain` (DESC-2).
    pub fn supports_code_blocks(&self) -> bool {
        !matches!(self.markdown_dialect.as_str(), "" | "plain")
    }

    /// Whether the connector takes this operation.
    pub fn supports_op(&self, op: &str) -> bool {
        self.supported_ops.iter().any(|known| known == op)
    }

    /// About how many bytes it holds.
    pub(crate) fn size(&self) -> usize {
        let Self { platform, label, markdown_dialect, len_unit, emoji, platform_hint, supported_ops, raw, .. } = self;
        let texts = [platform, label, markdown_dialect, len_unit, emoji, platform_hint];
        let texts = texts.into_iter().chain(supported_ops).map(String::len).sum::<usize>();
        texts + OP_OVERHEAD * supported_ops.len() + raw.as_ref().map_or(0, |raw| raw.as_str().len())
    }

    /// The descriptor as JSON, with every field that this version knows.
    pub fn to_json(&self) -> RawJson {
        let mut out = alloc::format!("{{\"contract_version\":{}", self.contract_version);
        push_field(&mut out, "platform", &self.platform);
        push_field(&mut out, "label", &self.label);
        push_field(&mut out, "markdown_dialect", &self.markdown_dialect);
        push_field(&mut out, "len_unit", &self.len_unit);
        push_field(&mut out, "emoji", &self.emoji);
        push_field(&mut out, "platform_hint", &self.platform_hint);
        out.push_str(&alloc::format!(",\"max_message_length\":{}", self.max_message_length));
        for (name, value) in [
            ("supports_draft_streaming", self.supports_draft_streaming),
            ("supports_edit", self.supports_edit),
            ("supports_threads", self.supports_threads),
            ("pii_safe", self.pii_safe),
            ("supports_context", self.supports_context),
            ("supports_inchannel_continuable", self.supports_inchannel_continuable),
            ("supports_block_formatting", self.supports_block_formatting),
        ] {
            out.push_str(&alloc::format!(",\"{name}\":{value}"));
        }
        out.push_str(",\"supported_ops\":[");
        for (i, op) in self.supported_ops.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            json::push_string(&mut out, op);
        }
        out.push_str("]}");
        RawJson::trusted(out)
    }
}

/// A number above zero, without its fraction; one too large for the type is as good as no limit.
fn positive(raw: &RawValue) -> Option<u64> {
    let text = raw.get();
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let value = match text.parse::<u64>() {
        Ok(value) => value,
        // Casting saturates, and cuts the fraction off.
        Err(_) => text.parse::<f64>().ok()? as u64,
    };
    (value > 0).then_some(value)
}

/// The operations of a list, each once. `None` for a malformed list.
///
/// A name of one letter is 4 bytes of JSON and ten times as many in memory, so that nothing is kept of a name that was
/// there before, nor of a list that turns out to be malformed.
fn op_names(raw: &RawValue) -> Option<Vec<String>> {
    struct Names;
    impl<'a> Visitor<'a> for Names {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of operations")
        }

        fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let (mut names, mut known) = (Vec::new(), BTreeSet::new());
            while let Some(op) = seq.next_element::<&RawValue>()? {
                let name = json::string(op.get()).ok_or_else(|| A::Error::custom("no string"))?;
                if known.contains(&name) {
                    continue;
                }
                if names.len() == Descriptor::MAX_OPS {
                    return Err(A::Error::custom("too many operations"));
                }
                names.push(Cow::clone(&name).into_owned());
                known.insert(name);
            }
            Ok(names)
        }
    }
    let names = serde_json::Deserializer::from_str(raw.get()).deserialize_seq(Names).ok()?;
    Some(names).filter(|names| !names.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_OPS: usize = Descriptor::MAX_OPS;

    fn descriptor(json: &str) -> Descriptor {
        Descriptor::parse(json).unwrap()
    }

    // proves: DESC-1
    #[test]
    fn missing_and_mistyped_fields_take_defaults() {
        let mut expected = Descriptor::new("relay");
        for json in
            ["{}", r#"{"platform":[],"label":{},"supports_edit":"yes","pii_safe":1,"emoji":null,"len_unit":false}"#]
        {
            expected.raw = Some(RawJson::parse(json).unwrap());
            assert_eq!(descriptor(json), expected, "{json}");
        }
        for json in ["[]", "null", "\"x\"", "5"] {
            assert_eq!(Descriptor::parse(json), None, "{json}");
        }
    }

    // proves: DESC-1
    #[test]
    fn a_useless_message_length_is_the_default() {
        let length = |value: &str| descriptor(&alloc::format!("{{\"max_message_length\":{value}}}")).max_message_length;
        for useless in ["0", "-5", "null", "\"2000\"", "true", "[]", "0.5", "-1e9"] {
            assert_eq!(length(useless), 4096, "{useless}");
        }
        assert_eq!((length("2000"), length("2000.9"), length("1e3")), (2000, 2000, 1000));
        assert_eq!(length("1e400"), u64::MAX, "more than any message");
    }

    // proves: DESC-1
    #[test]
    fn operations_fall_back_to_the_legacy_set() {
        let ops = |value: &str| descriptor(&alloc::format!("{{\"supported_ops\":{value}}}")).supported_ops;
        for malformed in ["[]", "null", "\"send\"", "{}", "[1]", "[\"send\",null]"] {
            assert_eq!(ops(malformed), LEGACY_OPS, "{malformed}");
        }
        assert_eq!(ops("[\"send\",\"react\"]"), ["send", "react"]);
        assert!(descriptor("{}").supports_op("follow_up") && !descriptor("{}").supports_op("react"));
    }

    // proves: DESC-1
    #[test]
    fn operations_are_known_once_each_and_no_more_than_there_can_be() {
        let ops = |names: &[String]| {
            descriptor(&alloc::format!("{{\"supported_ops\":[\"{}\"]}}", names.join("\",\""))).supported_ops
        };
        let different: Vec<String> = (0..=MAX_OPS).map(|i| alloc::format!("op{i}")).collect();
        let most = &different[..MAX_OPS];
        assert_eq!(ops(most), most);
        assert_eq!(ops(&[most, most].concat()), most, "each once, in order");
        assert_eq!(ops(&different), LEGACY_OPS, "malformed as a whole");
        assert_eq!(ops(&["a", "\\u0061", "b", "a"].map(str::to_owned)), ["a", "b"]);
    }

    /// The bytes on the heap, as the structure says, with what an allocator takes for a small text.
    fn heap(descriptor: &Descriptor) -> usize {
        let ops = descriptor.supported_ops.iter().map(|op| op.capacity().max(32)).sum::<usize>();
        let raw = descriptor.raw.as_ref().map_or(0, |raw| raw.as_str().len());
        ops + descriptor.supported_ops.capacity() * size_of::<String>() + raw + descriptor.platform_hint.capacity()
    }

    // proves: DESC-1, FRAME-3
    #[test]
    fn a_list_of_operations_costs_little_more_than_its_text() {
        let different = (0..100_000).map(|i| alloc::format!("\"{i}\""));
        let same = (0..100_000).map(|_| "\"a\"".to_owned());
        let lists = [different.collect::<Vec<_>>(), same.collect(), alloc::vec!["7".to_owned(); 100_000]];
        for list in lists.map(|list| list.join(",")).into_iter().chain([alloc::format!("\"{}\"", "o".repeat(1 << 20))])
        {
            let json = alloc::format!("{{\"platform_hint\":\"h\",\"supported_ops\":[{list}]}}");
            let descriptor = descriptor(&json);
            let heap = heap(&descriptor);
            let most = 2 * json.len() + MAX_OPS * OP_OVERHEAD;
            assert!(heap <= most, "{heap} bytes for {}", json.len());
            assert!((json.len()..=most).contains(&descriptor.size()), "{} for {heap}", descriptor.size());
        }
    }

    #[test]
    fn each_operation_counts_with_what_it_is_kept_in() {
        let mut descriptor = Descriptor::new("relay");
        descriptor.supported_ops.clear();
        let none = descriptor.size();
        descriptor.supported_ops = alloc::vec!["op".to_owned(); 10];
        assert_eq!(descriptor.size() - none, 10 * (size_of::<String>() + 32 + "op".len()));
    }

    // proves: DESC-2
    #[test]
    fn units_and_dialects() {
        assert_eq!(descriptor(r#"{"len_unit":"utf16"}"#).length_of("a🔌"), 3);
        assert_eq!(descriptor(r#"{"len_unit":"chars"}"#).length_of("a🔌"), 2);
        assert_eq!(descriptor(r#"{"len_unit":"graphemes"}"#).length_of("a🔌"), 2, "an unknown unit counts as chars");
        let code =
            |dialect: &str| descriptor(&alloc::format!("{{\"markdown_dialect\":{dialect}}}")).supports_code_blocks();
        assert!(!code("\"\"") && !code("\"plain\"") && code("\"discord\""));
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut made = Descriptor::new("tele\"gram");
        made.supports_edit = true;
        made.max_message_length = 7;
        made.supported_ops.push("react".into());
        let mut read = descriptor(made.to_json().as_str());
        read.raw = None;
        assert_eq!(read, made);
    }
}
