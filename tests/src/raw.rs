//! A connector whose HTTP and WebSocket are written by hand.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::frames;
use crate::guard;

/// What an upgrade asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upgrade {
    /// The path, with its query.
    pub path: String,
    /// Names in lower case, and values, in order.
    pub headers: Vec<(String, String)>,
}

impl Upgrade {
    /// The first header of a name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The bearer token.
    pub fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// The answer that accepts.
    ///
    /// # Panics
    /// When the upgrade had no key.
    pub fn acceptance(&self) -> String {
        let key = self.header("sec-websocket-key").expect("a key");
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            derive_accept_key(key.as_bytes())
        )
    }
}

/// A bare connection.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
}

impl Raw {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a socket");
        Self { stream }
    }

    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Reads the request up to its empty line, and nothing behind it.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn request(&mut self) -> Upgrade {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(guard("the request", self.stream.read_u8()).await.expect("a whole request"));
        }
        let head = String::from_utf8(head).expect("text");
        let mut lines = head.lines();
        let path = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a request line").into();
        let headers = lines.filter_map(|line| line.split_once(": "));
        Upgrade { path, headers: headers.map(|(name, value)| (name.to_lowercase(), value.into())).collect() }
    }

    /// Writes.
    ///
    /// # Panics
    /// When the connection does not take it.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        guard("room to write", self.stream.write_all(bytes.as_ref())).await.expect("a connection that takes bytes");
    }

    /// Writes byte by byte, and gives the other end time to see each.
    pub async fn trickle(&mut self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            self.write([*byte]).await;
            tokio::task::yield_now().await;
        }
    }

    /// Writes this over and over, and reads nothing, until the connection ends.
    pub async fn talk(&mut self, bytes: &[u8]) {
        while self.stream.write_all(bytes).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    /// Upgrades, and sends the descriptor without waiting for the hello.
    pub async fn handshake(&mut self) -> Upgrade {
        let upgrade = self.request().await;
        let descriptor = frames::line(&frames::descriptor("discord"));
        self.write([upgrade.acceptance().into_bytes(), frame(TEXT, descriptor)].concat()).await;
        upgrade
    }

    /// Reads to the end of the connection, in order or not.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A reset is an end as well; what came before it is kept.
        let _ = guard("the end of the connection", self.stream.read_to_end(&mut bytes)).await;
        bytes
    }

    /// Reads something.
    ///
    /// # Panics
    /// When the connection ends instead.
    pub async fn read(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        let n = guard("some bytes", self.stream.read(&mut bytes)).await.expect("bytes");
        assert!(n > 0, "the connection ended");
        bytes.truncate(n);
        bytes
    }

    /// Ends the writing half: the other end sees the end of the stream.
    ///
    /// # Panics
    /// When the connection is gone already.
    pub async fn finish(&mut self) {
        self.stream.shutdown().await.expect("a connection");
    }

    /// Resets the connection.
    ///
    /// # Panics
    /// Never, on a socket.
    pub fn reset(self) {
        self.stream.set_zero_linger().expect("a socket");
    }

    /// Writes all at once, without waiting, and resets the connection: nobody gets to run in between.
    ///
    /// # Panics
    /// When the connection does not take it in one piece.
    pub fn write_and_reset(self, bytes: &[u8]) {
        assert_eq!(self.stream.try_write(bytes).expect("room"), bytes.len());
        self.reset();
    }
}

/// The opcode of text messages.
pub const TEXT: u8 = 1;
/// The opcode of binary messages.
pub const BINARY: u8 = 2;
/// The opcode of close frames.
pub const CLOSE: u8 = 8;
/// The opcode of pings.
pub const PING: u8 = 9;

/// A whole, unmasked WebSocket frame.
///
/// # Panics
/// Never, for lengths that exist.
pub fn frame(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    [header(0x80 | opcode, payload.len() as u64).as_slice(), payload].concat()
}

/// The header of an unmasked frame.
///
/// # Panics
/// Never.
pub fn header(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(u8::try_from(length).expect("in range")),
        126..=0xffff => {
            bytes.push(126);
            bytes.extend(u16::try_from(length).expect("in range").to_be_bytes());
        }
        _ => {
            bytes.push(127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes
}

/// A close frame.
pub fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    frame(CLOSE, [code.to_be_bytes().as_slice(), reason.as_bytes()].concat())
}

/// The frames in what a gateway wrote, from the beginning of one on: opcode and payload.
///
/// # Panics
/// When a frame is not whole, or not masked.
pub fn frames_of(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        assert!(second & 0x80 != 0, "a gateway masks");
        let (length, rest) = match second & 0x7f {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => (u64::from_be_bytes(rest[..8].try_into().expect("eight")) as usize, &rest[8..]),
            short => (usize::from(short), rest),
        };
        let (mask, rest) = rest.split_at(4);
        let (payload, rest) = rest.split_at(length);
        let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        frames.push((first & 0x0f, payload));
        bytes = rest;
    }
    frames
}

/// The code of the close frame that what a gateway wrote ends with.
pub fn close_code(bytes: &[u8]) -> Option<u16> {
    match frames_of(bytes).last() {
        Some((CLOSE, payload)) => payload.first_chunk().map(|code| u16::from_be_bytes(*code)),
        _ => None,
    }
}
