//! The process: arguments in, exit code out.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    metabase_token_service::cli::run(std::env::args_os()).await
}
