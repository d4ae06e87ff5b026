//! Repeats what it is told, on smol, with events as the stream that they are. Configured by the environment: see
//! `Config::from_env`.
//!
//! `GATEWAY_RELAY_URL=http://127.0.0.1:8765 GATEWAY_RELAY_PLATFORMS=discord cargo run --example echo-smol`

use relay_async_std::{Config, Event};
use smol::stream::StreamExt;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    smol::block_on(async {
        let (gateway, events, driving) = relay_async_std::gateway(Config::from_env()?, None)?;
        let driving = smol::spawn(driving);
        let mut messages = events.filter_map(|event| match event {
            Event::Message(message) => Some(message),
            _ => None,
        });
        while let Some(message) = messages.next().await {
            match gateway.reply(&message, &format!("you said: {}", message.text())).await {
                Ok(_) => message.ack(),
                // Not answered: it comes again on the next link.
                Err(error) => eprintln!("{error}"),
            }
        }
        // The gateway has ended, and so does what drives it.
        driving.await;
        Ok(())
    })
}
