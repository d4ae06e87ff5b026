//! Questions with buttons, and their answers.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use sha2::{Digest as _, Sha256};

use crate::action::Action;
use crate::frame::{Content, MessageEvent, RawJson};
use crate::json::{self, push_field, push_string};

/// A question with options to press. The answer comes as a message whose [`prompt_response`](MessageEvent::prompt_response)
/// names the question and the option.
///
/// ```
/// use relay_proto::chat::{ButtonStyle, Prompt};
///
/// let prompt = Prompt::new("Deploy?").styled("yes", "Deploy", ButtonStyle::Danger).option("no", "Leave it");
/// assert_eq!(prompt.check(), Ok(()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    question: String,
    kind: PromptKind,
    /// Each with the comma before it.
    options: String,
    ids: Vec<String>,
    timeout_seconds: Option<u64>,
}

/// What a prompt is for: a hint at how to show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PromptKind {
    /// One of several things. The default.
    #[default]
    Choice,
    /// Whether something may be done.
    Approval,
    /// What was meant.
    Clarify,
}

/// How a button looks, where the platform can show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)] // The names say it.
pub enum ButtonStyle {
    Primary,
    Success,
    Danger,
    Secondary,
}

/// What is wrong with a prompt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadPrompt {
    /// There is nothing to press.
    #[error("a prompt needs an option")]
    NoOption,
    /// An option's id cannot be carried by a button.
    #[error("the option id `{0}` is not 1 to 32 of A-Z, a-z, 0-9, `_`, `.` and `-`")]
    OptionId(String),
    /// Two options have this id.
    #[error("the option id `{0}` is there twice")]
    Repeated(String),
}

impl Prompt {
    /// A question without options yet.
    pub fn new(question: impl Into<String>) -> Self {
        Self {
            question: question.into(),
            kind: PromptKind::default(),
            options: String::new(),
            ids: Vec::new(),
            timeout_seconds: None,
        }
    }

    /// Adds an option. Its id comes back in the answer: 1 to 32 of `A-Z`, `a-z`, `0-9`, `_`, `.` and `-`.
    #[must_use]
    pub fn option(self, id: &str, label: &str) -> Self {
        self.push(id, label, None)
    }

    /// Adds an option whose button looks so.
    #[must_use]
    pub fn styled(self, id: &str, label: &str, style: ButtonStyle) -> Self {
        self.push(id, label, Some(style))
    }

    /// What it is for.
    #[must_use]
    pub fn kind(mut self, kind: PromptKind) -> Self {
        self.kind = kind;
        self
    }

    /// How long the answer is of use, for the connector's information: whoever asked decides.
    #[must_use]
    pub fn timeout_seconds(mut self, seconds: u64) -> Self {
        self.timeout_seconds = Some(seconds);
        self
    }

    fn push(mut self, id: &str, label: &str, style: Option<ButtonStyle>) -> Self {
        self.options.push_str(",{\"id\":");
        push_string(&mut self.options, id);
        push_field(&mut self.options, "label", label);
        if let Some(style) = style {
            push_field(&mut self.options, "style", style.as_str());
        }
        self.options.push('}');
        self.ids.push(id.to_owned());
        self
    }

    /// Whether it can be asked.
    ///
    /// # Errors
    /// [`BadPrompt`]: what is wrong with its options.
    pub fn check(&self) -> Result<(), BadPrompt> {
        if self.ids.is_empty() {
            return Err(BadPrompt::NoOption);
        }
        for (at, id) in self.ids.iter().enumerate() {
            if !is_token(id) {
                return Err(BadPrompt::OptionId(id.clone()));
            }
            if self.ids.iter().take(at).any(|other| other == id) {
                return Err(BadPrompt::Repeated(id.clone()));
            }
        }
        Ok(())
    }

