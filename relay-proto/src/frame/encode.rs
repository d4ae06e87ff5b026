//! Frames as they are sent: one compact JSON object and a final newline (FRAME-1).

use alloc::string::String;

use super::{Descriptor, RawJson};
use crate::json::{push_field, push_string};

fn begin(kind: &str) -> String {
    let mut out = String::with_capacity(64);
    out.push_str("{\"type\":\"");
    out.push_str(kind);
    out.push('"');
    out
}

fn push_raw(out: &mut String, name: &str, json: &str) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
    out.push_str(json);
}

fn end(mut out: String) -> String {
    out.push_str("}\n");
    out
}

/// `hello` (HELLO-1).
pub fn hello(platform: &str, bot_id: &str, command_manifest: Option<&RawJson>) -> String {
    let mut out = begin("hello");
    push_field(&mut out, "platform", platform);
    push_field(&mut out, "botId", bot_id);
    if let Some(manifest) = command_manifest {
        push_raw(&mut out, "command_manifest", manifest.as_str());
    }
    end(out)
}

/// `outbound` (REQ-1, REQ-4). `action` is a JSON object.
pub fn outbound(request_id: &str, action: &str, platform: Option<&str>, bot_id: Option<&str>) -> String {
    outbound_of(action.len(), platform, bot_id, |out| push_string(out, request_id), |out| out.push_str(action))
}

/// The same, with functions that write the id, as a JSON string, and the action, of about `size` bytes.
pub(crate) fn outbound_of(
    size: usize,
    platform: Option<&str>,
    bot_id: Option<&str>,
    request_id: impl FnOnce(&mut String),
    action: impl FnOnce(&mut String),
) -> String {
    const START: &str = "{\"type\":\"outbound\",\"requestId\":";
    const ACTION: &str = ",\"action\":";
    const ID: usize = 34;
    let field = |name: &str, value: Option<&str>| value.map_or(0, |value| name.len() + value.len() + 6);
    // Of its final size, unless something needs an escape, it becomes a message without another allocation.
    let more = field("platform", platform) + field("botId", bot_id);
    let mut out = String::with_capacity(START.len() + ID + ACTION.len() + size + more + 2);
    out.push_str(START);
    request_id(&mut out);
    out.push_str(ACTION);
    action(&mut out);
    if let Some(platform) = platform {
        push_field(&mut out, "platform", platform);
    }
    if let Some(bot_id) = bot_id {
        push_field(&mut out, "botId", bot_id);
    }
    end(out)
}

/// `interrupt`, from a gateway. No reason is written as null.
pub fn interrupt(session_key: &str, reason: Option<&str>) -> String {
    let mut out = begin("interrupt");
    push_field(&mut out, "session_key", session_key);
    match reason {
        Some(reason) => push_field(&mut out, "reason", reason),
        None => push_raw(&mut out, "reason", "null"),
    }
    end(out)
}

/// `going_idle` (IDLE-1).
pub fn going_idle() -> String {
    end(begin("going_idle"))
}

const ACK_START: &str = "{\"type\":\"inbound_ack\",\"bufferId\":";

/// `inbound_ack` (ACK-1).
pub fn inbound_ack(buffer_id: &str) -> String {
    // With the quotes and the end.
    let mut out = String::with_capacity(ACK_START.len() + buffer_id.len() + 4);
    push_inbound_ack(&mut out, buffer_id);
    out
}

/// The same behind what is there already. There is one for every delivery.
pub(crate) fn push_inbound_ack(out: &mut String, buffer_id: &str) {
    out.push_str(ACK_START);
    push_string(out, buffer_id);
    out.push_str("}\n");
}

/// `descriptor` (CONN-2).
pub fn descriptor(descriptor: &Descriptor) -> String {
    let mut out = begin("descriptor");
    push_raw(&mut out, "descriptor", descriptor.to_json().as_str());
    end(out)
}

/// `inbound` (CONN-3). `event` is a JSON object.
pub fn inbound(event: &str, buffer_id: Option<&str>) -> String {
    delivery("inbound", "event", event, buffer_id)
}

/// `passthrough_forward` (CONN-3). `forward` is a JSON object.
pub fn passthrough_forward(forward: &str, buffer_id: Option<&str>) -> String {
    delivery("passthrough_forward", "forward", forward, buffer_id)
}

fn delivery(kind: &str, field: &str, json: &str, buffer_id: Option<&str>) -> String {
    let mut out = String::with_capacity(json.len() + 96);
    out.push_str("{\"type\":");
    push_string(&mut out, kind);
    push_raw(&mut out, field, json);
    if let Some(id) = buffer_id {
        push_field(&mut out, "bufferId", id);
    }
    end(out)
}

/// `outbound_result` (CONN-6). `result` is JSON.
pub fn outbound_result(request_id: &str, result: &str) -> String {
    let mut out = begin("outbound_result");
    push_field(&mut out, "requestId", request_id);
    push_raw(&mut out, "result", result);
    end(out)
}

/// `interrupt_inbound` (CONN-6).
pub fn interrupt_inbound(session_key: &str, chat_id: &str) -> String {
    let mut out = begin("interrupt_inbound");
    push_field(&mut out, "session_key", session_key);
    push_field(&mut out, "chat_id", chat_id);
    end(out)
}

/// `going_idle_ack` (CONN-4).
pub fn going_idle_ack() -> String {
    end(begin("going_idle_ack"))
}
