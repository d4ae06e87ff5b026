//! Reads deliveries until all have come.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, ready};
use std::time::Instant;

use clap::Args;
use futures_util::{Sink, SinkExt, Stream};
use relay_bench::frames::{read_borrowed, read_bytes, read_of};
use relay_proto::frame::MessageEvent;
use relay_proto::host::{Delivery, Event, Events, Gateway};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tungstenite::{Message, Utf8Bytes};

use super::{Client, bare, config, tell_ready, unexpected};
use crate::Result;
use crate::gateway::child;

#[derive(Args)]
pub(super) struct Options {
    #[arg(long)]
    address: String,
    #[arg(long)]
    client: Client,
    /// Bytes of an event.
    #[arg(long)]
    size: usize,
    /// Deliveries on each link.
    #[arg(long)]
    frames: u64,
    #[arg(long)]
    links: u64,
    /// Whether each is to be acknowledged.
    #[arg(long)]
    acked: bool,
    /// Threads of tokio's; 0 is a runtime on the main thread.
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// Counts deliveries; the first tenth is for warming up.
struct Meter {
    size: usize,
    warm: u64,
    total: u64,
    seen: AtomicU64,
    bytes: AtomicU64,
    began: OnceLock<Instant>,
    ended: OnceLock<Instant>,
}

impl Meter {
    fn new(options: &Options) -> Arc<Self> {
        let total = options.frames * options.links;
        Arc::new(Self {
            size: options.size,
            warm: total.div_ceil(10),
            total,
            seen: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            began: OnceLock::new(),
            ended: OnceLock::new(),
        })
    }

    /// One was read.
    fn note(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let seen = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        if seen == self.warm {
            let _ = self.began.set(Instant::now());
        }
        if seen == self.total {
            let _ = self.ended.set(Instant::now());
        }
    }

    fn message(&self, message: Delivery<MessageEvent>) {
        self.note(read_of(message.text(), message.chat_id(), message.user_id().unwrap_or_default()));
        if message.buffer_id().is_some() {
            message.ack();
        }
    }

    fn tell(&self) -> Result<()> {
        let (began, ended) = self.began.get().zip(self.ended.get()).ok_or("not all deliveries came")?;
        let (seen, bytes) = (self.seen.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        if (seen, bytes) != (self.total, self.total * read_bytes(self.size)) {
            return Err(format!("{seen} deliveries with {bytes} bytes are not {}", self.total).into());
        }
        let rate = (self.total - self.warm) as f64 / (*ended - *began).as_secs_f64();
        child::tell(&json!({"rate": rate}));
        Ok(())
    }
}

pub(super) fn run(options: &Options) -> Result<()> {
    let meter = Meter::new(options);
    match options.client {
        Client::RelayTokio => super::tokio(options.workers, relay_tokio(options, meter))?,
        Client::TokioTungstenite => super::tokio(options.workers, tokio_tungstenite(options, meter))?,
        Client::RelayAsyncStd => async_std::task::block_on(relay_async_std(options, &meter)),
        Client::RelayBlocking => relay_blocking(options, &meter),
        other => Err(format!("{} reads no deliveries", other.name()).into()),
    }
}

async fn ready(events: &mut Events) -> Result<()> {
    match events.next().await {
        Some(Event::Ready { .. }) => Ok(()),
        other => Err(unexpected(&other)),
    }
}

async fn read(mut events: Events, frames: u64, meter: &Meter) -> Result<Events> {
    for _ in 0..frames {
        match events.next().await {
            Some(Event::Message(message)) => meter.message(message),
            other => return Err(unexpected(&other)),
        }
    }
    Ok(events)
}

async fn relay_tokio(options: &Options, meter: Arc<Meter>) -> Result<()> {
    let mut links: Vec<(Gateway, Events)> = Vec::new();
    for _ in 0..options.links {
        let (gateway, mut events) = relay_tokio::connect(config(&options.address))?;
        ready(&mut events).await?;
        links.push((gateway, events));
    }
    tell_ready();
    let (mut tasks, frames) = (JoinSet::new(), options.frames);
    let mut gateways = Vec::new();
    for (gateway, events) in links {
        let meter = meter.clone();
        gateways.push(gateway);
        tasks.spawn(async move { read(events, frames, &meter).await });
    }
    let done = tasks.join_all().await.into_iter().collect::<Result<Vec<Events>>>()?;
    meter.tell()?;
    // What is left of the acknowledgements is written meanwhile.
    tokio::task::spawn_blocking(child::wait).await?;
    drop(done);
    Ok(())
}

async fn relay_async_std(options: &Options, meter: &Meter) -> Result<()> {
    let (_gateway, mut events) = relay_async_std::connect(config(&options.address))?;
    ready(&mut events).await?;
    tell_ready();
    let _events = read(events, options.frames, meter).await?;
    meter.tell()?;
    async_std::task::spawn_blocking(child::wait).await;
    Ok(())
}

fn relay_blocking(options: &Options, meter: &Meter) -> Result<()> {
    let (_gateway, mut events) = relay_blocking::connect(config(&options.address))?;
    match events.next() {
        Some(Event::Ready { .. }) => tell_ready(),
        other => return Err(unexpected(&other)),
    }
    for _ in 0..options.frames {
        match events.next() {
            Some(Event::Message(message)) => meter.message(message),
            other => return Err(unexpected(&other)),
        }
    }
    meter.tell()?;
    child::wait();
    Ok(())
}

async fn tokio_tungstenite(options: &Options, meter: Arc<Meter>) -> Result<()> {
    let mut sockets = Vec::new();
    for _ in 0..options.links {
        sockets.push(bare::connect(&options.address).await?);
    }
    tell_ready();
    let (mut tasks, frames) = (JoinSet::new(), options.frames);
    for socket in sockets {
        let meter = meter.clone();
        tasks.spawn(async move { read_bare(socket, frames, &meter).await });
    }
    let done = tasks.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
    meter.tell()?;
    tokio::task::spawn_blocking(child::wait).await?;
    drop(done);
    Ok(())
}

/// One flush for each time that the socket is drained.
async fn read_bare(
    mut socket: WebSocketStream<TcpStream>,
    frames: u64,
    meter: &Meter,
) -> Result<WebSocketStream<TcpStream>> {
    let mut unwritten = false;
    for _ in 0..frames {
        let text = next(&mut socket, &mut unwritten).await?;
        let (bytes, ack) = read_borrowed(&text)?;
        meter.note(bytes);
        if let Some(ack) = ack {
            socket.feed(Message::text(ack)).await?;
            unwritten = true;
        }
    }
    socket.flush().await?;
    Ok(socket)
}

async fn next(socket: &mut WebSocketStream<TcpStream>, unwritten: &mut bool) -> Result<Utf8Bytes> {
    let message = poll_fn(|context| {
        if let Poll::Ready(message) = Pin::new(&mut *socket).poll_next(context) {
            return Poll::Ready(message);
        }
        if *unwritten {
            if let Err(error) = ready!(Pin::new(&mut *socket).poll_flush(context)) {
                return Poll::Ready(Some(Err(error)));
            }
            *unwritten = false;
        }
        Poll::Pending
    });
    match message.await.transpose()? {
        Some(Message::Text(text)) => Ok(text),
        other => Err(unexpected(&other)),
    }
}
