//! The standard streams, and pipes, as other processes leave them.
//!
//! A stream is shared with other processes. One of them may have made it non-blocking, as Node does: then "nothing yet" is an
//! error of every read and write, and means neither an end nor a failure. And a terminal belongs to its foreground: a process
//! in the background that reads it is stopped, unless the thread that reads blocks the signal; its read fails instead.

#[cfg(unix)]
pub(crate) use unix::{Patient, keep_serving};

#[cfg(unix)]
mod unix {
    use std::io::{self, Read, Write};
    use std::os::fd::{AsFd, BorrowedFd};

    use nix::errno::Errno;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::signal::{SigSet, Signal};
    use nix::unistd::{getpgrp, read, tcgetpgrp, write};

    /// How often a process in the background looks whether it is in the foreground again. No event tells.
    const BACKGROUND: u16 = 1000;

    /// A stream whose reads and writes wait, whether or not it is non-blocking. Nothing is buffered.
    #[derive(Debug)]
    pub(crate) struct Patient<T>(pub(crate) T);

    impl<T: AsFd> Read for Patient<T> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            loop {
                match read(&self.0, buffer) {
                    Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => wait(self.0.as_fd(), PollFlags::POLLIN)?,
                    Err(Errno::EIO) if is_in_background(self.0.as_fd()) => {
                        poll(&mut [], BACKGROUND)?;
                    }
                    ended => return ended.map_err(io::Error::from),
                }
            }
        }
    }

    impl<T: AsFd> Write for Patient<T> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            loop {
                match write(&self.0, bytes) {
                    Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => wait(self.0.as_fd(), PollFlags::POLLOUT)?,
                    ended => return ended.map_err(io::Error::from),
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Waits until a stream may be ready, or has ended.
    fn wait(stream: BorrowedFd<'_>, what: PollFlags) -> io::Result<()> {
        match poll(&mut [PollFd::new(stream, what)], PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether it is the terminal of this process, and belongs to others at the moment.
    fn is_in_background(stream: BorrowedFd<'_>) -> bool {
        tcgetpgrp(stream).is_ok_and(|foreground| foreground != getpgrp())
    }

    /// From now on the terminal does not stop the process because of what this thread reads and writes.
    pub(crate) fn keep_serving() {
        let signals: SigSet = [Signal::SIGTTIN, Signal::SIGTTOU].into_iter().collect();
        // It cannot fail with signals that exist.
        let _ = signals.thread_block();
    }
}

#[cfg(not(unix))]
pub(crate) use elsewhere::{Patient, keep_serving};

#[cfg(not(unix))]
mod elsewhere {
    use std::io::{self, Read, Write};

    /// A stream. Only Unix has more to wait for.
    #[derive(Debug)]
    pub(crate) struct Patient<T>(pub(crate) T);

    impl<T: Read> Read for Patient<T> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl<T: Write> Write for Patient<T> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }

    pub(crate) fn keep_serving() {}
}
