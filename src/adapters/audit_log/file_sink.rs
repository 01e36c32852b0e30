//! The log as a file: appended to, continued after a restart, opened anew when it was renamed, deleted or cut.

use std::{
    fs::{self, File, Metadata, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::chain::{Chain, Lines};
use crate::regular_file::IF_REPLACED;

/// Bytes at the end of a file in which its last record is looked for; a record has a few hundred.
const MAX_TAIL: u64 = 1024 * 1024;

pub(super) struct FileSink {
    path: PathBuf,
    is_synced: bool,
    file: File,
    /// Device and number of the file.
    id: (u64, u64),
    /// Bytes of whole records. What is behind them was written in part, and is cut off.
    len: u64,
    /// Whether something may be behind them.
    is_torn: bool,
    /// Bytes that are cut off, and the log does not tell it yet.
    cut: u64,
}

impl FileSink {
    /// Goes on where the file ends.
    ///
    /// # Errors
    /// It cannot be opened, is no regular file, or another process writes it.
    pub(super) fn open(path: &Path, is_synced: bool, chain: &mut Chain) -> io::Result<Self> {
        let (file, id) = open(path, is_synced)?;
        let mut sink = Self { path: path.to_owned(), is_synced, file, id, len: 0, is_torn: false, cut: 0 };
        *chain = sink.resume()?;
        Ok(sink)
    }

    /// Bytes of a torn record that are cut off; none once that is told.
    pub(super) const fn cut(&self) -> u64 {
        self.cut
    }

    /// The log says it.
    pub(super) const fn cut_is_told(&mut self) {
        self.cut = 0;
    }

    /// Whether another file is written from now on, because the last was renamed, deleted or cut.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn follow(&mut self) -> io::Result<bool> {
        let found = match fs::metadata(&self.path) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        match found {
            Some(found) if id(&found) == self.id => {
                let is_cut = found.len() < self.len;
                if is_cut {
                    let (end, _) = End::of(&self.file)?;
                    self.go_on(end);
                }
                Ok(is_cut)
            }
            Some(_) | None => {
                let (file, id) = open(&self.path, self.is_synced)?;
                let (end, _) = End::of(&file)?;
                (self.file, self.id) = (file, id);
                self.go_on(end);
                Ok(true)
            }
        }
    }

    fn cut_off(&mut self) -> io::Result<()> {
        if self.is_torn {
            self.file.set_len(self.len)?;
            self.is_torn = false;
        }
        Ok(())
    }

    /// What is torn is cut off by the next write.
    fn go_on(&mut self, End { whole, torn }: End) {
        self.len = whole;
        self.is_torn = torn > 0;
        self.cut += torn;
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a write only copies into memory, so that whoever serves requests may do it: to a file of this machine, whose disk
    /// is not waited for. Over a network, a server that is gone makes it wait for ever.
    pub(super) fn is_quick(&self) -> bool {
        !self.is_synced && is_of_this_machine(&self.file)
    }

    /// Writes all lines, or none.
    ///
    /// # Errors
    /// None is written.
    pub(super) fn write(&mut self, lines: &Lines) -> io::Result<()> {
        let text = lines.text();
        self.cut_off()?;
        let written =
            self.file.write_all(text).and_then(|()| if self.is_synced { self.file.sync_data() } else { Ok(()) });
        match written {
            Ok(()) => {
                self.len += text.len() as u64;
                Ok(())
            }
            Err(error) => {
                // If it cannot be cut off now, the next attempt does it.
                self.is_torn = self.file.set_len(self.len).is_err();
                Err(error)
            }
        }
    }

    /// The last record of the file; a torn one, of a process that died with the machine, is cut off.
    fn resume(&mut self) -> io::Result<Chain> {
        let (end, whole) = End::of(&self.file)?;
        self.go_on(end);
        self.cut_off()?;
        let Some(last) = whole.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty()) else {
            return Ok(Chain::default());
        };
        match Chain::read(last) {
            Ok((chain, ..)) => Ok(chain),
            Err(error) => {
                tracing::error!("The last record of the audit log {error}; the chain begins anew behind it");
                Ok(Chain::default())
            }
        }
    }
}

/// How a file ends.
struct End {
    /// Bytes of whole records.
    whole: u64,
    /// Bytes behind them.
    torn: u64,
}

impl End {
    /// With the last of the whole records.
    fn of(file: &File) -> io::Result<(Self, Vec<u8>)> {
        let len = file.metadata()?.len();
        let mut tail = own_tail(file, len)?;
        let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let torn = (tail.len() - whole) as u64;
        if torn > 0 {
            tracing::warn!(bytes = torn, "The audit log ends in the midst of a record, which is cut off");
        }
        tail.truncate(whole);
        Ok((Self { whole: len - torn, torn }, tail))
    }
}

/// For appending, by this process alone.
fn open(path: &Path, is_synced: bool) -> io::Result<(File, (u64, u64))> {
    let mut options = OpenOptions::new();
    // Not to wait for a reader, should it be a pipe.
    let file = options.read(true).append(true).create(true).mode(0o600).custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.map_err(|error| explain(path, error))?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(not_a_file());
    }
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let error = "another process writes it; give every process a file of its own";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, error));
        }
        Err(TryLockError::Error(error)) => return Err(error),
    }
    if is_synced {
        // The name, too, has to survive.
        File::open(folder(path))?.sync_all()?;
    }
    Ok((file, id(&metadata)))
}

