//! `config check`, and what it shares with `doctor`.

use std::{fmt::Write as _, io, path::Path, process::ExitCode};

use super::{EX_CONFIG, NO_FILE, fail, prefix_lines, print};
use crate::{
    adapters::{
        clock::SystemClock,
        load_generation::{self, Loaded, LoadedFile},
    },
    app::{self, StartError},
    application::Clock as _,
    config::Config,
};

pub(super) fn check(file: Option<&Path>) -> ExitCode {
    let Some(file) = file else {
        return fail(2, format_args!("config check takes a configuration: FILE, {NO_FILE}"));
    };
    match load(file, |_| true) {
        Ok((config, loaded)) => print(prefix_lines("# warning: ", &loaded.warnings) + &config.effective()),
        Err(Unusable { errors, is_lasting }) => fail(if is_lasting { EX_CONFIG } else { 1 }, errors),
    }
}

/// Why a configuration cannot be used.
pub(super) struct Unusable {
    /// One a line.
    pub(super) errors: String,
    /// Whether trying again helps nobody.
    is_lasting: bool,
}

/// The configuration, `-` being standard input, with everything that it names, or every mistake in either, one a line. Of the files that
/// are no secrets, those faults count that `counts` says.
pub(super) fn load(file: &Path, counts: impl Fn(&StartError) -> bool) -> Result<(Config, Loaded), Unusable> {
    let mut text = None;
    let result = if file == Path::new("-") {
        match io::read_to_string(io::stdin()) {
            Ok(all) => load_generation::load_text(text.insert(all), "-").map_err(|errors| errors.to_string()),
            Err(error) => Err(format!("-: standard input cannot be read: {error}")),
        }
    } else {
        let loaded = load_generation::load_file(file).map(|LoadedFile { config, loaded, .. }| (config, loaded));
        loaded.map_err(|errors| errors.to_string())
    };
    // A secret that cannot be used keeps nobody from looking at the other files.
    let parsed = match &result {
        Ok(_) => None,
        Err(_) => text.or_else(|| load_generation::read(file).ok()).and_then(|text| Config::parse(&text, "").ok()),
    };
    let config = result.as_ref().map_or(parsed.as_ref(), |(config, _)| Some(config));
    let (mut more, mut is_lasting) = (String::new(), result.is_err());
    for error in config.map(app::check_files).unwrap_or_default().iter().filter(|error| counts(error)) {
        is_lasting |= error.is_lasting();
        // Writing to a String does not fail.
        let _ = write!(more, "\n{}: {error}", file.display());
    }
    match result {
        Ok((config, mut loaded)) if more.is_empty() => {
            loaded.warnings.extend(app::warnings(&config, SystemClock.now()));
            Ok((config, loaded))
        }
        Ok(_) => Err(Unusable { errors: more.trim_start().to_owned(), is_lasting }),
        Err(errors) => Err(Unusable { errors: errors + &more, is_lasting }),
    }
}
