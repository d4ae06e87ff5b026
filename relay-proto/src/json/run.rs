//! How far a JSON string goes on with nothing special in it, many bytes at a time.

/// Bytes that are looked at together once a string turned out to be long.
const WIDE: usize = 32;

/// The bytes before the closing quote, and those behind it, of a string that is short and has no escapes; `text` begins
/// behind its opening quote.
#[inline(always)]
pub(super) fn short(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut run, mut rest) = (0, text);
    // Names and ids are shorter than two words, mostly.
    while run < WIDE
        && let Some((word, after)) = rest.split_first_chunk()
    {
        let word = u64::from_le_bytes(*word);
        let found = special(word);
        if found != 0 {
            let bits = found.trailing_zeros() & !7;
            let more = (bits / 8) as usize;
            return if (word >> bits) as u8 == b'"' {
                Some((text.get(..run + more)?, rest.get(more + 1..)?))
            } else {
                None
            };
        }
        (run, rest) = (run + 8, after);
    }
    None
}

/// How many bytes there are before the first quote, backslash or control character, or the end.
pub(crate) fn long(text: &[u8]) -> usize {
    let (mut run, mut rest) = (0, text);
    while let Some((chunk, after)) = rest.split_first_chunk::<WIDE>() {
        // Compilers make vector instructions of this.
        let found = chunk.map(|byte| u8::from(byte == b'"') | u8::from(byte == b'\\') | u8::from(byte < 0x20));
        if found.iter().fold(0, |any, byte| any | byte) != 0 {
            break;
        }
        (run, rest) = (run + WIDE, after);
    }
    while let Some((word, after)) = rest.split_first_chunk() {
        let found = special(u64::from_le_bytes(*word));
        if found != 0 {
            return run + (found.trailing_zeros() / 8) as usize;
        }
        (run, rest) = (run + 8, after);
    }
    run + rest.iter().take_while(|byte| !is_special(**byte)).count()
}

fn is_special(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

/// The highest bit of every byte of the word that is special, in little-endian order. Bits above the lowest one that is
/// set may be wrong, since a difference borrows from the byte above.
fn special(word: u64) -> u64 {
    const EACH: u64 = u64::MAX / 255;
    // With the second bit flipped, a quote is next to the control characters.
    let low = (word ^ (EACH * 0x02)).wrapping_sub(EACH * 0x21);
    let backslash = (word ^ (EACH * b'\\' as u64)).wrapping_sub(EACH);
    (low | backslash) & !word & (EACH * 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// The run of a string, as the scanner looks for it.
    fn run(text: &[u8]) -> usize {
        let Some((run, behind)) = short(text) else { return long(text) };
        assert_eq!((text[run.len()], &text[run.len() + 1..]), (b'"', behind));
        run.len()
    }

    fn one_by_one(text: &[u8]) -> usize {
        text.iter().take_while(|byte| !is_special(**byte)).count()
    }

    #[test]
    fn every_byte_is_told_apart_at_every_place() {
        for length in [1, 7, 8, 9, 31, 32, 33, 40, 41, 63, 64, 65, 71, 72, 73, 96, 130] {
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    let mut text = vec![b'x'; length];
                    text[place] = byte;
                    let expected = if is_special(byte) { place } else { length };
                    assert_eq!((run(&text), long(&text)), (expected, expected), "byte {byte} at {place} of {length}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn it_stops_where_looking_at_each_byte_stops(
            text in prop_oneof![
                any::<Vec<u8>>(),
                proptest::collection::vec(prop_oneof![40 => 0x20u8.., 1 => any::<u8>()], 0..300),
            ],
        ) {
            prop_assert_eq!((run(&text), long(&text)), (one_by_one(&text), one_by_one(&text)));
        }
    }
}
