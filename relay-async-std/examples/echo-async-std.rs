//! Repeats what it is told, on async-std. Configured by the environment: see `Config::from_env`.
//!
//! `GATEWAY_RELAY_URL=http://127.0.0.1:8765 GATEWAY_RELAY_PLATFORMS=discord cargo run --example echo-async-std`

use relay_async_std::{Config, Event};

#[async_std::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (gateway, mut events) = relay_async_std::connect(Config::from_env()?)?;
    while let Some(event) = events.next().await {
        match event {
            Event::Message(message) => {
                match gateway.reply(&message, &format!("you said: {}", message.text())).await {
                    Ok(_) => message.ack(),
                    // Not answered: it comes again on the next link.
                    Err(error) => eprintln!("{error}"),
                }
            }
            Event::Disconnected { ended, .. } => eprintln!("disconnected: {ended}"),
            Event::Revoked { ended } => return Err(format!("revoked: {ended}").into()),
            _ => {}
        }
    }
    Ok(())
}
