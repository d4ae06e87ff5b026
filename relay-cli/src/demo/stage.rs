//! The two sides of a demo, on loopback.

use std::fmt::Display;
use std::time::Duration;

use relay_connector::{self as connector, Connector};
use relay_proto::frame::{Descriptor, RawJson};
use relay_proto::target::Target;
use relay_tokio::{Config, Gateway, Timing};

use super::Failure;

/// The id under which the connector knows the gateway.
pub(super) const ID: &str = "demo";
/// The chat that everything happens in.
pub(super) const CHAT: &str = "c1";

/// A connector with one registered gateway, and that gateway, dialling.
pub(super) struct Stage {
    pub(super) connector: Connector,
    pub(super) connector_events: connector::Events,
    pub(super) gateway: Gateway,
    pub(super) events: relay_tokio::Events,
}

impl Stage {
    pub(super) async fn set() -> Result<Self, Failure> {
        let listener =
            tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(story("cannot listen on loopback"))?;
        let secret = secret()?;
        let mut discord = Descriptor::new("discord");
        discord.label = "Discord".into();
        discord.max_message_length = 2000;
        discord.markdown_dialect = "discord".into();
        discord.supports_edit = true;
        let config = connector::Config::new().gateway(ID, secret.as_str()).descriptor(discord);
        let (connector, connector_events) =
            connector::serve(listener, config).map_err(story("the connector does not start"))?;
        let (gateway, events) = relay_tokio::connect(dials(&connector).credentials(ID, secret))
            .map_err(story("the gateway does not start"))?;
        Ok(Self { connector, connector_events, gateway, events })
    }

    /// The gateway, as the connector sees it.
    pub(super) fn peer(&self) -> connector::Gateway {
        self.connector.gateway(ID)
    }

    pub(super) fn url(&self) -> String {
        let url = format!("http://{}", self.connector.address());
        Target::parse(&url).map_or(url, |target| target.url().to_owned())
    }
}

/// A configuration that dials the connector, without credentials yet, and does not take long to dial again.
pub(super) fn dials(connector: &Connector) -> Config {
    let mut timing = Timing::default();
    timing.backoff_initial = Duration::from_millis(200);
    Config::new(format!("http://{}", connector.address())).identity("discord", "bot-1").timing(timing)
}

/// What somebody writes into the chat.
pub(super) fn message(author: &str, id: u64, text: &str) -> Result<RawJson, Failure> {
    let quoted = |text: &str| serde_json::to_string(text).map_err(story("a text cannot be written"));
    RawJson::parse(&format!(
        r#"{{"text":{},"message_id":"m{id}","source":{{"platform":"discord","chat_id":"{CHAT}","chat_type":"dm","user_id":{author},"user_name":{author}}}}}"#,
        quoted(text)?,
        author = quoted(author)?,
    ))
    .map_err(story("a message cannot be written"))
}

/// The result of a request that was carried out.
pub(super) fn delivered(message_id: &str) -> Result<RawJson, Failure> {
    RawJson::parse(&format!(r#"{{"success":true,"message_id":"{message_id}"}}"#)).map_err(story("a result"))
}

/// A secret that nobody has seen, and nobody will.
fn secret() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(story("no randomness for a secret"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Turns an error into a failure of the story.
pub(super) fn story<E: Display>(what: &'static str) -> impl FnOnce(E) -> Failure {
    move |error| Failure::Story(format!("{what}: {error}"))
}
