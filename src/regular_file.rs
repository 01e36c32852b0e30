//! A leaf: reads the files that the configuration names, which have to be regular and small.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use zeroize::Zeroizing;

/// What to do where a confined process may not look: the new folder has the name of the old one, and is another.
pub(crate) const IF_REPLACED: &str = "if its folder was replaced by another since the service has started and confined itself to it, restart the service";

/// Opens a regular file, links followed, without ever waiting.
///
/// The attack, or the accident: a pipe in place of a file would stop its reader for ever, and a device would fill the memory.
///
/// # Errors
/// It cannot be opened, or is something else.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(explain)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "must be a regular file, not a folder, pipe, socket or device"))
    }
}

/// With the way out.
fn explain(error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return error;
    }
    let way_out = "give it to the user that the service runs as";
    io::Error::new(error.kind(), format!("{error}; {way_out}; {IF_REPLACED}"))
}

/// Everything in a regular file of at most `max_bytes`; may be a private key, and is wiped.
///
/// # Errors
/// It cannot be read, or is something else, or larger.
pub(crate) fn read(path: &Path, max_bytes: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    let most = u64::try_from(max_bytes).unwrap_or(u64::MAX);
    open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > max_bytes {
        let error = format!("must have at most {max_bytes} bytes, which is far more than such a file ever has");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, error));
    }
    Ok(bytes)
}
