//! A whole small agent. It stores what it is told before it acknowledges it, and after a crash answers what it had not; it
//! shows what it does by editing its answer, asks with buttons, stops when it is told to, and sleeps when there is nothing to
//! do. Ctrl-C closes in order. Its environment: see `Config::from_env`.
//!
//! `GATEWAY_RELAY_URL=http://127.0.0.1:8765 GATEWAY_RELAY_PLATFORMS=discord \
//! cargo run -p hermes-relay-async-std --example agent-async-std`

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::{error::Error, path::Path, sync::Arc, time::Duration};

use async_std::future::timeout;
use async_std::task::{self, JoinHandle};
use relay_async_std::*;

#[async_std::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let (gateway, events) = connect(Config::from_env()?)?;
    let closing = gateway.clone();
    ctrlc::set_handler(move || drop(closing.close()))?; // The events end with it.
    run(gateway, events, Path::new("agent.journal"), Duration::from_secs(300)).await
}

pub(crate) async fn run(
    gateway: Gateway,
    mut events: Events,
    journal: &Path,
    idle: Duration,
) -> Result<(), Box<dyn Error>> {
    let (journal, undone) = Journal::open(journal)?;
    let mut turns = Turns { gateway: gateway.clone(), journal: Arc::new(journal), running: HashMap::new() };
    for (key, event) in undone {
        turns.begin(key, event).await;
    }
    loop {
        match timeout(idle, events.next()).await {
            Ok(Some(Event::Delivery(delivery))) => {
                if let Some(message) = delivery.message() {
                    let key = delivery.key();
                    // What the connector sends again after a crash is being answered already, or was.
                    if delivery.buffer_id().is_none() || !turns.journal.known.contains(&key) {
                        turns.journal.told(&key, message.raw())?;
                        turns.begin(key, message.clone()).await;
                    }
                } else if let Some(forward) = delivery.passthrough() {
                    match pressed(&gateway, forward).await {
                        Err(error) if error.may_succeed_later() => {
                            delivery.nack(); // The next link brings it again.
                            continue;
                        }
                        result => log(result),
                    }
                }
                delivery.ack(); // A crash does not lose it any more.
            }
            Ok(Some(Event::Interrupt(stop))) => {
                if turns.stop(&stop.session_key).await {
                    log(gateway.send(stop.chat_id.as_deref().unwrap_or_default(), "Stopped.").await);
                }
            }
            Ok(Some(other)) => eprintln!("{other:?}"),
            Ok(None) => return Ok(()),
            // Nothing to do: sleeps. What comes meanwhile waits at the connector, where a dial a second looks for it.
            Err(_) if turns.is_over() => drop(gateway.go_dormant().await),
            Err(_) => {}
        }
    }
}

/// What is being answered, by session: the message's key in the journal, the task, and what it drops when it ends.
struct Turns {
    gateway: Gateway,
    journal: Arc<Journal>,
    running: HashMap<String, (String, JoinHandle<()>, Arc<()>)>,
}

impl Turns {
    /// Answers a message, in place of whatever its session was at.
    async fn begin(&mut self, key: String, event: MessageEvent) {
        let session = event.session_key(&SessionKeys::default());
        self.stop(&session).await;
        self.running.retain(|_, (.., running)| is_running(running));
        let (running, turn) = (Arc::new(()), turn(self.gateway.clone(), self.journal.clone(), key.clone(), event));
        let held = running.clone();
        let task = task::spawn(async move {
            turn.await;
            drop(held);
        });
        self.running.insert(session, (key, task, running));
    }

    /// Whether the session was at something.
    async fn stop(&mut self, session: &str) -> bool {
        let Some((key, turn, _)) = self.running.remove(session).filter(|(.., running)| is_running(running)) else {
            return false;
        };
        turn.cancel().await;
        self.journal.done(&key);
        true
    }

    fn is_over(&self) -> bool {
        !self.running.values().any(|(.., running)| is_running(running))
    }
}

