//! `config check`, and the loading that `serve` shares with it.

use std::{fs, path::Path, process::ExitCode};

use super::{EX_CONFIG, fail, prefix_lines, print};
use crate::{
    adapters::load_generation::{self, Loaded},
    config::{Config, ConfigErrors},
};

/// Reads a configuration and every secret that it names.
pub(super) fn load(file: &Path) -> Result<(Config, Loaded), String> {
    let name = file.display().to_string();
    let text = fs::read_to_string(file).map_err(|error| format!("{name}: cannot be read: {error}"))?;
    let config = Config::parse(&text, &name).map_err(|errors: ConfigErrors| errors.to_string())?;
    let mut loaded = load_generation::load(&config, &name).map_err(|error| error.to_string())?;
    if config.server.local_caller.is_none() {
        let warning = "no caller can prove who it is, so every request will be refused: set `server.identity.local`";
        loaded.warnings.push(warning.to_owned());
    }
    Ok((config, loaded))
}

pub(super) fn check(file: &Path) -> ExitCode {
    match load(file) {
        Ok((config, loaded)) => print(prefix_lines("# warning: ", &loaded.warnings) + &config.effective()),
        Err(errors) => fail(EX_CONFIG, errors),
    }
}
