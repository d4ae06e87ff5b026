use std::ops::Bound;
use std::sync::atomic::AtomicI64;

use redb::{BackendError, StorageBackend};
use relay_proto::connector::Peer;
use relay_proto::frame::RawJson;
use relay_proto::time::Now;
use tempfile::TempDir;

use super::*;
use crate::{Config, DeliverError, serve_with};

fn gateway(name: &str) -> GatewayId {
    GatewayId::unverified(name)
}

fn append(name: &str, seq: u64) -> Change {
    Change::Append { gateway: gateway(name), entry: EntryId::new(7, seq), frame: frame(name, seq).into() }
}

fn discard(name: &str, seq: u64) -> Change {
    Change::Discard { gateway: gateway(name), entry: EntryId::new(7, seq) }
}

fn frame(name: &str, seq: u64) -> String {
    format!("{name} {seq} {}\n", "x".repeat(300))
}

/// A range is only made by a peer.
fn fetch(from: u64, until: u64, count: usize) -> Fetch {
    let now = Now::default();
    let mut peer = Peer::stored(Default::default(), 0, Backlog::new(0..1, 1), now);
    let link = peer.handle_opened(now);
    peer.handle_message(link, b"{\"type\":\"hello\",\"platform\":\"p\"}\n", now);
    let mut found = None;
    while let Some(output) = peer.poll_output() {
        match output {
            relay_proto::connector::Output::Hello { hello, .. } => {
                peer.describe(hello, &relay_proto::frame::Descriptor::new("p"), now).unwrap();
            }
            relay_proto::connector::Output::Fetch(fetch) => found = Some(fetch),
            _ => {}
        }
    }
    let mut fetch = found.unwrap();
    (fetch.from, fetch.until, fetch.count) = (from, until, count);
    fetch
}

fn seqs(disk: &Disk, name: &str) -> Vec<u64> {
    let entries = disk.fetch(&gateway(name), fetch(0, u64::MAX, usize::MAX)).unwrap();
    for (entry, text) in &entries {
        assert_eq!((entry.epoch(), text), (7, &frame(name, entry.seq())));
    }
    entries.iter().map(|(entry, _)| entry.seq()).collect()
}

fn store() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.store");
    (directory, path)
}

fn problem(path: &Path) -> StoreProblem {
    let error = Disk::open(path).map(drop).unwrap_err();
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    error.problem
}

// proves: CONN-7
#[test]
fn what_was_committed_is_there_again_in_order() {
    let (_directory, path) = store();
    let disk = Disk::open(&path).unwrap();
    assert_eq!(disk.backlogs(), Ok(vec![]));
    let appends: Vec<_> = (0..300).flat_map(|seq| [append("a", seq), append("ab", seq + 250)]).collect();
    disk.commit(&appends).unwrap();
    disk.commit(&[discard("a", 0), discard("a", 5), discard("a", 9999), discard("nobody", 1)]).unwrap();
    drop(disk);
    let disk = Disk::open(&path).unwrap();
    let backlogs = [(gateway("a"), Backlog::new(1..300, 298)), (gateway("ab"), Backlog::new(250..550, 300))];
    assert_eq!(disk.backlogs(), Ok(backlogs.to_vec()));
    assert_eq!(seqs(&disk, "a"), (1..300).filter(|seq| *seq != 5).collect::<Vec<_>>());
    assert_eq!(seqs(&disk, "ab"), (250..550).collect::<Vec<_>>());
    let some = disk.fetch(&gateway("a"), fetch(4, 9, 3)).unwrap();
    assert_eq!(some.iter().map(|(entry, _)| entry.seq()).collect::<Vec<_>>(), [4, 6, 7]);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
}

