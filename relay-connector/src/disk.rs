//! The store on disk.

mod file;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition,
    WriteTransaction,
};
use relay_proto::connector::{Backlog, EntryId, Fetch, GatewayId};

use relay_proto::enroll::Credential;

use self::file::{Backing, Mark, allocate, is_named, make_private};
use super::store::{Change, Grant, Revocation, Store, StoreError, StoreProblem};

/// The latest format of what is stored: the tables below.
const FORMAT: u64 = WITH_REVOCATIONS;
/// The format of a store without grants. An older version, which knows no other, can have it back.
const WITHOUT_GRANTS: u64 = 1;
/// The format of a store in which something was granted: an older version would refuse all of these, and not say why.
const WITH_GRANTS: u64 = 2;
/// The format of a store in which a gateway was revoked: an older version would let it in again.
const WITH_REVOCATIONS: u64 = 3;
/// What a file of the database engine starts with.
const MAGIC: &[u8; 9] = b"redb\x1a\x0a\xa9\x0d\x0a";
/// Pages that are kept in memory. What is delivered soon after it was accepted never comes from the store, and a backlog
/// is read once, so more would be of no use.
const CACHE: usize = 16 << 20;

/// Pages that appends leave free in the file: discards, too, need pages before they free any, and a disk that is full
/// must not keep its entries. A discard by itself takes about a dozen, and what it frees can be used two commits later.
const LEFT_FREE: u64 = 64;
/// What is looked for when free pages have to be found: this many values of this size, which is just below four pages.
/// Twice what has to be left, so that not every append has to look.
const SPARE_VALUES: u64 = 32;
const SPARE_VALUE: usize = 16_000;
const SPARE_PAGES: u64 = 4 * SPARE_VALUES;
/// The most pages that a commit takes whatever it changes, and those that a change adds beside its frame.
const PAGES_OF_COMMIT: u64 = 12;
const PAGES_OF_CHANGE: u64 = 2;
const PAGE: u64 = 4096;

/// `format` → up to [`FORMAT`]; `commits` → how many there were.
const META: TableDefinition<'_, &[u8], u64> = TableDefinition::new("relay-connector");
const FORMAT_KEY: &[u8] = b"format";
const COMMITS_KEY: &[u8] = b"commits";
/// Gateway, seq → epoch, frame. Bytes and not text, because the engine trusts stored text to be UTF-8.
const ENTRIES: TableDefinition<'_, Key<'_>, (u64, &[u8])> = TableDefinition::new("entries");
/// Gateway, token → secret (empty: taken back), delivery key. From format 2 on.
const GRANTS: TableDefinition<'_, Pair<'_>, Pair<'_>> = TableDefinition::new("grants");
/// Gateway, what stands for a secret. From format 3 on.
const REVOKED: TableDefinition<'_, Pair<'_>, ()> = TableDefinition::new("revoked");
type Pair<'a> = (&'a [u8], &'a [u8]);
/// Gateway, seq.
type Key<'a> = (&'a [u8], u64);
/// One value, at the far end of the room that was found: without it the engine would give the end of a small file back to
/// the disk with each commit, and take it again with the next.
const SPARE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("spare");

/// A [`Store`] in one file, in the format of [redb](https://docs.rs/redb). What it has committed survives a crash of the
/// process, and of the machine as far as its disk keeps what it says to have written.
///
/// One process at a time can have it open. A new file appears under its name only once it is complete; an empty file is
/// one that lost its content. Only its owner can read it: a file with other permissions is corrected when it is opened.
///
/// # Room
/// The file grows by doubling, and beyond 4 GiB by 4 GiB. On Linux, and on file systems that can reserve room, it takes all
/// of that from the disk at once; when it cannot, what is appended fails with [`StoreProblem::Full`]. A quarter of a MiB
/// always stays free inside the file, so that discards succeed while the disk is full, and make room for what is appended. Give
/// the store room for 3 MiB at least: one that has filled the only MiB of its disk may refuse appends even after everything
/// in it was discarded. File systems that never overwrite in place (btrfs, zfs) promise less: there, leave some room on the disk.
///
/// # When its file goes away
/// While the file is removed, replaced or moved, nothing is appended, granted or revoked: all of that fails with
/// [`StoreProblem::Gone`]. What it holds can be fetched and discarded. It goes on by itself once the same file is back.
pub struct Disk {
    path: PathBuf,
    /// Open all the time, so that nothing else can take its place.
    file: File,
    marks: FileBackend,
    /// Pages that are free in the file, at least; 0 when that is not known. What commits free is not counted. The lock is
    /// held during a change, so that changes and their marks are in one order.
    spare: Mutex<u64>,
    /// `None` after it failed: to be opened again before the next use.
    database: RwLock<Option<Database>>,
    open: Open,
}

