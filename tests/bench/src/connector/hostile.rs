//! Gateways that mean harm. Each is a thread or two of blocking sockets, so that it takes nothing from the gateways that
//! behave but what the system gives it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use relay_proto::frame::encode;

use super::client::{TEXT, hello, push_frame, request};
use super::{HOSTILE, event};

/// What a gateway does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Harm {
    /// Nothing: what the measurement itself shows.
    None,
    /// A flood into a socket of the same process, which reads and forgets: what the lost CPU alone costs.
    Sink,
    Typing,
    Junk,
    NeverReads,
    NeverAcks,
    LongLines,
    OpensAndCloses,
    Hellos,
    SlowUpgrades,
}

pub(super) const ALL: [Harm; 10] = [
    Harm::None,
    Harm::Sink,
    Harm::Typing,
    Harm::Junk,
    Harm::NeverReads,
    Harm::NeverAcks,
    Harm::LongLines,
    Harm::OpensAndCloses,
    Harm::Hellos,
    Harm::SlowUpgrades,
];

/// How many upgrades are begun and not ended.
const SLOW: usize = 4000;
/// Bytes that are written at once.
const CHUNK: usize = 64 << 10;

impl Harm {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Sink => "flood-unread",
            Self::Typing => "flood",
            Self::Junk => "junk",
            Self::NeverReads => "never-reads",
            Self::NeverAcks => "never-acks",
            Self::LongLines => "1-mib-lines",
            Self::OpensAndCloses => "open-close",
            Self::Hellos => "hellos",
            Self::SlowUpgrades => "slow-upgrades",
        }
    }

    /// What is counted.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::None | Self::NeverAcks => "",
            Self::Sink => "MiB written",
            Self::Typing => "outbounds written",
            Self::Junk => "junk lines written",
            Self::NeverReads => "outbounds written",
            Self::LongLines => "lines written",
            Self::OpensAndCloses => "links",
            Self::Hellos => "hellos written",
            Self::SlowUpgrades => "connections begun",
        }
    }

    /// The size of the events that are delivered to it all the while, if any are.
    pub(super) fn fed(self) -> Option<usize> {
        match self {
            Self::NeverReads => Some(64 << 10),
            Self::NeverAcks => Some(event().len()),
            _ => None,
        }
    }
}

/// One that is at it.
pub(super) struct Hostile {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Hostile {
    /// `sink`: where [`Harm::Sink`] writes to.
    pub(super) fn start(harm: Harm, address: SocketAddr, sink: SocketAddr) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let work = Work { address, stop: stop.clone(), count: count.clone() };
        let spawn = |run: fn(&Work) -> io::Result<()>, work: Work| {
            std::thread::spawn(move || {
                while !work.is_over() {
                    // Whatever the connector does about it, it comes again.
                    let _ = run(&work);
                }
            })
        };
        let threads = match harm {
            Harm::None => vec![],
            Harm::Sink => vec![spawn(fill_sink, Work { address: sink, ..work })],
            Harm::Typing => vec![spawn(type_on, work)],
            Harm::Junk => vec![spawn(junk, work)],
            Harm::NeverReads => vec![spawn(never_read, work)],
            Harm::NeverAcks => vec![spawn(never_ack, work)],
            Harm::LongLines => vec![spawn(long_lines, work)],
            Harm::OpensAndCloses => vec![spawn(open_and_close, work)],
            Harm::Hellos => vec![spawn(hellos, work)],
            Harm::SlowUpgrades => vec![spawn(slow_upgrades, work)],
        };
        Self { stop, count, threads }
    }

    /// Ends it; what it did.
    pub(super) fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
        self.count.load(Ordering::Relaxed)
    }
}

struct Work {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
}

impl Work {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn did(&self, count: usize) {
        self.count.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn dial(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address)?;
        // To look now and then whether it is over.
        stream.set_write_timeout(Some(Duration::from_millis(50)))?;
        stream.set_read_timeout(Some(Duration::from_millis(50)))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// A link that has said hello, without waiting for anything.
    fn link(&self) -> io::Result<TcpStream> {
        let mut stream = self.dial()?;
        let bytes = [request(HOSTILE).into_bytes(), hello()].concat();
        self.write(&mut stream, &bytes)?;
        Ok(stream)
    }

