//! Text fields of an object without a copy each.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;

use crate::json::scan::{Kind, Place, Scan};

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
    pub(crate) fn raw(&self) -> &str {
        &self.raw
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

/// Makes spans of places in a text, for the [`Texts`] of an object in it.
pub(crate) struct Reader<'a> {
    text: &'a str,
    object: Place,
    side: String,
}

impl<'a> Reader<'a> {
    /// For the object that stands there.
    pub(crate) fn new(text: &'a str, object: Place) -> Self {
        Self { text, object, side: String::new() }
    }

    /// The text that places are of.
    pub(crate) fn source(&self) -> &'a str {
        self.text
    }

    /// Reads a field as text (EVENT-2).
    #[inline(always)]
    pub(crate) fn text(&mut self, place: Place) -> Span {
        match place.kind() {
            Kind::Plain | Kind::Number => {
                let (start, len) = place.within(self.object);
                Span { start, len }
            }
            Kind::Escaped => self.unescaped(place),
            Kind::Absent | Kind::Other => Span::NONE,
        }
    }

    #[inline(never)]
    fn unescaped(&mut self, place: Place) -> Span {
        let Some(text) = place.text(self.text) else { return Span::NONE };
        let (start, len) = (self.side.len(), text.len());
        match text {
            // The first one, often the only one, is not copied again.
            Cow::Owned(text) if start == 0 => self.side = text,
            text => self.side.push_str(&text),
        }
        match (u32::try_from(start), u32::try_from(len)) {
            (Ok(start), Ok(len)) if start < Span::SIDE && len < Span::SIDE => Span { start: start | Span::SIDE, len },
            // No text is so long that it gets here.
            _ => Span::NONE,
        }
    }

    /// At the list at this place; `None` when it is no list, or an empty one.
    pub(crate) fn list(&self, place: Place) -> Option<Scan<'a>> {
        // The shortest is an empty one.
        if place.kind() != Kind::Other || place.len() <= 2 {
            return None;
        }
        Scan::from(self.text, place).filter(Scan::is_at_array)
    }

    /// Keeps a copy of the object.
    pub(crate) fn finish(self) -> Texts {
        Texts { raw: self.object.raw(self.text).unwrap_or_default().into(), side: self.side }
    }
}
