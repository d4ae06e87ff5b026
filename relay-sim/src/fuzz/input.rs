//! Reading decisions off the bytes that a fuzzer made.

/// The bytes that are left. Everything can be read off an empty input, as zeros, so that every input means something.
#[derive(Clone)]
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let (byte, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *byte
    }

    /// Two bytes, the higher one first.
    pub(crate) fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// Eight bytes.
    pub(crate) fn long(&mut self) -> u64 {
        (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    /// Up to `n` bytes.
    pub(crate) fn take(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Bytes, after one that says how many.
    pub(crate) fn piece(&mut self) -> &'a [u8] {
        let n = self.byte();
        self.take(n.into())
    }

    /// Bytes up to the next newline, or all of them.
    pub(crate) fn line(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == b'\n').unwrap_or(self.0.len());
        let line = self.take(end);
        self.take(1);
        line
    }

    /// The same as text; what is not UTF-8 becomes U+FFFD.
    pub(crate) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.line()).into_owned()
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// Cuts `bytes` into pieces whose lengths `sizes` gives, over and over. No sizes, or only zeros: one piece.
pub(crate) fn pieces<'a>(mut bytes: &'a [u8], sizes: &[u8]) -> Vec<&'a [u8]> {
    let sizes: Vec<usize> = sizes.iter().map(|size| usize::from(*size)).filter(|size| *size > 0).collect();
    let mut pieces = Vec::new();
    let mut at = 0;
    while !bytes.is_empty() {
        let size = sizes.get(at % sizes.len().max(1)).copied().unwrap_or(usize::MAX);
        let (piece, rest) = bytes.split_at(size.min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
        at += 1;
    }
    pieces
}

/// Messages of peers that write text which is no frame (FRAME-2).
pub(crate) const STRANGE: [&[u8]; 10] =
    [b"ping", b"[1,2]", b"<html>", b"5", b"\xef\xbb\xbf", b"\xef", b"\0", b"{}{}", b"{\"type\":", b"}\n\0"];

/// A frame as peers write it that end no lines, glue frames together, or put byte order marks and NULs around them.
pub(crate) fn unterminated(how: u8, frame: &str) -> Vec<u8> {
    match how % 6 {
        0 => frame.into(),
        1 => format!("\u{feff}{frame}\0").into(),
        2 => format!("{frame}{frame}").into(),
        3 => format!("{frame}\0\r\n\u{feff} {frame}").into(),
        4 => format!("{frame}ping").into(),
        _ => format!("ping{frame}").into(),
    }
}
