//! The process: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    metabase_token_service::cli::run(std::env::args_os())
}
