//! A socket as the system has it, beside what the runtime knows of it.

use std::io::{self, Read, Write};

use tokio::net::TcpStream;

/// Reads what lies in the socket, without asking the runtime whether anything does: a process that was stopped learns of the
/// time first, and of its sockets second (CLOCK-4).
pub(crate) fn read(stream: &TcpStream, bytes: &mut [u8]) -> io::Result<usize> {
    match own(stream) {
        Ok(mut own) => own.read(bytes),
        Err(_) => stream.try_read(bytes),
    }
}

/// Writes what the socket takes, likewise.
pub(crate) fn write(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match own(stream) {
        Ok(mut own) => own.write(bytes),
        Err(_) => stream.try_write(bytes),
    }
}

/// The same socket, which never blocks, under another number. There may be no number left.
#[cfg(unix)]
fn own(stream: &TcpStream) -> io::Result<std::net::TcpStream> {
    Ok(std::os::fd::AsFd::as_fd(stream).try_clone_to_owned()?.into())
}

#[cfg(windows)]
fn own(stream: &TcpStream) -> io::Result<std::net::TcpStream> {
    Ok(std::os::windows::io::AsSocket::as_socket(stream).try_clone_to_owned()?.into())
}

#[cfg(not(any(unix, windows)))]
fn own(_: &TcpStream) -> io::Result<std::net::TcpStream> {
    Err(io::ErrorKind::Unsupported.into())
}
