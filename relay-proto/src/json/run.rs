//! How far a JSON string goes on with nothing special in it, many bytes at a time.

/// Bytes that are looked at together once a string turned out to be long.
const WIDE: usize = 32;
/// From how many bytes on a string is long.
const LONG: usize = 32;

/// The first place from `from` on where a quote, a backslash or a control character stands; the end when there is none.
#[inline]
pub(super) fn end(text: &[u8], from: usize) -> usize {
    let mut at = from;
    let mut rest = text.get(from..).unwrap_or_default();
    // Names and ids are shorter than two words, mostly.
    while let Some((word, after)) = rest.split_first_chunk() {
        let found = special(u64::from_le_bytes(*word));
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        (at, rest) = (at + 8, after);
        if at - from == LONG {
            at = skip_wide(text, at);
            rest = text.get(at..).unwrap_or_default();
        }
    }
    at + rest.iter().take_while(|byte| !is_special(**byte)).count()
}

fn is_special(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

/// The highest bit of every byte of the word that is special, in little-endian order. Bits above the lowest one that is
/// set may be wrong, since a difference borrows from the byte above.
fn special(word: u64) -> u64 {
    const EACH: u64 = u64::MAX / 255;
    let zeroes = |word: u64| word.wrapping_sub(EACH) & !word;
    let quotes = zeroes(word ^ (EACH * b'"' as u64));
    let backslashes = zeroes(word ^ (EACH * b'\\' as u64));
    let controls = word.wrapping_sub(EACH * 0x20) & !word;
    (quotes | backslashes | controls) & (EACH * 0x80)
}

/// Skips stretches that have nothing special in them. Compilers make vector instructions of it.
#[inline(never)]
fn skip_wide(text: &[u8], from: usize) -> usize {
    let mut at = from;
    let mut rest = text.get(from..).unwrap_or_default();
    while let Some((chunk, after)) = rest.split_first_chunk::<WIDE>() {
        if chunk.iter().fold(false, |any, byte| any | is_special(*byte)) {
            break;
        }
        (at, rest) = (at + WIDE, after);
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn every_byte_is_told_apart_at_every_place() {
        for length in [1, 7, 8, 9, 31, 32, 33, 40, 41, 63, 64, 65, 71, 72, 73, 96, 130] {
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    let mut text = vec![b'x'; length];
                    text[place] = byte;
                    let expected = if is_special(byte) { place } else { length };
                    assert_eq!(end(&text, 0), expected, "byte {byte} at {place} of {length}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn it_stops_where_looking_at_each_byte_stops(text: Vec<u8>, from in 0usize..40) {
            let from = from.min(text.len());
            let expected = from + text[from..].iter().take_while(|byte| !is_special(**byte)).count();
            prop_assert_eq!(end(&text, from), expected);
        }

        #[test]
        fn also_in_long_texts(
            text in proptest::collection::vec(prop_oneof![40 => 0x20u8.., 1 => any::<u8>()], 0..300),
        ) {
            let expected = text.iter().take_while(|byte| !is_special(**byte)).count();
            prop_assert_eq!(end(&text, 0), expected);
        }
    }
}
