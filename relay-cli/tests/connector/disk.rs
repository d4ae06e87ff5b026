//! Trouble with the store: what an operator is told, and what survives it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::process::{Child, Command, Stdio};

use redb::{Database, TableDefinition};
use serde_json::json;

use crate::pair::{Connector, command, gateway, message, next_text};
use crate::setup::{Files, refused_command};

/// Not with `eprintln!`, because the test harness keeps what a test that passes prints to itself.
fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED, nothing was shown: {why}\n");
}

pub(crate) fn arguments(store: &str) -> [&str; 4] {
    ["--gateway-env", "gw=SECRET", "--store", store]
}

/// The same command, run by another.
fn through(wrapper: &[&str], command: &Command) -> Command {
    let mut wrapped = Command::new(wrapper[0]);
    wrapped.args(&wrapper[1..]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    wrapped
}

/// With files that have room for so many blocks of 512 or 1024 bytes, as the shell will have it, on what tells of that as
/// a full disk does.
fn limited(store: &str, blocks: u32) -> Command {
    // The soft limit, so that it can be lifted.
    let limit = format!("trap '' XFSZ; ulimit -S -f {blocks}; exec \"$@\"");
    through(&["sh", "-c", &limit, "sh"], &command(&arguments(store)))
}

/// Blocks for a few hundred messages of the [load](load).
const SOME: u32 = 4200;

/// Delivers faster than the store can take it. What was accepted, in order; each of the others was refused for want of
/// room.
fn load(connector: &mut Connector, numbers: Range<u64>, store: &str) -> Vec<u64> {
    let count = numbers.end - numbers.start;
    let mut accepted = Vec::new();
    // The first ones have room.
    for number in numbers.start..numbers.start + 10 {
        connector.deliver(&number.to_string());
        accepted.push(number);
    }
    for number in numbers.start + 10..numbers.end {
        let mut message = message(&number.to_string());
        message["padding"] = json!("x".repeat(3000));
        connector.say(&json!({"deliver": message, "id": number}));
    }
    let mut refused = 0;
    while accepted.len() as u64 + refused < count {
        let answer = connector.relay.next();
        let number = answer["id"].as_u64().unwrap();
        match answer["event"].as_str() {
            Some("accepted") => accepted.push(number),
            Some("error") => {
                assert_eq!((&answer["cause"], &answer["line"]), (&json!("not_stored"), &json!(number + 1)), "{answer}");
                is_explained(answer["error"].as_str().unwrap(), store, ["no room is left", "make room"]);
                refused += 1;
            }
            _ => panic!("{answer}"),
        }
    }
    assert!(refused > 0, "everything had room");
    assert!(accepted.is_sorted_by(|a, b| a < b), "answered twice, or out of order");
    accepted
}

fn is_explained(error: &str, store: &str, words: [&str; 2]) {
    let explained = error.contains(store) && words.iter().all(|word| error.contains(word));
    assert!(explained, "{error}: no {words:?} of {store}");
}

/// These, in order, and nothing else.
fn delivers(mut connector: Connector, numbers: &[u64]) {
    let gateway = connector.linked(&[]);
    for number in numbers {
        assert_eq!(next_text(&gateway), number.to_string());
        connector.event("ack");
    }
    connector.deliver("the end");
    assert_eq!(next_text(&gateway), "the end");
}

// proves: CONN-7
#[test]
fn a_full_disk_is_told_to_whoever_delivers_and_what_was_accepted_makes_room_as_it_is_delivered() {
    let files = Files::new("full");
    let store = files.path("relay.store");
    let mut connector = Connector::start_command(limited(&store, SOME));
    let accepted = load(&mut connector, 0..2000, &store);
    let gateway = connector.linked(&[]);
    for number in &accepted {
        assert_eq!(next_text(&gateway), number.to_string(), "what was not stored is not delivered");
        connector.event("ack");
    }
    connector.deliver("again");
    assert_eq!(next_text(&gateway), "again");
    // It is told once that the store no longer works, and not for each delivery.
    connector.event("ack");
    connector.relay.end_input();
    let (_, stderr, code) = connector.relay.end();
    assert_eq!(code, 0, "{stderr}");
    assert!((1..100).contains(&stderr.lines().count()), "{stderr}");
    is_explained(&stderr, &store, ["no room is left", "goes on by itself"]);
    delivers(Connector::start(&arguments(&store)), &[]);
    // Without room from the start there is nothing to go on with, and nothing is left behind.
    let another = files.path("another");
    let (stderr, code) = refused_command(limited(&another, 100));
    assert_eq!(code, 1, "{stderr}");
    is_explained(&stderr, &another, ["no room is left", "make room, and start again"]);
    assert!(!fs::exists(another).unwrap());
}

// proves: CONN-7
#[test]
fn a_disk_that_has_room_again_is_used_again_and_a_crash_then_loses_nothing() {
    let files = Files::new("room");
    let store = files.path("relay.store");
    let mut connector = Connector::start_command(limited(&store, SOME));
    let mut accepted = load(&mut connector, 0..2000, &store);
    let lift = ["--pid", &connector.relay.id().to_string(), "--fsize=unlimited"];
    if !Command::new("prlimit").args(lift).status().is_ok_and(|status| status.success()) {
        return skipped("prlimit does not lift the limit of a process here");
    }
    connector.deliver("2000");
    accepted.push(2000);
    // Killed.
    drop(connector);
    delivers(Connector::start(&arguments(&store)), &accepted);
}

/// A file system of its own, in memory, that only processes that are put into its namespace see.
struct Mount {
    keeper: Child,
    enter: Vec<String>,
}

impl Mount {
    /// Of this size. `None` where this is not permitted, which is said.
    fn new(path: &str, size: &str) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let script = "mount -t tmpfs -o size=\"$2\" none \"$1\" && echo ready && exec cat";
        // As root, or as the root of a namespace of users.
        let ways: [(&[&str], &[&str]); 2] =
            [(&["-m"], &["-m"]), (&["-r", "-m"], &["-U", "--preserve-credentials", "-m"])];
        for (unshare, enter) in ways {
            let mut command = Command::new("unshare");
            command.args(unshare).args(["sh", "-c", script, "sh", path, size]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            let Ok(mut keeper) = command.spawn() else { continue };
            let mut line = String::new();
            BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
            let target = keeper.id().to_string();
            let enter = ["nsenter", "-t", &target].iter().chain(enter).map(|word| (*word).to_owned()).collect();
            let mount = Self { keeper, enter };
            if line == "ready\n" && mount.run(&["true"]) {
                return Some(mount);
            }
        }
        skipped("a mount in a namespace of its own is not permitted here");
        None
    }

    fn within(&self, command: &Command) -> Command {
        through(&self.enter.iter().map(String::as_str).collect::<Vec<_>>(), command)
    }

    /// Whether this succeeds there.
    fn run(&self, arguments: &[&str]) -> bool {
        let mut command = Command::new(arguments[0]);
        command.args(&arguments[1..]);
        self.within(&command).status().is_ok_and(|status| status.success())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// A file system of this size in an image, or `None` where that is not permitted.
fn image(files: &Files, directory: &str, size: &str) -> Option<Mount> {
    let image = files.path("image");
    let made = Command::new("truncate").args(["-s", size, &image]).status().is_ok_and(|status| status.success())
        && Command::new("mkfs.ext4").args(["-q", "-F", &image]).status().is_ok_and(|status| status.success());
    let mount = if made { Mount::new(directory, "1m") } else { None };
    let mount = mount.filter(|mount| mount.run(&["mount", "-o", "loop", &image, directory]));
    if mount.is_none() {
        skipped("a file system in an image cannot be made here");
    }
    mount
}

/// Delivers messages of this size until the disk has no room for them. Those that were accepted, in order, and those that
/// were not; their numbers go on from `next`.
fn fill(connector: &mut Connector, size: usize, next: &mut u64, store: &str) -> (Vec<u64>, Vec<u64>) {
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    // These come one at a time, and have room. Messages that come together are stored together, or refused together.
    for number in *next..*next + 10 {
        connector.deliver(&number.to_string());
        accepted.push(number);
    }
    *next += 10;
    while refused.is_empty() {
        let batch = *next..*next + 200;
        for number in batch.clone() {
            let mut message = message(&number.to_string());
            message["padding"] = json!("x".repeat(size.saturating_sub(message.to_string().len())));
            connector.say(&json!({"deliver": message, "id": number}));
        }
        for _ in batch.clone() {
            let answer = connector.relay.next();
            let number = answer["id"].as_u64().unwrap();
            match answer["event"].as_str() {
                Some("accepted") => accepted.push(number),
                _ => {
                    assert_eq!(answer["cause"], "not_stored", "{answer}");
                    is_explained(answer["error"].as_str().unwrap(), store, ["no room is left", "make room"]);
                    refused.push(number);
                }
            }
        }
        *next = batch.end;
    }
    assert!(accepted.is_sorted_by(|a, b| a < b), "answered twice, or out of order: {accepted:?}");
    (accepted, refused)
}

/// A disk is filled, the gateway acknowledges everything, and so on: it never gets stuck.
fn fills_and_drains(mut connector: Connector, size: usize, store: &str) {
    let mut next = 0;
    let mut rounds = Vec::new();
    for _ in 0..3 {
        let (accepted, refused) = fill(&mut connector, size, &mut next, store);
        let gateway = connector.linked(&[]);
        for number in &accepted {
            let text = next_text(&gateway);
            if text != number.to_string() {
                // With all that there is to know of it.
                connector.relay.end_input();
                let (_, stderr, _) = connector.relay.end();
                panic!(
                    "{text} came in place of {number}: {size} bytes, after {rounds:?}\n{stderr}\n\
                     accepted: {accepted:?}\nrefused: {refused:?}"
                );
            }
            connector.event("ack");
        }
        // There is room again.
        for number in 0..20 {
            let text = format!("again {number}");
            connector.deliver(&text);
            assert_eq!(next_text(&gateway), text);
            connector.event("ack");
        }
        drop(gateway);
        connector.event("link_closed");
        rounds.push(accepted.len());
    }
    connector.relay.end_input();
    let (_, stderr, code) = connector.relay.end();
    assert_eq!(code, 0, "{stderr}");
    // Told once for each time, and not for each delivery.
    assert!((1..100).contains(&stderr.lines().count()), "{stderr}");
    let _ = writeln!(std::io::stderr(), "{size} bytes: {rounds:?} accepted until the disk was full");
}

/// Of small messages many are in one page, and each that leaves needs pages to be written.
// proves: CONN-7
#[test]
fn a_full_disk_drains_completely_and_takes_messages_again() {
    // All of it, and again and again, takes minutes.
    let long = std::env::var_os("RELAY_FULL_DISKS").is_some();
    let runs = std::env::var("RELAY_FULL_DISKS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(1);
    for _ in 0..runs {
        for size in [100, 300, 3000] {
            let files = Files::new("drains");
            let directory = files.path("mount");
            let store = format!("{directory}/relay.store");
            let start = |mount: &Mount| Connector::start_command(mount.within(&command(&arguments(&store))));
            if long && let Some(mount) = image(&files, &directory, "12M") {
                fills_and_drains(start(&mount), size, &store);
            }
            if let Some(mount) = Mount::new(&directory, "3m") {
                fills_and_drains(start(&mount), size, &store);
            }
            // What every user has.
            let store = files.path("relay.store");
            fills_and_drains(Connector::start_command(limited(&store, SOME)), size, &store);
        }
    }
}

// proves: CONN-7
#[test]
fn a_disk_without_space_loses_nothing_that_was_accepted() {
    let files = Files::new("space");
    let directory = files.path("mount");
    let Some(mount) = Mount::new(&directory, "4m") else { return };
    let (store, ballast) = (format!("{directory}/relay.store"), format!("{directory}/ballast"));
    assert!(mount.run(&["sh", "-c", "head -c 1500000 /dev/zero > \"$0\"", &ballast]));
    let start = || Connector::start_command(mount.within(&command(&arguments(&store))));
    let mut connector = start();
    let mut accepted = load(&mut connector, 0..2000, &store);
    // Killed while there is no space: it cannot even be opened, or it works as far as it can.
    drop(connector);
    assert!(mount.run(&["rm", &ballast]));
    let mut connector = start();
    connector.deliver("2000");
    accepted.push(2000);
    connector.relay.end_input();
    assert_eq!(connector.relay.end().2, 0);
    let mut connector = start();
    let gateway = connector.linked(&[]);
    // What was not stored may be there all the same when a crash came before it was deleted. What was accepted is.
    let mut expected = accepted.iter().map(u64::to_string).peekable();
    let mut last = None;
    while expected.peek().is_some() {
        let text = next_text(&gateway);
        connector.event("ack");
        let number: u64 = text.parse().unwrap();
        assert!(last.replace(number).is_none_or(|last| last < number), "out of order, or twice");
        if expected.peek() == Some(&text) {
            expected.next();
        } else {
            assert!(!accepted.contains(&number), "{:?} is missing", expected.peek());
        }
    }
    connector.deliver("the end");
    assert_eq!(next_text(&gateway), "the end");
}

/// What it says when it is started on this store, by itself or within a mount.
fn refused_store(store: &str, mount: Option<&Mount>) -> String {
    let command = command(&arguments(store));
    let command = mount.map(|mount| mount.within(&command)).unwrap_or(command);
    let (stderr, code) = refused_command(command);
    assert_eq!((stderr.lines().count(), code), (1, 1), "one line, and exit code 1: {stderr}");
    stderr
}

const NOT_WRITABLE: [&str; 2] = ["cannot be written", "give this user the right"];

#[test]
fn a_read_only_disk_is_explained() {
    let files = Files::new("readonly");
    let directory = files.path("mount");
    let Some(mount) = Mount::new(&directory, "8m") else { return };
    let store = format!("{directory}/relay.store");
    let mut connector = Connector::start_command(mount.within(&command(&arguments(&store))));
    connector.deliver("0");
    connector.relay.end_input();
    assert_eq!(connector.relay.end().2, 0);
    assert!(mount.run(&["mount", "-o", "remount,bind,ro", &directory]));
    is_explained(&refused_store(&store, Some(&mount)), &store, NOT_WRITABLE);
    let another = format!("{directory}/another");
    is_explained(&refused_store(&another, Some(&mount)), &another, NOT_WRITABLE);
    assert!(mount.run(&["mount", "-o", "remount,bind,rw", &directory]));
    delivers(Connector::start_command(mount.within(&command(&arguments(&store)))), &[0]);
}

#[test]
fn a_store_that_this_user_may_not_write_is_explained() {
    let files = Files::new("rights");
    let (directory, store) = (files.path("directory"), files.path("directory/relay.store"));
    fs::create_dir(&directory).unwrap();
    made(&store, &["0"]);
    let set = |path: &str, readonly| {
        let mut permissions = fs::metadata(path).unwrap().permissions();
        permissions.set_readonly(readonly);
        fs::set_permissions(path, permissions).unwrap();
    };
    set(&store, true);
    if fs::File::options().write(true).open(&store).is_ok() {
        return skipped("this user may write what is read-only");
    }
    is_explained(&refused_store(&store, None), &store, NOT_WRITABLE);
    set(&directory, true);
    let another = format!("{directory}/another");
    is_explained(&refused_store(&another, None), &another, NOT_WRITABLE);
    set(&directory, false);
}

/// A store that holds these messages, and was closed. Its bytes.
fn made(store: &str, texts: &[&str]) -> Vec<u8> {
    let mut connector = Connector::start(&arguments(store));
    for text in texts {
        connector.deliver(text);
    }
    connector.relay.end_input();
    assert_eq!(connector.relay.end().2, 0);
    fs::read(store).unwrap()
}

const DAMAGED: [&str; 2] = ["is damaged", "backup"];
const NOT_A_STORE: [&str; 2] = ["not the store of a connector", "name another file"];

#[test]
fn what_is_no_store_is_explained_and_left_alone() {
    let files = Files::new("other");
    let directory = files.path("directory");
    fs::create_dir(&directory).unwrap();
    is_explained(&refused_store(&directory, None), &directory, NOT_A_STORE);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    let pipe = files.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for special in [&pipe, "/dev/null"] {
        is_explained(&refused_store(special, None), special, NOT_A_STORE);
    }
    let below = files.path("missing/relay.store");
    is_explained(&refused_store(&below, None), &below, ["directory does not exist", "create the directory"]);
    let store = files.path("relay.store");
    let zeros = [0; 100_000];
    for (content, words) in [(&b""[..], DAMAGED), (b"{\"some\":\"json\"}\n", NOT_A_STORE), (&zeros, NOT_A_STORE)] {
        fs::write(&store, content).unwrap();
        is_explained(&refused_store(&store, None), &store, words);
        assert_eq!(fs::read(&store).unwrap(), content);
    }
}

#[test]
fn a_store_of_a_newer_version_is_explained_and_left_alone() {
    let files = Files::new("newer");
    let store = files.path("relay.store");
    made(&store, &["0"]);
    let database = Database::open(&store).unwrap();
    let transaction = database.begin_write().unwrap();
    let meta = TableDefinition::<&[u8], u64>::new("relay-connector");
    let before = transaction.open_table(meta).unwrap().insert(b"format".as_slice(), 4).unwrap().unwrap().value();
    assert_eq!(before, 1, "the format of today is 3 once there are revocations");
    transaction.commit().unwrap();
    drop(database);
    let content = fs::read(&store).unwrap();
    is_explained(&refused_store(&store, None), &store, ["newer version", "use that version"]);
    assert!(fs::read(&store).unwrap() == content, "not altered");
}

/// Either it is explained, or nothing is lost. Whether it is explained.
fn is_refused_or_whole(files: &Files, content: &[u8], numbers: &[u64]) -> bool {
    let store = files.path("relay.store");
    fs::write(&store, content).unwrap();
    // If it starts, it ends by itself behind a command that makes no sense.
    let commands = fs::File::open(files.write("commands", "{}")).unwrap();
    let output = command(&arguments(&store)).stdin(commands).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    if output.status.success() {
        delivers(Connector::start(&arguments(&store)), numbers);
    } else {
        assert_eq!((output.stdout.len(), output.status.code()), (0, Some(1)), "{stderr}");
        is_explained(&stderr, &store, DAMAGED);
    }
    !output.status.success()
}

// proves: CONN-7
#[test]
fn a_damaged_store_is_explained_and_never_served_in_part() {
    let files = Files::new("damaged");
    let store = files.path("relay.store");
    let numbers: Vec<u64> = (0..40).collect();
    let texts: Vec<String> = numbers.iter().map(u64::to_string).collect();
    let whole = made(&store, &texts.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(!is_refused_or_whole(&files, &whole, &numbers));
    // Cut off: in the header, behind it, in the middle, at the end.
    for cut in [9, 320, 4096, whole.len() / 2, whole.len() - 1] {
        assert!(is_refused_or_whole(&files, &whole[..cut], &numbers), "{cut}");
    }
    // Altered: in the header, and further on in steps, where it may be free space.
    let mut refused = 0;
    for at in [16, 64, 192].into_iter().chain((4096..whole.len()).step_by(whole.len() / 10)) {
        let mut altered = whole.clone();
        altered[at..(at + 4096).min(whole.len())].fill(0xa5);
        refused += u32::from(is_refused_or_whole(&files, &altered, &numbers));
    }
    assert!(refused >= 3, "{refused}");
}

// proves: CONN-7
#[test]
fn what_is_delivered_while_the_file_is_away_is_refused_and_what_was_accepted_goes_out() {
    let files = Files::new("gone");
    let (store, aside) = (files.path("relay.store"), files.path("aside"));
    let mut connector = Connector::start(&arguments(&store));
    connector.deliver("before");
    fs::rename(&store, &aside).unwrap();
    for id in 0..3 {
        connector.say(&json!({"deliver": message("never"), "id": id}));
        let error = connector.event("error");
        assert_eq!((&error["cause"], &error["id"]), (&json!("not_stored"), &json!(id)), "{error}");
        is_explained(error["error"].as_str().unwrap(), &store, ["removed, replaced or moved", "put it back"]);
    }
    let gateway = connector.linked(&[]);
    assert_eq!(next_text(&gateway), "before");
    connector.event("ack");
    fs::rename(&aside, &store).unwrap();
    connector.deliver("after");
    assert_eq!(next_text(&gateway), "after");
    connector.event("ack");
    // A gateway that is still linked may acknowledge it before the end.
    drop(gateway);
    connector.event("link_closed");
    connector.deliver("7");
    connector.relay.end_input();
    let (_, stderr, code) = connector.relay.end();
    let count = |words: &str| stderr.lines().filter(|line| line.contains(words)).count();
    assert_eq!((code, count("store fails"), count("works again")), (0, 1, 1), "told once: {stderr}");
    delivers(Connector::start(&arguments(&store)), &[7]);
}

// proves: CONN-6, CONN-7
#[test]
fn a_revoked_gateway_stays_out_after_a_crash() {
    let files = Files::new("revoked");
    let store = files.path("relay.store");
    let mut connector = Connector::start(&arguments(&store));
    connector.deliver("kept");
    connector.say(&json!({"revoke": "gw", "id": 1}));
    connector.event("done");
    // Killed, and started with the same flags, as by a service manager.
    drop(connector);
    let mut connector = Connector::start(&arguments(&store));
    let refused = gateway(&connector.url, &["--no-reconnect"]);
    assert_eq!(refused.event("disconnected")["code"], 4401);
    drop(refused);
    // Input that ends without a command would not end it.
    connector.say(&json!({"drop": "gw"}));
    connector.relay.end_input();
    let (events, stderr, _) = connector.relay.end();
    assert!(events.iter().all(|event| event["event"] != "hello"), "{events:?}");
    assert!(stderr.contains("was revoked") && stderr.contains("new secret"), "{stderr}");
    let arguments = ["--gateway-env", "gw=SECRET", "--gateway-env", "gw=NEW", "--store", &store];
    let mut command = command(&arguments);
    command.env("NEW", "a secret of its own");
    let connector = Connector::start_command(command);
    let gateway = crate::pair::gateway_with("gw", "a secret of its own", &connector.url, &[]);
    assert_eq!((gateway.event("ready"), next_text(&gateway)).1, "kept");
}

// proves: CONN-7
#[test]
fn a_store_is_its_owners_alone_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt as _;
    let files = Files::new("umask");
    let store = files.path("relay.store");
    let mode = || fs::metadata(&store).unwrap().permissions().mode() & 0o777;
    let start = || {
        let open = through(&["sh", "-c", "umask 0; exec \"$@\"", "sh"], &command(&arguments(&store)));
        let mut connector = Connector::start_command(open);
        connector.deliver("0");
        connector.relay.end_input();
        let (_, stderr, code) = connector.relay.end();
        (stderr, code)
    };
    let (stderr, code) = start();
    assert_eq!((mode(), code), (0o600, 0), "{stderr}");
    fs::set_permissions(&store, fs::Permissions::from_mode(0o666)).unwrap();
    let (stderr, code) = start();
    assert_eq!((mode(), code), (0o600, 0), "{stderr}");
    assert!(stderr.contains("others could read the store"), "{stderr}");
}
