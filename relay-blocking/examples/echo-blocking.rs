//! Repeats what it is told, without an async runtime. Configured by the environment: see `Config::from_env`. Ctrl-C closes
//! in order.
//!
//! `GATEWAY_RELAY_URL=http://127.0.0.1:8765 GATEWAY_RELAY_PLATFORMS=discord \
//! cargo run -p relay-blocking --example echo-blocking`

use relay_blocking::{Config, Event, Events, Gateway};

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (gateway, events) = relay_blocking::connect(Config::from_env()?)?;
    let closing = gateway.clone();
    ctrlc::set_handler(move || _ = closing.close())?; // The events end with it.
    run(gateway, events)
}

pub(crate) fn run(gateway: Gateway, events: Events) -> Result<(), Box<dyn std::error::Error>> {
    for event in events {
        match event {
            Event::Message(message) => match gateway.reply(&message, &format!("you said: {}", message.text())) {
                Ok(_) => message.ack(),
                Err(error) if error.may_succeed_later() => message.nack(), // The next link brings it again.
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
