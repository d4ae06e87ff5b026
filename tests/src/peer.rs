//! A scripted connector over real sockets. Its WebSocket is tokio-tungstenite's: nothing of the wire under test is in it.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::frames;
use crate::guard;
use crate::raw::{Raw, Upgrade};

/// A connector that listens on a port of its own.
#[derive(Debug)]
pub struct Peer {
    listener: TcpListener,
    address: SocketAddr,
}

impl Peer {
    /// Listens on loopback, on a port that the system picks.
    ///
    /// # Panics
    /// When the system has none.
    pub async fn bind() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        Self { listener, address }
    }

    /// The same, of which the system takes little that was not read.
    ///
    /// # Panics
    /// When the system has no port.
    pub async fn bind_narrow() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(32 << 10).expect("a small buffer");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let listener = socket.listen(1024).expect("a port to listen on");
        let address = listener.local_addr().expect("an address");
        Self { listener, address }
    }

    /// The base URL to configure.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next connection, as it is.
    ///
    /// # Panics
    /// When none comes.
    pub async fn accept_raw(&self) -> Raw {
        let (stream, _) = guard("a dial", self.listener.accept()).await.expect("a connection");
        Raw::new(stream)
    }

    /// The next connection, upgraded.
    ///
    /// # Panics
    /// When none comes, or it is no upgrade.
    pub async fn accept(&self) -> Link {
        let stream = self.accept_raw().await.into_stream();
        let mut upgrade = None;
        let ws = guard("an upgrade", tokio_tungstenite::accept_hdr_async(stream, note(&mut upgrade))).await;
        Link { ws: ws.expect("an upgrade"), upgrade: upgrade.expect("a request"), pings: 0 }
    }

    /// The next connection, upgraded, its first hello answered with a descriptor.
    pub async fn handshake(&self) -> Link {
        let mut link = self.accept().await;
        link.handshake().await;
        link
    }

    /// Shows that nobody dialled that was not accepted: what is accepted next is a connection of our own.
    ///
    /// # Panics
    /// When somebody did.
    pub async fn assert_nobody_dialled(&self) {
        let own = guard("an own connection", TcpStream::connect(self.address)).await.expect("a connection");
        let (_, accepted) = guard("the own connection", self.listener.accept()).await.expect("a connection");
        assert_eq!(accepted, own.local_addr().expect("an address"), "somebody had dialled");
    }
}

/// Writes down what the upgrade asked for.
#[allow(clippy::result_large_err, reason = "the type is tungstenite's")]
fn note(upgrade: &mut Option<Upgrade>) -> impl FnOnce(&Request, Response) -> Result<Response, ErrorResponse> + Unpin {
    |request, response| {
        let headers = request.headers().iter();
        let headers = headers.map(|(name, value)| (name.as_str().into(), value.to_str().unwrap_or("?").into()));
        *upgrade = Some(Upgrade { path: request.uri().to_string(), headers: headers.collect() });
        Ok(response)
    }
}

/// What came from the gateway.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// A frame: one line in one text message.
    Frame(Value),
    /// A ping. It is answered with the next read or write.
    Ping,
    /// A pong.
    Pong(Vec<u8>),
    /// A close frame: code and reason. It is answered with the next read.
    Close(Option<(u16, String)>),
    /// The end of the connection, and what was wrong with it, if anything.
    End(Option<String>),
}

/// One link of a gateway, from the connector's side.
#[derive(Debug)]
pub struct Link {
    ws: WebSocketStream<TcpStream>,
    /// What the upgrade asked for.
    pub upgrade: Upgrade,
    /// Pings that came.
    pub pings: usize,
}

impl Link {
    /// Sends a text message as it is.
    ///
    /// # Panics
    /// When the connection does not take it.
    pub async fn send_text(&mut self, text: impl Into<String>) {
        self.send_message(Message::text(text.into())).await.expect("a connection that takes text");
    }

    /// Sends a binary message as it is.
    ///
    /// # Panics
    /// When the connection does not take it.
    pub async fn send_binary(&mut self, bytes: impl Into<Vec<u8>>) {
        self.send_message(Message::binary(bytes.into())).await.expect("a connection that takes bytes");
    }

    /// Sends a frame as one line in one text message.
    pub async fn send(&mut self, frame: &Value) {
        self.send_text(frames::line(frame)).await;
    }

    /// Sends several frames in one text message.
    pub async fn send_all(&mut self, frames: &[Value]) {
        self.send_text(frames.iter().map(frames::line).collect::<String>()).await;
    }

    /// Sends a message; an error when the connection does not take it.
    ///
    /// # Errors
    /// As tungstenite has it.
    pub async fn send_message(&mut self, message: Message) -> Result<(), Error> {
        guard("room to write", self.ws.send(message)).await
    }

    /// Writes bytes past the WebSocket: the next message then follows them.
    ///
    /// # Panics
    /// When the connection does not take them.
    pub async fn write_raw(&mut self, bytes: &[u8]) {
        use tokio::io::AsyncWriteExt;
        guard("room to write", self.ws.get_mut().write_all(bytes)).await.expect("a connection that takes bytes");
    }

