//! Repeats what it is told, without an async runtime. Configured by the environment: see `Config::from_env`. Ctrl-C closes
//! in order.
//!
//! `GATEWAY_RELAY_URL=http://127.0.0.1:8765 GATEWAY_RELAY_PLATFORMS=discord \
//! cargo run -p hermes-relay-blocking --example echo-blocking`

use relay_blocking::{Config, Event, Events, Gateway};

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (gateway, events) = relay_blocking::connect(Config::from_env()?)?;
    let closing = gateway.clone();
    ctrlc::set_handler(move || _ = closing.close())?; // The events end with it.
    run(gateway, events)
}

pub(crate) fn run(gateway: Gateway, events: Events) -> Result<(), Box<dyn std::error::Error>> {
    for event in events {
        let Event::Delivery(delivery) = event else {
            eprintln!("{event:?}");
            continue;
        };
        if let Some(message) = delivery.message()
            && let Err(error) = gateway.reply(message, &format!("you said: {}", message.text()))
        {
            eprintln!("{error}");
            if error.may_succeed_later() {
                delivery.nack(); // The next link brings it again.
                continue;
            }
        }
        delivery.ack();
    }
    Ok(())
}
