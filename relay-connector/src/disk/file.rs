//! The file of a store, as the store sees it beside the database engine: which file it is, the room it takes, and the
//! mark that shows how much of it was acknowledged.

use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::path::Path;

use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};

// ── which file it is ─────────────────────────────────────────────────────

/// What tells one file from another as long as it is open.
#[cfg(unix)]
type Identity = (u64, u64);
/// Without numbers of files, the time at which it was made has to do.
#[cfg(not(unix))]
type Identity = Option<std::time::SystemTime>;

fn identity(metadata: &fs::Metadata) -> Identity {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        (metadata.dev(), metadata.ino())
    }
    #[cfg(not(unix))]
    metadata.created().ok()
}

/// Whether this name still stands for this file.
pub(super) fn is_named(file: &File, path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(found) => Ok(identity(&found) == identity(&file.metadata()?)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Lets the owner alone read and write the file. Whether that was news.
pub(super) fn make_private(file: &File) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = file.metadata()?.permissions().mode();
        if mode & 0o077 != 0 {
            file.set_permissions(fs::Permissions::from_mode(mode & 0o700))?;
            return Ok(true);
        }
    }
    let _ = file;
    Ok(false)
}

// ── the room it takes ────────────────────────────────────────────────────

/// The file under the database.
///
/// The engine lengthens its file by a lot at once, and writes to the new part later, in any order. With a hole there,
/// a disk that others have filled meanwhile could refuse a page that the engine takes for free, and even a discard could
/// not be written. So the room is taken from the disk when the file grows: what is free inside it can be used.
#[derive(Debug)]
pub(super) struct Backing {
    engine: FileBackend,
    file: File,
}

impl Backing {
    pub(super) fn new(file: &File) -> Result<Self, DatabaseError> {
        Ok(Self { engine: FileBackend::new(file.try_clone()?)?, file: file.try_clone()? })
    }
}

/// Takes room for this part of the file from the disk, and makes the file as long, where the system can do that.
pub(super) fn allocate(file: &File, from: u64, until: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::{Errno, retry_on_intr};
        let allocated = retry_on_intr(|| fallocate(file, FallocateFlags::empty(), from, until.saturating_sub(from)));
        match allocated {
            Ok(()) => return Ok(()),
            // Some file systems cannot.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let _ = from;
    if file.metadata()?.len() < until { file.set_len(until) } else { Ok(()) }
}

impl StorageBackend for Backing {
    fn len(&self) -> io::Result<u64> {
        self.engine.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let before = self.engine.len()?;
        if len <= before {
            return self.engine.set_len(len);
        }
        allocate(&self.file, before, len).inspect_err(|_| {
            // It may have got a part of it.
            let _ = self.file.set_len(before);
        })
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.engine.read(offset, out)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.engine.write(offset, data)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.engine.sync_data()
    }

    fn close(&self) -> io::Result<()> {
        self.engine.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.engine.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.engine.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.engine.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.engine.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.engine.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.engine.query_lock_range(start, end)
    }
}

// ── how far it was ───────────────────────────────────────────────────────

/// Where the two marks are: the engine's header ends at 512, and its first page at 4096. Each has a sector to itself, so
/// that a crash of the machine leaves at least one of them whole.
const PLACES: [u64; 2] = [1024, 2048];
const SIZE: usize = 24;
const MAGIC: [u8; 8] = *b"relaymrk";

/// The mark: the number of the last commit that was reported as durable.
///
/// The engine opens a file whose last commit is damaged with the commit before, because it cannot tell a commit that a
/// crash interrupted from one that it had reported. The mark can. It is written after the commit and before the report,
/// and is not synced: a process that is killed leaves it in the system's memory, and the next commit syncs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Nothing was reported, or an older version wrote the file.
    None,
    /// This commit is the last.
    Commit(u64),
    /// Something else than this library changed it.
    Altered,
}

impl Mark {
    pub(super) fn read(file: &FileBackend) -> io::Result<Self> {
        let mut mark = Self::None;
        for place in PLACES {
            let mut bytes = [0; SIZE];
            match file.read(place, &mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Self::Altered),
                other => other?,
            }
            mark = match (mark, Self::decode(&bytes)) {
                (Self::Altered, _) | (_, Self::Altered) => Self::Altered,
                (Self::Commit(one), Self::Commit(other)) => Self::Commit(one.max(other)),
                (Self::None, found) => found,
                (found, Self::None) => found,
            };
        }
        Ok(mark)
    }

    /// Marks this commit, in the place of the one before the last.
    pub(super) fn write(file: &FileBackend, commit: u64) -> io::Result<()> {
        let place = if commit.is_multiple_of(2) { PLACES[0] } else { PLACES[1] };
        file.write(place, &Self::encode(commit))
    }

    /// Marks this commit alone.
    pub(super) fn reset(file: &FileBackend, commit: u64) -> io::Result<()> {
        for place in PLACES {
            file.write(place, &Self::encode(commit))?;
        }
        file.sync_data()
    }

    fn encode(commit: u64) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let parts = MAGIC.into_iter().chain(commit.to_le_bytes()).chain((!commit).to_le_bytes());
        bytes.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
        bytes
    }

    fn decode(bytes: &[u8; SIZE]) -> Self {
        let commit =
            bytes.iter().skip(MAGIC.len()).take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        if *bytes == [0; SIZE] {
            Self::None
        } else if *bytes == Self::encode(commit) {
            Self::Commit(commit)
        } else {
            Self::Altered
        }
    }
}