/// Opens the database in an existing file.
type Open = Box<dyn Fn(&File, Builder) -> Result<Database, DatabaseError> + Send + Sync>;

impl Disk {
    /// Opens the store in this file; makes it when there is none. Blocks: after a crash, and to be sure of an old file,
    /// all of it is read.
    ///
    /// # Errors
    /// [`StoreError`] with the [problem](StoreProblem). A file is either whole, with everything that was reported as
    /// accepted, or this fails with [`StoreProblem::Damaged`]. A damaged file is repaired as far as that is possible: then
    /// this fails once, says what was lost, and succeeds the next time with the rest.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path.as_ref(), Box::new(|file, builder| builder.create_with_backend(Backing::new(file)?)))
    }

    fn open_with(path: &Path, open: Open) -> Result<Self, StoreError> {
        let failure = |error: io::Error| StoreError::io(name(path), &error);
        let found = match fs::metadata(path) {
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(failure(error)),
        };
        if !found {
            create(path, |draft, path| fs::hard_link(draft, path))?;
        }
        let file = File::options().read(true).write(true).open(path).map_err(failure)?;
        let marks = file.try_clone().map_err(failure)?;
        let marks = FileBackend::new(marks).map_err(|error| failed(path, error))?;
        let database = open_existing(path, &file, &marks, &open)?;
        match make_private(&file) {
            Ok(true) => tracing::warn!(store = %path.display(), "others could read the store: now its owner alone can"),
            Ok(false) => {}
            Err(error) => tracing::warn!(store = %path.display(), %error, "others can read the store"),
        }
        // An older version may have left holes. Without the room for them it works as far as it can.
        let _ = file.metadata().and_then(|found| allocate(&file, 0, found.len()));
        Ok(Self { path: path.into(), file, marks, spare: Mutex::new(0), database: RwLock::new(Some(database)), open })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// An error unless the file is where it was: what is added to it would never be found.
    fn check_place(&self) -> Result<(), StoreError> {
        match is_named(&self.file, &self.path) {
            Ok(true) => Ok(()),
            Ok(false) => Err(StoreError::new(name(&self.path), StoreProblem::Gone, "")),
            Err(error) => Err(StoreError::io(name(&self.path), &error)),
        }
    }

    /// Makes a change durable and marks it, unless the work finds that nothing has to change. What adds to the store needs
    /// the file at its place and leaves room in it; what only takes away does not. It takes up to so many `pages`.
    fn change(
        &self,
        adds: bool,
        pages: u64,
        work: impl FnOnce(&WriteTransaction) -> Result<bool, redb::Error>,
    ) -> Result<(), StoreError> {
        if adds {
            self.check_place()?;
        }
        self.run(|database| {
            // Others that change something come before this, or after.
            let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = database.begin_write()?;
            if !work(&transaction)? {
                return Ok(transaction.abort()?);
            }
            // Not known again until this has succeeded.
            let mut left = std::mem::take(&mut *spare).saturating_sub(PAGES_OF_COMMIT.saturating_add(pages));
            if adds && left < LEFT_FREE {
                find_room(&transaction)?;
                left = SPARE_PAGES;
            }
            let commit = {
                let mut meta = transaction.open_table(META)?;
                let commit = meta.get(COMMITS_KEY)?.map_or(0, |commits| commits.value()).saturating_add(1);
                meta.insert(COMMITS_KEY, commit)?;
                commit
            };
            // Durable when this returns: that is the default.
            transaction.commit()?;
            Mark::write(&self.marks, commit)?;
            *spare = left;
            Ok(())
        })?;
        // Whether it was there all the time cannot be known; that it is there now is what counts.
        if adds { self.check_place() } else { Ok(()) }
    }

    /// Runs with the database, and opens it again first if it failed before: the engine does not go on after an error.
    fn run<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        let lost = self.database.read().unwrap_or_else(PoisonError::into_inner).is_none();
        if lost {
            let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
            if database.is_none() {
                *database = Some(open_existing(&self.path, &self.file, &self.marks, &self.open)?);
            }
        }
        let result = {
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            match &*database {
                Some(database) => guarded(&self.path, || work(database).map_err(|error| failed(&self.path, error))),
                None => Err(StoreError::new(name(&self.path), StoreProblem::Io, "it failed a moment ago")),
            }
        };
        if result.is_err() {
            let database = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
            // Closing it may run into the same trouble as whatever it was that failed.
            let _ = guarded(&self.path, || {
                drop(database);
                Ok(())
            });
        }
        result
    }
}

