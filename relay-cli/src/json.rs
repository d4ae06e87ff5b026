//! Writing JSON, one object a line.

/// An object in the making: compact, on one line, its members in the order in which they are added.
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn new() -> Self {
        Self(String::from("{"))
    }

    /// A text.
    pub(crate) fn text(self, name: &str, value: &str) -> Self {
        self.json(name, &quoted(value))
    }

    /// A text, or null.
    // Its callers are many, and need no copy of it each.
    #[inline(never)]
    pub(crate) fn optional(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self.json(name, "null"),
        }
    }

    /// A number, or null.
    pub(crate) fn number(self, name: &str, value: Option<u64>) -> Self {
        match value {
            Some(value) => self.json(name, &value.to_string()),
            None => self.json(name, "null"),
        }
    }

    /// JSON that is compact already.
    pub(crate) fn json(mut self, name: &str, json: &str) -> Self {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&quoted(name));
        self.0.push(':');
        self.0.push_str(json);
        self
    }

    /// A list of items that are JSON already.
    pub(crate) fn list(self, name: &str, items: impl Iterator<Item = String>) -> Self {
        let items: Vec<String> = items.collect();
        self.json(name, &format!("[{}]", items.join(",")))
    }

    /// JSON of a peer, as a value. JSON can be valid and still break the reader of the whole line: a lone surrogate, a
    /// number beyond any range, a thousand levels of nesting. Such a value is null here, and the member `{name}_json`
    /// holds its text.
    pub(crate) fn peer_json(self, name: &str, json: &str) -> Self {
        if is_readable(json) {
            self.json(name, &compact(json))
        } else {
            self.json(name, "null").text(&format!("{name}_json"), json)
        }
    }

    pub(crate) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// A JSON string.
pub(crate) fn quoted(text: &str) -> String {
    // Serialising a string cannot fail.
    serde_json::to_string(text).unwrap_or_default()
}

/// JSON without the white space between its tokens: carriage returns among it end lines for some readers.
pub(crate) fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in json.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            ' ' | '\t' | '\r' | '\n' if !in_string => continue,
            _ => {}
        }
        out.push(c);
    }
    out
}

/// Whether common readers take it: Unicode text, numbers in range, at most 128 levels.
fn is_readable(json: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(json).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_in_order_on_one_line() {
        let line = Object::new()
            .text("a", "x\n\"y\"\u{0}")
            .optional("b", None)
            .number("c", Some(3))
            .list("d", ["1", "[]"].into_iter().map(String::from))
            .peer_json("e", "{ \"k\" :\r [ 1e2 , \"a b\\\" \" ] }")
            .end();
        assert_eq!(line, r#"{"a":"x\n\"y\"\u0000","b":null,"c":3,"d":[1,[]],"e":{"k":[1e2,"a b\" "]}}"#);
        assert_eq!(Object::new().end(), "{}");
    }

    #[test]
    fn values_that_break_readers_are_handed_over_as_text() {
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        for json in [r#"{"a":"\ud800"}"#, "1e999", deep.as_str()] {
            let line = Object::new().peer_json("result", json).end();
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(value, serde_json::json!({"result": null, "result_json": json}));
        }
    }
}
