//! Repeats what it is told, without an async runtime. Configured by the environment: see `Config::from_env`.
//!
//! `GATEWAY_RELAY_URL=http://127.0.0.1:8765 GATEWAY_RELAY_PLATFORMS=discord \
//! cargo run -p relay-blocking --example echo-blocking`

use relay_blocking::{Config, Event};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    run(Config::from_env()?)
}

pub(crate) fn run(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    let (gateway, events) = relay_blocking::connect(config)?;
    for event in events {
        match event {
            Event::Message(message) => match gateway.reply(&message, &format!("you said: {}", message.text())) {
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
