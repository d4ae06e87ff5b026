//! Where a connector keeps what it accepted (CONN-7).

use std::fmt;
use std::io;
use std::sync::Arc;

use relay_proto::connector::{Backlog, EntryId, Fetch, GatewayId};
use relay_proto::enroll::Credential;

/// Keeps the entries of every gateway of one connector. [`Disk`](super::Disk) is one; bring your own to keep them
/// elsewhere, and give it to [`serve_with`](super::serve_with).
///
/// Every method may block: the connector calls them from two threads of its own, [`commit`](Self::commit) from one and
/// [`fetch`](Self::fetch) from the other, and [`backlogs`](Self::backlogs) once before either. It gathers changes
/// while a commit runs, so a store needs no batching of its own. An entry is its gateway, its
/// [`seq`](EntryId::seq), which orders the entries of that gateway, its [`epoch`](EntryId::epoch) and its frame.
///
/// When a method fails, the connector logs that, refuses what was not stored, goes on with what it has, and tries again
/// a little later, until the store works again. A store that panics counts as one that failed. It is dropped at the end
/// of the connector's shutdown.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::Mutex;
///
/// use relay_connector::{Backlog, Change, EntryId, Fetch, GatewayId, Store, StoreError};
///
/// /// Not durable, but a store.
/// #[derive(Default)]
/// struct Map(Mutex<BTreeMap<(GatewayId, u64), (u64, String)>>);
///
/// impl Store for Map {
///     fn backlogs(&self) -> Result<Vec<(GatewayId, Backlog)>, StoreError> {
///         let mut found = BTreeMap::<GatewayId, Backlog>::new();
///         for (gateway, seq) in self.0.lock().unwrap().keys() {
///             let backlog = found.entry(gateway.clone()).or_insert(Backlog::new(*seq..*seq, 0));
///             *backlog = Backlog::new(backlog.first..seq + 1, backlog.entries + 1);
///         }
///         Ok(found.into_iter().collect())
///     }
///
///     fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
///         let mut map = self.0.lock().unwrap();
///         for change in changes {
///             match change {
///                 Change::Append { gateway, entry, frame } => {
///                     map.insert((gateway.clone(), entry.seq()), (entry.epoch(), frame.to_string()));
///                 }
///                 Change::Discard { gateway, entry } => {
///                     map.remove(&(gateway.clone(), entry.seq()));
///                 }
///             }
///         }
///         Ok(())
///     }
///
///     fn fetch(&self, gateway: &GatewayId, fetch: Fetch) -> Result<Vec<(EntryId, String)>, StoreError> {
///         let map = self.0.lock().unwrap();
///         let range = map.range((gateway.clone(), fetch.from)..(gateway.clone(), fetch.until));
///         let entries = range.map(|((_, seq), (epoch, frame))| (EntryId::new(*epoch, *seq), frame.clone()));
///         Ok(entries.take(fetch.count).collect())
///     }
/// }
/// ```
pub trait Store: Send + Sync + 'static {
    /// What it holds, for every gateway that has entries. Called once, before anything else.
    ///
    /// # Errors
    /// [`StoreError`]: the connector does not start.
    fn backlogs(&self) -> Result<Vec<(GatewayId, Backlog)>, StoreError>;

    /// Makes all of these changes, in this order, and durable: once it returns, they survive a crash. Discarding an
    /// entry that is not there changes nothing.
    ///
    /// # Errors
    /// [`StoreError`] when they are not all durable. None of them has to be undone: the connector discards what it
    /// reported as not stored with the next commit, and repeats the discards.
    fn commit(&self, changes: &[Change]) -> Result<(), StoreError>;

    /// The first `fetch.count` entries of the gateway, in order, of those with `from <= seq < until`, each with the
    /// frame that was appended, byte for byte. Runs beside a commit; it need not see that one's changes, but those of
    /// every commit that has returned.
    ///
    /// # Errors
    /// [`StoreError`]: it is asked again. Nothing is delivered to this gateway from the store until then.
    fn fetch(&self, gateway: &GatewayId, fetch: Fetch) -> Result<Vec<(EntryId, String)>, StoreError>;

    /// What enrolment granted, taken back or not. Called once, before anything else. As it comes: nothing.
    ///
    /// # Errors
    /// [`StoreError`]: the connector does not start.
    fn grants(&self) -> Result<Vec<Grant>, StoreError> {
        Ok(Vec::new())
    }

    /// Keeps a grant, durable once it returns, in the place of one with the same gateway and token: that is how a single one
    /// is taken back, which has no secret then. Called from threads of its own, beside the other methods. As it comes it
    /// fails, so that no gateway enrols that would be forgotten.
    ///
    /// # Errors
    /// [`StoreError`]: the gateway is not enrolled, and may try again.
    fn grant(&self, grant: &Grant) -> Result<(), StoreError> {
        Err(StoreError::new(format!("(for {})", grant.gateway), StoreProblem::Io, "this store keeps no grants"))
    }

    /// Deletes the secrets of every grant to this gateway, durable once it returns. The grants themselves stay, without
    /// them: their tokens are used up. As it comes it does nothing, since nothing was kept. ([`Disk`](super::Disk) frees the
    /// room of a secret, and does not wipe it.)
    ///
    /// # Errors
    /// [`StoreError`]: the secrets are good again after a start.
    fn take_back(&self, gateway: &GatewayId) -> Result<(), StoreError> {
        let _ = gateway;
        Ok(())
    }

    /// Secrets that were revoked (CONN-6). Called once, before anything else. As it comes: none.
    ///
    /// # Errors
    /// [`StoreError`]: the connector does not start.
    fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        Ok(Vec::new())
    }

    /// Keeps these revocations besides those that there are, all of them durable once it returns. Keeping one twice changes
    /// nothing. As it comes it fails, because the gateways would be let in again after a restart.
    ///
    /// # Errors
    /// [`StoreError`]: the secrets are good again after a start.
    fn revoke(&self, revocations: &[Revocation]) -> Result<(), StoreError> {
        match revocations.first() {
            None => Ok(()),
            Some(Revocation { gateway, .. }) => {
                let place = format!("(for {gateway})");
                Err(StoreError::new(place, StoreProblem::Io, "this store keeps no revocations"))
            }
        }
    }
}

