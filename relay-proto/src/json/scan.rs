//! One pass over JSON text that validates all of it and tells where the wanted values are.
//!
//! It accepts exactly the texts that `serde_json` accepts when it skips a value, and is here because frames are objects in
//! objects: to read one level of them and skip what is below, `serde_json` goes over the innermost once for every level.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::{NotObject, run};

/// The text is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotJson;

/// Texts from this many bytes on are refused, so that every place in one has 31 bits.
const TOO_LONG: usize = 1 << 31;

/// What kind of value stands at a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// None at all.
    #[default]
    Absent,
    /// A string without escapes: its content stands there as it is.
    Plain,
    /// A string with escapes.
    Escaped,
    Number,
    /// An object, an array, `true`, `false` or `null`.
    Other,
}

/// Where a value stands in the text. Of a string, its content without the quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    start: u32,
    end: u32,
    kind: Kind,
}

impl Place {
    fn new(start: usize, end: usize, kind: Kind) -> Self {
        // No text is so long that this cuts anything off.
        Self { start: start as u32, end: end as u32, kind }
    }

    pub(crate) fn kind(self) -> Kind {
        self.kind
    }

    pub(crate) fn is_absent(self) -> bool {
        self.kind == Kind::Absent
    }

    pub(crate) fn start(self) -> usize {
        self.start as usize
    }

    pub(crate) fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// Where it begins within an object that it is in, and its length: 31 bits each.
    pub(crate) fn within(self, object: Self) -> (u32, u32) {
        (self.start.saturating_sub(object.start), self.end.saturating_sub(self.start))
    }

    /// The value's JSON, byte for byte; `None` when it is absent.
    pub(crate) fn raw(self, text: &str) -> Option<&str> {
        let (start, end) = (self.start as usize, self.end as usize);
        match self.kind {
            Kind::Absent => None,
            Kind::Plain | Kind::Escaped => text.get(start.checked_sub(1)?..end + 1),
            Kind::Number | Kind::Other => text.get(start..end),
        }
    }

    /// The value as text, as [`super::text`] reads it.
    pub(crate) fn text(self, text: &str) -> Option<Cow<'_, str>> {
        match self.kind {
            Kind::Plain | Kind::Number => text.get(self.start as usize..self.end as usize).map(Cow::Borrowed),
            Kind::Escaped => super::string(self.raw(text)?),
            Kind::Absent | Kind::Other => None,
        }
    }

    /// The content of a string; `None` for every other value.
    pub(crate) fn string(self, text: &str) -> Option<Cow<'_, str>> {
        if self.kind == Kind::Number { None } else { self.text(text) }
    }
}

/// The name of a member.
#[derive(Clone, Copy)]
pub(crate) struct Name<'a> {
    /// What stands between the quotes.
    written: &'a [u8],
    escaped: bool,
}

impl<'a> Name<'a> {
    /// The name as bytes, because a peer may write names that are not Unicode.
    pub(crate) fn bytes(self) -> Cow<'a, [u8]> {
        if self.escaped { Cow::Owned(unescape(self.written)) } else { Cow::Borrowed(self.written) }
    }

    /// What the name stands for, by a function that knows all the names that are looked for.
    #[inline(always)]
    pub(crate) fn find<T>(self, known: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        if self.escaped { known(&unescape(self.written)) } else { known(self.written) }
    }
}

/// Rare, and nothing that is looked for needs it: names are written plainly by whoever means no harm.
#[cold]
fn unescape(written: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(written.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(written);
    quoted.push(b'"');
    // It was validated: it cannot fail.
    super::bytes(&quoted).unwrap_or_default()
}

/// Goes through a text that is one object, as [`Scan::object`] does.
#[inline]
pub(crate) fn object<'a>(
    text: &'a str,
    member: impl FnMut(&mut Scan<'a>, Name<'a>) -> Result<(), NotJson>,
) -> Result<(), NotObject> {
    let mut scan = Scan::new(text)?;
    if scan.is_at_object() {
        scan.object(member)?;
        return Ok(scan.end()?);
    }
    scan.value()?;
    scan.end()?;
    Err(NotObject::Type)
}

