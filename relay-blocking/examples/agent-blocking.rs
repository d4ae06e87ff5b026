//! A whole small agent. It stores what it is told before it acknowledges it, shows what it does by editing its answer, asks
//! with buttons, stops when it is told to, and sleeps when there is nothing to do. Its environment: see `Config::from_env`.

use relay_blocking::*;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::{
    collections::HashMap, error::Error, fs::OpenOptions, io::Write, path::Path, sync::Arc, thread, time::Duration,
};

fn main() -> Result<(), Box<dyn Error>> {
    run(Config::from_env()?, Path::new("agent.ndjson"), Duration::from_secs(300))
}

pub(crate) fn run(config: Config, journal: &Path, idle: Duration) -> Result<(), Box<dyn Error>> {
    let (gateway, mut events) = relay_blocking::connect(config)?;
    let mut journal = OpenOptions::new().create(true).append(true).open(journal)?;
    // Each with what stops it, which it drops when it is over.
    let mut turns: HashMap<String, Arc<AtomicBool>> = HashMap::new();
    loop {
        turns.retain(|_, stop| Arc::strong_count(stop) > 1);
        match events.next_timeout(idle) {
            Ok(Some(Event::Message(message))) => {
                writeln!(journal, "{}", message.raw())?;
                journal.sync_all()?;
                let event = message.payload().clone();
                message.ack(); // A crash does not lose it any more.
                let (key, stop) = (event.session_key(&SessionKeys::default()), Arc::<AtomicBool>::default());
                turns.insert(key, stop.clone()).iter().for_each(|before| before.store(true, Relaxed));
                let gateway = gateway.clone();
                thread::spawn(move || turn(&gateway, &event, &stop).unwrap_or_else(|error| eprintln!("{error}")));
            }
            Ok(Some(Event::Interrupt(stopped))) => {
                let Some(stop) = turns.remove(&stopped.session_key) else { continue };
                stop.store(true, Relaxed);
                gateway.send(stopped.chat_id.as_deref().unwrap_or_default(), "Stopped.")?;
            }
            Ok(Some(Event::Passthrough(other))) => other.ack(),
            Ok(Some(other)) => eprintln!("{other:?}"),
            Ok(None) => return Ok(()),
            // Nothing to do: sleeps. What comes meanwhile waits at the connector, where a dial a second looks for it.
            Err(NotYet) if turns.is_empty() => drop(gateway.go_dormant()),
            Err(NotYet) => {}
        }
    }
}

fn turn(gateway: &Gateway, event: &MessageEvent, stop: &AtomicBool) -> Result<(), RequestError> {
    gateway.wake(); // It may have fallen asleep just as the message came.
    gateway.perform(Action::typing(event.chat_id()), RequestOptions::default().wait_for_link())?;
    if let Some(answer) = event.prompt_response().filter(|answer| gateway.is_own_prompt(&answer.prompt_id)) {
        return gateway.reply(event, &format!("Noted: {}.", answer.option_id)).map(drop);
    }
    let (shown, mut answer) = (gateway.reply(event, "Thinking…")?, String::new());
    for word in event.text().split_inclusive(' ').take_while(|_| !stop.load(Relaxed)) {
        answer += &word.to_uppercase(); // Where another agent would ask its model.
        gateway.edit(event.chat_id(), shown.message_id.as_deref().unwrap_or_default(), &answer)?;
    }
    let question = Prompt::new("Was that loud enough?").option("yes", "Yes").option("no", "No");
    if stop.load(Relaxed) { Ok(()) } else { gateway.prompt(event.chat_id(), &question).map(drop) }
}