/// Whether [`FileSink::open`] would open it; makes and changes nothing. That another process writes it is as it should be.
///
/// # Errors
/// It would not.
pub(super) fn check(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(not_a_file()),
        Ok(found) => {
            let mut options = OpenOptions::new();
            let file = options.read(true).append(true).custom_flags(libc::O_NONBLOCK).open(path);
            let file = file.map_err(|error| explain(path, error))?;
            own_tail(&file, found.len()).map(drop)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && folder(path).is_dir() => {
            let needed = Access::WRITE_OK | Access::EXEC_OK;
            let may_create = accessat(CWD, folder(path), needed, AtFlags::EACCESS).map_err(io::Error::from);
            may_create.map_err(|error| explain(path, error))
        }
        Err(error) => Err(explain(path, error)),
    }
}

/// The end of a file of so many bytes, if it is an audit log's. A mistyped path: nothing of somebody else's file is cut off, and nothing
/// is written into it.
fn own_tail(mut file: &File, len: u64) -> io::Result<Vec<u8>> {
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(len.saturating_sub(MAX_TAIL)))?;
    file.take(MAX_TAIL).read_to_end(&mut tail)?;
    let last_line = tail.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty());
    if last_line.is_some_and(|line| !line.starts_with(b"{")) {
        let error = "is no audit log: its last line is no record; name another file, or move it away";
        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
    }
    Ok(tail)
}

fn not_a_file() -> io::Error {
    let error = "must be a regular file, not a folder, pipe, socket or device; name another in [audit]";
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

/// With what is in the way, and the way out.
fn explain(path: &Path, error: io::Error) -> io::Error {
    let (kind, folder) = (error.kind(), folder(path).display());
    if kind == io::ErrorKind::IsADirectory {
        return not_a_file();
    }
    let text = if kind == io::ErrorKind::NotFound {
        format!("the folder {folder} does not exist: create it, or change [audit] sink ({error})")
    } else if kind == io::ErrorKind::PermissionDenied {
        let way_out = "give it to the user that the service runs as, or change [audit] sink";
        format!("this user can write neither the file nor into its folder {folder}: {way_out}; {IF_REPLACED} ({error})")
    } else {
        return error;
    };
    io::Error::new(kind, text)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("/"))
}

#[cfg(target_os = "linux")]
fn is_of_this_machine(file: &File) -> bool {
    const LOCAL: [libc::c_long; 7] = [
        libc::BTRFS_SUPER_MAGIC,
        libc::EXT4_SUPER_MAGIC,
        libc::F2FS_SUPER_MAGIC,
        libc::OVERLAYFS_SUPER_MAGIC,
        libc::TMPFS_MAGIC,
        libc::XFS_SUPER_MAGIC,
        0x2fc1_2fc1, // ZFS, which the C library does not know.
    ];
    rustix::fs::fstatfs(file).is_ok_and(|system| LOCAL.contains(&system.f_type))
}

#[cfg(not(target_os = "linux"))]
const fn is_of_this_machine(_: &File) -> bool {
    false
}

fn id(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
