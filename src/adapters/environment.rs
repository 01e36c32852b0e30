//! The one reader of the process' environment, apart from the command line's own options.

use std::ffi::OsString;

/// The value of an environment variable, if it is set.
#[must_use]
pub fn read(name: &str) -> Option<OsString> {
    #[expect(clippy::disallowed_methods, reason = "the one legal call")]
    std::env::var_os(name)
}
