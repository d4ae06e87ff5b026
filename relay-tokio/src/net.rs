//! Tokio's sockets and timer.

use std::future::Future;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use relay_proto::client::{LookUp, Net, look_up, same_socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep_until};

/// One gateway's timer. Its sockets are with the driver.
#[derive(Default)]
pub(crate) struct Tokio {
    timer: Option<Pin<Box<Sleep>>>,
}

impl Net for Tokio {
    type Stream = TcpStream;
    type Resolving = LookUp;
    type Connecting = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

    fn resolve(&mut self, host: String, port: u16) -> Self::Resolving {
        // Tokio's own lookup panics when the system gives no thread.
        look_up(host, port)
    }

    fn connect(&mut self, address: SocketAddr) -> Self::Connecting {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        })
    }

    fn poll_read(stream: &mut TcpStream, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(bytes);
        ready!(Pin::new(stream).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn poll_write(stream: &mut TcpStream, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(stream).poll_write(context, bytes)
    }

    fn try_read(stream: &mut TcpStream, bytes: &mut [u8]) -> io::Result<usize> {
        match same_socket(stream) {
            Ok(mut socket) => socket.read(bytes),
            Err(_) => stream.try_read(bytes),
        }
    }

    fn try_write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        match same_socket(stream) {
            Ok(mut socket) => socket.write(bytes),
            Err(_) => stream.try_write(bytes),
        }
    }

    fn poll_timer(&mut self, context: &mut Context<'_>, at: Instant) -> Poll<()> {
        let at = at.into();
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(context)
    }
}
