//! Who may link (CONN-1, CONN-2).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::redact;
use crate::time::Now;
use crate::token::{self, Secret, TokenRefused};

/// A gateway whose token was verified. Only [`authenticate`] and a host without authentication make one: never a frame
/// (CONN-2).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GatewayId(String);

impl GatewayId {
    /// Names a gateway without any proof: for a host that does not authenticate, and for names from its configuration.
    pub fn unverified(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why an upgrade is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The upgrade carried no bearer token.
    #[error("no token")]
    NoToken,
    /// Nothing is stored for the id that the token claims.
    #[error("the gateway is not known")]
    UnknownGateway,
    /// The token holds, and the gateway is revoked (CONN-6).
    #[error("the gateway is revoked")]
    Revoked,
    /// The token does not hold.
    #[error(transparent)]
    Token(#[from] TokenRefused),
}

impl Refusal {
    /// The close code. The upgrade is accepted as a WebSocket and closed with it, because that is what gateways
    /// understand (CONN-1).
    pub const CLOSE_CODE: u16 = 4401;

    /// The close reason: `expired`, else `unauthorized`. A stranger does not learn which ids are known.
    pub fn close_reason(self) -> &'static str {
        match self {
            Self::NoToken | Self::UnknownGateway | Self::Revoked => "unauthorized",
            Self::Token(refused) => refused.close_reason(),
        }
    }
}

/// Verifies the bearer token of an upgrade against the stored secrets of the id in it (CONN-1).
///
/// `secrets` looks up the rotation list of an id; nothing is verified about the id at that point. `None`, like an empty
/// list, lets nobody in.
///
/// # Errors
/// [`Refusal`] says why; accept the WebSocket and close it with [`Refusal::CLOSE_CODE`] and
/// [`Refusal::close_reason`].
pub fn authenticate(
    bearer: Option<&str>,
    secrets: impl FnOnce(&str) -> Option<Vec<Secret>>,
    now: Now,
) -> Result<GatewayId, Refusal> {
    let token = bearer.ok_or(Refusal::NoToken)?;
    let claimed = token::peek_id(token).ok_or(Refusal::Token(TokenRefused::Malformed))?;
    let secrets = secrets(&claimed).ok_or(Refusal::UnknownGateway)?;
    Ok(GatewayId(token::verify(token, &secrets, now.unix)?))
}

/// A text that a gateway wrote, such as a close reason, as it may stand in events and logs: without pieces of these tokens and
/// secrets of it (TOKEN-3).
pub fn without_credentials<'a>(text: &str, credentials: impl IntoIterator<Item = &'a Secret>) -> String {
    let credentials: Vec<&str> = credentials.into_iter().map(Secret::text).collect();
    let signatures: Vec<_> = credentials.iter().map(|token| token::signature_of(token)).collect();
    let signatures = signatures.iter().map(|signature| signature.as_str());
    redact::without(text, credentials.iter().copied().chain(signatures))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const NOW: Now = Now { monotonic: core::time::Duration::ZERO, unix: 1_800_000_000 };

    // proves: TOKEN-3
    #[test]
    fn what_a_gateway_says_is_shown_without_its_credentials() {
        let token = token::mint("gw", &"exactly8".into(), 300, NOW.unix);
        let signature = token.signature().to_ascii_uppercase();
        let bearer = Secret::new(token.as_str());
        let secret = Secret::new("exactly8");
        let hide = |text: &str| without_credentials(text, [&bearer, &secret]);
        assert_eq!(hide("bye"), "bye");
        assert_eq!(hide(&alloc::format!("bad: {}!", &token.as_str()[1..])), "bad: ***!");
        assert_eq!(hide(&alloc::format!("bad: {}!", &signature[3..])), "bad: ***!");
        assert_eq!(hide("myexactly8s"), "my***s");
    }

    fn stored(id: &str) -> Option<Vec<Secret>> {
        match id {
            "gw:1" => Some(vec!["old".into(), "new".into()]),
            "gw-none" => Some(vec![]),
            _ => None,
        }
    }

    fn upgrade(id: &str, secret: &str, minted_at: u64) -> Result<GatewayId, Refusal> {
        let token = token::mint(id, &secret.into(), 300, minted_at);
        authenticate(Some(token.as_str()), stored, NOW)
    }

    // proves: CONN-1, CONN-2
    #[test]
    fn any_secret_of_the_claimed_id_lets_that_id_in() {
        for secret in ["old", "new"] {
            let id = upgrade("gw:1", secret, NOW.unix).unwrap();
            assert_eq!((id.as_str(), &*id.to_string()), ("gw:1", "gw:1"));
        }
    }

    // proves: CONN-1
    #[test]
    fn every_refusal_closes_with_4401_and_a_reason_that_gateways_understand() {
        let refused = |result: Result<GatewayId, Refusal>| {
            let refusal = result.unwrap_err();
            (refusal, refusal.close_reason())
        };
        let bad = Refusal::Token(TokenRefused::BadSignature);
        assert_eq!(refused(authenticate(None, stored, NOW)), (Refusal::NoToken, "unauthorized"));
        assert_eq!(refused(upgrade("stranger", "old", NOW.unix)), (Refusal::UnknownGateway, "unauthorized"));
        assert_eq!(refused(upgrade("gw-none", "old", NOW.unix)), (bad, "unauthorized"));
        assert_eq!(refused(upgrade("gw:1", "wrong", NOW.unix)), (bad, "unauthorized"));
        assert_eq!(refused(upgrade("gw:1", "wrong", 0)), (bad, "unauthorized"));
        let expired = Refusal::Token(TokenRefused::Expired);
        assert_eq!(refused(upgrade("gw:1", "old", NOW.unix - 301)), (expired, "expired"));
        let malformed = Refusal::Token(TokenRefused::Malformed);
        assert_eq!(refused(authenticate(Some("gw:1"), stored, NOW)), (malformed, "unauthorized"));
        assert_eq!((Refusal::CLOSE_CODE, Refusal::Revoked.close_reason()), (4401, "unauthorized"));
    }
}
