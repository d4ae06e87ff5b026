//! A server that answers every connection with the same bytes, and remembers what it was sent.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What a server does once it has read a request.
pub(crate) enum Does {
    /// Answers, and closes.
    Answer(String),
    /// Nothing, and keeps the connection.
    Hang,
    /// Answers, and keeps the connection.
    Begin(String),
    /// Something, before it answers.
    First(Box<dyn Fn() + Send>, String),
    /// Passes a tunnel on to this address.
    Tunnel(SocketAddr),
}

pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start(does: impl FnOnce(SocketAddr) -> Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, does) = (requests.clone(), does(address));
        thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = read(&mut stream);
                seen.lock().unwrap().push(request);
                match &does {
                    Does::Answer(bytes) => stream.write_all(bytes.as_bytes()).unwrap_or_default(),
                    Does::Hang => kept.push(stream),
                    Does::Begin(bytes) => {
                        stream.write_all(bytes.as_bytes()).unwrap_or_default();
                        kept.push(stream);
                    }
                    Does::First(what, bytes) => {
                        what();
                        stream.write_all(bytes.as_bytes()).unwrap_or_default();
                    }
                    Does::Tunnel(to) => tunnel(stream, *to),
                }
            }
        });
        Self { address, requests }
    }

    /// Answers like this.
    pub(crate) fn answering(status: u16, fields: &str, body: &str) -> Self {
        let bytes = answer(status, fields, body);
        Self::start(|_| Does::Answer(bytes))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What came, in order.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

pub(crate) fn answer(status: u16, fields: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{fields}\r\n{body}", body.len())
}

/// Reads a request with its body.
fn read(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            if length.is_none_or(|length| body.len() >= length.parse().unwrap()) {
                return text;
            }
        }
        match stream.read(&mut buffer) {
            Ok(n @ 1..) => bytes.extend_from_slice(&buffer[..n]),
            _ => return text,
        }
    }
}

fn tunnel(client: TcpStream, to: SocketAddr) {
    let connector = TcpStream::connect(to).unwrap();
    (&client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
    for (mut from, mut to) in [(client.try_clone().unwrap(), connector.try_clone().unwrap()), (connector, client)] {
        thread::spawn(move || std::io::copy(&mut from, &mut to));
    }
}
