//! One line, read by either side: what is made of it is what JSON says, and what was read can be written and read again.

mod plain;

use relay_proto::chat::{Interaction, LenUnit, SessionKeys, SessionSource};
use relay_proto::frame::{
    Content, Descriptor, FromConnector, FromGateway, MessageEvent, PassthroughForward, RawJson, Skipped, encode,
    from_connector, from_gateway,
};
use serde_json::Value;

/// The input is the line.
pub fn run(data: &[u8]) {
    // What plain JSON reads in it. Much that a peer may write is too deep or too odd for that.
    let plain: Option<Value> = serde_json::from_slice(data).ok();
    connector_says(data, plain.as_ref());
    gateway_says(data, plain.as_ref());
    if let Ok(interaction) = Interaction::parse(data) {
        SessionKeys::default().key(&interaction.session_source());
    }
}

fn connector_says(line: &[u8], plain: Option<&Value>) {
    let frame = from_connector(line);
    plain::judges(line, &frame);
    let frame = match frame {
        Ok(frame) => frame,
        Err(skipped) => {
            let ours = [
                "descriptor",
                "inbound",
                "outbound_result",
                "interrupt_inbound",
                "going_idle_ack",
                "passthrough_forward",
            ];
            return skip(&skipped, plain, &ours);
        }
    };
    match &frame {
        FromConnector::Delivery { content: Content::Message(event), buffer_id } => {
            is_part_of(event.raw(), line);
            if let Some(plain) = plain {
                assert_eq!(serde_json::from_str::<Value>(event.raw()).unwrap(), plain["event"]);
                agrees(plain["event"].get("text"), event.text(), "");
                agrees(plain["event"]["source"].get("chat_id"), event.chat_id(), "");
            }
            plain::agrees(line, event);
            read_event(event);
            let id = buffer_id.as_ref().map(|id| id.as_str());
            assert!(id != Some(""));
            again(&encode::inbound(event.raw(), id), &frame);
        }
        FromConnector::Delivery { content: Content::Passthrough(forward), buffer_id } => {
            is_part_of(forward.raw.as_str(), line);
            read_forward(forward);
            let id = buffer_id.as_ref().map(|id| id.as_str());
            again(&encode::passthrough_forward(forward.raw.as_str(), id), &frame);
        }
        FromConnector::Delivery { content: Content::Undecodable(content), buffer_id } => {
            if std::str::from_utf8(line).is_ok() {
                let raw = content.raw.as_ref().map_or("null", RawJson::as_str);
                assert!(!raw.starts_with('{'), "{raw} can be decoded");
            } else {
                assert!(buffer_id.is_some(), "it blocks no buffer, and is shown nevertheless");
            }
        }
        FromConnector::OutboundResult { request_id, result } => {
            if let Some(plain) = plain.filter(|plain| plain.get("result").is_some()) {
                assert_eq!(serde_json::from_str::<Value>(result.raw.as_str()).unwrap(), plain["result"]);
            }
            result.chat_info("c");
            result.says_failed();
            again(&encode::outbound_result(request_id, result.raw.as_str()), &frame);
        }
        FromConnector::Interrupt(interrupt) => {
            assert!(!interrupt.session_key.is_empty());
            if let Some(chat) = &interrupt.chat_id {
                again(&encode::interrupt_inbound(&interrupt.session_key, chat), &frame);
            }
        }
        FromConnector::Descriptor(descriptor) => read_descriptor(descriptor, line),
        FromConnector::GoingIdleAck => again(&encode::going_idle_ack(), &frame),
        _ => {}
    }
}

fn gateway_says(line: &[u8], plain: Option<&Value>) {
    let frame = from_gateway(line);
    plain::judges(line, &frame);
    let frame = match frame {
        Ok(frame) => frame,
        Err(skipped) => {
            return skip(&skipped, plain, &["hello", "outbound", "interrupt", "going_idle", "inbound_ack"]);
        }
    };
    let again = match &frame {
        FromGateway::Hello { platform, bot_id, command_manifest } => {
            encode::hello(platform, bot_id, command_manifest.as_ref())
        }
        FromGateway::Outbound { request_id, action: Some(action), platform, bot_id } => {
            is_part_of(action.as_str(), line);
            encode::outbound(request_id, action.as_str(), platform.as_deref(), bot_id.as_deref())
        }
        FromGateway::Interrupt { session_key, reason } => encode::interrupt(session_key, reason.as_deref()),
        FromGateway::GoingIdle => encode::going_idle(),
        FromGateway::InboundAck { buffer_id } => encode::inbound_ack(buffer_id),
        _ => return,
    };
    assert_eq!(from_gateway(again.trim_end().as_bytes()).as_ref(), Ok(&frame), "{again}");
}

