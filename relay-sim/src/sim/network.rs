//! The network: connections that carry bytes in two directions. They chunk at any byte, delay, stall and break; what
//! arrives, arrives in order.

use std::collections::{BTreeMap, VecDeque};

use fastrand::Rng;
use relay_proto::{connector, gateway};

use super::codec::End;
use super::{Nanos, SECOND};

/// One direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// From the gateway to the connector.
    Up,
    /// From the connector to the gateway.
    Down,
}

impl Way {
    /// The other direction.
    pub fn back(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

/// How bytes are cut on their way.
#[derive(Clone, Copy, Debug)]
enum Chunking {
    /// As they were written.
    Whole,
    /// Into a few pieces.
    Few,
    /// Into many.
    Tiny,
}

/// What comes behind the last byte of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// The other end closed in order.
    Eof,
    /// The connection was reset.
    Reset,
}

/// One direction: bytes that were written and not read yet.
#[derive(Debug)]
pub struct Pipe {
    rng: Rng,
    latency: Nanos,
    chunking: Chunking,
    bytes: VecDeque<u8>,
    /// When the next bytes arrive, and how many they are.
    chunks: VecDeque<(Nanos, usize)>,
    capacity: usize,
    stalled_until: Nanos,
    tail: Option<(Nanos, Tail)>,
    /// What is written from now on gets nowhere.
    dead: bool,
    /// From when on writing fails.
    fails_from: Nanos,
    /// Whether the writer waits for room.
    pub blocked: bool,
    /// Bytes that were ever written, and read.
    pub written: u64,
    pub read: u64,
}

impl Pipe {
    pub fn new(seed: u64, calm: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let latency = match rng.u32(..8) {
            0 => SECOND / 2,
            1 => SECOND / 20_000,
            _ => SECOND / 1000 * rng.u64(1..80),
        };
        let chunking = match rng.u32(..16) {
            _ if calm => Chunking::Whole,
            0 => Chunking::Tiny,
            1..=6 => Chunking::Few,
            _ => Chunking::Whole,
        };
        let capacity = [600, 3000, 64 << 10, 64 << 10][rng.usize(..4)];
        Self {
            rng,
            latency,
            chunking,
            bytes: VecDeque::new(),
            chunks: VecDeque::new(),
            capacity,
            stalled_until: 0,
            tail: None,
            dead: false,
            fails_from: Nanos::MAX,
            blocked: false,
            written: 0,
            read: 0,
        }
    }

    pub fn latency(&self) -> Nanos {
        self.latency
    }

    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// Whether writing fails at this moment.
    pub fn fails(&self, now: Nanos) -> bool {
        self.fails_from <= now
    }

    /// How many bytes may be written now.
    pub fn room(&self) -> usize {
        self.capacity.saturating_sub(self.bytes.len())
    }

    /// Writes bytes, for which there is room.
    pub fn write(&mut self, bytes: &[u8], now: Nanos) {
        self.written += bytes.len() as u64;
        if self.dead {
            // Into a void that takes as much as its buffers do.
            self.bytes.extend(bytes);
            return;
        }
        let mut rest = bytes.len();
        while rest > 0 {
            let piece = match self.chunking {
                Chunking::Whole => rest,
                Chunking::Few if self.rng.bool() => rest,
                Chunking::Few => self.rng.usize(1..=rest),
                // Not for ever: a thousand pieces show what a million would.
                Chunking::Tiny if self.written < 3000 => self.rng.usize(1..=rest.min(9)),
                Chunking::Tiny => self.rng.usize(1..=rest),
            };
            let jitter = self.rng.u64(..=self.latency / 4);
            let last = self.chunks.back().map_or(0, |(at, _)| *at);
            self.chunks.push_back(((now + self.latency + jitter).max(last).max(self.stalled_until), piece));
            rest -= piece;
        }
        self.bytes.extend(bytes);
    }

    /// When something arrives next.
    pub fn next(&self) -> Option<Nanos> {
        self.chunks.front().map(|(at, _)| *at).or(self.tail.map(|(at, _)| at))
    }

    /// Takes what has arrived, in the pieces in which it did.
    pub fn take(&mut self, now: Nanos) -> Option<Vec<u8>> {
        let (_, length) = *self.chunks.front().filter(|(at, _)| *at <= now)?;
        self.chunks.pop_front();
        self.read += length as u64;
        Some(self.bytes.drain(..length).collect())
    }

    /// What is behind the last byte, if that has arrived.
    pub fn take_tail(&mut self, now: Nanos) -> Option<Tail> {
        if !self.chunks.is_empty() {
            return None;
        }
        self.tail.take_if(|(at, _)| *at <= now).map(|(_, tail)| tail)
    }

    /// Whether bytes are on their way, or wait to be read.
    pub fn carries(&self) -> bool {
        !self.chunks.is_empty()
    }

    /// The writer closed its end.
    pub fn close(&mut self, now: Nanos) {
        if !self.dead {
            let last = self.chunks.back().map_or(0, |(at, _)| *at);
            self.tail = Some(((now + self.latency).max(last).max(self.stalled_until), Tail::Eof));
            self.dead = true;
        }
    }

