//! The examples `agent` of every runtime, as they are, against the embedded connector.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use relay_proto::connector::{Event, Outbound};
use relay_proto::frame::{Descriptor, RawJson};
use relay_proto::gateway::Config;
use relay_tests::guard;
use relay_tokio::connector::{self, Connector};
use serde_json::{Value, json};

#[allow(dead_code, reason = "its `main`")]
#[path = "../../relay-async-std/examples/agent-async-std.rs"]
mod on_async_std;
#[allow(dead_code, reason = "its `main`")]
#[path = "../../relay-blocking/examples/agent-blocking.rs"]
mod on_threads;
#[allow(dead_code, reason = "its `main`")]
#[path = "../../relay-tokio/examples/agent.rs"]
mod on_tokio;

/// Long enough not to end within a step, short enough for the test to see the agent sleep.
const IDLE: Duration = Duration::from_millis(100);

const KEY: &str = "agent:main:discord:dm:c1";

/// The chat platform's side.
struct Stage {
    connector: Connector,
    events: connector::Events,
    /// Messages delivered, and how many of them the agent has acknowledged.
    messages: usize,
    acked: usize,
    /// Requests that came before they were looked for.
    requests: VecDeque<Outbound>,
}

impl Stage {
    async fn start() -> Self {
        let mut descriptor = Descriptor::new("discord");
        descriptor.supported_ops = ["send", "edit", "typing", "prompt"].map(str::to_owned).to_vec();
        let listener = connector::listen("127.0.0.1:0").await.unwrap();
        let config = connector::Config::new().gateway("g", "s3cret").descriptor(descriptor);
        let (connector, events) = connector::serve(listener, config).unwrap();
        Self { connector, events, messages: 0, acked: 0, requests: VecDeque::new() }
    }

    fn agents_config(&self) -> Config {
        Config::new(format!("ws://{}", self.connector.address())).identity("discord", "b").credentials("g", "s3cret")
    }

    fn gateway(&self) -> connector::Gateway {
        self.connector.gateway("g")
    }

    async fn deliver(&mut self, mut event: Value) {
        self.messages += 1;
        event["message_id"] = json!(format!("m{}", self.messages));
        event["source"] = json!({"platform": "discord", "chat_id": "c1", "user_id": "u"});
        self.gateway().deliver(&RawJson::parse(&event.to_string()).unwrap()).await.unwrap();
    }

    /// The next event. Requests and acknowledgements are noted.
    async fn event(&mut self) -> Event {
        let (_, event) = guard("an event of the agent", self.events.next()).await.unwrap();
        match &event {
            Event::Outbound(outbound) => self.requests.push_back(outbound.clone()),
            Event::Acked(_) => self.acked += 1,
            _ => {}
        }
        event
    }

    /// The next request, which is this operation. Acks, sleeping and waking come whenever they come.
    async fn request(&mut self, op: &str) -> (Outbound, Value) {
        loop {
            if let Some(outbound) = self.requests.pop_front() {
                let action: Value = outbound.action.read().unwrap();
                assert_eq!((&action["op"], &action["chat_id"]), (&json!(op), &json!("c1")), "{action}");
                assert_eq!(action["metadata"]["user_id"], "u", "{action}");
                return (outbound, action);
            }
            self.event().await;
        }
    }