#[test]
fn what_cannot_be_a_store_is_refused_by_name_and_not_touched() {
    let (directory, path) = store();
    assert_eq!(problem(&directory.path().join("none/relay.store")), StoreProblem::NoDirectory);
    assert_eq!(problem(directory.path()), StoreProblem::NotAStore);
    for (content, expected) in [
        (&b""[..], StoreProblem::Damaged),
        (b"redb", StoreProblem::NotAStore),
        (b"{\"some\":\"json\"}\n", StoreProblem::NotAStore),
        (&[0; 100_000], StoreProblem::NotAStore),
        (MAGIC, StoreProblem::Damaged),
    ] {
        fs::write(&path, content).unwrap();
        assert_eq!(problem(&path), expected, "{content:?}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    assert_eq!(problem(&path.join("below a file")), StoreProblem::NoDirectory);

    let (_directory, path) = store();
    let other = Database::create(&path).unwrap();
    let transaction = other.begin_write().unwrap();
    transaction.open_table(TableDefinition::<u64, u64>::new("entries")).unwrap().insert(1, 1).unwrap();
    transaction.commit().unwrap();
    drop(other);
    assert_eq!(problem(&path), StoreProblem::NotAStore);
}

#[test]
fn what_must_not_be_written_is_refused_by_name() {
    let (directory, path) = store();
    drop(Disk::open(&path).unwrap());
    let lock = |path: &Path, readonly| {
        let mut permissions = fs::metadata(path).unwrap().permissions();
        permissions.set_readonly(readonly);
        fs::set_permissions(path, permissions).unwrap();
    };
    lock(&path, true);
    if File::options().write(true).open(&path).is_ok() {
        eprintln!("SKIPPED in part: this user may write what is read-only");
    } else {
        assert_eq!(problem(&path), StoreProblem::NotWritable);
        lock(directory.path(), true);
        assert_eq!(problem(&directory.path().join("another")), StoreProblem::NotWritable);
        lock(directory.path(), false);
    }
    // Where nobody may make a file, whoever it is.
    if cfg!(target_os = "linux") {
        assert_eq!(problem(Path::new("/sys/relay.store")), StoreProblem::NotWritable);
    }
}

#[test]
fn a_store_is_open_once() {
    let (_directory, path) = store();
    let first = Disk::open(&path).unwrap();
    assert_eq!(problem(&path), StoreProblem::InUse);
    first.commit(&[append("a", 0)]).unwrap();
    drop(first);
    assert_eq!(seqs(&Disk::open(&path).unwrap(), "a"), [0]);
}

#[test]
fn of_many_that_make_a_store_at_once_one_has_it() {
    let (directory, path) = store();
    let opened: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| Disk::open(&path))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (open, refused): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
    assert_eq!(open.len(), 1);
    assert!(refused.iter().all(|error| error.as_ref().unwrap_err().problem == StoreProblem::InUse));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_store_of_a_newer_format_is_refused_and_kept() {
    let (_directory, path) = store();
    let disk = Disk::open(&path).unwrap();
    disk.commit(&[append("a", 0)]).unwrap();
    disk.run(|database| {
        let transaction = database.begin_write()?;
        transaction.open_table(META)?.insert(b"format".as_slice(), FORMAT + 1)?;
        Ok(transaction.commit()?)
    })
    .unwrap();
    drop(disk);
    let before = fs::read(&path).unwrap();
    assert_eq!(problem(&path), StoreProblem::Newer);
    assert_eq!(problem(&path), StoreProblem::Newer);
    assert!(fs::read(&path).unwrap() == before, "not altered");
}

fn grant(name: &str, token: &str) -> Grant {
    let (secret, delivery_key) = (Some(Credential::new(format!("secret of {name}"))), Credential::new("key"));
    Grant { gateway: gateway(name), token: token.into(), secret, delivery_key }
}

// proves: ENROLL-5
#[test]
fn grants_survive_and_are_taken_back_for_good() {
    let (_directory, path) = store();
    let disk = Disk::open(&path).unwrap();
    assert_eq!(disk.grants().unwrap(), []);
    disk.commit(&[append("a", 0)]).unwrap();
    let format_of = |disk: &Disk| disk.run(format).unwrap();
    disk.take_back(&gateway("a")).unwrap();
    assert_eq!(format_of(&disk), Some(WITHOUT_GRANTS), "an older version can still have it");
    let has_table = |disk: &Disk| disk.run(|database| Ok(database.begin_read()?.open_table(GRANTS).is_ok()));
    assert_eq!(has_table(&disk), Ok(false));
    disk.grant(&grant("a", "t1")).unwrap();
    disk.grant(&grant("b", "t2")).unwrap();
    disk.grant(&grant("a", "t3")).unwrap();
    disk.grant(&grant("ab", "t4")).unwrap();
    let empty = |gateway: &str, token: &str| Grant { secret: None, ..grant(gateway, token) };
    disk.grant(&empty("ab", "t4")).unwrap();
    drop(disk);
    let disk = Disk::open(&path).unwrap();
    assert_eq!(format_of(&disk), Some(WITH_GRANTS), "an older version would let in nobody of them");
    assert_eq!(disk.grants().unwrap(), [grant("a", "t1"), grant("a", "t3"), empty("ab", "t4"), grant("b", "t2")]);
    disk.take_back(&gateway("a")).unwrap();
    disk.take_back(&gateway("nobody")).unwrap();
    drop(disk);
    let disk = Disk::open(&path).unwrap();
    let expected = [empty("a", "t1"), empty("a", "t3"), empty("ab", "t4"), grant("b", "t2")];
    assert_eq!(disk.grants().unwrap(), expected);
    assert_eq!(seqs(&disk, "a"), [0], "the entries are as they were");
}

fn revocation(name: &str, secret: &str) -> Revocation {
    Revocation { gateway: gateway(name), secret: secret.into() }
}

// proves: CONN-6
#[test]
fn revocations_survive_and_a_store_is_of_the_oldest_format_that_knows_what_is_in_it() {
    let (_directory, path) = store();
    let disk = Disk::open(&path).unwrap();
    let format_of = |disk: &Disk| disk.run(format).unwrap();
    disk.commit(&[append("a", 0)]).unwrap();
    disk.revoke(&[]).unwrap();
    assert_eq!((disk.revocations().unwrap(), format_of(&disk)), (vec![], Some(1)));
    disk.grant(&grant("a", "t1")).unwrap();
    drop(disk);
    let disk = Disk::open(&path).unwrap();
    assert_eq!((disk.revocations().unwrap(), format_of(&disk)), (vec![], Some(2)));
    let revoked = [revocation("a", "s1"), revocation("a", "s2")];
    disk.revoke(&revoked).unwrap();
    disk.revoke(&[revocation("b", "s1")]).unwrap();
    disk.revoke(&revoked[..1]).unwrap();
    disk.grant(&grant("b", "t2")).unwrap();
    drop(disk);
    let disk = Disk::open(&path).unwrap();
    let expected = [revocation("a", "s1"), revocation("a", "s2"), revocation("b", "s1")];
    assert_eq!(disk.revocations().unwrap(), expected);
    assert_eq!(format_of(&disk), Some(3), "an older version would let them in again");
    assert_eq!(disk.grants().unwrap(), [grant("a", "t1"), grant("b", "t2")]);
    assert_eq!(seqs(&disk, "a"), [0]);

    // From the first format to the third at once.
    let (_directory, path) = store();
    let disk = Disk::open(&path).unwrap();
    disk.commit(&[append("a", 0)]).unwrap();
    disk.revoke(&revoked).unwrap();
    drop(disk);
    let disk = Disk::open(&path).unwrap();
    assert_eq!((format_of(&disk), disk.grants().unwrap()), (Some(3), vec![]));
    assert_eq!((disk.revocations().unwrap(), seqs(&disk, "a")), (revoked.to_vec(), vec![0]));
}

/// A file as a version that neither counted commits nor left marks made it.
fn of_an_older_version(path: &Path) {
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert(FORMAT_KEY, 1).unwrap();
    let value = (7, frame("a", 3).into_bytes());
    transaction.open_table(ENTRIES).unwrap().insert((b"a".as_slice(), 3), (value.0, &value.1[..])).unwrap();
    transaction.commit().unwrap();
}

// proves: CONN-7
#[test]
fn a_store_of_an_older_version_is_taken_over() {
    let (_directory, path) = store();
    of_an_older_version(&path);
    let disk = Disk::open(&path).unwrap();
    assert_eq!(seqs(&disk, "a"), [3]);
    disk.commit(&[append("a", 4)]).unwrap();
    drop(disk);
    assert_eq!(seqs(&Disk::open(&path).unwrap(), "a"), [3, 4]);
}

#[cfg(unix)]
#[test]
fn a_store_that_others_can_read_is_closed_to_them_when_it_is_opened() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_directory, path) = store();
    drop(Disk::open(&path).unwrap());
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    for (loose, expected) in [(0o666, 0o600), (0o640, 0o600), (0o601, 0o600), (0o777, 0o700), (0o600, 0o600)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(loose)).unwrap();
        drop(Disk::open(&path).unwrap());
        assert_eq!(mode(), expected, "{loose:o}");
    }
    let disk = Disk::open(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    disk.grant(&grant("a", "t1")).unwrap();
    assert_eq!(mode(), 0o600, "before there is a secret in it");
}