    /// The reader closed its end: nothing is read any more, and soon writing fails.
    pub fn abandon(&mut self, now: Nanos) {
        self.chunks.clear();
        self.bytes.clear();
        self.tail = None;
        self.dead = true;
        self.fails_from = self.fails_from.min(now + self.latency);
    }

    /// Nothing moves until then.
    pub fn stall(&mut self, until: Nanos) {
        self.stalled_until = self.stalled_until.max(until);
        for (at, _) in &mut self.chunks {
            *at = (*at).max(until);
        }
        if let Some((at, _)) = &mut self.tail {
            *at = (*at).max(until);
        }
    }

    /// Stalling is over.
    pub fn resume(&mut self, now: Nanos) {
        self.stalled_until = 0;
        for (at, _) in &mut self.chunks {
            *at = (*at).min(now + self.latency);
        }
        if let Some((at, _)) = &mut self.tail {
            *at = (*at).min(now + self.latency);
        }
    }

    /// The connection is cut. Some of what was under way may still arrive; then comes `tail`, or nothing ever. Returns
    /// the bytes that will ever have been read.
    pub fn cut(&mut self, now: Nanos, tail: Option<Tail>) -> u64 {
        if !self.dead {
            let survive = self.rng.usize(..=self.bytes.len());
            let mut left = survive;
            self.chunks.retain_mut(|(_, length)| {
                *length = (*length).min(left);
                left -= *length;
                *length > 0
            });
            self.bytes.truncate(survive);
            let last = self.chunks.back().map_or(0, |(at, _)| *at);
            self.tail = tail.map(|tail| ((now + self.latency).max(last), tail));
            self.dead = true;
        }
        self.read + self.chunks.iter().map(|(_, length)| *length as u64).sum::<u64>()
    }

    /// Writing fails from now on.
    pub fn fail(&mut self, now: Nanos) {
        self.fails_from = self.fails_from.min(now);
    }
}

/// A frame on a connection: what it is about, and where it ends in the stream of bytes.
#[derive(Clone, Copy, Debug)]
pub struct Carried {
    /// The number of the event in it.
    pub event: usize,
    pub end: u64,
}

/// One connection: both directions, both ends, and what the world knows of it.
#[derive(Debug)]
pub struct Conn {
    pub gateway: usize,
    /// Which process of the gateway made it.
    pub process: u32,
    pub link: gateway::LinkId,
    pub token: Option<TokenFacts>,
    pub client: Option<End>,
    pub server: Option<End>,
    pub up: Pipe,
    pub down: Pipe,
    /// The connector's name for it, once it was let in.
    pub peer_link: Option<connector::LinkId>,
    /// Deliveries that were written to it, in order.
    pub carried: Vec<Carried>,
    /// How many of them, from the front, were passed by the last acknowledgement.
    pub acked: usize,
    /// Where frames to the gateway end in the stream of bytes.
    pub ends_down: Vec<u64>,
    /// Where frames to the connector end.
    pub ends_up: Vec<u64>,
    pub was_ready: bool,
    /// The connector has acknowledged that the gateway is idle; it did so without being asked.
    pub idle: bool,
    pub idle_unasked: bool,
    /// A close frame was written, by either side.
    pub close_up: bool,
    pub close_down: bool,
    /// Requests that were written to it, and where they end.
    pub asked: Vec<(String, u64)>,
    /// The bytes that the connector had read when this link last spoke for the gateway.
    pub read_while_current: u64,
    /// Results that the connector has written.
    pub results: BTreeMap<String, u32>,
}

/// What the world knows of the token of a dial.
#[derive(Clone, Debug)]
pub struct TokenFacts {
    pub text: String,
    /// The secret it was minted with.
    pub secret: u32,
    pub expires: u64,
}

impl Conn {
    /// A dial.
    pub fn new(gateway: usize, process: u32, link: gateway::LinkId, token: TokenFacts, pipes: (Pipe, Pipe)) -> Self {
        Self {
            gateway,
            process,
            link,
            token: Some(token),
            client: None,
            server: None,
            up: pipes.0,
            down: pipes.1,
            peer_link: None,
            carried: Vec::new(),
            acked: 0,
            ends_down: Vec::new(),
            ends_up: Vec::new(),
            was_ready: false,
            idle: false,
            idle_unasked: false,
            close_up: false,
            close_down: false,
            asked: Vec::new(),
            read_while_current: 0,
            results: BTreeMap::new(),
        }
    }

    pub fn pipe(&mut self, way: Way) -> &mut Pipe {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }

    /// The end that writes in this direction, and the direction.
    pub fn writer(&mut self, way: Way) -> (Option<&mut End>, &mut Pipe) {
        match way {
            Way::Up => (self.client.as_mut(), &mut self.up),
            Way::Down => (self.server.as_mut(), &mut self.down),
        }
    }

    /// The end that reads in this direction, and the direction.
    pub fn reader(&mut self, way: Way) -> (Option<&mut End>, &mut Pipe) {
        match way {
            Way::Up => (self.server.as_mut(), &mut self.up),
            Way::Down => (self.client.as_mut(), &mut self.down),
        }
    }
}

/// Whether a stream that ends here ends within a frame.
pub fn is_inside(ends: &[u64], end: u64) -> bool {
    let first = ends.first().copied().unwrap_or(0);
    let last = ends.last().copied().unwrap_or(0);
    end > first && end < last && ends.binary_search(&end).is_err()
}
