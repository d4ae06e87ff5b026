//! A socket as the system has it, beside what a runtime knows of it.

use std::io;
use std::net::TcpStream;

/// The same socket, as non-blocking as it is, under another number. There may be no number left.
///
/// A runtime reads and writes a socket only after the system told it that this is possible. A process that was stopped
/// learns of the time first, and of its sockets second, so that a deadline must not be judged by what the runtime knows:
/// a read or write through this asks the system itself (CLOCK-4).
///
/// # Errors
/// What the system says.
#[cfg(unix)]
pub fn same_socket(stream: &impl std::os::fd::AsFd) -> io::Result<TcpStream> {
    Ok(stream.as_fd().try_clone_to_owned()?.into())
}

/// The same socket, as non-blocking as it is, under another number. There may be no number left.
///
/// # Errors
/// What the system says.
#[cfg(windows)]
pub fn same_socket(stream: &impl std::os::windows::io::AsSocket) -> io::Result<TcpStream> {
    Ok(stream.as_socket().try_clone_to_owned()?.into())
}

/// The same socket, on systems that let nobody have it: always an error.
///
/// # Errors
/// Always.
#[cfg(not(any(unix, windows)))]
pub fn same_socket<S>(_: &S) -> io::Result<TcpStream> {
    Err(io::ErrorKind::Unsupported.into())
}