/// A skip says what is wrong with the line. `ours`: the types that the reader knows.
fn skip(skipped: &Skipped, plain: Option<&Value>, ours: &[&str]) {
    assert!(skipped.kind() < Skipped::KINDS);
    assert!(skipped.to_string().len() < 1024, "a skip is a line in a log");
    let Some(plain) = plain else { return };
    let expected = match plain.as_object().map(|object| object.get("type")) {
        None => matches!(skipped, Skipped::NotAnObject),
        Some(None) => matches!(skipped, Skipped::NoType),
        Some(Some(Value::String(name))) => match skipped {
            Skipped::MissingField(_) | Skipped::MalformedDescriptor => ours.contains(&name.as_str()),
            Skipped::UnknownType(shown) | Skipped::WrongDirection(shown) | Skipped::Ignored(shown) => {
                !ours.contains(&name.as_str()) && name.starts_with(shown.as_str())
            }
            _ => false,
        },
        Some(Some(_)) => matches!(skipped, Skipped::TypeNotAString),
    };
    assert!(expected, "{skipped:?} of {plain}");
}

/// What is kept raw is kept byte for byte.
fn is_part_of(raw: &str, line: &[u8]) {
    assert!(line.windows(raw.len()).any(|window| window == raw.as_bytes()), "{raw}");
}

/// A field as text: a string's content, a number's text, else the default.
fn agrees(field: Option<&Value>, read: &str, default: &str) {
    match field {
        Some(Value::String(text)) => assert_eq!(read, text),
        Some(Value::Number(_)) => assert!(read.starts_with(|c: char| c == '-' || c.is_ascii_digit()), "{read}"),
        _ => assert_eq!(read, default),
    }
}

/// What was read, written by us, reads the same.
fn again(frame: &str, expected: &FromConnector) {
    assert!(frame.ends_with("}\n"));
    assert_eq!(from_connector(frame.trim_end().as_bytes()).as_ref(), Ok(expected), "{frame}");
}

/// Everything that an adapter asks of an event.
fn read_event(event: &MessageEvent) {
    assert!(!event.is_upstream_trusted(), "trust is never read from the wire");
    assert_eq!(MessageEvent::parse(event.raw()).as_ref(), Some(event));
    for unit in [LenUnit::Chars, LenUnit::Utf16] {
        assert!(unit.len(event.text()) <= event.text().len());
    }
    let source = SessionSource {
        platform: event.platform(),
        chat_type: event.chat_type(),
        chat_id: event.chat_id(),
        thread_id: event.thread_id(),
        user_id: event.user_id(),
        user_id_alt: event.user_id_alt(),
        profile: event.profile(),
    };
    for number in 0..8_u8 {
        let [per_user_groups, per_user_threads, profiles] = [1, 2, 4].map(|bit| number & bit != 0);
        let key = SessionKeys { per_user_groups, per_user_threads, profiles }.key(&source);
        assert!(key.starts_with("agent:") && key.contains(event.platform()), "{key}");
    }
    assert_eq!(event.channel_context().is_some(), event.context().len() > 0);
    let shown = event.channel_context().unwrap_or_default();
    let all = event.context().map(|message| message.text.len()).sum::<usize>();
    assert!(shown.len() >= all, "{shown:?}");
    assert!(event.media_urls().count() <= event.raw().len());
    let texts = [event.message_id(), event.reply_to_message_id(), event.platform_name(), event.chat_name()];
    let more = [event.user_name(), event.chat_topic(), event.chat_id_alt(), event.scope_id()];
    let rest = [event.parent_chat_id(), event.source_message_id()];
    // An escape of six bytes becomes one of three at most.
    assert!(texts.into_iter().chain(more).chain(rest).flatten().all(|text| text.len() <= event.raw().len()));
}

fn read_forward(forward: &PassthroughForward) {
    assert_eq!(PassthroughForward::parse(forward.raw.as_str()).as_ref(), Some(forward));
    assert!(!forward.body_undecodable || forward.body.is_empty());
    assert!(forward.body.len() <= forward.raw.as_str().len());
    let _ = Interaction::parse(&forward.body);
}

fn read_descriptor(descriptor: &Descriptor, line: &[u8]) {
    is_part_of(descriptor.raw.as_ref().unwrap().as_str(), line);
    assert!(descriptor.max_message_length > 0 && !descriptor.supported_ops.is_empty());
    assert!(descriptor.length_of("a🔌") >= 2);
    descriptor.supports_code_blocks();
    let mut made = descriptor.clone();
    made.raw = None;
    let mut read = Descriptor::parse(made.to_json().as_str()).unwrap();
    read.raw = None;
    assert_eq!(read, made);
    let frame = encode::descriptor(&made);
    assert!(matches!(from_connector(frame.trim_end().as_bytes()), Ok(FromConnector::Descriptor(_))), "{frame}");
}
