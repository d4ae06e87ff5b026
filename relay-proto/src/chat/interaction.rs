//! Discord interactions: slash commands, buttons and forms that a connector forwards as they came (PASS-1).

use alloc::borrow::{Cow, ToOwned};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde_json::value::RawValue;

use super::origin::Origin;
use super::resolved::Resolved;
use super::{PromptResponse, SessionSource};
use crate::json::{self, NotObject};

/// A forwarded Discord interaction, as much of it as a conversation needs.
///
/// Read leniently, as events are (EVENT-2): numbers are read as text, and a field of a wrong type is absent. An empty
/// text and the number 0 are no identifiers, and count as absent, too.
///
/// What it takes is in proportion to the body it was read from, whatever that says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interaction {
    /// The interaction's id.
    pub id: Option<String>,
    /// What the user did.
    pub kind: InteractionKind,
    /// The name of the command, or the custom id of the component; otherwise empty.
    pub text: String,
    /// Which subcommand of the command: its group, if it has one, and its name.
    pub subcommands: Vec<String>,
    /// What the user put in: options of a command, choices of a select menu, fields of a form.
    pub inputs: Vec<Input>,
    /// The custom id of the component or the form.
    pub custom_id: Option<String>,
    /// The message that the component is on.
    pub message_id: Option<String>,
    /// The channel; empty if there is none.
    pub chat_id: String,
    /// The guild, when the interaction happened in one.
    pub scope_id: Option<String>,
    /// Who acted: the guild member, else the user of a direct message.
    pub user_id: Option<String>,
    /// Their user name.
    pub user_name: Option<String>,
}

/// Something that a user put into an interaction.
///
/// Many inputs may have one name, or be the id of one thing. They share its text, so that a body that says it once does
/// not make a copy for each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Input {
    /// The option's name; of menus and forms, the custom id. All choices of a menu share it.
    pub name: Arc<str>,
    /// The value: text as it is, numbers and truth values as JSON writes them, the ids of users, channels and the like.
    pub value: String,
    /// The name of what the value is the id of. All inputs with that id share it.
    pub resolved: Option<Arc<str>>,
}

/// What kind of interaction it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InteractionKind {
    /// A slash command or context menu entry (type 2).
    Command,
    /// A button or select menu (type 3).
    Component,
    /// A form that was sent in (type 5).
    Modal,
    /// Another type, by Discord's number; 0, which is none of Discord's, if there is no such number.
    Other(u64),
}

/// Why a body is no interaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum InteractionError {
    /// Not JSON in UTF-8.
    #[error("the interaction is not JSON")]
    NotJson,
    /// JSON, but not an object.
    #[error("the interaction is not a JSON object")]
    NotAnObject,
    /// The forward's body could not be decoded (PASS-1).
    #[error("the body of the interaction cannot be decoded")]
    NoBody,
}

impl Interaction {
    /// Reads the body of a forwarded request.
    ///
    /// # Errors
    /// When the body is not a JSON object in UTF-8. Whatever else is wrong with it costs only the field it is wrong in.
    pub fn parse(body: &[u8]) -> Result<Self, InteractionError> {
        let names = ["id", "type", "channel_id", "guild_id", "data", "member", "user", "message"];
        let [id, kind, channel, guild, data, member, user, message] = object(body, &names)?;
        let Origin { chat_id, scope_id, user_id, user_name } = Origin::read([channel, guild, member, user]);
        let kind = InteractionKind::from_number(kind.and_then(|raw| raw.get().parse().ok()).unwrap_or(0));
        let [name, custom_id] = sub_members(data, &["name", "custom_id"]);
        let text = match kind {
            InteractionKind::Command => name,
            InteractionKind::Component => custom_id,
            InteractionKind::Modal | InteractionKind::Other(_) => None,
        };
        let [message_id] = sub_members(message, &["id"]);
        let (mut subcommands, mut inputs) = (Vec::new(), Vec::new());
        match kind {
            InteractionKind::Command => read_options(data, &mut subcommands, &mut inputs),
            InteractionKind::Component => read_choices(data, &mut inputs),
            InteractionKind::Modal => read_form(data, &mut inputs),
            InteractionKind::Other(_) => {}
        }
        Ok(Self {
            id: identifier(id),
            kind,
            text: identifier(text).unwrap_or_default(),
            subcommands,
            inputs,
            custom_id: identifier(custom_id),
            message_id: identifier(message_id),
            chat_id,
            scope_id,
            user_id,
            user_name,
        })
    }

