//! The bodies of requests.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use serde_json::{Map, Value};

/// Which messages a gateway wants to be bothered with, on one platform (POLICY-1). A connector replaces what it was told
/// before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// The platform: `discord`, `telegram`, …
    pub platform: String,
    /// Whether a message has to address the bot, by a mention or a reply.
    pub require_address: bool,
    /// The scopes and channels where it need not.
    pub free_response_scopes: Vec<String>,
    /// Whether messages of other bots are wanted.
    pub allow_other_bots: bool,
}

impl Policy {
    /// That of a platform from which everything is wanted but what other bots write.
    pub fn new(platform: impl Into<String>) -> Self {
        Self { platform: platform.into(), ..Self::default() }
    }

    /// As it is sent.
    pub fn to_json(&self) -> String {
        let mut object = Map::new();
        object.insert("platform".into(), self.platform.as_str().into());
        object.insert("requireAddress".into(), self.require_address.into());
        object.insert("freeResponseScopes".into(), self.free_response_scopes.clone().into());
        object.insert("allowOtherBots".into(), self.allow_other_bots.into());
        Value::Object(object).to_string()
    }
}

/// What a gateway asserts of itself when it is provisioned (ENROLL-6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Provision {
    /// The gateway's id.
    pub gateway_id: String,
    /// The platform that it fronts.
    pub platform: String,
    /// Its bot there. May be empty.
    pub bot_id: String,
    /// Where it can be reached over HTTP. Empty: nowhere, as is usual.
    pub gateway_endpoint: String,
    /// The scopes, chats or paths that are routed to its owner. They need an endpoint.
    pub route_keys: Vec<String>,
    /// The instance of the gateway, for connectors that route by it.
    pub instance_id: Option<String>,
    /// What the connector asks for, to wake a gateway that sleeps.
    pub wake_url: Option<String>,
}

impl Provision {
    /// A gateway with this id that fronts this bot.
    pub fn new(gateway_id: impl Into<String>, platform: impl Into<String>, bot_id: impl Into<String>) -> Self {
        Self { gateway_id: gateway_id.into(), platform: platform.into(), bot_id: bot_id.into(), ..Self::default() }
    }

    /// As it is sent.
    pub fn to_json(&self) -> String {
        let mut object = Map::new();
        object.insert("gatewayId".into(), self.gateway_id.as_str().into());
        object.insert("platform".into(), self.platform.as_str().into());
        object.insert("botId".into(), self.bot_id.as_str().into());
        object.insert("gatewayEndpoint".into(), self.gateway_endpoint.as_str().into());
        object.insert("routeKeys".into(), self.route_keys.clone().into());
        for (name, value) in [("instanceId", &self.instance_id), ("wakeUrl", &self.wake_url)] {
            if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                object.insert(name.into(), value.as_str().into());
            }
        }
        Value::Object(object).to_string()
    }
}
