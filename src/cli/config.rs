//! `config check`, and what it shares with `doctor`.

use std::{fmt::Write as _, path::Path, process::ExitCode};

use super::{EX_CONFIG, NO_FILE, fail, prefix_lines, print};
use crate::{
    adapters::load_generation::{self, LoadedFile},
    app::{self, StartError},
    config::Config,
};

pub(super) fn check(file: Option<&Path>) -> ExitCode {
    let Some(file) = file else {
        return fail(2, format_args!("config check takes a configuration: FILE, {NO_FILE}"));
    };
    match load(file, |_| true) {
        Ok(LoadedFile { config, loaded, .. }) => {
            print(prefix_lines("# warning: ", &loaded.warnings) + &config.effective())
        }
        Err(errors) => fail(EX_CONFIG, errors),
    }
}

/// The configuration with everything that it names, or every mistake in either, one a line. Of the files that are no secrets, those
/// faults count that `counts` says.
pub(super) fn load(file: &Path, counts: impl Fn(&StartError) -> bool) -> Result<LoadedFile, String> {
    let result = load_generation::load_file(file).map_err(|errors| errors.to_string());
    // A secret that cannot be used keeps nobody from looking at the other files.
    let parsed = match &result {
        Ok(_) => None,
        Err(_) => load_generation::read(file).ok().and_then(|text| Config::parse(&text, "").ok()),
    };
    let config = result.as_ref().map_or(parsed.as_ref(), |loaded| Some(&loaded.config));
    let mut more = String::new();
    for error in config.map(app::check_files).unwrap_or_default().iter().filter(|error| counts(error)) {
        // Writing to a String does not fail.
        let _ = write!(more, "\n{}: {error}", file.display());
    }
    match result {
        Ok(loaded) if more.is_empty() => Ok(loaded),
        Ok(_) => Err(more.trim_start().to_owned()),
        Err(errors) => Err(errors + &more),
    }
}
