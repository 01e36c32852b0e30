//! `keygen`

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use super::{fail, print};
use crate::adapters::secret_sources;

pub(super) fn run() -> ExitCode {
    match secret_sources::generate() {
        // In a file a line break would be part of the key, and Metabase trims nothing; on a terminal the prompt would be glued to it.
        Ok(secret) if io::stdout().is_terminal() => print(format_args!("{}\n", secret.as_str())),
        Ok(secret) => print(secret.as_str()),
        Err(error) => fail(1, error),
    }
}