impl Store for Disk {
    fn backlogs(&self) -> Result<Vec<(GatewayId, Backlog)>, StoreError> {
        let found = self.run(|database| {
            let table = database.begin_read()?.open_table(ENTRIES)?;
            let mut found = BTreeMap::<Vec<u8>, Backlog>::new();
            for item in table.iter()? {
                let (key, _) = item?;
                let (gateway, seq) = key.value();
                let next = seq.saturating_add(1);
                match found.get_mut(gateway) {
                    Some(backlog) => *backlog = Backlog::new(backlog.first..next, backlog.entries.saturating_add(1)),
                    None => drop(found.insert(gateway.to_vec(), Backlog::new(seq..next, 1))),
                }
            }
            Ok(found)
        })?;
        let named = found.into_iter().map(|(gateway, backlog)| match String::from_utf8(gateway) {
            Ok(gateway) => Ok((GatewayId::unverified(gateway), backlog)),
            Err(_) => Err(StoreError::new(name(&self.path), StoreProblem::Damaged, "a gateway's id is no text")),
        });
        named.collect()
    }

    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        // In the order of the table, so that neighbours are found in one page. Changes to one entry keep theirs.
        let mut changes: Vec<&Change> = changes.iter().collect();
        changes.sort_by_key(|change| (change.gateway(), change.entry().seq()));
        self.commit_sorted(&changes)
    }

    fn fetch(&self, gateway: &GatewayId, fetch: Fetch) -> Result<Vec<(EntryId, String)>, StoreError> {
        self.run(|database| {
            let table = database.begin_read()?.open_table(ENTRIES)?;
            let gateway = gateway.as_str().as_bytes();
            let mut entries = Vec::new();
            for item in table.range((gateway, fetch.from)..(gateway, fetch.until))?.take(fetch.count) {
                let (key, value) = item?;
                let (epoch, frame) = value.value();
                let frame = String::from_utf8(frame.to_vec())
                    .map_err(|_| redb::Error::Corrupted("the frame of an entry is no text".into()))?;
                entries.push((EntryId::new(epoch, key.value().1), frame));
            }
            Ok(entries)
        })
    }

    fn grants(&self) -> Result<Vec<Grant>, StoreError> {
        self.run(|database| {
            let table = match database.begin_read()?.open_table(GRANTS) {
                Ok(table) => table,
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                Err(error) => return Err(error.into()),
            };
            let mut grants = Vec::new();
            for item in table.iter()? {
                let (key, value) = item?;
                let ((gateway, token), (secret, delivery_key)) = (key.value(), value.value());
                grants.push(Grant {
                    gateway: GatewayId::unverified(text(gateway)?),
                    token: text(token)?,
                    secret: Some(Credential::new(text(secret)?)).filter(|secret| !secret.is_blank()),
                    delivery_key: Credential::new(text(delivery_key)?),
                });
            }
            Ok(grants)
        })
    }

    fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        self.run(|database| {
            let table = match database.begin_read()?.open_table(REVOKED) {
                Ok(table) => table,
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                Err(error) => return Err(error.into()),
            };
            let mut revocations = Vec::new();
            for item in table.iter()? {
                let (key, _) = item?;
                let (gateway, secret) = key.value();
                revocations.push(Revocation { gateway: GatewayId::unverified(text(gateway)?), secret: text(secret)? });
            }
            Ok(revocations)
        })
    }

    fn revoke(&self, revocations: &[Revocation]) -> Result<(), StoreError> {
        self.check_place()?;
        // Without leaving room: a gateway must be revocable while the disk is full.
        self.change(false, SPARE_PAGES, |transaction| {
            require_format(transaction, WITH_REVOCATIONS)?;
            let mut table = transaction.open_table(REVOKED)?;
            for Revocation { gateway, secret } in revocations {
                table.insert((gateway.as_str().as_bytes(), secret.as_bytes()), ())?;
            }
            Ok(!revocations.is_empty())
        })?;
        self.check_place()
    }

    fn grant(&self, grant: &Grant) -> Result<(), StoreError> {
        // It may have become readable to others since it was opened.
        make_private(&self.file).map_err(|error| StoreError::io(name(&self.path), &error))?;
        self.change(true, PAGES_OF_CHANGE, |transaction| {
            require_format(transaction, WITH_GRANTS)?;
            let key = (grant.gateway.as_str().as_bytes(), grant.token.as_bytes());
            let secret = grant.secret.as_ref().map_or("", Credential::expose);
            let value = (secret.as_bytes(), grant.delivery_key.expose().as_bytes());
            transaction.open_table(GRANTS)?.insert(key, value)?;
            Ok(true)
        })
    }

    fn take_back(&self, gateway: &GatewayId) -> Result<(), StoreError> {
        let gateway = gateway.as_str().as_bytes();
        self.check_place()?;
        self.change(false, SPARE_PAGES, |transaction| {
            let mut table = transaction.open_table(GRANTS)?;
            let mut own = Vec::new();
            for item in table.range((gateway, b"".as_slice())..)? {
                let (key, value) = item?;
                let ((whose, token), (secret, delivery_key)) = (key.value(), value.value());
                if whose != gateway {
                    break;
                }
                if !secret.is_empty() {
                    own.push((token.to_vec(), delivery_key.to_vec()));
                }
            }
            for (token, delivery_key) in &own {
                table.insert((gateway, token.as_slice()), (b"".as_slice(), delivery_key.as_slice()))?;
            }
            // Otherwise nothing of it is committed, nor the table if there was none.
            Ok(!own.is_empty())
        })?;
        self.check_place()
    }
}

