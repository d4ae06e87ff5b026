//! What a request costs: round trips through a gateway, and the same bytes through a bare blocking WebSocket, over
//! loopback to the same connector. `cargo run --release -p hermes-relay-blocking --example round_trip`, on one core with
//! `taskset -c 0` in front.

use std::error::Error;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use relay_blocking::{Action, Config, Event};
use tungstenite::Message;

type Fallible<T> = Result<T, Box<dyn Error>>;

const TURNS: u32 = 60;
const ROUNDS: u32 = 500;

fn main() -> Fallible<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("ws://{}/relay", listener.local_addr()?);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || connector(stream).ok());
        }
    });
    let (mut bare, mut gateway) = (bare(&url)?, gateway(&url)?);
    // They take turns, and the best turn of each counts: the machine may have other things to do.
    let (mut best_bare, mut best_gateway) = (Duration::MAX, Duration::MAX);
    for _ in 0..TURNS {
        best_bare = best_bare.min(time(&mut bare)?);
        best_gateway = best_gateway.min(time(&mut gateway)?);
    }
    let ratio = best_bare.as_secs_f64() / best_gateway.as_secs_f64();
    println!("bare {best_bare:?}, gateway {best_gateway:?}: {ratio:.2} of the rate");
    Ok(())
}

/// Describes itself for a hello, and answers everything else as a request.
fn connector(stream: TcpStream) -> Fallible<()> {
    stream.set_nodelay(true)?;
    let mut socket = tungstenite::accept(stream)?;
    loop {
        let message = socket.read()?;
        let Message::Text(text) = message else { continue };
        let answer = match text.split_once("\"requestId\":\"").and_then(|(_, rest)| rest.split_once('"')) {
            Some((id, _)) => format!(r#"{{"type":"outbound_result","requestId":"{id}","result":{{"success":true}}}}"#),
            None => r#"{"type":"descriptor","descriptor":{"platform":"discord"}}"#.into(),
        };
        socket.send(Message::text(answer + "\n"))?;
    }
}

fn bare(url: &str) -> Fallible<impl FnMut() -> Fallible<()>> {
    let stream = TcpStream::connect(url.trim_start_matches("ws://").trim_end_matches("/relay"))?;
    stream.set_nodelay(true)?;
    let (mut socket, _) = tungstenite::client(url, stream)?;
    let action = Action::typing("c1").to_json();
    let id = "0123456789abcdef0123456789abcdef";
    Ok(move || {
        let frame = format!("{{\"type\":\"outbound\",\"requestId\":\"{id}\",\"action\":{}}}\n", action.as_str());
        socket.send(Message::text(frame))?;
        socket.read()?;
        Ok(())
    })
}

fn gateway(url: &str) -> Fallible<impl FnMut() -> Fallible<()>> {
    let (gateway, mut events) = relay_blocking::connect(Config::new(url).identity("discord", "1234"))?;
    if !matches!(events.next(), Some(Event::Ready { .. })) {
        return Err("no link".into());
    }
    Ok(move || {
        gateway.typing("c1")?;
        Ok(())
    })
}

/// The mean of many rounds.
#[allow(clippy::disallowed_methods)] // Time is what this is about.
fn time(round: &mut impl FnMut() -> Fallible<()>) -> Fallible<Duration> {
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        round()?;
    }
    Ok(begun.elapsed() / ROUNDS)
}
