//! Processes and the store: what a crash leaves, and what the connector's application gives.

use relay_proto::frame::RawJson;

use super::{Delivery, Task};

impl Delivery {
    pub(super) fn end_gateway(&mut self) {
        self.gateway = None;
        self.held.clear();
        self.ledger.gateway_ended();
        self.links.iter_mut().for_each(|link| link.gateway = None);
    }

    pub(super) fn end_connector(&mut self) {
        self.connector = None;
        self.tasks.clear();
        let durable = &self.durable;
        self.ledger.connector_ended(|entry| durable.iter().any(|(id, _)| *id == entry));
        self.links.iter_mut().for_each(|link| link.connector = None);
    }

    pub(super) fn do_task(&mut self) -> Option<Task> {
        let task = self.tasks.pop_front()?;
        match &task {
            Task::Append(entry, frame) => self.durable.push((*entry, frame.clone())),
            Task::Discard(entry) => self.durable.retain(|(id, _)| id != entry),
        }
        Some(task)
    }

    pub(super) fn store(&mut self) {
        let now = self.now;
        match (self.do_task(), &mut self.connector) {
            (Some(Task::Append(entry, _)), Some(connector)) => connector.handle_stored(entry, now),
            (Some(Task::Discard(entry)), Some(connector)) => connector.handle_discarded(entry, now),
            _ => {}
        }
    }

    pub(super) fn refuse_entry(&mut self) -> Result<(), String> {
        let now = self.now;
        if let (Some(Task::Append(entry, _)), Some(connector)) = (self.tasks.pop_front(), &mut self.connector) {
            let number = self.ledger.number(entry)?;
            self.ledger.lines[number].void = true;
            connector.handle_not_stored(entry, now);
        }
        Ok(())
    }

    pub(super) fn give(&mut self) -> Result<(), String> {
        let number = self.ledger.lines.len();
        let Some(connector) = &mut self.connector else { return Ok(()) };
        let event = if number % 2 == 1 {
            connector.forward(&raw(&format!(r#"{{"method":"POST","path":"~{number}"}}"#)), self.now)
        } else {
            let source = r#"{"platform":"discord","chat_id":"c"}"#;
            let event = format!(r#"{{"text":"~{number}","message_id":"m{number}","source":{source}}}"#);
            connector.deliver(&raw(&event), self.now)
        };
        self.ledger.given(event.map_err(|refused| format!("refused: {refused}"))?);
        Ok(())
    }
}

fn raw(text: &str) -> RawJson {
    RawJson::parse(text).unwrap()
}
