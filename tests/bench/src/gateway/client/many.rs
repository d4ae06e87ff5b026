//! Many requests under way, on one thread.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Args;
use futures_util::{FutureExt, SinkExt, StreamExt};
use jsonrpsee::core::client::ClientT;
use jsonrpsee::core::params::ObjectParams;
use jsonrpsee::ws_client::WsClientBuilder;
use relay_proto::client::Event;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tungstenite::Message;

use super::bare::{self, Success, answered, request};
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
    /// How many are under way.
    #[arg(long)]
    under_way: u64,
}

pub(super) fn run(options: &Options) -> Result<()> {
    super::tokio(0, async {
        match options.client {
            Client::RelayTokio => relay_tokio(options).await,
            Client::TokioTungstenite => bare_client(options).await,
            Client::Jsonrpsee => jsonrpsee(options).await,
            other => Err(format!("{} is not compared here", other.name()).into()),
        }
    })?
}

/// Keeps so many requests under way; the first tenth is for warming up.
async fn time<F>(options: &Options, make: impl Fn() -> F + Clone + Send + 'static) -> Result<()>
where
    F: Future<Output = Result<()>> + Send,
{
    let mut began = Instant::now();
    for requests in [options.requests.div_ceil(10), options.requests] {
        began = Instant::now();
        let (left, done) = (Arc::new(AtomicU64::new(requests)), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        for _ in 0..options.under_way {
            let (make, left, done) = (make.clone(), left.clone(), done.clone());
            tasks.spawn(async move {
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    make().await?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            });
        }
        tasks.join_all().await.into_iter().collect::<Result<()>>()?;
        assert_eq!(done.load(Ordering::Relaxed), requests);
    }
    let rate = options.requests as f64 / began.elapsed().as_secs_f64();
    child::tell(&json!({"rate": rate}));
    Ok(())
}

async fn relay_tokio(options: &Options) -> Result<()> {
    let (gateway, mut events) = relay_tokio::connect(config(&options.address))?;
    match events.next().await {
        Some(Event::Ready { .. }) => {}
        other => return Err(unexpected(&other)),
    }
    time(options, move || {
        let gateway = gateway.clone();
        async move {
            gateway.typing("c1").await?;
            Ok(())
        }
    })
    .await
}

async fn jsonrpsee(options: &Options) -> Result<()> {
    let client =
        WsClientBuilder::default().max_concurrent_requests(1024).build(format!("ws://{}", options.address)).await?;
    let client = Arc::new(client);
    time(options, move || {
        let client = client.clone();
        async move {
            let mut params = ObjectParams::new();
            params.insert("op", "typing")?;
            params.insert("chat_id", "c1")?;
            let answer: Success = client.request("outbound", params).await?;
            if answer.success { Ok(()) } else { Err("no success".into()) }
        }
    })
    .await
}

type Ask = (u64, oneshot::Sender<()>);

/// What one would write by hand.
async fn bare_client(options: &Options) -> Result<()> {
    let socket = bare::connect(&options.address).await?;
    let (sender, receiver) = mpsc::unbounded_channel::<Ask>();
    let driving = tokio::spawn(drive(socket, receiver));
    let next = Arc::new(AtomicU64::new(0));
    let result = time(options, move || {
        let (sender, id) = (sender.clone(), next.fetch_add(1, Ordering::Relaxed));
        async move {
            let (done, answer) = oneshot::channel();
            sender.send((id, done))?;
            Ok(answer.await?)
        }
    })
    .await;
    result.and(driving.await?)
}

async fn drive(mut socket: WebSocketStream<TcpStream>, mut asked: mpsc::UnboundedReceiver<Ask>) -> Result<()> {
    let mut waiting: HashMap<u64, oneshot::Sender<()>> = HashMap::new();
    loop {
        tokio::select! {
            ask = asked.recv() => {
                let Some(mut ask) = ask else { return Ok(()) };
                loop {
                    socket.feed(Message::text(request(ask.0))).await?;
                    waiting.insert(ask.0, ask.1);
                    match asked.try_recv() {
                        Ok(next) => ask = next,
                        Err(_) => break,
                    }
                }
                socket.flush().await?;
            }
            message = socket.next() => {
                let mut message = message;
                loop {
                    let Some(Message::Text(text)) = message.transpose()? else { return Err("the end".into()) };
                    let done = waiting.remove(&answered(&text)?).ok_or("an answer to nothing")?;
                    let _ = done.send(());
                    match socket.next().now_or_never() {
                        Some(next) => message = next,
                        None => break,
                    }
                }
            }
        }
    }
}
