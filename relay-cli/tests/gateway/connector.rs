//! A connector that does what a test tells it: a WebSocket server on loopback, with blocking reads.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use relay_proto::end::LinkEnd;
use relay_proto::wire::{LinkOptions, ServerEvent, ServerLink, UpgradeRequest};
use serde_json::{Value, json};

use crate::PATIENCE;

/// The listening end.
pub(crate) struct Connector {
    pub(crate) url: String,
    links: Receiver<TcpStream>,
}

impl Connector {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, links) = channel();
        // Accepting cannot be bounded in time, receiving from a channel can. The thread ends with the process.
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if sender.send(stream).is_err() {
                    break;
                }
            }
        });
        Self { url, links }
    }

    /// The next link, upgraded; nothing is said yet.
    pub(crate) fn accept(&self) -> Peer {
        let stream = self.links.recv_timeout(PATIENCE).expect("the gateway did not dial");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let link = ServerLink::new(&LinkOptions::default(), None).unwrap();
        let mut peer = Peer { stream, link, request: None, frames: VecDeque::new(), end: None };
        peer.pump_until(|peer| peer.request.is_some());
        peer.link.accept();
        peer.transmit();
        peer
    }

    /// The next link, ready: it says hello for each of these platforms, and is answered.
    pub(crate) fn ready(&self, platforms: &[&str]) -> Peer {
        let mut peer = self.accept();
        for platform in platforms {
            let hello = peer.next();
            assert_eq!((&hello["type"], &hello["platform"]), (&json!("hello"), &json!(platform)));
        }
        for platform in platforms {
            peer.send(&json!({"type": "descriptor", "descriptor": {"platform": platform}}));
        }
        peer
    }

    /// Nobody dials any more.
    pub(crate) fn is_left_alone(&self) -> bool {
        self.links.try_recv().is_err()
    }
}

/// One link.
pub(crate) struct Peer {
    stream: TcpStream,
    link: ServerLink,
    pub(crate) request: Option<UpgradeRequest>,
    frames: VecDeque<Value>,
    end: Option<LinkEnd>,
}

impl Peer {
    /// Sends one frame.
    pub(crate) fn send(&mut self, frame: &Value) {
        self.send_text(format!("{frame}\n"));
    }

    pub(crate) fn send_text(&mut self, text: String) {
        self.link.send_text(text);
        self.transmit();
    }

    /// Sends a message event, buffered when it has an id.
    pub(crate) fn deliver(&mut self, text: &str, buffer_id: Option<&str>) {
        let source = json!({"platform": "discord", "chat_id": "7", "user_id": "u"});
        let mut frame = json!({"type": "inbound", "event": {"text": text, "message_id": text, "source": source}});
        if let Some(id) = buffer_id {
            frame["bufferId"] = json!(id);
        }
        self.send(&frame);
    }

    /// The next frame.
    pub(crate) fn next(&mut self) -> Value {
        self.pump_until(|peer| !peer.frames.is_empty() || peer.end.is_some());
        self.frames.pop_front().unwrap_or_else(|| panic!("the link ended: {:?}", self.end))
    }

    /// The next request; its id and its frame.
    pub(crate) fn next_request(&mut self) -> (String, Value) {
        let frame = self.next();
        assert_eq!(frame["type"], "outbound", "{frame}");
        (frame["requestId"].as_str().unwrap().into(), frame)
    }

    /// Answers a request.
    pub(crate) fn answer(&mut self, request: &str, result: &Value) {
        self.send(&json!({"type": "outbound_result", "requestId": request, "result": result}));
    }

    /// Acknowledges going idle, and sees the gateway close: what it says between the two, and how it closes.
    pub(crate) fn see_it_close(&mut self) -> (Vec<Value>, Option<LinkEnd>) {
        let mut said = Vec::new();
        loop {
            self.pump_until(|peer| !peer.frames.is_empty() || peer.end.is_some());
            match self.frames.pop_front() {
                Some(frame) if frame["type"] == "going_idle" => self.send(&json!({"type": "going_idle_ack"})),
                Some(frame) => said.push(frame),
                None => return (said, self.end.clone()),
            }
        }
    }

    /// Closes, and waits for the end.
    pub(crate) fn close(mut self, code: u16, reason: &str) {
        self.link.close(code, reason);
        self.transmit();
        self.pump_until(|peer| peer.end.is_some());
    }

    fn pump_until(&mut self, done: impl Fn(&Self) -> bool) {
        let mut buffer = [0; 4096];
        while !done(self) {
            assert_eq!(self.end, None, "the link ended too early");
            match self.stream.read(&mut buffer) {
                Ok(0) => self.link.handle_eof(),
                Ok(n) => self.link.handle_bytes(&buffer[..n]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("nothing came from the gateway in {PATIENCE:?}")
                }
                Err(error) => self.link.handle_read_error(&error.to_string()),
            }
            self.take_events();
            self.transmit();
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.link.poll_event() {
            match event {
                ServerEvent::Request(request) => self.request = Some(request),
                ServerEvent::Message(message) => {
                    // FRAME-1: one frame is one message, with a newline at its end and nowhere else.
                    let text = std::str::from_utf8(&message).unwrap();
                    let frame = text.strip_suffix('\n').unwrap();
                    assert!(!frame.contains('\n'));
                    self.frames.push_back(serde_json::from_str(frame).unwrap());
                }
                ServerEvent::Ended(end) => self.end = Some(end),
                other => panic!("{other:?}"),
            }
        }
    }

    fn transmit(&mut self) {
        while !self.link.transmit().is_empty() {
            match self.stream.write(self.link.transmit()) {
                Ok(n) => self.link.consume(n),
                Err(_) => return self.link.handle_write_error(),
            }
        }
    }
}
