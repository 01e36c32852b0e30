//! `config check`

use std::{path::Path, process::ExitCode};

use super::{EX_CONFIG, fail, prefix_lines, print};
use crate::{
    adapters::{
        audit_log,
        load_generation::{self, LoadedFile},
    },
    app,
};

pub(super) fn check(file: &Path) -> ExitCode {
    let LoadedFile { config, loaded, .. } = match load_generation::load_file(file) {
        Ok(loaded) => loaded,
        Err(errors) => return fail(EX_CONFIG, errors),
    };
    let audit = config.audit.as_ref().map(|audit| audit_log::check(&audit.sink)).transpose();
    match app::check_files(&config).and_then(|()| Ok(audit?)) {
        Ok(_) => print(prefix_lines("# warning: ", &loaded.warnings) + &config.effective()),
        Err(error) => fail(EX_CONFIG, format_args!("{}: {error}", file.display())),
    }
}