    /// The action that asks it in a chat. `prompt_id` names it in the answer: see [`PromptIds`].
    pub fn to_action(&self, chat_id: &str, prompt_id: &str) -> Action {
        let options = format!("[{}]", self.options.strip_prefix(',').unwrap_or_default());
        let action = Action::new("prompt")
            .field("chat_id", chat_id)
            .field("content", &self.question)
            .field("prompt_kind", self.kind.as_str())
            .field("prompt_id", prompt_id)
            .json_field("options", &RawJson::trusted(options));
        match self.timeout_seconds {
            Some(seconds) => action.json_field("timeout_s", &RawJson::trusted(format!("{seconds}"))),
            None => action,
        }
    }
}

impl PromptKind {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Choice => "choice",
            Self::Approval => "approval",
            Self::Clarify => "clarify",
        }
    }
}

impl ButtonStyle {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Success => "success",
            Self::Danger => "danger",
            Self::Secondary => "secondary",
        }
    }
}

/// Names prompts. A press reaches every gateway of its owner, so each gateway's ids begin with a mark of its own. It may also
/// come after a restart: what knows its mark again knows its prompts again.
#[derive(Clone, Debug)]
pub struct PromptIds {
    /// Of 24 bits.
    mark: u32,
    next: u32,
}

impl PromptIds {
    /// Ids with a mark made of this, of which 24 bits count. `first`: where their numbers begin, at random, so that they are
    /// not those of an earlier process.
    pub fn new(mark: u32, first: u32) -> Self {
        Self { mark: mark & 0xFF_FFFF, next: first }
    }

    /// Ids with the mark of a gateway's id (CHAT-4).
    pub fn of_gateway(gateway_id: &str, first: u32) -> Self {
        let [a, b, c, ..] = <[u8; 32]>::from(Sha256::digest(gateway_id.as_bytes()));
        Self::new(u32::from_be_bytes([0, a, b, c]), first)
    }

    /// The next id.
    pub fn mint(&mut self) -> String {
        let id = format!("{:06x}.{:08x}", self.mark, self.next);
        self.next = self.next.wrapping_add(1);
        id
    }

    /// Whether this gateway made the id.
    pub fn is_own(&self, prompt_id: &str) -> bool {
        prompt_id.split_once('.').is_some_and(|(mark, _)| mark == format!("{:06x}", self.mark))
    }
}

/// Which option of a prompt was pressed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PromptResponse {
    /// The prompt.
    pub prompt_id: String,
    /// The option.
    pub option_id: String,
    /// What its button says, if the connector knows.
    pub label: Option<String>,
    /// The message with the buttons, if the connector knows: what to edit once the answer is there.
    pub prompt_message_id: Option<String>,
}

impl PromptResponse {
    /// Reads what a button carries: `hp1:{prompt}:{option}`. `None` for a button that is none of a prompt's.
    pub fn from_token(token: &str, prompt_message_id: Option<&str>) -> Option<Self> {
        let (prompt_id, option_id) = token.strip_prefix("hp1:")?.split_once(':')?;
        (is_token(prompt_id) && is_token(option_id)).then(|| Self {
            prompt_id: prompt_id.to_owned(),
            option_id: option_id.to_owned(),
            label: None,
            prompt_message_id: prompt_message_id.map(ToOwned::to_owned),
        })
    }
}

impl MessageEvent {
    /// Which option of which prompt was pressed, when that is what the message says. Its text is then only a stand-in for
    /// gateways that know no prompts: `/` and the option's id.
    pub fn prompt_response(&self) -> Option<PromptResponse> {
        let [response] = json::members(self.raw(), &["prompt_response"]).ok()?;
        let names = ["prompt_id", "option_id", "label", "prompt_message_id"];
        let texts = json::members(response?.get(), &names).ok()?;
        let [prompt_id, option_id, label, prompt_message_id] =
            texts.map(|field| field.and_then(json::text).filter(|text| !text.is_empty()).map(|text| text.into_owned()));
        Some(PromptResponse { prompt_id: prompt_id?, option_id: option_id?, label, prompt_message_id })
    }
}

impl Content {
    /// Which option of which prompt was pressed, when that is what the delivery says: on most platforms as a message, on
    /// Discord as an interaction.
    pub fn prompt_response(&self) -> Option<PromptResponse> {
        match self {
            Self::Message(message) => message.prompt_response(),
            Self::Passthrough(forward) => forward.interaction()?.ok()?.prompt_response(),
            Self::Undecodable(_) => None,
        }
    }
}

