//! Frames as connectors send them.

use serde_json::{Value, json};

/// A descriptor of a platform.
pub fn descriptor(platform: &str) -> Value {
    json!({"type": "descriptor", "descriptor": {
        "contract_version": 1, "platform": platform, "label": platform, "max_message_length": 2000,
        "supports_draft_streaming": false, "supports_edit": true, "supports_threads": true,
        "markdown_dialect": "discord", "len_unit": "chars",
    }})
}

/// A live message in chat `c1`, without any id.
pub fn message(text: &str) -> Value {
    json!({"type": "inbound", "event": {"text": text, "source": {"platform": "discord", "chat_id": "c1"}}})
}

/// A buffered message in chat `c1`, named by its text.
pub fn buffered(buffer_id: &str, text: &str) -> Value {
    json!({"type": "inbound", "bufferId": buffer_id, "event": {
        "text": text, "message_id": format!("m-{text}"), "source": {"platform": "discord", "chat_id": "c1"},
    }})
}

/// The end of a request.
pub fn result(request: &Value, result: Value) -> Value {
    json!({"type": "outbound_result", "requestId": request["requestId"], "result": result})
}

/// The frame as it travels: one line.
pub fn line(frame: &Value) -> String {
    format!("{frame}\n")
}