    /// What comes next from the gateway.
    ///
    /// # Panics
    /// When nothing does, or when a message is not one whole line (FRAME-1).
    pub async fn next(&mut self) -> Incoming {
        match guard("something from the gateway", self.ws.next()).await {
            Some(Ok(Message::Text(text))) => {
                let line = text.strip_suffix('\n').expect("a line that ends");
                assert!(!line.contains(['\n', '\r']), "one line in a message");
                let frame: Value = serde_json::from_str(line).expect("JSON");
                assert!(frame.is_object(), "a frame is an object");
                Incoming::Frame(frame)
            }
            Some(Ok(Message::Ping(_))) => {
                self.pings += 1;
                Incoming::Ping
            }
            Some(Ok(Message::Pong(payload))) => Incoming::Pong(payload.to_vec()),
            Some(Ok(Message::Close(frame))) => {
                Incoming::Close(frame.map(|frame| (frame.code.into(), frame.reason.as_str().into())))
            }
            Some(Ok(other)) => panic!("not what gateways send: {other:?}"),
            Some(Err(Error::ConnectionClosed)) | None => Incoming::End(None),
            Some(Err(error)) => Incoming::End(Some(error.to_string())),
        }
    }

    /// The next frame.
    ///
    /// # Panics
    /// When the link ends instead.
    pub async fn next_frame(&mut self) -> Value {
        loop {
            match self.next().await {
                Incoming::Frame(frame) => return frame,
                Incoming::Ping | Incoming::Pong(_) => {}
                end => panic!("not a frame: {end:?}"),
            }
        }
    }

    /// The next frame, which is of this type.
    ///
    /// # Panics
    /// When it is of another.
    pub async fn expect(&mut self, kind: &str) -> Value {
        let frame = self.next_frame().await;
        assert_eq!(frame["type"], kind, "{frame}");
        frame
    }

    /// The buffer id of the next frame, which is an acknowledgement.
    pub async fn ack(&mut self) -> String {
        self.expect("inbound_ack").await["bufferId"].as_str().expect("a text").into()
    }

    /// Reads the hello and answers with a descriptor.
    pub async fn handshake(&mut self) {
        let hello = self.expect("hello").await;
        let platform = hello["platform"].as_str().expect("a platform");
        self.send(&frames::descriptor(platform)).await;
    }

    /// Lets the gateway shut down: acknowledges that it goes idle, and reads to the end. The close frame that came.
    pub async fn farewell(&mut self) -> Option<(u16, String)> {
        let mut close = None;
        loop {
            match self.next().await {
                Incoming::Frame(frame) if frame["type"] == "going_idle" => self.idle_ack().await,
                Incoming::Close(frame) => close = frame.or(close),
                Incoming::End(_) => return close,
                _ => {}
            }
        }
    }

    /// Acknowledges that the gateway goes idle.
    pub async fn idle_ack(&mut self) {
        self.send_text("{\"type\":\"going_idle_ack\"}\n").await;
    }

    /// Answers a request with success.
    pub async fn answer(&mut self, request: &Value) {
        self.send(&frames::result(request, serde_json::json!({"success": true}))).await;
    }

    /// Sends a ping.
    ///
    /// # Panics
    /// When the connection does not take it.
    pub async fn ping(&mut self, payload: &[u8]) {
        self.send_message(Message::Ping(payload.to_vec().into())).await.expect("a connection that takes a ping");
    }

    /// Waits until the gateway has handled everything that was sent so far.
    ///
    /// # Panics
    /// When frames come meanwhile, or the end.
    pub async fn settled(&mut self) {
        self.ping(b"settled").await;
        loop {
            match self.next().await {
                Incoming::Pong(payload) if payload == b"settled" => return,
                Incoming::Ping | Incoming::Pong(_) => {}
                other => panic!("not an answer to the ping: {other:?}"),
            }
        }
    }

    /// Sends a close frame. What the gateway answers is still to be read.
    ///
    /// # Panics
    /// When the connection does not take it.
    pub async fn close(&mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        guard("room to close", self.ws.close(Some(frame))).await.expect("a connection that takes a close");
    }

    /// Sends a close frame without a status.
    ///
    /// # Panics
    /// When the connection does not take it.
    pub async fn close_without_code(&mut self) {
        guard("room to close", self.ws.close(None)).await.expect("a connection that takes a close");
    }

    /// Reads to the end of the connection: the close frame that came, if one did.
    pub async fn ended(&mut self) -> Option<(u16, String)> {
        let mut close = None;
        loop {
            match self.next().await {
                Incoming::Close(frame) => close = frame.or(close),
                Incoming::End(_) => return close,
                _ => {}
            }
        }
    }

    /// The connection itself.
    pub fn into_raw(self) -> Raw {
        Raw::new(self.ws.into_inner())
    }

    /// Resets the connection.
    pub fn cut(self) {
        self.into_raw().reset();
    }
}
