//! The store on disk.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use relay_proto::connector::{Backlog, EntryId, Fetch, GatewayId};

use relay_proto::enroll::Credential;

use super::store::{Change, Grant, Store, StoreError, StoreProblem};

/// The latest format of what is stored: the tables below.
const FORMAT: u64 = 2;
/// The format of a store without grants. An older version, which knows no other, can have it back.
const WITHOUT_GRANTS: u64 = 1;
/// What a file of the database engine starts with.
const MAGIC: &[u8; 9] = b"redb\x1a\x0a\xa9\x0d\x0a";
/// Pages that are kept in memory. What is delivered soon after it was accepted never comes from the store, and a backlog
/// is read once, so more would help nobody.
const CACHE: usize = 16 << 20;

/// `format` → up to [`FORMAT`].
const META: TableDefinition<'_, &[u8], u64> = TableDefinition::new("relay-connector");
/// Gateway, seq → epoch, frame. Bytes and not text, because the engine trusts stored text to be UTF-8.
const ENTRIES: TableDefinition<'_, Key<'_>, (u64, &[u8])> = TableDefinition::new("entries");
/// Gateway, token → secret (empty: taken back), delivery key. From format 2 on.
const GRANTS: TableDefinition<'_, Pair<'_>, Pair<'_>> = TableDefinition::new("grants");
type Pair<'a> = (&'a [u8], &'a [u8]);
/// Gateway, seq.
type Key<'a> = (&'a [u8], u64);

/// A [`Store`] in one file, in the format of [redb](https://docs.rs/redb). What it has committed survives a crash of the
/// process, and of the machine as far as its disk keeps what it says to have written.
///
/// One process at a time can have it open. It takes about as much room as its entries, and reuses what becomes free. A
/// new file appears under its name only once it is complete; an empty file is one that lost its content.
pub struct Disk {
    path: PathBuf,
    /// `None` after it failed: to be opened again before the next use.
    database: RwLock<Option<Database>>,
    open: Open,
}

/// Opens the database in an existing file.
type Open = Box<dyn Fn(&Path, Builder) -> Result<Database, DatabaseError> + Send + Sync>;