/// A secret that lets its gateway in no more, although the configuration may still name it (CONN-6).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revocation {
    /// The gateway.
    pub gateway: GatewayId,
    /// What stands for the secret. The secret cannot be learned from it, unless it is short enough to be guessed.
    pub secret: String,
}

/// What enrolment granted to a gateway (ENROLL-5). Debug shows no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The gateway.
    pub gateway: GatewayId,
    /// What stands for the enrolment token that was redeemed. The token cannot be learned from it.
    pub token: String,
    /// The gateway's secret; `None`: it was taken back.
    pub secret: Option<Credential>,
    /// The key of the connector's own HTTP requests.
    pub delivery_key: Credential,
}

/// One change to a [`Store`], which has to know them all: another kind would be another format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An entry of this gateway, to be kept until it is discarded.
    Append {
        /// Whose entry it is.
        gateway: GatewayId,
        /// The entry.
        entry: EntryId,
        /// Its frame.
        frame: Arc<str>,
    },
    /// An entry that is needed no more.
    Discard {
        /// Whose entry it is.
        gateway: GatewayId,
        /// The entry.
        entry: EntryId,
    },
}

impl Change {
    /// Whose entry it is about.
    pub fn gateway(&self) -> &GatewayId {
        match self {
            Self::Append { gateway, .. } | Self::Discard { gateway, .. } => gateway,
        }
    }

    /// The entry that it is about.
    pub fn entry(&self) -> EntryId {
        match self {
            Self::Append { entry, .. } | Self::Discard { entry, .. } => *entry,
        }
    }
}

/// A store that does not do what it should. Displays as where it is, what is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreError {
    /// Which store: the path of a [`Disk`](super::Disk).
    pub place: String,
    /// What is wrong.
    pub problem: StoreProblem,
    /// The same in the words of the layer that noticed; may be empty.
    pub detail: String,
}

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreProblem {
    /// The directory that it should be in does not exist.
    NoDirectory,
    /// The file or its directory must not be written by this user, or is on something read-only.
    NotWritable,
    /// Another process has it, or this one has it twice.
    InUse,
    /// There is something else at its place.
    NotAStore,
    /// Parts of it are missing or altered.
    Damaged,
    /// A later version of this library wrote it.
    Newer,
    /// No room is left for it.
    Full,
    /// Its file was removed, replaced or moved while it was open.
    Gone,
    /// Reading or writing failed in another way.
    Io,
}

impl StoreProblem {
    fn wrong_and_remedy(self) -> (&'static str, &'static str) {
        match self {
            Self::NoDirectory => ("its directory does not exist", "create the directory, or name another one"),
            Self::NotWritable => {
                ("it cannot be written", "give this user the right to write the file and its directory")
            }
            Self::InUse => ("it is in use by another connector", "stop that one, or give this one a store of its own"),
            Self::NotAStore => ("this is not the store of a connector", "name another file"),
            Self::Damaged => (
                "the store is damaged",
                "keep a copy, and restore the file from a backup, or move it away to start with an empty one",
            ),
            Self::Newer => ("a newer version wrote this store", "use that version"),
            Self::Full => ("no room is left", "make room; the connector goes on by itself then"),
            Self::Gone => (
                "its file was removed, replaced or moved while it was in use",
                "put it back, and the connector goes on by itself; or restart the connector to use what is there now",
            ),
            Self::Io => ("reading or writing it failed", "see to the disk"),
        }
    }
}

impl StoreError {
    /// An error of the store at this place.
    pub fn new(place: impl Into<String>, problem: StoreProblem, detail: impl Into<String>) -> Self {
        Self { place: place.into(), problem, detail: detail.into() }
    }

    /// The same for an error of the operating system.
    pub fn io(place: impl Into<String>, error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        let problem = match error.kind() {
            Kind::NotFound | Kind::NotADirectory => StoreProblem::NoDirectory,
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => StoreProblem::NotWritable,
            Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => StoreProblem::Full,
            Kind::IsADirectory => StoreProblem::NotAStore,
            Kind::InvalidData | Kind::UnexpectedEof => StoreProblem::Damaged,
            _ => StoreProblem::Io,
        };
        Self::new(place, problem, error.to_string())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (wrong, remedy) = self.problem.wrong_and_remedy();
        write!(f, "the store at {}: {wrong}", self.place)?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        write!(f, ": {remedy}")
    }
}

impl std::error::Error for StoreError {}