impl Disk {
    fn commit_sorted(&self, changes: &[&Change]) -> Result<(), StoreError> {
        let adds = changes.iter().any(|change| matches!(change, Change::Append { .. }));
        let pages = |change: &&Change| match change {
            Change::Append { frame, .. } => PAGES_OF_CHANGE + frame.len() as u64 / PAGE,
            Change::Discard { .. } => PAGES_OF_CHANGE,
        };
        let done = self.change(adds, changes.iter().map(pages).sum(), |transaction| {
            let mut table = transaction.open_table(ENTRIES)?;
            for change in changes {
                let key = (change.gateway().as_str().as_bytes(), change.entry().seq());
                match change {
                    Change::Append { entry, frame, .. } => drop(table.insert(key, (entry.epoch(), frame.as_bytes()))?),
                    Change::Discard { .. } => drop(table.remove(key)?),
                }
            }
            Ok(true)
        });
        match done {
            // The more discards at once, the more pages it takes before any is free. Repeating one changes nothing.
            Err(error) if error.problem == StoreProblem::Full && !adds && changes.len() > 1 => {
                let (first, second) = changes.split_at(changes.len() / 2);
                self.commit_sorted(first)?;
                self.commit_sorted(second)
            }
            done => done,
        }
    }
}

/// Makes sure that [`SPARE_PAGES`] are free: takes them, and gives them back within the same transaction, but for the last.
fn find_room(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    let mut spare = transaction.open_table(SPARE)?;
    for key in 0..=SPARE_VALUES {
        drop(spare.insert_reserve(key, SPARE_VALUE)?);
    }
    for key in 0..SPARE_VALUES {
        drop(spare.remove(key)?);
    }
    Ok(())
}

