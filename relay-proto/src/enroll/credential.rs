//! Secrets that travel.

use alloc::string::String;
use core::fmt;

use zeroize::Zeroizing;

use crate::token::Secret;

/// The longest credential that fits into a request.
const MAX_BYTES: usize = 8 << 10;

/// A secret that is sent, or written down, as it is: an identity token, an enrolment token, or what was granted. Wiped
/// from memory when dropped; never printed (TOKEN-3).
///
/// A [`Secret`] is for signing alone, so that nobody can read it back out. This one can be read, by
/// [`expose`](Self::expose), and turned into a [`Secret`].
#[derive(Clone, PartialEq, Eq)]
pub struct Credential(Zeroizing<String>);

impl Credential {
    /// Takes it without the white space around it, which files and variables often have.
    pub fn new(text: impl Into<String>) -> Self {
        let text = Zeroizing::new(text.into());
        Self(if text.trim().len() == text.len() { text } else { Zeroizing::new(text.trim().into()) })
    }

    /// Its text.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    pub fn is_blank(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it can stand in a header field: visible ASCII, at most 8 KiB.
    pub(super) fn is_sendable(&self) -> bool {
        !self.is_blank() && self.0.len() <= MAX_BYTES && self.0.bytes().all(|byte| byte.is_ascii_graphic())
    }

    /// Whether it comes back unchanged out of an environment variable: no control characters, at most 8 KiB.
    pub(super) fn is_keepable(&self) -> bool {
        !self.is_blank() && self.0.len() <= MAX_BYTES && !self.0.chars().any(char::is_control)
    }
}

impl From<String> for Credential {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Credential {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<&Credential> for Secret {
    fn from(credential: &Credential) -> Self {
        Self::new(credential.expose())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(***)")
    }
}