#[test]
fn without_hard_links_a_store_is_made_all_the_same_and_never_in_the_place_of_another() {
    let (directory, path) = store();
    let unlinked = |_: &Path, _: &Path| Err(io::ErrorKind::Unsupported.into());
    create(&path, unlinked).unwrap();
    let disk = Disk::open(&path).unwrap();
    disk.commit(&[append("a", 0)]).unwrap();
    drop(disk);
    let before = fs::read(&path).unwrap();
    create(&path, unlinked).unwrap();
    assert!(fs::read(&path).unwrap() == before, "another process was faster");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no draft is left");
    let error = create(&directory.path().join("none/relay.store"), unlinked).unwrap_err();
    assert_eq!(error.problem, StoreProblem::NoDirectory);
}

// proves: CONN-7
#[test]
fn nothing_is_added_to_a_file_that_is_not_at_its_place() {
    let (directory, path) = store();
    let disk = Disk::open(&path).unwrap();
    disk.commit(&[append("a", 0), append("a", 1)]).unwrap();
    disk.grant(&grant("a", "t1")).unwrap();
    let aside = directory.path().join("aside");
    let moved = || fs::rename(&path, &aside).unwrap();
    let replaced = || {
        moved();
        drop(Disk::open(&path).unwrap());
    };
    for (seq, away) in [(1, &moved as &dyn Fn()), (2, &replaced)] {
        away();
        let gone = |done: Result<(), StoreError>| assert_eq!(done.unwrap_err().problem, StoreProblem::Gone);
        gone(disk.commit(&[append("a", 9)]));
        gone(disk.grant(&grant("b", "t2")));
        gone(disk.revoke(&[revocation("a", "s")]));
        gone(disk.take_back(&gateway("b")));
        // What it holds still is delivered.
        assert_eq!(seqs(&disk, "a"), [seq - 1, seq]);
        disk.commit(&[discard("a", seq - 1)]).unwrap();
        fs::rename(&aside, &path).unwrap();
        disk.commit(&[append("a", seq + 1)]).unwrap();
        assert_eq!(seqs(&disk, "a"), [seq, seq + 1]);
    }
    drop(disk);
    let disk = Disk::open(&path).unwrap();
    assert_eq!((seqs(&disk, "a"), disk.grants().unwrap().len()), (vec![2, 3], 1));

    // With all that is in its directory.
    let (here, there) = (directory.path().join("here"), directory.path().join("there"));
    fs::create_dir(&here).unwrap();
    let disk = Disk::open(here.join("relay.store")).unwrap();
    fs::rename(&here, &there).unwrap();
    assert_eq!(disk.commit(&[append("a", 0)]).unwrap_err().problem, StoreProblem::Gone);
    fs::rename(&there, &here).unwrap();
    disk.commit(&[append("a", 0)]).unwrap();
    fs::remove_file(here.join("relay.store")).unwrap();
    assert_eq!(disk.commit(&[append("a", 1)]).unwrap_err().problem, StoreProblem::Gone);
    assert_eq!(seqs(&disk, "a"), [0]);
}

