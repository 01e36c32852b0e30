//! The folders in which a file may appear anew, so that it can be read again after it was replaced in any of the usual ways.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

/// Links followed one after another, as the system does at most.
const MAX_LINKS: usize = 40;

/// The folder of a file, and of every file that stands for it behind symbolic links, links resolved: editors and cert-manager
/// rename a new file over the old one, Kubernetes swaps the link `..data` beside it.
pub(super) fn of_file(file: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let Ok(mut file) = std::path::absolute(file) else { return found };
    for _ in 0..MAX_LINKS {
        found.extend(file.ancestors().skip(1).filter_map(swapped_in));
        let Some(folder) = file.parent().map(Path::to_owned) else { break };
        found.extend(folder.canonicalize());
        match fs::read_link(&file) {
            Ok(target) => file = folder.join(target),
            Err(_) => break,
        }
    }
    found
}

/// The folder that holds `folder` and all that it may be swapped for, if `folder` is a link to a neighbour. Not where that is one of
/// the first two levels: /etc may hold anything.
fn swapped_in(folder: &Path) -> Option<PathBuf> {
    let target = fs::read_link(folder).ok()?;
    let is_neighbour = target.components().all(|part| matches!(part, Component::Normal(_)));
    let holder = folder.parent()?.canonicalize().ok()?;
    (is_neighbour && holder.components().count() > 2).then_some(holder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn every_folder_that_a_link_leads_through_counts() {
        let dir = TempDir::new().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for folder in ["mount/..1", "live", "archive", "deep/releases/1"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("mount/..1/secret"), "").unwrap();
        fs::write(root.join("archive/key1.pem"), "").unwrap();
        symlink("..1", root.join("mount/..data")).unwrap();
        symlink("..data/secret", root.join("mount/secret")).unwrap();
        symlink("../archive/key1.pem", root.join("live/key.pem")).unwrap();
        symlink("releases/1", root.join("deep/current")).unwrap();
        let of = |file: &str, folders: &[&str]| {
            let folders: BTreeSet<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
            assert_eq!(of_file(&root.join(file)), folders, "{file}");
        };
        of("mount/secret", &["mount", "mount/..1"]);
        of("mount/..data/secret", &["mount", "mount/..1"]);
        of("live/key.pem", &["live", "archive"]);
        of("deep/current/missing", &["deep", "deep/releases/1"]);
        assert_eq!(of_file(Path::new("/etc/file")), [PathBuf::from("/etc")].into());
        assert_eq!(of_file(Path::new("/file")), [PathBuf::from("/")].into());
    }
}
