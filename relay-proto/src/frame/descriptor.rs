//! Capability descriptors (DESC-1, DESC-2).

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use serde_json::value::RawValue;

use crate::chat::LenUnit;
use crate::json::{self, RawJson, push_field};

/// The message length that stands in for one that is absent, zero, negative or no number.
pub const DEFAULT_MESSAGE_LENGTH: u64 = 4096;

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
    /// The operations the connector takes. Default [`LEGACY_OPS`].
    pub supported_ops: Vec<String>,
    /// The descriptor's JSON as it came, with fields this version does not know; `None` for one made here.
    pub raw: Option<RawJson>,
}

impl Descriptor {
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

fn op_names(raw: &RawValue) -> Option<Vec<String>> {
    let names: Option<Vec<String>> =
        json::elements(raw)?.into_iter().map(|op| json::string(op.get()).map(|op| op.into_owned())).collect();
    names.filter(|names| !names.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

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
