//! Reads shared secrets from files, the environment and systemd credentials.

use std::{
    io::{self, Read},
    os::unix::{ffi::OsStringExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::rand;
use thiserror::Error;
use zeroize::Zeroizing;

use super::environment;
use crate::{
    config::SecretSource,
    domain::secret::{Password, SharedSecret, UnusablePassword, WeakSecret},
    regular_file,
};

/// A secret, and what an operator should know about where it lay.
#[derive(Debug)]
pub struct LoadedSecret {
    /// The secret.
    pub secret: SharedSecret,
    /// For example that others can read the file.
    pub warning: Option<String>,
}

/// Why a secret could not be loaded. Never holds the secret.
#[derive(Debug, Error)]
pub enum SecretError {
    /// `{ credential = … }` outside systemd.
    #[error("{0}: CREDENTIALS_DIRECTORY is not set; is the service started by systemd with LoadCredential=?")]
    NoCredentialsDirectory(SecretSource),
    /// The environment variable is not set.
    #[error("{0} is not set")]
    NotSet(SecretSource),
    /// The random number generator failed.
    #[error("no random numbers: the system's generator failed")]
    Random,
    /// The file could not be read.
    #[error("{source_description} cannot be read: {error}")]
    Read {
        /// Where the secret should be.
        source_description: SecretSource,
        /// Why not.
        error: io::Error,
    },
    /// A password was read and refused.
    #[error("{0}: {1}")]
    Unusable(SecretSource, UnusablePassword),
    /// The secret was read and refused.
    #[error("{0}: {1}")]
    Weak(SecretSource, WeakSecret),
}

/// Reads the secret. Nothing is trimmed: Metabase does not trim either.
///
/// # Errors
/// It is not there, or no secret to sign with.
pub fn load(source: &SecretSource) -> Result<LoadedSecret, SecretError> {
    let (bytes, warning) = read(source)?;
    let secret = SharedSecret::parse(bytes).map_err(|weakness| SecretError::Weak(source.clone(), weakness))?;
    Ok(LoadedSecret { secret, warning })
}

/// Reads a password, and what an operator should know about where it lay. Nothing is trimmed.
///
/// # Errors
/// It is not there, or cannot be meant.
pub fn load_password(source: &SecretSource) -> Result<(Password, Option<String>), SecretError> {
    let (bytes, warning) = read(source)?;
    let password = Password::parse(bytes).map_err(|error| SecretError::Unusable(source.clone(), error))?;
    Ok((password, warning))
}

fn read(source: &SecretSource) -> Result<(Vec<u8>, Option<String>), SecretError> {
    Ok(match source {
        SecretSource::File(path) => read_file(path, source)?,
        SecretSource::Credential(name) => {
            let directory = environment::read("CREDENTIALS_DIRECTORY");
            let directory = directory.ok_or_else(|| SecretError::NoCredentialsDirectory(source.clone()))?;
            read_file(&PathBuf::from(directory).join(name), source)?
        }
        SecretSource::Env(name) => {
            let value = environment::read(name).ok_or_else(|| SecretError::NotSet(source.clone()))?;
            (value.into_vec(), None)
        }
        SecretSource::Generated => (generate()?.as_bytes().to_vec(), None),
    })
}

/// A fresh secret as Metabase recommends it: 256 random bits as 64 hexadecimal digits.
///
/// # Errors
/// The system's random number generator failed.
pub fn generate() -> Result<Zeroizing<String>, SecretError> {
    let mut bits = Zeroizing::new([0; 32]);
    rand::fill(bits.as_mut()).map_err(|_| SecretError::Random)?;
    let mut hex = Zeroizing::new(String::with_capacity(64));
    for byte in bits.iter() {
        for digit in [byte >> 4, byte & 15] {
            hex.push(char::from_digit(digit.into(), 16).unwrap_or_default());
        }
    }
    Ok(hex)
}

fn read_file(path: &Path, source: &SecretSource) -> Result<(Vec<u8>, Option<String>), SecretError> {
    let failed = |error| SecretError::Read { source_description: source.clone(), error };
    let file = regular_file::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    // Room for one byte more than allowed, so that the buffer never moves and leaves a copy behind.
    let most = SharedSecret::MAX_LEN + 1;
    let mut bytes = Vec::with_capacity(most);
    file.take(most as u64).read_to_end(&mut bytes).map_err(failed)?;
    let own = rustix::process::geteuid().as_raw();
    Ok((bytes, exposure(source, metadata.mode() & 0o777, metadata.uid(), own)))
}

/// Who else can reach a secret in a file of this mode and owner, if the service is the user `own`.
fn exposure(source: &SecretSource, mode: u32, owner: u32, own: u32) -> Option<String> {
    if owner != own && owner != 0 {
        return Some(format!(
            "{source} belongs to user {owner}, who can read and replace the secret; give it to user {own} or to root with `chown`"
        ));
    }
    // What Kubernetes mounts belongs to root, and the service reads it by its group: nothing that could be restricted more.
    let excess = if owner == own { 0o077 } else { 0o037 };
    (mode & excess != 0).then(|| {
        format!("{source} has mode {mode:04o}: group or others can reach the secret; restrict it with `chmod 0400`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_else_can_reach_a_secret_is_told() {
        let source = SecretSource::File("/run/secret".into());
        for (mode, owner, own, expected) in [
            (0o400, 1000, 1000, None),
            (0o440, 1000, 1000, Some("has mode 0440")),
            // As Kubernetes mounts it.
            (0o440, 0, 65_532, None),
            (0o444, 0, 65_532, Some("has mode 0444")),
            (0o460, 0, 65_532, Some("has mode 0460")),
            (0o440, 0, 0, Some("has mode 0440")),
            (0o400, 4242, 0, Some("belongs to user 4242")),
            (0o440, 4242, 65_532, Some("belongs to user 4242")),
        ] {
            let told = exposure(&source, mode, owner, own);
            let is_expected = match (&told, expected) {
                (Some(told), Some(expected)) => told.contains(expected),
                (told, expected) => told.is_none() && expected.is_none(),
            };
            assert!(is_expected, "{mode:o} {owner} {own}: {told:?}");
        }
    }
}
