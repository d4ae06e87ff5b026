//! Repeats what it is told, on async-std. Configured by the environment: see `Config::from_env`.
//!
//! `GATEWAY_RELAY_URL=http://127.0.0.1:8765 GATEWAY_RELAY_PLATFORMS=discord \
//! cargo run -p relay-async-std --example echo-async-std`

use relay_async_std::{Config, Event};

#[async_std::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    run(Config::from_env()?).await
}

pub(crate) async fn run(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    let (gateway, mut events) = relay_async_std::connect(config)?;
    while let Some(event) = events.next().await {
        match event {
            Event::Message(message) => match gateway.reply(&message, &format!("you said: {}", message.text())).await {
                Ok(_) => message.ack(),
                Err(error) if error.may_succeed_later() => message.give_back(), // The next link brings it again.
                Err(error) => {
                    eprintln!("{error}");
                    message.ack(); // Trying again would not help, or could say it twice.
                }
            },
            Event::Passthrough(other) => other.ack(),
            Event::Undecodable(other) => other.ack(),
            other => eprintln!("{other:?}"),
        }
    }
    Ok(())
}