/// A store with entries, and its bytes: after it was closed, and as a crash would leave them.
fn images() -> (Vec<u8>, Vec<u8>) {
    let (_directory, path) = store();
    let disk = Disk::open(&path).unwrap();
    for seq in 0..40 {
        disk.commit(&[append("a", seq * 2), append("a", seq * 2 + 1)]).unwrap();
    }
    let crashed = fs::read(&path).unwrap();
    drop(disk);
    (fs::read(&path).unwrap(), crashed)
}

#[test]
fn a_store_that_was_cut_off_is_damaged_or_whole() {
    let (closed, crashed) = images();
    let (_directory, path) = store();
    for image in [&closed, &crashed] {
        let mut damaged = 0;
        for cut in (0..image.len()).step_by(4096 * 11).chain([1, 9, 63, 64, 320, 4095, 4097, image.len() - 1]) {
            fs::write(&path, &image[..cut]).unwrap();
            match Disk::open(&path) {
                Ok(disk) => assert_eq!(seqs(&disk, "a").len(), 80, "silently lost with {cut} bytes of {}", image.len()),
                Err(error) => {
                    let expected = if cut > 0 && cut < 9 { StoreProblem::NotAStore } else { StoreProblem::Damaged };
                    assert_eq!(error.problem, expected, "{cut}: {error}");
                    damaged += 1;
                }
            }
        }
        assert!(damaged > 5, "{damaged}");
        fs::write(&path, image).unwrap();
        assert_eq!(seqs(&Disk::open(&path).unwrap(), "a").len(), 80);
    }
}

