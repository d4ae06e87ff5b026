//! Prebuilt deliveries, written as fast as they are taken; and the acknowledgements, counted. The first line on standard
//! input asks for those that warm up, the second for the others.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;
use relay_bench::frames::{Block, CLOSE, TEXT, warm};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

use super::wire::{Frame, accept};
use super::{end_with_input, listen, tell_address};
use crate::Result;
use crate::gateway::child;

#[derive(Args)]
pub(crate) struct Options {
    /// Bytes of an event.
    #[arg(long)]
    size: usize,
    /// Deliveries on each link.
    #[arg(long)]
    frames: usize,
    /// How many links there will be.
    #[arg(long)]
    links: usize,
    /// Whether each is to be acknowledged.
    #[arg(long)]
    acked: bool,
}

/// Bytes that are built before: all that a run needs when that is no more, or else a part, which is sent again and again
/// with new numbers. A gateway shows nothing twice.
const MOST: usize = 96 << 20;
const PART: usize = 4 << 20;

pub(super) async fn run(options: Options) -> Result<()> {
    let Options { size, frames, links, acked } = options;
    let built = if size * frames <= MOST { frames } else { (PART / size).max(16) };
    let block = Arc::new(Block::new(size, built, acked));
    let listener = listen().await?;
    let (go, gone) = watch::channel(0);
    end_with_input(move || {
        go.send_modify(|lines| *lines += 1);
    });
    tell_address(listener.local_addr()?, None);
    let acks = Arc::new(AtomicU64::new(0));
    let expected = if acked { (frames * links) as u64 } else { u64::MAX };
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (block, gone, acks) = (block.clone(), gone.clone(), acks.clone());
        tokio::spawn(async move {
            // A client that goes is seen there.
            let _ = serve(stream, block, frames, gone, &acks, expected).await;
        });
    }
}

async fn serve(
    mut stream: TcpStream,
    block: Arc<Block>,
    frames: usize,
    mut gone: watch::Receiver<usize>,
    acks: &AtomicU64,
    expected: u64,
) -> io::Result<()> {
    accept(&mut stream).await?;
    let (read, write) = stream.split();
    let send = send(write, block, frames, &mut gone);
    tokio::try_join!(count(read, acks, expected), send)?;
    Ok(())
}

async fn send(
    mut write: WriteHalf<'_>,
    mut block: Arc<Block>,
    frames: usize,
    gone: &mut watch::Receiver<usize>,
) -> io::Result<()> {
    let mut at = 0;
    for (lines, mut left) in [(1, warm(frames)), (2, frames - warm(frames))] {
        let _ = gone.wait_for(|gone| *gone >= lines).await;
        while left > 0 {
            if at == block.frames() {
                Arc::make_mut(&mut block).renumber();
                at = 0;
            }
            let now = left.min(block.frames() - at);
            write.write_all(block.part(at, now)).await?;
            (left, at) = (left - now, at + now);
        }
    }
    Ok(())
}

/// Counts acknowledgements, over all links, and tells when they are complete. Each is a line, whatever messages they come in.
async fn count(mut read: ReadHalf<'_>, acks: &AtomicU64, expected: u64) -> io::Result<()> {
    let mut received = Vec::with_capacity(64 << 10);
    loop {
        if read.read_buf(&mut received).await? == 0 {
            return Ok(());
        }
        let (mut taken, mut lines) = (0, 0);
        while let Some(frame) = Frame::parse(&received[taken..]) {
            let payload = frame.unmask(&mut received[taken..]);
            match frame.opcode {
                TEXT => lines += payload.iter().filter(|byte| **byte == b'\n').count() as u64,
                CLOSE => return Ok(()),
                _ => {}
            }
            taken += frame.payload.end;
        }
        received.drain(..taken);
        if acks.fetch_add(lines, Ordering::Relaxed) + lines == expected && lines > 0 {
            child::tell(&json!({"acknowledged": true}));
        }
    }
}