impl Disk {
    /// Opens the store in this file; makes it when there is none. Blocks: after a crash, and to be sure of an old file,
    /// all of it is read.
    ///
    /// # Errors
    /// [`StoreError`] with the [problem](StoreProblem). A damaged file may be repaired as far as that is possible; what is
    /// lost then is reported once.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path.as_ref(), Box::new(|path, builder| builder.open(path)))
    }

    fn open_with(path: &Path, open: Open) -> Result<Self, StoreError> {
        let found = match fs::metadata(path) {
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(StoreError::io(name(path), &error)),
        };
        if !found {
            create(path)?;
        }
        let database = open_existing(path, &open)?;
        Ok(Self { path: path.into(), database: RwLock::new(Some(database)), open })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs with the database, and opens it again first if it failed before: the engine does not go on after an error.
    fn run<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        let lost = self.database.read().unwrap_or_else(PoisonError::into_inner).is_none();
        if lost {
            let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
            if database.is_none() {
                *database = Some(open_existing(&self.path, &self.open)?);
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
        self.run(|database| {
            let transaction = database.begin_write()?;
            let mut table = transaction.open_table(ENTRIES)?;
            for change in changes {
                let key = (change.gateway().as_str().as_bytes(), change.entry().seq());
                match change {
                    Change::Append { entry, frame, .. } => drop(table.insert(key, (entry.epoch(), frame.as_bytes()))?),
                    Change::Discard { .. } => drop(table.remove(key)?),
                }
            }
            drop(table);
            // Durable when this returns: that is the default.
            Ok(transaction.commit()?)
        })
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
            let text = |bytes: &[u8]| {
                let text = String::from_utf8(bytes.to_vec());
                text.map_err(|_| redb::Error::Corrupted("part of a grant is no text".into()))
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

    fn grant(&self, grant: &Grant) -> Result<(), StoreError> {
        // A file that an older version made may be readable to others.
        private(&self.path).map_err(|error| StoreError::io(name(&self.path), &error))?;
        self.run(|database| {
            let transaction = database.begin_write()?;
            // An older version would let nobody of these in, without a word.
            transaction.open_table(META)?.insert(b"format".as_slice(), FORMAT)?;
            let key = (grant.gateway.as_str().as_bytes(), grant.token.as_bytes());
            let secret = grant.secret.as_ref().map_or("", Credential::expose);
            let value = (secret.as_bytes(), grant.delivery_key.expose().as_bytes());
            transaction.open_table(GRANTS)?.insert(key, value)?;
            Ok(transaction.commit()?)
        })
    }

    fn take_back(&self, gateway: &GatewayId) -> Result<(), StoreError> {
        let gateway = gateway.as_str().as_bytes();
        self.run(|database| {
            // One transaction that excludes others: what is granted meanwhile comes before it, or after.
            let transaction = database.begin_write()?;
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
            if own.is_empty() {
                // Nothing of it is committed, nor the table if there was none.
                return Ok(());
            }
            for (token, delivery_key) in &own {
                table.insert((gateway, token.as_slice()), (b"".as_slice(), delivery_key.as_slice()))?;
            }
            drop(table);
            Ok(transaction.commit()?)
        })
    }
}

/// Nobody but the owner may read the file.
fn private(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    #[cfg(not(unix))]
    let _ = path;
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
fn create(path: &Path) -> Result<(), StoreError> {
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
        let database = builder().create_file(file).map_err(|error| failed(path, error))?;
        initialize(&database).map_err(|error| failed(path, error))
    });
    let linked = made.and_then(|()| match fs::hard_link(&draft, path) {
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
    transaction.open_table(META)?.insert(b"format".as_slice(), WITHOUT_GRANTS)?;
    transaction.open_table(ENTRIES)?;
    Ok(transaction.commit()?)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    builder
}

/// Opens a store, and makes sure that it is one, and whole.
fn open_existing(path: &Path, open: &Open) -> Result<Database, StoreError> {
    check_file(path)?;
    // Without writing to it, in case that it is none of ours. After a crash that cannot be.
    let peeked = guarded(path, || match builder().open_read_only(path) {
        Ok(database) => Some(format(&database).map_err(|error| failed(path, error))).transpose(),
        Err(DatabaseError::RepairAborted) => Ok(None),
        Err(error) => Err(failed(path, error)),
    })?;
    if let Some(format) = peeked {
        check_format(path, format)?;
    }
    let repaired = Arc::new(AtomicBool::new(false));
    let mut builder = builder();
    let noticed = repaired.clone();
    builder.set_repair_callback(move |_| noticed.store(true, Ordering::Relaxed));
    let mut database = guarded(path, || open(path, builder).map_err(|error| failed(path, error)))?;
    if peeked.is_none() {
        check_format(path, guarded(path, || format(&database).map_err(|error| failed(path, error)))?)?;
    }
    // After a crash the engine has checked all of it. Otherwise nobody has: bytes may have changed since it was closed.
    let whole = repaired.load(Ordering::Relaxed)
        || guarded(path, || database.check_integrity().map_err(|error| failed(path, error)))?;
    if whole {
        Ok(database)
    } else {
        let detail = "it was repaired, and may have lost its latest entries; open it again to go on with the others";
        Err(StoreError::new(name(path), StoreProblem::Damaged, detail))
    }
}

fn check_format(path: &Path, format: Option<u64>) -> Result<(), StoreError> {
    let (problem, detail) = match format {
        Some(format) if format <= FORMAT => return Ok(()),
        Some(format) => (StoreProblem::Newer, format!("its format is {format}, and this version knows up to {FORMAT}")),
        None => (StoreProblem::NotAStore, "a database of something else".into()),
    };
    Err(StoreError::new(name(path), problem, detail))
}

/// What can be told from a file before the engine touches it.
fn check_file(path: &Path) -> Result<(), StoreError> {
    let failure = |error: io::Error| StoreError::io(name(path), &error);
    // As the engine will open it, so that what it may not do shows here.
    let file = File::options().read(true).write(true).open(path).map_err(failure)?;
    let mut start = Vec::new();
    file.take(MAGIC.len() as u64).read_to_end(&mut start).map_err(failure)?;
    if start.is_empty() {
        let detail = "the file is empty, which a store never is";
        return Err(StoreError::new(name(path), StoreProblem::Damaged, detail));
    }
    if start != MAGIC {
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
    let format = table.get(b"format".as_slice())?.map(|format| format.value());
    Ok(format)
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