/// Where the members of a text that is one object stand, as [`Scan::members`] finds them.
pub(crate) fn members<const N: usize>(
    text: &str,
    known: impl Fn(&[u8]) -> Option<usize>,
) -> Result<[Place; N], NotObject> {
    let (mut scan, mut found) = (Scan::new(text)?, [Place::default(); N]);
    let is_object = scan.members(&mut found, known)?;
    scan.end()?;
    if is_object { Ok(found) } else { Err(NotObject::Type) }
}

impl From<NotJson> for NotObject {
    fn from(NotJson: NotJson) -> Self {
        Self::Json
    }
}

/// A text that is being gone through.
///
/// It is small and copied on purpose: what is rare takes a copy and returns it, so that what is frequent keeps its own in
/// registers.
#[derive(Clone, Copy)]
pub(crate) struct Scan<'a> {
    /// What is ahead.
    rest: &'a [u8],
    /// Bytes of the whole text.
    len: usize,
}

impl<'a> Scan<'a> {
    /// At the first byte of the text that is not white space.
    pub(crate) fn new(text: &'a str) -> Result<Self, NotJson> {
        let mut scan = Self { rest: text.as_bytes(), len: text.len() };
        scan.next();
        if text.len() < TOO_LONG { Ok(scan) } else { Err(NotJson) }
    }

    /// At an object or array of a text that was gone through already.
    pub(crate) fn from(text: &'a str, place: Place) -> Option<Self> {
        let rest = text.as_bytes().get(place.start()..).filter(|_| place.kind == Kind::Other)?;
        Some(Self { rest, len: text.len() })
    }

    /// Whether an object begins here.
    pub(crate) fn is_at_object(&self) -> bool {
        self.rest.first() == Some(&b'{')
    }

    /// Whether an array begins here.
    pub(crate) fn is_at_array(&self) -> bool {
        self.rest.first() == Some(&b'[')
    }

    /// How many bytes are behind.
    #[inline]
    pub(crate) fn at(&self) -> usize {
        self.len - self.rest.len()
    }

    /// Where the object stands, or the array, that has just been gone through and began there.
    pub(crate) fn since(&self, start: usize) -> Place {
        Place::new(start, self.at(), Kind::Other)
    }

    /// Nothing but white space may follow.
    pub(crate) fn end(mut self) -> Result<(), NotJson> {
        self.next();
        if self.rest.is_empty() { Ok(()) } else { Err(NotJson) }
    }

    /// Skips white space, and tells the byte behind it: zero at the end, which is no JSON either.
    #[inline(always)]
    fn next(&mut self) -> u8 {
        loop {
            match self.rest {
                [byte, ..] if *byte > b' ' => return *byte,
                [b' ' | b'\n' | b'\t' | b'\r', after @ ..] => self.rest = after,
                [byte, ..] => return *byte,
                [] => return 0,
            }
        }
    }

    /// Goes over one byte.
    #[inline(always)]
    fn step(&mut self) {
        if let [_, after @ ..] = self.rest {
            self.rest = after;
        }
    }

    /// Goes over so many bytes.
    #[inline(always)]
    fn skip(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }

    /// Goes through the object that begins here. `member` is called in front of each value, and goes over it.
    #[inline(always)]
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Name<'a>) -> Result<(), NotJson>,
    ) -> Result<(), NotJson> {
        self.step();
        if self.next() == b'}' {
            self.step();
            return Ok(());
        }
        loop {
            let name = self.name()?;
            member(self, name)?;
            self.next();
            match self.rest {
                [b',', after @ ..] => self.rest = after,
                [b'}', after @ ..] => {
                    self.rest = after;
                    return Ok(());
                }
                _ => return Err(NotJson),
            }
        }
    }

    /// Goes over the value that begins here. If it is an object, which is what is returned, `found` is where those of its
    /// members stand that are looked for, of repeated ones the last; if not, all are absent. `known` numbers their names.
    #[inline(always)]
    pub(crate) fn members<const N: usize>(
        &mut self,
        found: &mut [Place; N],
        known: impl Fn(&[u8]) -> Option<usize>,
    ) -> Result<bool, NotJson> {
        *found = [Place::default(); N];
        if !self.is_at_object() {
            self.value()?;
            return Ok(false);
        }
        self.object(|scan, name| {
            let number = name.find(&known);
            let place = scan.value()?;
            if let Some(slot) = number.and_then(|number| found.get_mut(number)) {
                *slot = place;
            }
            Ok(())
        })?;
        Ok(true)
    }

    /// Goes through the array that begins here. `element` is called in front of each value, and goes over it.
    pub(crate) fn array(&mut self, mut element: impl FnMut(&mut Self) -> Result<(), NotJson>) -> Result<(), NotJson> {
        self.step();
        if self.next() == b']' {
            self.step();
            return Ok(());
        }
        loop {
            self.next();
            element(self)?;
            let byte = self.next();
            self.step();
            match byte {
                b',' => {}
                b']' => return Ok(()),
                _ => return Err(NotJson),
            }
        }
    }

    /// A member's name, its colon, and white space around them.
    #[inline(always)]
    fn name(&mut self) -> Result<Name<'a>, NotJson> {
        self.next();
        let rest = self.rest;
        if let [b'"', inside @ ..] = rest
            && let Some((written, [b':', after @ ..])) = run::short(inside)
        {
            self.rest = after;
            self.next();
            return Ok(Name { written, escaped: false });
        }
        let (scan, name) = self.any_name()?;
        *self = scan;
        Ok(name)
    }

    /// A name that is long, or has escapes, or white space behind it.
    #[inline(never)]
    fn any_name(mut self) -> Result<(Self, Name<'a>), NotJson> {
        let before = self.rest;
        let escaped = match before {
            [b'"', ..] => self.string()?,
            _ => return Err(NotJson),
        };
        let written = before.get(1..before.len() - self.rest.len() - 1).unwrap_or_default();
        if self.next() != b':' {
            return Err(NotJson);
        }
        self.step();
        self.next();
        Ok((self, Name { written, escaped }))
    }

    /// Goes over the value that begins here.
    #[inline(always)]
    pub(crate) fn value(&mut self) -> Result<Place, NotJson> {
        let rest = self.rest;
        if let [b'"', inside @ ..] = rest
            && let Some((written, after)) = run::short(inside)
        {
            let start = self.at() + 1;
            self.rest = after;
            return Ok(Place::new(start, start + written.len(), Kind::Plain));
        }
        let (scan, place) = self.any_value()?;
        *self = scan;
        Ok(place)
    }

    /// A value that is no string, or one that is long or has escapes.
    #[inline(never)]
    fn any_value(mut self) -> Result<(Self, Place), NotJson> {
        let start = self.at();
        let place = match self.rest.first() {
            Some(b'"') => {
                let kind = if self.string()? { Kind::Escaped } else { Kind::Plain };
                Place::new(start + 1, self.at() - 1, kind)
            }
            Some(b'{' | b'[') => {
                self.nested()?;
                self.since(start)
            }
            _ => {
                let kind = self.scalar()?;
                Place::new(start, self.at(), kind)
            }
        };
        Ok((self, place))
    }

    /// Goes over a number, `true`, `false` or `null`.
    fn scalar(&mut self) -> Result<Kind, NotJson> {
        let (length, kind) = match self.rest {
            [b'n', b'u', b'l', b'l', ..] | [b't', b'r', b'u', b'e', ..] => (4, Kind::Other),
            [b'f', b'a', b'l', b's', b'e', ..] => (5, Kind::Other),
            rest => (number(rest).ok_or(NotJson)?, Kind::Number),
        };
        self.skip(length);
        Ok(kind)
    }

    /// Goes over a string, from its opening quote to behind its closing one. Whether it has escapes.
    fn string(&mut self) -> Result<bool, NotJson> {
        self.step();
        let mut escaped = false;
        loop {
            self.skip(run::long(self.rest));
            match self.rest {
                [b'"', after @ ..] => {
                    self.rest = after;
                    return Ok(escaped);
                }
                [b'\\', after @ ..] => {
                    escaped = true;
                    self.rest = after;
                    self.escape()?;
                }
                _ => return Err(NotJson),
            }
        }
    }

    /// Goes over an escape, behind its backslash. Of `\u`, whether the code is one of Unicode matters to nobody who skips
    /// it.
    fn escape(&mut self) -> Result<(), NotJson> {
        self.rest = match self.rest {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', after @ ..] => after,
            [b'u', a, b, c, d, after @ ..] if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) => after,
            _ => return Err(NotJson),
        };
        Ok(())
    }

    /// Goes over an object or an array, however deep, without recursion.
    fn nested(&mut self) -> Result<(), NotJson> {
        let mut nesting = Nesting::default();
        loop {
            // Here a value begins.
            match self.rest.first() {
                Some(b'"') => {
                    self.string()?;
                }
                Some(open @ (b'{' | b'[')) => {
                    let is_object = *open == b'{';
                    self.step();
                    nesting.enter(is_object);
                    if self.next() != close(is_object) {
                        if is_object {
                            self.name()?;
                        }
                        continue;
                    }
                    self.step();
                    nesting.leave();
                }
                _ => {
                    self.scalar()?;
                }
            }
            // Here one has ended, and maybe what it is in.
            loop {
                let Some(is_object) = nesting.innermost() else { return Ok(()) };
                let byte = self.next();
                self.step();
                if byte == b',' {
                    if is_object {
                        self.name()?;
                    } else {
                        self.next();
                    }
                    break;
                }
                if byte != close(is_object) {
                    return Err(NotJson);
                }
                nesting.leave();
            }
        }
    }
}