#[test]
fn a_store_whose_bytes_changed_is_damaged_or_whole() {
    let (closed, _) = images();
    let (_directory, path) = store();
    let mut damaged = 0;
    for at in (0..closed.len()).step_by(3967) {
        let mut image = closed.clone();
        image[at..(at + 64).min(closed.len())].fill(0xa5);
        fs::write(&path, &image).unwrap();
        match Disk::open(&path) {
            Ok(disk) => assert_eq!(seqs(&disk, "a").len(), 80, "silently lost with byte {at} altered"),
            Err(error) => {
                assert!(matches!(error.problem, StoreProblem::Damaged | StoreProblem::NotAStore), "{at}: {error}");
                damaged += 1;
            }
        }
    }
    assert!(damaged > 5, "{damaged}");
}

#[test]
fn a_small_store_keeps_its_size() {
    let (_directory, path) = store();
    let disk = Disk::open(&path).unwrap();
    let mut lengths = Vec::new();
    for seq in 0..100 {
        disk.commit(&[append("a", seq)]).unwrap();
        disk.commit(&[discard("a", seq)]).unwrap();
        lengths.push(fs::metadata(&path).unwrap().len());
    }
    lengths.drain(..20);
    assert!(lengths.iter().all(|length| length == lengths.first().unwrap()), "it grows and shrinks: {lengths:?}");
    assert!(lengths[0] < 2 << 20, "{lengths:?}");
}

/// The texts of a store whose bytes were changed, or what is wrong with it.
fn after(path: &Path, image: &[u8]) -> Result<Vec<u64>, StoreError> {
    fs::write(path, image).unwrap();
    Disk::open(path).map(|disk| seqs(&disk, "a"))
}

