//! Lines of commands, read by a thread of its own, since standard input blocks.

use std::io::{self, Read};

use tokio::sync::mpsc;

use crate::lines::{Line, Lines};
use crate::streams::keep_serving;

/// Lines that are read ahead. Each is at most 1 MiB.
const AHEAD: usize = 8;

/// One line of the input.
#[derive(Debug)]
pub(crate) struct Input {
    /// Its number, from 1.
    pub(crate) number: u64,
    /// Its bytes; `None` when it was too long.
    pub(crate) line: Option<Vec<u8>>,
}

/// Starts a reader. The receiver ends with the input.
pub(crate) fn start(from: impl Read + Send + 'static) -> io::Result<mpsc::Receiver<Input>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    std::thread::Builder::new().name("relay-input".into()).spawn(move || {
        keep_serving();
        read(from, &sender);
    })?;
    Ok(receiver)
}

/// Reads until the input ends, or until nobody takes lines any more.
fn read(mut from: impl Read, sender: &mpsc::Sender<Input>) {
    let send = |number, line: Line<'_>| {
        let line = match line {
            Line::Bytes(bytes) => Some(bytes.to_vec()),
            Line::TooLong => None,
        };
        sender.blocking_send(Input { number, line })
    };
    let mut lines = Lines::default();
    let mut buffer = vec![0; 16 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                if lines.feed(buffer.get(..n).unwrap_or(&[]), send).is_err() {
                    // A program that still talks must not be stopped by a pipe that nobody reads.
                    let _ = io::copy(&mut from, &mut io::sink());
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                crate::output::note(&format!("cannot read commands: {error}"));
                break;
            }
        }
    }
    let _ = lines.finish(send);
}
