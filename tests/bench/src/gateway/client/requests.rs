//! One request after the other.

use std::time::Instant;

use clap::Args;
use futures_util::{SinkExt, StreamExt};
use relay_proto::client::Event;
use serde_json::json;
use tungstenite::Message;

use super::bare::{self, answered, request};
use super::{Client, config, unexpected};
use crate::Result;
use crate::gateway::child;

#[derive(Args)]
pub(super) struct Options {
    #[arg(long)]
    address: String,
    #[arg(long)]
    client: Client,
    #[arg(long)]
    requests: u64,
}

pub(super) fn run(options: &Options) -> Result<()> {
    match options.client {
        Client::RelayTokio => super::tokio(0, relay_tokio(options))?,
        Client::TokioTungstenite => super::tokio(0, tokio_tungstenite(options))?,
        Client::RelayAsyncStd => async_std::task::block_on(relay_async_std(options)),
        Client::RelayBlocking => relay_blocking(options),
        Client::Tungstenite => tungstenite(options),
        Client::Jsonrpsee => Err("jsonrpsee is compared with many requests under way".into()),
    }
}

/// Makes requests; the first tenth is for warming up. A macro, because some of them wait in their own way.
macro_rules! time {
    ($options:expr, $number:ident => $request:expr) => {{
        let warm = $options.requests.div_ceil(10);
        let mut began = Instant::now();
        for $number in 0..warm + $options.requests {
            if $number == warm {
                began = Instant::now();
            }
            $request
        }
        let rate = $options.requests as f64 / began.elapsed().as_secs_f64();
        child::tell(&json!({"rate": rate}));
    }};
}

async fn relay_tokio(options: &Options) -> Result<()> {
    let (gateway, mut events) = relay_tokio::connect(config(&options.address))?;
    match events.next().await {
        Some(Event::Ready { .. }) => {}
        other => return Err(unexpected(&other)),
    }
    time!(options, _number => { gateway.typing("c1").await?; });
    Ok(())
}

async fn relay_async_std(options: &Options) -> Result<()> {
    let (gateway, mut events) = relay_async_std::connect(config(&options.address))?;
    match events.next().await {
        Some(Event::Ready { .. }) => {}
        other => return Err(unexpected(&other)),
    }
    time!(options, _number => { gateway.typing("c1").await?; });
    Ok(())
}

fn relay_blocking(options: &Options) -> Result<()> {
    let (gateway, mut events) = relay_blocking::connect(config(&options.address))?;
    match events.next() {
        Some(Event::Ready { .. }) => {}
        other => return Err(unexpected(&other)),
    }
    time!(options, _number => { gateway.typing("c1")?; });
    Ok(())
}

fn check(message: &Message, number: u64) -> Result<()> {
    match message {
        Message::Text(text) if answered(text)? == number => Ok(()),
        other => Err(unexpected(other)),
    }
}

async fn tokio_tungstenite(options: &Options) -> Result<()> {
    let mut socket = bare::connect(&options.address).await?;
    time!(options, number => {
        socket.send(Message::text(request(number))).await?;
        check(&socket.next().await.ok_or("the end")??, number)?;
    });
    Ok(())
}

fn tungstenite(options: &Options) -> Result<()> {
    let mut socket = bare::connect_blocking(&options.address)?;
    time!(options, number => {
        socket.send(Message::text(request(number)))?;
        check(&socket.read()?, number)?;
    });
    Ok(())
}