fn is_running(running: &Arc<()>) -> bool {
    Arc::strong_count(running) > 1
}

async fn turn(gateway: Gateway, journal: Arc<Journal>, key: String, event: MessageEvent) {
    loop {
        match answer(&gateway, &event).await {
            Err(error) if error.is_retryable() => {} // The link went: once more on the next one.
            Err(_) if gateway.state().is_terminal() => return, // The next run answers it.
            result => {
                log(result);
                return journal.done(&key);
            }
        }
    }
}

async fn answer(gateway: &Gateway, event: &MessageEvent) -> Result<(), RequestError> {
    gateway.wake(); // It may have fallen asleep just as the message came.
    let mut state = gateway.state();
    while state != State::Ready && !state.is_terminal() {
        state = gateway.state_changed(state).await;
    }
    let _ = gateway.typing(event.chat_id()).await; // Nice to have, and not on every platform.
    if let Some(answer) = event.prompt_response().filter(|answer| gateway.is_own_prompt(&answer.prompt_id)) {
        return gateway.reply(event, &format!("Noted: {}.", answer.option_id)).await.map(drop);
    }
    let (shown, mut answer) = (gateway.reply(event, "Thinking…").await?, String::new());
    let can_edit = gateway.capabilities(event.chat_id()).is_some_and(|known| known.supports("edit"));
    let shown = shown.message_id.as_deref().filter(|_| can_edit);
    for word in event.text().split_inclusive(' ') {
        answer += &word.to_uppercase(); // Where another agent would ask its model.
        if let Some(id) = shown {
            gateway.edit(event.chat_id(), id, &answer).await?;
        }
    }
    if shown.is_none() {
        gateway.reply(event, &answer).await?;
    }
    let question = Prompt::new("Was that loud enough?").option("yes", "Yes").option("no", "No");
    gateway.prompt(event.chat_id(), &question).await.map(drop)
}

/// Buttons of Discord come as interactions.
async fn pressed(gateway: &Gateway, forward: &PassthroughForward) -> Result<(), RequestError> {
    let Some(Ok(press)) = forward.interaction() else { return Ok(()) };
    match press.prompt_response().filter(|answer| gateway.is_own_prompt(&answer.prompt_id)) {
        Some(answer) => gateway.send(&press.chat_id, &format!("Noted: {}.", answer.option_id)).await.map(drop),
        None => Ok(()),
    }
}

fn log(result: Result<impl Sized, RequestError>) {
    let _ = result.inspect_err(|error| eprintln!("{error}"));
}

/// A file with a line `KEY JSON` for each message, and a line `KEY done` once there is nothing left to do about it.
struct Journal {
    file: File,
    /// The messages of earlier runs.
    known: HashSet<String>,
}

impl Journal {
    /// With what earlier runs have not done.
    fn open(path: &Path) -> io::Result<(Self, Vec<(String, MessageEvent)>)> {
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        let (mut stored, mut known, mut undone) = (Vec::new(), HashSet::new(), Vec::new());
        file.read_to_end(&mut stored)?;
        for (key, what) in String::from_utf8_lossy(&stored).lines().filter_map(|line| line.split_once(' ')) {
            if what == "done" {
                undone.retain(|(other, _)| other != key);
            } else if let Some(event) = MessageEvent::parse(what) {
                known.insert(key.to_owned());
                undone.push((key.to_owned(), event));
            }
        }
        file.write_all(b"\n")?; // What a crash has cut short ends here: it was not acknowledged, and comes again.
        Ok((Self { file, known }, undone))
    }

    fn told(&self, key: &str, message: &str) -> io::Result<()> {
        (&self.file).write_all(format!("{key} {message}\n").as_bytes())?;
        self.file.sync_all()
    }

    /// If this is lost, it is done twice.
    fn done(&self, key: &str) {
        let written = (&self.file).write_all(format!("{key} done\n").as_bytes());
        written.unwrap_or_else(|error| eprintln!("journal: {error}"));
    }
}
