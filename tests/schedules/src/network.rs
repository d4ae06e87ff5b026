//! The simulated network, for the loop of every async runtime.

use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use relay_proto::client::Net;
use simulated::net::TcpStream;
use simulated::time;

/// Sockets and a timer.
pub struct Network;

impl Net for Network {
    type Stream = TcpStream;
    type Resolving = Ready<io::Result<Vec<SocketAddr>>>;
    type Connecting = Ready<io::Result<TcpStream>>;

    fn resolve(&mut self, _: String, port: u16) -> Self::Resolving {
        ready(Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]))
    }

    fn connect(&mut self, address: SocketAddr) -> Self::Connecting {
        ready(TcpStream::connect_timeout(&address, Duration::ZERO))
    }

    fn poll_read(stream: &mut TcpStream, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        stream.poll_read(context, bytes)
    }

    fn poll_write(stream: &mut TcpStream, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        stream.poll_write(context, bytes)
    }

    fn poll_timer(&mut self, context: &mut Context<'_>, at: Instant) -> Poll<()> {
        time::poll_until(at, context)
    }
}