/// From now on only versions that know this format open the file: older ones would overlook what is in it.
fn require_format(transaction: &WriteTransaction, format: u64) -> Result<(), redb::Error> {
    let mut meta = transaction.open_table(META)?;
    let before = meta.get(FORMAT_KEY)?.map_or(0, |format| format.value());
    if before < format {
        meta.insert(FORMAT_KEY, format)?;
    }
    Ok(())
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Makes an empty store of this name. It gets the name only when it is complete, so that a crash leaves none behind that
/// could be taken for one that lost its entries, and never in the place of another, so that of two processes that do
/// this at once both end up with the same one.
fn create(path: &Path, link: impl FnOnce(&Path, &Path) -> io::Result<()>) -> Result<(), StoreError> {
    let failure = |error: io::Error| StoreError::io(name(path), &error);
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".new-{:016x}", getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()))));
    let draft = PathBuf::from(draft);
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    // It holds messages, and perhaps secrets.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&draft).map_err(failure)?;
    let made = guarded(path, || {
        let database = Backing::new(&file).and_then(|file| builder().create_with_backend(file));
        let database = database.map_err(|error| failed(path, error))?;
        initialize(&database).map_err(|error| failed(path, error))
    });
    let linked = made.and_then(|()| match link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // A file system without links. Taking the name first makes up for all but a crash in between.
        Err(_) => match File::create_new(path) {
            Ok(_) => fs::rename(&draft, path).map_err(failure),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(failure(error)),
        },
        Ok(()) => Ok(()),
    });
    // Gone already if it was renamed.
    let _ = fs::remove_file(&draft);
    linked?;
    // The name, too, has to survive a crash of the machine. Not every system can do this, nor needs it.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let _ = File::open(directory).and_then(|directory| directory.sync_all());
    Ok(())
}

fn initialize(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(META)?.insert(FORMAT_KEY, WITHOUT_GRANTS)?;
    transaction.open_table(ENTRIES)?;
    Ok(transaction.commit()?)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    builder
}

/// Opens a store, and makes sure that it is one, and whole.
fn open_existing(path: &Path, file: &File, marks: &FileBackend, open: &Open) -> Result<Database, StoreError> {
    let engine = |error: DatabaseError| failed(path, error);
    check_file(path, marks)?;
    let mark = Mark::read(marks).map_err(|error| StoreError::io(name(path), &error))?;
    // Without writing to it, in case that it is none of ours. After a crash that cannot be.
    let peeked = guarded(path, || {
        let file = file.try_clone().map_err(|error| StoreError::io(name(path), &error))?;
        let file = FileBackend::new(file).map_err(engine)?;
        match builder().open_read_only_with_backend(file) {
            Ok(database) => Some(format(&database).map_err(|error| failed(path, error))).transpose(),
            Err(DatabaseError::RepairAborted) => Ok(None),
            Err(error) => Err(engine(error)),
        }
    })?;
    if let Some(format) = peeked {
        check_format(path, format, mark)?;
    }
    let repaired = Arc::new(AtomicBool::new(false));
    let mut builder = builder();
    let noticed = repaired.clone();
    builder.set_repair_callback(move |_| noticed.store(true, Ordering::Relaxed));
    let mut database = guarded(path, || open(file, builder).map_err(engine))?;
    let read = |database: &Database| {
        let found = guarded(path, || format(database).map_err(|error| failed(path, error)))?;
        check_format(path, found, mark)
    };
    if peeked.is_none() {
        read(&database)?;
    }
    // After a crash the engine has checked all of it. Otherwise nothing has: bytes may have changed since it was closed.
    let whole = repaired.load(Ordering::Relaxed)
        || guarded(path, || database.check_integrity().map_err(|error| failed(path, error)))?;
    if !whole {
        // Perhaps with another commit.
        read(&database)?;
    }
    // What the engine calls whole is one of its commits. The mark knows whether it is the last one that was reported.
    let commits = guarded(path, || commits(&database).map_err(|error| failed(path, error)))?;
    let lost = match mark {
        Mark::Commit(last) if last > commits => {
            format!("it was repaired, and has lost its latest {} commits", last.saturating_sub(commits))
        }
        Mark::Altered => "it may have lost its latest entries: what would show that is damaged".into(),
        Mark::None if !whole => "it was repaired, and may have lost its latest entries".into(),
        Mark::None | Mark::Commit(_) => {
            if !whole {
                tracing::warn!(store = %path.display(), "the store was repaired, and has lost nothing");
            }
            return Ok(database);
        }
    };
    Mark::reset(marks, commits).map_err(|error| StoreError::io(name(path), &error))?;
    let detail = format!("{lost}; open it again to go on with the others");
    Err(StoreError::new(name(path), StoreProblem::Damaged, detail))
}