    fn answer(&self, outbound: &Outbound) {
        self.gateway()
            .answer(outbound.id, &RawJson::parse(r#"{"success":true,"message_id":"shown"}"#).unwrap())
            .unwrap();
    }

    /// The next request, which is this operation, and is answered.
    async fn answered(&mut self, op: &str) -> Value {
        let (outbound, action) = self.request(op).await;
        self.answer(&outbound);
        action
    }

    /// Sees the last message acknowledged, which has to be in the journal by then.
    async fn acked(&mut self, journal: &Path) {
        while self.acked < self.messages {
            self.event().await;
        }
        let stored = std::fs::read_to_string(journal).unwrap();
        let named = format!("\"m{}\"", self.messages);
        assert!(stored.lines().any(|line| line.contains(&named)), "acknowledged, but not stored: {stored}");
    }

    async fn answers_a_message(&mut self) {
        self.answered("typing").await;
        let first = self.answered("send").await;
        let quoted = json!(format!("m{}", self.messages));
        assert_eq!((&first["content"], &first["reply_to"]), (&json!("Thinking…"), &quoted));
    }
}

async fn lives_a_day(run: impl FnOnce(Config, PathBuf) -> Result<(), String> + Send + 'static) {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("agent.ndjson");
    let mut stage = Stage::start().await;
    let (config, path) = (stage.agents_config(), journal.clone());
    let agent = std::thread::spawn(move || run(config, path));

    // It answers, shows its thoughts, and asks.
    stage.deliver(json!({"text": "one two"})).await;
    stage.acked(&journal).await;
    stage.answers_a_message().await;
    for thought in ["ONE ", "ONE TWO"] {
        let edit = stage.answered("edit").await;
        assert_eq!((&edit["content"], &edit["message_id"]), (&json!(thought), &json!("shown")));
    }
    let question = stage.answered("prompt").await;
    assert_eq!(question["options"][0]["id"], "yes");
    let pressed = json!({"prompt_id": question["prompt_id"], "option_id": "yes"});
    stage.deliver(json!({"text": "/yes", "prompt_response": pressed})).await;
    stage.answered("typing").await;
    assert_eq!(stage.answered("send").await["content"], "Noted: yes.");

    // It stops in the middle of a thought.
    stage.deliver(json!({"text": "three four five"})).await;
    stage.answers_a_message().await;
    let (thought, _) = stage.request("edit").await;
    stage.gateway().interrupt(KEY, "c1").unwrap();
    assert_eq!(stage.answered("send").await["content"], "Stopped.");
    stage.answer(&thought);
    stage.deliver(json!({"text": "six"})).await;
    // Not another thought about what was stopped.
    stage.answers_a_message().await;
    assert_eq!(stage.answered("edit").await["content"], "SIX");
    stage.answered("prompt").await;

    // It sleeps when there is nothing to do, and wakes for what came meanwhile.
    while !matches!(stage.event().await, Event::Idle) {}
    while !matches!(stage.event().await, Event::LinkEnded { .. }) {}
    stage.deliver(json!({"text": "seven"})).await;
    stage.acked(&journal).await;
    stage.answers_a_message().await;
    assert_eq!(stage.answered("edit").await["content"], "SEVEN");
    stage.answered("prompt").await;

    // Its end is the gateway's.
    stage.gateway().revoke();
    let ended = tokio::task::spawn_blocking(|| agent.join().unwrap());
    assert_eq!(guard("the agent's end", ended).await.unwrap(), Ok(()));
    let stored = std::fs::read_to_string(&journal).unwrap();
    assert_eq!(stored.lines().count(), 5, "each message once: {stored}");
}

// proves: ACK-1, CHAT-4, STOP-1, IDLE-2
#[tokio::test]
async fn tokio_agent() {
    lives_a_day(|config, journal| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(on_tokio::run(config, &journal, IDLE)).map_err(|error| error.to_string())
    })
    .await;
}

// proves: ACK-1, CHAT-4, STOP-1, IDLE-2
#[tokio::test]
async fn async_std_agent() {
    lives_a_day(|config, journal| {
        async_std::task::block_on(on_async_std::run(config, &journal, IDLE)).map_err(|error| error.to_string())
    })
    .await;
}

// proves: ACK-1, CHAT-4, STOP-1, IDLE-2
#[tokio::test]
async fn blocking_agent() {
    lives_a_day(|config, journal| on_threads::run(config, &journal, IDLE).map_err(|error| error.to_string())).await;
}
