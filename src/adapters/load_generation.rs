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
        agreement::Keys,
        generation::{Generation, InstanceWithKey},
        live::LiveInstance,
        signing_key::SigningKey,
    },
    config::{
        AuditConfig, Config, ConfigError, ConfigErrors, InstanceConfig, Location, Proofs, SecretSource, SubjectForm,
    },
    domain::{
        grant::{Grant, Pattern},
        groups::Group,
        policy::Policy,
        secret::SharedSecret,
    },
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
    let loaded = load_parsed(&config, &name)?;
    Ok(LoadedFile { config, loaded, stamps })
}

/// As [`load_file`], of a text that lies in no file. `name` is what errors call it.
///
/// # Errors
/// Everything that is wrong with it or with a file that it names.
pub fn load_text(text: &str, name: &str) -> Result<(Config, Loaded), LoadError> {
    let config = Config::parse(text, name).map_err(LoadError)?;
    let loaded = load_parsed(&config, name)?;
    Ok((config, loaded))
}

fn load_parsed(config: &Config, name: &str) -> Result<Loaded, LoadError> {
    let mut loaded = load(config, name)?;
    if let Some((path, location)) = &config.candidate {
        match load_candidate(path) {
            Ok(policy) => loaded.generation = loaded.generation.with_candidate(Some(policy)),
            // A candidate decides nothing, so it stops nothing.
            Err(errors) => loaded.warnings.extend(errors.lines().map(|rule| {
                let (file, location) = (name.to_owned(), location.clone());
                ConfigError { file, location, rule: format!("no decision is compared: {rule}") }.to_string()
            })),
        }
    }
    loaded.warnings.extend(idle_administrators(config).map(|place| {
        format!(
            "{name}: {place}.groups: names Administrators, which no token may without `allow_administrators = true`: set that, or remove \
             the name"
        )
    }));
    if config.server.proofs == Proofs::default() {
        let warning = "no caller can prove who it is, so every request will be refused: configure server.identity";
        loaded.warnings.push(warning.to_owned());
    }
    Ok(loaded)
}

/// Grants that name the group of administrators, which has no effect without its switch.
fn idle_administrators(config: &Config) -> impl Iterator<Item = String> {
    let is_named = |pattern: &Pattern| match pattern {
        Pattern::Exact(name) => Group::parse(name.clone()).is_ok_and(|group| group.may_mean_administrators()),
        Pattern::Prefix(_) => false,
    };
    config.callers.iter().enumerate().flat_map(move |(caller, one)| {
        let idle = move |grant: &Grant| !grant.allow_administrators && grant.groups.iter().any(is_named);
        let grants = one.grants.iter().enumerate().filter(move |(_, (_, grant))| idle(grant));
        grants.map(move |(grant, _)| format!("callers[{caller}].grants[{grant}]"))
    })
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
    let mut loading = Loading { file, secrets: Vec::new(), warnings: Vec::new(), errors: Vec::new() };
    let instances: Vec<_> = config.instances.iter().filter_map(|one| loading.instance(one)).collect();
    // Read again when the log is opened; here for its errors, and so that it is no secret of an instance.
    if let Some(AuditConfig { subject: SubjectForm::Hash(source, location), .. }) = &config.audit {
        let _ = loading.key(source, location);
    }
    if let Some(redis) = &config.accounts.redis {
        let (source, location) = &redis.hash_key;
        let _ = loading.key(source, location);
        if let Some((source, location)) = &redis.password {
            match secret_sources::load_password(source) {
                Ok((_, warning)) => loading.warnings.extend(warning),
                Err(error) => loading.fail(location, &error),
            }
        }
    }
    let Loading { warnings, errors, .. } = loading;
    if errors.is_empty() {
        Ok(Loaded { generation: Generation::new(instances, config.policy()), warnings })
    } else {
        Err(LoadError(ConfigErrors(errors)))
    }
}

/// A secret cannot be used, as one of the errors says.
struct Unusable;

/// What has been read so far.
struct Loading<'a> {
    file: &'a str,
    secrets: Vec<SharedSecret>,
    warnings: Vec<String>,
    errors: Vec<ConfigError>,
}

impl Loading<'_> {
    fn fail(&mut self, location: &Location, rule: &impl ToString) {
        let (file, location, rule) = (self.file.to_owned(), location.clone(), rule.to_string());
        self.errors.push(ConfigError { file, location, rule });
    }

    fn instance(&mut self, one: &InstanceConfig) -> Option<InstanceWithKey> {
        let current = self.key(&one.shared_secret, &one.shared_secret_location);
        let next =
            one.next_shared_secret.as_ref().map(|(source, location)| self.next_key(source, location, current.as_ref()));
        let ca = one.api_ca.as_ref();
        let http = one.api_url().map(|url| MetabaseHttp::new(url, ca.map(|(path, _)| path.as_path())));
        let live = match http.transpose() {
            Ok(http) => http.map(|http| LiveInstance::new(Arc::new(http))),
            Err(error) => {
                self.fail(&ca.map(|(_, location)| location.clone()).unwrap_or_default(), &error);
                None
            }
        };
        Some(InstanceWithKey {
            instance: Arc::new(one.instance.clone()),
            keys: Keys::new(current?, next.unwrap_or(Ok(None)).ok()?),
            live,
            probe_interval: one.probe_interval,
        })
    }

    fn key(&mut self, source: &SecretSource, location: &Location) -> Option<SigningKey> {
        let secret = self.read(source, location)?;
        Some(self.admit(secret, location))
    }

    /// None: it is the instance's own `current`.
    ///
    /// Both are the same between two steps at the end of a rotation, when the file of `shared_secret` holds the new secret already
    /// and the configuration still names it as the next one; and at the beginning, when the new one is still to come. A refusal would
    /// keep whatever is started just then from starting, in the midst of a rotation and for nothing: there is one secret, it
    /// signs, and the same configuration without `next_shared_secret` is good. So it is a warning.
    fn next_key(
        &mut self,
        source: &SecretSource,
        location: &Location,
        current: Option<&SigningKey>,
    ) -> Result<Option<SigningKey>, Unusable> {
        let secret = self.read(source, location).ok_or(Unusable)?;
        if current.is_some_and(|current| current.is_same(&SigningKey::new(&secret))) {
            let rule = "is the secret that `shared_secret` is: the rotation is finished, remove next_shared_secret; if it has yet to begin, \
                        put the new secret there";
            let (file, location) = (self.file.to_owned(), location.clone());
            self.warnings.push(ConfigError { file, location, rule: rule.to_owned() }.to_string());
            return Ok(None);
        }
        Ok(Some(self.admit(secret, location)))
    }

    fn read(&mut self, source: &SecretSource, location: &Location) -> Option<SharedSecret> {
        match secret_sources::load(source) {
            Ok(LoadedSecret { secret, warning }) => {
                self.warnings.extend(warning);
                Some(secret)
            }
            Err(error) => {
                self.fail(location, &error);
                None
            }
        }
    }

    fn admit(&mut self, secret: SharedSecret, location: &Location) -> SigningKey {
        // Metabase checks no audience: with one secret, a token of one instance signs in to the other.
        if self.secrets.iter().any(|earlier| earlier.is_same_key(&secret)) {
            let rule = "is used elsewhere, too: instances of one secret accept each other's tokens, and no key of anything else \
                        may be a secret of Metabase; make one with `metabase-token-service keygen`";
            self.fail(location, &rule);
        }
        let key = SigningKey::new(&secret);
        self.secrets.push(secret);
        key
    }
}
