//! What connectors say.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use core::fmt;

use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::credential::Credential;
use super::error::EnrollError;
use super::service::MAX_ID;
use crate::redact;

/// What a connector grants to a gateway that enrolled or was provisioned. It says so once.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Granted {
    /// The gateway's id, as the connector knows it.
    pub gateway_id: String,
    /// The secret that its dials are signed with (TOKEN-1).
    pub secret: Credential,
    /// The key that the connector's own HTTP requests are signed with. Links do not need it.
    pub delivery_key: Option<Credential>,
    /// Whose gateway the connector takes it for.
    pub tenant: Option<String>,
}

impl Granted {
    /// A grant without anything that is optional.
    pub fn new(gateway_id: impl Into<String>, secret: impl Into<Credential>) -> Self {
        Self { gateway_id: gateway_id.into(), secret: secret.into(), delivery_key: None, tenant: None }
    }

    /// As a connector answers it. The text holds the secret.
    pub fn to_json(&self) -> Zeroizing<String> {
        let quoted = |text: &str| Zeroizing::new(serde_json::to_string(text).unwrap_or_default());
        let optional = |text: Option<&str>| text.map_or_else(|| Zeroizing::new("null".into()), quoted);
        let secret = quoted(self.secret.expose());
        let key = optional(self.delivery_key.as_ref().map(Credential::expose));
        let (tenant, id) = (optional(self.tenant.as_deref()), quoted(&self.gateway_id));
        let parts =
            ["{\"secret\":", &secret, ",\"deliveryKey\":", &key, ",\"tenant\":", &tenant, ",\"gatewayId\":", &id, "}"];
        // All at once, so that no copy is left behind by growing.
        Zeroizing::new(parts.concat())
    }

    /// Reads an answer to the gateway of this id, which sent these secrets.
    pub(super) fn read(body: &[u8], asked: &str, sent: &[&str]) -> Result<Self, EnrollError> {
        let members = members(body).ok_or(EnrollError::NotJson)?;
        let secret = credential(&members, "secret").ok_or(EnrollError::NoSecret)?;
        if secret.is_blank() {
            return Err(EnrollError::NoSecret);
        }
        let gateway_id = text(&members, "gatewayId").filter(|id| !id.is_empty()).unwrap_or_else(|| asked.into());
        if gateway_id != asked {
            let secrets = [sent, &[secret.expose()]].concat();
            return Err(EnrollError::OtherGateway { gateway: clean(&gateway_id, &secrets) });
        }
        let delivery_key = credential(&members, "deliveryKey").filter(|key| !key.is_blank());
        let tenant = text(&members, "tenant").filter(|tenant| !tenant.trim().is_empty());
        let keepable = |text: &str| text.len() <= MAX_ID && !text.chars().any(char::is_control);
        if !secret.is_keepable()
            || delivery_key.as_ref().is_some_and(|key| !key.is_keepable())
            || tenant.as_deref().is_some_and(|tenant| !keepable(tenant))
        {
            return Err(EnrollError::UnusableSecret);
        }
        Ok(Self { gateway_id, secret, delivery_key, tenant })
    }
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted")
            .field("gateway_id", &self.gateway_id)
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

pub(super) type Members<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// The members of an object; of two with one name the last counts.
pub(super) fn members(body: &[u8]) -> Option<Members<'_>> {
    serde_json::from_slice(body).ok()
}

/// A text, if it is one.
pub(super) fn text(members: &Members<'_>, name: &str) -> Option<String> {
    serde_json::from_str(members.get(name)?.get()).ok()
}

/// A text that is a secret.
pub(super) fn credential(members: &Members<'_>, name: &str) -> Option<Credential> {
    let text = Zeroizing::new(text(members, name)?);
    Some(Credential::new(text.as_str()))
}

/// The `error` of an answer, in the connector's words, without these secrets.
pub(super) fn complaint(body: &[u8], secrets: &[&str]) -> String {
    let error = members(body).and_then(|members| text(&members, "error"));
    error.map(|error| clean(&error, secrets)).unwrap_or_default()
}

/// A peer's text, fit for a terminal and a log.
pub(super) fn clean(text: &str, secrets: &[&str]) -> String {
    const MAX_CHARS: usize = 200;
    // First, since a secret with a space in it could come out of that.
    let mut text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text = redact::without(&text, secrets.iter().copied());
    let shown = text.char_indices().nth(MAX_CHARS).and_then(|(end, _)| text.get(..end)).unwrap_or(&text);
    shown.trim().to_string()
}
