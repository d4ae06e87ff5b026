//! Upgrade tokens (TOKEN-1, TOKEN-2, TOKEN-3).
//!
//! A gateway mints a token for each dial and sends it as `Authorization: Bearer …`; a connector looks up the secrets of
//! the id in it ([`peek_id`]) and then lets them decide ([`verify`]).
//!
//! ```
//! use relay_proto::token::{self, Secret, TokenRefused};
//!
//! let (old, new) = (Secret::new("winter"), Secret::new("spring"));
//! let token = token::mint("gw-1", &new, 300, 1_800_000_000);
//! assert_eq!(token::verify(token.as_str(), &[old.clone(), new.clone()], 1_800_000_300).unwrap(), "gw-1");
//! assert_eq!(token::verify(token.as_str(), &[new], 1_800_000_301), Err(TokenRefused::Expired));
//! assert_eq!(token::verify(token.as_str(), &[old], 1_800_000_301), Err(TokenRefused::BadSignature));
//! ```

use alloc::string::String;
use core::fmt::{self, Write as _};

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Writes no padding. Reads with and without it, and does not look at the unused bits of the last character: other
/// peers' decoders do neither, and the signature covers what was decoded.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A shared secret of a gateway and its connector. Wiped from memory when dropped; never printed (TOKEN-3).
///
/// Wiped is the copy held here. Whoever makes a `Secret` from a `&str` still owns the original.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the secret as it is. Nothing is trimmed: white space at the ends is part of the key.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(Zeroizing::new(secret.into()))
    }

    /// Whether the secret is empty or only white space, which counts as no secret at all (DIAL-2): a gateway then dials
    /// without credentials, and [`verify`] never accepts it.
    pub fn is_blank(&self) -> bool {
        self.0.trim().is_empty()
    }

    /// Whether it may be found by guessing: it has fewer than 16 bytes, or fewer than 6 different ones. A connector lets
    /// strangers guess only so often (CONN-8), but whoever has seen a token can guess as often as they like.
    pub fn is_weak(&self) -> bool {
        let bytes = self.0.as_bytes();
        let different = bytes.iter().enumerate().filter(|(at, byte)| !bytes.iter().take(*at).any(|seen| seen == *byte));
        bytes.len() < 16 || different.take(6).count() < 6
    }

    /// Its text, to be looked for in what peers say (TOKEN-3).
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    fn mac(&self, message: &str) -> Option<Hmac<Sha256>> {
        // HMAC takes keys of any length, so that this is never `None`.
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()).ok()?;
        mac.update(message.as_bytes());
        Some(mac)
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self::new(secret)
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        Self::new(secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// A minted token: a credential until it expires. Wiped when dropped; Debug shows the expiry alone (TOKEN-3).
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    text: Zeroizing<String>,
    expires_at: Option<u64>,
}

impl Token {
    /// The text to send after `Bearer `. Holds only letters, digits, `-` and `_`, whatever the id and the secret are.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The signature that is in it, which a peer may show that decodes tokens (TOKEN-3). What precedes it is no secret.
    pub(crate) fn signature(&self) -> Zeroizing<String> {
        signature_of(&self.text)
    }

    /// The last second, in unix time, at which the token is good. `None`: it never expires.
    pub fn expires_at(&self) -> Option<u64> {
        self.expires_at
    }

    /// Whether the token is past its expiry at `unix_now` (AUTH-3). In the second of the expiry itself it is still good.
    pub fn is_expired(&self, unix_now: u64) -> bool {
        self.expires_at.is_some_and(|exp| unix_now > exp)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Why a token was refused (TOKEN-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TokenRefused {
    /// Not base64url of `id:exp:sig` in UTF-8 with a plain decimal `exp`.
    #[error("the token is malformed")]
    Malformed,
    /// Signed with one of the secrets, and past its expiry. Never reported for a token that was not: a gateway takes
    /// `expired` as "try again with a fresh token" (AUTH-2), which a gateway with a wrong secret must not be told,
    /// however its clock runs, and a stranger learns nothing from expiries made up.
    #[error("the token has expired")]
    Expired,
    /// No secret of the list made the signature. A list that is empty or holds only blank secrets ends here, too.
    #[error("the token was not signed with a known secret")]
    BadSignature,
}

impl TokenRefused {
    /// The reason a connector closes with, next to code 4401: `expired`, else `unauthorized` (CONN-1).
    pub fn close_reason(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Malformed | Self::BadSignature => "unauthorized",
        }
    }

    /// `malformed`, `expired` or `bad_signature`, for logs and command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Expired => "expired",
            Self::BadSignature => "bad_signature",
        }
    }
}

