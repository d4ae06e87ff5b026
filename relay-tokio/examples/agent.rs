//! A whole small agent. It stores what it is told before it acknowledges it, shows what it does by editing its answer, asks
//! with buttons, stops when it is told to, and sleeps when there is nothing to do. Its environment: see `Config::from_env`.

use std::{collections::HashMap, error::Error, fs::OpenOptions, io::Write, path::Path, time::Duration};

use relay_tokio::{Action, Config, Event, Gateway, MessageEvent, Prompt, RequestError, RequestOptions, SessionKeys};
use tokio::{task::JoinHandle, time::timeout};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run(Config::from_env()?, Path::new("agent.ndjson"), Duration::from_secs(300)).await
}

pub(crate) async fn run(config: Config, journal: &Path, idle: Duration) -> Result<(), Box<dyn Error>> {
    let (gateway, mut events) = relay_tokio::connect(config)?;
    let mut journal = OpenOptions::new().create(true).append(true).open(journal)?;
    let mut turns: HashMap<String, JoinHandle<()>> = HashMap::new();
    loop {
        turns.retain(|_, turn| !turn.is_finished());
        match timeout(idle, events.next()).await {
            Ok(Some(Event::Message(message))) => {
                writeln!(journal, "{}", message.raw())?;
                journal.sync_all()?;
                let event = message.payload().clone();
                message.ack(); // A crash does not lose it any more.
                let (key, gateway) = (event.session_key(&SessionKeys::default()), gateway.clone());
                let turn = async move { turn(&gateway, &event).await.unwrap_or_else(|error| eprintln!("{error}")) };
                turns.insert(key, tokio::spawn(turn)).iter().for_each(JoinHandle::abort);
            }
            Ok(Some(Event::Interrupt(stop))) => {
                let Some(turn) = turns.remove(&stop.session_key) else { continue };
                turn.abort();
                gateway.send(stop.chat_id.as_deref().unwrap_or_default(), "Stopped.").await?;
            }
            Ok(Some(Event::Passthrough(other))) => other.ack(),
            Ok(Some(other)) => eprintln!("{other:?}"),
            Ok(None) => return Ok(()),
            // Nothing to do: sleeps. What comes meanwhile waits at the connector, where a dial a second looks for it.
            Err(_) if turns.is_empty() => drop(gateway.go_dormant().await),
            Err(_) => {}
        }
    }
}

async fn turn(gateway: &Gateway, event: &MessageEvent) -> Result<(), RequestError> {
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
