//! Answers requests, all that one read brought in one write, with a blocking thread for each link.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use relay_bench::core::DESCRIPTOR;
use relay_bench::frames::{CLOSE, PING, PONG, TEXT, push_frame};

use super::wire::{Frame, upgrade};
use super::{end_with_input, tell_address};
use crate::Result;

pub(super) fn run() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    end_with_input(|| ());
    tell_address(listener.local_addr()?, None);
    for stream in listener.incoming() {
        let stream = stream?;
        // A client that goes is seen there.
        thread::spawn(move || serve(stream).ok());
    }
    Ok(())
}

fn serve(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mut received, mut buffer, mut out) = (Vec::new(), vec![0; 64 << 10], Vec::new());
    let mut open = false;
    loop {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        received.extend_from_slice(&buffer[..n]);
        let mut taken = 0;
        if !open {
            let Some((response, end)) = upgrade(&received) else { continue };
            out.extend_from_slice(response.as_bytes());
            (open, taken) = (true, end);
        }
        while let Some(frame) = Frame::parse(&received[taken..]) {
            let payload = frame.unmask(&mut received[taken..]);
            match frame.opcode {
                TEXT => push_frame(&mut out, TEXT, answer(std::str::from_utf8(payload)?).as_bytes()),
                PING => push_frame(&mut out, PONG, payload),
                CLOSE => return Ok(()),
                _ => {}
            }
            taken += frame.payload.end;
        }
        received.drain(..taken);
        stream.write_all(&out)?;
        out.clear();
    }
}

/// A result for a request of a gateway, the equivalent for one of JSON-RPC, and a descriptor for a hello.
fn answer(text: &str) -> String {
    if let Some((_, rest)) = text.split_once("\"requestId\":\"")
        && let Some((id, _)) = rest.split_once('"')
    {
        return format!("{{\"type\":\"outbound_result\",\"requestId\":\"{id}\",\"result\":{{\"success\":true}}}}\n");
    }
    if let Some((_, rest)) = text.split_once("\"id\":")
        && let Some(end) = rest.find([',', '}'])
    {
        return format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{\"success\":true}}}}", &rest[..end]);
    }
    DESCRIPTOR.into()
}