/// What the engine does by itself when the last commit is damaged: the store as it was before.
// proves: CONN-7
#[test]
fn a_commit_that_was_reported_and_is_lost_is_told_once() {
    let (_, crashed) = images();
    let (_directory, path) = store();
    let all: Vec<u64> = (0..80).collect();
    assert_eq!(after(&path, &crashed).unwrap(), all);
    let mut lost = 0;
    // The slots of the last two commits, and the byte that says which of them is the later one.
    for at in (9..10).chain((64..320).step_by(3)) {
        for bit in if at == 9 { 0..8 } else { at % 8..at % 8 + 1 } {
            let mut image = crashed.clone();
            image[at] ^= 1 << bit;
            match after(&path, &image) {
                Ok(found) => assert_eq!(found, all, "silently lost with bit {bit} of byte {at}"),
                Err(error) => {
                    assert_eq!(error.problem, StoreProblem::Damaged, "{error}");
                    if !error.detail.contains("open it again") {
                        continue;
                    }
                    lost += usize::from(error.detail.contains("lost its latest 1 commits"));
                    // What there is can be used, and what is appended now counts.
                    let disk = Disk::open(&path).unwrap();
                    let found = seqs(&disk, "a");
                    assert!(found == all || found == all[..78], "{found:?}");
                    disk.commit(&[append("a", 100)]).unwrap();
                    drop(disk);
                    assert_eq!(seqs(&Disk::open(&path).unwrap(), "a").last(), Some(&100));
                }
            }
        }
    }
    assert!(lost > 5, "{lost}");
}

// proves: CONN-7
#[test]
fn a_mark_that_was_altered_is_told_once() {
    let (closed, crashed) = images();
    let (_directory, path) = store();
    for image in [closed, crashed] {
        for at in (1024..1024 + 24).chain(2048..2048 + 24) {
            let mut image = image.clone();
            image[at] ^= 4;
            assert_eq!(after(&path, &image).unwrap_err().problem, StoreProblem::Damaged, "byte {at}");
            assert_eq!(seqs(&Disk::open(&path).unwrap(), "a").len(), 80);
        }
    }
}

// proves: CONN-7
#[test]
fn a_store_that_was_repaired_and_lost_nothing_is_used_and_one_that_cannot_tell_is_not_at_first() {
    let (closed, _) = images();
    let (_directory, path) = store();
    // Between the engine's look at the file and the check of all of it, the last commit is damaged: it is the one that the
    // engine makes when it closes, of nothing but its own.
    let open = || -> Open {
        Box::new(|file, builder| {
            let database = builder.create_with_backend(Backing::new(file)?)?;
            let bytes = FileBackend::new(file.try_clone()?)?;
            let mut header = [0; 320];
            bytes.read(0, &mut header)?;
            let (last, two_phases) = (header[9] & 1, 4);
            header[9] &= !two_phases;
            header[64 + usize::from(last) * 128 + 100] ^= 1;
            bytes.write(0, &header)?;
            Ok(database)
        })
    };
    fs::write(&path, &closed).unwrap();
    assert_eq!(seqs(&Disk::open_with(&path, open()).unwrap(), "a").len(), 80);
    let mut unmarked = closed;
    unmarked[1024..1024 + 24].fill(0);
    unmarked[2048..2048 + 24].fill(0);
    fs::write(&path, &unmarked).unwrap();
    let error = Disk::open_with(&path, open()).map(drop).unwrap_err();
    assert!(error.detail.contains("was repaired, and may have lost"), "{error}");
    assert_eq!(error.problem, StoreProblem::Damaged);
    assert_eq!(seqs(&Disk::open(&path).unwrap(), "a").len(), 80);
}

/// Whatever bits change in a part of the file that is in use: all is there, or the loss is told.
// proves: CONN-7
#[test]
fn random_bits_that_change_lose_nothing_in_silence() {
    let images: [Vec<u8>; 2] = images().into();
    let (_directory, path) = store();
    let mut random = fastrand(15);
    let (mut whole, mut told) = (0, 0);
    for round in 0..80 {
        let mut image = images[round % 2].clone();
        let used: Vec<usize> =
            (0..image.len() / 4096).filter(|page| image[page * 4096..][..4096] != [0; 4096]).collect();
        for _ in 0..[1, 1, 2, 8][round / 2 % 4] {
            let page = used[(random() % used.len() as u64) as usize];
            image[page * 4096 + (random() % 4096) as usize] ^= 1 << (random() % 8);
        }
        match after(&path, &image) {
            Ok(found) => {
                assert_eq!(found.len(), 80, "silently lost in round {round}");
                whole += 1;
            }
            Err(error) => {
                assert!(matches!(error.problem, StoreProblem::Damaged | StoreProblem::NotAStore), "{error}");
                told += 1;
            }
        }
    }
    assert!(whole > 5 && told > 5, "{whole} whole, {told} told");
}

