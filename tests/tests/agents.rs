//! The examples `agent` of every runtime, as they are, against the embedded connector.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::VecDeque;
use std::io::Write as _;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use relay_connector::{self as connector, Connector};
use relay_proto::connector::{Event, Outbound};
use relay_proto::frame::{Descriptor, RawJson};
use relay_proto::gateway::Config;
use relay_tests::app::{patient, quick};
use relay_tests::guard;
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

/// How long it has nothing to do before it sleeps. It may do so between any two steps of a test.
const IDLE: Duration = Duration::from_millis(100);

const KEY: &str = "agent:main:discord:dm:c1";

/// An agent's `run`, with its journal.
type Run = fn(Config, &Path) -> Result<(), String>;

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
    async fn start(ops: &[&str]) -> Self {
        let mut descriptor = Descriptor::new("discord");
        descriptor.supported_ops = ops.iter().map(|op| (*op).to_owned()).collect();
        let listener = connector::listen("127.0.0.1:0").await.unwrap();
        let config = connector::Config::new().gateway("g", "s3cret").descriptor(descriptor);
        let (connector, events) = connector::serve(listener, patient(config)).unwrap();
        Self { connector, events, messages: 0, acked: 0, requests: VecDeque::new() }
    }

    fn agents_config(&self) -> Config {
        let config = Config::new(format!("ws://{}", self.connector.address())).identity("discord", "b");
        config.credentials("g", "s3cret").timing(quick())
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

    /// Delivers a press on a button as the interaction that it is on Discord.
    async fn press(&mut self, prompt_id: &str, option: &str) {
        let body = json!({
            "id": "i", "type": 3, "channel_id": "c1", "user": {"id": "u"}, "message": {"id": "shown"},
            "data": {"custom_id": format!("hp1:{prompt_id}:{option}")},
        });
        let body = STANDARD.encode(body.to_string());
        let forward = json!({"platform": "discord", "botId": "b", "method": "POST", "path": "/", "bodyB64": body});
        self.gateway().forward(&RawJson::parse(&forward.to_string()).unwrap()).await.unwrap();
        self.messages += 1;
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

    fn answer_with(&self, outbound: &Outbound, result: &str) {
        self.gateway().answer(outbound.id, &RawJson::parse(result).unwrap()).unwrap();
    }

    fn answer(&self, outbound: &Outbound) {
        self.answer_with(outbound, r#"{"success":true,"message_id":"shown"}"#);
    }

    /// The next request, which is this operation, and is answered.
    async fn answered(&mut self, op: &str) -> Value {
        let (outbound, action) = self.request(op).await;
        self.answer(&outbound);
        action
    }

    /// Sees everything acknowledged.
    async fn all_acked(&mut self) {
        while self.acked < self.messages {
            self.event().await;
        }
    }

    /// Sees the last message acknowledged, which has to be in the journal by then.
    async fn acked(&mut self, journal: &Path) {
        self.all_acked().await;
        let last = format!("m{}", self.messages);
        let stored = stored(journal);
        assert!(stored.iter().any(|(_, message)| *message == last), "acknowledged, but not stored: {stored:?}");
    }

    async fn answers_a_message(&mut self) {
        self.answered("typing").await;
        self.thinks().await;
    }

    async fn thinks(&mut self) {
        let first = self.answered("send").await;
        let quoted = json!(format!("m{}", self.messages));
        assert_eq!((&first["content"], &first["reply_to"]), (&json!("Thinking…"), &quoted));
    }

    /// Ends the agent, which ends with its gateway.
    async fn ends(&mut self, agent: JoinHandle<Result<(), String>>) {
        self.gateway().revoke();
        let ended = tokio::task::spawn_blocking(|| agent.join().unwrap());
        assert_eq!(guard("the agent's end", ended).await.unwrap(), Ok(()));
    }
}

/// The lines of a journal that can be read: each key, and the id of its message, or `done`.
fn stored(journal: &Path) -> Vec<(String, String)> {
    let stored = std::fs::read(journal).unwrap();
    let entry = |line: &str| {
        let (key, what) = line.split_once(' ')?;
        let message = serde_json::from_str(what).ok().map(|event: Value| event["message_id"].as_str().unwrap().into());
        Some((key.to_owned(), message.or((what == "done").then(|| what.to_owned()))?))
    };
    String::from_utf8_lossy(&stored).lines().filter_map(entry).collect()
}

fn start(run: Run, stage: &Stage, journal: &Path) -> JoinHandle<Result<(), String>> {
    let (config, path) = (stage.agents_config(), journal.to_owned());
    std::thread::spawn(move || run(config, &path))
}

async fn lives_a_day(run: Run) {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("agent.journal");
    let mut stage = Stage::start(&["send", "edit", "typing", "prompt"]).await;
    let agent = start(run, &stage, &journal);

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
    // The same button, as Discord has it.
    stage.press(question["prompt_id"].as_str().unwrap(), "no").await;
    assert_eq!(stage.answered("send").await["content"], "Noted: no.");
    stage.press("another.prompt", "no").await;
    stage.all_acked().await;

    // It stops in the middle of a thought.
    stage.deliver(json!({"text": "three four five"})).await;
    stage.answers_a_message().await;
    let (thought, _) = stage.request("edit").await;
    stage.gateway().interrupt(KEY, "c1").unwrap();
    // That this cannot be said is not the end of the agent.
    let (stopped, action) = stage.request("send").await;
    assert_eq!(action["content"], "Stopped.");
    stage.answer_with(&stopped, r#"{"success":false,"error":"no"}"#);
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

    stage.ends(agent).await;
    let stored = stored(&journal);
    let told: Vec<_> = stored.iter().filter(|(_, what)| what != "done").collect();
    assert_eq!(told.len(), 5, "each message once: {stored:?}");
    // Nothing is left for the next day; whether the last turn had time to say so is not known.
    for (key, _) in told.iter().take(4) {
        assert!(stored.contains(&(key.clone(), "done".into())), "{key}: {stored:?}");
    }
}

/// The platform can neither show that somebody writes, nor change what was sent.
async fn lives_after_a_crash(run: Run) {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("agent.journal");
    let ops = ["send", "prompt"];
    let told = json!({"text": "one two"});

    // It has acknowledged, and not answered, when it ends; one message is answered before.
    let mut stage = Stage::start(&ops).await;
    let agent = start(run, &stage, &journal);
    stage.deliver(json!({"text": "zero"})).await;
    stage.thinks().await;
    assert_eq!(stage.answered("send").await["content"], "ZERO");
    stage.answered("prompt").await;
    stage.deliver(told.clone()).await;
    stage.acked(&journal).await;
    assert_eq!(stage.request("send").await.1["reply_to"], "m2");
    stage.ends(agent).await;
    // The crash has cut a line short, within a character.
    let mut torn = std::fs::OpenOptions::new().append(true).open(&journal).unwrap();
    torn.write_all(b"0123456789abcdef {\"text\":\"\xc3").unwrap();

    // The next run answers it, once, although the connector has it still.
    let mut stage = Stage::start(&ops).await;
    (stage.messages, stage.acked) = (1, 1); // Of the first message there is nothing left.
    stage.deliver(told).await;
    let agent = start(run, &stage, &journal);
    stage.thinks().await;
    assert_eq!(stage.answered("send").await["content"], "ONE TWO");
    stage.answered("prompt").await;
    stage.all_acked().await;
    stage.deliver(json!({"text": "three"})).await;
    stage.thinks().await;
    assert_eq!(stage.answered("send").await["content"], "THREE");
    stage.acked(&journal).await;
    stage.ends(agent).await;
    let told: Vec<_> = stored(&journal).into_iter().map(|(_, what)| what).filter(|what| what != "done").collect();
    assert_eq!(told, ["m1", "m2", "m3"], "each once");
}

fn run_on_tokio(config: Config, journal: &Path) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let agent = async {
        let (gateway, events) = relay_tokio::connect(config).unwrap();
        on_tokio::run(gateway, events, journal, IDLE).await
    };
    runtime.block_on(agent).map_err(|error| error.to_string())
}

fn run_on_async_std(config: Config, journal: &Path) -> Result<(), String> {
    let (gateway, events) = relay_async_std::connect(config).unwrap();
    async_std::task::block_on(on_async_std::run(gateway, events, journal, IDLE)).map_err(|error| error.to_string())
}

fn run_on_threads(config: Config, journal: &Path) -> Result<(), String> {
    let (gateway, events) = relay_blocking::connect(config).unwrap();
    on_threads::run(gateway, events, journal, IDLE).map_err(|error| error.to_string())
}

// proves: ACK-1, CHAT-4, CHAT-7, STOP-1, IDLE-2
#[tokio::test]
async fn tokio_agent() {
    guard("the end of it all", lives_a_day(run_on_tokio)).await;
}

// proves: ACK-1, CHAT-4, CHAT-7, STOP-1, IDLE-2
#[tokio::test]
async fn async_std_agent() {
    guard("the end of it all", lives_a_day(run_on_async_std)).await;
}

// proves: ACK-1, CHAT-4, CHAT-7, STOP-1, IDLE-2
#[tokio::test]
async fn blocking_agent() {
    guard("the end of it all", lives_a_day(run_on_threads)).await;
}

// proves: ACK-1, CHAT-1
#[tokio::test]
async fn tokio_agent_after_a_crash() {
    guard("the end of it all", lives_after_a_crash(run_on_tokio)).await;
}

// proves: ACK-1, CHAT-1
#[tokio::test]
async fn async_std_agent_after_a_crash() {
    guard("the end of it all", lives_after_a_crash(run_on_async_std)).await;
}

// proves: ACK-1, CHAT-1
#[tokio::test]
async fn blocking_agent_after_a_crash() {
    guard("the end of it all", lives_after_a_crash(run_on_threads)).await;
}
