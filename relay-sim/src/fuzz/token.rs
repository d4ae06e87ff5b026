//! Tokens: what is minted verifies, what was changed does not, and nothing shows a secret.

use relay_proto::token::{self, Secret, TokenRefused};

use super::input::Input;

/// A byte for the kind, a line with a secret, and then a token as it comes in; or: time and TTL, a change to make, a line
/// with another secret, and the rest is the id.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let text = input.text();
    let secret = Secret::new(text.as_str());
    assert_eq!(format!("{secret:?}"), "Secret(***)");
    if kind & 1 == 0 {
        return any(&String::from_utf8_lossy(input.rest()), &secret);
    }
    let now = if kind & 2 == 0 { 1_800_000_000 } else { input.long() };
    let ttl = if kind & 4 == 0 { u64::from(input.byte()) } else { input.long() };
    let (place, other_byte) = (usize::from(input.short()), input.byte());
    let other = Secret::new(input.text());
    minted(&String::from_utf8_lossy(input.rest()), &text, &secret, &other, ttl, now, (place, other_byte));
}

/// Whatever comes in is refused by everybody alike, or belongs to the id that it claims.
fn any(text: &str, secret: &Secret) {
    let claimed = token::peek_id(text);
    let secrets = [Secret::new(" "), secret.clone()];
    for now in [0, 1_800_000_000, u64::MAX] {
        match token::verify(text, &secrets, now) {
            Ok(id) => assert_eq!(Some(&id), claimed.as_ref()),
            Err(TokenRefused::Malformed) => assert_eq!(claimed, None),
            Err(refused) => {
                assert!(claimed.is_some(), "{refused:?}");
                let shown = format!("{refused} {refused:?} {}", refused.close_reason());
                assert!(text.len() < 16 || !shown.contains(text), "{shown}");
            }
        }
        assert!(token::verify(text, &secrets[..1], now).is_err(), "a blank secret opened something");
    }
}

fn minted(
    id: &str,
    secret_text: &str,
    secret: &Secret,
    other: &Secret,
    ttl: u64,
    now: u64,
    (place, byte): (usize, u8),
) {
    let token = token::mint(id, secret, ttl, now);
    assert!(token.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    assert_eq!(token.expires_at(), (ttl > 0 && now.saturating_add(ttl) > 0).then(|| now.saturating_add(ttl)));
    let shown = format!("{token:?}");
    assert!(!shown.contains(token.as_str()));
    assert_eq!(token::peek_id(token.as_str()).as_deref(), Some(id));
    let verify = |text: &str, secret: &Secret, now| token::verify(text, std::slice::from_ref(secret), now);
    if secret.is_blank() {
        assert_eq!(verify(token.as_str(), secret, now), Err(TokenRefused::BadSignature), "{secret_text:?}");
        return;
    }
    assert_eq!(verify(token.as_str(), secret, now).as_deref(), Ok(id));
    if let Some(last) = token.expires_at() {
        assert_eq!(verify(token.as_str(), secret, last).as_deref(), Ok(id), "in the last second");
        if let Some(late) = last.checked_add(1) {
            assert!(token.is_expired(late));
            assert_eq!(verify(token.as_str(), secret, late), Err(TokenRefused::Expired));
        }
    }
    // HMAC itself pads a key with zeros, so that these two are one key.
    let zeroless = |secret: &Secret| token::mint("", secret, 0, 0);
    if zeroless(other).as_str() != zeroless(secret).as_str() {
        assert_eq!(verify(token.as_str(), other, now), Err(TokenRefused::BadSignature));
    }

    let mut changed = token.as_str().as_bytes().to_vec();
    let place = place % changed.len();
    changed[place] = byte & 0x7f;
    let changed = String::from_utf8(changed).unwrap();
    if verify(&changed, secret, now).is_ok() {
        assert_eq!(meaning(&changed), meaning(token.as_str()), "{changed} verifies");
    }
    let cut = &token.as_str()[..place];
    assert!(verify(cut, secret, now).is_err(), "{cut} verifies");
}

/// What a token says: its decoded bytes, with the signature, whose digits may have either case, in lower case.
fn meaning(token: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut out, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for byte in token.trim_end_matches('=').bytes() {
        let digit = DIGITS.iter().position(|digit| *digit == byte).expect("base64url");
        bits = bits << 6 | u32::try_from(digit).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    let signature = out.len().saturating_sub(64);
    out[signature..].make_ascii_lowercase();
    out
}
