//! The smallest host: one gateway, one thread, blocking sockets. It prints what it is told.
//!
//! `cargo run -p hermes-relay-proto --example blocking_loop -- http://127.0.0.1:8765`
#![allow(clippy::disallowed_methods, reason = "a host is what reads the clocks")]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant, SystemTime};

use relay_proto::gateway::{Config, Event, Output};
use relay_proto::time::Now;
use relay_proto::wire::{GatewayIo, IoRequest};

/// Reads of 4 KiB after a deadline before it is judged.
const BACKLOG: usize = 2048;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("usage: blocking_loop URL")?;
    run(Config::new(url).identity("discord", "1234"))
}

pub(crate) fn run(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    let origin = Instant::now();
    let now =
        || Now { monotonic: origin.elapsed(), unix: SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs()) };
    // Request ids and the waits between dials come from it: no two gateways may have the same.
    let seed = getrandom::u64()?;
    let mut gateway = GatewayIo::new(config.build()?, None, seed, now());
    let mut socket = None;
    let mut overdue = 0;
    loop {
        // Drain every output: actions, events, bytes. Each can make more of the others, so it begins anew after each.
        if let Some(action) = gateway.poll_output(now()) {
            match action {
                Output::Link(IoRequest::Resolve { link, host, port }) => {
                    match (host.as_str(), port).to_socket_addrs() {
                        Ok(addresses) => gateway.handle_resolved(link, &addresses.collect::<Vec<_>>(), now()),
                        Err(error) => gateway.handle_unresolved(link, &error.to_string(), now()),
                    }
                }
                Output::Link(IoRequest::Connect { link, attempt, address }) => match TcpStream::connect(address) {
                    Ok(stream) => {
                        stream.set_nodelay(true)?;
                        // A write that blocks holds up every deadline: after this, nothing more is written.
                        stream.set_write_timeout(Some(Duration::from_secs(30)))?;
                        if gateway.handle_connected(link, attempt, now()) {
                            socket = Some((link, stream));
                        }
                    }
                    Err(error) => gateway.handle_unreachable(link, attempt, &error.to_string(), now()),
                },
                Output::Link(IoRequest::Disconnect { final_bytes, .. }) => {
                    if let Some((_, mut stream)) = socket.take() {
                        let _ = stream.write(&final_bytes);
                    }
                }
                _ => {}
            }
            continue;
        }
        if let Some(event) = gateway.machine_mut().poll_event() {
            match event {
                Event::Delivery(delivered) => {
                    if let Some(message) = delivered.content.message() {
                        println!("{}", message.text());
                    }
                    // Every delivery is acknowledged, also one that is not used: otherwise it holds up the others behind it.
                    gateway.machine_mut().ack(delivered.id, now());
                }
                Event::Revoked { .. } | Event::Closed => return Ok(()),
                _ => {}
            }
            continue;
        }
        if let Some((link, stream)) = &mut socket
            && !gateway.transmit().is_empty()
        {
            match stream.write(gateway.transmit()) {
                Ok(n) => gateway.consume(n, now()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // What the peer said before is still to be read, so reading goes on.
                Err(_) => gateway.handle_write_error(*link, now()),
            }
            continue;
        }
        // Nothing is left to do: wait for bytes or the deadline, whichever comes first. The gateway's deadline, and not the
        // machine's, which does not know of further addresses to try.
        let deadline = gateway.poll_timeout();
        let wait = deadline.map_or(Duration::MAX, |deadline| deadline.at.saturating_sub(now().monotonic));
        match &mut socket {
            Some((link, stream)) => {
                let mut bytes = [0; 4096];
                stream.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
                let read = stream.read(&mut bytes);
                let found_nothing = matches!(&read, Err(error) if is_for_later(error.kind()));
                match read {
                    Ok(0) => gateway.handle_eof(*link, now()),
                    Ok(n) => gateway.handle_bytes(*link, bytes.get(..n).unwrap_or_default(), now()),
                    Err(_) if found_nothing => {}
                    Err(error) => gateway.handle_read_error(*link, &error.to_string(), now()),
                }
                // What came in time counts, also when this process was stopped meanwhile: so the deadline is judged when a
                // read that began after it found nothing, or when there was more than a socket holds (CLOCK-4).
                overdue = if wait.is_zero() { overdue + 1 } else { 0 };
                if !(overdue > 0 && found_nothing || overdue > BACKLOG) {
                    continue;
                }
                overdue = 0;
            }
            None => std::thread::sleep(wait),
        }
        gateway.handle_timeout(now());
    }
}

fn is_for_later(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
