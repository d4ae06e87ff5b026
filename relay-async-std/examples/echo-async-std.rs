//! Repeats what it is told, on async-std. Configured by the environment: see `Config::from_env`. Ctrl-C closes in order.
//!
//! `GATEWAY_RELAY_URL=http://127.0.0.1:8765 GATEWAY_RELAY_PLATFORMS=discord \
//! cargo run -p hermes-relay-async-std --example echo-async-std`

use relay_async_std::{Config, Event, Events, Gateway};

#[async_std::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (gateway, events) = relay_async_std::connect(Config::from_env()?)?;
    let closing = gateway.clone();
    ctrlc::set_handler(move || drop(closing.close()))?; // It goes on by itself, and the events end with it.
    run(gateway, events).await
}

pub(crate) async fn run(gateway: Gateway, mut events: Events) -> Result<(), Box<dyn std::error::Error>> {
    while let Some(event) = events.next().await {
        let Event::Delivery(delivery) = event else {
            eprintln!("{event:?}");
            continue;
        };
        if let Some(message) = delivery.message()
            && let Err(error) = gateway.reply(message, &format!("you said: {}", message.text())).await
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
