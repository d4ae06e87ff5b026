//! Bits that change in a store, after it was closed and after `kill -9`: nothing that was accepted is lost in silence.

use std::fs;
use std::io::Write;

use crate::disk::arguments;
use crate::pair::{Connector, command, next_text};
use crate::setup::Files;

const MESSAGES: u64 = 20;

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// The bytes of a store with messages each of which was awaited as accepted.
fn image(files: &Files, name: &str, killed: bool) -> Vec<u8> {
    let store = files.path(name);
    let mut connector = Connector::start(&arguments(&store));
    for number in 0..MESSAGES {
        connector.deliver(&number.to_string());
    }
    if killed {
        drop(connector);
    } else {
        connector.relay.end_input();
        assert_eq!(connector.relay.end().2, 0);
    }
    fs::read(&store).unwrap()
}

/// Whether the connector serves everything that was accepted; else what it says.
fn outcome(files: &Files, content: &[u8]) -> Result<(), String> {
    let store = files.path("relay.store");
    fs::write(&store, content).unwrap();
    // If it starts, it ends by itself behind a command that makes no sense.
    let commands = fs::File::open(files.write("commands", "{}")).unwrap();
    let output = command(&arguments(&store)).stdin(commands).output().unwrap();
    if !output.status.success() {
        assert_eq!((output.stdout.len(), output.status.code()), (0, Some(1)));
        return Err(String::from_utf8(output.stderr).unwrap());
    }
    let connector = Connector::start(&arguments(&store));
    let gateway = connector.linked(&[]);
    for number in 0..MESSAGES {
        assert_eq!(next_text(&gateway), number.to_string(), "lost in silence");
    }
    Ok(())
}

/// `RELAY_FLIPS=200` makes so many changes instead of a few, and `RELAY_FLIPS_SEED` others.
// proves: CONN-7
#[test]
fn bits_that_change_lose_nothing_in_silence() {
    let number = |name: &str| std::env::var(name).ok().and_then(|number| number.parse().ok());
    let count = number("RELAY_FLIPS").unwrap_or(12);
    let mut dice = Dice(number("RELAY_FLIPS_SEED").unwrap_or(15) | 1);
    let files = Files::new("flips");
    let images: Vec<Vec<u8>> = (0..4).map(|n| image(&files, &format!("image-{n}"), n % 2 == 0)).collect();
    for image in &images {
        assert_eq!(outcome(&files, image), Ok(()));
    }
    let (mut whole, mut told, mut lost) = (0, 0, 0);
    for round in 0..count as usize {
        let mut content = images[round % images.len()].clone();
        let pages = content.len() / 4096;
        let used: Vec<usize> = (0..pages).filter(|page| content[page * 4096..][..4096] != [0; 4096]).collect();
        let bits = [1, 1, 2, 5][round / images.len() % 4];
        for _ in 0..bits {
            let byte = used[dice.below(used.len())] * 4096 + dice.below(4096);
            content[byte] ^= 1 << dice.below(8);
        }
        match outcome(&files, &content) {
            Ok(()) => whole += 1,
            Err(said) => {
                let explained = said.contains("is damaged") || said.contains("not the store of a connector");
                assert!(explained, "round {round}: {said}");
                told += 1;
                lost += u32::from(said.contains("has lost its latest"));
            }
        }
    }
    let _ = writeln!(
        std::io::stderr(),
        "{count} changes, half of them after a kill: {whole} times everything was there, {told} times the damage was told \
         ({lost} of these as a commit that is lost), and never lost in silence"
    );
}
