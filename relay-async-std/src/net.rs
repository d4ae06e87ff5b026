//! async-io's sockets and timer.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
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

/// A socket.
pub(crate) struct Stream {
    tcp: Async<TcpStream>,
    /// The last read took all there was: another one would be in vain until the system says otherwise.
    dry: bool,
}

impl Net for AsyncIo {
    type Stream = Stream;
    type Resolving = Promise<Vec<SocketAddr>>;
    type Connecting = Promise<Stream>;

    fn resolve(&mut self, host: String, port: u16) -> Self::Resolving {
        Box::pin(unblock(move || Ok((host.as_str(), port).to_socket_addrs()?.collect())))
    }

    fn connect(&mut self, address: SocketAddr) -> Self::Connecting {
        Box::pin(async move {
            let tcp = Async::<TcpStream>::connect(address).await?;
            tcp.get_ref().set_nodelay(true)?;
            Ok(Stream { tcp, dry: true })
        })
    }

    fn poll_read(stream: &mut Self::Stream, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        if stream.dry {
            ready!(stream.tcp.poll_readable(context))?;
        }
        let read = ready!(Pin::new(&mut stream.tcp).poll_read(context, bytes));
        stream.dry = read.as_ref().is_ok_and(|read| *read < bytes.len());
        Poll::Ready(read)
    }

    fn poll_write(stream: &mut Self::Stream, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut stream.tcp).poll_write(context, bytes)
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
