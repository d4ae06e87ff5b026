use std::ops::Bound;
use std::sync::atomic::AtomicI64;

use redb::{BackendError, StorageBackend};
use relay_proto::connector::Peer;
use relay_proto::frame::RawJson;
use relay_proto::time::Now;
use tempfile::TempDir;

use super::*;
use crate::connector::{Config, DeliverError, serve_with};

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
    assert_eq!(format_of(&disk), Some(FORMAT), "an older version would let in nobody of them");
    assert_eq!(disk.grants().unwrap(), [grant("a", "t1"), grant("a", "t3"), empty("ab", "t4"), grant("b", "t2")]);
    disk.take_back(&gateway("a")).unwrap();
    disk.take_back(&gateway("nobody")).unwrap();
    drop(disk);
    let disk = Disk::open(&path).unwrap();
    let expected = [empty("a", "t1"), empty("a", "t3"), empty("ab", "t4"), grant("b", "t2")];
    assert_eq!(disk.grants().unwrap(), expected);
    assert_eq!(seqs(&disk, "a"), [0], "the entries are as they were");
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

/// A disk with room for so many more bytes.
#[derive(Debug)]
struct Small {
    file: redb::backends::FileBackend,
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
    let open: Open = Box::new(move |path, builder| {
        let file = File::options().read(true).write(true).open(path)?;
        let file = redb::backends::FileBackend::new(file)?;
        builder.create_with_backend(Small { file, room: its.clone() })
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