    /// `channel` in a guild, else `dm`.
    pub fn chat_type(&self) -> &'static str {
        if self.scope_id.is_some() { "channel" } else { "dm" }
    }

    /// The input of this name.
    pub fn input(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|input| *input.name == *name)
    }

    /// A command as a user could have typed it: `/model set fast`. `None` for what is no command.
    pub fn command_line(&self) -> Option<String> {
        if self.kind != InteractionKind::Command || self.text.is_empty() {
            return None;
        }
        let mut line = String::from("/");
        line.push_str(&self.text);
        let values = self.inputs.iter().map(|input| &input.value);
        for word in self.subcommands.iter().chain(values).map(|word| word.trim()).filter(|word| !word.is_empty()) {
            line.push(' ');
            line.push_str(word);
        }
        Some(line)
    }

    /// Which option of which [`Prompt`](super::Prompt) was pressed; `None` for another component.
    pub fn prompt_response(&self) -> Option<PromptResponse> {
        let token = self.custom_id.as_deref().filter(|_| self.kind == InteractionKind::Component)?;
        PromptResponse::from_token(token, self.message_id.as_deref())
    }

    /// What the session key is made of. Connectors bind an interaction's follow-up to the key on the platform `relay`,
    /// not `discord`.
    pub fn session_source(&self) -> SessionSource<'_> {
        SessionSource {
            platform: "relay",
            chat_type: self.chat_type(),
            chat_id: &self.chat_id,
            user_id: self.user_id.as_deref(),
            ..SessionSource::default()
        }
    }
}

impl InteractionKind {
    fn from_number(number: u64) -> Self {
        match number {
            2 => Self::Command,
            3 => Self::Component,
            5 => Self::Modal,
            other => Self::Other(other),
        }
    }

    /// Discord's number of the type.
    pub fn number(self) -> u64 {
        match self {
            Self::Command => 2,
            Self::Component => 3,
            Self::Modal => 5,
            Self::Other(number) => number,
        }
    }
}

/// The members of a body.
pub(super) fn object<'a, const N: usize>(
    body: &'a [u8],
    names: &[&str; N],
) -> Result<[Option<&'a RawValue>; N], InteractionError> {
    let body = core::str::from_utf8(body).map_err(|_| InteractionError::NotJson)?;
    json::members(body, names).map_err(|error| match error {
        NotObject::Json => InteractionError::NotJson,
        NotObject::Type => InteractionError::NotAnObject,
    })
}

/// The members of a field that should be an object; none of them if it is not.
pub(super) fn sub_members<'a, const N: usize>(
    object: Option<&'a RawValue>,
    names: &[&str; N],
) -> [Option<&'a RawValue>; N] {
    object.and_then(|raw| json::members(raw.get(), names).ok()).unwrap_or([None; N])
}

/// Discord's types of options that are subcommands, and of options and menus whose values are ids of something named.
fn is_subcommand(option_type: Option<&RawValue>) -> bool {
    matches!(option_type.map(RawValue::get), Some("1" | "2"))
}

fn is_named_option(option_type: Option<&RawValue>) -> bool {
    matches!(option_type.map(RawValue::get), Some("6" | "7" | "8" | "9" | "11"))
}

fn is_named_menu(component_type: Option<&RawValue>) -> bool {
    matches!(component_type.map(RawValue::get), Some("5" | "6" | "7" | "8"))
}