/// The signature in a token; empty when there is none.
pub(crate) fn signature_of(token: &str) -> Zeroizing<String> {
    let decoded = Zeroizing::new(decode(token).unwrap_or_default());
    Zeroizing::new(decoded.rsplit_once(':').map_or("", |(_, signature)| signature).into())
}

/// Mints a token for `id`, good up to and including the second `unix_now + ttl_seconds` (TOKEN-1). A TTL of 0 makes a
/// token that never expires.
///
/// Blank secrets are the caller's to refuse beforehand ([`Secret::is_blank`]): what they sign, no peer accepts.
pub fn mint(id: &str, secret: &Secret, ttl_seconds: u64, unix_now: u64) -> Token {
    let exp = if ttl_seconds == 0 { 0 } else { unix_now.saturating_add(ttl_seconds) };
    // Room for the decimal expiry, two colons and the signature, so that no copy is left behind by growing.
    let mut raw = Zeroizing::new(String::with_capacity(id.len() + 20 + 2 + 64));
    raw.push_str(id);
    // Writing to a String cannot fail.
    let _ = write!(raw, ":{exp}");
    if let Some(mac) = secret.mac(&raw) {
        raw.push(':');
        for byte in mac.finalize().into_bytes() {
            let _ = write!(raw, "{byte:02x}");
        }
    }
    Token { text: Zeroizing::new(BASE64.encode(raw.as_bytes())), expires_at: (exp != 0).then_some(exp) }
}

/// Verifies a token against a rotation list of secrets and returns the id it was minted for (TOKEN-2).
///
/// Any secret of the list will do; blank ones are skipped. Signatures are compared in constant time. The signature is
/// taken over the bytes of `id:exp` in the token, and `exp` must be written one way only: digits, no sign, no leading
/// zero. An expiry beyond 64 bits is one that never comes.
///
/// # Errors
/// See [`TokenRefused`]; send [`TokenRefused::close_reason`] on to the gateway.
pub fn verify(token: &str, secrets: &[Secret], unix_now: u64) -> Result<String, TokenRefused> {
    let decoded = decode(token).ok_or(TokenRefused::Malformed)?;
    let parts = Parts::split(&decoded).ok_or(TokenRefused::Malformed)?;
    let sig = unhex(parts.sig).ok_or(TokenRefused::BadSignature)?;
    let signed = secrets
        .iter()
        .filter(|secret| !secret.is_blank())
        .filter_map(|secret| secret.mac(parts.signed))
        .any(|mac| mac.verify_slice(&sig).is_ok());
    if !signed {
        return Err(TokenRefused::BadSignature);
    }
    if parts.exp != 0 && unix_now > parts.exp {
        return Err(TokenRefused::Expired);
    }
    Ok(parts.id.into())
}

/// The id a token *claims*, to look up the secrets to verify it with. `None` if it is malformed.
///
/// **Nothing is verified.** Anyone can write any id. Only what [`verify`] returns says who the peer is.
pub fn peek_id(token: &str) -> Option<String> {
    let decoded = decode(token)?;
    Parts::split(&decoded).map(|parts| parts.id.into())
}

fn decode(token: &str) -> Option<String> {
    String::from_utf8(BASE64.decode(token).ok()?).ok()
}

/// `{id}:{exp}:{sig}`, split from the right, since an id may hold colons.
struct Parts<'a> {
    id: &'a str,
    exp: u64,
    sig: &'a str,
    /// `{id}:{exp}`, as it stands in the token.
    signed: &'a str,
}

impl<'a> Parts<'a> {
    fn split(decoded: &'a str) -> Option<Self> {
        let (signed, sig) = decoded.rsplit_once(':')?;
        let (id, exp) = signed.rsplit_once(':')?;
        let plain = !exp.is_empty() && exp.bytes().all(|b| b.is_ascii_digit()) && (exp == "0" || !exp.starts_with('0'));
        // Digits alone fail to parse only when they are too many.
        plain.then(|| Self { id, exp: exp.parse().unwrap_or(u64::MAX), sig, signed })
    }
}