fn check_format(path: &Path, format: Option<u64>, mark: Mark) -> Result<(), StoreError> {
    let (problem, detail) = match format {
        Some(format) if format <= FORMAT => return Ok(()),
        Some(format) => (StoreProblem::Newer, format!("its format is {format}, and this version knows up to {FORMAT}")),
        None if mark != Mark::None => (StoreProblem::Damaged, "all that it held is missing".into()),
        None => (StoreProblem::NotAStore, "a database of something else".into()),
    };
    Err(StoreError::new(name(path), problem, detail))
}

/// What can be told from a file before the engine touches it.
fn check_file(path: &Path, file: &FileBackend) -> Result<(), StoreError> {
    let failure = |error: io::Error| StoreError::io(name(path), &error);
    let length = file.len().map_err(failure)?;
    if length == 0 {
        let detail = "the file is empty, which a store never is";
        return Err(StoreError::new(name(path), StoreProblem::Damaged, detail));
    }
    let mut start = [0; MAGIC.len()];
    if length < MAGIC.len() as u64 || file.read(0, &mut start).map(|()| start != *MAGIC).map_err(failure)? {
        return Err(StoreError::new(name(path), StoreProblem::NotAStore, "a file of something else"));
    }
    Ok(())
}

/// The format that the store says to have; `None` if it is no store of ours.
fn format(database: &impl ReadableDatabase) -> Result<Option<u64>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(META) {
        Ok(table) => table,
        Err(redb::TableError::Storage(error)) => return Err(error.into()),
        Err(_) => return Ok(None),
    };
    let format = table.get(FORMAT_KEY)?.map(|format| format.value());
    Ok(format)
}

/// How many commits there were; 0 before a version that counts them had the file.
fn commits(database: &impl ReadableDatabase) -> Result<u64, redb::Error> {
    let table = database.begin_read()?.open_table(META)?;
    let commits = table.get(COMMITS_KEY)?.map_or(0, |commits| commits.value());
    Ok(commits)
}

fn text(bytes: &[u8]) -> Result<String, redb::Error> {
    let text = String::from_utf8(bytes.to_vec());
    text.map_err(|_| redb::Error::Corrupted("part of a key or a grant is no text".into()))
}

/// The engine asserts where it meets what it never wrote. A damaged file must not end the process.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(StoreError::new(name(path), StoreProblem::Damaged, "the database engine met something that it never wrote"))
    })
}

fn failed(path: &Path, error: impl Into<redb::Error>) -> StoreError {
    let error = error.into();
    let problem = match &error {
        redb::Error::Io(error) => return StoreError::io(name(path), error),
        redb::Error::DatabaseAlreadyOpen => return StoreError::new(name(path), StoreProblem::InUse, ""),
        redb::Error::Corrupted(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableDoesNotExist(_)
        | redb::Error::UpgradeRequired(_) => StoreProblem::Damaged,
        _ => StoreProblem::Io,
    };
    StoreError::new(name(path), problem, error.to_string())
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests;
