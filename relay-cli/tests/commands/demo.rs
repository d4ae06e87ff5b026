//! The demonstration: what it says, and its prompt, on a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Child;

use crate::pipes::bound;
use crate::{relay, run};

/// The words of the contract, where what they name is shown; and no line that a terminal would break.
#[test]
fn the_story_uses_the_words_of_the_contract_in_lines_that_fit() {
    let story = run(&["demo", "--once"]).0;
    for word in
        ["Handshake", "Unauthorized", "Replay", "ambiguous", "not sent", "Interrupt", "Idle", "dormant", "Revoked"]
    {
        assert!(story.contains(word), "{word}: {story}");
    }
    let longest = story.lines().max_by_key(|line| line.chars().count()).unwrap();
    assert!(longest.chars().count() <= 80, "{longest}");
}

/// A terminal with the demonstration in it.
struct Terminal {
    end: File,
    shown: String,
}

impl Terminal {
    fn start() -> (Self, Child) {
        let nix::pty::OpenptyResult { master, slave } = nix::pty::openpty(None, None).unwrap();
        let stream = || slave.try_clone().unwrap();
        let child = relay(&["demo"]).stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap();
        (Self { end: File::from(master), shown: String::new() }, child)
    }

    /// Waits until this is shown, and forgets what was shown up to there.
    fn shows(&mut self, text: &str) {
        let mut piece = [0; 4096];
        loop {
            if let Some(at) = self.shown.find(text) {
                self.shown.drain(..at + text.len());
                return;
            }
            match self.end.read(&mut piece) {
                Ok(n) if n > 0 => self.shown.push_str(&String::from_utf8_lossy(&piece[..n])),
                ended => panic!("{text:?} is not in what it shows ({ended:?}): {}", self.shown),
            }
        }
    }

    fn types(&mut self, line: &str) {
        writeln!(self.end, "{line}").unwrap();
    }
}

#[test]
fn at_the_prompt_one_plays_the_platform() {
    let (mut terminal, mut child) = Terminal::start();
    let _bound = bound(&child);
    terminal.shows("That was the story");
    terminal.shows("/quit    leave");
    terminal.shows("[gateway: ready]");
    terminal.types("hello");
    terminal.shows("bot: you said: hello");
    terminal.shows("acknowledged]");
    terminal.types("/bogus");
    terminal.shows("there is no /bogus; /help lists");
    terminal.types("/help");
    terminal.shows("/revoke  revoke the gateway's secret");
    terminal.shows("/quit    leave");
    terminal.types("/stop");
    terminal.shows("told to stop agent:main:discord:dm:");
    terminal.types("/sleep");
    terminal.shows("[asleep;");
    terminal.types("are you there?");
    terminal.shows("waits in the connector's buffer");
    terminal.types("/sleep");
    terminal.shows("cannot sleep without a link");
    terminal.types("/wake");
    terminal.shows("bot: you said: are you there?");
    terminal.shows("acknowledged]");
    terminal.types("/cut");
    terminal.shows("[cut]");
    terminal.shows("[gateway: disconnected:");
    terminal.shows("[gateway: ready]");
    terminal.types("/revoke");
    terminal.shows("[gateway: revoked");
    for (typed, answer) in [("hello?", "not delivered"), ("/wake", "stays so"), ("/revoke", "stays so")] {
        terminal.types(typed);
        terminal.shows(answer);
    }
    terminal.types("/quit");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_end_of_what_is_typed_leaves() {
    let (mut terminal, mut child) = Terminal::start();
    let _bound = bound(&child);
    terminal.shows("[gateway: ready]");
    terminal.end.write_all(b"\x04").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
