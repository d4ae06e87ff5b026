//! A file that appears complete or not at all, for what must not be lost.

use std::fs::{self, File};
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// What is written before anybody needs it, so that the disk has the room: more than any content.
pub(crate) const RESERVE: usize = 64 << 10;

/// A file in the making, beside the place where it is to be. Removed when dropped, unless it is complete.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    path: PathBuf,
    target: PathBuf,
    file: File,
    replace: bool,
    /// It holds something that must not be lost.
    precious: bool,
}

/// What became of content that was to be kept.
#[derive(Debug)]
pub(crate) struct NotKept {
    /// Where it is nevertheless; `None`: nowhere.
    pub(crate) at: Option<PathBuf>,
    pub(crate) error: io::Error,
}

impl AtomicFile {
    /// Makes sure that a file can be made there, as far as that can be known, and sets the room for it aside.
    ///
    /// # Errors
    /// What is in the way.
    pub(crate) fn new(target: &Path, replace: bool) -> Result<Self, String> {
        let shown = target.display();
        match fs::symlink_metadata(target) {
            Ok(found) if found.is_symlink() => {
                return Err(format!("`{shown}` is a symbolic link: name the file itself"));
            }
            Ok(found) if !found.is_file() => return Err(format!("`{shown}` is there, and is no file")),
            Ok(_) if !replace => return Err(format!("`{shown}` is there already: use --force to replace it")),
            _ => {}
        }
        let mut name = target.file_name().ok_or_else(|| format!("`{shown}` names no file"))?.to_owned();
        let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !directory.is_dir() {
            return Err(format!("there is no directory `{}`: make it first", directory.display()));
        }
        name.push(format!(".new-{:016x}", getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()))));
        let path = directory.join(name);
        let cannot = |error: io::Error| format!("cannot write into `{}`: {error}", directory.display());
        let file = create(&path).map_err(cannot)?;
        let mut made = Self { path, target: target.into(), file, replace, precious: false };
        made.file.write_all(&vec![b'\n'; RESERVE]).and_then(|()| made.file.sync_all()).map_err(cannot)?;
        Ok(made)
    }

    /// Fills it, and gives it its name. Durable when this returns.
    ///
    /// # Errors
    /// [`NotKept`] says where the content is.
    pub(crate) fn keep(mut self, content: &str) -> Result<(), NotKept> {
        if let Err(error) = self.fill(content) {
            return Err(NotKept { at: None, error });
        }
        self.precious = true;
        if let Err(error) = self.publish() {
            return Err(NotKept { at: Some(self.path.clone()), error });
        }
        // The name has to survive a crash of the machine, too. Not every system can do this, nor needs it.
        if let Some(directory) = self.path.parent() {
            let _ = File::open(directory).and_then(|directory| directory.sync_all());
        }
        Ok(())
    }

    fn fill(&mut self, content: &str) -> io::Result<()> {
        self.file.rewind()?;
        self.file.write_all(content.as_bytes())?;
        self.file.set_len(content.len() as u64)?;
        self.file.sync_all()
    }

    fn publish(&self) -> io::Result<()> {
        if self.replace {
            return fs::rename(&self.path, &self.target);
        }
        // Unlike a rename this never replaces what somebody else has put there in the meantime.
        match fs::hard_link(&self.path, &self.target) {
            Ok(()) => fs::remove_file(&self.path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            // A file system without links: taking the name first makes up for it.
            Err(_) => File::create_new(&self.target).and_then(|_| fs::rename(&self.path, &self.target)),
        }
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.precious {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A new file that its owner alone may read.
fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