/// Whether it fits into what a button carries.
fn is_token(id: &str) -> bool {
    (1..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves: CHAT-4
    #[test]
    fn a_prompt_is_asked_with_its_options() {
        let prompt = Prompt::new("Go \"on\"?").kind(PromptKind::Approval).timeout_seconds(60);
        let prompt = prompt.styled("yes", "Yes", ButtonStyle::Success).option("no.1", "No\n");
        assert_eq!(
            prompt.to_action("c", "00002a.00000000").to_json().as_str(),
            concat!(
                r#"{"op":"prompt","chat_id":"c","content":"Go \"on\"?","prompt_kind":"approval","#,
                r#""prompt_id":"00002a.00000000","options":[{"id":"yes","label":"Yes","style":"success"},"#,
                r#"{"id":"no.1","label":"No\n"}],"timeout_s":60}"#
            )
        );
    }

    // proves: CHAT-4
    #[test]
    fn what_no_button_can_carry_is_no_option() {
        assert_eq!(Prompt::new("?").check(), Err(BadPrompt::NoOption));
        for id in ["", "a b", "a:b", "ü", &"x".repeat(33)] {
            assert_eq!(Prompt::new("?").option(id, "l").check(), Err(BadPrompt::OptionId(id.into())));
        }
        let twice = Prompt::new("?").option("a", "1").option("a", "2");
        assert_eq!(twice.check(), Err(BadPrompt::Repeated("a".into())));
        assert_eq!(Prompt::new("?").option(&"x".repeat(32), "l").check(), Ok(()));
    }

    // proves: CHAT-4
    #[test]
    fn ids_tell_whose_they_are_and_fit_into_a_button() {
        let (mut own, other) = (PromptIds::new(0xFFAB_CDEF, u32::MAX), PromptIds::new(1, 0));
        let ids = [own.mint(), own.mint()];
        assert_eq!(ids, ["abcdef.ffffffff", "abcdef.00000000"]);
        assert!(ids.iter().all(|id| own.is_own(id) && !other.is_own(id) && is_token(id)));
        assert!(!own.is_own("abcdef") && !own.is_own(""));
        // The tightest platform takes 64 bytes.
        assert!(format!("hp1:{}:{}", ids[0], "x".repeat(32)).len() <= 64);
    }

    // proves: CHAT-4
    #[test]
    fn a_gateway_knows_its_prompts_after_a_restart_and_makes_others() {
        let (mut before, mut after) = (PromptIds::of_gateway("gw-1", 7), PromptIds::of_gateway("gw-1", 8));
        let (old, new) = (before.mint(), after.mint());
        assert!(after.is_own(&old) && old != new);
        assert!(!PromptIds::of_gateway("gw-2", 7).is_own(&old));
    }

    // proves: CHAT-4
    #[test]
    fn answers_are_read_and_halves_of_them_are_none() {
        let response = |json: &str| {
            MessageEvent::parse(&format!(r#"{{"text":"/yes","prompt_response":{json}}}"#)).unwrap().prompt_response()
        };
        let full = response(r#"{"prompt_id":"p.1","option_id":"yes","label":"Yes","prompt_message_id":9}"#).unwrap();
        assert_eq!((&*full.prompt_id, &*full.option_id), ("p.1", "yes"));
        assert_eq!((full.label.as_deref(), full.prompt_message_id.as_deref()), (Some("Yes"), Some("9")));
        for none in ["null", "[]", "\"yes\"", "{}", r#"{"prompt_id":"p"}"#, r#"{"prompt_id":"p","option_id":""}"#] {
            assert_eq!(response(none), None, "{none}");
        }
        let token = PromptResponse::from_token("hp1:p.1:yes", Some("9")).unwrap();
        assert_eq!(PromptResponse { label: None, ..full }, token);
        for none in ["", "hp1", "hp1:p", "hp1:p:", "hp1::o", "hp2:p:o", "hp1:p:o:x", "hp1:p:a b"] {
            assert_eq!(PromptResponse::from_token(none, None), None, "{none}");
        }
    }
}
