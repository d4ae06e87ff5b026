//! Text fields of an object without a copy each.

use alloc::boxed::Box;
use alloc::string::String;

use serde_json::value::RawValue;

use crate::json;

/// Where a field's text is: in the raw JSON, when it stands there as it is, or in the side text, when it had escapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// An absent field.
    pub(crate) const NONE: Self = Self { start: 0, len: u32::MAX };
    /// Set in `start` when the text is in the side text.
    const SIDE: u32 = 1 << 31;

    pub(crate) fn is_none(self) -> bool {
        self.len == u32::MAX
    }
}

/// The raw text of an object, and the fields' texts within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Texts {
    raw: Box<str>,
    side: String,
}

impl Texts {
    /// Keeps a copy of `raw`, the whole object. The size limits of a line keep every offset within 31 bits.
    pub(crate) fn new(raw: &str) -> Self {
        Self { raw: raw.into(), side: String::new() }
    }

    pub(crate) fn raw(&self) -> &str {
        &self.raw
    }

    /// Reads a field by [`json::text`]; `base` is the text that was copied into `raw` and that `field` is a slice of.
    pub(crate) fn read(&mut self, base: &str, field: Option<&RawValue>) -> Span {
        let Some(text) = field.and_then(json::text) else { return Span::NONE };
        match text {
            alloc::borrow::Cow::Borrowed(text) => {
                let start = (text.as_ptr() as usize).wrapping_sub(base.as_ptr() as usize);
                debug_assert!(start + text.len() <= base.len(), "the field is a slice of its object");
                span(start, text.len(), 0)
            }
            alloc::borrow::Cow::Owned(text) => {
                let start = self.side.len();
                self.side.push_str(&text);
                span(start, text.len(), Span::SIDE)
            }
        }
    }

    /// The text of a span; `None` when the field is absent.
    pub(crate) fn get(&self, span: Span) -> Option<&str> {
        if span.is_none() {
            return None;
        }
        let from = if span.start & Span::SIDE == 0 { &*self.raw } else { &self.side };
        let start = (span.start & !Span::SIDE) as usize;
        from.get(start..start + span.len as usize)
    }
}

fn span(start: usize, len: usize, side: u32) -> Span {
    match (u32::try_from(start), u32::try_from(len)) {
        (Ok(start), Ok(len)) if start < Span::SIDE && len < Span::SIDE => Span { start: start | side, len },
        _ => Span::NONE,
    }
}
