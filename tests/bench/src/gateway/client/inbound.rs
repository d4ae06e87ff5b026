//! Reads deliveries until all have come.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, ready};
use std::time::Instant;

use clap::Args;
use futures_util::{Sink, SinkExt, Stream};
use relay_bench::frames::{read_borrowed, read_bytes, read_of, warm};
use relay_proto::client::{Delivery, Event, Events};
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
    frames: usize,
    #[arg(long)]
    links: usize,
    /// Whether each is to be acknowledged.
    #[arg(long)]
    acked: bool,
    /// Threads of tokio's; 0 is a runtime on the main thread.
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// Counts what was read.
#[derive(Default)]
struct Meter {
    seen: AtomicU64,
    bytes: AtomicU64,
}

impl Meter {
    /// One was read.
    fn note(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.seen.fetch_add(1, Ordering::Relaxed);
    }

    fn message(&self, delivery: Delivery) {
        let message = delivery.message().expect("the peer sends messages alone");
        self.note(read_of(message.text(), message.chat_id(), message.user_id().unwrap_or_default()));
        if delivery.buffer_id().is_some() {
            delivery.ack();
        }
    }

    fn tell(&self, options: &Options, began: Instant) -> Result<()> {
        let took = began.elapsed().as_secs_f64();
        let (seen, bytes) = (self.seen.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        let total = (options.frames * options.links) as u64;
        if (seen, bytes) != (total, total * read_bytes(options.size)) {
            return Err(format!("{seen} deliveries with {bytes} bytes are not {total}").into());
        }
        let measured = (options.frames - warm(options.frames)) * options.links;
        child::tell(&json!({"rate": measured as f64 / took}));
        Ok(())
    }
}

impl Options {
    /// Deliveries on each link: first those that warm up.
    fn phases(&self) -> [usize; 2] {
        [warm(self.frames), self.frames - warm(self.frames)]
    }
}

pub(super) fn run(options: &Options) -> Result<()> {
    let meter = Arc::new(Meter::default());
    match options.client {
        Client::RelayTokio => super::tokio(options.workers, relay_tokio(options, meter))?,
        Client::TokioTungstenite => super::tokio(options.workers, tokio_tungstenite(options, meter))?,
        Client::RelayAsyncStd => async_std::task::block_on(relay_async_std(options, meter)),
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

async fn read(mut events: Events, frames: usize, meter: Arc<Meter>) -> Result<Events> {
    for _ in 0..frames {
        match events.next().await {
            Some(Event::Delivery(message)) => meter.message(message),
            other => return Err(unexpected(&other)),
        }
    }
    Ok(events)
}

/// Reads on every link at the same time, each in a task of its own.
async fn phases<L, F>(
    options: &Options,
    mut links: Vec<L>,
    meter: &Arc<Meter>,
    read: fn(L, usize, Arc<Meter>) -> F,
) -> Result<()>
where
    L: Send + 'static,
    F: Future<Output = Result<L>> + Send + 'static,
{
    let mut began = Instant::now();
    for frames in options.phases() {
        let mut tasks = JoinSet::new();
        for link in links {
            tasks.spawn(read(link, frames, meter.clone()));
        }
        began = Instant::now();
        tell_ready();
        links = tasks.join_all().await.into_iter().collect::<Result<_>>()?;
    }
    meter.tell(options, began)?;
    // What is left of the acknowledgements is written meanwhile.
    tokio::task::spawn_blocking(child::wait).await?;
    drop(links);
    Ok(())
}

async fn relay_tokio(options: &Options, meter: Arc<Meter>) -> Result<()> {
    let (mut gateways, mut links) = (Vec::new(), Vec::new());
    for _ in 0..options.links {
        let (gateway, mut events) = relay_tokio::connect(config(&options.address))?;
        ready(&mut events).await?;
        gateways.push(gateway);
        links.push(events);
    }
    phases(options, links, &meter, read).await
}

async fn relay_async_std(options: &Options, meter: Arc<Meter>) -> Result<()> {
    let (_gateway, mut events) = relay_async_std::connect(config(&options.address))?;
    ready(&mut events).await?;
    let mut began = Instant::now();
    for frames in options.phases() {
        began = Instant::now();
        tell_ready();
        events = read(events, frames, meter.clone()).await?;
    }
    meter.tell(options, began)?;
    async_std::task::spawn_blocking(child::wait).await;
    Ok(())
}

fn relay_blocking(options: &Options, meter: &Meter) -> Result<()> {
    let (_gateway, mut events) = relay_blocking::connect(config(&options.address))?;
    match events.next() {
        Some(Event::Ready { .. }) => {}
        other => return Err(unexpected(&other)),
    }
    let mut began = Instant::now();
    for frames in options.phases() {
        began = Instant::now();
        tell_ready();
        for _ in 0..frames {
            match events.next() {
                Some(Event::Delivery(message)) => meter.message(message),
                other => return Err(unexpected(&other)),
            }
        }
    }
    meter.tell(options, began)?;
    child::wait();
    Ok(())
}

async fn tokio_tungstenite(options: &Options, meter: Arc<Meter>) -> Result<()> {
    let mut sockets = Vec::new();
    for _ in 0..options.links {
        sockets.push(bare::connect(&options.address).await?);
    }
    phases(options, sockets, &meter, read_bare).await
}

/// One flush for each time that the socket is drained.
async fn read_bare(
    mut socket: WebSocketStream<TcpStream>,
    frames: usize,
    meter: Arc<Meter>,
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