/// Numbers from a seed.
fn fastrand(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

/// A disk with room for so many more bytes.
#[derive(Debug)]
struct Small {
    file: Backing,
    room: Arc<AtomicI64>,
}

impl Small {
    fn take(&self, bytes: usize) -> io::Result<()> {
        let full = self.room.fetch_sub(bytes as i64, Ordering::SeqCst) < bytes as i64;
        if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for Small {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.take(0)?;
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.take(data.len())?;
        self.file.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }
    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
}

const PLENTY: i64 = i64::MAX / 2;

fn small(path: &Path) -> (Disk, Arc<AtomicI64>) {
    let room = Arc::new(AtomicI64::new(PLENTY));
    let its = room.clone();
    let open: Open = Box::new(move |file, builder| {
        builder.create_with_backend(Small { file: Backing::new(file)?, room: its.clone() })
    });
    (Disk::open_with(path, open).unwrap(), room)
}

// proves: CONN-7
#[test]
fn a_full_disk_loses_nothing_that_was_committed_and_works_again_with_room() {
    let (_directory, path) = store();
    let mut kept = Vec::new();
    // However far it gets.
    for room in (0..60_000).step_by(2_000) {
        let (disk, left) = small(&path);
        let first = kept.len() as u64 * 10;
        disk.commit(&[append("a", first)]).unwrap();
        kept.push(first);
        left.store(room, Ordering::SeqCst);
        let unsure: Vec<_> = (1..10)
            .filter(|n| match disk.commit(&[append("a", first + n)]) {
                Ok(()) => {
                    kept.push(first + n);
                    false
                }
                Err(error) => {
                    assert_eq!(error.problem, StoreProblem::Full, "{error}");
                    true
                }
            })
            .map(|n| first + n)
            .collect();
        left.store(PLENTY, Ordering::SeqCst);
        assert!(!unsure.is_empty());
        let discards: Vec<_> = unsure.iter().map(|seq| discard("a", *seq)).collect();
        disk.commit(&discards).unwrap();
        assert_eq!(seqs(&disk, "a"), kept, "with room for {room} bytes");
        let all: Vec<_> = kept.drain(..).map(|seq| discard("a", seq)).collect();
        disk.commit(&all).unwrap();
        drop(disk);
        assert_eq!(seqs(&Disk::open(&path).unwrap(), "a"), kept);
    }
}

// proves: CONN-7
#[tokio::test]
async fn deliveries_to_a_full_disk_fail_and_those_after_it_succeed() {
    let (_directory, path) = store();
    let (disk, room) = small(&path);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (connector, _events) = serve_with(listener, Config::new(), disk).unwrap();
    let gateway = connector.gateway("default");
    let event = RawJson::parse(r#"{"text":"hi"}"#).unwrap();
    let kept = gateway.deliver(&event).await.unwrap();
    room.store(0, Ordering::SeqCst);
    for _ in 0..3 {
        let Err(DeliverError::NotStored(error)) = gateway.deliver(&event).await else {
            panic!("stored on a full disk")
        };
        assert_eq!(error.problem, StoreProblem::Full, "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        assert_eq!(gateway.buffered(), 1);
    }
    room.store(PLENTY, Ordering::SeqCst);
    let later = gateway.deliver(&event).await.unwrap();
    connector.shutdown().await;
    let disk = Disk::open(&path).unwrap();
    let entries = disk.fetch(&GatewayId::unverified("default"), fetch(0, u64::MAX, 9)).unwrap();
    assert_eq!(entries.iter().map(|(entry, _)| *entry).collect::<Vec<_>>(), [kept, later]);
}
