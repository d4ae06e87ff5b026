//! The floors' links: a WebSocket and the first two frames of the protocol.

use std::net::TcpStream as Blocking;

use futures_util::{SinkExt, StreamExt};
use relay_proto::frame::encode;
use serde::Deserialize;
use std::borrow::Cow;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tungstenite::{Message, WebSocket};

use crate::Result;

pub(super) async fn connect(address: &str) -> Result<WebSocketStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut socket, _) = tokio_tungstenite::client_async(format!("ws://{address}/relay"), stream).await?;
    socket.send(Message::text(encode::hello("discord", "bot", None))).await?;
    socket.next().await.ok_or("no descriptor")??;
    Ok(socket)
}

pub(super) fn connect_blocking(address: &str) -> Result<WebSocket<Blocking>> {
    let stream = Blocking::connect(address)?;
    stream.set_nodelay(true)?;
    let (mut socket, _) = tungstenite::client(format!("ws://{address}/relay"), stream)?;
    socket.send(Message::text(encode::hello("discord", "bot", None)))?;
    socket.read()?;
    Ok(socket)
}

/// A request, as the gateway's `typing("c1")` writes it.
pub(super) fn request(id: u64) -> String {
    format!(
        "{{\"type\":\"outbound\",\"requestId\":\"{id:032x}\",\"action\":{{\"op\":\"typing\",\"chat_id\":\"c1\"}}}}\n"
    )
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(rename = "requestId", borrow)]
    id: Cow<'a, str>,
    result: Success,
}

/// What a result says.
#[derive(Deserialize)]
pub(super) struct Success {
    pub(super) success: bool,
}

/// Which request it answers.
pub(super) fn answered(message: &str) -> Result<u64> {
    let answer: Answer<'_> = serde_json::from_str(message)?;
    if answer.kind != "outbound_result" || !answer.result.success {
        return Err(super::unexpected(&message));
    }
    Ok(u64::from_str_radix(&answer.id, 16)?)
}