fn close(is_object: bool) -> u8 {
    if is_object { b'}' } else { b']' }
}

/// The length of the number that the text begins with.
fn number(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| text.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(text.first() == Some(&b'-'));
    at += match (text.get(at), digits(at)) {
        (_, 0) => return None,
        (Some(b'0'), 2..) => return None,
        (_, count) => count,
    };
    if text.get(at) == Some(&b'.') {
        at += match digits(at + 1) {
            0 => return None,
            count => 1 + count,
        };
    }
    if let Some(b'e' | b'E') = text.get(at) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        at += match digits(at + 1 + sign) {
            0 => return None,
            count => 1 + sign + count,
        };
    }
    Some(at)
}

/// What is open: a bit for each level, so that a megabyte of brackets takes an eighth of it. The first 64 levels take no
/// memory of the heap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nesting {
    /// Whether objects: the innermost level is the lowest bit.
    bits: u64,
    /// Levels, those in `outer` included.
    depth: usize,
    /// 64 levels each, the outermost first.
    outer: Vec<u64>,
}

impl Nesting {
    /// Memory on the heap, in bytes.
    pub(crate) fn capacity(&self) -> usize {
        self.outer.capacity() * size_of::<u64>()
    }

    pub(crate) fn enter(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.bits);
        }
        self.bits = self.bits << 1 | u64::from(is_object);
        self.depth += 1;
    }

    pub(crate) fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.bits >>= 1;
        if self.depth.is_multiple_of(64)
            && let Some(bits) = self.outer.pop()
        {
            self.bits = bits;
        }
    }

    /// Whether the innermost level is an object; `None` when nothing is open.
    pub(crate) fn innermost(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.bits & 1 == 1)
    }
}

#[cfg(test)]
mod tests;
