//! Lines of commands, read by a thread of its own, since standard input blocks.

use std::io::{self, Read};

use tokio::sync::mpsc;

use crate::lines::{Line, Lines};
use crate::streams::keep_serving;

/// Lines that are read ahead.
const AHEAD: usize = 8;

/// One line of the input.
#[derive(Debug)]
pub(crate) struct Input {
    /// Its number, from 1.
    pub(crate) number: u64,
    /// Its bytes; or the limit that it is over.
    pub(crate) line: Result<Vec<u8>, usize>,
}

/// Starts a reader of lines of so many bytes at most. The receiver ends with the input.
pub(crate) fn start(from: impl Read + Send + 'static, limit: usize) -> io::Result<mpsc::Receiver<Input>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    std::thread::Builder::new().name("relay-input".into()).spawn(move || {
        keep_serving();
        read(from, limit, &sender);
    })?;
    Ok(receiver)
}

/// Reads until the input ends, or until nobody takes lines any more.
fn read(mut from: impl Read, limit: usize, sender: &mpsc::Sender<Input>) {
    let send = |number, line: Line<'_>| {
        let line = match line {
            Line::Bytes(bytes) => Ok(bytes.to_vec()),
            Line::TooLong => Err(limit),
        };
        sender.blocking_send(Input { number, line })
    };
    let mut lines = Lines::new(limit);
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
