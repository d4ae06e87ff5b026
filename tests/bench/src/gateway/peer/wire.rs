//! The WebSocket of a server, by hand.

use std::io;
use std::ops::Range;

use relay_bench::core::{DESCRIPTOR, switching};
use relay_bench::frames::{TEXT, push_frame};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A client's frame.
pub(super) struct Frame {
    pub(super) opcode: u8,
    pub(super) payload: Range<usize>,
    mask: [u8; 4],
}

impl Frame {
    /// The first frame of what came; `None` while it is not whole.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (opcode, length) = (bytes.first()? & 0x0f, bytes.get(1)? & 0x7f);
        let (head, length) = match length {
            126 => (8, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
            127 => (14, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize),
            short => (6, usize::from(short)),
        };
        let mask = *bytes.get(head - 4..)?.first_chunk()?;
        (bytes.len() >= head + length).then_some(Self { opcode, payload: head..head + length, mask })
    }

    /// The payload, in the clear.
    pub(super) fn unmask<'a>(&self, bytes: &'a mut [u8]) -> &'a [u8] {
        let payload = &mut bytes[self.payload.clone()];
        for (at, byte) in payload.iter_mut().enumerate() {
            *byte ^= self.mask[at % 4];
        }
        payload
    }
}

/// The answer to an upgrade, once its head is whole, and how long the head is.
pub(super) fn upgrade(bytes: &[u8]) -> Option<(String, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
    });
    Some((switching(&key.unwrap_or_default()), end))
}

/// Accepts a link: upgrade, hello, descriptor. What came after the hello is nothing yet.
pub(super) async fn accept(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    let mut received = Vec::new();
    let (response, end) = loop {
        if stream.read_buf(&mut received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(upgrade) = upgrade(&received) {
            break upgrade;
        }
    };
    received.drain(..end);
    stream.write_all(response.as_bytes()).await?;
    while Frame::parse(&received).is_none() {
        if stream.read_buf(&mut received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let mut descriptor = Vec::new();
    push_frame(&mut descriptor, TEXT, DESCRIPTOR.as_bytes());
    stream.write_all(&descriptor).await
}
