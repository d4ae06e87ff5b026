//! From socket bytes to an event that was read, and its acknowledgement as bytes: ours, and the floor.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use relay_proto::gateway::{Config, Event, LinkId, Output};
use relay_proto::time::Now;
use relay_proto::wire::{GatewayIo, IoRequest};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

use crate::Result;
use crate::frames::{Block, Reads, TEXT, push_frame, read_borrowed};

/// What a read of a socket yields at most.
pub const CHUNK: usize = 16 << 10;

/// Takes bytes of a socket, and makes of them what is due.
pub trait Core {
    fn take(&mut self, bytes: &[u8]) -> Result<()>;
    fn reads(&self) -> Reads;
}

/// By its name on the command line.
pub fn named(name: &str) -> Result<Box<dyn Core>> {
    match name {
        "ours" => Ok(Box::new(Ours::new()?)),
        "floor" => Ok(Box::new(Floor::new())),
        other => Err(format!("no such core: {other}").into()),
    }
}

/// Lets a core take deliveries, a chunk at a time.
pub fn run(core: &mut dyn Core, block: &Block, frames: usize) -> Result<()> {
    let before = core.reads().frames;
    for chunk in block.part(0, frames).chunks(CHUNK) {
        core.take(chunk)?;
    }
    let read = core.reads().frames - before;
    if read == frames as u64 { Ok(()) } else { Err(format!("{read} of {frames} deliveries were read").into()) }
}

/// The whole gateway without its sockets, as a runtime drives it.
pub struct Ours {
    gateway: GatewayIo,
    link: LinkId,
    reads: Reads,
    out: Vec<u8>,
}

const NOW: Now = Now { monotonic: Duration::ZERO, unix: 1_800_000_000 };

impl Ours {
    /// Linked.
    pub fn new() -> Result<Self> {
        let settings = Config::new("ws://127.0.0.1:8765").identity("discord", "bot").build()?;
        let mut gateway = GatewayIo::new(settings, None, 7, NOW);
        let Some(Output::Link(IoRequest::Connect { link, attempt, address })) = gateway.poll_output(NOW) else {
            return Err("it does not connect".into());
        };
        assert_eq!(address, SocketAddr::from(([127, 0, 0, 1], 8765)));
        assert!(gateway.handle_connected(link, attempt, NOW));
        let key = String::from_utf8_lossy(gateway.transmit()).into_owned();
        let key = key.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).ok_or("no key")?;
        let response = switching(key.trim());
        let mut core = Self { gateway, link, reads: Reads::default(), out: Vec::new() };
        core.write();
        core.gateway.handle_bytes(link, response.as_bytes(), NOW);
        core.write();
        let mut descriptor = Vec::new();
        push_frame(&mut descriptor, TEXT, DESCRIPTOR.as_bytes());
        core.gateway.handle_bytes(link, &descriptor, NOW);
        match core.gateway.machine_mut().poll_event() {
            Some(Event::Ready { .. }) => Ok(core),
            other => Err(format!("not ready: {other:?}").into()),
        }
    }

    /// What a socket would take.
    fn write(&mut self) -> u64 {
        self.out.clear();
        loop {
            let bytes = self.gateway.transmit();
            if bytes.is_empty() {
                return std::hint::black_box(&self.out).len() as u64;
            }
            self.out.extend_from_slice(bytes);
            let n = bytes.len();
            self.gateway.consume(n, NOW);
        }
    }
}

/// The answer to an upgrade.
pub fn switching(key: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    )
}

/// The answer to a hello.
pub const DESCRIPTOR: &str = concat!(
    r#"{"type":"descriptor","descriptor":{"contract_version":1,"platform":"discord","label":"Discord","#,
    r#""max_message_length":2000,"supports_draft_streaming":false,"supports_edit":true,"supports_threads":true,"#,
    r#""markdown_dialect":"discord","len_unit":"chars"}}"#,
    "\n"
);

impl Core for Ours {
    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        self.gateway.handle_bytes(self.link, bytes, NOW);
        while let Some(event) = self.gateway.machine_mut().poll_event() {
            let Event::Delivery(delivered) = event else { return Err(format!("{event:?}").into()) };
            let Some(event) = delivered.content.message() else { return Err("not a message".into()) };
            self.reads.event(event.text(), event.chat_id(), event.user_id().unwrap_or_default());
            self.gateway.machine_mut().ack(delivered.id, NOW);
        }
        if let Some(action) = self.gateway.poll_output(NOW) {
            return Err(format!("{action:?}").into());
        }
        self.reads.ack_bytes += self.write();
        Ok(())
    }

    fn reads(&self) -> Reads {
        self.reads
    }
}

/// A WebSocket over memory, serde with borrowed fields, acknowledgements gathered for one write.
pub struct Floor {
    socket: WebSocketContext,
    reads: Reads,
    out: Vec<u8>,
}

struct Memory<'a> {
    bytes: &'a [u8],
    out: &'a mut Vec<u8>,
}

impl Floor {
    pub fn new() -> Self {
        // It clears its whole buffer before every read: one of the usual 128 KiB would make a slow floor.
        let config = WebSocketConfig::default().read_buffer_size(CHUNK);
        let socket = WebSocketContext::new(Role::Client, Some(config));
        Self { socket, reads: Reads::default(), out: Vec::new() }
    }
}

impl Default for Floor {
    fn default() -> Self {
        Self::new()
    }
}

impl Core for Floor {
    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let Self { socket, reads, out } = self;
        out.clear();
        let mut memory = Memory { bytes, out };
        loop {
            match socket.read(&mut memory) {
                Ok(Message::Text(text)) => {
                    let (read, ack) = read_borrowed(&text)?;
                    reads.frames += 1;
                    reads.bytes += read;
                    if let Some(ack) = ack {
                        socket.write(&mut memory, Message::text(ack))?;
                    }
                }
                Ok(other) => return Err(format!("{other:?}").into()),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        socket.flush(&mut memory)?;
        reads.ack_bytes += std::hint::black_box(&*memory.out).len() as u64;
        Ok(())
    }

    fn reads(&self) -> Reads {
        self.reads
    }
}

impl Read for Memory<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.bytes.read(buffer)
    }
}

impl Write for Memory<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{SIZES, ack_len, read_bytes};

    #[test]
    fn both_do_the_same() {
        for size in SIZES {
            let mut block = Block::new(size, 20, true);
            let (mut ours, mut floor) = (Ours::new().unwrap(), Floor::new());
            for _ in 0..3 {
                run(&mut ours, &block, 20).unwrap();
                run(&mut floor, &block, 20).unwrap();
                block.renumber();
            }
            // Each acknowledgement in a masked frame with a short header.
            let reads = Reads { frames: 60, bytes: 60 * read_bytes(size), ack_bytes: 60 * (ack_len() + 6) };
            assert_eq!((ours.reads(), floor.reads()), (reads, reads));
        }
    }
}
