//! Repeats what it is told, on smol, with events as the stream that they are. Configured by the environment: see
//! `Config::from_env`. Ctrl-C closes in order.
//!
//! `GATEWAY_RELAY_URL=http://127.0.0.1:8765 GATEWAY_RELAY_PLATFORMS=discord \
//! cargo run -p hermes-relay-async-std --example echo-smol`

use relay_async_std::{Config, Event, Events, Gateway};
use smol::stream::StreamExt;

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (gateway, events, driving) = relay_async_std::gateway(Config::from_env()?, None)?;
    let closing = gateway.clone();
    ctrlc::set_handler(move || drop(closing.close()))?; // It goes on by itself, and the events end with it.
    run(gateway, events, driving)
}

pub(crate) fn run(
    gateway: Gateway,
    events: Events,
    driving: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Box<dyn std::error::Error>> {
    smol::block_on(async {
        let driving = smol::spawn(driving);
        let mut deliveries = events.filter_map(|event| match event {
            Event::Delivery(delivery) => Some(delivery),
            other => {
                eprintln!("{other:?}");
                None
            }
        });
        while let Some(delivery) = deliveries.next().await {
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
        // The gateway has ended, and so does what drives it.
        driving.await;
        Ok(())
    })
}
