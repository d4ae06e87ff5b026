//! async-io's sockets and timer.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use async_io::{Async, Timer};
use blocking::unblock;
use futures_io::{AsyncRead, AsyncWrite};
use relay_proto::host::Net;

type Promise<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// One gateway's timer, and what it is set to. Its sockets are with the driver.
#[derive(Default)]
pub(crate) struct AsyncIo {
    timer: Option<(Timer, Instant)>,
}

impl Net for AsyncIo {
    type Stream = Async<TcpStream>;
    type Resolving = Promise<Vec<SocketAddr>>;
    type Connecting = Promise<Async<TcpStream>>;

    fn resolve(&mut self, host: String, port: u16) -> Self::Resolving {
        Box::pin(unblock(move || Ok((host.as_str(), port).to_socket_addrs()?.collect())))
    }

    fn connect(&mut self, address: SocketAddr) -> Self::Connecting {
        Box::pin(async move {
            let stream = Async::<TcpStream>::connect(address).await?;
            stream.get_ref().set_nodelay(true)?;
            Ok(stream)
        })
    }

    fn poll_read(stream: &mut Self::Stream, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        AsyncRead::poll_read(Pin::new(stream), context, bytes)
    }

    fn poll_write(stream: &mut Self::Stream, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(stream), context, bytes)
    }

    fn poll_timer(&mut self, context: &mut Context<'_>, at: Instant) -> Poll<()> {
        let (timer, set) = self.timer.get_or_insert_with(|| (Timer::at(at), at));
        if *set != at {
            timer.set_at(at);
            *set = at;
        }
        Pin::new(timer).poll(context).map(drop)
    }
}
