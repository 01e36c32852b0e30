//! The process: arguments in, exit code out.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A tenth more tokens a second than with the allocator of glibc, and memory that goes back after a rush (docs/performance.md).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    metabase_token_service::cli::run(std::env::args_os())
}
