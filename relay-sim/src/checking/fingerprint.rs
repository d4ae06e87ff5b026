//! Names a state by what its `Debug` shows.
//!
//! The machines are opaque, but their `Debug` shows every field. Two states whose text is the same, but for what only
//! counts and decides nothing, behave alike; states that behave alike may still differ in their text, which makes a
//! search longer and not wrong.

use std::fmt::{self, Debug, Write as _};

/// Two lanes of folded multiplication, with different constants.
#[derive(Clone, Copy)]
struct Lanes(u64, u64);

impl Lanes {
    fn word(&mut self, word: u64) {
        self.0 = fold(self.0 ^ word, 0x9e37_79b9_7f4a_7c15).wrapping_add(0x2545_f491_4f6c_dd1d);
        self.1 = fold(self.1 ^ word, 0xd6e8_feb8_6659_fd93).wrapping_add(0xbf58_476d_1ce4_e5b9);
    }

    fn text(&mut self, text: &[u8]) {
        let mut chunks = text.chunks_exact(8);
        for chunk in &mut chunks {
            self.word(u64::from_le_bytes(chunk.try_into().unwrap()));
        }
        let mut last = [0; 8];
        last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
        // The length keeps what is padded apart from what ends in zeros.
        self.word(u64::from_le_bytes(last) ^ (text.len() as u64) << 56);
    }
}

fn fold(word: u64, by: u64) -> u64 {
    let product = u128::from(word) * u128::from(by);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Collects the text, and leaves fields out. A derived `Debug` writes the name of a field, and what goes before it, each
/// in one piece; should that change, the test below fails.
struct Reader<'a> {
    kept: String,
    without: &'a [&'a str],
    /// Whether a name may follow.
    between: bool,
    /// Within a field that is left out: the brackets and the quotes that are open.
    leaving: Option<Open>,
}

#[derive(Clone, Copy, Default)]
struct Open {
    depth: u32,
    quoted: bool,
    escaped: bool,
}

impl Open {
    /// Takes in a piece. From where on it is no part of the value, if it is not all of it.
    fn end(&mut self, piece: &str) -> Option<usize> {
        for (at, byte) in piece.bytes().enumerate() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.quoted => self.escaped = true,
                b'"' => self.quoted = !self.quoted,
                _ if self.quoted => {}
                b',' | b'}' | b')' | b']' if self.depth == 0 => return Some(at),
                b'{' | b'(' | b'[' => self.depth += 1,
                b'}' | b')' | b']' => self.depth -= 1,
                _ => {}
            }
        }
        None
    }
}

impl fmt::Write for Reader<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let mut piece = piece;
        if let Some(open) = &mut self.leaving {
            let Some(end) = open.end(piece) else { return Ok(()) };
            self.leaving = None;
            piece = &piece[end..];
        } else if self.between && self.without.contains(&piece) {
            self.leaving = Some(Open::default());
            return Ok(());
        }
        self.between = piece == ", " || piece == " { ";
        self.kept.push_str(piece);
        Ok(())
    }
}

/// The fingerprint of the `Debug` of a value, without the fields of these names, at whatever depth they are.
pub fn of(value: &impl Debug, without: &[&str]) -> u128 {
    let kept = String::with_capacity(8 << 10);
    let mut reader = Reader { kept, without, between: false, leaving: None };
    write!(reader, "{value:?}").unwrap();
    let mut lanes = Lanes(1, 2);
    lanes.text(reader.kept.as_bytes());
    u128::from(lanes.0) << 64 | u128::from(lanes.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    #[expect(dead_code, reason = "read by Debug")]
    struct Inner {
        stats: Vec<(u8, &'static str)>,
        kept: u8,
    }

    fn state(kept: u8, stats: Vec<(u8, &'static str)>) -> (u8, Inner) {
        (1, Inner { stats, kept })
    }

    #[test]
    fn fields_left_out_make_no_difference_and_all_others_do() {
        let print = |kept, stats| of(&state(kept, stats), &["stats"]);
        let one = print(3, vec![]);
        assert_eq!(one, print(3, vec![(7, "}, \" kept: 9 {"), (8, "\\")]));
        assert_ne!(one, print(4, vec![]));
        assert_ne!(of(&state(3, vec![]), &[]), of(&state(3, vec![(7, "")]), &[]));
    }
}
