//! Tells whether files have changed, whatever way: written in place, renamed over, or behind a swapped symbolic link, as
//! Kubernetes mounts secrets.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// What identifies the content of some files at one moment, links followed. Comparing two tells whether any has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FileStamps(Vec<(PathBuf, Option<Stamp>)>);

#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamps {
    /// The files as they are now; one that is missing is a state, too.
    pub fn take<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut stamps = Self::default();
        stamps.extend(paths);
        stamps
    }

    /// Adds more files, as they are now.
    pub fn extend<'a>(&mut self, paths: impl IntoIterator<Item = &'a Path>) {
        self.0.extend(paths.into_iter().map(|path| (path.to_owned(), stamp(path))));
    }

    /// Whether all files are still as they were.
    #[must_use]
    pub fn are_current(&self) -> bool {
        self.0.iter().all(|(path, was)| stamp(path) == *was)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_way_of_changing_a_file_is_seen() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("..1")).unwrap();
        fs::create_dir(path("..2")).unwrap();
        fs::write(path("..1/secret"), "same").unwrap();
        fs::write(path("..2/secret"), "same").unwrap();
        symlink("..1", path("..data")).unwrap();
        symlink("..data/secret", path("secret")).unwrap();
        let secret = path("secret");
        let take = || FileStamps::take([secret.as_path()]);

        let first = take();
        assert_eq!(first, take());
        symlink("..2", path("..tmp")).unwrap();
        fs::rename(path("..tmp"), path("..data")).unwrap();
        let swapped = take();
        assert_ne!(first, swapped);
        fs::write(path("..2/secret"), "longer").unwrap();
        let written = take();
        assert_ne!(swapped, written);
        fs::write(path("new"), "longer").unwrap();
        fs::rename(path("new"), path("..2/secret")).unwrap();
        let renamed = take();
        assert_ne!(written, renamed);
        fs::remove_file(path("..2/secret")).unwrap();
        assert_ne!(renamed, take());
    }
}