    /// Writes all of it, unless it is over. An error when the other end does not want it.
    fn write(&self, stream: &mut TcpStream, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() && !self.is_over() {
            match stream.write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(error) if is_slow(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The same on a link whose answers are read and thrown away, on a thread of their own.
    fn write_and_read(&self, bytes: &[u8], count: usize) -> io::Result<()> {
        let mut stream = self.link()?;
        let mut reading = stream.try_clone()?;
        std::thread::scope(|scope| {
            scope.spawn(|| self.read_to_end(&mut reading));
            let mut written = Ok(());
            while !self.is_over() && written.is_ok() {
                written = self.write(&mut stream, bytes);
                self.did(count);
            }
            let _ = stream.shutdown(std::net::Shutdown::Both);
            written
        })
    }

    fn read_to_end(&self, stream: &mut TcpStream) {
        let mut bytes = vec![0; CHUNK];
        while !self.is_over() {
            match stream.read(&mut bytes) {
                Ok(0) => return,
                Err(error) if !is_slow(&error) => return,
                _ => {}
            }
        }
    }
}

fn is_slow(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn fill_sink(work: &Work) -> io::Result<()> {
    let mut stream = work.dial()?;
    let bytes = vec![b'x'; 1 << 20];
    while !work.is_over() {
        work.write(&mut stream, &bytes)?;
        work.did(1);
    }
    Ok(())
}

fn outbound(content: usize) -> Vec<u8> {
    let action = format!(r#"{{"op":"typing","chat_id":"c1","x":"{}"}}"#, "x".repeat(content));
    let mut out = Vec::new();
    push_frame(&mut out, TEXT, encode::outbound("r1", &action, None, None).as_bytes());
    out
}

fn type_on(work: &Work) -> io::Result<()> {
    let one = outbound(0);
    let count = CHUNK / one.len();
    work.write_and_read(&one.repeat(count), count)
}

/// Messages of a megabyte full of lines that are frames of nothing.
fn junk(work: &Work) -> io::Result<()> {
    let line = b"{}\n";
    let count = (1 << 20) / line.len();
    let mut message = Vec::new();
    push_frame(&mut message, TEXT, &line.repeat(count));
    work.write_and_read(&message, count)
}

/// Asks, and reads no answer; nor any of the large events that are delivered to it.
fn never_read(work: &Work) -> io::Result<()> {
    let mut stream = work.link()?;
    let one = outbound(0);
    while !work.is_over() {
        work.write(&mut stream, &one)?;
        work.did(1);
    }
    Ok(())
}

fn never_ack(work: &Work) -> io::Result<()> {
    let mut stream = work.link()?;
    work.read_to_end(&mut stream);
    Ok(())
}

fn long_lines(work: &Work) -> io::Result<()> {
    // The longest line that is taken, with what is around the text.
    work.write_and_read(&outbound((1 << 20) - 256), 1)
}

fn open_and_close(work: &Work) -> io::Result<()> {
    while !work.is_over() {
        drop(work.link()?);
        work.did(1);
    }
    Ok(())
}

/// As many hellos as a link takes, and one more; then the same again.
fn hellos(work: &Work) -> io::Result<()> {
    let mut stream = work.dial()?;
    work.write(&mut stream, request(HOSTILE).as_bytes())?;
    let some = hello().repeat(257);
    work.write(&mut stream, &some)?;
    work.did(257);
    stream.shutdown(std::net::Shutdown::Write)?;
    work.read_to_end(&mut stream);
    Ok(())
}

/// Begins upgrades, and never ends them.
fn slow_upgrades(work: &Work) -> io::Result<()> {
    let mut begun = Vec::new();
    while !work.is_over() && begun.len() < SLOW {
        let mut stream = work.dial()?;
        work.write(&mut stream, b"GET /relay HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")?;
        begun.push(stream);
        work.did(1);
    }
    while !work.is_over() {
        // A byte each, and again: whoever waits for silence waits for ever.
        for stream in &mut begun {
            let _ = stream.write(b"x");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
