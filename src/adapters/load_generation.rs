//! Loads everything that decides about a token: all of it, or none.

use std::{io, path::Path, sync::Arc};

use thiserror::Error;

use super::{
    file_stamps::FileStamps,
    metabase_http::MetabaseHttp,
    secret_sources::{self, LoadedSecret},
};
use crate::{
    application::{
        generation::{Generation, InstanceWithKey},
        live::LiveInstance,
        signing_key::SigningKey,
    },
    config::{Config, ConfigError, ConfigErrors, Location, Proofs},
    domain::{policy::Policy, secret::SharedSecret},
    regular_file,
};

/// Secrets that cannot be used, with the places in the configuration that name them.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct LoadError(pub ConfigErrors);

/// A generation, and what an operator should know about its secrets.
#[derive(Debug)]
pub struct Loaded {
    /// What decides from now on.
    pub generation: Generation,
    /// One sentence each.
    pub warnings: Vec<String>,
}

/// A configuration with the generation made of it, and the state of the files that both were read from.
#[derive(Debug)]
pub struct LoadedFile {
    /// The configuration.
    pub config: Config,
    /// What it comes to.
    pub loaded: Loaded,
    /// Of the configuration file and every file it names that the generation comes from, from before they were read.
    pub stamps: FileStamps,
}

/// Bytes of a configuration file; 10,000 callers of 10 grants have 20 MB.
const MAX_CONFIG_BYTES: usize = 64 * 1024 * 1024;

/// How often a load begins anew because files change under it. Each is over in a millisecond.
const ATTEMPTS: usize = 5;

/// Reads a configuration file and every secret that it names, all of one moment: a swap of files while they are read must
/// not mix a new policy with an old secret.
///
/// # Errors
/// Everything that is wrong with either.
pub fn load_file(file: &Path) -> Result<LoadedFile, LoadError> {
    for _ in 0..ATTEMPTS {
        let result = load_once(file);
        match &result {
            Ok(LoadedFile { stamps, .. }) if !stamps.are_current() => {}
            Ok(_) | Err(_) => return result,
        }
    }
    Err(refuse(file, &"the files keep changing while they are read"))
}

fn load_once(file: &Path) -> Result<LoadedFile, LoadError> {
    let mut stamps = FileStamps::take([file]);
    let text = read(file).map_err(|error| refuse(file, &format!("cannot be read: {error}")))?;
    let name = file.display().to_string();
    let config = Config::parse(&text, &name).map_err(LoadError)?;
    stamps.extend(config.secret_files().chain(config.ca_files()));
    stamps.extend(config.candidate.iter().map(|(path, _)| path.as_path()));
    let mut loaded = load(&config, &name)?;
    if let Some((path, location)) = &config.candidate {
        match load_candidate(path) {
            Ok(policy) => loaded.generation = loaded.generation.with_candidate(Some(policy)),
            // A candidate decides nothing, so it stops nothing.
            Err(errors) => loaded.warnings.extend(errors.lines().map(|rule| {
                let (file, location) = (name.clone(), location.clone());
                ConfigError { file, location, rule: format!("no decision is compared: {rule}") }.to_string()
            })),
        }
    }
    if config.server.proofs == Proofs::default() {
        let warning = "no caller can prove who it is, so every request will be refused: configure server.identity";
        loaded.warnings.push(warning.to_owned());
    }
    Ok(LoadedFile { config, loaded, stamps })
}

/// The text of a configuration file.
///
/// # Errors
/// It cannot be read.
pub fn read(file: &Path) -> io::Result<String> {
    let bytes = regular_file::read(file, MAX_CONFIG_BYTES)?;
    let text = str::from_utf8(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(text.to_owned())
}

/// Callers and deny lists of a configuration file. Its secrets are not read.
fn load_candidate(file: &Path) -> Result<Policy, String> {
    let name = file.display().to_string();
    let text = read(file).map_err(|error| format!("{name}: cannot be read: {error}"))?;
    Config::parse(&text, &name).map(|config| config.policy()).map_err(|errors| errors.to_string())
}

fn refuse(file: &Path, rule: &dyn ToString) -> LoadError {
    let (file, location, rule) = (file.display().to_string(), Location::default(), rule.to_string());
    LoadError(ConfigErrors(vec![ConfigError { file, location, rule }]))
}

/// Reads every secret of `config`; `file` names the configuration in errors.
///
/// # Errors
/// Everything that is wrong with the secrets.
pub fn load(config: &Config, file: &str) -> Result<Loaded, LoadError> {
    let (mut secrets, mut warnings, mut errors): (Vec<SharedSecret>, _, _) = (Vec::new(), Vec::new(), Vec::new());
    let mut instances = Vec::with_capacity(config.instances.len());
    for one in &config.instances {
        let mut fail = |rule: String| {
            let location = one.shared_secret_location.clone();
            errors.push(ConfigError { file: file.to_owned(), location, rule });
        };
        let LoadedSecret { secret, warning } = match secret_sources::load(&one.shared_secret) {
            Ok(loaded) => loaded,
            Err(error) => {
                fail(error.to_string());
                continue;
            }
        };
        // Metabase checks no audience: with one secret, a token of one instance signs in to the other.
        if secrets.iter().any(|earlier| earlier.is_same_key(&secret)) {
            fail("is the secret of another instance, too: each accepts the tokens of the other; give every instance its own".to_owned());
        }
        let live = match one
            .api_url()
            .map(|url| MetabaseHttp::new(url, one.api_ca.as_ref().map(|(path, _)| path.as_path())))
        {
            None => None,
            Some(Ok(http)) => Some(LiveInstance::new(Arc::new(http))),
            Some(Err(error)) => {
                let location = one.api_ca.as_ref().map(|(_, location)| location.clone()).unwrap_or_default();
                errors.push(ConfigError { file: file.to_owned(), location, rule: error.to_string() });
                continue;
            }
        };
        instances.push(InstanceWithKey {
            instance: Arc::new(one.instance.clone()),
            key: SigningKey::new(&secret),
            live,
        });
        secrets.push(secret);
        warnings.extend(warning);
    }
    if errors.is_empty() {
        Ok(Loaded { generation: Generation::new(instances, config.policy()), warnings })
    } else {
        Err(LoadError(ConfigErrors(errors)))
    }
}
