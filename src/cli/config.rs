//! `config check`

use std::{path::Path, process::ExitCode};

use super::{EX_CONFIG, fail, prefix_lines, print};
use crate::adapters::load_generation::{self, LoadedFile};

pub(super) fn check(file: &Path) -> ExitCode {
    match load_generation::load_file(file) {
        Ok(LoadedFile { config, loaded, .. }) => {
            print(prefix_lines("# warning: ", &loaded.warnings) + &config.effective())
        }
        Err(errors) => fail(EX_CONFIG, errors),
    }
}
