//! async-io's sockets and timer.

use std::future::Future;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use async_io::{Async, Timer};
use futures_io::{AsyncRead, AsyncWrite};
use relay_proto::client::{LookUp, Net, look_up};

/// One gateway's timer, and what it is set to. Its sockets are with the driver.
#[derive(Default)]
pub(crate) struct AsyncIo {
    timer: Option<(Timer, Instant)>,
}

impl Net for AsyncIo {
    type Stream = Async<TcpStream>;
    type Resolving = LookUp;
    type Connecting = Pin<Box<dyn Future<Output = io::Result<Async<TcpStream>>> + Send>>;

    fn resolve(&mut self, host: String, port: u16) -> Self::Resolving {
        // The executors' threads for what blocks abort, or panic, when the system gives none.
        look_up(host, port)
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

    fn try_read(stream: &mut Self::Stream, bytes: &mut [u8]) -> io::Result<usize> {
        stream.get_ref().read(bytes)
    }

    fn try_write(stream: &mut Self::Stream, bytes: &[u8]) -> io::Result<usize> {
        stream.get_ref().write(bytes)
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