fn input(name: &Arc<str>, value: &RawValue, resolved: Option<&Resolved<'_>>) -> Option<Input> {
    let value = match json::boolean(value) {
        Some(_) => value.get().to_owned(),
        None => json::text(value)?.into_owned(),
    };
    let resolved = resolved.and_then(|resolved| resolved.name(&value));
    Some(Input { name: name.clone(), value, resolved })
}

/// A name for all inputs that have it.
fn shared(name: Option<&RawValue>) -> Arc<str> {
    identifier(name).unwrap_or_default().into()
}

fn list(raw: Option<&RawValue>) -> impl Iterator<Item = &RawValue> {
    raw.and_then(json::elements).unwrap_or_default().into_iter()
}

/// The options of a command. Those of a subcommand, which may be in a group, are within it.
fn read_options(data: Option<&RawValue>, subcommands: &mut Vec<String>, inputs: &mut Vec<Input>) {
    let [mut options, resolved] = sub_members(data, &["options", "resolved"]);
    let resolved = Resolved::read(resolved);
    for _ in 0..3 {
        let mut within = None;
        for option in list(options) {
            let [name, kind, value, options] = sub_members(Some(option), &["name", "type", "value", "options"]);
            if is_subcommand(kind) {
                subcommands.extend(identifier(name));
                within = options;
            } else if let Some(value) = value {
                inputs.extend(input(&shared(name), value, is_named_option(kind).then_some(&resolved)));
            }
        }
        options = within;
    }
}

/// The choices of a select menu.
fn read_choices(data: Option<&RawValue>, inputs: &mut Vec<Input>) {
    let [custom_id, kind, values, resolved] = sub_members(data, &["custom_id", "component_type", "values", "resolved"]);
    let resolved = Resolved::read(resolved);
    let names = is_named_menu(kind).then_some(&resolved);
    let name = shared(custom_id);
    inputs.extend(list(values).filter_map(|value| input(&name, value, names)));
}

/// The fields of a form: rows of components, or a component under each label.
fn read_form(data: Option<&RawValue>, inputs: &mut Vec<Input>) {
    let [rows, resolved] = sub_members(data, &["components", "resolved"]);
    let resolved = Resolved::read(resolved);
    for row in list(rows) {
        let [components, component] = sub_members(Some(row), &["components", "component"]);
        for field in list(components).chain(component) {
            let [custom_id, kind, value, values] = sub_members(Some(field), &["custom_id", "type", "value", "values"]);
            let names = is_named_menu(kind).then_some(&resolved);
            let name = shared(custom_id);
            inputs.extend(value.into_iter().chain(list(values)).filter_map(|value| input(&name, value, names)));
        }
    }
}

