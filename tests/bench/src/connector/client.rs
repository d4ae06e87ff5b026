//! A gateway by hand, as cheap as it can be: what is measured is the other end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use relay_proto::frame::encode;
use relay_proto::token::{Secret, mint};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{SECRET, name};
use crate::Result;

pub(super) const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The upgrade request of a gateway.
pub(super) fn request(id: &str) -> String {
    format!(
        "GET /relay HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer {}\r\n\r\n",
        mint(id, &Secret::new(SECRET), 0, 0).as_str()
    )
}

/// Appends a frame, masked with zeros: that is a mask like any other, and costs this end nothing.
pub(super) fn push_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend((length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend((length as u64).to_be_bytes());
        }
    }
    out.extend([0; 4]);
    out.extend(payload);
}

pub(super) fn hello() -> Vec<u8> {
    let mut out = Vec::new();
    push_frame(&mut out, TEXT, encode::hello("discord", "bot", None).as_bytes());
    out
}

/// The first frame of what came: its opcode, its payload, and how long it is. `None` while it is not whole.
fn parse(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (opcode, length) = (bytes.first()? & 0x0f, bytes.get(1)?);
    let (head, length) = match length {
        126 => (4, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
        127 => (10, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize),
        short => (2, usize::from(*short)),
    };
    Some((opcode, bytes.get(head..head + length)?, head + length))
}

/// A gateway that does what it should.
pub(super) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    /// Dials, and shakes hands up to the descriptor.
    pub(super) async fn open(address: SocketAddr, id: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream, received: Vec::new() };
        client.stream.write_all(request(id).as_bytes()).await?;
        while !client.received.windows(4).any(|four| four == b"\r\n\r\n") {
            client.read().await?;
        }
        if !client.received.starts_with(b"HTTP/1.1 101 ") {
            return Err(io::Error::other(String::from_utf8_lossy(&client.received).into_owned()));
        }
        let end = client.received.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_default() + 4;
        client.received.drain(..end);
        client.stream.write_all(&hello()).await?;
        while parse(&client.received).is_none() {
            client.read().await?;
        }
        Ok(client)
    }

    async fn read(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Acknowledges every delivery, and answers pings, until the end.
    pub(super) async fn behave(mut self) -> io::Result<()> {
        let mut out = Vec::new();
        loop {
            let mut taken = 0;
            while let Some((opcode, payload, length)) = parse(&self.received[taken..]) {
                taken += length;
                match opcode {
                    TEXT => acknowledge(&mut out, payload),
                    PING => push_frame(&mut out, PONG, payload),
                    CLOSE => {
                        push_frame(&mut out, CLOSE, payload);
                        return self.stream.write_all(&out).await;
                    }
                    _ => {}
                }
            }
            self.received.drain(..taken);
            if !out.is_empty() {
                self.stream.write_all(&out).await?;
                out.clear();
            }
            self.read().await?;
        }
    }
}

/// The id of a delivery is the last thing in it.
fn acknowledge(out: &mut Vec<u8>, frame: &[u8]) {
    const BEFORE: &[u8] = b",\"bufferId\":\"";
    let Some(id) = frame.strip_suffix(b"\"}\n") else { return };
    let Some(quote) = id.iter().rposition(|byte| *byte == b'"') else { return };
    let (before, id) = id.split_at(quote + 1);
    if before.ends_with(BEFORE)
        && let Ok(id) = std::str::from_utf8(id)
    {
        push_frame(out, TEXT, encode::inbound_ack(id).as_bytes());
    }
}

/// Gateways that are connected and behave, until this is dropped.
pub(super) struct Crowd(JoinSet<()>);

impl Crowd {
    /// Connects the gateways of these numbers, some at a time.
    pub(super) async fn open(address: SocketAddr, numbers: std::ops::Range<usize>) -> Result<Self> {
        let (mut crowd, mut opening) = (JoinSet::new(), JoinSet::new());
        let some = Arc::new(Semaphore::new(64));
        for number in numbers {
            let turn = some.clone().acquire_owned().await?;
            opening.spawn(async move {
                let client = Client::open(address, &name(number)).await;
                drop(turn);
                client
            });
        }
        while let Some(client) = opening.join_next().await {
            let client = client??;
            crowd.spawn(async move {
                let _ = client.behave().await;
            });
        }
        Ok(Self(crowd))
    }

    /// Whether all of them are still connected.
    pub(super) fn is_complete(&mut self) -> bool {
        self.0.try_join_next().is_none()
    }
}
