//! A whole small agent. It stores what it is told before it acknowledges it, shows what it does by editing its answer, asks
//! with buttons, stops when it is told to, and sleeps when there is nothing to do. Its environment: see `Config::from_env`.

use async_std::future::timeout;
use async_std::task::{self, JoinHandle};
use relay_async_std::*;
use std::{collections::HashMap, error::Error, fs::OpenOptions, io::Write, path::Path, sync::Arc, time::Duration};

#[async_std::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run(Config::from_env()?, Path::new("agent.ndjson"), Duration::from_secs(300)).await
}

pub(crate) async fn run(config: Config, journal: &Path, idle: Duration) -> Result<(), Box<dyn Error>> {
    let (gateway, mut events) = relay_async_std::connect(config)?;
    let mut journal = OpenOptions::new().create(true).append(true).open(journal)?;
    let mut turns: HashMap<String, (JoinHandle<()>, Arc<()>)> = HashMap::new(); // With what they drop when they end.
    loop {
        turns.retain(|_, (_, running)| Arc::strong_count(running) > 1);
        match timeout(idle, events.next()).await {
            Ok(Some(Event::Message(message))) => {
                writeln!(journal, "{}", message.raw()).and_then(|()| journal.sync_all())?;
                let event = message.payload().clone();
                message.ack(); // A crash does not lose it any more.
                let (key, running) = (event.session_key(&SessionKeys::default()), Arc::new(()));
                let turn = task::spawn(turn(gateway.clone(), event, running.clone()));
                turns.insert(key, (turn, running)).map(|(before, _)| task::spawn(before.cancel()));
            }
            Ok(Some(Event::Interrupt(stop))) => {
                let Some((turn, _)) = turns.remove(&stop.session_key) else { continue };
                turn.cancel().await;
                gateway.send(stop.chat_id.as_deref().unwrap_or_default(), "Stopped.").await?;
            }
            Ok(Some(Event::Passthrough(other))) => other.ack(),
            Ok(None) => return Ok(()),
            // Nothing to do: sleeps. What comes meanwhile waits at the connector, where a dial a second looks for it.
            Err(_) if turns.is_empty() => drop(gateway.go_dormant().await),
            _ => {}
        }
    }
}

async fn turn(gateway: Gateway, event: MessageEvent, _running: Arc<()>) {
    answer(&gateway, &event).await.unwrap_or_else(|error| eprintln!("{error}"));
}

async fn answer(gateway: &Gateway, event: &MessageEvent) -> Result<(), RequestError> {
    gateway.wake(); // It may have fallen asleep just as the message came.
    gateway.perform(Action::typing(event.chat_id()), RequestOptions::default().wait_for_link()).await?;
    if let Some(answer) = event.prompt_response().filter(|answer| gateway.is_own_prompt(&answer.prompt_id)) {
        return gateway.reply(event, &format!("Noted: {}.", answer.option_id)).await.map(drop);
    }
    let (shown, mut answer) = (gateway.reply(event, "Thinking…").await?, String::new());
    for word in event.text().split_inclusive(' ') {
        answer += &word.to_uppercase(); // Where another agent would ask its model.
        gateway.edit(event.chat_id(), shown.message_id.as_deref().unwrap_or_default(), &answer).await?;
    }
    let question = Prompt::new("Was that loud enough?").option("yes", "Yes").option("no", "No");
    gateway.prompt(event.chat_id(), &question).await.map(drop)
}
