//! `kill -9` of a connector with a store, again and again, under load.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::PATIENCE;
use crate::pair::{SECRET, command, gateway_with, message};
use crate::setup::Files;

/// How often it is killed.
const KILLS: usize = 60;
const WINDOW: usize = 16;
/// A gateway that remembers what it took, and lives through it all; and one that forgets with every kill.
const OURS: &str = "ours";
const FORGETFUL: &str = "forgetful";

/// A connector over this store.
struct Victim {
    child: Child,
    lines: Receiver<String>,
    address: SocketAddr,
}

impl Victim {
    fn start(store: &str) -> Self {
        let (ours, forgetful) = (format!("{OURS}=SECRET"), format!("{FORGETFUL}=SECRET"));
        let arguments = ["--gateway-env", &ours, "--gateway-env", &forgetful, "--store", store];
        let mut command = command(&[&arguments[..], &["--window", &WINDOW.to_string()]].concat());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut victim = Self { child, lines, address: ([127, 0, 0, 1], 0).into() };
        let listening = victim.next().expect("it starts over what it left behind");
        victim.address = listening["addr"].as_str().unwrap().parse().unwrap();
        victim
    }

    /// The next event. `None`: it is dead, and what it wrote has been read. Its last line may be half of one, which
    /// tells nobody anything.
    fn next(&self) -> Option<Value> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => serde_json::from_str(&line).ok(),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(timeout) => panic!("nothing came from the connector: {timeout}"),
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a connector said about the entries of a gateway. Entries are named by the text of their message.
#[derive(Default)]
struct Said {
    accepted: Vec<u64>,
    acknowledged: BTreeSet<u64>,
}

/// One address in front of connectors that come and go.
struct Front {
    url: String,
    behind: Arc<Mutex<Option<SocketAddr>>>,
}

impl Front {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let behind = Arc::new(Mutex::new(None));
        let target = behind.clone();
        // It ends with the process.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let address: Option<SocketAddr> = *target.lock().unwrap();
                let Some(Ok(server)) = address.map(TcpStream::connect) else { continue };
                carry(client.try_clone().unwrap(), server.try_clone().unwrap());
                carry(server, client);
            }
        });
        Self { url, behind }
    }
}

/// Moves bytes until there are no more; then both are gone.
fn carry(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
}

/// Small, quick, and good enough to choose moments.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

