//! Certificates by their SHA-256.

use core::{fmt, str::FromStr};

use sha2::{Digest, Sha256};

/// The SHA-256 of a certificate's DER, by which a connector's certificate can be pinned.
///
/// Reads and shows itself as `openssl x509 -noout -fingerprint -sha256` does: hexadecimal, a colon between bytes. When
/// reading, colons may be missing, letters may be small, and `sha256:` may stand in front.
///
/// ```
/// use relay_proto::wire::Fingerprint;
///
/// let text = "9F:86:D0:81:88:4C:7D:65:9A:2F:EA:A0:C5:5A:D0:15:A3:BF:4F:1B:2B:0B:82:2C:D1:5D:6C:15:B0:F0:0A:08";
/// let fingerprint: Fingerprint = text.parse().unwrap();
/// assert_eq!(fingerprint.to_string(), text);
/// assert_eq!(Fingerprint::of(b"test"), fingerprint);
/// assert_eq!(text.replace(':', "").to_lowercase().parse(), Ok(fingerprint));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// That of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }

    /// From the hash itself.
    pub fn from_bytes(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The hash itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The text is no SHA-256: 64 hexadecimal digits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAFingerprint;

impl fmt::Display for NotAFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a SHA-256 fingerprint: 64 hexadecimal digits, with or without colons between the bytes")
    }
}

impl std::error::Error for NotAFingerprint {}

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let text = text.trim();
        let text = match text.split_at_checked(7) {
            Some((prefix, rest)) if prefix.eq_ignore_ascii_case("sha256:") => rest,
            _ => text,
        };
        let mut hash = [0; 32];
        let mut rest = text;
        for (at, byte) in hash.iter_mut().enumerate() {
            if at > 0 {
                rest = rest.strip_prefix(':').unwrap_or(rest);
            }
            let (digits, after) = rest.split_at_checked(2).ok_or(NotAFingerprint)?;
            // The parser of integers takes a sign, too.
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(NotAFingerprint);
            }
            *byte = u8::from_str_radix(digits, 16).map_err(|_| NotAFingerprint)?;
            rest = after;
        }
        if rest.is_empty() { Ok(Self(hash)) } else { Err(NotAFingerprint) }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let colon = if at > 0 { ":" } else { "" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
