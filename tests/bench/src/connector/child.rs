//! The connector process: serves, and does what lines on its standard input say. Each is a JSON object, and so is the
//! answer to it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use relay_connector::{self as connector, Connector, EntryId, Event, Events, Gateway};
use relay_proto::connector::{Limits, Settings, Timing};
use relay_proto::frame::RawJson;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Notify, mpsc};

use super::store::{Counting, Counts};
use super::{HOSTILE, SECRET, event, name};
use crate::Result;

#[derive(Args)]
pub(crate) struct Options {
    /// How many gateways are let in.
    #[arg(long)]
    gateways: usize,
    /// The store on disk; without it, memory.
    #[arg(long)]
    store: Option<PathBuf>,
    /// Silence after which gateways are pinged; without it, the default.
    #[arg(long)]
    ping_ms: Option<u64>,
}

/// The probes: an acknowledgement, and when it was seen.
type Acks = mpsc::UnboundedSender<(EntryId, Instant)>;

struct Child {
    connector: Connector,
    counts: Arc<Counts>,
    acked: Arc<AtomicU64>,
    progress: Arc<Notify>,
    probes: HashMap<String, mpsc::UnboundedReceiver<(EntryId, Instant)>>,
    /// Set while the hostile gateway is delivered to.
    feeding: Arc<AtomicBool>,
}

/// How many gateways can be probes.
const PROBES: usize = 64;

pub(crate) fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(options))
}

async fn serve(options: &Options) -> Result<()> {
    let mut config = connector::Config::new().gateway(HOSTILE, SECRET);
    for number in 0..options.gateways {
        config = config.gateway(name(number), SECRET);
    }
    if let Some(after) = options.ping_ms {
        let mut timing = Timing::default();
        timing.ping_after = Duration::from_millis(after);
        config = config.settings(Settings::new(timing, Limits::default())?);
    }
    // Many gateways at once are more than the default backlog holds: who finds it full tries again after a second.
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let listener = socket.listen(4096)?;
    let counts = Arc::new(Counts::default());
    let (connector, events) = match &options.store {
        Some(path) => {
            let store = Counting(connector::Disk::open(path)?, counts.clone());
            connector::serve_with(listener, config, store)?
        }
        None => connector::serve(listener, config)?,
    };
    println!("{}", json!({"address": connector.address().to_string()}));
    let (acked, progress) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let (mut probes, mut acks) = (HashMap::new(), HashMap::new());
    for number in 0..PROBES.min(options.gateways) {
        let (sender, receiver) = mpsc::unbounded_channel();
        acks.insert(name(number), sender);
        probes.insert(name(number), receiver);
    }
    tokio::spawn(read(connector.clone(), events, acks, acked.clone(), progress.clone()));
    let mut child = Child { connector, counts, acked, progress, probes, feeding: Arc::default() };
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        println!("{}", child.obey(&serde_json::from_str(&line)?).await?);
    }
    // The store is thrown away: nothing has to be written any more.
    std::process::exit(0)
}