// proves: CONN-7, CONN-3, ACK-4
#[test]
fn what_was_accepted_survives_kills_at_any_moment() {
    let files = Files::new("crash");
    let store = files.path("relay.store");
    let seed = getrandom::u64().unwrap() | 1;
    eprintln!("seed: {seed}");
    let mut dice = Dice(seed);
    let front = Front::start();
    let mut ours = gateway_with(OURS, SECRET, &front.url, &[]);
    let (mut ours_said, mut forgetful_said) = (Said::default(), Said::default());
    let mut shown_to_forgetful: Vec<u64> = Vec::new();
    let mut names = Names::default();
    let mut next_number = 0;
    let mut most_again = 0;

    for kill in 0..=KILLS {
        let last = kill == KILLS;
        let mut victim = Victim::start(&store);
        *front.behind.lock().unwrap() = Some(victim.address);
        ours.say(r#"{"do":"reconnect"}"#);
        let url = format!("http://{}", victim.address);
        let forgetful = gateway_with(FORGETFUL, SECRET, &url, &["--no-reconnect"]);
        let acknowledged_before = forgetful_said.acknowledged.clone();

        // Load until it dies; at the end only one more for each.
        let mut stdin = victim.child.stdin.take().unwrap();
        let first = next_number;
        let writer = thread::spawn(move || {
            for number in first.. {
                let gateway = if number % 2 == 0 { OURS } else { FORGETFUL };
                let line = json!({"deliver": message(&number.to_string()), "gateway": gateway, "id": number});
                if last && number - first == 2 || writeln!(stdin, "{line}").is_err() {
                    return (number, stdin);
                }
            }
            unreachable!()
        });
        let mut moment = if kill % 2 == 0 { dice.below(60) } else { dice.below(1500) };
        while let Some(event) = victim.next() {
            match event["event"].as_str().unwrap() {
                "accepted" => {
                    let number = event["id"].as_u64().unwrap();
                    names.learn(event["buffer_id"].as_str().unwrap(), number);
                    let said = if event["gateway"] == OURS { &mut ours_said } else { &mut forgetful_said };
                    said.accepted.push(number);
                }
                "ack" => names.acknowledge(&event, [&mut ours_said, &mut forgetful_said]),
                "error" => panic!("{event}"),
                _ => {}
            }
            let taken = |number| ours_said.has_taken(number) || forgetful_said.has_taken(number);
            if last && taken(first) && taken(first + 1) {
                break;
            }
            // What it wrote before it died is still read.
            if moment == 0 && !last {
                victim.kill();
            }
            moment = moment.wrapping_sub(1);
        }
        if last {
            victim.kill();
        }
        (next_number, _) = writer.join().unwrap();

        // What the forgetful one saw of this connector.
        let mut shown = Vec::new();
        loop {
            let event = forgetful.next();
            match event["event"].as_str().unwrap() {
                "message" => {
                    names.learn(event["buffer_id"].as_str().unwrap(), text(&event));
                    shown.push(text(&event));
                }
                "disconnected" => break,
                _ => {}
            }
        }
        names.settle([&mut ours_said, &mut forgetful_said]);
        assert!(shown.is_sorted_by(|a, b| a < b), "out of order: {shown:?}");
        let again: Vec<_> = shown.iter().filter(|number| shown_to_forgetful.contains(number)).collect();
        // What was in flight comes again, or was taken so late that nobody was told that it was acknowledged.
        assert!(again.len() <= WINDOW, "more than a window came again: {again:?}");
        most_again = most_again.max(again.len());
        let taken: Vec<_> = shown.iter().filter(|number| acknowledged_before.contains(number)).collect();
        assert!(taken.is_empty(), "acknowledged, and it came again: {taken:?}");
        let fresh: Vec<_> = shown.iter().copied().filter(|number| !shown_to_forgetful.contains(number)).collect();
        shown_to_forgetful.extend(fresh);
    }

    assert!(shown_to_forgetful.is_sorted_by(|a, b| a < b), "out of order");
    is_complete(&forgetful_said, &shown_to_forgetful);
    let mut shown_to_ours = Vec::new();
    while shown_to_ours.last() != ours_said.accepted.last() {
        let event = ours.next();
        if event["event"] == "message" {
            shown_to_ours.push(text(&event));
        }
    }
    assert!(shown_to_ours.is_sorted_by(|a, b| a < b), "twice, or out of order");
    is_complete(&ours_said, &shown_to_ours);
    eprintln!(
        "{KILLS} kills, {} deliveries accepted, {} shown, at most {most_again} again",
        ours_said.accepted.len() + forgetful_said.accepted.len(),
        shown_to_ours.len() + shown_to_forgetful.len()
    );
}

fn text(event: &Value) -> u64 {
    event["message"]["text"].as_str().unwrap().parse().unwrap()
}

fn is_complete(said: &Said, shown: &[u64]) {
    let shown: BTreeSet<u64> = shown.iter().copied().collect();
    let missing: Vec<_> = said.accepted.iter().filter(|number| !shown.contains(number)).collect();
    assert!(missing.is_empty(), "accepted, and never shown: {missing:?}");
}

impl Said {
    fn has_taken(&self, number: u64) -> bool {
        self.acknowledged.contains(&number)
    }
}

/// Which message a buffer id is. A connector that is killed before it says `accepted` may have stored the entry all the
/// same: the name is known once the gateway shows it.
#[derive(Default)]
struct Names {
    known: std::collections::BTreeMap<String, u64>,
    /// Acknowledgements of what has no name yet.
    unknown: Vec<Value>,
}

impl Names {
    fn learn(&mut self, buffer_id: &str, number: u64) {
        assert_eq!(*self.known.entry(buffer_id.to_owned()).or_insert(number), number, "one id, two messages");
    }

    fn acknowledge(&mut self, ack: &Value, tellers: [&mut Said; 2]) {
        let Some(number) = self.known.get(ack["buffer_id"].as_str().unwrap()) else {
            return self.unknown.push(ack.clone());
        };
        let [ours, forgetful] = tellers;
        let of = if ack["gateway"] == OURS { ours } else { forgetful };
        assert!(of.acknowledged.insert(*number), "acknowledged twice: {ack}");
    }

    fn settle(&mut self, mut tellers: [&mut Said; 2]) {
        for ack in std::mem::take(&mut self.unknown) {
            self.acknowledge(&ack, tellers.each_mut().map(|said| &mut **said));
        }
    }
}
