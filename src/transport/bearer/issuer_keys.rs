//! The keys of an issuer, wherever they come from.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use thiserror::Error;

use super::{
    key_set::{KeySet, MAX_BYTES, NotAKeySet},
    remote_keys::RemoteKeys,
};
use crate::{config::KeySource, regular_file, telemetry::Metrics};

#[derive(Debug)]
pub(super) enum IssuerKeys {
    File { path: PathBuf, keys: ArcSwap<KeySet> },
    Url(Arc<RemoteKeys>),
}

/// Why the keys in a file cannot be used.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// Not a set of public keys.
    #[error("{path}: {error}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: NotAKeySet,
    },
    /// Cannot be read.
    #[error("{path}: cannot be read: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl IssuerKeys {
    pub(super) fn load(source: &KeySource, metrics: &Arc<Metrics>) -> Result<Self, KeyFileError> {
        match source {
            KeySource::File(path) => Ok(Self::File { keys: ArcSwap::from_pointee(read(path)?), path: path.clone() }),
            KeySource::Url { url, ca } => Ok(Self::Url(RemoteKeys::new(url.clone(), ca.clone(), Arc::clone(metrics)))),
        }
    }

    /// The keys in force; none as long as they could not be fetched.
    pub(super) fn current(&self) -> Option<Arc<KeySet>> {
        match self {
            Self::File { keys, .. } => Some(keys.load_full()),
            Self::Url(keys) => keys.current(),
        }
    }

    /// Those behind a URL stay as they are.
    pub(super) fn reload_file(&self) -> Result<(), KeyFileError> {
        if let Self::File { path, keys } = self {
            keys.store(Arc::new(read(path)?));
        }
        Ok(())
    }

    pub(super) const fn remote(&self) -> Option<&Arc<RemoteKeys>> {
        match self {
            Self::File { .. } => None,
            Self::Url(keys) => Some(keys),
        }
    }
}

fn read(path: &Path) -> Result<KeySet, KeyFileError> {
    let json =
        regular_file::read(path, MAX_BYTES).map_err(|error| KeyFileError::Read { path: path.to_owned(), error })?;
    KeySet::parse(&json).map_err(|error| KeyFileError::Format { path: path.to_owned(), error })
}
