//! `keygen`

use std::process::ExitCode;

use super::{fail, print};
use crate::adapters::secret_sources;

pub(super) fn run() -> ExitCode {
    match secret_sources::generate() {
        // Without a line break it would be glued to the prompt; the service refuses one in a file and says so.
        Ok(secret) => print(format_args!("{}\n", secret.as_str())),
        Err(error) => fail(1, error),
    }
}