/// 64 hexadecimal digits of either case.
fn unhex(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 2 * bytes.len() {
        return None;
    }
    let mut digits = hex.chars().map(|c| c.to_digit(16));
    for byte in &mut bytes {
        *byte = u8::try_from(digits.next()?? << 4 | digits.next()??).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString as _;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000;

    /// A token over exactly these texts, signed properly.
    fn forge(id: &str, exp: &str, secret: &str) -> String {
        let signed = format!("{id}:{exp}");
        let mac = Secret::new(secret).mac(&signed).unwrap().finalize().into_bytes();
        let hex: String = mac.iter().map(|b| format!("{b:02x}")).collect();
        BASE64.encode(format!("{signed}:{hex}"))
    }

    fn check(token: &str, secret: &str) -> Result<String, TokenRefused> {
        verify(token, &[Secret::new(secret)], NOW)
    }

    // proves: CONN-8
    #[test]
    fn what_is_short_or_has_little_in_it_is_weak() {
        for weak in ["", "1234", "fifteen-bytes-!", "aaaaaaaaaaaaaaaaaaaaaaaa", "01230123012301230123", "абвгдеж"]
        {
            assert!(Secret::new(weak).is_weak(), "{weak}");
        }
        for strong in ["sixteen-bytes-!!", "8b1a9953c4611296a827abf8c47804d7", "абвгдежз"] {
            assert!(!Secret::new(strong).is_weak(), "{strong}");
        }
    }

    // proves: TOKEN-2, AUTH-2
    #[test]
    fn expired_is_said_only_of_a_token_that_was_signed() {
        let token = mint("gw", &"k".into(), 300, NOW - 1000);
        assert_eq!(check(token.as_str(), "k"), Err(TokenRefused::Expired));
        assert_eq!(check(token.as_str(), "other"), Err(TokenRefused::BadSignature));
        assert_eq!(verify(token.as_str(), &[], NOW), Err(TokenRefused::BadSignature));
    }

    // proves: TOKEN-1, TOKEN-2
    #[test]
    fn a_token_is_good_in_the_second_of_its_expiry_and_not_after() {
        let secrets = [Secret::new("k")];
        let token = mint("gw", &secrets[0], 300, NOW);
        assert_eq!(token.expires_at(), Some(NOW + 300));
        assert!(!token.is_expired(NOW + 300) && token.is_expired(NOW + 301));
        assert_eq!(verify(token.as_str(), &secrets, NOW + 300).as_deref(), Ok("gw"));
        assert_eq!(verify(token.as_str(), &secrets, NOW + 301), Err(TokenRefused::Expired));
    }

    // proves: TOKEN-1
    #[test]
    fn no_ttl_never_expires_and_a_huge_one_does_not_wrap() {
        let forever = mint("gw", &"k".into(), 0, NOW);
        assert_eq!(forever.expires_at(), None);
        assert!(!forever.is_expired(u64::MAX));
        assert_eq!(verify(forever.as_str(), &["k".into()], u64::MAX).as_deref(), Ok("gw"));
        let huge = mint("gw", &"k".into(), u64::MAX, NOW);
        assert_eq!(huge.expires_at(), Some(u64::MAX));
        assert_eq!(check(huge.as_str(), "k").as_deref(), Ok("gw"));
    }

    // proves: TOKEN-2
    #[test]
    fn the_expiry_is_a_plain_decimal_number() {
        for exp in ["", "+1900000000", " 1900000000", "1900000000 ", "1_900_000_000", "-1", "01900000000", "00", "１"]
        {
            assert_eq!(check(&forge("gw", exp, "k"), "k"), Err(TokenRefused::Malformed), "{exp:?}");
        }
        for exp in ["0", "1900000000", "99999999999999999999999999"] {
            assert_eq!(check(&forge("gw", exp, "k"), "k").as_deref(), Ok("gw"), "{exp:?}");
        }
    }

    // proves: TOKEN-2
    #[test]
    fn padding_is_optional_and_the_alphabet_is_not() {
        // One id for each length of padding; the first byte makes a `-` and the second a `_` in base64url.
        for id in ["\u{3fe}\u{3ff}", "\u{3fe}\u{3ff}1", "\u{3fe}\u{3ff}12"] {
            let token = mint(id, &"k".into(), 300, NOW);
            let text = token.as_str();
            assert!(!text.contains('='));
            let padded = format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4));
            assert_eq!(check(&padded, "k").as_deref(), Ok(id));
            for broken in [format!("{text}===="), format!(" {text}"), format!("{text}\n"), text.replace('-', "+")] {
                assert!(broken == text || check(&broken, "k") == Err(TokenRefused::Malformed), "{broken:?}");
            }
        }
    }

    // proves: TOKEN-2
    #[test]
    fn a_signature_is_64_hexadecimal_digits() {
        let good = mint("gw", &"k".into(), 300, NOW);
        let raw = String::from_utf8(BASE64.decode(good.as_str()).unwrap()).unwrap();
        let (head, sig) = raw.rsplit_once(':').unwrap();
        for sig in
            ["", "00", &sig[..62], &format!("{sig}00"), &format!("{} {}", &sig[..31], &sig[32..]), &"+".repeat(64)]
        {
            assert_eq!(check(&BASE64.encode(format!("{head}:{sig}")), "k"), Err(TokenRefused::BadSignature), "{sig:?}");
        }
        // 64 bytes that are fewer characters.
        assert_eq!(check(&BASE64.encode(format!("{head}:{}", "é".repeat(32))), "k"), Err(TokenRefused::BadSignature));
        assert_eq!(check(&BASE64.encode(format!("{head}:{}", sig.to_uppercase())), "k").as_deref(), Ok("gw"));
    }

    // proves: DIAL-2, TOKEN-2
    #[test]
    fn blank_secrets_open_nothing() {
        for blank in ["", " ", "\t\r\n\u{a0}"] {
            assert!(Secret::new(blank).is_blank());
            assert_eq!(check(mint("gw", &blank.into(), 300, NOW).as_str(), blank), Err(TokenRefused::BadSignature));
        }
        assert!(!Secret::new(" k ").is_blank());
        // White space around a secret is part of it.
        assert_eq!(check(mint("gw", &" k ".into(), 300, NOW).as_str(), "k"), Err(TokenRefused::BadSignature));
    }

    // proves: TOKEN-3
    #[test]
    fn neither_secret_nor_token_is_printed() {
        let secret = Secret::new("hunter2");
        let token = mint("gateway-id", &secret, 300, NOW);
        assert_eq!(format!("{secret:?} {secret:#?}"), "Secret(***) Secret(***)");
        assert_eq!(format!("{token:?}"), "Token { expires_at: Some(1800000300), .. }");
        for refusal in [TokenRefused::Malformed, TokenRefused::Expired, TokenRefused::BadSignature] {
            assert!(!refusal.to_string().is_empty());
        }
    }

    // proves: TOKEN-2
    #[test]
    fn refusals_have_a_wire_reason_and_a_name() {
        let both = |r: TokenRefused| (r.close_reason(), r.name());
        assert_eq!(both(TokenRefused::Malformed), ("unauthorized", "malformed"));
        assert_eq!(both(TokenRefused::Expired), ("expired", "expired"));
        assert_eq!(both(TokenRefused::BadSignature), ("unauthorized", "bad_signature"));
    }

    proptest! {
        // proves: TOKEN-1, TOKEN-2
        #[test]
        fn what_is_minted_verifies(id in any::<String>(), secret in "\\PC*[!-~]", other in "\\PC*", ttl: u32, now: u32) {
            let token = mint(&id, &secret.as_str().into(), ttl.into(), now.into());
            prop_assert!(token.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            prop_assert_eq!(peek_id(token.as_str()), Some(id.clone()));
            let secrets = [Secret::new(""), Secret::new(other.as_str()), Secret::new(secret.as_str())];
            prop_assert_eq!(verify(token.as_str(), &secrets, now.into()), Ok(id));
            prop_assume!(other != secret);
            prop_assert_eq!(verify(token.as_str(), &secrets[..2], now.into()), Err(TokenRefused::BadSignature));
        }

        // proves: TOKEN-2
        #[test]
        fn one_changed_byte_is_refused(at: prop::sample::Index, flip in 1_u8..) {
            let secret = Secret::new("k");
            let mut raw = BASE64.decode(mint("g:w", &secret, 300, NOW).as_str()).unwrap();
            let at = at.index(raw.len());
            raw[at] ^= flip;
            // The case of a hexadecimal digit is not part of the signature.
            prop_assume!(!(flip == 0x20 && at >= raw.len() - 64 && raw[at].is_ascii_alphabetic()));
            prop_assert!(verify(&BASE64.encode(&raw), &[secret], NOW).is_err());
        }

        // proves: TOKEN-2
        #[test]
        fn no_text_panics(token in any::<String>(), inner in any::<Vec<u8>>(), tail in "[0-9:a-f]{0,80}") {
            for token in [token, BASE64.encode(&inner), BASE64.encode([inner.as_slice(), tail.as_bytes()].concat())] {
                let refused = verify(&token, &[Secret::new("k")], NOW);
                prop_assert!(refused.is_err());
                prop_assert_eq!(peek_id(&token).is_none(), refused == Err(TokenRefused::Malformed));
            }
        }
    }
}