pub(super) fn identifier(field: Option<&RawValue>) -> Option<String> {
    let raw = field?;
    let text = json::text(raw).filter(|text| !text.is_empty())?;
    let is_number = !raw.get().starts_with('"');
    (!is_number || !json::is_zero(&text)).then(|| Cow::into_owned(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::SessionKeys;
    use alloc::collections::BTreeMap;
    use alloc::format;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn parse(body: &str) -> Interaction {
        Interaction::parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn kinds_keep_their_number() {
        let numbers = [(1, InteractionKind::Other(1)), (2, InteractionKind::Command), (3, InteractionKind::Component)];
        for (number, kind) in numbers.into_iter().chain([(4, InteractionKind::Other(4)), (5, InteractionKind::Modal)]) {
            assert_eq!(parse(&format!(r#"{{"type":{number}}}"#)).kind, kind);
            assert_eq!(kind.number(), number);
        }
        for none in [r#"{}"#, r#"{"type":"2"}"#, r#"{"type":-2}"#, r#"{"type":null}"#, r#"{"type":[2]}"#] {
            assert_eq!(parse(none).kind, InteractionKind::Other(0), "{none}");
        }
    }

    // proves: EVENT-2
    #[test]
    fn a_field_of_a_wrong_type_costs_only_itself() {
        let odd = parse(
            r#"{"id":[1],"type":2,"channel_id":123456789012345678901,"guild_id":0,"data":[],"member":7,
                "user":{"id":true,"username":"ann\ud800"},"extra":{"deep":[[[]]]}}"#,
        );
        let expect = Interaction {
            id: None,
            kind: InteractionKind::Command,
            text: String::new(),
            subcommands: Vec::new(),
            inputs: Vec::new(),
            custom_id: None,
            message_id: None,
            chat_id: "123456789012345678901".into(),
            scope_id: None,
            user_id: None,
            user_name: Some("ann\u{fffd}".into()),
        };
        assert_eq!(odd, expect);
    }

    #[test]
    fn the_member_acts_in_a_guild_and_the_user_elsewhere() {
        let user = r#""user":{"id":"u","username":"bob"}"#;
        let member = |user_of_member: &str| parse(&format!(r#"{{"member":{{"user":{user_of_member}}},{user}}}"#));
        assert_eq!(member(r#"{"id":"m"}"#).user_id.as_deref(), Some("m"));
        assert_eq!(member(r#"{"id":"m"}"#).user_name, None);
        for nobody in ["{}", "null", "\"m\"", "[]"] {
            assert_eq!(member(nobody).user_id.as_deref(), Some("u"), "{nobody}");
        }
    }

    #[test]
    fn session_keys_are_those_the_connector_bound() {
        let keys = SessionKeys::default();
        let guild = parse(r#"{"type":2,"channel_id":"c","guild_id":"g","member":{"user":{"id":"u"}}}"#);
        assert_eq!(keys.key(&guild.session_source()), "agent:main:relay:channel:c:u");
        let dm = parse(r#"{"type":2,"channel_id":"d","guild_id":"","user":{"id":"u"}}"#);
        assert_eq!(keys.key(&dm.session_source()), "agent:main:relay:dm:d");
    }

    fn inputs(interaction: &Interaction) -> Vec<(&str, &str, Option<&str>)> {
        let inputs = interaction.inputs.iter();
        inputs.map(|input| (&*input.name, &*input.value, input.resolved.as_deref())).collect()
    }

    // proves: CHAT-7
    #[test]
    fn a_command_reads_with_its_options_and_their_names() {
        let command = parse(
            r#"{"type":2,"data":{"name":"role","options":[{"type":2,"name":"of","options":[{"type":1,"name":"give","options":[
                {"type":6,"name":"to","value":"7"},{"type":8,"name":"what","value":"9"},{"type":3,"name":"why","value":" 7 "},
                {"type":5,"name":"now","value":true},{"type":10,"name":"n","value":1.5},{"type":6,"name":"who","value":"8"},
                {"type":3,"name":"none"},"odd"]}]}],
                "resolved":{"users":{"7":{"username":"ann","global_name":"Ann"},"8":{"username":"bob"}},
                    "members":{"7":{"nick":"Annie"},"8":{"nick":null}},"roles":{"9":{"name":"admin"}},"channels":[]}}}"#,
        );
        assert_eq!(command.subcommands, ["of", "give"]);
        assert_eq!(
            inputs(&command),
            [
                ("to", "7", Some("Annie")),
                ("what", "9", Some("admin")),
                ("why", " 7 ", None),
                ("now", "true", None),
                ("n", "1.5", None),
                ("who", "8", Some("bob")),
            ]
        );
        assert_eq!(command.command_line().as_deref(), Some("/role of give 7 9 7 true 1.5 8"));
        assert_eq!(command.input("now").map(|input| &*input.value), Some("true"));
        assert_eq!(parse(r#"{"type":2,"data":{"options":[]}}"#).command_line(), None);
        assert_eq!(command.prompt_response(), None);
    }

    // proves: CHAT-7
    #[test]
    fn a_component_reads_with_what_was_chosen() {
        let menu = parse(
            r#"{"type":3,"message":{"id":"m"},"data":{"custom_id":"pick","component_type":5,"values":["7","8"],
                "resolved":{"users":{"7":{"username":"ann"}}}}}"#,
        );
        assert_eq!(inputs(&menu), [("pick", "7", Some("ann")), ("pick", "8", None)]);
        assert_eq!((menu.text.as_str(), menu.custom_id.as_deref()), ("pick", Some("pick")));
        assert_eq!((menu.prompt_response(), menu.command_line()), (None, None));
        let press = parse(r#"{"type":3,"message":{"id":"m"},"data":{"custom_id":"hp1:p.1:yes","component_type":2}}"#);
        let response = press.prompt_response().unwrap();
        assert_eq!((&*response.prompt_id, &*response.option_id), ("p.1", "yes"));
        assert_eq!(response.prompt_message_id.as_deref(), Some("m"));
    }

    // proves: CHAT-7
    #[test]
    fn a_form_reads_with_its_fields() {
        let form = parse(
            r#"{"type":5,"data":{"custom_id":"hp1:p:o","components":[
                {"type":1,"components":[{"type":4,"custom_id":"title","value":"A \"b\""},{"type":4,"custom_id":"empty"}]},
                {"type":18,"component":{"type":6,"custom_id":"roles","values":["9"]}},7],
                "resolved":{"roles":{"9":{"name":"admin"}}}}}"#,
        );
        assert_eq!(inputs(&form), [("title", "A \"b\"", None), ("roles", "9", Some("admin"))]);
        assert_eq!((form.text.as_str(), form.custom_id.as_deref()), ("", Some("hp1:p:o")));
        assert_eq!(form.prompt_response(), None, "a form is no button");
    }

    /// The bytes of the texts that an interaction's inputs hold, those that they share once.
    fn held(interaction: &Interaction) -> usize {
        let texts = interaction.inputs.iter().flat_map(|input| [Some(&*input.name), input.resolved.as_deref()]);
        let shared: BTreeMap<_, _> = texts.flatten().map(|text| (text.as_ptr(), text.len())).collect();
        shared.values().sum::<usize>() + interaction.inputs.iter().map(|input| input.value.len()).sum::<usize>()
    }

    // proves: CHAT-7, FRAME-3
    #[test]
    fn a_name_is_held_once_however_many_inputs_have_it() {
        let long = "n".repeat(10_000);
        let resolved = format!(r#""resolved":{{"users":{{"1":{{"username":"{long}"}}}}}}"#);
        let ones = "1,".repeat(999);
        for (kind, data) in [
            (2, format!(r#""options":[{}7],{resolved}"#, r#"{"type":6,"value":1},"#.repeat(1000))),
            (3, format!(r#""custom_id":"{long}","component_type":5,"values":[{ones}1],{resolved}"#)),
            (
                5,
                format!(
                    r#""components":[{{"components":[{{"custom_id":"{long}","type":5,"values":[{ones}1]}}]}}],{resolved}"#
                ),
            ),
        ] {
            let body = format!(r#"{{"type":{kind},"data":{{{data}}}}}"#);
            let interaction = parse(&body);
            assert_eq!(interaction.inputs.len(), 1000);
            assert!(interaction.inputs.iter().all(|input| input.resolved.as_deref() == Some(&*long)), "{kind}");
            assert!(held(&interaction) <= body.len(), "{} of a body of {}", held(&interaction), body.len());
        }
    }

    #[test]
    fn what_is_no_object_is_an_error_that_says_which() {
        for body in [&b""[..], b"not json", b"{", b"{} {}", b"\xff", b"{\"id\":\"\xc3\"}", b"\xef\xbb\xbf{}"] {
            assert_eq!(Interaction::parse(body), Err(InteractionError::NotJson), "{body:?}");
        }
        for body in [&b"[1, 2]"[..], b"null", b" 7 ", b"\"{}\""] {
            assert_eq!(Interaction::parse(body), Err(InteractionError::NotAnObject), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn no_body_panics(body in any::<Vec<u8>>(), text in r#"[\[\]{}":,a-z0-9\\ ]{0,60}"#) {
            let _ = Interaction::parse(&body);
            let _ = Interaction::parse(text.as_bytes());
            let _ = Interaction::parse(format!(r#"{{"type":2,"data":{text},"user":{{"id":{text}}}}}"#).as_bytes());
        }
    }
}
