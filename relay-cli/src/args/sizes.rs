//! The flags for the sizes of lines and frames.

use clap::Args;

use crate::lines;

/// The largest value of either flag, which is the contract's for lines (FRAME-3).
const MOST: usize = 1 << 30;
/// What frames and lines are limited to by default (FRAME-1, FRAME-3).
const DEFAULT: usize = 1 << 20;

/// How large lines and frames may be.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct SizeArgs {
    /// The longest line that is read from a link, in bytes, from 1024 to 1073741824. A longer one closes the link with 1009,
    /// and the peer may send it again on each link: a warning says so when that happens twice in a row
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT, value_parser = BYTES)]
    pub(crate) max_line: usize,
    /// The largest frame that is sent, in bytes, from 1024 to 1073741824. What does not fit is refused before anything of it
    /// is sent. The peer has to take lines of this size: see its own --max-line
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT, value_parser = BYTES)]
    pub(crate) max_frame: usize,
}

impl SizeArgs {
    /// The largest WebSocket message that is received. A line comes in one message, with its newline and perhaps others.
    pub(crate) fn message(self, default: usize) -> usize {
        default.max(self.max_line.saturating_mul(2))
    }

    /// The longest line of commands: a frame has to fit.
    pub(crate) fn input(self) -> usize {
        lines::LIMIT + self.max_frame.saturating_sub(DEFAULT)
    }
}

/// A pointer, so that the parser's code is there once for both.
type Bytes = fn(&str) -> Result<usize, String>;

const BYTES: Bytes = |text| match text.parse() {
    Ok(bytes) if (1024..=MOST).contains(&bytes) => Ok(bytes),
    Ok(_) => Err(format!("it is from 1024 to {MOST} bytes")),
    Err(_) => Err("it is given in whole bytes, as in 4194304".into()),
};
