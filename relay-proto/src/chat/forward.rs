//! What a conversation asks of a passthrough forward.

use alloc::string::String;

use super::origin::Origin;
use super::{Interaction, InteractionError};
use crate::frame::PassthroughForward;
use crate::json;

impl PassthroughForward {
    /// The Discord interaction that was forwarded; `None` for another platform, whose forwards stay as they are.
    ///
    /// A malformed one is an error to report; the delivery can be acknowledged like any other, and has to be, or it comes
    /// again.
    pub fn interaction(&self) -> Option<Result<Interaction, InteractionError>> {
        self.discord_body().map(|body| body.and_then(Interaction::parse))
    }

    /// Where the Discord interaction happened, if it is one, without reading the rest of it.
    pub(super) fn origin(&self) -> Option<Origin> {
        self.discord_body()?.and_then(Origin::parse).ok()
    }

    fn discord_body(&self) -> Option<Result<&[u8], InteractionError>> {
        let is_discord = crate::frame::platform(&self.platform) == "discord";
        is_discord.then(|| if self.body_undecodable { Err(InteractionError::NoBody) } else { Ok(&*self.body) })
    }

    /// The agent's profile that the forward is routed to.
    pub fn profile(&self) -> Option<String> {
        let [profile] = json::members(self.raw.as_str(), &["profile"]).ok()?;
        profile.and_then(json::text).filter(|profile| !profile.is_empty()).map(|profile| profile.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(json: &str) -> PassthroughForward {
        PassthroughForward::parse(json).unwrap()
    }

    // proves: CHAT-7
    #[test]
    fn only_discord_forwards_are_interactions() {
        // {"type":2,"id":"1"}
        let body = r#""bodyB64":"eyJ0eXBlIjoyLCJpZCI6IjEifQ==""#;
        let discord = forward(&alloc::format!(r#"{{"platform":"Discord",{body},"profile":"ops"}}"#));
        assert_eq!(discord.interaction().unwrap().unwrap().id.as_deref(), Some("1"));
        assert_eq!(discord.profile().as_deref(), Some("ops"));
        assert!(forward(&alloc::format!(r#"{{"platform":"twilio",{body}}}"#)).interaction().is_none());
        assert!(forward(&alloc::format!("{{{body}}}")).interaction().is_none());
    }

    // proves: CHAT-7
    #[test]
    fn a_malformed_interaction_says_what_is_wrong() {
        let error = |body: &str| {
            forward(&alloc::format!(r#"{{"platform":"discord","bodyB64":{body}}}"#)).interaction().unwrap().unwrap_err()
        };
        assert_eq!(error("\"A\""), InteractionError::NoBody);
        assert_eq!(error("\"\""), InteractionError::NotJson);
        assert_eq!(error("\"W10=\""), InteractionError::NotAnObject);
    }
}