/// The application: notes acknowledgements, and answers what gateways ask for.
async fn read(
    connector: Connector,
    mut events: Events,
    acks: HashMap<String, Acks>,
    acked: Arc<AtomicU64>,
    progress: Arc<Notify>,
) {
    let done = RawJson::parse(r#"{"success":true}"#).expect("an object");
    while let Some((gateway, event)) = events.next().await {
        match event {
            Event::Acked(entry) => {
                acked.fetch_add(1, Ordering::Relaxed);
                progress.notify_one();
                if let Some(probe) = acks.get(gateway.as_str()) {
                    let _ = probe.send((entry, Instant::now()));
                }
            }
            Event::Outbound(outbound) => {
                let _ = connector.gateway(gateway.as_str()).answer(outbound.id, &done);
            }
            _ => {}
        }
    }
}

impl Child {
    async fn obey(&mut self, command: &Value) -> Result<Value> {
        let number = |name: &str| command[name].as_u64().unwrap_or_default() as usize;
        let seconds = Duration::from_secs_f64(command["seconds"].as_f64().unwrap_or_default());
        match command["do"].as_str() {
            Some("fill") => self.fill(number("first"), number("gateways"), number("each"), number("under_way")).await,
            Some("accept") => self.accept(number("gateways"), number("under_way"), seconds).await,
            Some("acked") => Ok(self.wait_acked(number("count") as u64).await),
            Some("probe") => {
                let pause = Duration::from_micros(number("pause_us") as u64);
                self.probe(number("gateways"), seconds, pause).await
            }
            Some("feed") => Ok(self.feed(number("size"))),
            Some("starve") => {
                self.feeding.store(false, Ordering::Relaxed);
                Ok(json!({}))
            }
            Some("sink") => sink().await,
            Some("counts") => Ok(self.counts()),
            other => Err(format!("no such command: {other:?}").into()),
        }
    }

    fn gateway(&self, number: usize) -> Gateway {
        self.connector.gateway(&name(number))
    }

    /// Appends entries for these gateways.
    async fn fill(&self, first: usize, gateways: usize, each: usize, under_way: usize) -> Result<Value> {
        let begun = Instant::now();
        let left = Arc::new(AtomicU64::new((gateways * each) as u64));
        let tasks: Vec<_> = (0..under_way.min(gateways * each))
            .map(|_| {
                let (left, connector) = (left.clone(), self.connector.clone());
                tokio::spawn(async move {
                    let event = RawJson::parse(&event()).expect("an object");
                    while let Ok(at) =
                        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                    {
                        let gateway = connector.gateway(&name(first + at as usize % gateways));
                        gateway.deliver(&event).await?;
                    }
                    Ok::<(), connector::DeliverError>(())
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        Ok(json!({"seconds": begun.elapsed().as_secs_f64()}))
    }

    /// Appends for some time, always with so many under way.
    async fn accept(&self, gateways: usize, under_way: usize, time: Duration) -> Result<Value> {
        let (begun, before) = (Instant::now(), self.counts());
        let until = begun + time;
        let tasks: Vec<_> = (0..under_way)
            .map(|at| {
                let gateway = self.gateway(at % gateways);
                tokio::spawn(async move {
                    let event = RawJson::parse(&event()).expect("an object");
                    let mut appends = 0_u64;
                    while Instant::now() < until {
                        gateway.deliver(&event).await?;
                        appends += 1;
                    }
                    Ok::<u64, connector::DeliverError>(appends)
                })
            })
            .collect();
        let mut appends = 0;
        for task in tasks {
            appends += task.await??;
        }
        let commits = self.counts()["commits"].as_u64().zip(before["commits"].as_u64());
        let commits = commits.map(|(after, before)| after - before);
        Ok(json!({"appends": appends, "seconds": begun.elapsed().as_secs_f64(), "commits": commits}))
    }

    /// Until so many entries are acknowledged, all in all.
    async fn wait_acked(&self, count: u64) -> Value {
        while self.acked.load(Ordering::Relaxed) < count {
            self.progress.notified().await;
        }
        json!({})
    }

    /// Delivers to the first gateways, to each one event after the other, and measures until the acknowledgement.
    async fn probe(&mut self, gateways: usize, time: Duration, pause: Duration) -> Result<Value> {
        let until = Instant::now() + time;
        let mut tasks = Vec::new();
        for number in 0..gateways {
            let mut acks = self.probes.remove(&name(number)).ok_or("no such probe")?;
            let gateway = self.gateway(number);
            tasks.push(tokio::spawn(async move {
                let event = RawJson::parse(&event()).expect("an object");
                let mut micros = Vec::new();
                // Not all at once.
                tokio::time::sleep(pause * number as u32 / gateways as u32).await;
                while Instant::now() < until {
                    let begun = Instant::now();
                    let entry = gateway.deliver(&event).await?;
                    while let Some((acked, at)) = acks.recv().await {
                        if acked == entry {
                            micros.push((at - begun).as_micros() as u64);
                            break;
                        }
                    }
                    tokio::time::sleep(pause).await;
                }
                Ok::<_, connector::DeliverError>((number, acks, micros))
            }));
        }
        let mut micros = Vec::new();
        for task in tasks {
            let (number, acks, own) = task.await??;
            self.probes.insert(name(number), acks);
            micros.extend(own);
        }
        Ok(json!({"us": micros}))
    }

    /// Delivers to the hostile gateway, until told otherwise, as long as no more than a few entries wait.
    fn feed(&self, size: usize) -> Value {
        self.feeding.store(true, Ordering::Relaxed);
        let (feeding, gateway) = (self.feeding.clone(), self.connector.gateway(HOSTILE));
        tokio::spawn(async move {
            let event = RawJson::parse(&format!(r#"{{"text":"{}"}}"#, "x".repeat(size))).expect("an object");
            while feeding.load(Ordering::Relaxed) {
                if gateway.buffered() < 64 && gateway.deliver(&event).await.is_ok() {
                    continue;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        json!({})
    }

    fn counts(&self) -> Value {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { commits, changes, commit_ns, fetches, fetch_ns } = &*self.counts;
        json!({
            "commits": get(commits), "changes": get(changes), "commit_ns": get(commit_ns),
            "fetches": get(fetches), "fetch_ns": get(fetch_ns),
        })
    }
}

/// Reads from whoever connects, and forgets it.
async fn sink() -> Result<Value> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move { tokio::io::copy(&mut stream, &mut tokio::io::sink()).await });
        }
    });
    Ok(json!({"address": address}))
}
