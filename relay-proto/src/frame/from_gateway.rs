//! What a connector receives.

use alloc::borrow::Cow;
use alloc::string::String;

use super::{CONNECTOR_TYPES, Skipped, frame_type, not_ours};
use crate::json::RawJson;
use crate::json::scan::{self, Place};

/// A frame from a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FromGateway {
    /// The gateway fronts this identity.
    Hello {
        /// The platform.
        platform: String,
        /// The bot on that platform; empty when absent.
        bot_id: String,
        /// The commands that the platform should offer its users.
        command_manifest: Option<RawJson>,
    },
    /// A request.
    Outbound {
        /// To be echoed in the result.
        request_id: String,
        /// What to do: an object with an `op`. `None` when it is no object; it still gets a result (CONN-6).
        action: Option<RawJson>,
        /// The platform to do it on, when the gateway resolved one.
        platform: Option<String>,
        /// The bot on that platform.
        bot_id: Option<String>,
    },
    /// The agent stopped a session.
    Interrupt {
        /// The session.
        session_key: String,
        /// Why.
        reason: Option<String>,
    },
    /// The gateway is about to sleep.
    GoingIdle,
    /// The application has taken a delivery.
    InboundAck {
        /// The delivery's buffer id.
        buffer_id: String,
    },
}

/// The members that are looked for, by number.
fn member(name: &[u8]) -> Option<usize> {
    Some(match name {
        b"type" => 0,
        b"platform" => 1,
        b"botId" => 2,
        b"command_manifest" => 3,
        b"requestId" => 4,
        b"action" => 5,
        b"session_key" => 6,
        b"reason" => 7,
        b"bufferId" => 8,
        _ => return None,
    })
}

/// Reads one line as a frame from a gateway.
///
/// # Errors
/// [`Skipped`] says why the line is none; the link lives on (FRAME-4, FRAME-5).
pub fn from_gateway(line: &[u8]) -> Result<FromGateway, Skipped> {
    let text = core::str::from_utf8(line).map_err(|_| Skipped::NotJson)?;
    let [kind, platform, bot_id, manifest, request_id, action, session_key, reason, buffer_id] =
        scan::members(text, member)?;
    let read = |place: Place| place.text(text).map(Cow::into_owned);
    match &*frame_type(text, kind)? {
        "hello" => Ok(FromGateway::Hello {
            platform: read(platform).ok_or(Skipped::MissingField("platform"))?,
            bot_id: read(bot_id).unwrap_or_default(),
            command_manifest: manifest.raw(text).filter(|raw| *raw != "null").map(RawJson::trusted),
        }),
        "outbound" => Ok(FromGateway::Outbound {
            request_id: read(request_id).ok_or(Skipped::MissingField("requestId"))?,
            action: action.raw(text).filter(|raw| raw.starts_with('{')).map(RawJson::trusted),
            platform: read(platform),
            bot_id: read(bot_id),
        }),
        "interrupt" => Ok(FromGateway::Interrupt {
            session_key: read(session_key).filter(|key| !key.is_empty()).ok_or(Skipped::MissingField("session_key"))?,
            reason: read(reason),
        }),
        "going_idle" => Ok(FromGateway::GoingIdle),
        "inbound_ack" => {
            Ok(FromGateway::InboundAck { buffer_id: read(buffer_id).ok_or(Skipped::MissingField("bufferId"))? })
        }
        other => Err(not_ours(other, &CONNECTOR_TYPES)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::encode;
    use alloc::format;

    // proves: FRAME-5
    #[test]
    fn frames_of_the_connector_are_ignored() {
        for name in CONNECTOR_TYPES {
            let line = format!("{{\"type\":\"{name}\"}}");
            assert_eq!(from_gateway(line.as_bytes()), Err(Skipped::WrongDirection(name.into())));
        }
    }

    // proves: FRAME-1
    #[test]
    fn what_a_gateway_writes_is_one_compact_object_and_a_newline_and_reads_back() {
        let frames = [
            encode::hello("discord", "b\"1", None),
            encode::hello("discord", "", Some(&RawJson::parse("[{\"a\":1}]").unwrap())),
            encode::outbound("00ff", "{\"op\":\"send\"}", Some("discord"), Some("b1")),
            encode::outbound("00ff", "{}", None, None),
            encode::interrupt("agent:main", None),
            encode::interrupt("agent:main", Some("line\nbreak")),
            encode::going_idle(),
            encode::inbound_ack("17"),
        ];
        let read = frames.each_ref().map(|frame| {
            assert_eq!(frame.find('\n'), Some(frame.len() - 1), "one newline, at the end: {frame:?}");
            from_gateway(frame.trim_end().as_bytes()).unwrap()
        });
        assert_eq!(frames[4], "{\"type\":\"interrupt\",\"session_key\":\"agent:main\",\"reason\":null}\n");
        assert_eq!(
            read[0],
            FromGateway::Hello { platform: "discord".into(), bot_id: "b\"1".into(), command_manifest: None }
        );
        assert_eq!(
            read[2],
            FromGateway::Outbound {
                request_id: "00ff".into(),
                action: Some(RawJson::parse("{\"op\":\"send\"}").unwrap()),
                platform: Some("discord".into()),
                bot_id: Some("b1".into()),
            }
        );
        assert_eq!(
            read[5],
            FromGateway::Interrupt { session_key: "agent:main".into(), reason: Some("line\nbreak".into()) }
        );
        assert_eq!(read[7], FromGateway::InboundAck { buffer_id: "17".into() });
    }
}
