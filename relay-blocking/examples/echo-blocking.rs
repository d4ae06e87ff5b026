//! Answers every message with its own text, without an async runtime: `cargo run -p relay-blocking --example echo-blocking URL`.

use std::time::Duration;

use relay_blocking::{Config, Event, NotYet};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("usage: echo URL")?;
    let (gateway, mut events) = relay_blocking::connect(Config::new(url).identity("discord", "1234"))?;
    loop {
        match events.next_timeout(Duration::from_secs(60)) {
            Ok(Some(Event::Message(message))) => match gateway.reply(&message, message.text()) {
                Ok(_) => message.ack(),
                // Not acknowledged: it comes again on the next link.
                Err(error) => eprintln!("{error}"),
            },
            Ok(Some(other)) => println!("{other:?}"),
            Ok(None) => return Ok(()),
            Err(NotYet) => println!("quiet for a minute; {:?}", gateway.state()),
        }
    }
}
